//! What a person looks into: a node that a run keeps, and what was recorded of one.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

/// The run, which ends with the test.
struct Run(Child);

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn day1(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_day1"));
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).args(words);
    command
}

fn outcome(command: &mut Command) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = command.output().expect("started");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code(), text(stdout), text(stderr))
}

/// A run of one trial that is over.
fn recorded() -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("temporary directory");
    let trial = dir.path().join("pull/one@debian-13");
    std::fs::create_dir_all(&trial).expect("made");
    std::fs::write(dir.path().join("results.json"), "{}").expect("written");
    let id = "0123456789abcdef0123456789abcdef";
    let fields = format!(
        r#"{{"__REALTIME_TIMESTAMP":"1700000000000000","__MONOTONIC_TIMESTAMP":"1","_BOOT_ID":"{id}","MESSAGE":"hello"}}"#
    );
    let events = [
        r#""boot":1,"kind":"console","line":"[    0.0] Linux version 6.12""#.to_owned(),
        format!(r#""boot":1,"kind":"journal","fields":{fields}"#),
    ];
    let lines = events.iter().enumerate().map(|(seq, event)| format!("{{\"seq\":{seq},\"at_us\":0,{event}}}\n"));
    std::fs::write(trial.join("timeline.jsonl"), lines.collect::<String>()).expect("written");
    std::fs::write(trial.join("console.log"), "\x1b[2J[    0.0] Linux version 6.12\r\n").expect("written");
    dir
}

#[test]
fn a_recorded_console_is_printed_and_a_boot_that_there_was_not_is_bad_usage() {
    let dir = recorded();
    let run = dir.path().display().to_string();
    let (code, output, errors) = outcome(&mut day1(&["console", &format!("{run}/one"), "--boot", "1"]));
    assert_eq!((code, output.as_str()), (Some(0), "[    0.0] Linux version 6.12\n"), "{errors}");
    let (code, output, _) = outcome(&mut day1(&["console", &format!("{run}/one/debian-13"), "--raw"]));
    assert_eq!((code, output.as_str()), (Some(0), "\x1b[2J[    0.0] Linux version 6.12\r\n"));
    let (code, _, errors) = outcome(&mut day1(&["console", &run, "--boot", "2"]));
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("no boot 2") && errors.contains("1 to 1"), "{errors}");
    let (code, _, errors) = outcome(&mut day1(&["console", &format!("{run}/two")]));
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("\"two\"") && errors.contains("pull/one@debian-13"), "{errors}");
}

#[test]
fn a_recorded_journal_is_read_with_journalctl_s_options() {
    if !Path::new("/lib/systemd/systemd-journal-remote").exists() {
        eprintln!("skipped: systemd-journal-remote is not installed");
        return;
    }
    let dir = recorded();
    let trial = dir.path().join("one").display().to_string();
    let (code, output, errors) = outcome(&mut day1(&["journal", &trial, "-b", "1", "-o", "cat"]));
    assert_eq!((code, output.as_str()), (Some(0), "hello\n"), "{errors}");
    let (code, _, errors) = outcome(&mut day1(&["journal", &trial, "--boot=2"]));
    assert_eq!(code, Some(2), "{errors}");
    assert!(errors.contains("no journal of boot 2"), "{errors}");
    assert_eq!(outcome(&mut day1(&["journal", &trial, "--no-such-option"])).0, Some(1), "journalctl's own");
}

#[test]
fn a_machine_that_is_not_there_is_told_with_what_is() {
    let dir = recorded();
    let trial = dir.path().join("pull/one@debian-13").display().to_string();
    for words in [&["shell", &trial, "--", "true"][..], &["continue", &trial], &["release", &trial]] {
        let (code, _, errors) = outcome(&mut day1(words));
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("its run has ended") && errors.contains(&format!("journal {trial}")), "{errors}");
    }
}

/// The trial need not be named where it is the only one; from the run's own directory a part of its name is enough.
#[test]
fn a_trial_that_is_not_named_is_the_only_one() {
    let dir = recorded();
    for words in [&["shell"][..], &["continue"], &["release"]] {
        let (code, _, errors) = outcome(day1(words).current_dir(dir.path()));
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains("pull/one@debian-13") && !errors.contains("Usage"), "it is looked for: {errors}");
    }
    let (code, output, errors) = outcome(day1(&["console", "one"]).current_dir(dir.path()));
    assert_eq!((code, output.as_str()), (Some(0), "[    0.0] Linux version 6.12\n"), "{errors}");
}

#[test]
fn what_is_no_event_and_what_is_no_choice_of_machines_is_bad_usage() {
    for (words, told) in [
        (&["run", "--break-at", "phase: done"][..], "'phase: settled'"),
        (&["run", "--break-boot", "2"], "--break-at"),
        (&["run", "--keep=some"], "`always`"),
        (&["run", "x", "--shake", "2", "--keep"], "--shake"),
    ] {
        let (code, _, errors) = outcome(&mut day1(words));
        assert_eq!(code, Some(2), "{words:?}: {errors}");
        assert!(errors.contains(told), "{words:?}: {errors}");
    }
}

