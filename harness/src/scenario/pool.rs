//! A pool of nodes: who is in it, what is done to it step by step, and what must come of each step.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    Action, Boot, ConfigChange, Expectation, Expectations, Id, Many, ModuleName, Path, Repository, Seconds, Size, Spec,
};

/// The role that every node has unless it is said otherwise, and the pool that it is in then.
pub const WORKER: &str = "worker";

/// The image of the workers that Day-2 management's pods run, and its tag; the trial's registry must hold it.
pub const DAY2_WORKER: &str = "quay.io/day1/worker";
/// See there.
pub const DAY2_WORKER_TAG: &str = "latest";

/// The most nodes of one trial.
pub const MOST_NODES: usize = 9;

/// One of several nodes. All have the shape that `node` describes, and are in one network.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Member {
    /// Its name, by which the other nodes' scenario speaks of it and which DHCP gives it.
    pub name: Id,
    /// Its roles; default: `worker`. With a role beside `worker` it is in that role's pool, which has the workers'
    /// MachineConfigs and its own.
    #[serde(default)]
    pub roles: Vec<Id>,
}

/// The pool that a node with these roles is in.
pub fn pool_of(roles: &[Id]) -> &str {
    roles.iter().map(Id::as_str).find(|role| *role != WORKER).unwrap_or(WORKER)
}

/// What of a pool is not as the MCO has it by itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Pool {
    /// The pool.
    pub name: Id,
    /// How many of its nodes may be away at once (`maxUnavailable`).
    #[serde(default = "one")]
    pub max_unavailable: u32,
    /// Whether it is paused from the beginning: it is rendered, and no node is changed.
    #[serde(default)]
    pub paused: bool,
}

fn one() -> u32 {
    1
}

/// Something that is done to the pool, and what must come of it. The next step follows when nothing more is to come of
/// this one.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Step {
    /// What is done, in this order.
    #[serde(rename = "do")]
    pub actions: Many<PoolAction>,
    /// The nodes that get another config by it, and how.
    pub rollout: Option<Rollout>,
    /// The longest that one node may take for its part, at reference speed. Default: 10 minutes.
    pub deadline: Option<Seconds>,
    /// What must be true of it.
    #[serde(default)]
    pub expect: StepExpectations,
}

impl Step {
    /// The checks that it is held against besides those of single nodes.
    pub(super) fn checks(&self) -> impl Iterator<Item = &'static str> {
        let StepExpectations { states, merged, downtime, pods, .. } = &self.expect;
        let all = [
            ("rollout.order", self.rollout.is_some()),
            ("rollout.unavailable", self.rollout.is_some()),
            ("rollout.states", !states.is_empty()),
            ("rollout.merged", !merged.is_empty()),
            ("downtime", !downtime.is_empty()),
            ("pod.result", !pods.is_empty()),
        ];
        all.into_iter().filter_map(|(check, is_asked)| is_asked.then_some(check))
    }

    /// The longest that one node may take for its part, at reference speed.
    pub fn deadline(&self) -> Seconds {
        self.deadline.unwrap_or(Seconds::new(600))
    }
}

/// Which nodes take up another config, and the boots that this makes of each.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rollout {
    /// The nodes, in the order of their turns.
    pub nodes: Vec<Id>,
    /// The boots of each after the daemon's reboot. None where the change needs no reboot.
    #[serde(default)]
    pub boots: Vec<Boot>,
    /// The boots of nodes that are to come to another end than the rest, by name.
    #[serde(default)]
    pub boots_of: BTreeMap<Id, Vec<Boot>>,
}

impl Rollout {
    /// The boots that it makes of a node; none for one that has no part in it.
    pub fn boots(&self, node: &str) -> Option<&[Boot]> {
        let takes_part = self.nodes.iter().any(|name| name.as_str() == node);
        let own = self.boots_of.iter().find(|(name, _)| name.as_str() == node).map(|(_, boots)| boots);
        takes_part.then_some(own.unwrap_or(&self.boots).as_slice())
    }
}

