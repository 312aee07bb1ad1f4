//! Everything that trials need, made before the first one starts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::scratch::Scratch;
use super::selection::{Chosen, Kernels, Planned};
use super::trial::Ready;
use super::{Options, progress};
use crate::cache::Cache;
use crate::lab::{self, Draft, Workshop};
use crate::machine::{self, Acceleration};
use crate::node::{self, BootDisk, Catalogue, NodeImage};
use crate::report::{self, Host};
use crate::services::certs::Authority;
use crate::services::registry;
use crate::toolkit::Toolkits;

/// Stands for all kernels of a node image.
const ALL: &str = "all";

/// The input is wrong; nothing was started.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct BadInput(pub(super) String);

impl BadInput {
    pub(super) fn new(error: &impl std::fmt::Display) -> Self {
        let text = error.to_string();
        // It is told as an error once.
        Self(text.strip_prefix("error: ").unwrap_or(&text).to_owned())
    }
}

/// Trials with everything resolved, and what they run on.
pub(super) struct Prepared {
    ready: Vec<Arc<Ready>>,
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
    let cache = Cache::open(options.cache.as_deref())?;
    let catalogue = catalogue(options, &cache)?;
    let authority = Authority::open(&cache)?;
    // All drafts first: bad input is told before anything is built and any machine starts.
    let mut drafts: Vec<(Draft, &Planned)> = planned
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
        toolkits: Toolkits::new(options.driver_toolkit.clone(), &options.day1),
        failures: lab::Failures::default(),
        cache,
    });
    let disks = disks(&catalogue, planned, &workshop.cache)?;
    let (mut nodes, mut accelerations) = (BTreeMap::new(), BTreeMap::new());
    for (name, disk) in disks {
        let own = || drafts.iter().filter(|(_, one)| one.node == name).map(|(draft, _)| draft);
        let check = |node: &NodeImage| own().try_for_each(|draft| lab::check_kernels(draft, node)).map_err(refused);
        let known = node::known(&workshop.cache, &disk)?;
        known.as_ref().map(check).transpose()?;
        let acceleration = probe_and_build(own().next(), &disk, known.as_ref(), &workshop)
            .with_context(|| format!("cannot find out how to run the node image {name}"))?;
        let factor = report::stretched(acceleration.deadline_factor());
        progress::tell(&format!("{name}: {}{factor}", describe(&acceleration)));
        let node = lab::survey(&workshop.cache, &disk, &acceleration, &workshop.scratch, &progress::tell)?;
        check(&node)?;
        for (draft, one) in drafts.iter_mut().filter(|(_, one)| one.node == name) {
            if let Some(kernel) = &one.kernel {
                draft.choose_kernel(&node, kernel).map_err(refused)?;
            }
        }
        nodes.insert(name.clone(), node);
        accelerations.insert(name, acceleration);
    }
    let keeping = Arc::new(options.clone());
    let ready = drafts.into_iter().map(|(draft, one)| {
        Arc::new(Ready {
            name: one.name.clone(),
            draft,
            node: nodes[&one.node].clone(),
            acceleration: accelerations[&one.node].clone(),
            workshop: Arc::clone(&workshop),
            options: Arc::clone(&keeping),
            kernel: one.kernel.clone(),
            mutant: one.mutant.clone(),
            snoozes: one.snoozes.clone(),
        })
    });
    Ok(Prepared { ready: ready.collect(), registry: workshop.registry.to_string(), accelerations })
}

pub(super) fn catalogue(options: &Options, cache: &Cache) -> Result<Catalogue> {
    Ok(Catalogue::open(&options.vm_images, cache).map_err(|error| BadInput(error.to_string()))?)
}

/// The registry that was asked for, known to run here.
fn registry(options: &Options) -> Result<registry::Source> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(options.registry.source(&options.day1, &progress::tell))?)
}

