//! Many runs' results joined to those of one run: every planned trial is in them, also those of a shard that never
//! reported.

mod again;
mod files;
mod host;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{Cpu, Host, Part, Partition, PlannedScenario, RESULTS_VERSION, ReadPlanError, RunPlan, RunResults};
use super::{TrialResult, WriteResultsError};
use crate::checks::Verdict;
use files::Place;

/// A part of a plan, as joined results have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Shard {
    /// Digest of the plan.
    pub plan: String,
    /// The part; none for the whole plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Partition>,
    /// How many trials it has.
    pub trials: usize,
    /// The runs of it, first to last: none if it never reported, several if it was run again.
    pub runs: Vec<ShardRun>,
}

/// One run of a part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ShardRun {
    /// The directory that its results were read from.
    pub dir: PathBuf,
    /// When it began, RFC 3339 in UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it ran on.
    pub host: Host,
    /// How many trials ran at once at most.
    pub jobs: usize,
    /// Seconds of processor time that it took.
    pub cpu: Cpu,
}

impl Shard {
    /// What it is called: its partition, and its plan's first digits where that is the whole name.
    pub fn name(&self) -> String {
        name(&self.plan, self.partition)
    }
}

fn name(plan: &str, partition: Option<Partition>) -> String {
    let plan = plan.get(..8).unwrap_or(plan);
    partition.map_or_else(|| format!("the whole of plan {plan}"), |part| format!("{part} of plan {plan}"))
}

/// What to join.
#[derive(Debug, Clone, Default)]
pub struct Merge {
    /// Directories of runs' results.
    pub shards: Vec<PathBuf>,
    /// Files of the plans that were to run, where that is known; else that of the shards.
    pub plans: Vec<PathBuf>,
    /// Whether a part may have been run several times.
    pub rerun: bool,
}

/// Why runs can't be joined.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Not a directory.
    #[error("{0} is no directory; name the directories of the shards, as `day1 run --results` did")]
    NoDirectory(PathBuf),
    /// No shard reported anything.
    #[error("none of {count} directories has the results of a run: {first}")]
    Nothing {
        /// How many were looked at.
        count: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// The run does not say what it is a part of.
    #[error(
        "{0} does not say which plan it is a part of: {reason}",
        reason = if *.1 { "it is joined already; join the shards themselves" }
                 else { "`cargo test` chose its trials, or an older version ran it; join what `day1 run` ran" }
    )]
    NoPart(PathBuf, bool),
    /// A plan can't be read.
    #[error(transparent)]
    Plan(#[from] ReadPlanError),
    /// No shard has its plan beside its results.
    #[error(
        "no shard has the {file} of plan {digest} beside its results: name the plan with --plan; \
         `day1 run … --list --format json` prints it", file = RunPlan::FILE
    )]
    NoPlan {
        /// The plan's digest.
        digest: String,
    },
    /// The shards are of different plans.
    #[error(
        "{first} and {second} are parts of different plans{}\njoin those of one plan, or name all the plans that were to run with --plan",
        differences.iter().fold(String::new(), |mut text, one| { let _ = write!(text, "\n  {one}"); text })
    )]
    Differ {
        /// The directory of a shard.
        first: PathBuf,
        /// The directory of a shard of another plan.
        second: PathBuf,
        /// How the plans differ.
        differences: Vec<String>,
    },
    /// A trial is in two plans.
    #[error("{trial} is in several of the plans: each trial is planned once")]
    Overlap {
        /// The trial.
        trial: String,
    },
    /// The shards of one plan are cut in several ways.
    #[error("{first} is {first_part} and {second} is {second_part} of the same trials: those are no parts of one cut")]
    Cuts {
        /// The directory of a shard.
        first: PathBuf,
        /// What it says that it is.
        first_part: String,
        /// The directory of another one.
        second: PathBuf,
        /// What that one says that it is.
        second_part: String,
    },
    /// A part reported several times.
    #[error(
        "{part} reported {times} times, from {first} and {second}: with --rerun a later run of a part counts, \
         and a trial that failed in one and passed in the other is flaky"
    )]
    Twice {
        /// The part.
        part: String,
        /// How often.
        times: usize,
        /// The directory of one.
        first: PathBuf,
        /// The directory of another one.
        second: PathBuf,
    },
    /// A run has a trial that is not its part's.
    #[error("{dir} has results of {trial}, which its part of the plan does not have: it was changed after its run")]
    Stranger {
        /// The shard's directory.
        dir: PathBuf,
        /// The trial.
        trial: String,
    },
    /// The directory for the joined results is in use.
    #[error("{0} is not empty; name a new directory with --into")]
    Into(PathBuf),
    /// A file can't be copied.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The results can't be written.
    #[error(transparent)]
    Write(#[from] WriteResultsError),
}

