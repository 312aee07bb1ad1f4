//! JUnit XML, for CI systems that show it.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use quick_junit::{FlakyOrRerun, NonSuccessKind, Report, TestCase, TestCaseStatus, TestRerun, TestSuite, XmlString};

use super::results::wrong;
use super::{Attempt, Host, RunResults, TrialResult, words};
use crate::checks::{Finding, Verdict};

/// Files of a trial that are attached to its case. Of several, GitLab shows the first.
const ATTACHED: [&str; 5] = ["console.log", "timeline.jsonl", "rendered.ign", "scenario.yaml", "result.json"];

/// Writes the run whose directory is `dir` as JUnit XML: a suite per scenario family, a case per trial.
///
/// Paths of attached files begin where `dir` does. GitLab takes them relative to the project's directory, and Jenkins's plugin
/// `junit-attachments` relative to the workspace or absolute, so that either finds them in a run from the repository's root.
pub fn write(results: &RunResults, dir: &Path, to: impl Write) -> io::Result<()> {
    let mut report = Report::new("day1");
    report.set_time(Duration::from_secs_f64(results.seconds));
    let mut families: Vec<&str> = results.trials.iter().map(|trial| family(&trial.trial)).collect();
    families.dedup();
    for name in families {
        let mut suite = TestSuite::new(name);
        let trials: Vec<&TrialResult> = results.trials.iter().filter(|trial| family(&trial.trial) == name).collect();
        suite.set_time(trials.iter().map(|trial| Duration::from_secs_f64(trial.seconds)).sum());
        suite.add_test_cases(trials.into_iter().map(|trial| case(results, trial, dir)));
        report.add_test_suite(suite);
    }
    report.serialize(to).map_err(io::Error::other)
}

fn family(trial: &str) -> &str {
    trial.split_once('/').map_or("scenarios", |(family, _)| family)
}

fn case(results: &RunResults, trial: &TrialResult, dir: &Path) -> TestCase {
    let own = dir.join(&trial.trial);
    let mut case = TestCase::new(clean(&trial.trial), status(trial, &own));
    // A class of its own for each: Jenkins keeps one attached file of a name for each class. The last dot parts it from
    // its package there.
    let class = trial.trial.replace('.', "_").replace('/', ".");
    case.set_classname(clean(&class));
    case.set_time(Duration::from_secs_f64(trial.seconds));
    for (name, value) in properties(results, trial) {
        case.add_property((name, clean(&value).as_str()));
    }
    case.set_system_out(format!("{}{}", clean(&super::describe_trial(trial)), attachments(&own)));
    case
}

fn status(trial: &TrialResult, dir: &Path) -> TestCaseStatus {
    let is_good_mutant = trial.mutant.as_ref().is_some_and(super::MutantResult::is_good);
    let mut status = match trial.verdict {
        _ if is_good_mutant => TestCaseStatus::success(),
        _ if trial.is_snoozed() => TestCaseStatus::skipped(),
        // A trial of a part that never reported: nothing is known of it.
        Verdict::Skipped if trial.is_red() => TestCaseStatus::non_success(NonSuccessKind::Error),
        Verdict::Skipped => TestCaseStatus::skipped(),
        Verdict::Flaky if !trial.is_red() => TestCaseStatus::success(),
        Verdict::Pass if !trial.is_red() => TestCaseStatus::success(),
        // What only the harness lost is no failure of the node's.
        Verdict::Flaky if !trial.attempts.iter().any(|one| one.verdict == Verdict::Fail) => {
            TestCaseStatus::non_success(NonSuccessKind::Error)
        }
        Verdict::Fail | Verdict::Pass | Verdict::Flaky => TestCaseStatus::non_success(NonSuccessKind::Failure),
        Verdict::Inconclusive | Verdict::Infra => TestCaseStatus::non_success(NonSuccessKind::Error),
    };
    let wrong = wrong(trial.verdict, &trial.findings);
    let lines = lines(trial.reason.as_deref(), &wrong);
    let message = match (&trial.snoozed, trial.verdict) {
        (Some(snoozed), _) if snoozed.holds() => snoozed.by.iter().map(words::snooze).collect::<Vec<_>>().join("; "),
        (_, Verdict::Flaky) => format!("flaky: it {}", words::attempts(trial).unwrap_or_default()),
        // A line feed in an attribute reads as a space.
        _ => lines.lines().next().unwrap_or_default().to_owned(),
    };
    status.set_message(clean(&message)).set_type(kind(trial, &wrong));
    if !lines.is_empty() {
        status.set_description(clean(&lines));
    }
    if !is_good_mutant {
        status.add_reruns(trial.attempts.iter().map(|attempt| rerun(attempt, dir)));
        status.set_rerun_kind(if trial.verdict == Verdict::Flaky { FlakyOrRerun::Flaky } else { FlakyOrRerun::Rerun });
    }
    status
}

