//! The first thing that a person sees: how the run went, and every trial in a line.

use maud::{Markup, html};

use super::compare::{Before, Change, Changes};
use crate::checks::{Finding, Outcome, Verdict};
use crate::report::terminal::{mutant_word, verdict_word};
use crate::report::{RunResults, TrialResult};

pub(super) fn title(results: &RunResults) -> String {
    let red = results.trials.iter().filter(|trial| trial.is_red()).count();
    match red {
        0 => format!("day1: {} trials, none red", results.trials.len()),
        red => format!("day1: {red} of {} trials red", results.trials.len()),
    }
}

/// The colour of a trial: what it means for whoever asks whether all is well.
pub(super) fn colour(trial: &TrialResult) -> &'static str {
    match trial.verdict {
        _ if trial.mutant.as_ref().is_some_and(crate::report::MutantResult::is_good) => "pass",
        Verdict::Pass if trial.is_red() => "fail",
        verdict => colour_of(verdict),
    }
}

pub(super) fn header(results: &RunResults) -> Markup {
    let all = [Verdict::Fail, Verdict::Infra, Verdict::Inconclusive, Verdict::Flaky, Verdict::Skipped, Verdict::Pass];
    let counts = all.map(|verdict| (verdict, results.trials.iter().filter(|trial| trial.verdict == verdict).count()));
    html! {
        header {
            h1 { a href="#" { "day1" } }
            p class="counts" role="group" aria-label="Show trials by their verdict" {
                @for (verdict, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
                    button type="button" class=(format!("count {}", colour_of(verdict))) data-verdict=(verdict_word(verdict)) aria-pressed="false" {
                        strong { (count) } " " (verdict_word(verdict).to_lowercase())
                    }
                }
            }
            p class="faint" { (results.trials.len()) " trials in " (format!("{:.0}", results.seconds)) " s, begun " (moment(&results.started)) }
            button type="button" id="theme" aria-label="Switch between light and dark" { "◐" }
        }
    }
}

fn colour_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Flaky | Verdict::Inconclusive | Verdict::Infra => "doubt",
        Verdict::Skipped => "none",
    }
}

pub(super) fn body(results: &RunResults, changes: Option<&Changes>) -> Markup {
    let mut trials: Vec<(usize, &TrialResult)> = results.trials.iter().enumerate().collect();
    // What needs a look stands first.
    trials.sort_by_key(|(_, trial)| (rank(trial), &trial.trial));
    let longest = results.trials.iter().map(|trial| trial.seconds).fold(1.0, f64::max);
    html! {
        @if let Some(changes) = changes { (compared(changes)) }
        form class="filters" role="search" aria-label="Search the trials" {
            label { "Search " input type="search" name="trials" placeholder="name or finding"; }
            label { input type="checkbox" name="logs"; " also in all journals and consoles" }
            output aria-live="polite" {}
        }
        div class="scroll" tabindex="0" role="region" aria-label="Trials" {
            table class="trials" {
                caption class="hidden" { "All trials, red ones first" }
                thead { tr {
                    th scope="col" { "Verdict" } th scope="col" { "Trial" } th scope="col" { "What it says" }
                    th scope="col" { "Seconds" } @if changes.is_some() { th scope="col" { "Before" } }
                } }
                tbody { @for (index, trial) in trials { (row(index, trial, longest, changes)) } }
            }
        }
        (host(results))
    }
}

fn rank(trial: &TrialResult) -> u8 {
    match (trial.is_red(), trial.verdict) {
        (true, Verdict::Fail) => 0,
        (true, _) => 1,
        (false, Verdict::Pass) => 3,
        (false, _) => 2,
    }
}

