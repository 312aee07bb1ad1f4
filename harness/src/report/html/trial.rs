//! One trial's details: what was found, the picture, the log, the config.

use std::path::Path;

use maud::{Markup, html};
use serde::Serialize;

use super::log::Log;
use super::pool::{self, Member};
use crate::checks::{Finding, Outcome, Verdict};
use crate::mco::NodeConfig;
use crate::report::picture::{self, LaneKind, Picture, State, time};
use crate::report::{Phase, Recorded, TrialResult, words};
use crate::timeline::{Timeline, What, files};

/// So many lines of a unit that failed are shown at once.
const LAST_WORDS: usize = 6;

/// Said of a trial for whose recording the page has no room.
const NO_ROOM: &str = "the page has no room for those of so many trials. `day1 journal`, `day1 console` and `day1 report picture` \
                       show it, and `day1 report html` of a part of the run.";

/// What is packed into the page.
#[derive(Serialize)]
pub(super) struct Details {
    html: String,
    log: Option<Log>,
}

/// Where the picture of a trial shows its events.
struct Axis<'t> {
    timeline: &'t Timeline,
    picture: &'t Picture,
}

impl Axis<'_> {
    /// An event's time on the axis.
    fn at(&self, seq: u64) -> Option<String> {
        Some(time(self.picture.time_of(self.timeline.numbered(seq)?), 1_000))
    }
}

/// Reads a trial's recording; without one, what the results say is all there is. None is read where there is no room for it.
/// `before` is what an earlier run says of it.
pub(super) fn details(trial: &TrialResult, dir: Option<&Path>, before: Option<&TrialResult>) -> Details {
    let seen = dir
        .map_or_else(|| Err(NO_ROOM.to_owned()), |dir| Recorded::read_so_far(dir).map_err(|error| error.to_string()));
    let (timeline, scenario, missing) = match &seen {
        Ok((timeline, Ok(recorded))) => (Some(timeline), Some(&recorded.scenario), None),
        Ok((timeline, Err(error))) => (Some(timeline), None, Some(format!("Without its scenario: {error}"))),
        Err(why) => (None, None, Some(format!("No recording: {why}"))),
    };
    let picture = timeline.map(|timeline| Picture::of(timeline, scenario, &trial.findings));
    let axis = timeline.zip(picture.as_ref()).map(|(timeline, picture)| Axis { timeline, picture });
    let log = axis.as_ref().map(|axis| Log::of(axis.timeline, axis.picture));
    let members = timeline.map(|timeline| Member::all(timeline, scenario, &trial.findings)).unwrap_or_default();
    let drawn = html! {
        @if let Some(picture) = &picture {
            section aria-labelledby="picture-heading" {
                h3 id="picture-heading" { "What ran when" }
                div class="scroll" tabindex="0" role="region" aria-label="Picture of the boots" {
                    (picture::drawing(picture))
                }
                @match timeline.filter(|_| !members.is_empty()) {
                    Some(timeline) => { (pool::explained(timeline)) (pool::steps(timeline)) }
                    None => (how_to_read()),
                }
                (happened(picture))
                @for member in &members { (member.drawn()) }
                @if members.is_empty() { (phases(trial, before)) }
            }
        }
    };
    let found = html! {
        (findings(trial, axis.as_ref()))
        @if let (Some(axis), true) = (&axis, members.is_empty()) { (failed_units(axis.timeline, axis.picture, None)) }
        @for member in &members { (failed_units(&member.timeline, &member.picture, Some(&member.name))) }
    };
    // Of what is red the reason comes first; of the rest, how it went.
    let (first, second) = if trial.verdict == Verdict::Pass { (drawn, found) } else { (found, drawn) };
    let html = html! {
        (heading(trial, before))
        (commands(trial, dir))
        (first)
        (second)
        @if log.is_some() { (log_place(picture.as_ref())) }
        @if let (Some(missing), false) = (&missing, trial.never_ran) { p class="notice" { (missing) } }
        @if let (Some(dir), true) = (dir, members.is_empty()) { (config(dir, None)) }
        @if let Some(dir) = dir {
            @for member in &members { (config(&dir.join(files::NODES).join(&member.name), Some(&member.name))) }
        }
        @if let Some(scenario) = scenario {
            section {
                h3 { "Scenario" }
                details { summary { (trial.scenario.display()) } pre tabindex="0" { (scenario.document.text) } }
            }
        }
    };
    Details { html: html.into_string(), log }
}

