//! What happened at one moment.

use super::super::clock::Clock;
use crate::checks::{Finding, Outcome, boot_ends};
use crate::timeline::{Cause, Event, Timeline, What};

use super::lanes::is_out_of_tree;
use super::{Lane, LaneKind, Mark, MarkKind, State};

/// More findings than that are not marked: the first ones tell where to look.
pub(super) const FINDINGS: usize = 6;

pub(super) fn all(timeline: &Timeline, findings: &[Finding], clock: &Clock, lanes: &[Lane]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = reboots(timeline, clock);
    marks.extend(pulls(timeline, clock));
    marks.extend(timeline.events.iter().filter_map(|event| of_event(event, clock, lanes)));
    marks.extend(starts(lanes));
    marks.extend(of_findings(timeline, findings, clock));
    marks.sort_by_key(|mark| mark.at_us);
    marks
}

fn mark(event: &Event, at_us: i64, kind: MarkKind, text: String) -> Mark {
    Mark { node: None, boot: event.boot, at_us, kind, text, seq: Some(event.seq) }
}

/// Why each boot ended, where that was seen first.
pub(super) fn reboots(timeline: &Timeline, clock: &Clock) -> Vec<Mark> {
    // A person knows the units under test by what they do.
    let name = |unit: String| {
        let known = timeline.facts().into_iter().flat_map(|facts| &facts.units).find(|(_, known)| **known == unit);
        known.map_or(unit, |(role, _)| role.clone())
    };
    let ends = boot_ends(timeline).into_iter().filter_map(|end| {
        let text = match end.cause {
            Cause::Unit(unit) => format!("reboot by {}", name(unit)),
            Cause::Guest(who) => format!("reboot by {who}"),
            Cause::Panic => "the kernel panicked".to_owned(),
            Cause::Harness => "the machine was reset".to_owned(),
            Cause::Running => return None,
        };
        let event = timeline.numbered(end.evidence.first()?.seq)?;
        Some(Mark { boot: end.boot, ..mark(event, clock.of_event(event), MarkKind::Reboot, text) })
    });
    ends.collect()
}

/// The last part of each image that came in each boot.
fn pulls(timeline: &Timeline, clock: &Clock) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    for event in &timeline.events {
        let What::Registry(request) = &event.what else { continue };
        if request.subject != "blob" || request.method != "GET" || request.status >= 400 || !request.complete {
            continue;
        }
        let one = mark(event, clock.of_event(event), MarkKind::Pull, format!("pulled {}", request.repository));
        marks.retain(|known| known.boot != one.boot || known.text != one.text);
        marks.push(one);
    }
    marks
}

fn of_event(event: &Event, clock: &Clock, lanes: &[Lane]) -> Option<Mark> {
    let at_us = clock.of_event(event);
    let has_lane = |module: &str| lanes.iter().any(|lane| lane.kind == LaneKind::Module && lane.of == module);
    Some(match &event.what {
        What::ModuleLoad(change) if is_out_of_tree(change) && has_lane(&change.module) => {
            mark(event, at_us, MarkKind::Load, format!("load {}", change.module))
        }
        What::ModuleFree(change) if has_lane(&change.module) => {
            mark(event, at_us, MarkKind::Unload, format!("unload {}", change.module))
        }
        What::Happened(happened) => {
            let failed = happened.failed.as_ref().map(|why| format!(" failed: {why}")).unwrap_or_default();
            mark(event, at_us, MarkKind::Happened, format!("{}{failed}", happened.action))
        }
        What::DeadlinePassed { waiting_for, after_s } => {
            mark(event, at_us, MarkKind::Finding, format!("no {waiting_for} within {after_s:.0} s"))
        }
        _ => return None,
    })
}

/// NetworkManager's start, and the links that came after it.
fn starts(lanes: &[Lane]) -> Vec<Mark> {
    let manager = lanes.iter().find(|lane| lane.of == "NetworkManager.service");
    let manager: Vec<_> =
        manager.into_iter().flat_map(|lane| &lane.spans).filter(|span| span.state == State::Starting).collect();
    let first = |boot: u32| manager.iter().find(|span| span.boot == boot).map(|span| span.from_us);
    let mut marks: Vec<Mark> = manager
        .iter()
        .map(|span| Mark {
            node: None,
            boot: span.boot,
            at_us: span.from_us,
            kind: MarkKind::NetworkManager,
            text: "NetworkManager starts".into(),
            seq: span.seq,
        })
        .collect();
    for lane in lanes.iter().filter(|lane| lane.kind == LaneKind::Link) {
        let after = lane.spans.iter().filter(|span| first(span.boot).is_some_and(|start| span.from_us >= start));
        marks.extend(after.map(|span| Mark {
            node: None,
            boot: span.boot,
            at_us: span.from_us,
            kind: MarkKind::Link,
            text: format!("{} up", lane.name),
            seq: span.seq,
        }));
    }
    marks
}

/// What did not pass, where its evidence is.
fn of_findings(timeline: &Timeline, findings: &[Finding], clock: &Clock) -> Vec<Mark> {
    let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Fail);
    let marks = failed.filter_map(|finding| {
        let event = timeline.numbered(finding.evidence.first()?.seq)?;
        Some(mark(event, clock.of_event(event), MarkKind::Finding, format!("✗ {}", finding.check)))
    });
    marks.take(FINDINGS).collect()
}
