//! From a scenario with several nodes to a plan for each of them, and to what their pools are rendered as at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::super::on_disk;
use super::super::plan::{Draft, Plan, PlanError, nics, place, render, start_of};
use super::super::under_test::{self, UnderTest};
use crate::mco::{File, NodeConfig, Pool, Rendered, Unit};
use crate::network::{PROBE_INTERVAL, SERVICE_PORT, Station, parse_mac};
use crate::scenario::{self, Id, PoolAction, Scenario, Start, WORKER};
use crate::services::certs::Authority;
use crate::services::{API_ADDRESS, API_PORT};
use crate::timeline::{ConfigFact, Facts, MemberFact, NicFact, PoolFacts};

const KUBELET: &str = include_str!("guest/kubelet.sh");
const KUBELET_PATH: &str = "/usr/local/bin/day1-kubelet";
/// What the workload's service is called; nothing starts it but the control plane.
pub(super) const WORKLOAD: &str = "day1-workload.socket";

/// The pool of a trial, before anything is made for it.
pub(in crate::lab) struct PoolDraft {
    pub(in crate::lab) members: Vec<MemberDraft>,
    pub(in crate::lab) stages: Vec<Stage>,
}

/// One node of it.
pub(in crate::lab) struct MemberDraft {
    pub(in crate::lab) name: String,
    pub(in crate::lab) roles: Vec<String>,
    pub(in crate::lab) draft: Draft,
}

/// What the pools are rendered as between two steps: the first stage is before the first step.
pub type Stage = BTreeMap<String, PoolConfig>;

/// A pool's rendered config.
#[derive(Debug, Clone)]
pub struct PoolConfig {
    /// As it is served.
    pub rendered: Rendered,
    /// As the daemon reads it.
    pub config: NodeConfig,
    /// As it must be on a disk.
    pub fact: ConfigFact,
}

/// A trial's pool, resolved.
pub struct PoolPlan {
    /// Its nodes, in the order of the scenario.
    pub members: Vec<MemberPlan>,
    /// What its pools are rendered as, before the first step and after each.
    pub stages: Vec<Stage>,
}

/// One of its nodes.
pub struct MemberPlan {
    /// Its name.
    pub name: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it boots, and what it is judged by.
    pub plan: Plan,
}

/// The pool that a node with these roles is in.
pub(super) fn pool_of(roles: &[String]) -> &str {
    roles.iter().find(|role| *role != WORKER).map_or(WORKER, String::as_str)
}

fn roles(roles: &[Id]) -> Vec<String> {
    if roles.is_empty() { vec![WORKER.to_owned()] } else { roles.iter().map(ToString::to_string).collect() }
}

/// What the control plane needs on each node, beside the scenario's own files and units.
pub(in crate::lab) fn base() -> (Vec<File>, Vec<Unit>) {
    let kubelet = Unit {
        name: "kubelet.service".into(),
        contents: Some(format!(
            "[Unit]\n\
             Description=Stand-in for kubelet\n\
             Requires=kubelet-dependencies.target\n\
             After=kubelet-dependencies.target\n\
             [Service]\n\
             ExecStart={KUBELET_PATH} http://{API_ADDRESS}:{API_PORT}\n\
             Restart=always\n\
             [Install]\n\
             WantedBy=multi-user.target\n"
        )),
        enabled: Some(true),
        ..Unit::default()
    };
    let socket = format!("[Unit]\nDescription=The workload's service\n[Socket]\nListenStream={SERVICE_PORT}\n");
    let service = "[Unit]\nDescription=The workload\n[Service]\nExecStart=/usr/bin/sleep infinity\n";
    let workload = [(WORKLOAD, socket), ("day1-workload.service", service.to_owned())].map(|(name, contents)| Unit {
        name: name.into(),
        contents: Some(contents),
        ..Unit::default()
    });
    let script = File { path: KUBELET_PATH.into(), mode: 0o755, contents: KUBELET.into() };
    (vec![script], [kubelet].into_iter().chain(workload).collect())
}