/// What is wrong, in a word: the check that failed first, where one did.
fn kind(trial: &TrialResult, wrong: &[&Finding]) -> String {
    match (trial.verdict, wrong.first()) {
        _ if trial.is_snoozed() => "snoozed".into(),
        (Verdict::Flaky, _) => "flaky".into(),
        (Verdict::Infra, _) => "infra".into(),
        (_, Some(finding)) => finding.check.clone(),
        (Verdict::Skipped, None) => "skipped".into(),
        (Verdict::Inconclusive, None) => "inconclusive".into(),
        (Verdict::Pass | Verdict::Fail, None) => "mutant".into(),
    }
}

fn lines(reason: Option<&str>, wrong: &[&Finding]) -> String {
    let findings = wrong.iter().map(|finding| format!("{}: {}", finding.check, finding.message));
    reason.into_iter().map(str::to_owned).chain(findings).collect::<Vec<_>>().join("\n")
}

fn rerun(attempt: &Attempt, dir: &Path) -> TestRerun {
    let wrong = wrong(attempt.verdict, &attempt.findings);
    let kind = if attempt.verdict == Verdict::Fail { NonSuccessKind::Failure } else { NonSuccessKind::Error };
    let mut rerun = TestRerun::new(kind);
    rerun.set_time(Duration::from_secs_f64(attempt.seconds));
    rerun.set_message(clean(&super::describe_attempt(attempt)));
    let check = wrong.first().filter(|_| attempt.verdict != Verdict::Infra);
    rerun.set_type(check.map_or("infra", |finding| &finding.check));
    rerun.set_description(clean(&lines(attempt.reason.as_deref(), &wrong)));
    rerun.set_system_out(attachments(&dir.join(&attempt.dir)));
    rerun
}

/// What a person filters by.
fn properties(results: &RunResults, trial: &TrialResult) -> Vec<(&'static str, String)> {
    let node = trial.trial.rsplit_once('@').map_or("", |(_, node)| node);
    let (node, kernel) = node.split_once(',').unwrap_or((node, ""));
    let mut properties = vec![
        ("verdict", words::word(trial).to_lowercase()),
        ("node-image", node.to_owned()),
        ("kernel", kernel.to_owned()),
        ("accelerator", accelerator(results, node)),
        ("start", trial.start.clone()),
        ("scenario", trial.scenario.display().to_string()),
    ];
    properties.extend(trial.snoozed.iter().flat_map(|snoozed| &snoozed.by).map(|by| ("snooze", words::snooze(by))));
    properties.retain(|(_, value)| !value.is_empty());
    properties
}

/// `kvm` or `tcg`; nothing where it was not the same in all runs that the results are joined from.
fn accelerator(results: &RunResults, node: &str) -> String {
    let runs = results.shards.iter().flat_map(|shard| &shard.runs).map(|run| &run.host);
    let hosts: Vec<&Host> = if results.shards.is_empty() { vec![&results.host] } else { runs.collect() };
    let words = hosts.iter().filter_map(|host| host.acceleration.get(node)?.split_whitespace().next());
    let words: BTreeSet<&str> = words.collect();
    if words.len() == 1 { words.into_iter().collect() } else { String::new() }
}

/// A line for each file that is there, by itself, as Jenkins wants it.
fn attachments(dir: &Path) -> String {
    let there = ATTACHED.iter().map(|name| dir.join(name)).filter(|path| path.is_file());
    there.map(|path| format!("\n[[ATTACHMENT|{}]]", path.display())).chain(["\n".into()]).collect()
}

