//! What trials and runs are called, wherever they are told: on the terminal, on the page, to GitHub, as JUnit.

use std::path::Path;

use super::results::wrong;
use super::{Attempt, MutantOutcome, MutantResult, RunResults, SnoozeOutcome, Snoozed, SnoozedBy, TrialResult};
use crate::checks::{Finding, Outcome, Verdict};
use crate::process::{pasted, this_program};
use crate::text::{number, printable};

/// How many shards a summary names.
const NAMED: usize = 8;

/// The words that trials come to, in the order in which a summary counts them.
const WORDS: [&str; 12] = [
    "PASS",
    "FAIL",
    "FLAKY",
    "INCONCLUSIVE",
    "INFRA",
    "SKIPPED",
    "SNOOZED",
    "CAUGHT",
    "PASSED",
    "MISSED",
    "FALSE ALARM",
    "UNCLEAR",
];

/// What a trial came to, in a word.
pub(super) fn word(result: &TrialResult) -> &'static str {
    match &result.mutant {
        Some(mutant) => mutant_word(mutant.outcome),
        None if result.is_snoozed() => "SNOOZED",
        None => verdict_word(result.verdict),
    }
}

/// What a finding is about: a boot, a node, or the whole trial.
pub(super) fn subject(finding: &Finding) -> String {
    let boot = finding.boot.map(|boot| format!("boot {boot}"));
    let both: Vec<String> = finding.node.iter().cloned().chain(boot).collect();
    if both.is_empty() { "in all".to_owned() } else { both.join(", ") }
}

/// The findings in the order of the nodes and their boots; what concerns the trial as a whole stands last.
pub(super) fn in_order<'f>(findings: impl IntoIterator<Item = &'f Finding>) -> Vec<&'f Finding> {
    let mut findings: Vec<&Finding> = findings.into_iter().collect();
    findings.sort_by_key(|finding| (finding.node.is_none(), finding.node.as_deref(), finding.boot.unwrap_or(u32::MAX)));
    findings
}

pub(super) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "PASS",
        Verdict::Fail => "FAIL",
        Verdict::Flaky => "FLAKY",
        Verdict::Inconclusive => "INCONCLUSIVE",
        Verdict::Infra => "INFRA",
        Verdict::Skipped => "SKIPPED",
    }
}

fn mutant_word(outcome: MutantOutcome) -> &'static str {
    match outcome {
        MutantOutcome::Caught => "CAUGHT",
        MutantOutcome::Missed => "MISSED",
        MutantOutcome::Passed => "PASSED",
        MutantOutcome::FalseAlarm => "FALSE ALARM",
        MutantOutcome::Unclear => "UNCLEAR",
    }
}

/// How many trials came to what, by their words; what none came to is left out.
pub(super) fn counts(trials: &[TrialResult]) -> Vec<(&'static str, usize)> {
    let count = |wanted: &str| trials.iter().filter(|trial| word(trial) == wanted).count();
    WORDS.iter().map(|word| (*word, count(word))).filter(|(_, count)| *count > 0).collect()
}

/// The same in a line.
pub(super) fn counted(trials: &[TrialResult]) -> String {
    let counts = counts(trials).into_iter().map(|(word, count)| format!("{count} {}", word.to_lowercase()));
    counts.collect::<Vec<_>>().join(", ")
}

/// Why a trial is no plain pass, in a line: its reason, or the first finding that did not pass.
pub(super) fn why(result: &TrialResult) -> Option<String> {
    match result.verdict {
        _ if result.mutant.as_ref().is_some_and(MutantResult::is_good) => None,
        Verdict::Flaky if is_last(result) => Some("passed only when it was run again".into()),
        Verdict::Flaky => Some("did not pass when it was run again".into()),
        verdict => because(verdict, result.reason.as_deref(), &result.findings),
    }
}

fn because(verdict: Verdict, reason: Option<&str>, findings: &[Finding]) -> Option<String> {
    match (reason, wrong(verdict, findings).first()) {
        (Some(reason), _) => Some(printable(reason.lines().next().unwrap_or_default())),
        (None, Some(finding)) => Some(format!("{}: {}", finding.check, printable(&finding.message))),
        (None, None) => None,
    }
}