impl MergeError {
    /// Whether the input is wrong, not this host.
    pub fn is_bad_input(&self) -> bool {
        !matches!(self, Self::Io { .. } | Self::Write(_))
    }
}

/// Runs joined to one.
#[derive(Debug)]
pub struct Merged {
    /// The results of all.
    pub results: RunResults,
    /// What a person should hear of: directories that don't count, and why.
    pub told: Vec<String>,
    /// Where the files of each trial are, and of each of its attempts.
    origins: BTreeMap<String, (Place, Vec<Place>)>,
}

/// A shard's results, with what they say that they are.
struct Reported {
    dir: PathBuf,
    part: Part,
    began: OffsetDateTime,
    results: RunResults,
}

impl Reported {
    fn run(&self) -> ShardRun {
        let RunResults { started, seconds, host, jobs, cpu, .. } = &self.results;
        let (dir, started, host) = (self.dir.clone(), started.clone(), host.clone());
        ShardRun { dir, started, seconds: *seconds, host, jobs: *jobs, cpu: *cpu }
    }
}

/// A plan, with the runs of its parts.
struct Planned {
    digest: String,
    plan: RunPlan,
    runs: Vec<Reported>,
}

impl Merge {
    /// Reads the shards and joins them; nothing is written.
    pub fn join(&self) -> Result<Merged, MergeError> {
        let (reported, mut told) = self.read()?;
        let plans = self.plans(reported, &mut told)?;
        let mut names = BTreeSet::new();
        for (name, _) in plans.iter().flat_map(|planned| planned.plan.trials()) {
            if !names.insert(name) {
                return Err(MergeError::Overlap { trial: name.to_owned() });
            }
        }
        drop(names);
        let (mut trials, mut shards, mut origins) = (Vec::new(), Vec::new(), BTreeMap::new());
        for planned in plans {
            for (result, origin) in planned.join(self.rerun, &mut shards)? {
                origins.extend(origin.map(|places| (result.trial.clone(), places)));
                trials.push(result);
            }
        }
        trials.sort_by(|a: &TrialResult, b| a.trial.cmp(&b.trial));
        Ok(Merged { results: results(trials, shards), told, origins })
    }