fn row(index: usize, trial: &TrialResult, longest: f64, changes: Option<&Changes>) -> Markup {
    let word = trial.mutant.as_ref().map_or(verdict_word(trial.verdict), |mutant| mutant_word(mutant.outcome));
    html! {
        tr data-index=(index) data-verdict=(verdict_word(trial.verdict)) {
            td { span class=(format!("verdict {}", colour(trial))) { (word) } }
            th scope="row" { a href=(format!("#/{}", trial.trial)) { (trial.trial) } }
            td class="says" { (says(trial)) }
            td class="number" {
                span class="bar" aria-hidden="true" style=(format!("width:{:.0}%", trial.seconds / longest * 60.0)) {} (format!("{:.0}", trial.seconds))
            }
            @if let Some(changes) = changes { td { (before(changes.before.get(&trial.trial))) } }
        }
    }
}

/// A moment of RFC 3339, to its minute.
fn moment(text: &str) -> String {
    let format = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, &format)
        .map_or_else(|_| text.to_owned(), |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}

/// The line that tells most of a trial.
fn says(trial: &TrialResult) -> String {
    // What concerns one boot says more than what concerns all.
    let first = |outcome| {
        let own = trial.findings.iter().filter(|finding: &&Finding| finding.outcome == outcome);
        own.min_by_key(|finding| finding.boot.unwrap_or(u32::MAX))
    };
    let told = |finding: &Finding| format!("{}: {}", finding.check, finding.message);
    match trial.verdict {
        Verdict::Pass => String::new(),
        _ => {
            let finding = first(Outcome::Fail).or_else(|| first(Outcome::Inconclusive)).map(told);
            trial.reason.clone().or(finding).unwrap_or_default()
        }
    }
}

fn before(before: Option<&Before>) -> Markup {
    let Some(before) = before else { return html! { span class="faint" { "new" } } };
    let was = format!("{}, {:.0} s", verdict_word(before.verdict).to_lowercase(), before.seconds);
    match word(before.change) {
        Some(word) => html! { strong { (word) } " (" (was) ")" },
        None => html! { span class="faint" { (was) } },
    }
}

fn word(change: Change) -> Option<&'static str> {
    match change {
        Change::Broken => Some("broken"),
        Change::Mended => Some("mended"),
        Change::Other => Some("changed"),
        Change::Slower => Some("slower"),
        Change::Faster => Some("faster"),
        Change::Same => None,
    }
}

/// What changed, in a line for each kind of change.
fn compared(changes: &Changes) -> Markup {
    let of = |wanted: Change| {
        let own = changes.before.iter().filter(move |(_, before)| before.change == wanted);
        own.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
    };
    let kinds = [Change::Broken, Change::Mended, Change::Other, Change::Slower, Change::Faster]
        .map(|change| (word(change), of(change)));
    let (added, gone): (Vec<&str>, Vec<&str>) =
        (changes.added.iter().map(String::as_str).collect(), changes.gone.iter().map(String::as_str).collect());
    let all: Vec<(&str, Vec<&str>)> = kinds
        .into_iter()
        .filter_map(|(word, names)| Some((word?, names)))
        .chain([("new", added), ("not planned any more", gone)])
        .filter(|(_, names)| !names.is_empty())
        .collect();
    html! {
        section aria-labelledby="compare-heading" {
            h2 id="compare-heading" { "Since the run of " (moment(&changes.since)) }
            @if all.is_empty() { p { "Nothing changed: the same trials, the same verdicts, about the same times." } }
            @else {
                dl class="changes" {
                    @for (word, names) in &all {
                        dt { (names.len()) " " (word) }
                        dd {
                            @for name in names.iter().take(8) {
                                @if *word == "not planned any more" { span { (name) } } @else { a href=(format!("#/{name}")) { (name) } } " "
                            }
                            @if names.len() > 8 { span class="faint" { "and " (names.len() - 8) " more" } }
                        }
                    }
                }
            }
        }
    }
}

fn host(results: &RunResults) -> Markup {
    html! {
        section aria-labelledby="host-heading" {
            h2 id="host-heading" { "What it ran on" }
            ul {
                @for (image, reason) in &results.host.acceleration { li { (image) ": " (reason) } }
                li { (results.host.cores) " cores, " (results.jobs) " machines at once" }
                @if !results.host.registry.is_empty() { li { "registry: " (results.host.registry) } }
                li { "day1 " (results.day1) }
            }
        }
    }
}
