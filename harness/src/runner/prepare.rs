//! Everything that trials need, made before the first one starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::trial::Ready;
use super::{Options, Planned, progress};
use crate::cache::Cache;
use crate::lab::{self, Draft, Workshop};
use crate::machine::{self, Acceleration};
use crate::node::{self, Catalogue, NodeImage};
use crate::report::Host;
use crate::services::certs::Authority;
use crate::services::registry;

/// The input is wrong; nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadInput(String);

/// Trials with everything resolved, and what they run on.
pub(super) struct Prepared {
    ready: Vec<Ready>,
    registry: String,
    accelerations: BTreeMap<String, Acceleration>,
}

struct Tell;

impl node::Progress for Tell {
    fn step(&self, text: &str) {
        progress::tell(text);
    }
}

/// Makes node images, modules and certificates that are missing, resolves every trial, and finds out how fast
/// this host is.
pub(super) fn prepare(options: &Options, planned: &[Planned], scratch: &Path) -> Result<Prepared> {
    let catalogue = Catalogue::load(&options.vm_images).map_err(|error| BadInput(error.to_string()))?;
    for one in planned {
        catalogue.get(&one.node).map_err(|error| BadInput(error.to_string()))?;
    }
    let cache = Cache::open(options.cache.as_deref())?;
    let authority = Authority::open(&cache)?;
    // All drafts first: bad input is told before anything is built and any machine starts.
    let drafts: Vec<(Draft, &Planned)> = planned
        .iter()
        .map(|one| Ok((lab::draft(&one.scenario, options.start, &authority).map_err(refused)?, one)))
        .collect::<Result<_>>()?;
    let registry = registry(options)?;
    let workshop = Arc::new(Workshop {
        authority,
        vm_images: options.vm_images.clone(),
        day1: options.day1.clone(),
        scratch: scratch.to_owned(),
        registry,
        failures: lab::Failures::default(),
        cache,
    });
    let nodes = nodes(&catalogue, planned, &workshop.cache)?;
    for (draft, one) in &drafts {
        lab::check_kernels(draft, &nodes[&one.node]).map_err(refused)?;
    }
    let mut accelerations = BTreeMap::new();
    for (name, node) in &nodes {
        let first = drafts.iter().find(|(_, one)| one.node == *name).map(|(draft, _)| draft);
        let acceleration = probe_and_build(first, node, &workshop)
            .with_context(|| format!("cannot find out how to run the node image {name}"))?;
        progress::tell(&format!("{name}: {}", describe(&acceleration)));
        accelerations.insert(name.clone(), acceleration);
    }
    let ready = drafts.into_iter().map(|(draft, one)| Ready {
        name: one.name.clone(),
        draft,
        node: nodes[&one.node].clone(),
        acceleration: accelerations[&one.node].clone(),
        workshop: Arc::clone(&workshop),
        results: options.results.clone(),
        mutant: one.mutant.clone(),
    });
    Ok(Prepared { ready: ready.collect(), registry: workshop.registry.to_string(), accelerations })
}

/// The registry that was asked for, known to run here.
fn registry(options: &Options) -> Result<registry::Source> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(options.registry.source(&options.day1, &progress::tell))?)
}

/// Finds out how fast the host is, and builds meanwhile what the first trial needs, and most others as well.
fn probe_and_build(first: Option<&Draft>, node: &NodeImage, workshop: &Workshop) -> Result<Acceleration> {
    std::thread::scope(|scope| {
        let built = scope.spawn(|| first.map(|draft| lab::plan(draft, node, workshop, &progress::tell)));
        let acceleration =
            machine::choose_acceleration(&workshop.cache, &node.disk, &node.digest, &workshop.scratch, &progress::tell);
        // The trial itself asks again, and tells what went wrong.
        let _ = built.join();
        Ok(acceleration?)
    })
}

fn refused(error: lab::PlanError) -> anyhow::Error {
    if error.is_bad_input() { BadInput(error.to_string()).into() } else { error.into() }
}

fn nodes(catalogue: &Catalogue, planned: &[Planned], cache: &Cache) -> Result<BTreeMap<String, NodeImage>> {
    let mut nodes = BTreeMap::new();
    for one in planned {
        if !nodes.contains_key(&one.node) {
            nodes.insert(one.node.clone(), node::ensure(cache, catalogue.get(&one.node)?, &Tell)?);
        }
    }
    Ok(nodes)
}

fn describe(acceleration: &Acceleration) -> String {
    let factor = acceleration.deadline_factor();
    let stretched = if factor > 1.0 { format!("; deadlines × {factor:.1}") } else { String::new() };
    format!("{} ({}){stretched}", acceleration.accel.name(), acceleration.reason)
}

impl Prepared {
    pub(super) fn host(&self) -> Host {
        Host {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            registry: self.registry.clone(),
            acceleration: self.accelerations.iter().map(|(name, one)| (name.clone(), describe(one))).collect(),
            deadline_factor: self
                .accelerations
                .iter()
                .map(|(name, one)| (name.clone(), one.deadline_factor()))
                .collect(),
        }
    }

    pub(super) fn into_trials(self) -> Vec<Ready> {
        self.ready
    }
}
