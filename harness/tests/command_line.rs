//! The `day1` program as a person calls it, without a VM.

use std::path::Path;

use assert_cmd::Command;

const PARAMETERS: [&str; 8] = [
    "--machine-config",
    "99-worker-nic",
    "--machine-config-pool",
    "worker",
    "--image",
    "quay.io/vendor/driver",
    "--kernel-module",
    "nic",
];

fn day1() -> Command {
    let mut command = Command::cargo_bin("day1").expect("the day1 program");
    command.env_remove("DAY1_CACHE");
    command
}

/// Runs it; gives its exit code, standard output and standard error.
fn outcome(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}

#[test]
fn generate_gives_the_same_bytes_twice() {
    let generate = || outcome(day1().arg("generate").args(PARAMETERS));
    let (code, first, _) = generate();
    assert_eq!(code, 0);
    assert!(first.contains("kind: MachineConfig"), "{first}");
    assert_eq!(first, generate().1);
}

#[test]
fn upstreams_flags_and_a_boot_module_config_give_the_same() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("bmc.yaml");
    let resource = "apiVersion: kmm.sigs.x-k8s.io/v1beta1\nkind: BootModuleConfig\nmetadata: {name: nic}\nspec:\n  \
                    machineConfigName: 99-worker-nic\n  machineConfigPoolName: worker\n  \
                    kernelModuleImage: quay.io/vendor/driver\n  kernelModuleName: nic\n  \
                    inTreeModulesToRemove: [e1000]\n  firmwareFilesPath: /firmware\n";
    std::fs::write(&file, resource).expect("written");
    let flags = ["--in-tree-modules-to-remove", "e1000", "--firmware-files-path", "/firmware"];
    let by_flags = outcome(day1().arg("generate").args(PARAMETERS).args(flags));
    let by_file = outcome(day1().args(["generate", "-f"]).arg(&file));
    assert_eq!(by_flags.0, 0, "{}", by_flags.2);
    assert_eq!(by_flags.1, by_file.1);
}

#[test]
fn the_policy_that_is_printed_is_the_one_that_is_tried() {
    let (code, text, _) = outcome(day1().arg("generate").args(PARAMETERS).arg("--node-disruption-policy"));
    assert_eq!(code, 0);
    let printed: serde_yaml::Value = serde_yaml::from_str(&text).expect("YAML");
    assert_eq!(printed["kind"], "MachineConfiguration");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/handover/image-change.yaml");
    let tried = std::fs::read_to_string(path).expect("read").replace("99-worker-day1-nic", "99-worker-nic");
    let tried: serde_yaml::Value = serde_yaml::from_str(&tried).expect("YAML");
    assert_eq!(printed["spec"]["nodeDisruptionPolicy"], tried["node-disruption-policy"]);
}

#[test]
fn an_image_with_a_tag_is_refused_with_what_would_be_right() {
    let mut parameters = PARAMETERS;
    parameters[5] = "quay.io/vendor/driver:v1";
    let (code, output, error) = outcome(day1().arg("generate").args(parameters));
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(error.contains("quay.io/vendor/driver:v1") && error.contains("quay.io/vendor/driver\""), "{error}");
}

/// Runs `day1 run` on a directory with one scenario; nothing may be built or started for a bad one.
fn run_scenario(scenario: &str) -> (i32, String, String) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let family = dir.path().join("scenarios/family");
    std::fs::create_dir_all(&family).expect("made");
    std::fs::write(family.join("name.yaml"), scenario).expect("written");
    let cache = dir.path().join("cache");
    let vm_images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images");
    let result = outcome(
        day1()
            .args(["run", "--node", "debian-13", "--scenarios"])
            .arg(dir.path().join("scenarios"))
            .arg("--vm-images")
            .arg(vm_images)
            .arg("--results")
            .arg(dir.path().join("results"))
            .arg("--cache")
            .arg(&cache),
    );
    assert!(!cache.join("node-image").exists(), "a node image was built for a bad scenario");
    result
}