/// What the lines and colours of a picture are.
pub(super) fn how_to_read() -> Markup {
    html! {
        p class="faint" {
            "Thin bars: the unit is active. Hatched: what the machine did before it was forked from a template. Green arrows: an \
             order that systemd guarantees; dashed red ones: one that only happened."
        }
    }
}

fn heading(trial: &TrialResult, before: Option<&TrialResult>) -> Markup {
    let began = words::began(&trial.start).map(|began| format!(", {began}")).unwrap_or_default();
    html! {
        h2 id="trial-heading" tabindex="-1" {
            span class=(format!("verdict {}", super::overview::colour(trial))) { (words::word(trial)) } " " (trial.trial)
        }
        p class="faint" {
            (format!("{:.0} s{began}", trial.seconds))
            @if let Some(before) = before { (format!("; in the earlier run {}, {:.0} s", words::word(before), before.seconds)) }
        }
        @if let Some(reason) = &trial.reason { p class="reason" { (reason) } }
        @if let Some(ran) = words::attempts(trial) {
            p { "It " (ran) ":" }
            ul { @for attempt in &trial.attempts { li { (words::attempt(attempt)) ", in " code { (attempt.dir) } } } }
        }
        @for line in trial.snoozed.iter().flat_map(words::snoozed) { p class="notice" { (line) } }
        @if let Some(mutant) = &trial.mutant { p { "Mutant: " (mutant.says) ". It " (words::due(mutant)) "." } }
    }
}

/// What to paste where the run is, for one that is no pass.
fn commands(trial: &TrialResult, dir: Option<&Path>) -> Markup {
    let commands =
        dir.filter(|dir| trial.verdict != Verdict::Pass && dir.is_dir()).map(|dir| words::commands(trial, dir));
    html! {
        @if let Some(commands) = commands {
            details { summary { "Commands that show more, where the run is" } pre tabindex="0" { (commands.join("\n")) } }
        }
    }
}

/// What did not pass, with its evidence; below it what did.
fn findings(trial: &TrialResult, axis: Option<&Axis<'_>>) -> Markup {
    let of = |outcome: Outcome| words::in_order(trial.findings.iter().filter(|finding| finding.outcome == outcome));
    let (failed, open, passed) = (of(Outcome::Fail), of(Outcome::Inconclusive), of(Outcome::Pass));
    let (is_open, is_passed) = (failed.is_empty(), failed.is_empty() && open.is_empty());
    html! {
        section aria-labelledby="findings-heading" {
            h3 id="findings-heading" { "Findings" }
            @if !failed.is_empty() { ol class="findings" { @for finding in &failed { (one(finding, axis)) } } }
            (folded(&open, "without evidence", is_open, axis))
            (folded(&passed, "passed", is_passed, axis))
            @if trial.findings.is_empty() { p { "Nothing was judged." } }
            @for one in &trial.set_aside { p class="faint" { "Without " code { (one.check) } ": " (one.reason) } }
        }
    }
}

fn folded(findings: &[&Finding], what: &str, open: bool, axis: Option<&Axis<'_>>) -> Markup {
    html! {
        @if !findings.is_empty() {
            details open[open] {
                summary { (findings.len()) @if findings.len() == 1 { " check " } @else { " checks " } (what) }
                ol class="findings" { @for finding in findings { (one(finding, axis)) } }
            }
        }
    }
}

