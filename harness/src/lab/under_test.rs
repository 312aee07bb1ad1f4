//! The MachineConfigs under test: generated or read, changed as the scenario wants it, and which unit does what.

use std::collections::BTreeMap;
use std::path::Path;

use day1_generator::Day1Config;

use super::PlanError;
use super::roles::{self, Roles};
use super::worker::{self, WorkerImage};
use crate::mco;
use crate::scenario::{self, PatchChange, PatchPlace, Role, Scenario, UnitRef};
use crate::timeline::FileFact;

/// A MachineConfig under test.
pub(super) struct UnderTest {
    pub(super) config: mco::MachineConfig,
    load: Option<String>,
    pull: Option<String>,
    /// The repository that it names, where that is known.
    pub(super) repository: Option<String>,
    /// The worker that it names.
    pub(super) worker: Option<WorkerImage>,
    pub(super) files: Vec<FileFact>,
    /// Whether the node comes up without it.
    pub(super) later: bool,
}

/// A MachineConfig before the MCO sees it.
struct Source {
    text: String,
    /// What errors call it.
    origin: String,
    roles: Roles,
    repository: Option<String>,
}

/// The files that a MachineConfig's text puts on the node; none of a text that is no MachineConfig, which the MCO tells.
fn files(text: &str) -> Vec<FileFact> {
    /// Ignition's, where none is given.
    const DEFAULT_MODE: u32 = 0o644;
    let config = mco::yaml::only_object(text).unwrap_or_default();
    let files = config.pointer("/spec/config/storage/files").and_then(serde_json::Value::as_array);
    let mode = |file: &serde_json::Value| file["mode"].as_u64().and_then(|mode| u32::try_from(mode).ok());
    let fact = |file: &serde_json::Value| {
        Some(FileFact { path: file["path"].as_str()?.to_owned(), mode: mode(file).unwrap_or(DEFAULT_MODE) })
    };
    files.into_iter().flatten().filter_map(fact).collect()
}

/// All of a scenario's.
pub(super) fn all(scenario: &Scenario) -> Result<Vec<UnderTest>, PlanError> {
    let mut all = Vec::new();
    for (index, spec) in scenario.spec.machine_configs.iter().enumerate() {
        let Some(source) = source(scenario, index, spec)? else { continue };
        let source = patched(scenario, index, source, &spec.patch)?;
        let configs = mco::MachineConfig::parse(&source.text, &source.origin)
            .map_err(|error| PlanError::Mco { place: place(scenario, index, "file"), source: Box::new(error) })?;
        all.extend(configs.into_iter().map(|config| UnderTest {
            config,
            load: source.roles.load.clone(),
            pull: source.roles.pull.clone(),
            repository: source.repository.clone(),
            worker: worker::worker_image(&source.text),
            files: files(&source.text),
            later: spec.later,
        }));
    }
    Ok(all)
}

fn place(scenario: &Scenario, index: usize, key: &str) -> String {
    scenario.document.place(&scenario.machine_config_path(index).key(key))
}

fn source(scenario: &Scenario, index: usize, spec: &scenario::MachineConfig) -> Result<Option<Source>, PlanError> {
    let generated = scenario.generator_config::<Day1Config>(index).transpose();
    let generated = generated.map_err(|mistakes| PlanError::Scenario(Box::new(mistakes)))?;
    let name = |unit: &Option<scenario::UnitName>| unit.as_ref().map(ToString::to_string);
    let said = Roles { load: name(&spec.units.load), pull: name(&spec.units.pull) };
    if let Some(config) = generated {
        let text = config
            .to_machine_config()
            .map_err(|source| PlanError::Generate { place: place(scenario, index, "generate"), source })?;
        return Ok(Some(Source {
            text,
            origin: format!("the generated MachineConfig {}", config.machine_config_name()),
            roles: Roles {
                load: said.load.or_else(|| Some(config.load_unit())),
                pull: said.pull.or_else(|| Some(config.pull_unit())),
            },
            repository: Some(config.kernel_module_image().to_string()),
        }));
    }
    let Some(path) = scenario.machine_config_file(index) else { return Ok(None) };
    let refuse = |source| PlanError::Roles { place: place(scenario, index, "file"), source };
    let text = read(&path).map_err(refuse)?;
    let roles = roles::detect(&path, &text, said).map_err(refuse)?;
    let repository = worker::driver_repository(&text);
    Ok(Some(Source { text, origin: path.display().to_string(), roles, repository }))
}

fn read(path: &Path) -> Result<String, roles::Error> {
    std::fs::read_to_string(path).map_err(|source| roles::Error::Read { path: path.to_owned(), source })
}

fn patched(
    scenario: &Scenario,
    index: usize,
    mut source: Source,
    patches: &[scenario::Patch],
) -> Result<Source, PlanError> {
    if patches.is_empty() {
        return Ok(source);
    }
    let patches: Vec<mco::Patch> = patches.iter().map(|patch| of_the_mco(patch, &source.roles)).collect();
    source.text = mco::patch(&source.text, &patches).map_err(|error| PlanError::Patch {
        place: place(scenario, index, "patch"),
        origin: source.origin.clone(),
        source: error,
    })?;
    // A unit that got another name does the same as before.
    for patch in &patches {
        if let mco::Patch { place: mco::Place::Everywhere, change: mco::Change::Replace { text, with } } = patch {
            for unit in [&mut source.roles.load, &mut source.roles.pull].into_iter().flatten() {
                *unit = unit.replace(text.as_str(), with);
            }
        }
    }
    Ok(source)
}

fn of_the_mco(patch: &scenario::Patch, roles: &Roles) -> mco::Patch {
    let place = match &patch.place {
        PatchPlace::Unit(UnitRef::Role { role: Role::Load, .. }) => {
            mco::Place::Unit(roles.load.clone().unwrap_or_default())
        }
        PatchPlace::Unit(UnitRef::Role { role: Role::Pull, .. }) => {
            mco::Place::Unit(roles.pull.clone().unwrap_or_default())
        }
        PatchPlace::Unit(UnitRef::Name(name)) => mco::Place::Unit(name.to_string()),
        PatchPlace::File(end) => mco::Place::File(end.clone()),
        PatchPlace::Everywhere => mco::Place::Everywhere,
    };
    let change = match &patch.change {
        PatchChange::Replace { text, with } => mco::Change::Replace { text: text.clone(), with: with.clone() },
        PatchChange::Append(text) => mco::Change::Append(text.clone()),
        PatchChange::Mode(mode) => mco::Change::Mode(mode.bits()),
        PatchChange::Enabled(enabled) => mco::Change::Enabled(*enabled),
        PatchChange::Remove => mco::Change::Remove,
    };
    mco::Patch { place, change }
}

/// Units by role; with several MachineConfigs, by role and the MachineConfig's name.
pub(super) fn units(configs: &[UnderTest]) -> BTreeMap<String, String> {
    let mut units = BTreeMap::new();
    let is_one = configs.windows(2).all(|pair| pair[0].config.name == pair[1].config.name);
    for one in configs {
        for (role, unit) in [("load", &one.load), ("pull", &one.pull)] {
            let Some(unit) = unit else { continue };
            let key = if is_one { role.to_owned() } else { format!("{role}/{}", one.config.name) };
            units.insert(key, unit.clone());
        }
    }
    units
}