const SCENARIO: &str = "description: x\nmachine-configs:\n  - generate:\n      machine_config_name: a\n      \
                        machine_config_pool_ref: worker\n      kernel_module_image: quay.io/v/d\n      \
                        kernel_module_name: m\nboots:\n  - ends: ready\n";

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    let (code, _, error) = run_scenario(&format!("{SCENARIO}nods: {{}}\n"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("name.yaml:10:1"), "{error}");
    assert!(error.contains("`nods`") && error.contains("node"), "{error}");
}

#[test]
fn a_bad_image_reference_is_refused_with_its_place() {
    let (code, _, error) = run_scenario(&SCENARIO.replace("quay.io/v/d", "quay.io/v/d:tag"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("name.yaml:6:28"), "{error}");
}

#[test]
fn a_missing_machine_config_file_is_refused_with_its_place() {
    let (code, _, error) =
        run_scenario("description: x\nmachine-configs:\n  - file: absent.yaml\nboots:\n  - ends: ready\n");
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("name.yaml:3:11") && error.contains("absent.yaml"), "{error}");
}

/// A driver whose image changes while the node runs: a second MachineConfig of its name.
fn change_of_image(then: &str, policy: &str) -> String {
    let config = |image: &str| {
        format!(
            "  - generate:\n      machine_config_name: 99-a\n      machine_config_pool_ref: worker\n      \
             kernel_module_image: {image}\n      kernel_module_name: m\n"
        )
    };
    let (old, new) = (config("quay.io/v/d"), config("quay.io/v/e"));
    format!(
        "description: x\nmachine-configs:\n{old}{new}    later: true\nnode-disruption-policy: {policy}\n\
         boots:\n  - ends: ready\n    then: {then}\n    expect:\n      unit.result: {{unit: load, result: success}}\n  - ends: ready\n"
    )
}

const POLICY: &str = "{files: [{path: /etc/day1/99-a/config, actions: [{type: Restart, restart: {serviceName: 99-a-pull-kernel-module-image.service}}]}]}";

#[test]
fn whether_a_change_reboots_is_the_mco_s_to_say() {
    let live = "[{apply: {machine-config: 99-a, reboots: false}}, power-cut]";
    let (code, _, error) = run_scenario(&change_of_image(live, "{}"));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("name.yaml:17:5"), "{error}");
    assert!(error.contains("file /etc/day1/99-a/config has no node disruption policy"), "{error}");
    let (code, _, error) = run_scenario(&change_of_image("[{apply: 99-a}]", POLICY));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("does not reboot the node") && error.contains("reboots: false"), "{error}");
    // It does nothing more to the node's files than the first one.
    let again = change_of_image("[{apply: {machine-config: 99-a, reboots: false}}, {apply: 99-b}]", POLICY);
    let (code, _, error) = run_scenario(&again);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("no MachineConfig under test is called \"99-b\""), "{error}");
    let (code, _, error) = run_scenario(&change_of_image("[{apply: {machine-config: 99-a, reboot: false}}]", POLICY));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("there is no key `reboot` here") && error.contains("Did you mean `reboots`"), "{error}");
}

#[test]
fn bad_policies_are_refused_with_their_place() {
    let live = "[{apply: {machine-config: 99-a, reboots: false}}, power-cut]";
    let refused = |policy: &str| {
        let (code, _, error) = run_scenario(&change_of_image(live, policy));
        assert_eq!(code, 2, "{error}");
        error
    };
    let error = refused("{files: [{path: /a, actions: [{type: Restart}]}]}");
    assert!(error.contains("name.yaml:14:55") && error.contains("it is not clear what is restarted"), "{error}");
    assert!(!error.contains("without an action"), "it was taken out, since it was wrong itself: {error}");
    let error = refused("{files: [{path: /a, actions: [{type: Reboot}, {type: Drain}]}]}");
    assert!(error.contains("`Reboot` stands alone"), "{error}");
    let error = refused("{files: [{path: etc/a, actions: [{type: None}]}]}");
    assert!(error.contains("`etc/a` is not an absolute path"), "{error}");
}