/// The last words of each unit that failed: more often than not they are the cause.
fn failed_units(timeline: &Timeline, picture: &Picture, node: Option<&str>) -> Markup {
    let units = picture.lanes.iter().filter(|lane| lane.kind == LaneKind::Unit);
    let failures = units
        .flat_map(|lane| lane.spans.iter().filter(|span| span.state == State::Failed).map(move |span| (lane, span)));
    let said = |unit: &str, boot: u32| {
        let own = timeline.of_boot(boot).filter_map(|event| match &event.what {
            What::Journal(record) if !record.is_from_systemd() && record.field("_SYSTEMD_UNIT") == unit => {
                Some((event.seq, record))
            }
            _ => None,
        });
        let own: Vec<_> = own.collect();
        own[own.len().saturating_sub(LAST_WORDS)..].to_vec()
    };
    html! {
        @for (lane, span) in failures {
            section {
                h3 { "Last words of " code { (lane.of) } ", which failed in boot " (span.boot) @if let Some(node) = node { " of " (node) } }
                ul class="evidence" {
                    @for (seq, record) in said(&lane.of, span.boot) { li { a href="#" data-seq=(seq) { (record.message()) } } }
                    @if let Some(seq) = span.seq { li { a href="#" data-seq=(seq) { (span.text) } } }
                }
            }
        }
    }
}

fn one(finding: &Finding, axis: Option<&Axis<'_>>) -> Markup {
    let (class, mark, word) = match finding.outcome {
        Outcome::Pass => ("pass", "✓", "passed"),
        Outcome::Fail => ("fail", "✗", "failed"),
        Outcome::Inconclusive => ("doubt", "?", "without evidence"),
    };
    let place = words::subject(finding);
    html! {
        li class=(class) {
            span class="mark" role="img" aria-label=(word) { (mark) } " "
            code { (finding.check) } " " span class="faint" { (place) } " " span class="message" { (finding.message) }
            @if !finding.evidence.is_empty() {
                ul class="evidence" {
                    @for evidence in &finding.evidence {
                        li {
                            @if let Some(axis) = axis {
                                a href="#" data-seq=(evidence.seq) { (evidence.text) }
                                span class="faint" { @if let Some(at) = axis.at(evidence.seq) { ", " (at) " in the picture" } }
                            } @else { (evidence.text) }
                        }
                    }
                }
            }
            @if finding.outcome != Outcome::Pass {
                @if let Some(advice) = &finding.advice { p class="advice" { "→ " (advice) } }
            }
        }
    }
}

/// The picture's marks and orderings, in words.
fn happened(picture: &Picture) -> Markup {
    let is_pool = !picture.groups.is_empty();
    let place = if is_pool { "Node" } else { "Boot" };
    html! {
        details {
            summary { "The same as a table" }
            table {
                thead { tr { th scope="col" { "Time" } th scope="col" { (place) } th scope="col" { "What happened" } } }
                tbody {
                    @for mark in &picture.marks {
                        tr {
                            td class="number" { (time(mark.at_us, 1_000)) }
                            td class="number" { @if is_pool { (picture.subject(mark)) } @else { (mark.boot) } }
                            td { @if let Some(seq) = mark.seq { a href="#" data-seq=(seq) { (mark.text) } } @else { (mark.text) } }
                        }
                    }
                    @for order in &picture.orders { tr { td {} td class="number" { (order.boot) } td { (order.text) } } }
                }
            }
            table {
                thead { tr { th scope="col" { "Lane" } th scope="col" { "Boot" } th scope="col" { "From" } th scope="col" { "To" } th scope="col" { "What" } } }
                tbody {
                    @for lane in &picture.lanes { @for span in &lane.spans {
                        tr {
                            th scope="row" { @if let Some(group) = &lane.group { (group) ": " } (lane.name) }
                            td class="number" { @if span.boot > 0 { (span.boot) } }
                            td class="number" { (time(span.from_us, 1_000)) } td class="number" { (time(span.to_us, 1_000)) } td { (span.text) }
                        }
                    } }
                }
            }
        }
    }
}

/// The phase of a trial that another trial calls so.
fn same<'t>(trial: &'t TrialResult, phase: &Phase) -> Option<&'t Phase> {
    trial.phases.iter().find(|one| (one.boot, &one.name) == (phase.boot, &phase.name))
}

