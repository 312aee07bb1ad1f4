//! A run for GitHub Actions: the job's summary, and annotations beside the scenarios' lines.

use std::fmt::Write;
use std::path::Path;

use super::place::{self, Places};
use super::results::wrong;
use super::words::{self, word};
use super::{RunResults, SnoozeOutcome, TrialResult};
use crate::checks::{Finding, Verdict};
use crate::text::{number, printable};

/// Bytes that the summary of a step may have; of a larger one GitHub shows nothing.
pub const SUMMARY_LIMIT: usize = 1024 * 1024;

/// Annotations of one kind that GitHub shows of a step.
const SHOWN: usize = 10;

/// Room for the words that tell what was left out.
const LAST_WORDS: usize = 512;

/// The summary of a run in Markdown, of at most `limit` bytes: what is left out for that is told.
pub fn summary(results: &RunResults, limit: usize) -> String {
    let red = results.trials.iter().filter(|trial| trial.is_red()).count();
    let mut text = match red {
        0 => format!("## ✅ day1: {}, none is red\n\n", number(results.trials.len(), "trial")),
        _ => {
            let is = if red == 1 { "is" } else { "are" };
            format!("## ❌ day1: {red} of {} {is} red\n\n", number(results.trials.len(), "trial"))
        }
    };
    let _ = writeln!(text, "{} in {:.0} s.\n", words::counted(&results.trials), results.seconds);
    for (image, reason) in &results.host.acceleration {
        let _ = writeln!(text, "{} ran on {}.\n", escaped(image), escaped(&printable(reason)));
    }
    let told: Vec<&TrialResult> = results.trials.iter().filter(|trial| is_told(trial)).collect();
    let mut left = Left { limit: limit.saturating_sub(LAST_WORDS), rows: 0, details: 0 };
    if !told.is_empty() {
        text.push_str("| | trial | why |\n|---|---|---|\n");
        for trial in &told {
            let mut why = why(trial).lines().map(escaped).collect::<Vec<_>>().join("<br>");
            if why.is_empty() {
                why.push('—');
            }
            let row = format!("| {} | {} | {why} |\n", word(trial), escaped(&trial.trial));
            left.rows += usize::from(!push(&mut text, &row, left.limit));
        }
        text.push('\n');
    }
    for trial in told.iter().filter(|trial| trial.is_red()) {
        let whole = super::describe_trial(trial);
        // Longer than any in the text.
        let fence = "`".repeat(longest_run(&whole, '`').max(2) + 1);
        let title = escaped_html(&format!("{} {}", word(trial), trial.trial));
        let details = format!("<details><summary>{title}</summary>\n\n{fence}text\n{whole}{fence}\n\n</details>\n\n");
        left.details += usize::from(!push(&mut text, &details, left.limit));
    }
    if left.rows + left.details > 0 {
        let _ = writeln!(
            text,
            "Left out here, for a summary has no room for more: {} of the table, and the details of {}. `results.json` and \
             `day1 report text` have all.",
            number(left.rows, "row"),
            number(left.details, "trial")
        );
    }
    text
}

/// What has no room.
struct Left {
    limit: usize,
    rows: usize,
    details: usize,
}

fn push(text: &mut String, more: &str, limit: usize) -> bool {
    let fits = text.len() + more.len() <= limit;
    if fits {
        text.push_str(more);
    }
    fits
}

/// Whether the summary has to say anything of a trial.
fn is_told(trial: &TrialResult) -> bool {
    let is_good = matches!(trial.verdict, Verdict::Pass) || trial.mutant.is_some();
    trial.is_red() || !is_good || trial.snoozed.is_some()
}

/// Why a trial is told, a line for each thing.
fn why(trial: &TrialResult) -> String {
    let mut lines: Vec<String> =
        trial.reason.iter().filter_map(|reason| reason.lines().next()).map(printable).collect();
    if let Some(finding) = wrong(trial.verdict, &trial.findings).first() {
        lines.push(format!("{}: {}", finding.check, printable(&finding.message)));
    }
    lines.extend(trial.attempts.iter().map(words::attempt));
    lines.extend(trial.snoozed.iter().flat_map(words::snoozed));
    lines.join("\n")
}

fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(|run| run.chars().count()).max().unwrap_or(0)
}

/// Text that Markdown takes for nothing else, also in a table.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in escaped_html(text).chars() {
        if matches!(c, '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '#') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

fn escaped_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The annotations of a run, whose directory is `dir`, as workflow commands, one a line: an error for each red trial, a
/// warning for each that is flaky and for each snooze that has expired, a notice for each snooze that can go. GitHub shows ten
/// of a kind; what there is no room for is told in the last of them.
pub fn annotations(results: &RunResults, dir: &Path) -> String {
    let mut errors = Vec::new();
    let (mut warnings, mut notices) = (Vec::new(), Vec::new());
    for trial in &results.trials {
        let places = Places::of(trial, dir);
        let wrong = wrong(trial.verdict, &trial.findings).first().copied();
        let line = wrong.map_or(1, |finding| places.line(finding, &trial.findings));
        let at = (places.file.clone(), line);
        if trial.is_red() {
            let check = wrong.map(|finding| format!(": {}", finding.check)).unwrap_or_default();
            errors.push(command(
                "error",
                &format!("{} {}{check}", word(trial), trial.trial),
                &at,
                &message(trial, wrong),
            ));
        } else if trial.verdict == Verdict::Flaky && !trial.is_snoozed() {
            warnings.push(command("warning", &format!("FLAKY {}", trial.trial), &at, &why(trial)));
        }
        let Some(snoozed) = &trial.snoozed else { continue };
        for by in &snoozed.by {
            let (file, line) = by.place.rsplit_once(':').unwrap_or((&by.place, "1"));
            let at = (place::below_here(Path::new(file)), line.parse().unwrap_or(1));
            if by.expired {
                let text = format!("{} counts again since {}: {} {}", by.pattern, by.expires, by.reason, by.tracker);
                warnings.push(command("warning", "Snooze expired", &at, &text));
            } else if snoozed.outcome == SnoozeOutcome::Passes {
                let text = format!("{} passes: remove the snooze, or narrow it", trial.trial);
                notices.push(command("notice", "Snoozed but passes", &at, &text));
            }
        }
    }
    [("error", errors), ("warning", warnings), ("notice", notices)].map(|(kind, all)| shown(kind, all)).concat()
}

/// As many as GitHub shows, each once.
fn shown(kind: &str, mut all: Vec<String>) -> String {
    // A snooze of several trials is one.
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|one| seen.insert(one.clone()));
    if all.len() > SHOWN {
        let more = all.len() - (SHOWN - 1);
        all.truncate(SHOWN - 1);
        all.push(format!("::{kind} title=day1::{more} more are in the job's summary\n"));
    }
    all.concat()
}

fn message(trial: &TrialResult, wrong: Option<&Finding>) -> String {
    let advice = wrong.and_then(|finding| finding.advice.as_deref()).map(|advice| format!("\n→ {}", printable(advice)));
    format!("{}{}", why(trial), advice.unwrap_or_default())
}

fn command(kind: &str, title: &str, (file, line): &(String, usize), message: &str) -> String {
    format!("::{kind} title={},file={},line={line}::{}\n", property(title), property(file), data(message))
}