/// As `day1 run` and `day1 verify` say it, and before anything is listed or read.
#[test]
fn what_is_no_machine_config_is_told_by_its_own_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("mine.yaml");
    std::fs::write(&file, "kind: MachineConfg\napiVersion: machineconfiguration.openshift.io/v1\n").expect("written");
    let verify = ["verify", "--image", "oci:nowhere", "--module", "x", "--node", "debian-13", "--results"];
    for (words, results) in [(&["run", "--list", "--node", "debian-13", "--results"][..], "a"), (&verify, "b")] {
        let command = &mut day1();
        command.current_dir(&root).args(words).arg(dir.path().join(results)).arg("--machine-config").arg(&file);
        let (code, _, error) = outcome(command);
        assert_eq!(code, 2, "{error}");
        assert!(error.contains("mine.yaml:1:") && error.contains("MachineConf"), "{error}");
    }
}

/// Lists the trials of the project's scenarios with a file of snoozes.
fn list_with_snoozes(snoozes: &str) -> (i32, String, String) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = tempfile::tempdir().expect("temporary directory");
    let file = dir.path().join("snoozes.yaml");
    std::fs::write(&file, snoozes).expect("written");
    outcome(day1().current_dir(root).args(["run", "--list", "--node", "debian-13", "--snoozes"]).arg(file))
}

#[test]
fn a_snooze_for_nothing_is_refused_and_an_expired_one_is_loud() {
    let snooze = "- pattern: pull/pull-then-reboot\n  reason: known\n  tracker: https://example.com/issues/1\n  \
                  expires: 2026-01-31\n";
    let (code, output, error) = list_with_snoozes(snooze);
    assert_eq!(code, 0, "{error}");
    assert!(output.contains("pull/pull-then-reboot@debian-13: test"), "{output}");
    let told =
        "SNOOZE EXPIRED on 2026-01-31: pull/pull-then-reboot counts again (known; https://example.com/issues/1; ";
    assert!(error.contains(told) && error.contains("snoozes.yaml:1)"), "{error}");

    let (_, _, error) = list_with_snoozes(&snooze.replace("2026-01-31", "9999-12-31"));
    assert!(!error.contains("SNOOZE"), "{error}");

    for (from, to, told) in [
        ("pull-then-reboot", "pull-then-rebot", "snoozes.yaml:1:12"),
        ("https://example.com/issues/1", "'#1'", "snoozes.yaml:3:12"),
        ("2026-01-31", "31.1.2026", "snoozes.yaml:4:12"),
    ] {
        let (code, output, error) = list_with_snoozes(&snooze.replace(from, to));
        assert_eq!((code, output.as_str()), (2, ""), "{error}");
        assert!(error.contains(told), "{error}");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let words = ["run", "--list", "--node", "debian-13", "--snoozes", "absent.yaml"];
    let (code, _, error) = outcome(day1().current_dir(root).args(words));
    assert!(code == 2 && error.contains("cannot read absent.yaml"), "{error}");
}

#[test]
fn snoozes_lie_beside_the_scenarios() {
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::create_dir(dir.path().join("family")).expect("made");
    std::fs::write(dir.path().join("family/name.yaml"), SCENARIO).expect("written");
    std::fs::write(dir.path().join("snoozes.yaml"), "- {pattern: family/other}\n").expect("written");
    let vm_images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images");
    let mut command = day1();
    command.args(["run", "--list", "--node", "debian-13", "--scenarios"]).arg(dir.path());
    let (code, _, error) = outcome(command.arg("--vm-images").arg(vm_images));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("snoozes.yaml:1:3") && error.contains("`reason` is missing"), "{error}");
}

#[test]
fn mutants_and_shaken_trials_are_not_run_again() {
    for words in [["--mutants", "--retries=1"], ["--shake=2", "--retries=1"]] {
        let (code, _, error) = outcome(day1().arg("run").args(words));
        assert!(code == 2 && error.contains("cannot be used with"), "{error}");
    }
}

#[test]
fn each_schema_is_one() {
    for (words, title) in [
        (&["schema"][..], "Scenario of day1"),
        (&["schema", "snoozes"], "Snoozes of day1"),
        (&["schema", "results"], "Results of a day1 run"),
    ] {
        let (code, output, error) = outcome(day1().args(words));
        assert_eq!(code, 0, "{error}");
        let schema: serde_json::Value = serde_json::from_str(&output).expect("JSON");
        assert_eq!(schema["title"], title);
        assert!(jsonschema::meta::is_valid(&schema), "{words:?}");
    }
}

