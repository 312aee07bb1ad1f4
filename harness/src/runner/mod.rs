//! Trials for libtest-mimic: what is planned, leases, deadlines, results.

mod artifacts;
mod attempts;
mod default_node;
mod interrupt;
mod kept;
mod lease;
mod prepare;
mod progress;
mod scratch;
mod selection;
mod shake;
mod trial;

pub use crate::report::Partition;
pub use artifacts::{Artifacts, Needed, artifacts, make};
pub use default_node::{STAND_IN, nodes};
pub use kept::Keep;
pub use lease::host_memory_mib;
pub use progress::{Stderr, replay};
pub use scratch::{GUARD_SUBCOMMAND, Scratch, guard as guard_scratch};
pub use selection::plan_of;
pub use shake::{Shaking, shake};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use kept::Kept;

use crate::cache::Cache;
use crate::checks::Verdict;
use crate::lab::{self, OtherConfig};
use crate::mco;
use crate::node::NodeImage;
use crate::report::{self, Cpu, Host, Part, RESULTS_VERSION, RunPlan, RunResults, TrialResult};
use crate::scenario::{self, Breakpoint, Day, Mistakes, Mutant, SNOOZES_FILE, Scenario, Snooze, Start};
use crate::services::registry;
use crate::text::with_causes;
use crate::toolkit::DriverToolkit;

/// What to run, on what, and where the results go.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory with the scenarios, one directory per family below it.
    pub scenarios: PathBuf,
    /// Directory with the node images' definitions and the modules' sources.
    pub vm_images: PathBuf,
    /// Node images to run on.
    pub nodes: Vec<String>,
    /// Releases of kernels that the nodes boot, or `all`; empty for the one that each node image boots by itself.
    pub kernels: Vec<String>,
    /// Only trials whose name contains one of these; all, if empty.
    pub filters: Vec<String>,
    /// Only scenarios with this label.
    pub label: Option<String>,
    /// Also scenarios that run by night only.
    pub all: bool,
    /// Mutants of this directory, in the place of the scenarios themselves.
    pub mutants: Option<PathBuf>,
    /// A MachineConfig in the place of the one that each scenario generates.
    pub machine_config: Option<PathBuf>,
    /// Only a part of the trials.
    pub partition: Option<Partition>,
    /// Where nodes begin, in the place of what scenarios say.
    pub start: Option<Start>,
    /// Which trials' machines are kept for a person.
    pub keep: Keep,
    /// Where nodes are stopped, for a person to come in.
    pub break_at: Option<Breakpoint>,
    /// How many trials run at once at most, here and in other processes of this host; by default as many as the
    /// host's cores carry.
    pub jobs: Option<usize>,
    /// How many times a trial that does not pass runs again.
    pub retries: u32,
    /// Whether a trial that passes only then is taken for a good one.
    pub flaky_ok: bool,
    /// The file that says which trials are known to fail, if not the one beside the scenarios.
    pub snoozes: Option<PathBuf>,
    /// Which registry stands behind the gateway.
    pub registry: registry::Backend,
    /// What modules for CoreOS kernels are built with, if a person names it.
    pub driver_toolkit: Option<DriverToolkit>,
    /// Where the results go.
    pub results: PathBuf,
    /// The cache, if not at its usual place.
    pub cache: Option<PathBuf>,
    /// The `day1` program, for the guest's connections, the guard of the scratch directory, and containers.
    pub day1: PathBuf,
}

/// The label of scenarios that run only when they are asked for: by name, by a label, or with all others.
pub const NIGHTLY: &str = "nightly";

/// Why what a run would need can't be told or had.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ImagesError {
    message: String,
    bad_input: bool,
}

impl ImagesError {
    /// 2 for bad input, 3 for the harness's own side.
    pub fn exit_code(&self) -> u8 {
        if self.bad_input { 2 } else { 3 }
    }
}

