//! Runs in parts, as a person calls them, without a VM: what is selected, planned, needed and joined.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// In the repository, with a cache that nothing is in.
fn day1(cache: &Path) -> Command {
    let mut command = Command::cargo_bin("day1").expect("the day1 program");
    command.env("DAY1_CACHE", cache).current_dir(root());
    command
}

fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("temporary directory")
}

fn listed(words: &[&str]) -> Vec<String> {
    let dir = temporary();
    let (code, output, error) = outcome(day1(dir.path()).args(["run", "--list", "--node", "debian-13"]).args(words));
    assert_eq!(code, 0, "{error}");
    output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

fn plan(words: &[&str]) -> Value {
    let dir = temporary();
    let words = ["run", "--list", "--format", "json", "--node", "debian-13"].iter().chain(words);
    let (code, output, error) = outcome(day1(dir.path()).args(words));
    assert_eq!(code, 0, "{error}");
    serde_json::from_str(&output).expect("JSON")
}

fn names(plan: &Value) -> Vec<&str> {
    let scenarios = plan["scenarios"].as_array().expect("a list").iter();
    let trials = scenarios.flat_map(|one| one["trials"].as_array().expect("a list"));
    trials.map(|name| name.as_str().expect("a name")).collect()
}

#[test]
fn slices_deal_out_what_all_other_filters_leave() {
    for filter in [&["--all"][..], &["--all", "registry/"]] {
        let all = listed(filter);
        let slices: Vec<Vec<String>> =
            (1..=4).map(|part| listed(&[filter, &["--partition", &format!("slice:{part}/4")]].concat())).collect();
        for (index, name) in all.iter().enumerate() {
            assert!(slices[index % 4].contains(name), "{name}");
        }
        assert_eq!(slices.iter().map(Vec::len).sum::<usize>(), all.len());
    }
}

#[test]
fn a_part_of_no_trial_is_no_bad_usage_and_leaves_results() {
    let dir = temporary();
    let results = dir.path().join("results");
    let run = |partition: &str| {
        let mut command = day1(dir.path());
        command.args(["run", "--node", "debian-13", "pull/pull-then-reboot@", "--partition", partition, "--results"]);
        outcome(command.arg(&results))
    };
    let (code, output, error) = run("slice:2/2");
    assert_eq!(code, 0, "{error}");
    assert!(output.contains("slice:2/2 has none of the trials"), "{output}");
    let text = fs::read_to_string(results.join("results.json")).expect("results");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!((&value["part"]["partition"], &value["part"]["trials"]), (&json!("slice:2/2"), &json!(1)));
    assert!(results.join("plan.json").exists());
    let (code, _, error) = run("slice:3/2");
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("slice:K/N"), "{error}");
}

#[test]
fn a_plan_names_all_trials_of_all_parts() {
    let whole = plan(&["--all"]);
    let listed = listed(&["--all"]);
    assert_eq!(names(&whole).into_iter().collect::<BTreeSet<_>>(), listed.iter().map(String::as_str).collect());
    assert_eq!(plan(&["--all", "--partition", "hash:1/7"]), whole);
    let cold = plan(&["--all", "--start", "cold"]);
    assert_eq!(cold["settings"]["start"], "cold");
    assert_eq!(names(&cold), names(&whole));
}

/// Lets the cache have debian-13 with two kernels, as far as anything but a machine looks at it.
fn pretend_cached(cache: &Path) {
    let words = ["run", "--node", "debian-13", "--list=artifacts", "--format", "json"];
    let (_, output, error) = outcome(day1(cache).args(words));
    let value: Value = serde_json::from_str(&output).expect(&error);
    let entry = cache.join(value["artifacts"][0]["cache"].as_str().expect("a place"));
    fs::create_dir_all(&entry).expect("made");
    let kernels =
        json!([{"release": "6.12.1-amd64", "suite": "trixie"}, {"release": "6.1.0-amd64", "suite": "bookworm"}]);
    let facts = json!({"kernels": kernels, "distribution": "debian", "distribution_version": "trixie",
        "mirror": "http://mirror.example/debian", "takes_boot_arguments": true, "versions": {}});
    fs::write(entry.join("facts.json"), facts.to_string()).expect("written");
    fs::write(entry.join("digest.txt"), "0".repeat(64)).expect("written");
}

