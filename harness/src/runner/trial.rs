//! One trial as libtest-mimic runs it: lease, lab, verdict, result.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use libtest_mimic::Failed;

use super::{Planned, Results, attempts, interrupt, lease, progress};
use crate::checks::{self, Verdict};
use crate::lab::{self, Draft, Host, Plan, Workshop};
use crate::machine::Acceleration;
use crate::node::NodeImage;
use crate::report::{self, Attempt, MutantResult, Snoozed, TrialResult};
use crate::scenario::{Day, Mutant, Snooze};
use crate::timeline::Timeline;

/// A trial whose input is good.
pub(super) struct Ready {
    pub(super) name: String,
    pub(super) draft: Draft,
    pub(super) node: NodeImage,
    pub(super) acceleration: Acceleration,
    pub(super) workshop: Arc<Workshop>,
    /// The run's results directory.
    pub(super) results: PathBuf,
    /// What must come of it, if it is a mutant's.
    pub(super) mutant: Option<Arc<Mutant>>,
    /// What is known of its failures.
    pub(super) snoozes: Vec<Snooze>,
}

/// What is made of a trial that does not pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How many times it runs again.
    pub(super) retries: u32,
    /// Whether one that passes then is taken for a good one.
    pub(super) flaky_ok: bool,
    /// The day that snoozes are held against.
    pub(super) today: Day,
}

impl Ready {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    fn dir(&self) -> PathBuf {
        self.results.join(self.name())
    }

    fn result(&self, verdict: Verdict, reason: Option<String>) -> TrialResult {
        TrialResult::new(self.name(), &self.draft.scenario.document.path, verdict, reason)
    }

    /// Memory of the host that its machine takes, in MiB.
    fn memory_mib(&self) -> u64 {
        let guest = self.draft.scenario.spec.node.memory.as_mib();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "MiB of one machine")]
        let mib = lease::host_memory_mib(guest, 1).ceil() as u64;
        mib
    }
}

/// The result of a trial that was planned and has not begun.
pub(super) fn never_ran(planned: &Planned) -> TrialResult {
    let reason = "never ran: the run ended before its turn".to_owned();
    let result = TrialResult::new(&planned.name, &planned.scenario.document.path, Verdict::Skipped, Some(reason));
    TrialResult { never_ran: true, ..result }
}

/// Puts a result in the place of an earlier one of the same trial.
pub(super) fn note(results: &Results, result: TrialResult) {
    results.lock().unwrap_or_else(PoisonError::into_inner).insert(result.trial.clone(), result);
}

/// Runs a trial; what it came to is on the terminal, in its directory and in `results`.
pub(super) fn run(ready: &Ready, jobs: usize, patience: Patience, results: &Results) -> Result<(), Failed> {
    let snoozed = |result: &TrialResult| Snoozed::new(&ready.snoozes, result, patience.today);
    let is_lost = |verdict| matches!(verdict, Verdict::Fail | Verdict::Inconclusive | Verdict::Infra);
    let again = |result: &TrialResult, number: u32| {
        number <= patience.retries
            && is_lost(result.verdict)
            // Of a mutant the verdict is no surprise, and what is known to fail need not show it twice.
            && ready.mutant.is_none()
            && !snoozed(result).is_some_and(|snoozed| snoozed.holds())
            && !interrupt::is_set()
    };
    let dir = ready.dir();
    let mut result = attempts::run(&dir, again, |before| {
        if let Some(last) = before.last() {
            progress::tell(&format!("{} is run again: {}", ready.name(), report::describe_attempt(last)));
        }
        one(ready, jobs, results, before)
    })?;
    result.flaky_ok = patience.flaky_ok;
    result.snoozed = snoozed(&result);
    if let Err(error) = keep(&result, &dir) {
        lose(&mut result, &error);
    }
    println!("\n{}", report::describe_trial(&result));
    let red = result.is_red();
    note(results, result);
    // A trial that was cut short has proven nothing.
    if red || interrupt::is_set() { Err(Failed::without_message()) } else { Ok(()) }
}

