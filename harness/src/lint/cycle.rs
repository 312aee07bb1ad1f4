//! Circles in the order of units.

use std::collections::HashMap;

use petgraph::algo::tarjan_scc;
use petgraph::graph::{DiGraph, NodeIndex};

use super::config::Config;
use super::report::Findings;
use super::rules::ORDER_CYCLE;

/// What comes before what on every node (bootup(7), systemd.special(7), NetworkManager.service).
const SYSTEM: [(&str, &str); 19] = [
    ("local-fs-pre.target", "local-fs.target"),
    ("local-fs.target", "systemd-tmpfiles-setup.service"),
    ("local-fs.target", "sysinit.target"),
    ("swap.target", "sysinit.target"),
    ("systemd-tmpfiles-setup.service", "sysinit.target"),
    ("systemd-udevd.service", "systemd-udev-trigger.service"),
    ("systemd-udev-trigger.service", "sysinit.target"),
    ("systemd-modules-load.service", "sysinit.target"),
    ("sysinit.target", "sockets.target"),
    ("sysinit.target", "paths.target"),
    ("sysinit.target", "timers.target"),
    ("sysinit.target", "basic.target"),
    ("sockets.target", "basic.target"),
    ("dbus.socket", "sockets.target"),
    ("basic.target", "NetworkManager.service"),
    ("network-pre.target", "NetworkManager.service"),
    ("NetworkManager.service", "network.target"),
    ("network.target", "network-online.target"),
    ("basic.target", "multi-user.target"),
];

/// Targets without default dependencies: none of them waits for what it wants by itself.
const WITHOUT_DEFAULTS: [&str; 5] =
    ["local-fs.target", "remote-fs.target", "timers.target", "remote-cryptsetup.target", "remote-veritysetup.target"];

pub(super) fn check(config: &Config, findings: &mut Findings) {
    let mut graph = DiGraph::<&str, ()>::new();
    let mut nodes: HashMap<&str, NodeIndex> = HashMap::new();
    let mut edges: Vec<(&str, &str)> = SYSTEM.to_vec();
    let units = || config.units.iter().filter(|unit| !unit.mask);
    for unit in units() {
        let file = &unit.file;
        let name = unit.name.as_str();
        edges.extend(file.words("Unit", "After").map(|(other, _)| (other, name)));
        edges.extend(file.words("Unit", "Before").map(|(other, _)| (name, other)));
        if unit.has_contents && unit.is_service() && !file.is_early() {
            edges.extend([("sysinit.target", name), ("basic.target", name)]);
        }
    }
    edges.extend(waits_of_targets(config, &edges));
    // systemd drops what orders a unit after itself.
    for (from, to) in edges.into_iter().filter(|(from, to)| from != to) {
        let mut node = |name| *nodes.entry(name).or_insert_with(|| graph.add_node(name));
        let (from, to) = (node(from), node(to));
        graph.update_edge(from, to, ());
    }
    for circle in tarjan_scc(&graph) {
        let alone = circle.len() == 1;
        let mut names: Vec<&str> = circle.iter().map(|node| graph[*node]).collect();
        names.sort_unstable();
        let Some(unit) = units().find(|unit| names.contains(&unit.name.as_str())).filter(|_| !alone) else { continue };
        let keys = ["Before", "After"];
        let settings = keys.iter().flat_map(|key| unit.file.words("Unit", key));
        let installs = unit.file.words("Install", "WantedBy").chain(unit.file.words("Install", "RequiredBy"));
        let guilty = settings.chain(installs).find(|(other, _)| names.contains(other));
        let place = guilty.map_or_else(|| unit.place.clone(), |(_, setting)| setting.value_place());
        let message = format!("{} comes before and after itself, by way of {}", unit.name, names.join(", "));
        findings.add(&ORDER_CYCLE, &place, message);
    }
}

/// A target comes after what it wants, unless one of both has no default dependencies, or the unit is ordered after the
/// target itself (`unit_add_default_target_dependency` of systemd).
fn waits_of_targets<'c>(config: &'c Config, edges: &[(&'c str, &'c str)]) -> Vec<(&'c str, &'c str)> {
    let is_without_defaults = |target: &str| {
        WITHOUT_DEFAULTS.contains(&target) || config.unit(target).is_some_and(|unit| unit.file.is_early())
    };
    let units = config.units.iter().filter(|unit| unit.starts_at_boot());
    let units = units.filter(|unit| unit.has_contents && unit.is_service() && !unit.file.is_early());
    let waits = units.flat_map(|unit| {
        let targets = ["WantedBy", "RequiredBy"].iter().flat_map(|key| unit.file.words("Install", key));
        targets.map(|(target, _)| (unit.name.as_str(), target))
    });
    let waits = waits.filter(|(_, target)| target.ends_with(".target") && !is_without_defaults(target));
    waits.filter(|(unit, target)| !edges.contains(&(*target, *unit))).collect()
}
