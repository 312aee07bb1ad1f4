//! From a scenario with several nodes to a plan for each of them, and to what their pools are rendered as at each step.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::super::in_force::InForce;
use super::super::on_disk;
use super::super::plan::{Draft, Plan, nics, place, render, start_of};
use super::super::plan_error::PlanError;
use super::super::under_test::{self, UnderTest};
use crate::mco::{File, NodeConfig, Pool, Rendered, Unit};
use crate::network::{PROBE_INTERVAL, SERVICE_PORT, Station, parse_mac};
use crate::scenario::{self, Id, MemberState, PoolAction, Scenario, Start, pool_of};
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
    pub(in crate::lab) roles: Vec<Id>,
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
    /// Its roles at first.
    pub roles: Vec<Id>,
    /// What it boots, and what it is judged by.
    pub plan: Plan,
}

impl PoolPlan {
    /// The rendered config of this name.
    pub(super) fn config(&self, name: &str) -> Option<&PoolConfig> {
        self.stages.iter().flat_map(BTreeMap::values).find(|config| config.rendered.name == name)
    }
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
    let stages = stages(scenario, &configs, authority)?;
    let spec = &scenario.spec;
    // The configs that are to be on each node's disk one after the other, and the one that the daemon goes from.
    let mut of_node: BTreeMap<&str, (Vec<&PoolConfig>, &PoolConfig)> = BTreeMap::new();
    for node in &spec.nodes {
        let first = &stages[0][pool_of(&node.roles)];
        of_node.insert(node.name.as_str(), (vec![first], first));
    }
    let mut paused: BTreeSet<&str> =
        spec.pools.iter().filter(|pool| pool.paused).map(|pool| pool.name.as_str()).collect();
    for (index, step) in spec.steps.iter().enumerate() {
        for action in step.actions.iter() {
            match action {
                PoolAction::Pause(pool) => {
                    paused.insert(pool.as_str());
                }
                PoolAction::Resume(pool) => {
                    paused.remove(pool.as_str());
                }
                _ => {}
            }
        }
        for (name, (configs, from)) in &mut of_node {
            let pool = pool_of(spec.roles_of_member(name, index + 1));
            let next = &stages[index + 1][pool];
            let turn = Turn { scenario, index, node: name, pool, is_paused: paused.contains(pool) };
            if turn.check(from, next)? {
                configs.push(next);
                let mut states = step.expect.states.iter();
                if !states.any(|(node, state)| node.as_str() == *name && FAILED.contains(state)) {
                    *from = next;
                }
            }
        }
    }
    let members = spec.nodes.iter().map(|node| {
        let (name, roles) = (node.name.to_string(), node.roles.clone());
        let own = Arc::new(scenario.of_member(&name));
        let (configs_of_node, _) = &of_node[name.as_str()];
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
    let members = members.collect();
    Ok((PoolDraft { members, stages }, configs))
}

/// What the pools are rendered as, before the first step and after each.
fn stages(scenario: &Scenario, configs: &[UnderTest], authority: &Authority) -> Result<Vec<Stage>, PlanError> {
    let spec = &scenario.spec;
    let roles = (0..=spec.steps.len())
        .flat_map(|steps| spec.nodes.iter().map(move |node| spec.roles_of_member(node.name.as_str(), steps)));
    let pools: BTreeSet<&str> = roles.map(pool_of).collect();
    let stage = |in_force: &InForce<'_>, os: Option<&str>| -> Result<Stage, PlanError> {
        let of_pool = |pool: &&str| {
            let said = os.into_iter().fold(Pool::new(*pool), |pool, image| pool.with_os_image(image));
            let rendered = render(scenario, &said, in_force.now(), configs, authority)?;
            let refuse = |source| PlanError::Change { place: place(scenario, &["machine-configs"]), source };
            let config = NodeConfig::of(&rendered).map_err(refuse)?;
            let fact = on_disk::fact(&config);
            Ok(((*pool).to_owned(), PoolConfig { rendered, config, fact }))
        };
        pools.iter().map(of_pool).collect()
    };
    let names = |stage: &Stage| stage.values().map(|pool| pool.rendered.name.clone()).collect::<Vec<_>>();
    let (mut in_force, mut os) = (InForce::first(configs), None);
    let mut now = stage(&in_force, os)?;
    let mut stages = vec![now.clone()];
    for (index, step) in spec.steps.iter().enumerate() {
        let place = || scenario.document.place(&scenario::Path::default().key("steps").index(index).key("do"));
        for action in step.actions.iter() {
            let (name, is_known) = match action {
                PoolAction::Apply(name) => (name, in_force.apply(name)),
                PoolAction::Remove(name) => (name, in_force.remove(name)),
                PoolAction::OsUpdate(image) => {
                    os = Some(image.as_str());
                    now = stage(&in_force, os)?;
                    continue;
                }
                _ => continue,
            };
            if !is_known {
                return Err(PlanError::NoConfig { place: place(), name: name.clone() });
            }
            let before = std::mem::replace(&mut now, stage(&in_force, os)?);
            if names(&before) == names(&now) {
                let pools = pools.iter().map(|pool| (*pool).to_owned()).collect();
                return Err(PlanError::NothingChanges { place: place(), action: action.describe(), pools });
            }
        }
        stages.push(now.clone());
    }
    Ok(stages)
}

/// What a node is that did not get the config of its turn.
const FAILED: [MemberState; 2] = [MemberState::Degraded, MemberState::NotReady];

/// A node, in a step that may give it another config.
struct Turn<'s> {
    scenario: &'s Scenario,
    index: usize,
    node: &'s str,
    pool: &'s str,
    is_paused: bool,
}

