//! `plan.json`: every trial that a run was to have, in all of its parts, so that none can vanish when parts are joined.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Partition, write_whole};

/// Version of the shape of `plan.json`.
pub const PLAN_VERSION: u32 = 1;

/// All trials that were selected, before they were cut into parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunPlan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// Version of this program.
    pub day1: String,
    /// What the trials' verdicts depend on besides their scenarios: what was asked for, and digests of what was read.
    pub settings: BTreeMap<String, String>,
    /// The scenarios, each with its trials.
    pub scenarios: Vec<PlannedScenario>,
}

/// The trials of one scenario's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedScenario {
    /// The file, on the machine that planned.
    pub scenario: PathBuf,
    /// Lower-case hex sha256 of its text.
    pub sha256: String,
    /// Names of its trials, sorted.
    pub trials: Vec<String>,
}

/// Which part of which plan a run is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Part {
    /// [`RunPlan::digest`].
    pub plan: String,
    /// How many trials the plan has.
    pub trials: usize,
    /// The part; none for a run of the whole plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
}

/// Why a plan can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadPlanError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what `day1 run` writes.
    #[error("{path}: not a plan, as `day1 run --list --format json` prints it: {source}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// No trial would ever be missed.
    #[error("{path} plans no trial")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Another version of this program wrote it.
    #[error("{path} has version {found} of its shape, and this program reads version {PLAN_VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it has.
        found: u32,
    },
}

impl RunPlan {
    /// Name of the file in a run's directory.
    pub const FILE: &str = "plan.json";

    /// The plan of these trials: name, scenario's file and its sha256.
    pub fn new<'t>(
        settings: BTreeMap<String, String>,
        trials: impl IntoIterator<Item = (&'t str, &'t Path, String)>,
    ) -> Self {
        let mut scenarios: BTreeMap<(&Path, String), Vec<String>> = BTreeMap::new();
        for (name, scenario, sha256) in trials {
            scenarios.entry((scenario, sha256)).or_default().push(name.to_owned());
        }
        let scenarios = scenarios.into_iter().map(|((scenario, sha256), mut trials)| {
            trials.sort_unstable();
            PlannedScenario { scenario: scenario.to_owned(), sha256, trials }
        });
        let day1 = env!("CARGO_PKG_VERSION").to_owned();
        Self { version: PLAN_VERSION, day1, settings, scenarios: scenarios.collect() }
    }

    /// Every trial with its scenario, in the order of their names: that in which they are dealt out.
    pub fn trials(&self) -> Vec<(&str, &PlannedScenario)> {
        let own = |scenario| move |name| (String::as_str(name), scenario);
        let mut trials: Vec<(&str, &PlannedScenario)> =
            self.scenarios.iter().flat_map(|scenario| scenario.trials.iter().map(own(scenario))).collect();
        trials.sort_unstable_by_key(|(name, _)| *name);
        trials
    }

    /// What two plans have in common exactly if they are the same one: lower-case hex sha256 of all that they say, but for
    /// where the scenarios lie.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for line in self.lines() {
            hash.update(line);
            hash.update("\n");
        }
        hex::encode(hash.finalize())
    }

    /// What counts, a line each.
    fn lines(&self) -> impl Iterator<Item = String> {
        let head = format!("day1 {}", self.day1);
        let settings = self.settings.iter().map(|(name, value)| format!("{name} {value}"));
        let trials = self.trials().into_iter().map(|(name, scenario)| format!("trial {name} {}", scenario.sha256));
        std::iter::once(head).chain(settings).chain(trials)
    }

    /// What a run of this plan, or of a part of it, says of itself.
    pub fn part(&self, partition: Option<Partition>) -> Part {
        Part { plan: self.digest(), trials: self.scenarios.iter().map(|one| one.trials.len()).sum(), partition }
    }

    /// How another plan differs, for a person: a few lines.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut told = Vec::new();
        if self.day1 != other.day1 {
            told.push(format!("day1 {} and {}", self.day1, other.day1));
        }
        let names: std::collections::BTreeSet<&String> = self.settings.keys().chain(other.settings.keys()).collect();
        for name in names {
            let value = |plan: &Self| plan.settings.get(name).map_or_else(|| "none".to_owned(), |one| short(one));
            if self.settings.get(name) != other.settings.get(name) {
                told.push(format!("{name}: {} and {}", value(self), value(other)));
            }
        }
        let trials = |plan: &Self| -> BTreeMap<String, String> {
            plan.trials().into_iter().map(|(name, one)| (name.to_owned(), one.sha256.clone())).collect()
        };
        let (ours, theirs) = (trials(self), trials(other));
        let only = |these: &BTreeMap<String, String>, those: &BTreeMap<String, String>, which| {
            let names: Vec<&str> = these.keys().filter(|name| !those.contains_key(*name)).map(String::as_str).collect();
            some(&names).map(|names| format!("only the {which} has {names}"))
        };
        told.extend(only(&ours, &theirs, "first"));
        told.extend(only(&theirs, &ours, "second"));
        let changed: Vec<&str> = ours
            .iter()
            .filter(|(name, sha256)| theirs.get(*name).is_some_and(|other| other != *sha256))
            .map(|(name, _)| name.as_str())
            .collect();
        told.extend(some(&changed).map(|names| format!("another text of the scenarios of {names}")));
        told
    }

    /// Reads a plan's file.
    pub fn read(path: &Path) -> Result<Self, ReadPlanError> {
        let text = fs::read(path).map_err(|source| ReadPlanError::Io { path: path.to_owned(), source })?;
        let plan: Self =
            serde_json::from_slice(&text).map_err(|source| ReadPlanError::Shape { path: path.to_owned(), source })?;
        if plan.version != PLAN_VERSION {
            return Err(ReadPlanError::Version { path: path.to_owned(), found: plan.version });
        }
        if plan.scenarios.iter().all(|one| one.trials.is_empty()) {
            return Err(ReadPlanError::Empty { path: path.to_owned() });
        }
        Ok(plan)
    }

    /// Writes it into a run's directory, which is there.
    pub fn write(&self, dir: &Path) -> std::io::Result<()> {
        write_whole(&dir.join(Self::FILE), &serde_json::to_vec(self)?)
    }
}

