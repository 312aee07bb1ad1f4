//! The plan of a run, as its parts and `day1 report merge` know it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::prepare::{self, BadInput};
use super::{ImagesError, Options, Planned, every_trial};
use crate::cache;
use crate::node;
use crate::report::RunPlan;
use crate::services::registry::Backend;

/// Changes when another digest is made of the same files.
const FORMAT: &[u8] = b"day1 files 1";

/// The plan of a run: the trials that the options select, in all parts.
pub fn plan_of(options: &Options) -> Result<RunPlan, ImagesError> {
    let all = every_trial(options, &prepare::kernels(options)?).map_err(|message| BadInput::new(&message));
    Ok(describe(options, &all.map_err(anyhow::Error::from)?)?)
}

/// What all parts of a run have in common.
pub(super) fn describe(options: &Options, all: &[Planned]) -> Result<RunPlan> {
    let mut settings = BTreeMap::from([("vm-images".to_owned(), digest(&options.vm_images)?)]);
    if let Some(dir) = &options.mutants {
        settings.insert("mutants".to_owned(), digest(dir)?);
    }
    if let Some(file) = &options.machine_config {
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        settings.insert("machine-config".to_owned(), cache::key([FORMAT, &bytes]));
    }
    if let Some(start) = options.start {
        settings.insert("start".to_owned(), start.to_string());
    }
    if options.registry != Backend::Embedded {
        settings.insert("registry".to_owned(), options.registry.to_string());
    }
    let trials = all.iter().map(|one| {
        let document = &one.scenario.document;
        (one.name.as_str(), document.path.as_path(), document.sha256())
    });
    Ok(RunPlan::new(settings, trials))
}

/// Of all files below a directory, wherever it lies.
fn digest(dir: &Path) -> Result<String> {
    let mut parts = vec![FORMAT.to_vec()];
    for file in node::files_below(dir).map_err(|error| BadInput::new(&error))? {
        let relative = file.strip_prefix(dir).unwrap_or(&file);
        parts.push(relative.as_os_str().as_encoded_bytes().to_vec());
        parts.push(fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(cache::key(parts.iter().map(Vec::as_slice)))
}