impl From<anyhow::Error> for ImagesError {
    fn from(error: anyhow::Error) -> Self {
        let bad_input = error.downcast_ref::<prepare::BadInput>().is_some();
        Self { message: with_causes(error.as_ref()), bad_input }
    }
}

/// The node images of a run, each with the kernels that the options choose, or the one that it boots by itself. An image
/// of which nothing is known yet is made, and booted for that. Blocks.
pub fn images(options: &Options) -> Result<Vec<(NodeImage, Vec<String>)>, ImagesError> {
    Ok(prepare::images(options)?)
}

/// A trial before anything is prepared for it.
#[derive(Clone)]
struct Planned {
    name: String,
    scenario: Arc<Scenario>,
    node: String,
    /// The kernel that the run chose.
    kernel: Option<String>,
    /// What must come of it, if it is a mutant's.
    mutant: Option<Arc<Mutant>>,
    /// What is known of its failures.
    snoozes: Vec<Snooze>,
}

/// The kernels that a run chooses, by node image.
type Kernels = BTreeMap<String, Chosen>;

/// The kernels that a run chooses of one node image.
struct Chosen {
    releases: Vec<Option<String>>,
    /// Whether the image's first is among them.
    has_first: bool,
}

/// Results by trial name, filled while trials run.
type Results = Arc<Mutex<BTreeMap<String, TrialResult>>>;