/// Digests are not for reading.
fn short(value: &str) -> String {
    value.chars().take(12).collect()
}

/// How many trials a message names.
const NAMED: usize = 3;

fn some(names: &[&str]) -> Option<String> {
    let first = names.first()?;
    Some(match names.len() {
        1 => (*first).to_owned(),
        count if count <= NAMED => names.join(", "),
        count => format!("{} and {} more", names[..NAMED].join(", "), count - NAMED),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(trials: &[(&str, &str, &str)]) -> RunPlan {
        let trials = trials.iter().map(|(name, file, sha256)| (*name, Path::new(*file), (*sha256).to_owned()));
        RunPlan::new(BTreeMap::from([("vm-images".to_owned(), "0123456789abcdef".to_owned())]), trials)
    }

    #[test]
    fn a_plan_is_the_same_wherever_its_scenarios_lie_and_in_whatever_order() {
        let here = plan(&[("a/x@n", "/here/a/x.yaml", "1"), ("a/y@n", "/here/a/y.yaml", "2")]);
        let there = plan(&[("a/y@n", "/there/y.yaml", "2"), ("a/x@n", "/there/x.yaml", "1")]);
        assert_eq!(here.digest(), there.digest());
        assert_eq!(here.differences(&there), Vec::<String>::new());
        assert_eq!(here.trials().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["a/x@n", "a/y@n"]);
    }

    #[test]
    fn whatever_verdicts_depend_on_makes_another_plan_and_is_told() {
        let ours = plan(&[("a/x@n", "x", "1"), ("a/y@n", "y", "2")]);
        let mut others = vec![
            (plan(&[("a/x@n", "x", "1")]), "only the first has a/y@n"),
            (plan(&[("a/x@n", "x", "1"), ("a/y@n", "y", "2"), ("a/z@n", "z", "2")]), "only the second has a/z@n"),
            (plan(&[("a/x@n", "x", "1"), ("a/y@n", "y", "3")]), "another text of the scenarios of a/y@n"),
        ];
        let mut other = ours.clone();
        other.settings.insert("start".into(), "cold".into());
        others.push((other, "start: none and cold"));
        let mut other = ours.clone();
        other.day1 = "9.9.9".into();
        others.push((other, "day1 0.1.0 and 9.9.9"));
        for (other, told) in others {
            assert_ne!(ours.digest(), other.digest(), "{told}");
            assert_eq!(ours.differences(&other), [told]);
        }
    }

    #[test]
    fn many_differences_are_counted() {
        let many: Vec<String> = (0..9).map(|number| format!("a/{number}@n")).collect();
        let many: Vec<(&str, &str, &str)> = many.iter().map(|name| (name.as_str(), "x", "1")).collect();
        assert_eq!(plan(&many).differences(&plan(&many[5..])), ["only the first has a/0@n, a/1@n, a/2@n and 2 more"]);
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let plan = plan(&[("a/x[row=1]@n", "x", "1"), ("a/x[row=2]@n", "x", "1")]);
        plan.write(dir.path()).expect("written");
        let path = dir.path().join(RunPlan::FILE);
        assert_eq!(RunPlan::read(&path).expect("readable"), plan);
        assert_eq!(plan.scenarios.len(), 1, "one scenario, two rows");
        std::fs::write(&path, "{}").expect("written");
        assert!(matches!(RunPlan::read(&path), Err(ReadPlanError::Shape { .. })));
    }
}
