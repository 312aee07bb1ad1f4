//! Which unit had to be done before which, and through what it was guaranteed.

use crate::checks::{Guarantee, guarantee, resolve};
use crate::scenario::{Expectation, Role, Scenario, UnitRef};
use crate::timeline::{Snapshot, Timeline, What};

use super::Order;

/// Each order that the scenario expects, of each boot that has a snapshot; without a scenario, that of the load service and
/// NetworkManager.
pub(super) fn all(timeline: &Timeline, scenario: Option<&Scenario>) -> Vec<Order> {
    (1..=timeline.boots())
        .filter_map(|boot| Some((boot, snapshot(timeline, boot)?)))
        .flat_map(|(boot, snapshot)| {
            let pairs = expected(timeline, scenario, boot);
            pairs.into_iter().filter_map(move |(unit, later)| order(snapshot, boot, &unit, &later))
        })
        .collect()
}

/// The last look at a boot's node.
fn snapshot(timeline: &Timeline, boot: u32) -> Option<&Snapshot> {
    let snapshots = timeline.of_boot(boot).filter_map(|event| match &event.what {
        What::Snapshot(snapshot) => Some(snapshot.as_ref()),
        _ => None,
    });
    snapshots.last()
}

fn expected(timeline: &Timeline, scenario: Option<&Scenario>, boot: u32) -> Vec<(String, String)> {
    let facts = timeline.facts();
    let Some(scenario) = scenario else {
        let load = UnitRef::Role { role: Role::Load, machine_config: None };
        return resolve(facts, &load).map(|unit| (unit, "NetworkManager.service".to_owned())).into_iter().collect();
    };
    let own = scenario.spec.boot(boot).map(|boot| &boot.expect);
    let mut pairs = Vec::new();
    for (_, one) in own.into_iter().chain([&scenario.spec.every_boot]).flat_map(|expect| expect.each()) {
        let Expectation::UnitBefore(one) = one else { continue };
        if let (Ok(unit), Ok(later)) = (resolve(facts, &one.unit), resolve(facts, &one.before))
            && !pairs.contains(&(unit.clone(), later.clone()))
        {
            pairs.push((unit, later));
        }
    }
    pairs
}

fn order(snapshot: &Snapshot, boot: u32, unit: &str, later: &str) -> Option<Order> {
    let (path, guaranteed, text) = match guarantee(snapshot, unit, later) {
        Guarantee::Path(between) => {
            let path: Vec<String> = [vec![unit.to_owned()], between, vec![later.to_owned()]].concat();
            let text = format!("guaranteed: {}", path.join(" → "));
            (path, true, text)
        }
        Guarantee::Void { unit: void } => (
            vec![unit.to_owned(), void.clone(), later.to_owned()],
            false,
            format!("not guaranteed: {unit} is before {later} through {void}, which nothing started"),
        ),
        Guarantee::Late { unit: late } => (
            vec![unit.to_owned(), late.clone(), later.to_owned()],
            false,
            format!("not guaranteed: {late} was reached before {unit} was done"),
        ),
        Guarantee::None { .. } => (
            vec![unit.to_owned(), later.to_owned()],
            false,
            format!("not guaranteed: nothing in systemd's ordering puts {unit} before {later}"),
        ),
        Guarantee::Unknown => return None,
    };
    Some(Order { boot, path, guaranteed, text })
}
