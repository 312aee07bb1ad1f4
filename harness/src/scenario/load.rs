//! Loading one scenario, and finding all of a directory.

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::decode::{decode, nearest};
use super::document::Value;
use super::matrix::{self, Row};
use super::value::is_kebab;
use super::verify::verify;
use super::{ConfigSource, Document, Mistakes, Path, SNOOZES_FILE, Spec};

/// A scenario whose every reference was verified.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// The directory it stands in, below the one with all scenarios, such as `pull`.
    pub family: String,
    /// Its file's name without `.yaml`.
    pub name: String,
    /// Which row of the file's matrix it is, `[name=value,…]`; empty without a matrix.
    pub row: String,
    /// What it says.
    pub spec: Spec,
    /// The file, for messages about values that only others can judge, and to keep with a run.
    pub document: Document,
}

impl Scenario {
    /// Reads and verifies a scenario file, and that the files it names are there. One scenario for each row of its
    /// matrix.
    pub fn load(path: &FsPath) -> Result<Vec<Self>, Mistakes> {
        let scenarios = Self::parse(path, read(path)?)?;
        // Which files are named is no row's own matter, or each row's mistake is worth telling.
        scenarios.iter().try_for_each(Self::verify_files)?;
        Ok(scenarios)
    }

    /// As [`Scenario::load`], of a file without a matrix.
    pub fn load_one(path: &FsPath) -> Result<Self, Mistakes> {
        let mut rows = Self::load(path)?;
        match (rows.pop(), rows.is_empty()) {
            (Some(scenario), true) => Ok(scenario),
            _ => Err(Mistakes::unplaced(
                path,
                "its matrix makes several scenarios of it",
                "Name a file without `matrix`.",
            )),
        }
    }

    /// Verifies a scenario's text; `path` gives its name and family and is not read. Files that it names are
    /// not looked for.
    pub fn parse(path: &FsPath, text: impl Into<Arc<str>>) -> Result<Vec<Self>, Mistakes> {
        let document = Document::parse(path, text)?;
        matrix::rows(document)?.into_iter().map(Self::of_row).collect()
    }

    /// The scenario of a recorded trial: `id` is that of [`Scenario::id`], `text` the whole file.
    pub fn of_trial(id: &str, text: impl Into<Arc<str>>) -> Result<Self, Mistakes> {
        let path = PathBuf::from(format!("{}.yaml", matrix::without_row(id)));
        let rows = Self::parse(&path, text)?;
        rows.into_iter().find(|scenario| scenario.id() == id).ok_or_else(|| {
            let help = "The trial is another file's, or the matrix has changed since.";
            Mistakes::unplaced(&path, &format!("the scenario has no row that makes it {id}"), help)
        })
    }

    fn of_row(row: Row) -> Result<Self, Mistakes> {
        let Row { name: row, mut document } = row;
        let decoded = decode::<Spec>(&mut document);
        let mut mistakes = decoded.mistakes;
        let (family, name) = names(&document).unwrap_or_else(|mistake| {
            mistakes.push(*mistake);
            (String::new(), String::new())
        });
        if let Some(spec) = &decoded.value {
            mistakes.extend(verify(spec, &document, &decoded.taken_out));
        }
        match decoded.value {
            Some(spec) if mistakes.is_empty() => Ok(Self { family, name, row, spec, document }),
            _ => Err(Mistakes::new(&document, mistakes)),
        }
    }

    /// `family/name`, and the row behind it where the file has a matrix.
    pub fn id(&self) -> String {
        format!("{}/{}{}", self.family, self.name, self.row)
    }

    /// The trial's name on a node image: `family/name@image`, `family/name[seed=1]@image`.
    pub fn trial_name(&self, node_image: &str) -> String {
        format!("{}@{node_image}", self.id())
    }

    /// The scenario of one of its several nodes, as if it stood alone.
    #[must_use]
    pub fn of_member(&self, name: &str) -> Self {
        Self { spec: self.spec.of_member(name), ..self.clone() }
    }

    /// Whether it carries a label.
    pub fn has_label(&self, label: &str) -> bool {
        self.spec.labels.iter().any(|one| one.as_str() == label)
    }

    /// The place of a value in the file, for [`Document::mistake`]: of the n-th MachineConfig, from 0.
    pub fn machine_config_path(&self, index: usize) -> Path {
        Path::default().key("machine-configs").index(index)
    }

    /// The n-th MachineConfig's `generate` parameters, from 0, as the generator's own type, with the line of
    /// each mistake. `None` if that MachineConfig is a file.
    pub fn generator_config<T: DeserializeOwned>(&self, index: usize) -> Option<Result<T, Mistakes>> {
        let ConfigSource::Generate(_) = &self.spec.machine_configs.get(index)?.source else { return None };
        let path = self.machine_config_path(index).key("generate");
        let mut part = self.document.part(&path)?;
        let decoded = decode::<T>(&mut part);
        Some(match decoded.value {
            Some(value) if decoded.mistakes.is_empty() => Ok(value),
            _ => Err(Mistakes::new(&part, decoded.mistakes)),
        })
    }

