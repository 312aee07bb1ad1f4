//! Trials for libtest-mimic: what is planned, leases, deadlines, results.

mod artifacts;
mod attempts;
mod default_node;
mod interrupt;
mod kept;
mod lease;
mod ledger;
mod options;
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
pub use options::Options;
pub use progress::{Stderr, replay};
pub use scratch::{GUARD_SUBCOMMAND, Scratch, guard as guard_scratch};
pub use selection::{NIGHTLY, plan_of};
pub use shake::{Shaking, shake};

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Trial};

use kept::Kept;
use ledger::{Ledger, is_one_of_nextest};
use selection::Planned;

use crate::cache::Cache;
use crate::node::NodeImage;
use crate::report::{self, RunPlan, RunResults};
use crate::scenario::Day;
use crate::text::{unless_closed, with_causes};

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

/// Runs what `options` and libtest's own `arguments` select; gives the exit code: 0 all passed, 1 a check
/// failed, 2 bad input, 3 the harness's own side failed.
pub fn run(options: &Options, arguments: &Arguments) -> u8 {
    let fail = |error: &anyhow::Error| {
        progress::warn(&format!("error: {}", with_causes(error.as_ref())));
        if error.downcast_ref::<prepare::BadInput>().is_some() { 2 } else { 3 }
    };
    let kernels = match prepare::kernels(options) {
        Ok(kernels) => kernels,
        Err(error) => return fail(&error),
    };
    let all = match selection::every_trial(options, &kernels) {
        Ok(all) => all,
        Err(message) => {
            progress::warn(&message.to_string());
            return 2;
        }
    };
    let whole = match selection::describe(options, &all) {
        Ok(whole) => whole,
        Err(error) => return fail(&error),
    };
    let planned = selection::of_part(options.partition.as_ref(), all);
    if arguments.list {
        return list(arguments, &planned).map_or_else(|error| fail(&error), |()| 0);
    }
    match run_planned(options, arguments, whole, planned) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

/// Lists trials as libtest does, but in peace with a pipe that closes early.
fn list(arguments: &Arguments, planned: &[Planned]) -> Result<()> {
    // `--ignored` asks for those alone that run only when they are asked for, of which libtest knows none.
    let shown = planned.iter().filter(|one| !arguments.ignored && selection::passes_libtest(&one.name, arguments));
    let lines: String = shown.map(|one| format!("{}: test\n", one.name)).collect();
    unless_closed(std::io::stdout().write_all(lines.as_bytes())).context("cannot write to standard output")
}

fn run_planned(options: &Options, arguments: &Arguments, whole: RunPlan, planned: Vec<Planned>) -> Result<u8> {
    let all = planned.len();
    let planned: Vec<Planned> =
        planned.into_iter().filter(|one| selection::passes_libtest(&one.name, arguments)).collect();
    // What libtest leaves out, a plan would miss for ever.
    let whole = (planned.len() == all).then_some(whole);
    if planned.is_empty() && all > 0 {
        // `cargo test NAME` asks every test program; what an earlier run left stays as it is.
        let _ = libtest_mimic::run(arguments, Vec::new());
        return Ok(0);
    }
    kept::refuse_taken(&options.results, planned.iter().map(|one| one.name.as_str()))?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let dir = (!is_one_of_nextest()).then(|| options.results.clone());
    let part = whole.as_ref().map(|whole| whole.part(options.partition));
    let ledger = Arc::new(Ledger::new(dir, part, &planned));
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
        progress::say(&format!("{part} has none of the trials: nothing to run"));
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
            Trial::test(ready.name().to_owned(), move || trial::run(&ready, jobs, patience, &ledger, &kept))
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
            progress::warn(&format!("error: {error}"));
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

/// How many machines run now that share this cache.
pub fn machines_running(cache: &Cache) -> std::io::Result<usize> {
    lease::count(&leases(cache))
}

fn leases(cache: &Cache) -> PathBuf {
    cache.root().join("leases")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::ledger::tests::ledger;
    use super::*;
    use crate::checks::Verdict;
    use crate::report::TrialResult;

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
}
