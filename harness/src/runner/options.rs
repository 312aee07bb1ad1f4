//! What a run is asked for.

use std::path::PathBuf;

use super::{Keep, Partition};
use crate::scenario::{Breakpoint, Start};
use crate::services::registry;
use crate::toolkit::DriverToolkit;

/// What to run, on what, and where the results go.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory with the scenarios, one directory per family below it.
    pub scenarios: PathBuf,
    /// Directory with the node images' definitions and the modules' sources.
    pub vm_images: PathBuf,
    /// Node images to run on.
    pub nodes: Vec<String>,
    /// Releases of kernels that the nodes boot, or `all`; empty for the one that each node image boots by itself.
    pub kernels: Vec<String>,
    /// Only trials whose name contains one of these; all, if empty.
    pub filters: Vec<String>,
    /// Only scenarios with this label.
    pub label: Option<String>,
    /// Also scenarios that run by night only.
    pub all: bool,
    /// Mutants of this directory, in the place of the scenarios themselves.
    pub mutants: Option<PathBuf>,
    /// A MachineConfig in the place of the one that each scenario generates.
    pub machine_config: Option<PathBuf>,
    /// Only a part of the trials.
    pub partition: Option<Partition>,
    /// Where nodes begin, in the place of what scenarios say.
    pub start: Option<Start>,
    /// Which trials' machines are kept for a person.
    pub keep: Keep,
    /// Where nodes are stopped, for a person to come in.
    pub break_at: Option<Breakpoint>,
    /// How many trials run at once at most, here and in other processes of this host; by default as many as the
    /// host's cores carry.
    pub jobs: Option<usize>,
    /// How many times a trial that does not pass runs again.
    pub retries: u32,
    /// Whether a trial that passes only then is taken for a good one.
    pub flaky_ok: bool,
    /// The file that says which trials are known to fail, if not the one beside the scenarios.
    pub snoozes: Option<PathBuf>,
    /// Which registry stands behind the gateway.
    pub registry: registry::Backend,
    /// What modules for CoreOS kernels are built with, if a person names it.
    pub driver_toolkit: Option<DriverToolkit>,
    /// Where the results go.
    pub results: PathBuf,
    /// The cache, if not at its usual place.
    pub cache: Option<PathBuf>,
    /// The `day1` program, for the guest's connections, the guard of the scratch directory, and containers.
    pub day1: PathBuf,
}