/// Text without what XML can't hold, which `quick-junit` leaves some of, and in which a guest's console can attach nothing.
fn clean(text: &str) -> String {
    // What it takes out may part what is looked for.
    let text = XmlString::new(text).into_string();
    text.replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}").replace("[[ATTACHMENT|", "[ [ATTACHMENT|")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    /// The run as a reader of JUnit has it.
    fn read(results: &RunResults, dir: &Path) -> (Report, String) {
        let mut bytes = Vec::new();
        write(results, dir, &mut bytes).expect("written");
        let text = String::from_utf8(bytes).expect("UTF-8");
        (Report::deserialize_from_str(&text).expect("JUnit"), text)
    }

    fn case<'r>(report: &'r Report, name: &str) -> &'r TestCase {
        let mut cases = report.test_suites.iter().flat_map(|suite| &suite.test_cases);
        cases.find(|case| case.name.as_str().contains(name)).expect("a case")
    }

    fn told(status: &TestCaseStatus) -> (&str, String, String) {
        let text = |text: &Option<XmlString>| text.as_ref().map(|text| text.as_str().to_owned());
        match status {
            TestCaseStatus::Success { .. } => ("success", String::new(), String::new()),
            TestCaseStatus::Skipped { message, ty, .. } => {
                ("skipped", text(ty).unwrap_or_default(), text(message).unwrap_or_default())
            }
            TestCaseStatus::NonSuccess { kind, message, ty, .. } => {
                let kind = if *kind == NonSuccessKind::Failure { "failure" } else { "error" };
                (kind, text(ty).unwrap_or_default(), text(message).unwrap_or_default())
            }
        }
    }

    #[test]
    fn each_trial_is_a_case_with_its_status_and_the_check_that_failed() {
        let (report, _) = read(&fixture::run(), Path::new("absent"));
        assert_eq!((report.tests, report.failures, report.errors, report.skipped), (11, 3, 2, 2));
        let wrong = "nic.driver: network card `test` is driven by e1000, not by day1_nic";
        let snoozed = "snoozed until 2026-12-31: a half-written store is taken for a whole one (scenarios/snoozes.yaml:7; https://example.com/issues/1)";
        for (name, status, kind, message) in [
            ("/passed@", "success", "", ""),
            ("/failed[", "failure", "nic.driver", wrong),
            ("/unclear@", "error", "nic.driver", wrong),
            ("/lost@", "error", "infra", "cannot start QEMU: no memory"),
            ("/skipped@", "skipped", "skipped", "never ran: the run ended before its turn"),
            ("/holds@", "skipped", "snoozed", snoozed),
            ("/expired@", "failure", "nic.driver", wrong),
            ("/passes@", "success", "", ""),
            ("/flaky@", "failure", "flaky", "flaky: it ran 3 times, and passed the last time"),
            ("/tolerated@", "success", "", ""),
            ("/caught@", "success", "", ""),
        ] {
            let case = case(&report, name);
            assert_eq!(told(&case.status), (status, kind.to_owned(), message.to_owned()), "{name}");
        }
        let passed = case(&report, "/passed@");
        assert_eq!(passed.time, Some(Duration::from_secs_f64(90.5)));
        let properties: Vec<String> =
            passed.properties.iter().map(|one| format!("{}={}", one.name.as_str(), one.value.as_str())).collect();
        let expected = ["verdict=pass", "node-image=debian-13", "accelerator=tcg", "start=template"];
        assert_eq!(properties[..4], expected);
    }

    #[test]
    fn every_attempt_of_a_flaky_trial_is_there() {
        let (report, text) = read(&fixture::run(), Path::new("absent"));
        let TestCaseStatus::NonSuccess { reruns, .. } = &case(&report, "/flaky@").status else { panic!("{text}") };
        assert_eq!((reruns.runs.len(), reruns.kind), (2, FlakyOrRerun::Flaky));
        let TestCaseStatus::Success { flaky_runs } = &case(&report, "/tolerated@").status else { panic!("{text}") };
        let kinds: Vec<NonSuccessKind> = flaky_runs.iter().map(|run| run.kind).collect();
        assert_eq!(kinds, [NonSuccessKind::Failure, NonSuccessKind::Error]);
    }

    #[test]
    fn what_is_there_is_attached_for_each_trial_in_a_class_of_its_own() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut results = fixture::run();
        results.trials.retain(|trial| trial.trial.contains("/failed[") || trial.trial.contains("/flaky@"));
        for below in ["pull/failed[secret=wrong]@debian-13", "ordering/flaky@debian-13/attempt-1"] {
            std::fs::create_dir_all(dir.path().join(below)).expect("made");
            std::fs::write(dir.path().join(below).join("timeline.jsonl"), "").expect("written");
        }
        let (report, text) = read(&results, dir.path());
        let line = |below: &str| format!("[[ATTACHMENT|{}]]", dir.path().join(below).join("timeline.jsonl").display());
        let own = line("pull/failed[secret=wrong]@debian-13");
        let failed = case(&report, "/failed[");
        let out = failed.system_out.as_ref().expect("output").as_str();
        assert!(out.lines().any(|one| one == own), "{out}");
        assert!(!text.contains("rendered.ign") && text.contains(&line("ordering/flaky@debian-13/attempt-1")), "{text}");
        let class = |name: &str| case(&report, name).classname.as_ref().expect("a class").as_str().to_owned();
        assert_eq!(class("/failed["), "pull.failed[secret=wrong]@debian-13");
        assert_eq!(class("/flaky@"), "ordering.flaky@debian-13");
    }

    #[test]
    fn what_a_guest_says_neither_breaks_the_xml_nor_attaches_files() {
        let mut results = fixture::run();
        let trial = results.trials.iter_mut().find(|trial| trial.trial.contains("/failed[")).expect("a trial");
        trial.findings[1].message = "\u{0}\u{1b}[31mred\u{8} ]]> <&\" \u{ffff}".into();
        trial.findings[1].evidence[0].text = "[[ATTACHMENT|/etc/shadow]] [[ATT\u{1b}[0mACHMENT|/etc/passwd]]".into();
        let (report, text) = read(&results, Path::new("absent"));
        let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\t' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}');
        assert!(!text.contains(bad), "{text:?}");
        assert!(!text.contains("[[ATTACHMENT|"), "{text}");
        let (_, _, message) = told(&case(&report, "/failed[").status);
        assert_eq!(message, "nic.driver: red ]]> <&\" \u{fffd}");
    }
}
