//! `day1 lint` as a person calls it.

use std::path::{Path, PathBuf};

use assert_cmd::Command;

const HEAD: &str = "apiVersion: machineconfiguration.openshift.io/v1\nkind: MachineConfig\nmetadata:\n  name: 99-worker-x\n  \
                    labels:\n    machineconfiguration.openshift.io/role: worker\nspec:\n  config:\n    ignition:\n      version: 3.2.0\n";

fn upstream() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../mutants/upstream/99-worker-upstream.yaml")
}

/// Runs it with this standard input; gives its exit code, standard output and standard error.
fn lint(arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::cargo_bin("day1").expect("the day1 program");
    let output = command.arg("lint").args(arguments).write_stdin(input.to_owned()).output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn with_mode(mode: &str) -> String {
    format!(
        "{HEAD}    storage:\n      files:\n        - path: /etc/x\n          mode: {mode}\n          contents:\n            source: data:,x\n"
    )
}

#[test]
fn a_clean_machine_config_ends_with_0() {
    let (code, output, errors) = lint(&["-"], &with_mode("420"));
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert_eq!(output, "no errors, no warnings, no notes in 1 config of 1 file\n");
}

#[test]
fn an_error_ends_with_1_and_a_warning_only_if_it_is_denied() {
    let (code, output, _) = lint(&["-"], &with_mode("644"));
    assert_eq!(code, 1);
    assert!(output.starts_with("<stdin>:14:17: error[mode-decimal]: mode 644 of /etc/x is octal 1204"), "{output}");
    let warned = with_mode("420").replace("/etc/x", "/run/x");
    assert_eq!(lint(&["-"], &warned).0, 0);
    assert_eq!(lint(&["-", "--deny-warnings"], &warned).0, 1);
}

#[test]
fn what_is_no_yaml_is_told_with_its_place() {
    let (code, output, _) = lint(&["-"], "kind: MachineConfig\nspec: [\n");
    assert_eq!(code, 1);
    assert!(output.contains("<stdin>:3:1: error[syntax]"), "{output}");
}

#[test]
fn what_can_t_be_read_ends_with_2() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let missing = dir.path().join("missing.yaml");
    let (code, output, errors) = lint(&[missing.to_str().expect("a path")], "");
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(errors.contains("missing.yaml"), "{errors}");
    let binary = dir.path().join("binary");
    std::fs::write(&binary, [b'a', 0xff]).expect("written");
    let (code, _, errors) = lint(&[binary.to_str().expect("a path")], "");
    assert_eq!(code, 2);
    assert!(errors.contains("byte 1 is not UTF-8"), "{errors}");
    assert_eq!(lint(&[], "").0, 2);
    assert_eq!(lint(&["-", "--format", "xml"], "").0, 2);
}

#[test]
fn json_gives_the_whole_report_as_a_type() {
    let (code, output, _) = lint(&[upstream().to_str().expect("a path"), "--format", "json"], "");
    assert_eq!(code, 1);
    let report: day1_harness::lint::Report = serde_json::from_str(&output).expect("a report");
    assert_eq!(report.configs, 1);
    let found = report.findings.iter().find(|finding| finding.rule == "podman-wait").expect("found");
    let inside = found.place.inside.as_ref().expect("a script");
    assert_eq!((inside.path.as_str(), inside.line), ("/usr/local/bin/replace-kernel-module.sh", 47));
}

/// The schema that the types are made from lies in the source of `serde-sarif`.
fn sarif_schema() -> serde_json::Value {
    let metadata = std::process::Command::new(env!("CARGO"))
        // Packages for other platforms need not be there.
        .args(["metadata", "--format-version", "1", "--offline", "--filter-platform"])
        .arg(format!("{}-unknown-linux-gnu", std::env::consts::ARCH))
        .arg("--manifest-path")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo");
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).expect("cargo's metadata");
    let packages = metadata["packages"].as_array().expect("packages");
    let sarif = packages.iter().find(|package| package["name"] == "serde-sarif").expect("serde-sarif");
    let manifest = Path::new(sarif["manifest_path"].as_str().expect("a path"));
    let schema = std::fs::read_to_string(manifest.with_file_name("src").join("schema.json")).expect("the schema");
    serde_json::from_str(&schema).expect("JSON")
}

#[test]
fn sarif_is_valid_and_has_places_and_rules() {
    let (code, output, _) = lint(&[upstream().to_str().expect("a path"), "--format", "sarif"], "");
    assert_eq!(code, 1);
    let sarif: serde_json::Value = serde_json::from_str(&output).expect("JSON");
    let validator = jsonschema::validator_for(&sarif_schema()).expect("a schema");
    let errors: Vec<String> =
        validator.iter_errors(&sarif).map(|error| format!("{error} at {}", error.instance_path)).collect();
    assert_eq!(errors, Vec::<String>::new());
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    assert_eq!(rules.len(), day1_harness::lint::ALL.len());
    let result = run["results"].as_array().expect("results").iter().find(|result| result["ruleId"] == "world-writable");
    let result = result.expect("found");
    assert_eq!(result["level"], "error");
    let index = usize::try_from(result["ruleIndex"].as_u64().expect("an index")).expect("small");
    assert_eq!(rules[index]["id"], "world-writable");
    assert_eq!(
        result["locations"][0]["physicalLocation"]["region"],
        serde_json::json!({"startLine": 72, "startColumn": 17})
    );
}

#[test]
fn the_rules_are_printed() {
    let (code, output, _) = lint(&["--rules"], "");
    assert_eq!(code, 0);
    assert!(output.contains("\n### `reboot-unbounded` (warning)\n"), "{output}");
}
