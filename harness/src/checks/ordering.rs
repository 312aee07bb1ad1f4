//! `unit.before`: a unit is done before another starts, as observed and as guaranteed.

use petgraph::algo::astar;
use petgraph::graphmap::DiGraphMap;

use crate::scenario::UnitBefore;
use crate::timeline::{Event, Snapshot, Unit, message_id};

use super::boot::Boot;
use super::{Evidence, Finding, moment, span};

const CHECK: &str = "unit.before";

pub(super) fn before(boot: &Boot<'_>, expected: &UnitBefore) -> Finding {
    let (unit, later) = match (boot.resolve(&expected.unit), boot.resolve(&expected.before)) {
        (Ok(unit), Ok(later)) => (unit, later),
        (Err(why), _) | (_, Err(why)) => return Finding::inconclusive(CHECK, boot.number, why),
    };
    let module = expected.module.as_ref().map(|module| module.as_str());
    let observed = match observe(boot, &unit, &later, module) {
        Ok(observed) => observed,
        Err(finding) => return *finding,
    };
    let Some((event, snapshot)) = boot.snapshot() else {
        let message =
            format!("{} (seen), but without a snapshot nothing tells whether that is guaranteed", observed.text);
        return Finding::inconclusive(CHECK, boot.number, message).seen(observed.evidence);
    };
    let guarantee = guarantee(snapshot, &unit, &later);
    let finding = match &guarantee {
        Guarantee::Path(path) => {
            let through = match path.as_slice() {
                [] => "its own ordering".to_owned(),
                path => path.join(" → "),
            };
            Finding::pass(CHECK, boot.number, format!("{} (guaranteed by {through})", observed.text))
        }
        Guarantee::Unknown => {
            let message =
                format!("{} (seen), but the snapshot does not hold the ordering of {unit} and {later}", observed.text);
            Finding::inconclusive(CHECK, boot.number, message)
        }
        Guarantee::Void { unit: void } => {
            let message = format!(
                "{}, but by luck: it is ordered through {void}, which nothing started in this boot",
                observed.text
            );
            let advice = format!("A unit that is not started orders nothing: add `Wants={void}` to {unit}.");
            Finding::fail(CHECK, boot.number, message).advise(advice)
        }
        Guarantee::Late { unit: late } => {
            let message = format!(
                "{}, but by luck: {late}, through which it is ordered, was reached before {unit} was done",
                observed.text
            );
            let advice = format!(
                "{unit} was started after {late} already was; start both in one transaction (`WantedBy=` a target of the boot)."
            );
            Finding::fail(CHECK, boot.number, message).advise(advice)
        }
        Guarantee::None { near } => {
            let edge = near.as_deref().unwrap_or(&later);
            let message =
                format!("{}, but by luck: the edge {unit} → {edge} is missing in systemd's ordering", observed.text);
            let wants = if edge == later { String::new() } else { format!(" and `Wants={edge}`") };
            Finding::fail(CHECK, boot.number, message).advise(format!("Add `Before={edge}`{wants} to {unit}."))
        }
    };
    finding.seen(observed.evidence).seen([Evidence::new(event, format!("systemd's own ordering of {later}"))])
}

struct Observed {
    text: String,
    evidence: Vec<Evidence>,
}

/// The observed order with its margin; or the finding where it can't be observed or was the other way.
fn observe(boot: &Boot<'_>, unit: &str, later: &str, module: Option<&str>) -> Result<Observed, Box<Finding>> {
    let started = start_of(boot, later)?;
    let done = end_of(boot, unit)?;
    let name = |unit: &str| unit.strip_suffix(".service").unwrap_or(unit).to_owned();
    let mut evidence = vec![
        Evidence::new(done.1, format!("{unit} done at {}", moment(done.0))),
        Evidence::new(started.1, format!("{later} started at {}", moment(started.0))),
    ];
    let mut text = order(&format!("{} was done", name(unit)), done.0, &name(later), started.0);
    let mut in_order = done.0 <= started.0;
    if let Some(module) = module {
        let loaded = load_of(boot, module)?;
        evidence.push(Evidence::new(loaded.1, format!("{module} loaded at {}", moment(loaded.0))));
        let module_in_order = loaded.0 <= started.0;
        if in_order || !module_in_order {
            text = order(&format!("{module} loaded"), loaded.0, &name(later), started.0);
        }
        in_order &= module_in_order;
    }
    if in_order {
        return Ok(Observed { text, evidence });
    }
    let advice = format!("{later} must wait: order {unit} before it, or before a target that it waits for.");
    Err(Box::new(Finding::fail(CHECK, boot.number, text).seen(evidence).advise(advice)))
}

fn order(what: &str, at: u64, later: &str, started: u64) -> String {
    if at <= started {
        format!("{what} {} before {later}", span(started - at))
    } else {
        format!("{what} {} AFTER {later} had started", span(at - started))
    }
}

type Moment<'t> = (u64, &'t Event);

