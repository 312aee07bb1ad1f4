//! What is told of several nodes: steps, what the control plane says of a node, pods, and who answers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A step of the scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its place among the steps, from 0.
    pub index: usize,
    /// What it does, for a person.
    pub text: String,
    /// Whether this is its end.
    pub ended: bool,
    /// How many times the network's observer has asked each node by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, u64>,
    /// What did not come in its time; none for a step that came to its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<String>,
}

/// A pool's rendered config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedFor {
    /// The pool.
    pub pool: String,
    /// The rendered config's name.
    pub config: String,
    /// The MachineConfigs that it was merged of, in the order of the merge.
    pub machine_configs: Vec<String>,
}

/// What the control plane knows of a node changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChanged {
    /// What it is now.
    pub to: NodeState,
    /// Why, or to what, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What the control plane knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Its kubelet asks for work.
    Ready,
    /// Its kubelet has not asked for too long.
    NotReady,
    /// It has its turn: it is told to have another config.
    Targeted,
    /// Nothing new is put on it.
    Cordoned,
    /// Its workload was stopped.
    Drained,
    /// The daemon writes another config.
    Working,
    /// The daemon reboots it.
    Rebooting,
    /// It has the config that it is to have, and the daemon found it on its disk.
    Done,
    /// The daemon could not bring it to its config, or found another state on its disk.
    Degraded,
    /// Its workload may run again.
    Uncordoned,
}

impl NodeState {
    /// As the timeline writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::Targeted => "targeted",
            Self::Cordoned => "cordoned",
            Self::Drained => "drained",
            Self::Working => "working",
            Self::Rebooting => "rebooting",
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::Uncordoned => "uncordoned",
        }
    }
}

/// Something that the control plane wants to run on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name, such as `load-day1-nic-2`.
    pub name: String,
    /// How far it is.
    pub is: PodState,
    /// Why, or what it printed, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodState {
    /// It waits for a node that takes it.
    Pending,
    /// The node's kubelet has taken it.
    Scheduled,
    /// The node's kubelet told that it succeeded.
    Succeeded,
    /// The node's kubelet told that it failed.
    Failed,
}

impl PodState {
    /// For a person, behind the pod's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "waits for the node",
            Self::Scheduled => "was taken by the node",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// A node began or ceased to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answering {
    /// What it is asked.
    pub asked: Asked,
    /// Whether it answers.
    pub answers: bool,
    /// Since when, on the timeline's clock in microseconds: when the first question was asked that was answered so.
    pub since_us: u64,
}

/// What the network's observer asks a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Whether it is there (ICMP echo).
    Ping,
    /// Whether its workload's service takes a connection.
    Service,
}