fn phases(trial: &TrialResult, before: Option<&TrialResult>) -> Markup {
    // Those that only the earlier run had come last.
    let gone = before.iter().flat_map(|before| &before.phases).filter(|phase| same(trial, phase).is_none());
    let all: Vec<&Phase> = trial.phases.iter().chain(gone).collect();
    let seconds = |phase: Option<&Phase>| phase.map(|phase| format!("{:.1}", phase.seconds)).unwrap_or_default();
    html! {
        @if !all.is_empty() {
            details {
                summary { "Where the time went" }
                table {
                    thead { tr { th scope="col" { "Boot" } th scope="col" { "Phase" } th scope="col" { "Seconds" } @if before.is_some() { th scope="col" { "In the earlier run" } } } }
                    tbody { @for phase in all {
                        tr { td class="number" { (phase.boot) } td { (phase.name) } td class="number" { (seconds(same(trial, phase))) }
                            @if let Some(before) = before { td class="number" { (seconds(same(before, phase))) } } }
                    } }
                }
            }
        }
    }
}

/// Where the page's script puts the log, and what it is searched and filtered with.
fn log_place(picture: Option<&Picture>) -> Markup {
    let last = picture.into_iter().flat_map(|picture| &picture.boots).map(|boot| boot.number).max().unwrap_or_default();
    let groups = picture.map(|picture| picture.groups.as_slice()).unwrap_or_default();
    html! {
        section id="log" aria-labelledby="log-heading" {
            h3 id="log-heading" { "Journal, console and events" }
            form class="filters" role="search" aria-label="Search the log" {
                label { "Search " input type="search" name="text" placeholder="words or /regular expression/"; }
                @if !groups.is_empty() {
                    label { "Node " select name="node" { option value="" { "all" } @for group in groups { option value=(group.name) { (group.name) } } } }
                }
                label { "Boot " select name="boot" { option value="" { "all" } @for boot in 1..=last { option value=(boot) { (boot) } } } }
                label { "Unit " input name="unit" list="log-units" size="24"; datalist id="log-units" {} }
                label { "At least " select name="priority" {
                    option value="7" { "debug" } option value="6" selected { "info" } option value="5" { "notice" }
                    option value="4" { "warning" } option value="3" { "error" } option value="2" { "critical" }
                } }
                fieldset {
                    legend class="hidden" { "Sources" }
                    label { input type="checkbox" name="kind" value="j" checked; " journal" }
                    label { input type="checkbox" name="kind" value="c"; " console" }
                    label { input type="checkbox" name="kind" value="e" checked; " events" }
                }
                output aria-live="polite" {}
            }
            div class="scroll rows" tabindex="0" role="region" aria-label="Log" {
                table { thead { tr { th scope="col" { "Time" } th scope="col" { @if groups.is_empty() { "Boot" } @else { "Node, boot" } } th scope="col" { "From" } th scope="col" { "Text" } } } tbody {} }
                button type="button" class="more" hidden { "Show more" }
            }
        }
    }
}

/// The files and units that the node was given.
fn config(dir: &Path, node: Option<&str>) -> Markup {
    let heading = node.map_or_else(|| "config-heading".to_owned(), |node| format!("config-heading-{node}"));
    let Ok(bytes) = std::fs::read(dir.join(files::RENDERED)) else { return html! {} };
    let config = match NodeConfig::read("", &bytes) {
        Ok(config) => config,
        Err(error) => return html! { p class="notice" { "The rendered config can't be shown: " (error) } },
    };
    html! {
        section aria-labelledby=(heading) {
            h3 id=(heading) { "Rendered config" @if let Some(node) = node { " of " (node) ", when it was installed" } }
            p class="faint" {
                (bytes.len()) " bytes of Ignition, as " code { @if let Some(node) = node { (files::NODES) "/" (node) "/" } (files::RENDERED) }
                " in the trial's directory."
            }
            @for (path, file) in &config.files {
                details {
                    summary { code { (path) } " " span class="faint" { (format!("{:04o}", file.mode)) } }
                    pre tabindex="0" { (String::from_utf8_lossy(&file.contents)) }
                }
            }
            @for (name, unit) in &config.units {
                @let state = match (unit.mask, unit.enabled) { (true, _) => "masked", (_, Some(true)) => "enabled", (_, Some(false)) => "disabled", _ => "" };
                details {
                    summary { code { (name) } " " span class="faint" { (state) } }
                    @if let Some(text) = &unit.contents { pre tabindex="0" { (text) } }
                    @for (dropin, text) in &unit.dropins { p { code { (dropin) } } pre tabindex="0" { (text) } }
                }
            }
        }
    }
}