fn start_of<'t>(boot: &Boot<'t>, unit: &str) -> Result<Moment<'t>, Box<Finding>> {
    if let Some(start) = boot.first_start(unit) {
        return Ok(start);
    }
    Err(Box::new(match boot.snapshot() {
        Some((event, snapshot)) if !snapshot.units.is_empty() => {
            Finding::fail(CHECK, boot.number, format!("{unit} was not started in this boot"))
                .seen([Evidence::new(event, format!("{unit} never left the inactive state"))])
        }
        _ => Finding::inconclusive(CHECK, boot.number, format!("nothing tells when {unit} started")),
    }))
}

/// When a unit's start was done: the last time, if it ran more than once, since that is the latest that
/// anything could have relied on.
fn end_of<'t>(boot: &Boot<'t>, unit: &str) -> Result<Moment<'t>, Box<Finding>> {
    if let Some((event, state)) = boot.unit(unit) {
        return match done_at(state) {
            Some(_) if state.result == "exec-condition" => {
                let message = format!("{unit} was skipped by its ExecCondition= in this boot");
                Err(Box::new(
                    Finding::fail(CHECK, boot.number, message).seen([Evidence::new(event, "result exec-condition")]),
                ))
            }
            Some(done) => Ok((done, event)),
            None => {
                let message = format!("{unit} was not done with its start in this boot ({})", state.active_state);
                Err(Box::new(
                    Finding::fail(CHECK, boot.number, message).seen([Evidence::new(event, state.active_state.clone())]),
                ))
            }
        };
    }
    let ids = [message_id::UNIT_STARTED, message_id::UNIT_FAILED];
    let about = boot.about(unit);
    let mut ends = about.iter().filter(|(_, record)| ids.contains(&record.message_id()));
    let end = ends.next_back().and_then(|(event, record)| Some((record.mono_us()?, *event)));
    end.ok_or_else(|| {
        Box::new(Finding::inconclusive(CHECK, boot.number, format!("nothing tells when {unit} was done")))
    })
}

fn load_of<'t>(boot: &Boot<'t>, module: &str) -> Result<Moment<'t>, Box<Finding>> {
    let changes = boot.module_changes();
    if let Some(load) = changes.iter().rev().find(|one| one.loaded && one.change.module == module) {
        return Ok((load.change.mono_us, load.event));
    }
    let absent = boot.snapshot().filter(|(_, snapshot)| !snapshot.modules.contains_key(module));
    Err(Box::new(match absent {
        Some((event, _)) => Finding::fail(CHECK, boot.number, format!("{module} is not loaded in this boot"))
            .seen([Evidence::new(event, format!("/sys/module/{module} does not exist"))]),
        None => Finding::inconclusive(
            CHECK,
            boot.number,
            format!("the kernel's trace does not tell when {module} was loaded"),
        ),
    }))
}

/// When a unit's start job was done: active, or dead again for a oneshot that does not remain.
pub(super) fn done_at(unit: &Unit) -> Option<u64> {
    let ran = unit.inactive_exit_us > 0 || unit.active_enter_us > 0;
    match (unit.active_state.as_str(), unit.active_enter_us, unit.inactive_enter_us) {
        _ if !ran => None,
        ("activating", ..) => None,
        (_, active, _) if active > 0 => Some(active),
        (_, _, dead) if dead > 0 => Some(dead),
        _ => None,
    }
}

fn start_at(unit: &Unit) -> Option<u64> {
    [unit.inactive_exit_us, unit.active_enter_us].into_iter().filter(|time| *time > 0).min()
}

/// Whether systemd's own ordering puts one unit before another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guarantee {
    /// It does, through these units, each of which was started in this boot and in this order; none for a
    /// direct ordering.
    Path(Vec<String>),
    /// It would, through a unit that nothing started, so that the ordering is void.
    Void {
        /// That unit.
        unit: String,
    },
    /// It would, through a unit that was reached before the first one was done.
    Late {
        /// That unit.
        unit: String,
    },
    /// It does not.
    None {
        /// The unit before which one would order it.
        near: Option<String>,
    },
    /// The snapshot does not hold both units.
    Unknown,
}

/// Looks for the shortest path from `unit` to `later` in systemd's ordering graph, as the guest computed it.
/// Ordering through a unit binds only if that unit was started as well, after the first was done.
pub fn guarantee(snapshot: &Snapshot, unit: &str, later: &str) -> Guarantee {
    if !snapshot.units.contains_key(unit) || snapshot.units.get(later).is_none_or(|later| later.after.is_empty()) {
        return Guarantee::Unknown;
    }
    let state = |name: &str| snapshot.units.get(name);
    let is_end = |name: &str| name == unit || name == later;
    let was_started = |name: &str| is_end(name) || state(name).and_then(start_at).is_some();
    let binds = |first: &str, second: &str| {
        let done = state(first).and_then(done_at);
        let started = state(second).and_then(start_at);
        was_started(first) && was_started(second) && done.zip(started).is_some_and(|(done, started)| done <= started)
    };
    if let Some(path) = path(snapshot, unit, later, binds) {
        return Guarantee::Path(path);
    }
    if let Some(path) = path(snapshot, unit, later, |first, second| was_started(first) && was_started(second)) {
        let late = path.first().cloned().unwrap_or_else(|| later.to_owned());
        return Guarantee::Late { unit: late };
    }
    if let Some(path) = path(snapshot, unit, later, |_, _| true) {
        let void = path.into_iter().find(|name| !was_started(name));
        return void.map_or(Guarantee::Unknown, |unit| Guarantee::Void { unit });
    }
    let waits_for = state(later).map(|later| later.after.as_slice()).unwrap_or_default();
    let near = waits_for.iter().find(|name| *name == "network-pre.target").cloned();
    Guarantee::None { near }
}