/// As a workflow command's text wants it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// As the value of a workflow command's property wants it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn the_summary_tells_all_that_is_not_green_and_folds_what_is_long() {
        let text = summary(&fixture::run(), SUMMARY_LIMIT);
        assert!(text.starts_with("## ❌ day1: 5 of 11 trials are red\n\n"), "{text}");
        assert!(
            text.contains(
                "\n2 pass, 2 fail, 2 flaky, 1 inconclusive, 1 infra, 1 skipped, 1 snoozed, 1 caught in 400 s."
            ),
            "{text}"
        );
        let row = "| FAIL | pull/failed\\[secret=wrong\\]@debian-13 | nic.driver: network card \\`test\\` is driven by e1000, not by day1\\_nic |\n";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| SNOOZED | power-loss/holds@debian-13 | "), "{text}");
        assert!(text.contains("IT PASSES: remove the snooze |"), "{text}");
        assert!(!text.contains("| PASS | pull/passed@") && !text.contains("mutants/caught@"), "{text}");
        assert_eq!(text.matches("<details>").count(), 5, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let mut green = fixture::run();
        green.trials.retain(|trial| trial.trial.contains("/passed@"));
        let text = summary(&green, SUMMARY_LIMIT);
        assert!(text.starts_with("## ✅ day1: 1 trial, none is red") && !text.contains("| |"), "{text}");
    }

    #[test]
    fn a_guest_s_words_stay_in_their_place() {
        let mut run = fixture::run();
        run.trials.retain(|trial| trial.trial.contains("/failed["));
        run.trials[0].findings[1].message = "<img src=x> a | b".into();
        run.trials[0].findings[1].evidence[0].text = "````\n</details> ::error::".into();
        let text = summary(&run, SUMMARY_LIMIT);
        assert!(text.contains("&lt;img src=x&gt; a \\| b") && text.contains("\n`````text\n"), "{text}");
        assert_eq!(text.matches("\n`````\n").count(), 1, "{text}");
    }

    #[test]
    fn a_summary_that_is_too_long_says_what_it_leaves_out() {
        let mut run = fixture::run();
        let failed = run.trials.iter().find(|trial| trial.trial.contains("/failed[")).expect("a trial").clone();
        run.trials = (0..500).map(|number| TrialResult { trial: format!("a/b{number}@c"), ..failed.clone() }).collect();
        let whole = summary(&run, usize::MAX);
        assert!(!whole.contains("Left out"));
        for limit in [whole.len() / 2, 20_000] {
            let text = summary(&run, limit);
            assert!(text.len() <= limit, "{} of {limit}", text.len());
            let rows = text.lines().filter(|line| line.starts_with("| FAIL")).count();
            let details = text.matches("<details>").count();
            let told = format!(
                "{} of the table, and the details of {}",
                number(500 - rows, "row"),
                number(500 - details, "trial")
            );
            assert!(text.contains(&told), "{told}");
        }
    }

    #[test]
    fn annotations_are_escaped_as_github_wants_it() {
        assert_eq!(data("50%\r\nnext: a, b"), "50%25%0D%0Anext: a, b");
        assert_eq!(property("50%\na: b, c"), "50%25%0Aa%3A b%2C c");
        let text = annotations(&fixture::run(), Path::new("absent"));
        let lines: Vec<&str> = text.lines().collect();
        let wrong = "nic.driver: network card `test` is driven by e1000, not by day1_nic";
        let failed = format!(
            "::error title=FAIL pull/failed[secret=wrong]@debian-13%3A nic.driver,file=scenarios/pull/failed[secret=wrong].yaml,\
             line=1::{wrong}%0A→ Put it into `in_tree_modules_to_remove`."
        );
        assert!(lines.contains(&failed.as_str()), "{text}");
        let count = |kind: &str| lines.iter().filter(|line| line.starts_with(&format!("::{kind} "))).count();
        assert_eq!((count("error"), count("warning"), count("notice"), lines.len()), (5, 2, 1, 8), "{text}");
        assert!(text.contains("::warning title=Snooze expired,file=scenarios/snoozes.yaml,line=7::power-loss/* counts again since 2026-01-31: "), "{text}");
        assert!(text.contains("::error title=INFRA pull/lost@debian-13,file="), "{text}");
    }

    #[test]
    fn of_many_annotations_ten_are_shown_and_the_rest_is_told() {
        let mut run = fixture::run();
        let failed = run.trials.iter().find(|trial| trial.trial.contains("/failed[")).expect("a trial").clone();
        run.trials = (0..25).map(|number| TrialResult { trial: format!("a/b{number}@c"), ..failed.clone() }).collect();
        let text = annotations(&run, Path::new("absent"));
        assert_eq!(text.lines().count(), 10);
        assert_eq!(text.lines().last(), Some("::error title=day1::16 more are in the job's summary"));
    }
}
