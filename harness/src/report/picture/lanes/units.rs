//! Units: what systemd said of their starts and ends.

use crate::scenario::{Expectation, Role, Scenario};
use crate::timeline::{JournalRecord, What};

use super::{Lane, LaneKind, Order, Source, Span, State, checks, message_id};

/// A unit's stop (`SD_MESSAGE_UNIT_STOPPED`).
const STOPPED: &str = "9d1aaa27d60140bd96365438aad20286";

/// How many units that failed get a lane, besides those that matter anyway.
const FAILED_UNITS: usize = 5;

/// The network's units, of which a driver has to be there before.
const NETWORK: [&str; 3] = ["network-pre.target", "NetworkManager.service", "network-online.target"];

/// Units of the real root that matter: those under test, those of the orderings and of the scenario, the network's, and some
/// that failed.
pub(super) fn all(source: &Source<'_>, scenario: Option<&Scenario>, orders: &[Order]) -> Vec<Lane> {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut add = |name: &str, of: &str| {
        if !lanes.iter().any(|lane| lane.of == of) {
            let (name, of) = (name.to_owned(), of.to_owned());
            lanes.push(Lane { kind: LaneKind::Unit, group: None, name, of, spans: Vec::new() });
        }
    };
    let units = source.timeline.facts().map(|facts| &facts.units);
    for role in [Role::Pull, Role::Load] {
        for (key, unit) in units.into_iter().flatten().filter(|(key, _)| key.split('/').next() == Some(role.as_str())) {
            add(key, unit);
        }
    }
    // An ordering's own units stand in its order, so that its arrows go down.
    for unit in orders.iter().flat_map(|order| &order.path).map(String::as_str).chain(NETWORK) {
        add(unit, unit);
    }
    for unit in named_by(source, scenario) {
        add(&unit, &unit);
    }
    for unit in failed(source) {
        add(&unit, &unit);
    }
    for lane in &mut lanes {
        lane.spans = source.boots.iter().flat_map(|strip| spans(source, strip.number, &lane.of)).collect();
    }
    lanes
}

/// The units whose results the scenario expects.
fn named_by(source: &Source<'_>, scenario: Option<&Scenario>) -> Vec<String> {
    let Some(scenario) = scenario else { return Vec::new() };
    let expected = scenario.spec.boots.iter().map(|boot| &boot.expect).chain([&scenario.spec.every_boot]);
    let units = expected.flat_map(|expect| expect.each()).filter_map(|(_, one)| match one {
        Expectation::UnitResult(result) => Some(&result.unit),
        _ => None,
    });
    units.filter_map(|unit| checks::resolve(source.timeline.facts(), unit).ok()).collect()
}

fn failed(source: &Source<'_>) -> Vec<String> {
    let mut failed = Vec::new();
    for event in &source.timeline.events {
        let What::Journal(record) = &event.what else { continue };
        let is_failure = [message_id::UNIT_FAILED, message_id::UNIT_FAILURE_RESULT].contains(&record.message_id());
        let unit = record.field("UNIT");
        if is_failure && record.is_from_systemd() && !unit.is_empty() && !failed.iter().any(|known| known == unit) {
            failed.push(unit.to_owned());
        }
    }
    failed.truncate(FAILED_UNITS);
    failed
}

/// Ignition's stages, which run in the initramfs.
pub(super) fn ignition(source: &Source<'_>) -> Lane {
    let mut all = Vec::new();
    for strip in source.boots {
        let real_root = source.real_root_of(strip.number);
        let mut stages: Vec<String> = Vec::new();
        for (_, event) in source.events_of(strip.number).iter().take_while(|(at, _)| *at < real_root) {
            let What::Journal(record) = &event.what else { continue };
            let unit = record.field("UNIT");
            if unit.starts_with("ignition-") && unit.ends_with(".service") && !stages.iter().any(|stage| stage == unit)
            {
                stages.push(unit.to_owned());
            }
        }
        for stage in stages {
            let mut spans = changes(source, strip.number, &stage, |at| at < real_root, real_root);
            spans.retain(|span| span.state != State::Active);
            for span in &mut spans {
                if span.state == State::Starting {
                    span.state = State::Stage;
                }
            }
            all.extend(spans);
        }
    }
    all.sort_by_key(|span| span.from_us);
    Lane { kind: LaneKind::Ignition, group: None, name: "Ignition".into(), of: "ignition".into(), spans: all }
}

/// A unit's states in the real root of a boot.
fn spans(source: &Source<'_>, boot: u32, unit: &str) -> Vec<Span> {
    let real_root = source.real_root_of(boot);
    changes(source, boot, unit, |at| at >= real_root, source.end_of(boot))
}

/// A unit's states by what systemd said of it at the moments that are wanted.
fn changes(source: &Source<'_>, boot: u32, unit: &str, wanted: impl Fn(i64) -> bool, end: i64) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut open: Option<Span> = None;
    // A oneshot that does not remain says that it is inactive before its start job is done.
    let mut is_dead = false;
    for &(at, event) in source.events_of(boot).iter().filter(|(at, _)| wanted(*at)) {
        let Some(record) = of_unit(&event.what, unit) else { continue };
        let begin = |state, text: &str| {
            let text = format!("{unit} {text}");
            Span { boot, from_us: at, to_us: at, state, text, label: String::new(), seq: Some(event.seq) }
        };
        let next = match record.message_id() {
            message_id::UNIT_STARTING => {
                is_dead = false;
                Some(begin(State::Starting, "starts"))
            }
            message_id::UNIT_STARTED if is_dead => {
                is_dead = false;
                if let Some(span) = &mut open {
                    span.to_us = at;
                }
                None
            }
            // The start job of a unit that was skipped is done as well.
            message_id::UNIT_STARTED if open.as_ref().is_some_and(|span| span.state == State::Skipped) => continue,
            message_id::UNIT_STARTED => Some(begin(State::Active, "is active")),
            message_id::UNIT_FAILED | message_id::UNIT_FAILURE_RESULT => {
                is_dead = true;
                Some(begin(State::Failed, "failed"))
            }
            message_id::UNIT_SKIPPED => Some(begin(State::Skipped, "was skipped by its conditions")),
            message_id::UNIT_SUCCESS if open.as_ref().is_some_and(|span| span.state == State::Starting) => {
                is_dead = true;
                continue;
            }
            message_id::UNIT_SUCCESS | STOPPED => None,
            _ => continue,
        };
        // It fails once, however often that is said, and stays so until something else becomes of it.
        let is_failed = |span: &Span| span.state == State::Failed;
        if next.as_ref().is_some_and(is_failed) && open.as_ref().is_some_and(is_failed) {
            continue;
        }
        spans.extend(open.take().map(|span| Span { to_us: at, ..span }));
        open = next;
    }
    spans.extend(open.map(|span| match span.state {
        State::Skipped => span,
        _ => Span { to_us: end.max(span.from_us), ..span },
    }));
    spans
}

/// What systemd says of a unit, if it is that.
fn of_unit<'t>(what: &'t What, unit: &str) -> Option<&'t JournalRecord> {
    match what {
        What::Journal(record) if record.is_from_systemd() && record.field("UNIT") == unit => Some(record),
        _ => None,
    }
}