/// Runs what `options` and libtest's own `arguments` select; gives the exit code: 0 all passed, 1 a check
/// failed, 2 bad input, 3 the harness's own side failed.
pub fn run(options: &Options, arguments: &Arguments) -> u8 {
    let fail = |error: &anyhow::Error| {
        eprintln!("error: {}", with_causes(error.as_ref()));
        if error.downcast_ref::<prepare::BadInput>().is_some() { 2 } else { 3 }
    };
    let kernels = match prepare::kernels(options) {
        Ok(kernels) => kernels,
        Err(error) => return fail(&error),
    };
    let all = match every_trial(options, &kernels) {
        Ok(all) => all,
        Err(message) => {
            eprintln!("{message}");
            return 2;
        }
    };
    let whole = match selection::describe(options, &all) {
        Ok(whole) => whole,
        Err(error) => return fail(&error),
    };
    let planned = of_part(options.partition.as_ref(), all);
    if arguments.list {
        let trials = planned.into_iter().map(|one| Trial::test(one.name, || Ok(()))).collect();
        libtest_mimic::run(arguments, trials).exit();
    }
    match run_planned(options, arguments, whole, planned) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// The trials that the options select, in the order of their names; or every mistake in any scenario, for a
/// person.
fn plan(options: &Options, kernels: &Kernels) -> Result<Vec<Planned>, String> {
    every_trial(options, kernels).map(|all| of_part(options.partition.as_ref(), all))
}

/// Those of a part. What libtest's own arguments leave out still counts for a trial's place: under
/// cargo-nextest each trial is a process that is asked for that trial alone.
fn of_part(part: Option<&Partition>, all: Vec<Planned>) -> Vec<Planned> {
    let Some(part) = part else { return all };
    let placed = all.into_iter().enumerate();
    placed.filter(|(index, one)| part.holds(*index, &one.name)).map(|(_, one)| one).collect()
}

/// The same in all parts.
fn every_trial(options: &Options, kernels: &Kernels) -> Result<Vec<Planned>, String> {
    let listing = scenario::list(&options.scenarios)
        .map_err(|error| format!("error: cannot list the scenarios in {}: {error}", options.scenarios.display()))?;
    if !listing.refused.is_empty() {
        return Err(reports(listing.refused));
    }
    let snoozes = snoozes(options, &listing.scenarios).map_err(|mistakes| reports(vec![mistakes]))?;
    let scenarios: Vec<(Scenario, Option<Mutant>)> = match &options.mutants {
        None => listing.scenarios.into_iter().map(|scenario| (scenario, None)).collect(),
        Some(dir) => scenario::mutants(dir, &listing.scenarios)
            .map_err(reports)?
            .into_iter()
            .map(|mutation| (mutation.scenario, Some(mutation.mutant)))
            .collect(),
    };
    let scenarios = under_other_config(options, scenarios)?;
    let mut planned = Vec::new();
    for (scenario, mutant) in scenarios {
        let (scenario, mutant) = (Arc::new(scenario), mutant.map(Arc::new));
        for node in &options.nodes {
            let by_itself = [None];
            let chosen = match kernels.get(node) {
                // A scenario about several kernels says itself which one runs when: it belongs to the image's first, so that
                // it runs once where each kernel has a run of its own.
                Some(chosen) if scenario.spec.chooses_kernels() => &by_itself[..usize::from(chosen.has_first)],
                Some(chosen) => &chosen.releases,
                None => &by_itself[..],
            };
            for kernel in chosen {
                let name = lab::trial_name(&scenario, node, kernel.as_deref());
                let (scenario, mutant) = (Arc::clone(&scenario), mutant.clone());
                let snoozes = snoozes.iter().filter(|one| one.pattern.matches(&name)).cloned().collect();
                let (node, kernel) = (node.clone(), kernel.clone());
                planned.push(Planned { name, scenario, node, kernel, mutant, snoozes });
            }
        }
    }
    let nightly = planned.iter().filter(|one| one.scenario.has_label(NIGHTLY)).count();
    if nightly > 0 && !asks_for_something(options) {
        eprintln!("{nightly} trials with the label `{NIGHTLY}` are left out; `--all` runs them as well");
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

/// The snoozes of the run, from the file that the options name or the one beside the scenarios, if it is there. Those that
/// have expired are told. What must come of a mutant is said elsewhere.
fn snoozes(options: &Options, scenarios: &[Scenario]) -> Result<Vec<Snooze>, Mistakes> {
    let beside = options.scenarios.join(SNOOZES_FILE);
    let file = options.snoozes.clone().or_else(|| beside.exists().then_some(beside));
    let Some(file) = file.filter(|_| options.mutants.is_none()) else { return Ok(vec![]) };
    let snoozes = scenario::snoozes(&file, scenarios)?;
    let today = Day::today();
    for expired in snoozes.iter().filter(|one| one.has_expired(today)) {
        let Snooze { place, pattern, expires, reason, tracker, .. } = expired;
        eprintln!("SNOOZE EXPIRED on {expires}: {pattern} counts again ({reason}; {tracker}; {place})");
    }
    Ok(snoozes)
}

/// The scenarios with the MachineConfig that the run brings; those that it can't stand in are left out, and told.
fn under_other_config(
    options: &Options,
    scenarios: Vec<(Scenario, Option<Mutant>)>,
) -> Result<Vec<(Scenario, Option<Mutant>)>, String> {
    let Some(file) = &options.machine_config else { return Ok(scenarios) };
    let other = OtherConfig::read(file);
    let other = other.map_err(|error| format!("error: cannot read the MachineConfig {}: {error}", file.display()))?;
    mco::MachineConfig::read(file).map_err(|error| format!("error: {error}"))?;
    let (mut under, all) = (Vec::new(), scenarios.len());
    for (scenario, mutant) in scenarios {
        let changed = other.under(&scenario).map_err(|error| format!("error: {error}"))?;
        under.extend(changed.map(|scenario| (scenario, mutant)));
    }
    if under.len() < all {
        let left = all - under.len();
        eprintln!("{left} scenarios are about several MachineConfigs, or about changes of their own, and are left out");
    }
    Ok(under)
}

fn reports(refused: Vec<Mistakes>) -> String {
    let reports = refused.into_iter().map(|mistakes| format!("{:?}", miette::Report::new(mistakes)));
    reports.collect::<Vec<_>>().join("\n")
}

/// Whether more is asked for than what runs by day.
fn asks_for_something(options: &Options) -> bool {
    options.all || options.mutants.is_some() || options.label.is_some() || !options.filters.is_empty()
}

fn is_selected(planned: &Planned, options: &Options) -> bool {
    let by_name = options.filters.is_empty() || options.filters.iter().any(|filter| planned.name.contains(filter));
    let by_label = options.label.as_ref().is_none_or(|label| planned.scenario.has_label(label));
    let is_asked_for =
        options.all || options.mutants.is_some() || options.label.is_some() || !options.filters.is_empty();
    by_name && by_label && (is_asked_for || !planned.scenario.has_label(NIGHTLY))
}

/// The same choice that libtest-mimic makes, which needs to be known before it runs.
fn passes_libtest(name: &str, arguments: &Arguments) -> bool {
    let matches = |filter: &str| if arguments.exact { name == filter } else { name.contains(filter) };
    arguments.filter.as_deref().is_none_or(matches) && !arguments.skip.iter().any(|skip| matches(skip))
}

fn run_planned(options: &Options, arguments: &Arguments, whole: RunPlan, planned: Vec<Planned>) -> Result<u8> {
    let began = Instant::now();
    let all = planned.len();
    let planned: Vec<Planned> = planned.into_iter().filter(|one| passes_libtest(&one.name, arguments)).collect();
    // What libtest leaves out, a plan would miss for ever.
    let whole = (planned.len() == all).then_some(whole);
    if planned.is_empty() && all > 0 {
        // `cargo test NAME` asks every test program; what an earlier run left stays as it is.
        let _ = libtest_mimic::run(arguments, Vec::new());
        return Ok(0);
    }
    kept::refuse_taken(&options.results, planned.iter().map(|one| one.name.as_str()))?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let results: Results = Arc::default();
    for one in &planned {
        trial::note(&results, trial::never_ran(one));
    }
    let ledger = Arc::new(Ledger {
        dir: (!is_one_of_nextest()).then(|| options.results.clone()),
        began,
        started: now(),
        results,
        part: whole.as_ref().map(|whole| whole.part(options.partition)),
        host: OnceLock::new(),
        jobs: AtomicUsize::new(0),
    });
    let earlier = RunResults::read(&options.results).ok();
    // Before anything is made, so that whatever ends the run, the results of an earlier one don't pass for its own.
    ledger.write()?;
    if let (Some(dir), Some(whole)) = (&ledger.dir, &whole) {
        whole.write(dir).with_context(|| format!("cannot write {}", dir.join(RunPlan::FILE).display()))?;
    }
    if let Some(dir) = &ledger.dir {
        let _ = std::fs::remove_file(dir.join(report::html::FILE));
    }
    if planned.is_empty() {
        let part = options.partition.as_ref().map(ToString::to_string).unwrap_or_default();
        println!("{part} has none of the trials: nothing to run");
        return Ok(0);
    }
    let scratch = Scratch::new(&options.day1).context("cannot make the run's temporary directory")?;
    let prepared = match prepare::prepare(options, &planned, scratch.dir()) {
        Ok(prepared) => prepared,
        Err(error) => {
            ledger.nothing_ran(&planned, &error)?;
            return Err(error);
        }
    };
    interrupt::end_in_order();
    let _ = ledger.host.set(prepared.host());
    let jobs = options.jobs.unwrap_or_else(lease::jobs);
    ledger.jobs.store(jobs, Ordering::Relaxed);
    progress::run_begins(planned.iter().map(|one| one.name.clone()).collect(), jobs, earlier.as_ref());
    let patience = trial::Patience { retries: options.retries, flaky_ok: options.flaky_ok, today: Day::today() };
    let trials = prepared.into_trials();
    let kept = Arc::new(Kept::new(trials.len()));
    let trials = trials
        .into_iter()
        .map(|ready| {
            let (ledger, kept) = (Arc::clone(&ledger), Arc::clone(&kept));
            Trial::test(ready.name().to_owned(), move || {
                let outcome = trial::run(&ready, jobs, patience, &ledger.results, &kept);
                // Should this fail, the last writing does too, and tells.
                let _ = ledger.write();
                outcome
            })
        })
        .collect();
    let mut arguments = arguments.clone();
    // Leases say how many machines run at once; one thread more, so that what the next trial needs is made
    // meanwhile. (With one thread libtest-mimic would write a trial's name in the middle of what the trial says.)
    arguments.test_threads = Some(jobs + 1);
    if progress::is_live() && arguments.logfile.is_none() {
        // It would write into the lines that change in place, and the trials tell more themselves.
        arguments.logfile = Some("/dev/null".into());
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    progress::run_ended();
    ledger.write()?;
    let results = ledger.now();
    if !is_one_of_nextest() {
        // A page that can't be written changes no verdict: all that it would show is on disk.
        if let Err(error) =
            report::html::write(&results, &options.results, None, &options.results.join(report::html::FILE))
        {
            eprintln!("error: {error}");
        }
        progress::say(&report::painted_summary(&results, &options.results));
    }
    // An interrupt from here on only ends what was kept.
    let code = exit_code(&results, interrupt::is_set(), conclusion.has_failed());
    kept.wait();
    drop(scratch);
    Ok(code)
}

fn exit_code(results: &RunResults, interrupted: bool, has_failed: bool) -> u8 {
    match results.exit_code() {
        _ if interrupted => 130,
        0 if has_failed => 3,
        code => code,
    }
}

/// Under cargo-nextest each trial is a process of its own; each then has only its own directory to write.
fn is_one_of_nextest() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

/// The run's results, on disk from its start: a run that is killed leaves what it knew.
struct Ledger {
    /// None for one trial of nextest's, whose runs have results of their own.
    dir: Option<PathBuf>,
    began: Instant,
    started: String,
    results: Results,
    part: Option<Part>,
    host: OnceLock<Host>,
    jobs: AtomicUsize,
}

impl Ledger {
    fn now(&self) -> RunResults {
        let trials = self.results.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        RunResults {
            version: RESULTS_VERSION,
            day1: env!("CARGO_PKG_VERSION").into(),
            started: self.started.clone(),
            seconds: self.began.elapsed().as_secs_f64(),
            host: self.host.get().cloned().unwrap_or_default(),
            cpu: cpu(),
            jobs: self.jobs.load(Ordering::Relaxed),
            part: self.part.clone(),
            shards: Vec::new(),
            trials,
        }
    }

    fn write(&self) -> Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        self.dir.as_deref().map_or(Ok(()), |dir| Ok(self.now().write(dir)?))
    }

    /// Every trial gets the reason why none could begin.
    fn nothing_ran(&self, planned: &[Planned], error: &anyhow::Error) -> Result<()> {
        let bad_input = error.downcast_ref::<prepare::BadInput>().is_some();
        for one in planned {
            let mut result = trial::never_ran(one);
            if !bad_input {
                result.verdict = Verdict::Infra;
            }
            result.reason = Some(format!("never ran: {}", with_causes(error.as_ref())));
            trial::note(&self.results, result);
        }
        self.write()
    }
}

/// What this process and its children have taken of the processors so far.
fn cpu() -> Cpu {
    let of = |who| getrusage(who).map_or(0.0, |usage| seconds(usage.user_time()) + seconds(usage.system_time()));
    Cpu { harness_s: of(UsageWho::RUSAGE_SELF), children_s: of(UsageWho::RUSAGE_CHILDREN) }
}

#[expect(clippy::cast_precision_loss, reason = "a run takes fewer than 2^52 microseconds")]
fn seconds(time: TimeVal) -> f64 {
    time.num_microseconds() as f64 / 1e6
}

fn now() -> String {
    let format = time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::now_utc().format(&format).unwrap_or_default()
}

/// How many machines run now that share this cache.
pub fn machines_running(cache: &Cache) -> std::io::Result<usize> {
    lease::count(&leases(cache))
}

fn leases(cache: &Cache) -> PathBuf {
    cache.root().join("leases")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn ledger(dir: &Path) -> (Ledger, Vec<Planned>) {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
        let scenario = Scenario::load_one(&scenarios.join("pull/pull-then-reboot.yaml")).expect("a good scenario");
        let name = scenario.trial_name("debian-13");
        let planned = vec![Planned {
            name,
            scenario: Arc::new(scenario),
            node: "debian-13".into(),
            kernel: None,
            mutant: None,
            snoozes: vec![],
        }];
        let results = Results::default();
        planned.iter().for_each(|one| trial::note(&results, trial::never_ran(one)));
        let (began, started) = (Instant::now(), now());
        (
            Ledger {
                dir: Some(dir.to_owned()),
                began,
                started,
                results,
                part: None,
                host: OnceLock::new(),
                jobs: AtomicUsize::new(0),
            },
            planned,
        )
    }

    #[test]
    fn an_interrupted_run_ends_with_130() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut results = ledger(dir.path()).0.now();
        assert_eq!(exit_code(&results, true, true), 130);
        assert_eq!(exit_code(&results, false, false), 3, "a trial did not begin");
        results.trials[0] = TrialResult::new("a/b@c", Path::new("a/b.yaml"), Verdict::Pass, None);
        assert_eq!(exit_code(&results, false, true), 3);
        assert_eq!(exit_code(&results, false, false), 0);
    }

    #[test]
    fn results_of_an_earlier_run_do_not_stay_when_nothing_could_run() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("results.json"), "of an earlier run").expect("written");
        let (ledger, planned) = ledger(dir.path());
        ledger.nothing_ran(&planned, &anyhow::anyhow!("the disk is full")).expect("written");
        let text = fs::read_to_string(dir.path().join("results.json")).expect("read");
        let results: RunResults = serde_json::from_str(&text).expect("results");
        assert_eq!(results.trials.len(), 1);
        assert_eq!(results.trials[0].verdict, Verdict::Infra);
        assert!(results.trials[0].reason.as_deref().is_some_and(|reason| reason.contains("the disk is full")));
        assert!(dir.path().join("junit.xml").exists());
    }

    /// As cargo-nextest asks, a process for each trial.
    #[test]
    fn a_trial_that_is_asked_for_by_name_is_in_the_slice_that_it_has_among_all() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let one = ledger(dir.path()).1.remove(0);
        let all = || (0..6).map(|number| Planned { name: format!("a/{number}@b"), ..one.clone() }).collect::<Vec<_>>();
        let ran = |slice: &str, asked: &str| {
            let part = of_part(Some(&slice.parse().expect("a partition")), all());
            let arguments = Arguments { filter: Some(asked.to_owned()), exact: true, ..Arguments::default() };
            part.into_iter().filter(|one| passes_libtest(&one.name, &arguments)).map(|one| one.name).collect::<Vec<_>>()
        };
        for number in 0..6 {
            let name = format!("a/{number}@b");
            let own = number % 3 + 1;
            assert_eq!(ran(&format!("slice:{own}/3"), &name), [name.as_str()]);
            assert_eq!(ran(&format!("slice:{}/3", own % 3 + 1), &name), Vec::<String>::new());
        }
    }

    /// Each change of each mutant finds its place in what the generator makes.
    #[test]
    fn the_mutants_changes_can_be_made() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let scenarios = scenario::list(&root.join("scenarios")).expect("listed").scenarios;
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        let authority = crate::services::certs::Authority::open(&cache).expect("an authority");
        let mutations = scenario::mutants(&root.join("mutants"), &scenarios).expect("good mutants");
        let refused = mutations.into_iter().filter_map(|mutation| {
            let name = mutation.mutant.name.to_string();
            let refused = crate::lab::draft(&Arc::new(mutation.scenario), None, &authority).err()?;
            Some(format!("{name}: {refused}"))
        });
        assert_eq!(refused.collect::<Vec<_>>(), Vec::<String>::new());
    }
}