/// An attempt in a line: what it came to, and the first thing that was wrong.
pub fn attempt(attempt: &Attempt) -> String {
    let why = because(attempt.verdict, attempt.reason.as_deref(), &attempt.findings);
    let why = why.map(|why| format!(": {why}")).unwrap_or_default();
    format!("attempt {} {} in {:.0} s{why}", attempt.number, verdict_word(attempt.verdict), attempt.seconds)
}

/// How often a trial ran, and what came of that; nothing for one that ran once.
pub(super) fn attempts(result: &TrialResult) -> Option<String> {
    let ran = number(result.attempts.len() + 1, "time");
    let tolerated = if result.flaky_ok { ", which this run takes for good" } else { "" };
    match result.verdict {
        _ if result.attempts.is_empty() => None,
        Verdict::Flaky if is_last(result) => Some(format!("ran {ran}, and passed the last time{tolerated}")),
        Verdict::Flaky => Some(format!("ran {ran}, and did not pass each time{tolerated}")),
        Verdict::Pass => Some(format!("ran {ran}, of which the harness lost some")),
        _ => Some(format!("ran {ran}, and never passed")),
    }
}

/// Whether the result is about the last of a trial's runs: the one whose number no other has.
fn is_last(result: &TrialResult) -> bool {
    result.attempts.iter().all(|attempt| attempt.number as usize <= result.attempts.len())
}

/// What is known of a trial that is snoozed, and what came of it, a line for each thing.
pub(super) fn snoozed(snoozed: &Snoozed) -> Vec<String> {
    let outcome = match snoozed.outcome {
        SnoozeOutcome::Holds => Some("it fails as it is known to, which is not counted"),
        SnoozeOutcome::Expired => Some("it still fails as it was known to, which counts again"),
        SnoozeOutcome::FailsOtherwise => Some("it fails by more than what is known"),
        SnoozeOutcome::Passes => Some("IT PASSES: remove the snooze"),
        SnoozeOutcome::Unclear => None,
    };
    snoozed.by.iter().map(snooze).chain(outcome.map(str::to_owned)).collect()
}

/// A snooze: until when, why, and where it stands and is tracked. The address is last: what follows one is taken for a part of it.
pub(super) fn snooze(by: &SnoozedBy) -> String {
    let SnoozedBy { place, reason, tracker, expires, expired, .. } = by;
    let until = if *expired { "THE SNOOZE EXPIRED on" } else { "snoozed until" };
    format!("{until} {expires}: {} ({place}; {tracker})", printable(reason))
}

/// Where the node began.
pub(super) fn began(start: &str) -> Option<&'static str> {
    match start {
        "cold" => Some("cold start"),
        "template" => Some("first boot forked from a template"),
        "pulled" => Some("from a checkpoint after the first boot"),
        _ => None,
    }
}

/// Commands that show why a trial in `dir` is no pass, of the node and in the boot that tell most.
pub(super) fn commands(result: &TrialResult, dir: &Path) -> Vec<String> {
    let (program, trial) = (this_program(), pasted(&dir.display().to_string()));
    let (node, boot) = telling_place(result);
    let node = node.map(|node| format!(" --of {}", pasted(node))).unwrap_or_default();
    let boot = boot.map(|boot| format!(" --boot {boot}")).unwrap_or_default();
    // How its nodes went together stands in no finding.
    let picture = (!node.is_empty()).then(|| format!("{program} report picture {trial}"));
    let of_one = ["journal", "console"].map(|what| format!("{program} {what} {trial}{node}{boot}"));
    of_one.into_iter().chain(picture).collect()
}