    /// The path of the n-th MachineConfig's file, from 0; `None` if the generator makes it.
    pub fn machine_config_file(&self, index: usize) -> Option<PathBuf> {
        match &self.spec.machine_configs.get(index)?.source {
            ConfigSource::File(file) => Some(self.document.path.parent().unwrap_or(FsPath::new("")).join(file)),
            ConfigSource::Generate(_) => None,
        }
    }

    fn verify_files(&self) -> Result<(), Mistakes> {
        let missing = (0..self.spec.machine_configs.len()).filter_map(|index| {
            let file = self.machine_config_file(index)?;
            let error = std::fs::File::open(&file).and_then(|file| file.metadata()).err()?;
            let at = self.machine_config_path(index).key("file");
            let message = format!("cannot read {}: {error}", file.display());
            Some(self.document.mistake(&at, message, "The path is relative to the scenario's file."))
        });
        let missing: Vec<_> = missing.collect();
        if missing.is_empty() { Ok(()) } else { Err(Mistakes::new(&self.document, missing)) }
    }
}

/// Family and name out of the path.
fn names(document: &Document) -> Result<(String, String), Box<super::Mistake>> {
    let part =
        |path: Option<&std::ffi::OsStr>| path.map(|part| part.to_string_lossy().into_owned()).unwrap_or_default();
    let name = part(document.path.file_stem());
    let family = part(document.path.parent().and_then(FsPath::file_name));
    let bad = [&name, &family].into_iter().find(|part| !is_kebab(part)).cloned();
    let Some(bad) = bad else { return Ok((family, name)) };
    let help = "A scenario stands at `FAMILY/NAME.yaml`, both in lower-case letters, digits and `-`.";
    Err(Box::new(document.mistake_at(0..0, format!("`{bad}` can't be part of a trial's name"), Some(help.to_owned()))))
}

pub(super) fn read(path: &FsPath) -> Result<String, Mistakes> {
    std::fs::read_to_string(path).map_err(|error| {
        let near = (error.kind() == std::io::ErrorKind::NotFound).then(|| near_file(path)).flatten();
        let help = near.map_or_else(
            || "Is the path right? `day1 run --list` shows the scenarios.".to_owned(),
            |near| format!("Did you mean {near}?"),
        );
        Mistakes::unplaced(path, &format!("cannot read {}: {error}", path.display()), &help)
    })
}

fn near_file(path: &FsPath) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let beside = std::fs::read_dir(path.parent()?).ok()?;
    let names: Vec<String> = beside.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let near = nearest(wanted, names.iter().map(String::as_str))?;
    Some(path.with_file_name(near).display().to_string())
}

/// What a directory of scenarios holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// The good ones, by id.
    pub scenarios: Vec<Scenario>,
    /// The bad ones, one entry per file.
    pub refused: Vec<Mistakes>,
}

/// Loads every scenario below a directory: each `.yaml` file in it or below that is not a Kubernetes object
/// (a MachineConfig that a scenario names may stand beside it), and not the file with the snoozes. Bad ones do not hide good ones.
pub fn list(dir: &FsPath) -> std::io::Result<Listing> {
    let mut files = Vec::new();
    walk(dir, &mut files)?;
    files.sort();
    let mut listing = Listing::default();
    for file in files {
        if is_kubernetes_object(&file) || file == dir.join(SNOOZES_FILE) {
            continue;
        }
        match Scenario::load(&file) {
            Ok(rows) => listing.scenarios.extend(rows),
            Err(mistakes) => listing.refused.push(mistakes),
        }
    }
    listing.scenarios.sort_by_key(Scenario::id);
    let twins = listing.scenarios.windows(2).filter(|pair| pair[0].id() == pair[1].id()).map(|pair| {
        let (one, other) = (&pair[0].document, &pair[1].document);
        let message = match one.path == other.path {
            true => format!("two rows of its matrix are both {}", pair[0].id()),
            false => format!("it is called {}, as {} is", pair[0].id(), one.path.display()),
        };
        Mistakes::unplaced(&other.path, &message, "Results are kept by name: give each one of its own.")
    });
    listing.refused.extend(twins.collect::<Vec<_>>());
    listing.scenarios.dedup_by_key(|scenario| scenario.id());
    Ok(listing)
}

fn walk(dir: &FsPath, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    Ok(())
}

fn is_kubernetes_object(path: &FsPath) -> bool {
    let document = std::fs::read_to_string(path).ok().and_then(|text| Document::parse(path, text).ok());
    let Some(Value::Map(entries)) = document.map(|document| document.root.value) else { return false };
    ["apiVersion", "kind"].into_iter().all(|key| entries.iter().any(|entry| entry.key == key))
}