    /// What each directory says; those that say nothing are told.
    fn read(&self) -> Result<(Vec<Reported>, Vec<String>), MergeError> {
        let (mut reported, mut told, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for dir in &self.shards {
            if !dir.is_dir() {
                return Err(MergeError::NoDirectory(dir.clone()));
            }
            if !seen.insert(dir.canonicalize().unwrap_or_else(|_| dir.clone())) {
                told.push(format!("{} counts once: it is named twice", dir.display()));
                continue;
            }
            // Not an error of its own: the shard died before it could report, and its trials are shown.
            let mut results = match RunResults::read(dir) {
                Ok(results) => results,
                Err(error) => {
                    told.push(format!("{} does not count: {error}", dir.display()));
                    continue;
                }
            };
            let joined = !results.shards.is_empty();
            let part = results.part.take().ok_or_else(|| MergeError::NoPart(dir.clone(), joined))?;
            let began = OffsetDateTime::parse(&results.started, &Rfc3339).unwrap_or(OffsetDateTime::UNIX_EPOCH);
            reported.push(Reported { dir: dir.clone(), part, began, results });
        }
        // Where plans are named, it is known what was to run even if nothing did.
        if reported.is_empty() && self.plans.is_empty() {
            let first = told.first().cloned().unwrap_or_default();
            return Err(MergeError::Nothing { count: self.shards.len(), first });
        }
        Ok((reported, told))
    }

    /// The plans that were to run, each with its runs.
    fn plans(&self, reported: Vec<Reported>, told: &mut Vec<String>) -> Result<Vec<Planned>, MergeError> {
        let mut plans: Vec<Planned> = Vec::new();
        for path in &self.plans {
            let plan = RunPlan::read(path)?;
            let digest = plan.digest();
            if plans.iter().all(|known| known.digest != digest) {
                plans.push(Planned { digest, plan, runs: Vec::new() });
            }
        }
        if plans.is_empty() {
            plans.extend(only_plan(&reported)?);
        }
        for run in reported {
            match plans.iter_mut().find(|planned| planned.digest == run.part.plan) {
                Some(planned) => planned.runs.push(run),
                None => told.push(stranger(&run, &plans)),
            }
        }
        Ok(plans)
    }
}

/// The plan that all shards are parts of.
fn only_plan(reported: &[Reported]) -> Result<Option<Planned>, MergeError> {
    let Some(first) = reported.first() else { return Ok(None) };
    let own = |run: &Reported| {
        let plan = RunPlan::read(&run.dir.join(RunPlan::FILE)).ok()?;
        (plan.digest() == run.part.plan).then_some(plan)
    };
    let find = |digest: &String| reported.iter().filter(|run| run.part.plan == *digest).find_map(own);
    let digest = &first.part.plan;
    let plan = find(digest);
    if let Some(other) = reported.iter().find(|run| run.part.plan != *digest) {
        let differences = plan.zip(find(&other.part.plan)).map(|(ours, theirs)| ours.differences(&theirs));
        return Err(MergeError::Differ {
            first: first.dir.clone(),
            second: other.dir.clone(),
            differences: differences.unwrap_or_default(),
        });
    }
    let plan = plan.ok_or_else(|| MergeError::NoPlan { digest: digest.clone() })?;
    Ok(Some(Planned { digest: digest.clone(), plan, runs: Vec::new() }))
}

/// What is told of a run whose plan was not to run: how it differs from the plan that has most in common with it.
fn stranger(run: &Reported, plans: &[Planned]) -> String {
    let own = RunPlan::read(&run.dir.join(RunPlan::FILE)).ok();
    let differences = own.iter().flat_map(|own| plans.iter().map(|one| one.plan.differences(own)));
    let closest = differences.min_by_key(|differences| differences.iter().map(String::len).sum::<usize>());
    let named = name(&run.part.plan, run.part.partition);
    let mut text = format!("{} does not count: it is {named}, which is none of the plans", run.dir.display());
    for difference in closest.into_iter().flatten() {
        let _ = write!(text, "\n  {difference}");
    }
    text
}

/// A trial's result, and where its files and those of its attempts are, if it has any.
type Joined = (TrialResult, Option<(Place, Vec<Place>)>);

/// The trials of a part, and its runs.
#[derive(Default)]
struct OfPart<'p> {
    trials: Vec<(&'p str, &'p PlannedScenario)>,
    runs: Vec<Reported>,
}

