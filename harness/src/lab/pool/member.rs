//! One node of several: followed through its boots, and what the control plane knows of it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use tokio::sync::{Notify, watch};

use super::super::drive::{Driver, Seen, ended};
use super::super::hands::Hands;
use super::plan::MemberPlan;
use crate::scenario::{Id, Module, pool_of};
use crate::services::node_api::NodeApi;
use crate::timeline::{NodeChanged, NodeState, What};

/// Follows a node through its boots, which the control plane and the node itself begin.
pub(super) struct Follower<'l> {
    hands: &'l Hands<'l>,
    armed: watch::Receiver<usize>,
    seen: watch::Sender<Seen>,
}

impl<'l> Follower<'l> {
    pub(super) fn new(hands: &'l Hands<'l>, armed: watch::Receiver<usize>) -> Self {
        Self { hands, armed, seen: watch::Sender::new(Seen::default()) }
    }

    /// How far it has been followed, as it changes.
    pub(super) fn seen(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    pub(super) async fn follow(&self) {
        let spec = &self.hands.surroundings.plan().scenario.spec;
        Driver::of_member(self.hands, self.armed.clone(), &self.seen).follow(spec, 1).await;
        self.seen.send_modify(|seen| seen.is_over = true);
    }
}

/// A node as the control plane knows it.
pub(super) struct Member<'l> {
    pub(super) name: &'l str,
    pub(super) hands: &'l Hands<'l>,
    pub(super) api: &'l NodeApi,
    /// How far it has been followed.
    pub(super) seen: watch::Receiver<Seen>,
    pub(super) record: RefCell<Record>,
    /// Whether something is being done to it.
    pub(super) busy: Cell<bool>,
    /// Its workload may have to be started.
    pub(super) nudge: Notify,
}

/// A config that the daemon has written to a node's disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Written {
    /// The rendered config's name.
    pub(super) config: String,
    /// The id of the boot that must end for it, where the node reboots.
    pub(super) leaves: Option<String>,
}

/// What the control plane has written down of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) roles: Vec<Id>,
    /// The rendered config that it has.
    pub(super) current: String,
    /// The one that it was told to have.
    pub(super) desired: String,
    /// Whether its kubelet is heard.
    pub(super) ready: bool,
    /// The boot in which it was heard last.
    pub(super) boot_id: String,
    /// Whether it was waited for in vain, and has not been heard since.
    pub(super) lost: bool,
    /// What was written to it last.
    pub(super) written: Option<Written>,
    pub(super) cordoned: bool,
    /// The boot in which its workload was started.
    pub(super) serves_in: String,
    pub(super) degraded: bool,
    /// The version that it is to have of Day-2 management's modules, by their names.
    pub(super) versions: BTreeMap<String, String>,
    /// What Day-2 management has loaded, by the module's name.
    pub(super) loaded: BTreeMap<String, Module>,
    /// What Day-2 management could not do, by the module's name: it is not tried again until the module changes.
    pub(super) gave_up: BTreeMap<String, Module>,
}

impl<'l> Member<'l> {
    /// None of a node without a control plane.
    pub(super) fn new(plan: &'l MemberPlan, hands: &'l Hands<'l>, seen: watch::Receiver<Seen>) -> Option<Self> {
        let current = plan.plan.rendered.name.clone();
        let record = Record { roles: plan.roles.clone(), desired: current.clone(), current, ..Record::default() };
        Some(Self {
            name: &plan.name,
            hands,
            api: hands.surroundings.api()?,
            seen,
            record: RefCell::new(record),
            busy: Cell::new(false),
            nudge: Notify::new(),
        })
    }

    /// Waits for the end of its machine.
    pub(super) async fn ended(&self) {
        ended(&mut self.hands.bus.from_start()).await;
    }

    /// The pool that it is in.
    pub(super) fn pool(&self) -> String {
        pool_of(&self.record.borrow().roles).to_owned()
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.borrow_mut());
    }

    /// Writes what became of it into the timeline.
    pub(super) fn becomes(&self, to: NodeState, why: impl Into<String>) {
        self.hands.bus.push(What::NodeChanged(NodeChanged { to, why: why.into() }));
    }
}