/// Refuses a scenario with several nodes whose MachineConfigs can't be used.
pub(in crate::lab) fn draft(
    scenario: &Arc<Scenario>,
    start: Option<Start>,
    authority: &Authority,
) -> Result<(PoolDraft, Vec<UnderTest>), PlanError> {
    let configs = under_test::all(scenario)?;
    let spec = &scenario.spec;
    let mut in_force: Vec<&UnderTest> = configs.iter().filter(|one| !one.later).collect();
    let mut roles_of: BTreeMap<String, Vec<String>> =
        spec.nodes.iter().map(|node| (node.name.to_string(), roles(&node.roles))).collect();
    let labels = spec.steps.iter().flat_map(|step| step.actions.iter()).filter_map(|action| match action {
        PoolAction::Label(label) => Some(roles(&label.roles)),
        _ => None,
    });
    let pools: BTreeSet<String> =
        roles_of.values().cloned().chain(labels).map(|one| pool_of(&one).to_owned()).collect();
    let stage = |in_force: &[&UnderTest], os: Option<&str>| -> Result<Stage, PlanError> {
        let of_pool = |pool: &String| {
            let said = os.into_iter().fold(Pool::new(pool), |pool, image| pool.with_os_image(image));
            let rendered = render(scenario, &said, in_force, &configs, authority)?;
            let refuse = |source| PlanError::Change { place: place(scenario, &["machine-configs"]), source };
            let config = NodeConfig::of(&rendered).map_err(refuse)?;
            let fact = on_disk::fact(&config);
            Ok((pool.clone(), PoolConfig { rendered, config, fact }))
        };
        pools.iter().map(of_pool).collect()
    };
    let mut os = None;
    let mut stages = vec![stage(&in_force, os)?];
    // The configs that each node is to have one after the other.
    let first = |roles: &Vec<String>, stages: &[Stage]| stages[0][pool_of(roles)].clone();
    let mut of_node: BTreeMap<String, Vec<PoolConfig>> =
        roles_of.iter().map(|(name, roles)| (name.clone(), vec![first(roles, &stages)])).collect();
    for (index, step) in spec.steps.iter().enumerate() {
        for action in step.actions.iter() {
            match action {
                PoolAction::Apply(name) | PoolAction::Remove(name) => {
                    let one = configs.iter().find(|one| one.config.name == *name);
                    let one = one.ok_or_else(|| PlanError::NoConfig {
                        place: scenario.document.place(&scenario::Path::default().key("steps").index(index).key("do")),
                        name: name.clone(),
                    })?;
                    in_force.retain(|other| other.config.name != *name);
                    in_force.extend(matches!(action, PoolAction::Apply(_)).then_some(one));
                }
                PoolAction::OsUpdate(image) => os = Some(image.as_str()),
                PoolAction::Label(label) if !label.roles.is_empty() => {
                    roles_of.insert(label.node.to_string(), roles(&label.roles));
                }
                _ => {}
            }
        }
        let next = stage(&in_force, os)?;
        for (name, configs) in &mut of_node {
            if step.rollout.as_ref().is_some_and(|rollout| rollout.boots(name).is_some()) {
                configs.push(next[pool_of(&roles_of[name])].clone());
            }
        }
        stages.push(next);
    }
    let members = spec.nodes.iter().map(|node| {
        let (name, roles) = (node.name.to_string(), roles(&node.roles));
        let own = Arc::new(scenario.of_member(&name));
        let configs_of_node = &of_node[&name];
        let draft = Draft {
            start: start_of(&own, start),
            scenario: own,
            pool: pool_of(&roles).to_owned(),
            rendered: configs_of_node[0].rendered.clone(),
            units: under_test::units(&configs),
            files: configs.iter().flat_map(|one| one.files.clone()).collect(),
            configs: configs_of_node.iter().map(|one| one.config.clone()).collect(),
            changes: vec![],
            workers: vec![],
            kernel: None,
            members: None,
        };
        MemberDraft { name, roles, draft }
    });
    Ok((PoolDraft { members: members.collect(), stages }, configs))
}

/// The first card's MAC and the address of the n-th node, from 0.
fn station(name: &str, number: usize, cards: &[NicFact]) -> Option<Station> {
    let host = u8::try_from(FIRST_HOST + number).ok()?;
    let mac = parse_mac(&cards.first()?.mac)?;
    Some(Station { name: name.to_owned(), mac, address: Ipv4Addr::new(10, 0, 2, host) })
}

/// The last number of the first node's address.
const FIRST_HOST: usize = 11;

/// The plans of the nodes, with the trial's own facts and images.
pub(in crate::lab) fn plan(
    draft: &PoolDraft,
    scenario: &Scenario,
    facts: &mut Facts,
    of_member: impl Fn(&Draft, Facts) -> Plan,
) -> PoolPlan {
    let mut members = vec![];
    let mut pool = PoolFacts {
        asked_every_ms: u64::try_from(PROBE_INTERVAL.as_millis()).unwrap_or_default(),
        ..PoolFacts::default()
    };
    for (index, member) in draft.members.iter().enumerate() {
        let name = pool_of(&member.roles);
        let said = scenario.spec.pools.iter().find(|pool| pool.name.as_str() == name);
        pool.max_unavailable.insert(name.to_owned(), said.map_or(1, |pool| pool.max_unavailable));
        let mut cards = nics(scenario);
        for card in &mut cards {
            // The fifth number is the node's.
            card.mac.replace_range(12..14, &format!("{:02x}", index + 1));
        }
        let station = station(&member.name, index, &cards);
        let address = station.as_ref().map(|station| station.address.to_string()).unwrap_or_default();
        pool.nodes.push(MemberFact { name: member.name.clone(), address, pool: name.to_owned() });
        let own = Facts {
            rendered_sha256: member.draft.rendered.sha256.clone(),
            configs: member.draft.configs.iter().map(on_disk::fact).collect(),
            nics: cards,
            pool: None,
            ..facts.clone()
        };
        let mut plan = of_member(&member.draft, own);
        plan.station = station;
        members.push(MemberPlan { name: member.name.clone(), roles: member.roles.clone(), plan });
    }
    facts.pool = Some(Box::new(pool));
    PoolPlan { members, stages: draft.stages.clone() }
}