impl Planned {
    /// Every trial with its result.
    fn join(self, rerun: bool, shards: &mut Vec<Shard>) -> Result<Vec<Joined>, MergeError> {
        let mut parts: BTreeMap<Option<Partition>, OfPart<'_>> =
            self.parts()?.into_iter().map(|part| (part, OfPart::default())).collect();
        let first = parts.keys().next().copied().flatten();
        for (index, (name, scenario)) in self.plan.trials().into_iter().enumerate() {
            let part = first.map(|first| first.beside(index, name));
            parts.entry(part).or_default().trials.push((name, scenario));
        }
        for run in self.runs {
            parts.entry(run.part.partition).or_default().runs.push(run);
        }
        let mut joined = Vec::new();
        for (partition, OfPart { trials, mut runs }) in parts {
            let part = name(&self.digest, partition);
            runs.sort_by_key(|run| run.began);
            if let [first, second, ..] = runs.as_slice()
                && !rerun
            {
                let (first, second) = (first.dir.clone(), second.dir.clone());
                return Err(MergeError::Twice { part, times: runs.len(), first, second });
            }
            let shard_runs = runs.iter().map(Reported::run).collect();
            shards.push(Shard { plan: self.digest.clone(), partition, trials: trials.len(), runs: shard_runs });
            joined.extend(join_part(&part, &trials, runs)?);
        }
        Ok(joined)
    }

    /// The parts that there must be.
    fn parts(&self) -> Result<Vec<Option<Partition>>, MergeError> {
        let Some(first) = self.runs.first() else { return Ok(vec![None]) };
        let same = |run: &&Reported| match (first.part.partition, run.part.partition) {
            (Some(one), Some(other)) => one.is_beside(&other),
            (one, other) => one == other,
        };
        if let Some(second) = self.runs.iter().find(|run| !same(run)) {
            let said =
                |run: &Reported| run.part.partition.map_or_else(|| "the whole".to_owned(), |one| one.to_string());
            return Err(MergeError::Cuts {
                first: first.dir.clone(),
                first_part: said(first),
                second: second.dir.clone(),
                second_part: said(second),
            });
        }
        Ok(first.part.partition.map_or_else(|| vec![None], |one| one.all().map(Some).collect()))
    }
}

/// The results of one part's trials from its runs, first to last.
fn join_part(part: &str, trials: &[(&str, &PlannedScenario)], runs: Vec<Reported>) -> Result<Vec<Joined>, MergeError> {
    let reported = !runs.is_empty();
    let mut found: BTreeMap<String, Vec<again::Result>> =
        trials.iter().map(|(name, _)| ((*name).to_owned(), Vec::new())).collect();
    for run in runs {
        for result in run.results.trials {
            match found.get_mut(&result.trial) {
                Some(of_trial) if files::is_name(Path::new(&result.trial)) => {
                    let place = Place::new(&run.dir, &result.trial);
                    of_trial.push(again::Result::new(result, place));
                }
                _ => return Err(MergeError::Stranger { dir: run.dir, trial: result.trial }),
            }
        }
    }
    let absent = |name: &str, scenario: &Path| {
        let reason = if reported {
            format!("never ran: its shard ({part}) reported without it")
        } else {
            format!("never ran: its shard ({part}) never reported")
        };
        let result = TrialResult::new(name, scenario, Verdict::Infra, Some(reason));
        TrialResult { never_ran: true, ..result }
    };
    let joined = trials.iter().map(|(name, planned)| {
        let last = again::decide(found.remove(*name).unwrap_or_default());
        last.map_or_else(
            || (absent(name, &planned.scenario), None),
            |one| (one.result, Some((one.place, one.attempts))),
        )
    });
    Ok(joined.collect())
}

fn results(trials: Vec<TrialResult>, shards: Vec<Shard>) -> RunResults {
    let runs: Vec<&ShardRun> = shards.iter().flat_map(|shard| &shard.runs).collect();
    let (started, seconds) = host::span(&runs);
    let cpu = runs.iter().fold(Cpu::default(), |sum, run| Cpu {
        harness_s: sum.harness_s + run.cpu.harness_s,
        children_s: sum.children_s + run.cpu.children_s,
    });
    RunResults {
        version: RESULTS_VERSION,
        day1: env!("CARGO_PKG_VERSION").into(),
        started,
        seconds,
        host: host::joined(&runs),
        jobs: runs.iter().fold(0, |sum, run| sum.saturating_add(run.jobs)),
        cpu,
        part: None,
        shards,
        trials,
    }
}