#[test]
fn to_shake_no_times_is_refused() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (code, _, error) = outcome(day1().current_dir(root).args(["run", "--shake", "0", "pull-then-reboot"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("--shake"), "{error}");
}

#[test]
fn results_that_would_lie_in_a_file_are_bad_usage() {
    let results = tempfile::NamedTempFile::new().unwrap();
    let words = ["verify", "--image", "oci:nowhere", "--module", "x", "--node", "debian-13", "--results"];
    let (code, _, told) = outcome(day1().args(words).arg(results.path()));
    assert_eq!(code, 2, "{told}");
    assert!(told.contains(&format!("cannot use {}", results.path().display())), "{told}");
}

#[test]
fn an_unknown_node_image_is_refused_with_the_known_ones() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let dir = tempfile::tempdir().expect("temporary directory");
    let (code, _, error) = outcome(
        day1().current_dir(root).args(["run", "--node", "solaris", "--cache"]).arg(dir.path()).arg("pull-then-reboot"),
    );
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("solaris") && error.contains("debian-13"), "{error}");
}

#[test]
fn a_directory_without_a_timeline_is_refused() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let (code, _, error) = outcome(day1().arg("judge").arg(dir.path()));
    assert_eq!(code, 2);
    assert!(error.contains("timeline.jsonl"), "{error}");
}

#[test]
fn a_timeline_without_its_facts_is_inconclusive() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let scenario = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/pull/pull-then-reboot.yaml");
    std::fs::copy(scenario, dir.path().join("scenario.yaml")).expect("copied");
    std::fs::write(dir.path().join("timeline.jsonl"), "").expect("written");
    let (code, output, error) = outcome(day1().arg("judge").arg(dir.path()));
    assert_eq!(code, 3, "{output}{error}");
    assert!(output.contains("facts were not recorded"), "{output}");
}

/// A stream that can't be reached, without `--node`.
#[test]
fn the_first_line_tells_the_default_node_and_why() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let stream = "kind: coreos-stream\nstream: http://127.0.0.1:1/stable.json\nsignature: none\n";
    std::fs::write(dir.path().join("fedora-coreos-stable.yaml"), stream).expect("written");
    std::fs::copy(root.join("vm-images/debian-13.yaml"), dir.path().join("debian-13.yaml")).expect("copied");
    let mut command = day1();
    command.current_dir(root).args(["run", "--list", "--cache"]).arg(dir.path().join("cache"));
    let (code, output, error) = outcome(command.arg("--vm-images").arg(dir.path()));
    assert_eq!(code, 0, "{error}");
    let expected = "node: debian-13 (Fedora CoreOS stable is not in the cache, and http://127.0.0.1:1/stable.json can't be reached: ";
    assert!(error.starts_with(expected), "{error}");
    assert!(output.lines().all(|line| !line.contains("node:") && !line.contains("fedora")), "{output}");
}

#[test]
fn a_driver_toolkit_that_is_not_there_is_bad_usage() {
    let (code, _, error) = outcome(day1().args(["run", "--node", "debian-13", "--driver-toolkit", "absent.tar"]));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("absent.tar") && error.contains("podman save"), "{error}");
}

#[test]
fn every_trial_is_listed_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (code, output, error) = outcome(day1().current_dir(root).args(["run", "--list", "--node", "debian-13"]));
    assert_eq!(code, 0, "{error}");
    let mut names: Vec<&str> = output.lines().filter_map(|line| line.strip_suffix(": test")).collect();
    assert!(names.contains(&"pull/pull-then-reboot@debian-13"), "{output}");
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "{output}");
}

#[test]
fn a_start_a_part_or_a_number_of_jobs_that_there_is_not_is_bad_usage() {
    let refused = [
        (["run", "--start", "warm"], "one of cold, template, pulled"),
        (["run", "--jobs", "0"], "1 or more"),
        (["bench", "--only", "floor,speed"], "the parts are floor, trials, memory, suite"),
    ];
    for (arguments, help) in refused {
        let (code, _, errors) = outcome(day1().args(arguments));
        assert_eq!(code, 2, "{arguments:?}: {errors}");
        assert!(errors.contains(help), "{arguments:?}: {errors}");
    }
}