/// The boot stops where the pull service starts, is looked into while it stands still, goes on, and is let go.
#[test]
#[ignore = "boots a machine; `cargo xtask ci` runs it"]
fn a_node_that_was_stopped_is_entered_goes_on_and_is_let_go() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let results = dir.path().display().to_string();
    let event = "unit: {name: pull, is: starting}";
    let mut run =
        day1(&["run", "--node", "debian-13", "pull/pull-then-reboot@", "--break-at", event, "--results", &results]);
    let mut run = Run(run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("started"));
    let mut said = std::io::BufRead::lines(std::io::BufReader::new(run.0.stderr.take().expect("its standard error")));
    assert!(
        said.by_ref().map_while(Result::ok).any(|line| line.starts_with("kept until Ctrl-C")),
        "the run ended without a machine that it keeps"
    );
    // So that the run never waits for somebody who reads.
    let rest = std::thread::spawn(move || said.map_while(Result::ok).count());

    let trial = dir.path().join("pull/pull-then-reboot@debian-13").display().to_string();
    let shell = |command: &str| outcome(&mut day1(&["shell", &trial, "--", command]));
    let freezer = "cat /sys/fs/cgroup/system.slice/systemd-udevd.service/cgroup.freeze";
    let (code, output, errors) = shell(&format!("{freezer}; id -un; echo to-stderr >&2; exit 7"));
    assert_eq!((code, output.as_str()), (Some(7), "1\nroot\n"), "{errors}");
    assert!(errors.contains("to-stderr"), "{errors}");
    // What is allowed to a person who has logged in; the programs of this one go on to domains of their own.
    let (code, output, errors) = shell("ip -brief link show lo; systemctl show -P LoadState systemd-udevd.service");
    assert!(output.contains("LOOPBACK") && output.ends_with("loaded\n"), "{code:?} {output} {errors}");
    let input = dir.path().join("input");
    std::fs::write(&input, vec![b'x'; 3 << 20]).expect("written");
    let mut counts = day1(&["shell", &trial, "--", "wc -c"]);
    let (code, output, errors) = outcome(counts.stdin(std::fs::File::open(&input).expect("readable")));
    assert_eq!((code, output.as_str()), (Some(0), "3145728\n"), "{errors}");
    // A terminal, which `script` gives to this end as well.
    let mut on_terminal = Command::new("script");
    let words = format!("{} shell {trial}", env!("CARGO_BIN_EXE_day1"));
    std::fs::write(&input, "tty; exit 5\n").expect("written");
    on_terminal.args(["--quiet", "--return", "--command", &words, "/dev/null"]);
    let (code, output, errors) = outcome(on_terminal.stdin(std::fs::File::open(&input).expect("readable")));
    assert_eq!(code, Some(5), "{output}{errors}");
    assert!(output.contains("/dev/pts/"), "{output}");

    // Three commands at once have all the ports that there are, and one more would.
    let begin = |_| {
        let mut sleeps = day1(&["shell", &trial, "--", "echo in; exec sleep 600"]);
        let mut sleeps = Run(sleeps.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("started"));
        let mut line = String::new();
        let output = sleeps.0.stdout.as_mut().expect("its standard output");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(output), &mut line).expect("read");
        assert_eq!(line, "in\n");
        sleeps
    };
    let many: Vec<Run> = (0..3).map(begin).collect();
    let (code, _, errors) = shell("true");
    assert!(code == Some(2) && errors.contains("they are taken; end one of them first"), "{code:?} {errors}");
    drop(many);

    assert_eq!(outcome(&mut day1(&["continue", &trial])).0, Some(0));
    assert_eq!(shell(freezer).1, "0\n");
    let (code, output, errors) = outcome(&mut day1(&["journal", &trial, "--boot", "1", "-u", "init.scope", "-n", "1"]));
    assert_eq!((code, output.lines().count()), (Some(0), 1), "{output}{errors}");
    let (_, output, errors) = outcome(&mut day1(&["console", &trial, "--boot", "1"]));
    assert!(output.contains("Linux version "), "{output}{errors}");

    assert_eq!(outcome(&mut day1(&["release", &trial])).0, Some(0));
    let status = run.0.wait().expect("ended");
    assert_eq!(status.code(), Some(3), "a trial that was stopped has no verdict");
    let read = std::fs::read_to_string(dir.path().join("results.json")).expect("results");
    assert!(read.contains("\"inconclusive\"") && read.contains("--break-at wants it"), "{read}");
    rest.join().expect("read to its end");
    assert_eq!(shell("true").0, Some(2), "nobody is there any more");
}
