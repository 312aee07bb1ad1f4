//! The shape of `results.json` as JSON Schema: `day1 schema results`.

use schemars::generate::SchemaSettings;

use super::RunResults;

/// The schema of `results.json` (JSON Schema, draft 2020-12). A trial's own `result.json` is a `TrialResult` of its `$defs`.
pub fn results_schema() -> serde_json::Value {
    // As read, not as written: what was always written only later may lack in an earlier file of the same version.
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<RunResults>().to_value();
    schema["title"] = "Results of a day1 run".into();
    schema
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::Value;

    use super::*;
    use crate::report::fixture;

    fn told(schema: &Value, value: &Value) -> Vec<String> {
        let validator = jsonschema::validator_for(schema).expect("a schema");
        validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect()
    }

    /// Takes nothing that it does not describe.
    fn closed(mut schema: Value) -> Value {
        fn close(schema: &mut Value) {
            if schema.get("properties").is_some() {
                schema["additionalProperties"] = false.into();
            }
            match schema {
                Value::Object(object) => object.values_mut().for_each(close),
                Value::Array(items) => items.iter_mut().for_each(close),
                _ => {}
            }
        }
        close(&mut schema);
        schema
    }

    #[test]
    fn the_published_one_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema/results-v1.schema.json");
        let published = std::fs::read_to_string(&path).expect("published");
        let own = format!("{:#}\n", results_schema());
        assert!(
            published == own,
            "results.json has another shape than {} says: see docs/decisions/0020 for what that means, then write it \
             anew by `day1 schema results`",
            path.display()
        );
    }

    #[test]
    fn everything_that_a_run_writes_is_described() {
        let results = serde_json::to_value(fixture::run()).expect("JSON");
        assert_eq!(told(&closed(results_schema()), &results), Vec::<String>::new());
        let text = serde_json::to_string(&results).expect("JSON");
        for word in [
            "\"pass\"",
            "\"fail\"",
            "\"flaky\"",
            "\"inconclusive\"",
            "\"infra\"",
            "\"skipped\"",
            "\"holds\"",
            "\"caught\"",
        ] {
            assert!(text.contains(word), "no trial of the example has {word}");
        }
    }

    #[test]
    fn what_a_later_minor_change_adds_is_taken_and_what_is_wrong_is_not() {
        let good = serde_json::to_value(fixture::run()).expect("JSON");
        let changed = |pointer: &str, value: Value| {
            let mut changed = good.clone();
            let (above, key) = pointer.rsplit_once('/').expect("a pointer");
            changed.pointer_mut(above).expect("there")[key] = value;
            told(&results_schema(), &changed)
        };
        assert_eq!(changed("/trials/0/invented-later", 7.into()), Vec::<String>::new());
        for (pointer, value) in [
            ("/version", 2.into()),
            ("/seconds", "long".into()),
            ("/trials/0/verdict", "green".into()),
            ("/trials/0/findings/0/outcome", "ok".into()),
            ("/trials/0/findings/0/evidence", Value::Null),
            ("/trials", Value::Null),
        ] {
            assert_ne!(changed(pointer, value), Vec::<String>::new(), "{pointer}");
        }
        let mut without = good.clone();
        without.as_object_mut().expect("an object").remove("trials");
        assert_ne!(told(&results_schema(), &without), Vec::<String>::new());
    }

    #[test]
    fn results_without_what_was_added_later_are_read() {
        let old = r#"{"version": 1, "day1": "0.1.0", "started": "", "seconds": 1.0, "unknown": {},
            "host": {"cores": 2, "acceleration": {}, "deadline_factor": {}},
            "trials": [{"trial": "a/b@c", "scenario": "a/b.yaml", "verdict": "pass", "seconds": 1.0, "start": "cold"}]}"#;
        let read: RunResults = serde_json::from_str(old).expect("readable");
        assert!(read.trials[0].attempts.is_empty() && read.trials[0].snoozed.is_none());
    }
}