/// As `pkill day1` sends them, to the run and to its guard at once.
#[test]
fn a_run_s_guard_removes_its_directory_also_after_signals() {
    use nix::sys::signal::{Signal, kill};

    let dir = tempfile::tempdir().expect("temporary directory");
    let scratch = dir.path().join("scratch");
    std::fs::create_dir(&scratch).expect("made");
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_day1"));
    command.arg("guard-scratch").arg(&scratch).stdin(std::process::Stdio::piped());
    let mut guard = command.spawn().expect("started");
    let blocks = || {
        let status = std::fs::read_to_string(format!("/proc/{}/status", guard.id())).expect("it runs");
        !status.lines().any(|line| line.starts_with("SigBlk:") && line.ends_with("\t0000000000000000"))
    };
    while !blocks() {
        std::thread::yield_now();
    }
    let pid = nix::unistd::Pid::from_raw(i32::try_from(guard.id()).expect("a pid"));
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        kill(pid, signal).expect("sent");
    }
    assert!(scratch.exists());
    drop(guard.stdin.take());
    assert!(guard.wait().expect("ended").success());
    assert!(!scratch.exists());
}

#[test]
fn a_check_is_explained_and_a_wrong_id_names_the_nearest() {
    let (code, output, _) = outcome(day1().args(["explain", "unit.before", "podman-wait"]));
    assert_eq!(code, 0);
    assert!(output.starts_with("unit.before (check of trials)\n  Shows: "), "{output}");
    assert!(output.contains("\npodman-wait (rule of day1 lint)\n"), "{output}");
    let (code, output, error) = outcome(day1().args(["explain", "unit.befor"]));
    assert_eq!((code, output.as_str()), (2, ""));
    assert!(error.contains("did you mean `unit.before`?"), "{error}");
    let (code, output, _) = outcome(day1().arg("explain"));
    assert_eq!(code, 0);
    for listed in ["module.replaced", "journal.clean/oops", "module.vermagic", "mode-refused"] {
        assert!(output.lines().any(|line| line.trim_start().starts_with(listed)), "{listed}: {output}");
    }
}