/// Something that is done to the pool.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PoolAction {
    /// The cluster gets a MachineConfig, by its name.
    Apply(String),
    /// A MachineConfig is removed from the cluster.
    Remove(String),
    /// A pool is paused.
    Pause(Id),
    /// A pool is paused no more.
    Resume(Id),
    /// A node gets labels.
    Label(Label),
    /// Day-2 management gets a `Module`, or another version of one that it has.
    Module(Module),
    /// The cluster is updated: from now on this is its operating system's image (`osImageURL`), unless a MachineConfig of a
    /// pool names another one, as it does where the image of its nodes is layered.
    OsUpdate(String),
    /// A node's link becomes another.
    Link(MemberLink),
}

impl PoolAction {
    /// For a person.
    pub fn describe(&self) -> String {
        match self {
            Self::Apply(name) => format!("apply {name}"),
            Self::Remove(name) => format!("remove {name}"),
            Self::Pause(pool) => format!("pause {pool}"),
            Self::Resume(pool) => format!("resume {pool}"),
            Self::Label(label) => {
                let roles = (!label.roles.is_empty()).then(|| {
                    let roles: Vec<&str> = label.roles.iter().map(Id::as_str).collect();
                    format!("roles {}", roles.join(", "))
                });
                let versions = label.versions.iter().map(|(module, version)| format!("{module} {version}"));
                format!("label {}: {}", label.node, roles.into_iter().chain(versions).collect::<Vec<_>>().join(", "))
            }
            Self::Module(module) => match &module.version {
                Some(version) => format!("module {} {version}", module.name),
                None => format!("module {} of {}", module.name, module.image),
            },
            Self::OsUpdate(image) => format!("os-update {image}"),
            Self::Link(link) => format!("link of {} {}", link.node, link.becomes()),
        }
    }
}

/// A node's labels.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Label {
    /// The node.
    pub node: Id,
    /// Its roles from now on, where they change.
    #[serde(default)]
    pub roles: Vec<Id>,
    /// The version of a `Module` that it is to have, by the module's name
    /// (`kmm.node.kubernetes.io/version-module.NAMESPACE.NAME`).
    #[serde(default)]
    pub versions: BTreeMap<Id, String>,
}

/// What Day-2 management is to load on every node (`Module` of kmm.sigs.x-k8s.io/v1beta1). With a version, it is loaded on
/// the nodes whose label has that version, and of each such node a version before it is unloaded first, by a pod of its own
/// (ordered upgrade).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Module {
    /// Its name.
    pub name: Id,
    /// The image; its tag is the kernel's release, as everywhere.
    pub image: Repository,
    /// The kernel module in it.
    pub module: ModuleName,
    /// Modules that the pod takes out before it loads (`inTreeModulesToRemove`).
    #[serde(default)]
    pub in_tree_modules_to_remove: Vec<ModuleName>,
    /// Which of them it takes out.
    #[serde(default)]
    pub takes_out: TakesOut,
    /// Its version; none for one that is loaded everywhere at once.
    pub version: Option<String>,
}

/// Which modules a pod of Day-2 management takes out, of those that it is told to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TakesOut {
    /// Those that have a file in the node's `/lib/modules`, as KMM's worker does it: a module that came by an image has none
    /// there.
    #[default]
    WithFile,
    /// Those that are loaded.
    Loaded,
}

impl TakesOut {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::WithFile => "with-file",
        }
    }
}

/// A node's link to the network of the pool, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct MemberLink {
    /// The node.
    pub node: Id,
    /// Whether all that goes over it is lost, while the card still sees its carrier.
    #[serde(default)]
    pub cut: bool,
    /// How long what goes over it takes.
    pub delay: Option<Seconds>,
    /// How much it carries in a second.
    pub bytes_per_second: Option<Size>,
}