/// The first boot in which something fell short; of several nodes, that of the first of them.
fn telling_place(result: &TrialResult) -> (Option<&str>, Option<u32>) {
    let first_node = result.findings.iter().find_map(|finding| finding.node.as_deref());
    let place = |outcome| {
        let of = result.findings.iter().filter(move |finding| finding.outcome == outcome);
        // The commands want a node where there are several, and a boot is one of its own.
        let places = of.map(|one| (one.node.as_deref(), one.boot));
        let places = places.filter(|(node, boot)| node.is_some() || (boot.is_some() && first_node.is_none()));
        places.min_by_key(|(node, boot)| (boot.is_none(), *node, *boot))
    };
    place(Outcome::Fail).or_else(|| place(Outcome::Inconclusive)).unwrap_or((first_node, None))
}

/// What had to come of a mutant.
pub(super) fn due(mutant: &MutantResult) -> String {
    match mutant.caught_by.as_slice() {
        [] => "does no harm, so it must pass".into(),
        checks => format!("must be caught by {}", checks.join(", ")),
    }
}

/// How many shards the results are joined from, and which never reported; nothing for a run's own.
pub(super) fn shards(results: &RunResults) -> Option<String> {
    let all = results.shards.len();
    let silent = || results.shards.iter().filter(|shard| shard.runs.is_empty());
    let silent_trials: usize = silent().map(|shard| shard.trials).sum();
    let (named, more) = (silent().take(NAMED).map(|shard| shard.name()), silent().count().saturating_sub(NAMED));
    let named: Vec<String> = named.chain((more > 0).then(|| format!("{more} more"))).collect();
    let missing = match silent().count() {
        0 => "all reported".to_owned(),
        count => format!("{count} never reported, with {silent_trials} trials: {}", named.join(", ")),
    };
    (all > 0).then(|| format!("{}: {missing}", number(all, "shard")))
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn every_trial_is_counted_by_the_word_that_it_is_told_by() {
        let run = fixture::run();
        let counts = counts(&run.trials);
        assert_eq!(counts.iter().map(|(_, count)| count).sum::<usize>(), run.trials.len(), "{counts:?}");
        let all = [
            MutantOutcome::Caught,
            MutantOutcome::Missed,
            MutantOutcome::Passed,
            MutantOutcome::FalseAlarm,
            MutantOutcome::Unclear,
        ];
        assert!(all.iter().all(|outcome| WORDS.contains(&mutant_word(*outcome))));
    }

    #[test]
    fn of_several_nodes_the_commands_name_the_one_that_fell_short() {
        let mut result = TrialResult::new("pool/a@b", Path::new("a.yaml"), Verdict::Fail, None);
        let finding = |node: Option<&str>, boot, outcome| {
            let finding = Finding { node: node.map(str::to_owned), ..fixture::finding("evidence", 1, outcome, "") };
            Finding { boot, ..finding }
        };
        result.findings = vec![
            finding(None, None, Outcome::Fail),
            finding(Some("worker-1"), Some(1), Outcome::Pass),
            finding(Some("worker-2"), Some(3), Outcome::Inconclusive),
        ];
        let said = |result: &TrialResult| commands(result, Path::new("x"))[0].clone();
        assert!(said(&result).ends_with(" journal x --of worker-2 --boot 3"), "{}", said(&result));
        assert!(commands(&result, Path::new("x"))[2].ends_with(" report picture x"));
        result.findings.push(finding(Some("worker-3"), None, Outcome::Fail));
        assert!(said(&result).ends_with(" journal x --of worker-3"), "{}", said(&result));
        result.findings.truncate(2);
        assert!(said(&result).ends_with(" journal x --of worker-1"), "{}", said(&result));
    }

    #[test]
    fn a_caught_mutant_needs_no_reason() {
        let run = fixture::run();
        let of = |name: &str| run.trials.iter().find(|trial| trial.trial.contains(name)).map(why);
        assert_eq!(of("/caught@"), Some(None));
        let failed = of("/failed[").flatten().expect("a reason");
        assert_eq!(failed, "nic.driver: network card `test` is driven by e1000, not by day1_nic");
        assert_eq!(of("/lost@").flatten().as_deref(), Some("cannot start QEMU: no memory"));
    }
}
