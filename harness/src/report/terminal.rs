//! What a person reads on the terminal.

use std::fmt::Write;
use std::path::Path;

use anstream::adapter::strip_str;
use anstyle::{AnsiColor, Style};

use super::{MutantOutcome, RunResults, SnoozeOutcome, TrialResult, words};
use crate::checks::{Finding, Outcome, Verdict};
use crate::text::{number, printable, printable_lines};
use crate::timeline::files;

/// One trial: what was proven, or what fell short and where to look.
pub fn trial(result: &TrialResult) -> String {
    strip_str(&painted_trial(result)).to_string()
}

/// As [`trial`], with the colours of a terminal, for `anstream` to print.
pub fn painted_trial(result: &TrialResult) -> String {
    let mut text = String::new();
    let word = painted(colour(result), words::word(result));
    let began = words::began(&result.start).map(|began| format!(" ({began})")).unwrap_or_default();
    let _ = writeln!(text, "{word} {} in {:.0} s{began}", result.trial, result.seconds);
    if let Some(reason) = &result.reason {
        let _ = writeln!(text, "  {}", printable_lines(reason).replace('\n', "\n  │ "));
    }
    attempts(&mut text, result);
    for line in result.snoozed.iter().flat_map(words::snoozed) {
        let _ = writeln!(text, "  {line}");
    }
    if let Some(mutant) = &result.mutant {
        let _ = writeln!(text, "  mutant: {}", mutant.says);
        let _ = writeln!(text, "  {}", words::due(mutant));
        // What was caught as it must be needs no reading.
        if mutant.is_good() {
            return text;
        }
    }
    let mut last = String::new();
    for finding in words::in_order(&result.findings) {
        let subject = words::subject(finding);
        if subject != last {
            let _ = writeln!(text, "  {subject}");
            last = subject;
        }
        describe(&mut text, finding, result.dir.as_deref());
    }
    for one in &result.set_aside {
        let _ = writeln!(text, "  without {}: {}", one.check, one.reason);
    }
    if result.verdict != Verdict::Pass
        && let Some(dir) = &result.dir
    {
        for (what, command) in ["journal", "console", "picture"].iter().zip(words::commands(result, dir)) {
            let _ = writeln!(text, "  {what}   {command}");
        }
        let _ = writeln!(text, "  timeline  {}", dir.join(files::TIMELINE).display());
    }
    text
}

/// The trial's other runs.
fn attempts(text: &mut String, result: &TrialResult) {
    let Some(ran) = words::attempts(result) else { return };
    let _ = writeln!(text, "  {ran}");
    for attempt in &result.attempts {
        let _ = writeln!(text, "    {}", words::attempt(attempt));
        if let Some(dir) = &result.dir {
            let _ = writeln!(text, "      in {}", dir.join(&attempt.dir).display());
        }
    }
}

fn describe(text: &mut String, finding: &Finding, dir: Option<&Path>) {
    let mark = match finding.outcome {
        Outcome::Pass => painted(AnsiColor::Green, "✓"),
        Outcome::Fail => painted(AnsiColor::Red, "✗"),
        Outcome::Inconclusive => painted(AnsiColor::Yellow, "?"),
    };
    let _ = writeln!(text, "    {mark} {:<16} {}", finding.check, printable(&finding.message));
    if finding.outcome == Outcome::Pass {
        return;
    }
    for evidence in finding.evidence.iter().take(5) {
        let file = dir.map_or_else(|| "timeline.jsonl".into(), |dir| dir.join(files::TIMELINE).display().to_string());
        // Marked as a quotation: a line of a job's log that begins with `::` is a command to GitHub's runner.
        let _ = writeln!(text, "        │ {}", printable(&evidence.text));
        let _ = writeln!(text, "          at {file}:{}", evidence.seq.saturating_add(1));
    }
    if let Some(advice) = &finding.advice {
        let _ = writeln!(text, "        → {advice}");
    }
}

fn painted(colour: AnsiColor, text: &str) -> String {
    let style = Style::new().fg_color(Some(colour.into())).bold();
    format!("{style}{text}{style:#}")
}