/// As bash itself asks when the tab key is pressed.
#[test]
fn a_shell_completes_names_of_checks_trials_and_node_images() {
    let (code, script, error) = outcome(day1().args(["completions", "bash"]));
    assert_eq!(code, 0, "{error}");
    let program = Path::new(env!("CARGO_BIN_EXE_day1")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let completed = |words: &str, last: &str| {
        let ask = format!(
            "{script}\nCOMP_WORDS=({words} {last}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n\
             _clap_complete_day1 day1 {last} x 2>/dev/null\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = Command::new("bash");
        bash.args(["-c", &ask]).env("PATH", &path).current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."));
        outcome(&mut bash).1
    };
    assert_eq!(completed("day1 explain", "unit.be"), "unit.before\n");
    assert_eq!(completed("day1 run", "pull/pull-then-r"), "pull/pull-then-reboot\n");
    assert_eq!(completed("day1 run --node", "debian-13-k"), "debian-13-kernels\n");
    assert_eq!(completed("day1", "g"), "generate\n", "what no person calls is not offered");
}

#[test]
fn a_shell_completes_the_trials_that_a_run_left() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let trial = "target/day1-results/pull/pull-then-reboot@debian-13";
    std::fs::create_dir_all(dir.path().join(trial)).expect("made");
    std::fs::write(dir.path().join(trial).join("timeline.jsonl"), "").expect("written");
    let completed = |command: &[&str], begun: &str| {
        let mut day1 = day1();
        day1.env("DAY1_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", (command.len() + 1).to_string());
        day1.args(["--", "day1"]).args(command).arg(begun).current_dir(dir.path());
        outcome(&mut day1).1
    };
    for command in [&["journal"][..], &["console"], &["judge"], &["report", "picture"]] {
        assert_eq!(completed(command, "pull/"), "pull/pull-then-reboot@debian-13", "{command:?}");
        assert_eq!(completed(command, "pull-t"), "pull-then-reboot@debian-13", "{command:?}");
        assert_eq!(completed(command, "target/day1-results/pull/p"), format!("{trial}/"), "{command:?}");
    }
    assert_eq!(completed(&["shell"], "pull/"), "", "it keeps no machine");
}

/// bash breaks words at `@`, `=` and `:`, and replaces what it takes for the last one.
#[test]
fn bash_completes_names_to_their_end() {
    let dir = tempfile::tempdir().expect("temporary directory");
    for trial in ["a/plain@debian-13", "a/plain@rhcos", "a/many[secret=no]@debian-13", "a/many[secret=other]@debian-13"]
    {
        let trial = dir.path().join("target/day1-results").join(trial);
        std::fs::create_dir_all(&trial).expect("made");
        std::fs::write(trial.join("timeline.jsonl"), "").expect("written");
    }
    let (_, script, _) = outcome(day1().args(["completions", "bash"]));
    let program = Path::new(env!("CARGO_BIN_EXE_day1")).parent().expect("a directory");
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
    let completed = |words: &str, last: &str| {
        let ask = format!(
            "{script}\nCOMP_LINE='day1 console {0}' COMP_POINT=$((${{#COMP_LINE}}))\nCOMP_WORDS=(day1 console {words})\n\
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n_day1 day1 '{last}' console\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.replace([' ', '\''], "")
        );
        let mut bash = Command::new("bash");
        outcome(bash.args(["-c", &ask]).env("PATH", &path).current_dir(dir.path())).1
    };
    assert_eq!(completed("plain", "plain"), "plain@debian-13\nplain@rhcos\n");
    assert_eq!(completed("plain @", ""), "debian-13\nrhcos\n");
    assert_eq!(completed("plain @ r", "r"), "rhcos\n");
    assert_eq!(completed("'many[secret' = o", "o"), "other]@debian-13\n");
}

#[test]
fn the_manual_has_a_page_for_each_command_that_a_person_calls() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let pages = dir.path().join("share/man1");
    let (code, _, error) = outcome(day1().arg("man").arg(&pages));
    assert_eq!(code, 0, "{error}");
    let page = |name: &str| std::fs::read_to_string(pages.join(name));
    for name in ["day1.1", "day1-run.1", "day1-images-get.1"] {
        let text = page(name).expect("a page");
        assert!(text.contains(".SH NAME") && text.contains("Examples:"), "{name}: {text}");
    }
    assert!(page("day1-guard-scratch.1").is_err() && page("day1-help.1").is_err());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let (code, _, error) = outcome(day1().arg("man").arg(file.path()));
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("cannot write the manual to"), "{error}");
}

#[test]
fn a_new_scenario_is_one_of_the_list_and_is_not_written_twice() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let scenarios = dir.path().join("scenarios");
    let new = || {
        let words = [
            "new",
            "mine/later",
            "--happens",
            "later-boots",
            "--description",
            "Mine: it is loaded again.",
            "--scenarios",
        ];
        outcome(day1().args(words).arg(&scenarios))
    };
    let (code, output, error) = new();
    assert_eq!(code, 0, "{error}");
    assert!(output.contains("mine/later.yaml: Mine: it is loaded again.\nrun it:  day1 run mine/later "), "{output}");
    let listed = outcome(
        day1()
            .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
            .args(["run", "--list", "--node", "debian-13", "mine/", "--scenarios"])
            .arg(&scenarios),
    );
    assert_eq!((listed.0, listed.1.lines().next()), (0, Some("mine/later@debian-13: test")), "{}", listed.2);
    let written = std::fs::read_to_string(scenarios.join("mine/later.yaml")).expect("the file");
    let (code, _, error) = new();
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("it is there already, and stays as it is"), "{error}");
    assert_eq!(std::fs::read_to_string(scenarios.join("mine/later.yaml")).expect("the file"), written);
}

