//! What trials take from elsewhere, asked for before any of it is fetched, so that CI can keep exactly that; and made
//! without a run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::{Context, Result};
use serde::Serialize;

use super::selection::{every_trial, of_part, plan};
use super::{ImagesError, Options, Scratch, prepare, progress};
use crate::cache::{Cache, Fetched};
use crate::lab;
use crate::node;
use crate::services::certs::Authority;
use crate::services::registry::Backend;

/// What a run takes from elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Artifacts {
    /// Each thing, once.
    pub artifacts: Vec<Needed>,
    /// What can't be told yet, and what to do about it.
    pub unknown: Vec<String>,
}

/// Something that is fetched, and for how many trials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Needed {
    /// What it is.
    #[serde(flatten)]
    pub what: Fetched,
    /// How many of the selected trials need it.
    pub trials: usize,
}

impl fmt::Display for Artifacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines: Vec<String> = self.artifacts.iter().map(Needed::to_string).collect();
        lines.extend(self.unknown.iter().map(|text| format!("not known yet: {text}")));
        f.write_str(&lines.join("\n"))
    }
}

fn trials(count: usize) -> String {
    if count == 1 { "1 trial".to_owned() } else { format!("{count} trials") }
}

impl fmt::Display for Needed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Fetched { kind, name, from, packages, cache, cached, size_bytes } = &self.what;
        let there = match (cached, size_bytes) {
            (true, Some(bytes)) => format!("cached, {} MiB", bytes >> 20),
            _ if cache.is_none() => "not in the cache, or not known which".to_owned(),
            _ => "not cached".to_owned(),
        };
        write!(f, "{kind} {name}, for {}: {there}", trials(self.trials))?;
        if let Some(place) = cache {
            write!(f, "\n    in    {place}")?;
        }
        write!(f, "\n    from  {}", from.join("\n          "))?;
        if packages.is_empty() { Ok(()) } else { write!(f, "\n    packages {}", packages.join(" ")) }
    }
}

/// What a run takes from elsewhere; nothing of it is fetched. Where kernels are chosen, a node image of which nothing is
/// known yet is not asked for them, and that is told.
pub fn artifacts(options: &Options) -> Result<Artifacts, ImagesError> {
    Ok(list(options)?)
}

/// Makes all that the selected trials need, and starts none of them: a run of the same trials then fetches nothing, but for
/// images that scenarios bring from a registry, which is asked each time. Gives the exit code as [`super::run`] does.
pub fn make(options: &Options) -> u8 {
    match make_all(options) {
        Ok(trials) => {
            progress::say(&format!("all that {trials} trials need is in the cache"));
            0
        }
        Err(error) => {
            progress::warn(&format!("error: {error}"));
            error.exit_code()
        }
    }
}

fn make_all(options: &Options) -> Result<usize, ImagesError> {
    let planned = plan(options, &prepare::kernels(options)?).map_err(|message| prepare::BadInput::new(&message));
    let planned = planned.map_err(anyhow::Error::from)?;
    let scratch = Scratch::new(&options.day1).context("cannot make the run's temporary directory")?;
    let ready = prepare::prepare(options, &planned, scratch.dir())?.into_trials();
    for one in &ready {
        match lab::plan(&one.draft, &one.node, &one.workshop, &progress::tell) {
            Err(error) if !error.is_no_fault() => {
                return Err(anyhow::Error::from(error).context(format!("cannot plan {}", one.name())).into());
            }
            // What this node image can't show, the run leaves out as well.
            _ => {}
        }
    }
    Ok(ready.len())
}

/// What the selected trials take from elsewhere: all that a run of them would fetch, and nothing is fetched. What an image
/// needs that is not in the cache is known only when it is.
fn list(options: &Options) -> Result<Artifacts> {
    let cache = Cache::open(options.cache.as_deref())?;
    let catalogue = prepare::catalogue(options, &cache)?;
    let mut needed: BTreeMap<Fetched, usize> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut images = BTreeMap::new();
    for name in &options.nodes {
        let definition = catalogue.get(name).map_err(|error| prepare::BadInput::new(&error))?;
        let disk = node::find(&cache, definition)?;
        let image = disk.as_ref().map(|disk| node::known(&cache, disk)).transpose()?.flatten();
        if disk.is_none() {
            unknown.push(format!(
                "the kernels of {name}, and what modules for them are built with: \
                 `day1 images get {name}`, then ask again"
            ));
        } else if image.is_none() {
            unknown.push(format!(
                "the kernels of {name}, and what modules for them are built with: it tells when it boots first"
            ));
        }
        images.insert(name.clone(), (node::fetched(&cache, definition)?, image));
    }
    // Which kernels there are decides which trials there are.
    let kernels = if options.kernels.is_empty() || images.values().all(|(_, image)| image.is_some()) {
        prepare::kernels(options)?
    } else {
        BTreeMap::new()
    };
    let all = every_trial(options, &kernels).map_err(|message| prepare::BadInput::new(&message))?;
    let planned = of_part(options.partition.as_ref(), all);
    let authority = Authority::open(&cache)?;
    for one in &planned {
        let Some((disk, image)) = images.get(&one.node) else { continue };
        let mut own = BTreeSet::from([disk.clone()]);
        if let Backend::Container(image) = &options.registry {
            own.insert(Fetched { from: vec![image.clone()], ..Fetched::elsewhere("registry-image", image) });
        }
        if let Some(image) = image {
            let mut draft = lab::draft(&one.scenario, options.start, &authority).map_err(prepare::refused)?;
            lab::check_kernels(&draft, image).map_err(prepare::refused)?;
            if let Some(kernel) = &one.kernel {
                draft.choose_kernel(image, kernel).map_err(prepare::refused)?;
            }
            own.extend(lab::fetched(&draft, image, &cache, options.driver_toolkit.as_ref()).map_err(prepare::refused)?);
        }
        for what in own {
            *needed.entry(what).or_default() += 1;
        }
    }
    let artifacts = needed.into_iter().map(|(what, trials)| Needed { what, trials });
    Ok(Artifacts { artifacts: artifacts.collect(), unknown })
}
