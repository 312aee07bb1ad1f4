//! The scenario language as JSON Schema, for editors: `day1 schema`.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::disruption::DisruptionActionForm;
use super::happening::{ConfigChangeForm, Random};
use super::patch::PatchForm;
use super::spec::MachineConfigForm;
use super::{
    AbsolutePath, After, Clock, ConfigChange, Day, DisruptionAction, FileMode, HostPath, Id, KernelArgument,
    MachineConfig, Many, ModuleName, Network, Patch, Pattern, Percent, Repository, Seconds, Size, Snooze, Spec,
    TagTemplate, Tracker, TrialPattern, UnitName, UnitRef,
};

/// The schema of a scenario file (JSON Schema, draft 2020-12).
///
/// Values that a matrix gives stand as `$name`, so each value may be such a text as well.
pub fn schema() -> serde_json::Value {
    let mut schema = without_variables();
    for part in ["properties", "$defs"] {
        for (_, schema) in schema.get_mut(part).and_then(serde_json::Value::as_object_mut).into_iter().flatten() {
            allow_variables(schema);
        }
    }
    schema
}

/// The same, without the variables of a matrix.
pub(super) fn without_variables() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Spec>().to_value();
    if let Some(properties) = schema.get_mut("properties").and_then(serde_json::Value::as_object_mut) {
        properties.insert(
            "matrix".into(),
            serde_json::json!({
                "description": "Variables with their values: a list, or a map from names to values. The file is a scenario for each choice of them; `$name` stands for the value.",
                "type": "object",
                "additionalProperties": { "type": ["array", "object"] },
            }),
        );
    }
    schema["title"] = "Scenario of day1".into();
    schema
}

/// The schema of a file of snoozes (JSON Schema, draft 2020-12).
pub fn snoozes_schema() -> serde_json::Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Vec<Snooze>>().to_value();
    schema["title"] = "Snoozes of day1".into();
    schema
}

/// Each value below may be a variable of the matrix.
fn allow_variables(schema: &mut serde_json::Value) {
    let Some(object) = schema.as_object_mut() else { return };
    for key in ["properties", "patternProperties"] {
        for (_, value) in object.get_mut(key).and_then(serde_json::Value::as_object_mut).into_iter().flatten() {
            allow_variables(value);
            or_variable(value);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(value) = object.get_mut(key).filter(|value| value.is_object()) {
            allow_variables(value);
            or_variable(value);
        }
    }
    for key in ["anyOf", "oneOf", "allOf"] {
        object.get_mut(key).and_then(serde_json::Value::as_array_mut).into_iter().flatten().for_each(allow_variables);
    }
}

fn or_variable(schema: &mut serde_json::Value) {
    let description = schema.get("description").cloned();
    let value = schema.take();
    *schema = serde_json::json!({ "anyOf": [value, { "type": "string", "pattern": "^\\$[a-z][a-z0-9-]*$" }] });
    if let Some(description) = description {
        schema["description"] = description;
    }
}

macro_rules! texts {
    ($($type:ident $pattern:literal $description:literal;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "description": $description })
            }
        }
    )*};
}

texts! {
    Id "^[a-z][a-z0-9-]*$" "A short name made in the scenario: lower-case letters, digits and `-`, such as `test`.";
    ModuleName "^[A-Za-z0-9_]+$" "A kernel module's name as `/sys/module` shows it: with `_`, without `.ko`.";
    Network "^[0-9.]+/[0-9]+$" "An IPv4 network, such as `10.88.0.0/16`.";
    Repository "^[^@/]+/[^:@]+$" "A repository without tag and digest, such as `quay.io/vendor/driver`.";
    AbsolutePath "^/." "An absolute path on the node, without `.` and `..`.";
    UnitName "\\.(service|socket|target|mount|automount|swap|timer|path|slice|scope|device)$" "A systemd unit's full name, such as `NetworkManager.service`.";
    UnitRef "^((load|pull)(/.+)?|.+\\.[a-z]+)$" "A unit: by its role in a MachineConfig under test (`load`, `pull`, or `load/NAME` with the MachineConfig's name), or by its full name.";
    HostPath "^[^/].*\\.ko(\\.xz)?$" "A module's file below `/lib/modules/RELEASE`, such as `kernel/lib/crc8.ko.xz`.";
    KernelArgument "^[-A-Za-z0-9_.,:=/@+]+$" "An argument of the kernel's command line, such as `enforcing=1`.";
    TagTemplate "^." "A tag of an image; `{kernel-tag}` stands for the release of its kernel as a tag.";
    Size "^[0-9]+ *(KiB|MiB|GiB)$" "A size: `2GiB`, `512MiB` or `64KiB`.";
    Seconds "^[0-9]+ *(ms|s|min)$" "A time, stretched on hosts that are slower than the reference: `90s`, `2min` or `500ms`.";
    Percent "^[0-9]{1,2}%$" "A share from `1%` to `99%`.";
    FileMode "^0[0-7o]+$" "A file's mode in octal with a 0 first, such as `0644`.";
    Pattern "" "A regular expression.";
    Day "^[0-9]{4}-[0-9]{2}-[0-9]{2}$" "A day, such as `2027-01-31`.";
    Tracker "^https?://." "The address of an issue.";
    TrialPattern "." "Trials: `FAMILY/NAME`, or `FAMILY/NAME@NODE`, each with `*` for any text and `?` for one character.";
    Clock "^(now|[0-9]{4}-.*)$" "`now`, or date and time with their zone, such as `2020-01-01T00:00:00Z`.";
}