/// The kernels that the options choose, of each node image; none where they choose none.
pub(super) fn kernels(options: &Options) -> Result<Kernels> {
    if options.kernels.is_empty() {
        return Ok(Kernels::new());
    }
    let chosen = images(options)?.into_iter().map(|(image, kernels)| {
        let has_first = image.facts.kernels.first().is_some_and(|first| kernels.contains(&first.release));
        (image.name().to_owned(), Chosen { releases: kernels.into_iter().map(Some).collect(), has_first })
    });
    Ok(chosen.collect())
}

/// The node images of the options, each with the kernels that they choose, or the one that it boots by itself. An image of
/// which nothing is known yet is made, and booted for that.
pub(super) fn images(options: &Options) -> Result<Vec<(NodeImage, Vec<String>)>> {
    let cache = Cache::open(options.cache.as_deref())?;
    let catalogue = catalogue(options, &cache)?;
    let definitions = options.nodes.iter().map(|name| catalogue.get(name));
    let definitions = definitions.collect::<Result<Vec<_>, _>>().map_err(|error| BadInput(error.to_string()))?;
    let mut images = Vec::new();
    for definition in definitions {
        let disk = node::ensure(&cache, definition, &Tell)?;
        let image = match node::known(&cache, &disk)? {
            Some(image) => image,
            None => {
                let scratch = Scratch::new(&options.day1).context("cannot make a temporary directory")?;
                let acceleration = runs_by(&cache, &disk, scratch.dir())?;
                lab::survey(&cache, &disk, &acceleration, scratch.dir(), &progress::tell)?
            }
        };
        let known: Vec<String> = image.facts.kernels.iter().map(|kernel| kernel.release.clone()).collect();
        let chosen = match options.kernels.as_slice() {
            [] => known.into_iter().take(1).collect(),
            all if all.iter().any(|kernel| kernel == ALL) => known,
            some => some
                .iter()
                .map(|kernel| {
                    // By its place, from 1, as scenarios name it: no kernel's release is a number.
                    let place = kernel.parse::<usize>().ok().and_then(|place| known.get(place.checked_sub(1)?));
                    place.or_else(|| known.iter().find(|known| *known == kernel)).cloned().ok_or_else(|| {
                        let (name, known) = (image.name(), known.join(", "));
                        BadInput(format!("the node image {name} has no kernel {kernel}, only {known}"))
                    })
                })
                .collect::<Result<_, _>>()?,
        };
        images.push((image, chosen));
    }
    Ok(images)
}

/// How the machines of a node image run on this host.
fn runs_by(cache: &Cache, disk: &BootDisk, scratch: &Path) -> Result<Acceleration, machine::Error> {
    machine::choose_acceleration(cache, disk.architecture, &disk.path, &disk.digest, scratch, &progress::tell)
}

/// Finds out how fast the host is, and builds meanwhile what the first trial needs, and most others as well.
fn probe_and_build(
    first: Option<&Draft>,
    disk: &BootDisk,
    known: Option<&NodeImage>,
    workshop: &Workshop,
) -> Result<Acceleration> {
    std::thread::scope(|scope| {
        let built =
            scope.spawn(|| first.zip(known).map(|(draft, node)| lab::plan(draft, node, workshop, &progress::tell)));
        let acceleration = runs_by(&workshop.cache, disk, &workshop.scratch);
        // The trial itself asks again, and tells what went wrong.
        let _ = built.join();
        Ok(acceleration?)
    })
}

pub(super) fn refused(error: lab::PlanError) -> anyhow::Error {
    if error.is_bad_input() { BadInput(error.to_string()).into() } else { error.into() }
}

fn disks(catalogue: &Catalogue, planned: &[Planned], cache: &Cache) -> Result<BTreeMap<String, BootDisk>> {
    let mut disks = BTreeMap::new();
    for one in planned {
        if !disks.contains_key(&one.node) {
            disks.insert(one.node.clone(), node::ensure(cache, catalogue.get(&one.node)?, &Tell)?);
        }
    }
    Ok(disks)
}

fn describe(acceleration: &Acceleration) -> String {
    format!("{} ({})", acceleration.accel.name(), acceleration.reason)
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

    pub(super) fn into_trials(self) -> Vec<Arc<Ready>> {
        self.ready
    }
}