impl MemberLink {
    /// What it is from now on, for a person.
    fn becomes(&self) -> &'static str {
        match (self.cut, self.delay.is_some() || self.bytes_per_second.is_some()) {
            (true, _) => "cut",
            (false, true) => "slow",
            (false, false) => "as usual",
        }
    }
}

impl Spec {
    /// The scenario of one of several nodes, as if it stood alone: all of its boots, and what happens to it.
    #[must_use]
    pub fn of_member(&self, name: &str) -> Self {
        let mut own = Self { nodes: vec![], pools: vec![], steps: vec![], ..self.clone() };
        own.happens.retain(|happening| happening.node.as_ref().is_some_and(|node| node.as_str() == name));
        for step in &self.steps {
            let Some(boots) = step.rollout.as_ref().and_then(|rollout| rollout.boots(name)) else { continue };
            if let (Some(last), false) = (own.boots.last_mut(), boots.is_empty()) {
                // The control plane does it, and says so as the action would.
                last.then = vec![Action::Apply(ConfigChange { machine_config: step.describe(), reboots: true })].into();
                last.at_most = None;
            }
            own.boots.extend(boots.iter().cloned());
        }
        own
    }
}

impl Spec {
    /// The roles of one of several nodes once the first so many steps have begun.
    pub fn roles_of_member(&self, name: &str, steps: usize) -> &[Id] {
        let first = self.nodes.iter().filter(|node| node.name.as_str() == name).map(|node| &node.roles);
        let labels =
            self.steps.iter().take(steps).flat_map(|step| step.actions.iter()).filter_map(|action| match action {
                PoolAction::Label(label) if label.node.as_str() == name && !label.roles.is_empty() => {
                    Some(&label.roles)
                }
                _ => None,
            });
        first.chain(labels).last().map(Vec::as_slice).unwrap_or_default()
    }

    /// How many nodes of a pool may be away at once.
    pub fn max_unavailable(&self, pool: &str) -> u32 {
        self.pools.iter().find(|said| said.name.as_str() == pool).map_or_else(one, |said| said.max_unavailable)
    }

    /// What is planned for a boot of one of several nodes, from 1, and its place in the file.
    pub fn boot_of_member(&self, name: &str, number: u32) -> Option<(Path, &Boot)> {
        let first = Path::default().key("boots");
        let first = self.boots.iter().enumerate().map(|(index, boot)| (first.index(index), boot));
        let later = self.steps.iter().enumerate().filter_map(|(index, step)| {
            let rollout = step.rollout.as_ref()?;
            let place = Path::default().key("steps").index(index).key("rollout");
            let own = rollout.boots_of.keys().any(|node| node.as_str() == name);
            let list = if own { place.key("boots-of").key(name) } else { place.key("boots") };
            let boots = rollout.boots(name)?.iter().enumerate();
            Some(boots.map(move |(index, boot)| (list.index(index), boot)))
        });
        first.chain(later.flatten()).nth((number as usize).checked_sub(1)?)
    }
}

impl Spec {
    /// What is expected in its steps, each with its place in the file.
    pub(super) fn expectations_of_steps(&self) -> Vec<(Path, &Expectations)> {
        let mut all = vec![];
        for (index, step) in self.steps.iter().enumerate() {
            let place = Path::default().key("steps").index(index);
            let expect = place.key("expect");
            all.push((expect.key("every-node"), &step.expect.every_node));
            all.extend(step.expect.of_node.iter().map(|(name, one)| (expect.key("of-node").key(name.as_str()), one)));
            let Some(rollout) = &step.rollout else { continue };
            let place = place.key("rollout");
            fn of_boots(list: Path, boots: &[Boot]) -> impl Iterator<Item = (Path, &Expectations)> {
                boots.iter().enumerate().map(move |(index, boot)| (list.index(index).key("expect"), &boot.expect))
            }
            all.extend(of_boots(place.key("boots"), &rollout.boots));
            for (name, boots) in &rollout.boots_of {
                all.extend(of_boots(place.key("boots-of").key(name.as_str()), boots));
            }
        }
        all
    }
}