/// Runs a trial once there is room for its machine; what it came to is in its directory. The attempts `before` it have
/// theirs below that.
pub(super) fn one(ready: &Ready, jobs: usize, results: &Results, before: &[Attempt]) -> Result<TrialResult, Failed> {
    let not_run = || Failed::from("not run: interrupted");
    // Asked before it is planned, too: nobody waits any more for what would be built for it.
    if interrupt::is_set() {
        return Err(not_run());
    }
    let began = Instant::now();
    // Without a lease: what has to be built for it is built while others boot.
    let plan = lab::plan(&ready.draft, &ready.node, &ready.workshop, &progress::tell);
    let making = began.elapsed();
    let claim = lease::Claim { jobs, memory_mib: ready.memory_mib() };
    let lease = match lease::take(&super::leases(&ready.workshop.cache), claim, interrupt::fd()) {
        Ok(Some(lease)) if !interrupt::is_set() => lease,
        Ok(_) => return Err(not_run()),
        Err(error) => return Err(format!("cannot take a lease for a machine: {error}").into()),
    };
    // Written first: a start without a result means that the harness was killed or panicked.
    let mut begun = ready.result(Verdict::Infra, Some("it began, and the harness ended before its result".into()));
    begun.attempts = before.to_vec();
    note(results, begun);
    let began = Instant::now();
    let dir = ready.dir();
    let infra = |reason: String| ready.result(Verdict::Infra, Some(reason));
    // Also for a trial that can't be planned: what an earlier run left there is not its own.
    let made = if before.is_empty() { fresh(&dir) } else { Ok(()) };
    let mut result = match (made, plan) {
        (Ok(()), Ok(plan)) => perform(ready, &plan),
        (Ok(()), Err(error)) if error.is_no_fault() => ready.result(Verdict::Skipped, Some(error.to_string())),
        (Ok(()), Err(error)) => infra(error.to_string()),
        (Err(error), _) => infra(format!("cannot make {} anew: {error}", dir.display())),
    };
    drop(lease);
    result.mutant = ready.mutant.as_ref().map(|mutant| {
        MutantResult::new(&mutant.says, &mutant.caught_by, &mutant.passes, result.verdict, &result.findings)
    });
    result.seconds = (making + began.elapsed()).as_secs_f64();
    if let Err(error) = keep(&result, &dir) {
        lose(&mut result, &error);
    }
    Ok(result)
}

fn lose(result: &mut TrialResult, error: &std::io::Error) {
    result.verdict = Verdict::Infra;
    result.reason = Some(format!("its result can't be written: {error}"));
}

fn perform(ready: &Ready, plan: &Plan) -> TrialResult {
    let dir = ready.dir();
    let infra = |reason: String| ready.result(Verdict::Infra, Some(reason));
    // Two threads: one for this trial's own steps, which also owns QEMU, and one for its servers and streams.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return infra(format!("cannot start the trial's event loop: {error}")),
    };
    let host = Host { acceleration: &ready.acceleration, workshop: &ready.workshop, tell: &progress::tell };
    let origin = match lab::origin(plan, &host, interrupt::wait) {
        Ok(origin) => origin,
        Err(lab::Error::Interrupted) => return ready.result(Verdict::Skipped, Some("interrupted".into())),
        Err(error) => return infra(error.to_string()),
    };
    let name = ready.name().to_owned();
    let outcome = runtime.block_on(async {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let follower = async {
            if let Ok(bus) = receiver.await {
                progress::follow(bus, name).await;
            }
            std::future::pending::<()>().await;
        };
        let trial = lab::run(plan, &origin, &host, &dir, |bus| drop(sender.send(bus.clone())), interrupt::wait());
        tokio::select! {
            outcome = trial => outcome,
            () = follower => Err(lab::Error::Interrupted),
        }
    });
    let mut result = match outcome {
        Ok(timeline) => judged(ready, &timeline),
        Err(lab::Error::Interrupted) => ready.result(Verdict::Skipped, Some("interrupted".into())),
        Err(error) => infra(error.to_string()),
    };
    result.start = origin.start().to_string();
    result.dir = Some(dir);
    result
}

fn judged(ready: &Ready, timeline: &Timeline) -> TrialResult {
    let judgement = checks::judge(&ready.draft.scenario, timeline);
    let mut result = ready.result(judgement.verdict, None);
    result.phases = report::phases(timeline);
    result.restore_ms = timeline.started().and_then(|started| started.restore_ms);
    result.findings = judgement.findings;
    result.set_aside = judgement.set_aside;
    result
}

/// An empty directory, in the place of what an earlier run left.
fn fresh(dir: &Path) -> std::io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)
}

fn keep(result: &TrialResult, dir: &Path) -> std::io::Result<()> {
    fs::write(dir.join(lab::files::RESULT), serde_json::to_vec_pretty(result)?)
}