/// Red is what turns the run red.
fn colour(result: &TrialResult) -> AnsiColor {
    match result.verdict {
        _ if result.is_red() => AnsiColor::Red,
        _ if result.is_snoozed() => AnsiColor::Yellow,
        Verdict::Flaky | Verdict::Skipped => AnsiColor::Yellow,
        _ => AnsiColor::Green,
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

/// By how much deadlines were stretched, as the end of a line; nothing where they were not.
pub fn stretched(factor: f64) -> String {
    if factor > 1.0 { format!("; deadlines × {factor:.1}") } else { String::new() }
}

/// The run in a few lines, after the last trial.
pub fn summary(results: &RunResults, dir: &Path) -> String {
    strip_str(&painted_summary(results, dir)).to_string()
}

/// As [`summary`], with the colours of a terminal, for `anstream` to print.
pub fn painted_summary(results: &RunResults, dir: &Path) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} in {:.0} s: {}",
        number(results.trials.len(), "trial"),
        results.seconds,
        words::counted(&results.trials)
    );
    if let Some(mutants) = mutants(results) {
        let _ = writeln!(text, "  {mutants}");
    }
    if let Some(line) = words::shards(results) {
        let _ = writeln!(text, "  {line}");
    }
    for trial in results.trials.iter().filter(|trial| trial.is_red() || trial.verdict == Verdict::Flaky) {
        let (word, why) = (painted(colour(trial), words::word(trial)), words::why(trial));
        let _ = writeln!(text, "  {word} {}{}", trial.trial, why.map(|why| format!(": {why}")).unwrap_or_default());
    }
    for (trial, snoozed) in results.trials.iter().filter_map(|trial| Some((trial, trial.snoozed.as_ref()?))) {
        let places: Vec<&str> = snoozed.by.iter().map(|by| by.place.as_str()).collect();
        let _ = match snoozed.outcome {
            SnoozeOutcome::Passes => {
                let word = painted(AnsiColor::Yellow, "SNOOZED BUT PASSES");
                writeln!(text, "  {word} {}: remove the snooze ({})", trial.trial, places.join(", "))
            }
            SnoozeOutcome::Expired => {
                let word = painted(AnsiColor::Red, "SNOOZE EXPIRED");
                writeln!(text, "  {word} {} ({})", trial.trial, places.join(", "))
            }
            _ => Ok(()),
        };
    }
    for (image, reason) in &results.host.acceleration {
        let factor = results.host.deadline_factor.get(image).copied().map(stretched).unwrap_or_default();
        let _ = writeln!(text, "  {image} ran on {}{factor}", printable(reason));
    }
    let _ = writeln!(text, "  report    {}", dir.join(super::html::FILE).display());
    let _ = writeln!(text, "  results   {}", dir.join(RunResults::FILE).display());
    let _ = writeln!(text, "  JUnit     {}", dir.join("junit.xml").display());
    text
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::checks::SetAside;

    #[test]
    fn a_failure_says_the_commands_that_show_its_boot() {
        let mut result = TrialResult::new("a/b@c", Path::new("a/b.yaml"), Verdict::Fail, None);
        result.dir = Some("my results/a/b@c".into());
        let finding = |boot, outcome| Finding {
            check: "unit.result".into(),
            node: None,
            boot: Some(boot),
            outcome,
            message: String::new(),
            evidence: vec![],
            advice: None,
        };
        result.findings = vec![finding(1, Outcome::Inconclusive), finding(3, Outcome::Fail), finding(2, Outcome::Fail)];
        let text = trial(&result);
        assert!(text.contains(" journal 'my results/a/b@c' --boot 2\n"), "{text}");
        assert!(text.contains(" console 'my results/a/b@c' --boot 2\n"), "{text}");
        result.verdict = Verdict::Pass;
        assert!(!trial(&result).contains(" journal "), "a pass needs no looking into");
    }

    #[test]
    fn what_a_pass_does_without_is_told() {
        let mut result = TrialResult::new("a/b@c", Path::new("a/b.yaml"), Verdict::Pass, None);
        result.set_aside =
            vec![SetAside { check: "journal.clean/io-error".into(), reason: "broken on purpose".into() }];
        let text = trial(&result);
        assert!(text.contains("without journal.clean/io-error: broken on purpose"), "{text}");
    }

    #[test]
    fn what_is_flaky_or_snoozed_is_told_as_such_and_never_as_a_pass() {
        let run = fixture::run();
        let told = |name: &str| {
            let result = run.trials.iter().find(|trial| trial.trial.contains(name)).expect("a trial");
            let text = trial(result);
            assert!(!text.starts_with("PASS "), "{text}");
            text
        };
        let flaky = told("/flaky@");
        assert!(flaky.starts_with("FLAKY ordering/flaky@debian-13 in"), "{flaky}");
        assert!(flaky.contains("ran 3 times, and passed the last time\n"), "{flaky}");
        assert!(
            flaky.contains("attempt 1 FAIL in 90 s: nic.driver: network card `test` is driven by e1000"),
            "{flaky}"
        );
        assert!(flaky.contains("in target/day1-results/ordering/flaky@debian-13/attempt-1\n"), "{flaky}");
        assert!(flaky.contains("attempt 2 INFRA in 0 s: QEMU ended\n"), "{flaky}");
        let holds = told("/holds@");
        assert!(holds.starts_with("SNOOZED power-loss/holds@debian-13"), "{holds}");
        assert!(holds.contains("snoozed until 2026-12-31: a half-written store is taken for a whole one (scenarios/snoozes.yaml:7; https://example.com/issues/1)"), "{holds}");
        let expired = told("/expired@");
        assert!(expired.starts_with("FAIL ") && expired.contains("THE SNOOZE EXPIRED on 2026-01-31"), "{expired}");

        let colours = painted_trial(&run.trials[0]);
        assert!(colours.contains("\u{1b}[") && !trial(&run.trials[0]).contains('\u{1b}'), "{colours}");
        let failed = told("/failed[");
        assert!(failed.contains("        │ e1000 \u{fffd}[31mis still there\n"), "a terminal obeys no guest: {failed}");

        let summary = summary(&run, Path::new("results"));
        let first = summary.lines().next().expect("a line");
        assert_eq!(
            first,
            "11 trials in 400 s: 2 pass, 2 fail, 2 flaky, 1 inconclusive, 1 infra, 1 skipped, 1 snoozed, 1 caught"
        );
        assert!(summary.contains("  FLAKY ordering/flaky@debian-13: passed only when it was run again\n"), "{summary}");
        assert!(
            summary.contains(
                "SNOOZED BUT PASSES power-loss/passes@debian-13: remove the snooze (scenarios/snoozes.yaml:7)"
            ),
            "{summary}"
        );
        assert!(summary.contains("SNOOZE EXPIRED power-loss/expired@debian-13"), "{summary}");
    }
}