#[test]
fn what_trials_take_from_elsewhere_is_told_before_it_is_fetched() {
    let dir = temporary();
    let words = ["run", "--node", "debian-13", "--list=artifacts", "pull/pull-then-reboot@"];
    let (code, output, error) = outcome(day1(dir.path()).args(words).args(["--format", "json"]));
    assert_eq!(code, 0, "{error}");
    let value: Value = serde_json::from_str(&output).expect("JSON");
    let [image] = value["artifacts"].as_array().expect("a list").as_slice() else { panic!("{output}") };
    assert_eq!(
        (&image["kind"], &image["name"], &image["trials"]),
        (&json!("node-image"), &json!("debian-13"), &json!(1))
    );
    assert_eq!((&image["cached"], &image["sizeBytes"]), (&json!(false), &Value::Null));
    assert_eq!(image["from"], json!(["http://deb.debian.org/debian bookworm", "http://deb.debian.org/debian trixie"]));
    assert!(output.contains("day1 images get debian-13"), "its kernels are not known: {output}");
    // An image that is there tells its kernels, and those what modules are built with.
    pretend_cached(dir.path());
    let (code, output, error) = outcome(day1(dir.path()).args(words));
    assert_eq!(code, 0, "{error}");
    for part in [
        "node-image debian-13, for 1 trial: cached",
        "build-root 6.12.1-amd64, for 1 trial: not cached",
        "http://mirror.example/debian-security trixie-security main",
        "linux-headers-6.12.1-amd64:amd64",
    ] {
        assert!(output.contains(part), "{part}: {output}");
    }
    assert!(!output.contains("not known") && !output.contains("6.1.0"), "{output}");
    // A kernel is chosen by its place, too.
    let (_, output, _) = outcome(day1(dir.path()).args(words).args(["--kernel", "2"]));
    assert!(output.contains("build-root 6.1.0-amd64") && output.contains("bookworm-security"), "{output}");
    let (code, _, error) = outcome(day1(dir.path()).args(words).args(["--kernel", "3"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("has no kernel 3, only 6.12.1-amd64, 6.1.0-amd64"), "{error}");
}

/// Scenarios about several kernels belong to the first: where each kernel has a run of its own, each trial is planned once.
#[test]
fn no_trial_is_planned_twice_where_each_kernel_has_a_run_of_its_own() {
    let dir = temporary();
    let list = |kernel: &[&str]| {
        let words = ["run", "--node", "debian-13", "--list", "--all"];
        let (code, output, error) = outcome(day1(dir.path()).args(words).args(kernel));
        assert_eq!(code, 0, "{error}");
        output.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect::<Vec<_>>()
    };
    pretend_cached(dir.path());
    let apart: Vec<String> = [list(&["--kernel", "1"]), list(&["--kernel", "2"])].concat();
    let together = list(&["--kernel", "all"]);
    assert_eq!(apart.iter().collect::<BTreeSet<_>>(), together.iter().collect());
    assert_eq!(apart.len(), together.len());
}

/// What `day1 run` leaves, by hand: two shards of the same plan, of which the first is `verdict`.
fn shards(dir: &Path, verdict: &str) -> Vec<PathBuf> {
    let plan = plan(&["registry/"]);
    let mut names = names(&plan);
    names.sort_unstable();
    let run = |part: usize| {
        let trials = names.iter().enumerate().filter(|(index, _)| index % 2 == part - 1).map(|(_, name)| {
            json!({"trial": name, "scenario": "x.yaml", "verdict": verdict, "seconds": 1.0, "start": "template"})
        });
        let dir = dir.join(format!("shard-{part}"));
        fs::create_dir_all(&dir).expect("made");
        fs::write(dir.join("plan.json"), plan.to_string()).expect("written");
        // Results name their plan by the digest that a run gives it.
        let partition = format!("slice:{part}/2");
        let part = json!({"plan": digest(&partition), "trials": names.len(), "partition": partition});
        let results = json!({"version": 1, "day1": "0.1.0", "started": "2026-11-26T01:00:00Z", "seconds": 2.0,
            "host": {"cores": 2, "acceleration": {}, "deadline_factor": {}}, "part": part,
            "trials": trials.collect::<Vec<_>>()});
        fs::write(dir.join("results.json"), results.to_string()).expect("written");
        dir
    };
    vec![run(1), run(2)]
}

/// As a run that has no trial says it.
fn digest(partition: &str) -> Value {
    let dir = temporary();
    let results = dir.path().join("results");
    let empty = format!("hash:{}/99991", partition.len());
    let mut command = day1(dir.path());
    command.args(["run", "--node", "debian-13", "registry/", "--partition", &empty, "--results"]);
    let (code, _, error) = outcome(command.arg(&results));
    assert_eq!(code, 0, "{error}");
    let text = fs::read_to_string(results.join("results.json")).expect("results");
    serde_json::from_str::<Value>(&text).expect("JSON")["part"]["plan"].clone()
}

#[test]
fn shards_are_joined_with_the_exit_code_of_a_run() {
    for (verdict, expected) in [("pass", 0), ("fail", 1), ("inconclusive", 3)] {
        let dir = temporary();
        let shards = shards(dir.path(), verdict);
        let into = dir.path().join("joined");
        let merge = |shards: &[PathBuf], into: &Path| {
            outcome(day1(dir.path()).args(["report", "merge"]).args(shards).arg("--into").arg(into))
        };
        let (code, output, error) = merge(&shards, &into);
        assert_eq!(code, expected, "{output}{error}");
        assert!(output.contains("2 shards: all reported"), "{output}");
        let (code, told, _) = outcome(day1(dir.path()).args(["report", "text"]).arg(&into));
        assert_eq!(code, expected, "the joined run is a run");
        assert!(told.contains("registry/proxy@debian-13"), "{told}");
        // Again, into the same directory, and without a shard.
        let (code, _, error) = merge(&shards, &into);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("is not empty"), "{error}");
        let (code, output, _) = merge(&shards[1..], &dir.path().join("another"));
        assert_eq!(code, if expected == 1 { 1 } else { 3 }, "{output}");
        assert!(output.contains("1 never reported") && output.contains("slice:1/2"), "{output}");
        let (code, _, error) = merge(&[dir.path().join("absent")], &dir.path().join("third"));
        assert_eq!(code, 2, "{error}");
    }
}
