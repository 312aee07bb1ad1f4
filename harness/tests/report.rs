//! `day1 report`: a recorded run, told in each form.

use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

/// A run with a trial that passed and one that failed, recorded on another machine.
fn recorded() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let trial = |verdict: &str, scenario: &str, outcome: &str, dir: &str| {
        json!({
            "trial": format!("{scenario}@debian-13"), "scenario": format!("/home/runner/day1/scenarios/{scenario}.yaml"),
            "verdict": verdict, "seconds": 90.0, "start": "cold", "dir": dir,
            "findings": [{
                "check": "nic.driver", "boot": 2, "outcome": outcome, "message": "network card `test` is driven by e1000",
                "evidence": [{"seq": 41, "text": "e1000"}], "advice": null,
            }],
        })
    };
    let passed = trial("pass", "pull/later-boots", "pass", "elsewhere/a");
    let failed = trial("fail", "pull/pull-then-reboot", "fail", "elsewhere/b");
    let results = json!({
        "version": 1, "day1": "0.1.0", "started": "2026-11-26T00:52:42Z", "seconds": 180.0,
        "host": {"cores": 2, "acceleration": {}, "deadline_factor": {}},
        "trials": [passed, failed],
    });
    std::fs::write(dir.path().join("results.json"), results.to_string()).expect("written");
    let own = dir.path().join("pull/pull-then-reboot@debian-13");
    std::fs::create_dir_all(&own).expect("made");
    std::fs::copy(root().join("scenarios/pull/pull-then-reboot.yaml"), own.join("scenario.yaml")).expect("copied");
    dir
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Tells the run in a form; gives exit code, standard output and standard error.
fn report(form: &str, run: &Path, variables: &[(&str, &Path)]) -> (i32, String, String) {
    let mut command = Command::cargo_bin("day1").expect("the day1 program");
    for name in ["GITHUB_STEP_SUMMARY", "NO_COLOR", "CLICOLOR_FORCE"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).current_dir(root()).args(["report", form]).arg(run);
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

/// Where `nic.driver` stands in the scenario.
fn expected_line() -> usize {
    let text = std::fs::read_to_string(root().join("scenarios/pull/pull-then-reboot.yaml")).expect("a scenario");
    text.lines().position(|line| line.contains("nic.driver:")).expect("an expectation") + 1
}

#[test]
fn text_has_colours_only_where_they_are_wanted() {
    let run = recorded();
    let (code, plain, _) = report("text", run.path(), &[]);
    assert_eq!(code, 1);
    assert!(plain.contains("FAIL pull/pull-then-reboot@debian-13 in 90 s") && !plain.contains('\u{1b}'), "{plain}");
    let (_, painted, _) = report("text", run.path(), &[("CLICOLOR_FORCE", Path::new("1"))]);
    assert!(painted.contains("\u{1b}[31mFAIL\u{1b}[0m pull/"), "{painted:?}");
    let both = [("CLICOLOR_FORCE", Path::new("1")), ("NO_COLOR", Path::new("1"))];
    assert!(!report("text", run.path(), &both).1.contains('\u{1b}'));
}

#[test]
fn github_gets_a_summary_and_annotations_at_the_scenario_s_line() {
    let run = recorded();
    let summary = run.path().join("summary.md");
    std::fs::write(&summary, "# what an earlier command wrote\n").expect("written");
    let (code, output, error) = report("github", run.path(), &[("GITHUB_STEP_SUMMARY", &summary)]);
    assert_eq!(code, 0, "{error}");
    let text = std::fs::read_to_string(&summary).expect("a summary");
    assert!(text.starts_with("# what an earlier command wrote\n## ❌ day1: 1 of 2 trials is red\n"), "{text}");
    let annotation = format!(
        "::error title=FAIL pull/pull-then-reboot@debian-13%3A nic.driver,file=scenarios/pull/pull-then-reboot.yaml,line={}::\
         nic.driver: network card `test` is driven by e1000\n",
        expected_line()
    );
    assert_eq!(output, annotation);
    let (_, output, _) = report("github", run.path(), &[]);
    assert!(output.starts_with("## ❌ day1") && output.ends_with(&annotation), "{output}");
}

#[test]
fn sarif_points_at_the_scenario_s_line_and_at_the_evidence() {
    let run = recorded();
    let (code, output, error) = report("sarif", run.path(), &[]);
    assert_eq!(code, 0, "{error}");
    let sarif: Value = serde_json::from_str(&output).expect("JSON");
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "nic.driver");
    let place = &result["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], "scenarios/pull/pull-then-reboot.yaml");
    assert_eq!(place["region"]["startLine"], expected_line());
    assert_eq!(result["relatedLocations"][0]["physicalLocation"]["region"]["startLine"], 42);
}

#[test]
fn junit_attaches_the_files_of_a_run_where_they_are_now() {
    let run = recorded();
    let (code, output, error) = report("junit", run.path(), &[]);
    assert_eq!(code, 0, "{error}");
    let attached = run.path().join("pull/pull-then-reboot@debian-13/scenario.yaml");
    assert!(output.contains(&format!("\n[[ATTACHMENT|{}]]\n", attached.display())), "{output}");
    assert!(output.contains("type=\"nic.driver\"") && !output.contains("[[ATTACHMENT|elsewhere"), "{output}");
}

#[test]
fn what_is_no_run_is_bad_input() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for form in ["text", "junit", "github", "sarif"] {
        let (code, output, error) = report(form, dir.path(), &[]);
        assert_eq!((code, output.as_str()), (2, ""), "{form}");
        assert!(error.contains("results.json") && error.contains("is this the directory of a run"), "{error}");
    }
}

/// A reader may have had enough; a full disk has lost what was said.
#[test]
fn a_closed_pipe_is_no_error_and_a_full_disk_is_one() {
    let run = recorded();
    let run = run.path().to_str().expect("UTF-8");
    let day1 = || {
        let mut command = std::process::Command::new(assert_cmd::cargo::cargo_bin("day1"));
        command.current_dir(root()).env_remove("GITHUB_STEP_SUMMARY");
        command
    };
    for arguments in [
        &["doctor"][..],
        &["images", "list"],
        &["explain"],
        &["schema"],
        &["lint", "--rules"],
        &["new", "mine/later", "--happens", "later-boots", "--output", "-"],
        &["report", "text", run],
        &["report", "github", run],
        &["report", "junit", run],
        &["report", "sarif", run],
        &["report", "text", "no-such-run"],
        &["run", "no-such-trial", "--node", "debian-13"],
        &["run", "pull-then-reboot", "--node", "debian-13", "--list"],
    ] {
        let whole = day1().args(arguments).output().expect("it runs").status.code();
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let closed =
            day1().args(arguments).stdout(writer).stderr(std::process::Stdio::piped()).output().expect("it runs");
        assert_eq!(closed.status.code(), whole, "{arguments:?}: {}", String::from_utf8_lossy(&closed.stderr));
        // Nobody who reads standard error either.
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let unread = day1().args(arguments).stderr(writer).output().expect("it runs").status.code();
        assert_eq!(unread, whole, "{arguments:?}");
        let full = std::fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let full = day1().args(arguments).stdout(full).stderr(std::process::Stdio::piped()).output().expect("it runs");
        let words = String::from_utf8_lossy(&full.stderr).into_owned();
        if whole == Some(2) {
            continue;
        }
        assert_eq!(full.status.code(), Some(3), "{arguments:?}: {words}");
        assert!(words.contains("cannot write to standard output"), "{arguments:?}: {words}");
    }
}
