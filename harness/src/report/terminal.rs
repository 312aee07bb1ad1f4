//! What a person reads on the terminal.

use std::fmt::Write;
use std::path::Path;

use super::{MutantOutcome, RunResults, TrialResult};
use crate::checks::{Finding, Outcome, Verdict};

/// One trial: what was proven, or what fell short and where to look.
pub fn trial(result: &TrialResult) -> String {
    let mut text = String::new();
    let word = result.mutant.as_ref().map_or(verdict_word(result.verdict), |mutant| mutant_word(mutant.outcome));
    let _ = writeln!(text, "{word} {} in {:.0} s{}", result.trial, result.seconds, began(&result.start));
    if let Some(reason) = &result.reason {
        let _ = writeln!(text, "  {}", reason.replace('\n', "\n  "));
    }
    if let Some(mutant) = &result.mutant {
        let _ = writeln!(text, "  mutant: {}", mutant.says);
        let _ = match mutant.caught_by.as_slice() {
            [] => writeln!(text, "  does no harm, so it must pass"),
            checks => writeln!(text, "  must be caught by {}", checks.join(", ")),
        };
        // What was caught as it must be needs no reading.
        if mutant.is_good() {
            return text;
        }
    }
    let mut last_boot = None;
    let mut findings: Vec<&Finding> = result.findings.iter().collect();
    findings.sort_by_key(|finding| finding.boot.unwrap_or(u32::MAX));
    for finding in findings {
        if finding.boot != last_boot {
            let _ = match finding.boot {
                Some(boot) => writeln!(text, "  boot {boot}"),
                None => writeln!(text, "  in all"),
            };
            last_boot = finding.boot;
        }
        describe(&mut text, finding, result.dir.as_deref());
    }
    for one in &result.set_aside {
        let _ = writeln!(text, "  without {}: {}", one.check, one.reason);
    }
    if result.verdict != Verdict::Pass
        && let Some(dir) = &result.dir
    {
        let _ = writeln!(text, "  console   {}", dir.join("console.log").display());
        let _ = writeln!(text, "  timeline  {}", dir.join("timeline.jsonl").display());
    }
    text
}

/// Where the node began.
fn began(start: &str) -> &'static str {
    match start {
        "cold" => " (cold start)",
        "template" => " (first boot forked from a template)",
        "pulled" => " (from a checkpoint after the first boot)",
        _ => "",
    }
}

fn describe(text: &mut String, finding: &Finding, dir: Option<&Path>) {
    let mark = match finding.outcome {
        Outcome::Pass => "✓",
        Outcome::Fail => "✗",
        Outcome::Inconclusive => "?",
    };
    let _ = writeln!(text, "    {mark} {:<16} {}", finding.check, finding.message);
    if finding.outcome == Outcome::Pass {
        return;
    }
    for evidence in finding.evidence.iter().take(5) {
        let file = dir.map_or_else(|| "timeline.jsonl".into(), |dir| dir.join("timeline.jsonl").display().to_string());
        let _ = writeln!(text, "        {}", evidence.text);
        let _ = writeln!(text, "          at {file}:{}", evidence.seq + 1);
    }
    if let Some(advice) = &finding.advice {
        let _ = writeln!(text, "        → {advice}");
    }
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

pub(super) fn mutant_word(outcome: MutantOutcome) -> &'static str {
    match outcome {
        MutantOutcome::Caught => "CAUGHT",
        MutantOutcome::Missed => "MISSED",
        MutantOutcome::Passed => "PASSED",
        MutantOutcome::FalseAlarm => "FALSE ALARM",
        MutantOutcome::Unclear => "UNCLEAR",
    }
}

/// How many mutants came to what; nothing for a run without any.
fn mutants(results: &RunResults) -> Option<String> {
    let all = [
        (MutantOutcome::Caught, "caught"),
        (MutantOutcome::Missed, "missed"),
        (MutantOutcome::Passed, "harmless and passed"),
        (MutantOutcome::FalseAlarm, "false alarms"),
        (MutantOutcome::Unclear, "unclear"),
    ];
    let outcomes: Vec<_> = results.trials.iter().filter_map(|trial| Some(trial.mutant.as_ref()?.outcome)).collect();
    let count = |wanted| outcomes.iter().filter(|outcome| **outcome == wanted).count();
    let counts = all.map(|(outcome, word)| format!("{} {word}", count(outcome)));
    (!outcomes.is_empty()).then(|| format!("{} mutants: {}", outcomes.len(), counts.join(", ")))
}

/// How many shards the results are joined from, and which never reported; nothing for a run's own.
fn shards(results: &RunResults) -> Vec<String> {
    let all = results.shards.len();
    let silent = || results.shards.iter().filter(|shard| shard.runs.is_empty());
    let silent_trials: usize = silent().map(|shard| shard.trials).sum();
    let (named, more) = (silent().take(NAMED).map(|shard| shard.name()), silent().count().saturating_sub(NAMED));
    let named: Vec<String> = named.chain((more > 0).then(|| format!("{more} more"))).collect();
    let missing = match silent().count() {
        0 => "all reported".to_owned(),
        count => format!("{count} never reported, with {silent_trials} trials: {}", named.join(", ")),
    };
    if all == 0 { Vec::new() } else { vec![format!("{all} shards: {missing}")] }
}

/// How many shards a summary names.
const NAMED: usize = 8;

/// The run in a few lines, after the last trial.
pub fn summary(results: &RunResults, dir: &Path) -> String {
    let mut text = String::new();
    let all = [Verdict::Pass, Verdict::Fail, Verdict::Flaky, Verdict::Inconclusive, Verdict::Infra, Verdict::Skipped];
    let counts: Vec<String> = all
        .into_iter()
        .filter_map(|verdict| {
            let count = results.trials.iter().filter(|trial| trial.verdict == verdict).count();
            (count > 0).then(|| format!("{count} {}", verdict_word(verdict).to_lowercase()))
        })
        .collect();
    let _ = writeln!(text, "{} trials in {:.0} s: {}", results.trials.len(), results.seconds, counts.join(", "));
    if let Some(mutants) = mutants(results) {
        let _ = writeln!(text, "  {mutants}");
    }
    for line in shards(results) {
        let _ = writeln!(text, "  {line}");
    }
    for (image, reason) in &results.host.acceleration {
        let _ = writeln!(text, "  {image} ran on {reason}");
    }
    let _ = writeln!(text, "  report    {}", dir.join(super::html::FILE).display());
    let _ = writeln!(text, "  results   {}", dir.join(RunResults::FILE).display());
    let _ = writeln!(text, "  JUnit     {}", dir.join("junit.xml").display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::SetAside;

    #[test]
    fn what_a_pass_does_without_is_told() {
        let mut result = TrialResult::new("a/b@c", Path::new("a/b.yaml"), Verdict::Pass, None);
        result.set_aside =
            vec![SetAside { check: "journal.clean/io-error".into(), reason: "broken on purpose".into() }];
        let text = trial(&result);
        assert!(text.contains("without journal.clean/io-error: broken on purpose"), "{text}");
    }
}