impl Turn<'_> {
    /// Whether the step is to give it that config; refused where the scenario says of it what the MCO would not do.
    fn check(&self, from: &PoolConfig, to: &PoolConfig) -> Result<bool, PlanError> {
        let step = &self.scenario.spec.steps[self.index];
        let at = |keys: &[&str]| {
            let path = scenario::Path::default().key("steps").index(self.index);
            self.scenario.document.place(&keys.iter().fold(path, |path, key| path.key(key)))
        };
        let boots = step.rollout.as_ref().and_then(|rollout| rollout.boots(self.node));
        let node = self.node.to_owned();
        if from.rendered.name == to.rendered.name || self.is_paused {
            return match boots {
                None => Ok(false),
                Some(_) if self.is_paused => {
                    Err(PlanError::Paused { place: at(&["rollout", "nodes"]), node, pool: self.pool.to_owned() })
                }
                Some(_) => {
                    Err(PlanError::NoTurn { place: at(&["rollout", "nodes"]), node, pool: self.pool.to_owned() })
                }
            };
        }
        let change = from.config.change_to(&to.config, &self.scenario.spec.node_disruption_policy);
        let change = change.map_err(|source| PlanError::Change { place: at(&["do"]), source })?;
        if let Some(what) = change.differences.system.first() {
            return Err(PlanError::OtherSystem { place: at(&["do"]), node, what: (*what).to_owned() });
        }
        // One that may change and has no turn is kept from it by another that fails.
        let Some(boots) = boots else { return Ok(false) };
        if change.reboots() == boots.is_empty() {
            return Err(PlanError::BootsOf { place: at(&["rollout"]), node, why: change.disruption.reboot });
        }
        Ok(true)
    }
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn root() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios")
    }

    /// Drafts a scenario of the project with one change to its text.
    fn drafted(name: &str, from: &str, to: &str) -> Result<PoolDraft, PlanError> {
        let path = root().join(name);
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{from}");
        let text = text.replacen(from, to, 1);
        let mut rows = Scenario::parse(&path, text).unwrap_or_else(|mistakes| panic!("{}", mistakes.plain()));
        let scenario = Arc::new(rows.pop().expect("a row"));
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = crate::cache::Cache::open(Some(dir.path())).expect("a cache");
        draft(&scenario, None, &Authority::open(&cache).expect("an authority")).map(|(draft, _)| draft)
    }

    #[test]
    fn each_node_has_the_configs_of_its_turns_and_the_next_one_of_a_name_follows() {
        let draft = drafted("pool/without-reboot.yaml", "boots:", "boots:").expect("good");
        let level = |config: &NodeConfig| config.files.get("/etc/settings/level").map(|file| file.contents.clone());
        let levels = |node: usize| draft.members[node].draft.configs.iter().map(level).collect::<Vec<_>>();
        let (one, two) = (Some(b"level=1".to_vec()), Some(b"level=2".to_vec()));
        assert_eq!(levels(0), [None, one.clone(), two.clone(), None]);
        assert_eq!(levels(1), [None, one, two.clone(), two, None]);
        let infra = |config: &NodeConfig| config.files.contains_key("/etc/settings/infra");
        let infra: Vec<bool> = draft.members[1].draft.configs.iter().map(infra).collect();
        assert_eq!(infra, [false, false, false, true, true]);
    }

    #[test]
    fn what_the_mco_would_not_do_is_refused() {
        let mut wrong = vec![];
        for (name, from, to, told) in [
            (
                "pool/without-reboot.yaml",
                "[{type: None}]",
                "[{type: Reboot}]",
                "the MCO reboots worker-1 for this change, since the node disruption policy of file /etc/settings/level says so; say in `boots`",
            ),
            (
                "pool/unreachable-node.yaml",
                "nodes: [worker-1, worker-2]}\n",
                "nodes: [worker-1, worker-2], boots: [{ends: ready}]}\n",
                "the MCO does not reboot worker-1 for this change",
            ),
            (
                "pool/without-reboot.yaml",
                "{resume: worker}",
                "{resume: infra}",
                "pool worker, which worker-1 is in, is paused in this step",
            ),
            (
                "pool/without-reboot.yaml",
                "rollout: {nodes: [worker-2]}\n    expect:\n      rollout.states: {worker-1: untouched,",
                "rollout: {nodes: [worker-2, worker-1]}\n    expect:\n      rollout.states: {",
                "worker-1 has what its pool worker is to have, so it has no turn",
            ),
            (
                "pool/without-reboot.yaml",
                "do: {apply: 50-worker-settings}",
                "do: {remove: 50-worker-settings}",
                "remove 50-worker-settings changes no config of the pools infra, worker,",
            ),
            (
                "pool/without-reboot.yaml",
                "do: {apply: 50-worker-settings}",
                "do: {apply: 51-other}",
                "no MachineConfig under test is called \"51-other\"",
            ),
            (
                "day0/os-update.yaml",
                "machine-configs:\n  - file: layered.machine-config.yaml",
                "machine-configs: []",
                "by this step worker-1's osImageURL would be another, and the harness changes no node's operating system",
            ),
        ] {
            let said = drafted(name, from, to).err().map(|error| error.to_string()).unwrap_or_default();
            if !said.contains(told) {
                wrong.push((told, said));
            }
        }
        assert_eq!(wrong, []);
    }
}
