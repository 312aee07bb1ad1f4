//! What trials take from elsewhere, asked for before any of it is fetched: so that CI can keep exactly that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use anyhow::Result;
use serde::Serialize;

use super::{Options, every_trial, of_part, prepare};
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

/// What the selected trials take from elsewhere: all that a run of them would fetch, and nothing is fetched. What an image
/// needs that is not in the cache is known only when it is.
pub(super) fn list(options: &Options) -> Result<Artifacts> {
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
