//! Why a scenario can't be planned.

use std::path::PathBuf;
use std::sync::Arc;

use super::{brought, roles};
use crate::cache;
use crate::kmod;
use crate::layering;
use crate::machine::FirmwareError;
use crate::mco;
use crate::scenario::Mistakes;
use crate::toolkit;

/// Why a scenario can't be planned.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The scenario, or a MachineConfig in it, is wrong.
    #[error("{}", .0.plain())]
    Scenario(Box<Mistakes>),
    /// The generator refused.
    #[error("{place}: {source}")]
    Generate {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why.
        source: day1_generator::Error,
    },
    /// The MCO would refuse.
    #[error("{place}: {source}")]
    Mco {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why.
        source: Box<mco::Error>,
    },
    /// Which unit does what can't be told.
    #[error("{place}: {source}")]
    Roles {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why.
        source: roles::Error,
    },
    /// No MachineConfig of that name is under test.
    #[error(
        "{place}: no MachineConfig under test is called {name:?}; `apply` and `withdraw` name one by its `metadata.name`"
    )]
    NoConfig {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The name.
        name: String,
    },
    /// The MCO would not change the running node like that.
    #[error("{place}: {source}")]
    Change {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why.
        source: mco::ChangeError,
    },
    /// The node reboots for a change, and the scenario says that it does not, or the other way round.
    #[error("{place}: {}", reboots(.why.as_deref()))]
    Reboots {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why it reboots; none where it does not.
        why: Option<String>,
    },
    /// A node of several reboots for a change, and the scenario says no boots of it, or the other way round.
    #[error("{place}: {}", boots_of(.node, .why.as_deref()))]
    BootsOf {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The node.
        node: String,
        /// Why it reboots; none where it does not.
        why: Option<String>,
    },
    /// What a step does to the MachineConfigs changes nothing.
    #[error("{place}: {action} changes no config of the pools {}, which are those of the scenario's nodes", .pools.join(", "))]
    NothingChanges {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// What is done.
        action: String,
        /// The pools.
        pools: Vec<String>,
    },
    /// A node has no turn in a rollout.
    #[error(
        "{place}: {node} has what its pool {pool} is to have, so it has no turn in this step; take it out of `nodes`"
    )]
    NoTurn {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The node.
        node: String,
        /// The pool that it is in.
        pool: String,
    },
    /// A node of a paused pool has no turn in a rollout.
    #[error(
        "{place}: pool {pool}, which {node} is in, is paused in this step; take the node out of `nodes`, or `resume` the pool"
    )]
    Paused {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The node.
        node: String,
        /// The pool that it is in.
        pool: String,
    },
    /// The nodes of a pool would get another operating system.
    #[error(
        "{place}: by this step {node}'s {what} would be another, and the harness changes no node's operating system; {}",
        instead(.what)
    )]
    OtherSystem {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The node.
        node: String,
        /// What of the operating system.
        what: String,
    },
    /// The node image has no such kernel.
    #[error("{place}: it is about kernel {kernel}, and the node image {node} has, counted from 1: {known}")]
    NoKernel {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Which one, from 1.
        kernel: usize,
        /// The node image.
        node: String,
        /// Those that it has.
        known: String,
    },
    /// The node image does not have the kernel that the run chose.
    #[error("the node image {node} has no kernel {kernel}, only {known}")]
    NoSuchKernel {
        /// The kernel's release.
        kernel: String,
        /// The node image.
        node: String,
        /// Those that it has.
        known: String,
    },
    /// The node image's boot loader can't be told what the scenario wants.
    #[error(
        "{place}: it chooses a kernel or its arguments, and the boot loader of the node image {node} takes none from the harness"
    )]
    NoBootArguments {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The node image.
        node: String,
    },
    /// A MachineConfig can't be changed as the scenario wants it.
    #[error("{place}: cannot change {origin}: {source}")]
    Patch {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The MachineConfig.
        origin: String,
        /// Why.
        source: mco::PatchError,
    },
    /// The MachineConfigs under test are for different pools.
    #[error("{place}: its MachineConfigs are for the pools {pools:?}; a node is in one pool")]
    Pools {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The pools.
        pools: Vec<String>,
    },
    /// The dummy modules can't be built for a kernel of the node image.
    #[error("the dummy modules can't be built for the node image {node} ({distribution}): {source}")]
    NoModules {
        /// The node image.
        node: String,
        /// Its distribution.
        distribution: String,
        /// Why not, and what to do.
        source: Arc<toolkit::Error>,
    },
    /// An image from elsewhere can't be had.
    #[error("{place}: {source}")]
    Image {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why.
        source: Box<brought::Error>,
    },
    /// The worker's script can't be read.
    #[error("cannot read {path}, the worker that a MachineConfig names: {source}")]
    Worker {
        /// The script.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate can't be enrolled.
    #[error("{place}: {source}")]
    Certificate {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// Why.
        source: kmod::TrustedKeyError,
    },
    /// The host has no firmware as the scenario wants it.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// Nothing can be layered into this node image.
    #[error(
        "{place}: it layers modules into its node image, which is done with images that are built from Debian packages; {node} is none"
    )]
    NoLayer {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The node image.
        node: String,
    },
    /// The kernel has no such module of its own.
    #[error(
        "{place}: kernel {kernel} of the node image {node} has no module {module} as a file, so there is nothing to take out"
    )]
    NotInTree {
        /// Where the scenario says it, `file:line:column`.
        place: String,
        /// The module.
        module: String,
        /// The kernel's release.
        kernel: String,
        /// The node image.
        node: String,
    },
    /// The layered image can't be made.
    #[error(transparent)]
    Layering(#[from] layering::Error),
    /// The modules can't be built or packed.
    #[error(transparent)]
    Kmod(#[from] kmod::Error),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

fn reboots(why: Option<&str>) -> String {
    match why {
        Some(why) => format!(
            "the MCO reboots the node for this change, since {why}; add one to `node-disruption-policy`, or leave out `reboots: false`"
        ),
        None => {
            "the MCO does not reboot the node for this change: all that differs has a node disruption policy; write \
                 `{machine-config: NAME, reboots: false}`, and what ends the boot after it"
                .to_owned()
        }
    }
}

fn instead(what: &str) -> &'static str {
    match what {
        "osImageURL" => {
            "pause its pool, or give the pool a MachineConfig with an `osImageURL` of its own from the beginning"
        }
        _ => "pause its pool, or give it that from the beginning",
    }
}

fn boots_of(node: &str, why: Option<&str>) -> String {
    match why {
        Some(why) => format!(
            "the MCO reboots {node} for this change, since {why}; say in `boots` what boots follow, or add a policy to `node-disruption-policy`"
        ),
        None => format!(
            "the MCO does not reboot {node} for this change: all that differs has a node disruption policy; leave `boots` out"
        ),
    }
}

impl PlanError {
    /// Whether this node image can't show what the scenario is about, which is nobody's fault.
    pub fn is_no_fault(&self) -> bool {
        matches!(self, Self::NoBootArguments { .. } | Self::NoLayer { .. })
    }

    /// Whether the input is wrong, not the harness's side.
    pub fn is_bad_input(&self) -> bool {
        !matches!(
            self,
            Self::Kmod(_)
                | Self::Cache(_)
                | Self::Firmware(_)
                | Self::Layering(_)
                | Self::Worker { .. }
                | Self::NoModules { .. }
        )
    }
}