/// The units between the two on the shortest path whose every edge is allowed.
fn path(snapshot: &Snapshot, from: &str, to: &str, allowed: impl Fn(&str, &str) -> bool) -> Option<Vec<String>> {
    let mut graph = DiGraphMap::<&str, ()>::new();
    for (name, unit) in &snapshot.units {
        for first in unit.after.iter().filter(|first| allowed(first, name)) {
            graph.add_edge(first, name, ());
        }
    }
    if !graph.contains_node(from) {
        return None;
    }
    let (_, path) = astar(&graph, from, |node| node == to, |_| 1_u32, |_| 0)?;
    Some(path.iter().skip(1).take(path.len().saturating_sub(2)).map(|name| (*name).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{LOAD, NM, Node, boot_of, expect};

    fn judged(node: &Node, text: &str) -> Finding {
        let timeline = node.timeline();
        before(&boot_of(&timeline, 2), &expect(text))
    }

    const WITH_MODULE: &str = "{unit: load, before: NetworkManager.service, module: day1_nic}";
    const PLAIN: &str = "{unit: load, before: NetworkManager.service}";

    #[test]
    fn observed_and_guaranteed_passes_with_the_margin_and_the_path() {
        let finding = judged(&Node::pulled_and_loaded(), WITH_MODULE);
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        assert_eq!(finding.message, "day1_nic loaded 52 ms before NetworkManager (guaranteed by network-pre.target)");
        let finding = judged(&Node::pulled_and_loaded(), PLAIN);
        assert_eq!(
            finding.message.split(" was done ").nth(1),
            Some("22 ms before NetworkManager (guaranteed by network-pre.target)")
        );
    }

    #[test]
    fn without_the_edge_it_was_luck() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("network-pre.target", |unit| unit.after.retain(|after| after != LOAD));
        let finding = judged(&node, WITH_MODULE);
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.message.contains("by luck: the edge"), "{}", finding.message);
        assert!(finding.message.contains("→ network-pre.target"), "{}", finding.message);
        assert!(finding.advice.unwrap().contains("Before=network-pre.target"));
    }

    #[test]
    fn a_direct_edge_guarantees() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("network-pre.target", |unit| unit.after.clear());
        node.ready(2).unit(NM, |unit| unit.after.push(LOAD.into()));
        assert_eq!(judged(&node, PLAIN).outcome, Outcome::Pass);
    }

    #[test]
    fn a_passive_target_that_nothing_started_orders_nothing() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("network-pre.target", |unit| {
            (unit.inactive_exit_us, unit.active_enter_us) = (0, 0);
            unit.active_state = "inactive".into();
        });
        let finding = judged(&node, PLAIN);
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.message.contains("nothing started"), "{}", finding.message);
        assert!(finding.advice.unwrap().contains("Wants=network-pre.target"));
    }

    #[test]
    fn a_target_that_was_reached_too_early_orders_nothing() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("network-pre.target", |unit| {
            (unit.inactive_exit_us, unit.active_enter_us) = (3_000_000, 3_000_000);
        });
        let finding = judged(&node, PLAIN);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("was reached before"), "{finding:?}");
    }

    #[test]
    fn the_other_order_fails() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(NM, |unit| unit.inactive_exit_us = 1_000_000);
        let finding = judged(&node, PLAIN);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("AFTER"), "{finding:?}");
    }

    #[test]
    fn a_restarted_unit_counts_from_its_first_start() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(NM, |unit| unit.inactive_exit_us = 60_000_000);
        node.boot(2).starting(NM, 1_500_000);
        let finding = judged(&node, PLAIN);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("AFTER"), "{finding:?}");
    }

    #[test]
    fn a_module_that_came_late_fails_though_its_unit_was_early() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).modules(|change| change.mono_us += 9_000_000);
        let finding = judged(&node, WITH_MODULE);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("day1_nic loaded"), "{finding:?}");
    }

    #[test]
    fn without_evidence_it_is_inconclusive() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_snapshot();
        assert_eq!(judged(&node, PLAIN).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_modules();
        assert_eq!(judged(&node, WITH_MODULE).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(NM, |unit| unit.after.clear());
        assert_eq!(judged(&node, PLAIN).outcome, Outcome::Inconclusive);
    }
}
