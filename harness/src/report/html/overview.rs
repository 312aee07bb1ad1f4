//! The first thing that a person sees: how the run went, and every trial in a line.

use maud::{Markup, html};

use super::compare::{Before, Change, Changes};
use crate::checks::Verdict;
use crate::report::words::{self, word};
use crate::report::{MutantResult, RunResults, TrialResult};
use crate::text::{number, uri};

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
        _ if trial.mutant.as_ref().is_some_and(MutantResult::is_good) => "pass",
        _ if trial.is_snoozed() => "doubt",
        Verdict::Pass if trial.is_red() => "fail",
        Verdict::Pass => "pass",
        Verdict::Fail => "fail",
        Verdict::Flaky | Verdict::Inconclusive | Verdict::Infra => "doubt",
        Verdict::Skipped => "none",
    }
}

pub(super) fn header(results: &RunResults) -> Markup {
    let counts = words::counts(&results.trials);
    let like = |wanted: &str| results.trials.iter().find(|trial| word(trial) == wanted).map_or("none", colour);
    html! {
        header {
            h1 { a href="#" { "day1" } }
            p class="counts" role="group" aria-label="Show trials by their verdict" {
                @for (word, count) in counts {
                    button type="button" class=(format!("count {}", like(word))) data-verdict=(word) aria-pressed="false" {
                        strong { (count) } " " (word.to_lowercase())
                    }
                }
            }
            p class="faint" {
                (number(results.trials.len(), "trial")) " in " (format!("{:.0}", results.seconds)) " s, begun " (moment(&results.started))
                @if let Some(part) = results.part.as_ref().and_then(|part| part.partition) { ", part " (part) }
            }
            button type="button" id="theme" aria-label="Switch between light and dark" { "◐" }
        }
    }
}

pub(super) fn body(results: &RunResults, changes: Option<&Changes>) -> Markup {
    let longest = results.trials.iter().map(|trial| trial.seconds).fold(1.0, f64::max);
    html! {
        @if let Some(changes) = changes { (compared(changes)) }
        (shards(results))
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
                tbody { @for index in order(&results.trials) { (row(index, &results.trials[index], longest, changes)) } }
            }
        }
        (host(results))
    }
}

/// The trials' places, those that need a look first.
pub(super) fn order(trials: &[TrialResult]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..trials.len()).collect();
    order.sort_by_key(|index| (rank(&trials[*index]), &trials[*index].trial));
    order
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
    html! {
        tr data-index=(index) data-verdict=(word(trial)) {
            td { span class=(format!("verdict {}", colour(trial))) { (word(trial)) } }
            th scope="row" { a href=(link(&trial.trial)) { (trial.trial) } }
            td class="says" { (says(trial)) }
            td class="number" {
                span class="bar" aria-hidden="true" style=(format!("width:{:.0}%", trial.seconds / longest * 60.0)) {} (format!("{:.0}", trial.seconds))
            }
            @if let Some(changes) = changes { td { (before(changes.before.get(&trial.trial))) } }
        }
    }
}

/// Where the page has a trial, whatever letters its name has.
fn link(trial: &str) -> String {
    format!("#/{}", uri(trial))
}

/// A moment of RFC 3339, to its minute.
fn moment(text: &str) -> String {
    let format = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, &format)
        .map_or_else(|_| text.to_owned(), |at| format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute()))
}

/// The lines that tell most of a trial.
fn says(trial: &TrialResult) -> Markup {
    let known = trial.snoozed.as_ref().and_then(|snoozed| {
        let mut lines = words::snoozed(snoozed).into_iter();
        if snoozed.holds() { lines.next() } else { lines.next_back() }
    });
    let mutant = trial.mutant.as_ref().map(|mutant| mutant.says.clone());
    let (first, rest) = (words::why(trial).or(mutant), known);
    html! {
        @if let Some(first) = &first { (first) }
        @if first.is_some() && rest.is_some() { br; }
        @if let Some(rest) = rest { span class="faint" { (rest) } }
    }
}

/// The parts that the run was joined from.
fn shards(results: &RunResults) -> Markup {
    let Some(told) = words::shards(results) else { return html! {} };
    let is_silent = results.shards.iter().any(|shard| shard.runs.is_empty());
    html! {
        details open[is_silent] {
            summary { (told) }
            table {
                thead { tr { th scope="col" { "Shard" } th scope="col" { "Trials" } th scope="col" { "Runs" } } }
                tbody { @for shard in &results.shards {
                    tr {
                        th scope="row" { (shard.name()) } td class="number" { (shard.trials) }
                        td {
                            @if shard.runs.is_empty() { strong class="fail" { "never reported" } }
                            @for run in &shard.runs { div { (run.dir.display()) ", begun " (moment(&run.started)) ", " (format!("{:.0} s", run.seconds)) } }
                        }
                    }
                } }
            }
        }
    }
}

fn before(before: Option<&Before>) -> Markup {
    let Some(before) = before else { return html! { span class="faint" { "new" } } };
    let was = format!("{}, {:.0} s", before.word.to_lowercase(), before.seconds);
    match change(before.change) {
        Some(word) => html! { strong { (word) } " (" (was) ")" },
        None => html! { span class="faint" { (was) } },
    }
}

fn change(change: Change) -> Option<&'static str> {
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
        .map(|one| (change(one), of(one)));
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
                                @if *word == "not planned any more" { span { (name) } } @else { a href=(link(name)) { (name) } } " "
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
                li { (number(results.host.cores, "core")) ", " (number(results.jobs, "machine")) " at once" }
                @if !results.host.registry.is_empty() { li { "registry: " (results.host.registry) } }
                li { "day1 " (results.day1) }
            }
        }
    }
}