#[test]
fn a_new_scenario_names_an_image_from_where_it_lies() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let here = dir.path().join("here");
    std::fs::create_dir_all(dir.path().join("real/deep")).expect("made");
    std::fs::create_dir_all(&here).expect("made");
    std::os::unix::fs::symlink("../real/deep", here.join("link")).expect("linked");
    let new = |image: &str, output: &str| {
        let words =
            ["new", "mine/own", "--happens", "later-boots", "--output", output, "--module", "nic", "--from", image];
        outcome(day1().current_dir(&here).args(words))
    };
    for (image, output, written) in [
        ("oci:build/image:1.2", "scenarios/mine/own.yaml", "oci:../../build/image:1.2"),
        ("oci:image", "../scenarios/own.yaml", "oci:../here/image"),
        ("oci:image", "made/../own.yaml", "oci:image"),
        ("oci:image", "link/own.yaml", "oci:../../here/image"),
        ("oci:.", "own-2.yaml", "oci:."),
        ("docker-archive:/srv/image.tar", "absolute.yaml", "docker-archive:/srv/image.tar"),
        ("quay.io/vendor/driver:1", "registry.yaml", "quay.io/vendor/driver:1"),
    ] {
        let (code, _, error) = new(image, output);
        assert_eq!(code, 0, "{image} {output}: {error}");
        let text = std::fs::read_to_string(here.join(output)).expect("the file");
        assert!(text.contains(&format!("from: \"{written}\"\n")), "{image} {output}: {text}");
    }
    for image in ["", "oci:", "no spaces please"] {
        let (code, _, error) = new(image, "refused.yaml");
        assert!(code == 2 && error.contains("--from"), "{image}: {code} {error}");
    }
}

#[test]
fn a_new_scenario_without_a_terminal_needs_its_flags() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let refused: [(&[&str], &str); 5] = [
        (&[], "FAMILY/NAME and --happens WHAT"),
        (&["mine/x"], "--happens WHAT"),
        (&["Mine/x", "--happens", "nothing"], "it is FAMILY/NAME"),
        (&["mine/x", "--happens", "storm"], "registry-late"),
        (&["mine/x", "--happens", "nothing", "--module", "ice"], "with --from IMAGE a module of yours is taken"),
    ];
    for (words, told) in refused {
        let (code, output, error) = outcome(day1().current_dir(&root).arg("new").args(words).write_stdin(""));
        assert_eq!((code, output.as_str()), (2, ""), "{words:?}: {error}");
        assert!(error.contains(told), "{words:?}: {error}");
    }
    let words = ["new", "mine/x", "--happens", "nothing", "--output", "-"];
    let (code, output, _) = outcome(day1().current_dir(&root).args(words));
    assert_eq!(code, 0);
    assert!(output.starts_with("# What it shows, in one line"), "{output}");
}

/// As a package puts it, or told by a variable; in a directory that has nothing of it.
#[test]
fn an_installed_program_finds_its_scenarios() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let nowhere = tempfile::tempdir().expect("temporary directory");
    // Beside the program itself, so that it needs no copy.
    let prefix = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("temporary directory");
    let share = prefix.path().join("share/day1");
    for dir in ["bin", "share/day1/scenarios/mine"] {
        std::fs::create_dir_all(prefix.path().join(dir)).expect("made");
    }
    let installed = prefix.path().join("bin/day1");
    std::fs::hard_link(env!("CARGO_BIN_EXE_day1"), &installed).expect("linked");
    std::os::unix::fs::symlink(root.join("vm-images"), share.join("vm-images")).expect("linked");
    let list = |program: &Path, data: Option<&Path>| {
        let mut command = Command::new(program);
        command.current_dir(&nowhere).env_remove("DAY1_DATA").env("DAY1_CACHE", nowhere.path());
        command.args(["run", "--list", "--node", "debian-13", "--all"]);
        if let Some(data) = data {
            command.env("DAY1_DATA", data);
        }
        outcome(&mut command)
    };
    let words = ["new", "mine/own", "--happens", "nothing", "--scenarios"];
    let (code, _, error) = outcome(day1().args(words).arg(share.join("scenarios")).current_dir(&root));
    assert_eq!(code, 0, "{error}");
    assert_eq!(list(&installed, None).1, "mine/own@debian-13: test\n");
    let program = Path::new(env!("CARGO_BIN_EXE_day1"));
    let (code, output, error) = list(program, Some(&root));
    assert!(code == 0 && output.contains("pull/pull-then-reboot@debian-13: test"), "{error}");
    let (code, _, error) = list(program, None);
    assert_eq!(code, 2, "{error}");
    assert!(error.contains("DAY1_DATA") && error.contains("--scenarios DIR"), "{error}");
}
