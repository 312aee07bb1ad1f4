//! MachineConfigs that get in each other's way.

use std::collections::{BTreeMap, BTreeSet};

use super::behaviour::Behaviour;
use super::config::{Config, Unit};
use super::report::Findings;
use super::rules::{MCO_REFUSES, SAME_NAME, SAME_PATH, SHARED_STATE};
use crate::mco::{MachineConfig, Pool, render};

/// One MachineConfig and what its units do.
pub(super) struct Member<'c> {
    config: &'c Config,
    /// Of each unit that starts at boot, what it uses that exists once on a node.
    uses: Vec<(&'c Unit, BTreeSet<String>)>,
}

impl<'c> Member<'c> {
    pub(super) fn of(config: &'c Config, behaviours: &'c [Behaviour<'c>]) -> Self {
        let running = behaviours.iter().filter(|behaviour| behaviour.unit.starts_at_boot());
        let uses = running.map(|behaviour| (behaviour.unit, names(behaviour)));
        Self { config, uses: uses.filter(|(_, names)| !names.is_empty()).collect() }
    }
}

pub(super) fn check(members: &[Member<'_>], findings: &mut Findings) {
    for (index, member) in members.iter().enumerate() {
        for earlier in &members[..index] {
            let (one, other) = (earlier.config, member.config);
            if !one.found.machine_config || !other.found.machine_config {
                continue;
            }
            if one.name == other.name && !one.name.is_empty() {
                let place = other.found.place(&other.found.at.key("metadata").key("name"));
                let first = one.found.place(&one.found.at.key("metadata").key("name"));
                let message = format!("{} stands in {}:{} too", one.name, first.file, first.line);
                findings.add(&SAME_NAME, &place, message);
                continue;
            }
            if share_a_pool(one, other) {
                same_path(one, other, findings);
                shared_state(earlier, member, findings);
            }
        }
    }
}

/// A custom pool has the workers' MachineConfigs too.
fn share_a_pool(one: &Config, other: &Config) -> bool {
    let fixed = |role: &str| ["master", "arbiter"].contains(&role);
    one.role == other.role
        || (one.role == "worker" && !fixed(&other.role))
        || (other.role == "worker" && !fixed(&one.role))
}

fn same_path(one: &Config, other: &Config, findings: &mut Findings) {
    for file in &other.files {
        let Some(twin) = one.file(&file.path) else { continue };
        let differs = match (file.contents.bytes(), twin.contents.bytes()) {
            (Some(mine), Some(theirs)) => mine != theirs,
            _ => false,
        };
        if differs {
            let message = format!("{} has {} too, with other contents", one.title(), file.path);
            findings.add(&SAME_PATH, &file.place, message);
        }
    }
    // Of units in files, the file was told.
    for unit in other.units.iter().filter(|unit| unit.has_contents && !unit.in_file) {
        let Some(twin) = one.unit(&unit.name).filter(|twin| twin.has_contents) else { continue };
        let text = |unit: &Unit| {
            unit.file.settings.iter().map(|setting| (setting.key.clone(), setting.value.clone())).collect::<Vec<_>>()
        };
        if text(unit) != text(twin) {
            let message = format!("{} has {} too, with other contents", one.title(), unit.name);
            findings.add(&SAME_PATH, &unit.place, message);
        }
    }
}

/// Names that exist once on a node: of containers, pods and volumes, and of files that are written.
fn names(behaviour: &Behaviour<'_>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (_, call) in behaviour.calls() {
        let (_, words) = call.program();
        if let Some(verb) = call.podman() {
            for (index, word) in words.iter().enumerate() {
                let name = match word.strip_prefix("--name") {
                    Some("") => words.get(index + 1).cloned(),
                    Some(rest) => rest.strip_prefix('=').map(str::to_owned),
                    None => None,
                };
                names.extend(name.map(|name| format!("the container or pod {}", behaviour.resolve(&name))));
            }
            if verb == "volume create" {
                names.extend(words.last().map(|name| format!("the volume {}", behaviour.resolve(name))));
            }
        }
        let written = call.writes().into_iter().map(|path| behaviour.resolve(path));
        names.extend(written.filter(|path| is_state(path)).map(|path| format!("the file {path}")));
    }
    names.retain(|name| !name.contains('$'));
    names
}

fn is_state(path: &str) -> bool {
    ["/var/", "/etc/", "/run/", "/tmp/", "/opt/"].iter().any(|dir| path.starts_with(dir))
}

fn shared_state(one: &Member<'_>, other: &Member<'_>, findings: &mut Findings) {
    // Two are enough for each name: one of them is another unit than the one that is looked at.
    let mut users: BTreeMap<&str, Vec<&Unit>> = BTreeMap::new();
    for (unit, names) in &one.uses {
        for name in names {
            let users = users.entry(name).or_default();
            if users.len() < 2 {
                users.push(unit);
            }
        }
    }
    for (mine, names) in &other.uses {
        let mut shared: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in names {
            let theirs = users.get(name.as_str()).and_then(|users| users.iter().find(|unit| unit.name != mine.name));
            if let Some(theirs) = theirs {
                shared.entry(&theirs.name).or_default().push(name);
            }
        }
        for (theirs, names) in shared {
            let shown = names[..names.len().min(SHOWN)].join(", ");
            let more = if names.len() > SHOWN { format!(" and {} more", names.len() - SHOWN) } else { String::new() };
            let message = format!("{} and {theirs} of {} both use {shown}{more}", mine.name, one.config.title());
            findings.add(&SHARED_STATE, &mine.place, message);
        }
    }
}

/// Names that a message has, at most.
const SHOWN: usize = 5;

/// What the reader of MachineConfigs refuses, and what their rendering does: nothing that passes here fails there.
pub(super) fn render_pools(configs: &[Config], parsed: &[MachineConfig], findings: &mut Findings) {
    let mut pools: BTreeMap<&str, &Config> = BTreeMap::new();
    for config in configs.iter().filter(|config| config.found.machine_config && !config.role.is_empty()) {
        pools.entry(&config.role).or_insert(config);
    }
    for (role, config) in pools {
        if let Err(error) = render(&Pool::new(role), parsed) {
            let place = config.found.place(&config.found.at.key("metadata").key("name"));
            findings.add(&MCO_REFUSES, &place, error.to_string());
        }
    }
}