impl Step {
    /// What it does, for a person.
    pub fn describe(&self) -> String {
        self.actions.iter().map(PoolAction::describe).collect::<Vec<_>>().join(", ")
    }
}

/// What must be true when nothing more is to come of a step. Each key is a check's id.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct StepExpectations {
    /// What the pool's nodes are, by name. Nodes that are not named may be anything.
    #[serde(rename = "rollout.states")]
    pub states: BTreeMap<Id, MemberState>,
    /// Pools and the MachineConfigs that they are merged of, in the order of the merge, but the node's own base.
    #[serde(rename = "rollout.merged")]
    pub merged: BTreeMap<Id, Vec<String>>,
    /// How long nodes, or the whole cluster, did not serve.
    #[serde(rename = "downtime")]
    pub downtime: Many<Downtime>,
    /// What became of Day-2 management's pods.
    #[serde(rename = "pod.result")]
    pub pods: Many<PodResult>,
    /// What must be true of every node then.
    pub every_node: Expectations,
    /// What must be true of single nodes then, by name.
    pub of_node: BTreeMap<Id, Expectations>,
}

impl StepExpectations {
    /// What must be true of a node.
    pub fn of(&self, node: &str) -> impl Iterator<Item = (usize, Expectation<'_>)> {
        let own = self.of_node.iter().filter(move |(name, _)| name.as_str() == node).map(|(_, expect)| expect);
        std::iter::once(&self.every_node).chain(own).flat_map(Expectations::each)
    }
}

/// What a node of a pool is when nothing more is to come of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MemberState {
    /// In this step it got the config that its pool is to have; it is Ready, and its workload serves.
    Updated,
    /// Nothing was done to it in this step, and it is as Ready as before.
    Untouched,
    /// The daemon could not bring it to its config, or found another state on its disk.
    Degraded,
    /// Its kubelet is not heard.
    NotReady,
}

impl MemberState {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Updated => "updated",
            Self::Untouched => "untouched",
            Self::Degraded => "degraded",
            Self::NotReady => "not-ready",
        }
    }
}

/// How long something did not serve in a step: the sum, as the network's observer saw it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Downtime {
    /// A node; default: the cluster, which serves as long as one of its nodes does.
    pub of: Option<Id>,
    /// What is asked.
    #[serde(default)]
    pub asked: AskedFor,
    /// The most, in the host's own time.
    pub at_most: Option<Seconds>,
    /// Whether there must be none at all.
    #[serde(default)]
    pub none: bool,
    /// The least: what it costs is to be seen.
    pub at_least: Option<Seconds>,
}

/// What the network's observer asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AskedFor {
    /// The workload's service, which a drained node does not offer.
    #[default]
    Service,
    /// The node itself (ICMP echo).
    Ping,
}

/// What became of a pod of Day-2 management on a node.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PodResult {
    /// The node; default: each.
    pub node: Option<Id>,
    /// What it does.
    pub pod: PodKind,
    /// What became of it.
    pub is: PodOutcome,
}

/// What a pod of Day-2 management does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodKind {
    /// It loads a module, and takes others out before that where the `Module` says so.
    Load,
    /// It unloads a module.
    Unload,
}

impl PodKind {
    /// As the scenario writes it; the pod's name begins with it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Unload => "unload",
        }
    }

    /// What the pod of this name does; none of one that is not Day-2 management's.
    pub fn of_pod(name: &str) -> Option<Self> {
        let (kind, _) = name.split_once('-')?;
        [Self::Load, Self::Unload].into_iter().find(|one| one.as_str() == kind)
    }
}

/// What became of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PodOutcome {
    /// It did what it was to do.
    Succeeded,
    /// It could not.
    Failed,
    /// The node took it, and never told what became of it.
    Unknown,
    /// It waits for the node.
    Pending,
    /// Nobody wanted it.
    Never,
}

impl PodOutcome {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Pending => "pending",
            Self::Never => "never",
        }
    }
}
