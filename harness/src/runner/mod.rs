//! Trials for libtest-mimic: what is planned, leases, deadlines, results.

mod interrupt;
mod lease;
mod partition;
mod prepare;
mod progress;
mod scratch;
mod trial;

pub use partition::Partition;
pub use scratch::{GUARD_SUBCOMMAND, Scratch, guard as guard_scratch};

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};

use crate::checks::Verdict;
use crate::report::{self, RESULTS_VERSION, RunResults, TrialResult};
use crate::scenario::{self, Scenario};

/// What to run, on what, and where the results go.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory with the scenarios, one directory per family below it.
    pub scenarios: PathBuf,
    /// Directory with the node images' definitions and the modules' sources.
    pub vm_images: PathBuf,
    /// Node images to run on.
    pub nodes: Vec<String>,
    /// Only trials whose name contains one of these; all, if empty.
    pub filters: Vec<String>,
    /// Only scenarios with this label.
    pub label: Option<String>,
    /// Only a part of the trials.
    pub partition: Option<Partition>,
    /// Where the results go.
    pub results: PathBuf,
    /// The cache, if not at its usual place.
    pub cache: Option<PathBuf>,
    /// The `day1` program, for the guest's connections and the guard of the scratch directory.
    pub day1: PathBuf,
}

/// The node image that trials run on unless told otherwise.
pub const DEFAULT_NODE: &str = "debian-13";

/// A trial before anything is prepared for it.
#[derive(Clone)]
struct Planned {
    name: String,
    scenario: Arc<Scenario>,
    node: String,
}

/// Results by trial name, filled while trials run.
type Results = Arc<Mutex<BTreeMap<String, TrialResult>>>;

/// Runs what `options` and libtest's own `arguments` select; gives the exit code: 0 all passed, 1 a check
/// failed, 2 bad input, 3 the harness's own side failed.
pub fn run(options: &Options, arguments: &Arguments) -> u8 {
    let planned = match plan(options) {
        Ok(planned) => planned,
        Err(message) => {
            eprintln!("{message}");
            return 2;
        }
    };
    if arguments.list {
        let trials = planned.into_iter().map(|one| Trial::test(one.name, || Ok(()))).collect();
        libtest_mimic::run(arguments, trials).exit();
    }
    match run_planned(options, arguments, planned) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {}", in_one_line(&error));
            if error.downcast_ref::<prepare::BadInput>().is_some() { 2 } else { 3 }
        }
    }
}

/// An error with its causes, each said once: ours name their cause themselves, those of others do not.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Every trial that the options select, in the order of their names; or every mistake in any scenario, for a
/// person.
fn plan(options: &Options) -> Result<Vec<Planned>, String> {
    let listing = scenario::list(&options.scenarios)
        .map_err(|error| format!("error: cannot list the scenarios in {}: {error}", options.scenarios.display()))?;
    if !listing.refused.is_empty() {
        let reports = listing.refused.into_iter().map(|mistakes| format!("{:?}", miette::Report::new(mistakes)));
        return Err(reports.collect::<Vec<_>>().join("\n"));
    }
    let mut planned = Vec::new();
    for scenario in listing.scenarios {
        let scenario = Arc::new(scenario);
        for node in &options.nodes {
            let name = scenario.trial_name(node);
            planned.push(Planned { name, scenario: Arc::clone(&scenario), node: node.clone() });
        }
    }
    planned.retain(|one| is_selected(one, options));
    planned.sort_by(|a, b| a.name.cmp(&b.name));
    if planned.is_empty() {
        return Err(format!(
            "error: no trial is selected by {:?}{}; `--list` shows all",
            options.filters,
            options.label.as_ref().map(|label| format!(" and the label {label}")).unwrap_or_default()
        ));
    }
    Ok(planned)
}

fn is_selected(planned: &Planned, options: &Options) -> bool {
    let by_name = options.filters.is_empty() || options.filters.iter().any(|filter| planned.name.contains(filter));
    let by_label = options.label.as_ref().is_none_or(|label| planned.scenario.has_label(label));
    let by_part = options.partition.as_ref().is_none_or(|part| part.holds(&planned.name));
    by_name && by_label && by_part
}

/// The same choice that libtest-mimic makes, which needs to be known before it runs.
fn passes_libtest(name: &str, arguments: &Arguments) -> bool {
    let matches = |filter: &str| if arguments.exact { name == filter } else { name.contains(filter) };
    arguments.filter.as_deref().is_none_or(matches) && !arguments.skip.iter().any(|skip| matches(skip))
}

fn run_planned(options: &Options, arguments: &Arguments, planned: Vec<Planned>) -> Result<u8> {
    let began = Instant::now();
    let started = now();
    let planned: Vec<Planned> = planned.into_iter().filter(|one| passes_libtest(&one.name, arguments)).collect();
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let scratch = Scratch::new(&options.day1).context("cannot make the run's temporary directory")?;
    let prepared = prepare::prepare(options, &planned, scratch.dir())?;
    let host = prepared.host();
    let slots = prepared.slots().min(arguments.test_threads.unwrap_or(usize::MAX));
    let results: Results = Arc::default();
    for one in &planned {
        trial::note(&results, trial::never_ran(one));
    }
    let trials = prepared
        .into_trials()
        .into_iter()
        .map(|ready| {
            let results = Arc::clone(&results);
            Trial::test(ready.name().to_owned(), move || trial::run(&ready, slots, &results))
        })
        .collect();
    let mut arguments = arguments.clone();
    // Leases say how many run at once. With one thread libtest-mimic would write a trial's name before its
    // verdict, in the middle of what the trial itself says.
    let threads = arguments.test_threads.unwrap_or(slots);
    arguments.test_threads = Some(threads.max(2));
    let conclusion = libtest_mimic::run(&arguments, trials);
    drop(scratch);
    let trials = std::mem::take(&mut *results.lock().unwrap_or_else(PoisonError::into_inner)).into_values().collect();
    let results = RunResults {
        version: RESULTS_VERSION,
        day1: env!("CARGO_PKG_VERSION").into(),
        started,
        seconds: began.elapsed().as_secs_f64(),
        host,
        trials,
    };
    // Under cargo-nextest each trial is a process of its own; each then has only its own directory to write.
    if std::env::var_os("NEXTEST").is_none() {
        write(&results, &options.results)?;
        println!("{}", report::summary(&results, &options.results));
    }
    if conclusion.has_failed() && results.exit_code() == 0 {
        return Ok(3);
    }
    Ok(if interrupt::is_set() { 130 } else { results.exit_code() })
}

fn write(results: &RunResults, dir: &Path) -> Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let json = dir.join("results.json");
    fs::write(&json, serde_json::to_vec_pretty(results)?)
        .with_context(|| format!("cannot write {}", json.display()))?;
    let junit = dir.join("junit.xml");
    let file = fs::File::create(&junit).with_context(|| format!("cannot write {}", junit.display()))?;
    report::write_junit(results, file).with_context(|| format!("cannot write {}", junit.display()))
}

fn now() -> String {
    let format = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::now_utc().format(&format).unwrap_or_default()
}

/// Whether a verdict turns the trial red.
fn is_red(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Fail | Verdict::Inconclusive | Verdict::Infra)
}