macro_rules! forms {
    ($($type:ident as $form:ident;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                $form::json_schema(generator)
            }
        }
    )*};
}

forms! {
    DisruptionAction as DisruptionActionForm;
    MachineConfig as MachineConfigForm;
    Patch as PatchForm;
}

impl JsonSchema for After {
    fn schema_name() -> Cow<'static, str> {
        "After".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (fixed, random) = (generator.subschema_for::<Seconds>(), generator.subschema_for::<Random>());
        json_schema!({ "anyOf": [fixed, random] })
    }
}

impl JsonSchema for ConfigChange {
    fn schema_name() -> Cow<'static, str> {
        "ConfigChange".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (name, form) = (generator.subschema_for::<String>(), generator.subschema_for::<ConfigChangeForm>());
        json_schema!({ "anyOf": [name, form], "description": "A MachineConfig, by its `metadata.name`, and whether the node reboots for it." })
    }
}

impl<T: JsonSchema> JsonSchema for Many<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("{}s", T::schema_name()).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one.clone(), { "type": "array", "items": one }] })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn validator() -> jsonschema::Validator {
        jsonschema::validator_for(&schema()).expect("a schema")
    }

    fn value(text: &str) -> serde_json::Value {
        let mut value: serde_yaml::Value = serde_yaml::from_str(text).expect("YAML");
        value.apply_merge().expect("merged");
        serde_json::to_value(value).expect("JSON")
    }

    #[test]
    fn each_scenario_of_the_project_holds_to_it() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let validator = validator();
        let listing = super::super::list(&dir).expect("listed");
        assert!(listing.refused.is_empty() && listing.scenarios.len() > 50);
        for scenario in listing.scenarios {
            let wrong: Vec<String> = validator
                .iter_errors(&value(&scenario.document.text))
                .map(|error| format!("{}: {error}", error.instance_path))
                .collect();
            assert!(wrong.is_empty(), "{}: {wrong:?}", scenario.id());
        }
    }

    #[test]
    fn what_the_reader_refuses_the_schema_refuses() {
        let good = "{description: d, machine-configs: [], boots: [{ends: ready}]}";
        assert!(validator().is_valid(&value(good)));
        for bad in [
            "{description: d, boots: [{ends: ready}]}",
            "{description: d, machine-configs: [], boots: [{ends: redy}]}",
            "{description: d, machine-configs: [], boots: [{ends: ready}], bots: []}",
            "{description: d, machine-configs: [], boots: [{ends: ready, deadline: 90}]}",
            "{description: d, machine-configs: [], boots: [{ends: ready}], happens: [{when: {phase: noon}, do: power-cut}]}",
        ] {
            assert!(!validator().is_valid(&value(bad)), "{bad}");
        }
    }

    #[test]
    fn a_snooze_that_the_reader_takes_or_refuses_the_schema_does_as_well() {
        let validator = jsonschema::validator_for(&snoozes_schema()).expect("a schema");
        let good = "[{pattern: 'a/*', checks: [x], reason: r, tracker: 'https://a/1', expires: '2026-12-31'}]";
        assert!(validator.is_valid(&value(good)));
        for (from, to) in [(", expires: '2026-12-31'", ""), ("2026-12-31", "soon"), ("reason", "why"), ("https:", "x:")]
        {
            assert!(!validator.is_valid(&value(&good.replace(from, to))), "{to}");
        }
    }

    #[test]
    fn each_key_is_explained() {
        fn unexplained(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
            let Some(object) = schema.as_object() else { return };
            for (key, value) in object.get("properties").and_then(serde_json::Value::as_object).into_iter().flatten() {
                let path = format!("{path}/{key}");
                // Of an action or a trigger the whole is explained.
                if value.get("description").is_none() && object.get("description").is_none() {
                    found.push(path.clone());
                }
                unexplained(&path, value, found);
            }
            for value in object
                .get("anyOf")
                .into_iter()
                .chain(object.get("oneOf"))
                .filter_map(serde_json::Value::as_array)
                .flatten()
            {
                unexplained(path, value, found);
            }
            for (key, value) in object.get("$defs").and_then(serde_json::Value::as_object).into_iter().flatten() {
                unexplained(key, value, found);
            }
        }
        let mut found = vec![];
        unexplained("", &schema(), &mut found);
        assert_eq!(found, Vec::<String>::new());
    }
}
