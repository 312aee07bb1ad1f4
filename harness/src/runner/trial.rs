//! One trial as libtest-mimic runs it: lease, lab, verdict, result.

use std::cell::Cell;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, mpsc};
use std::time::{Duration, Instant};

use libtest_mimic::Failed;
use tokio::sync::Notify;

use super::kept::{self, Kept};
use super::lease::{self, Lease};
use super::ledger::Ledger;
use super::selection::Planned;
use super::{Keep, Options, attempts, interrupt, progress};
use crate::checks::{self, Verdict};
use crate::lab::{self, Draft, Host, Keeper, Plan, PlanError, Workshop};
use crate::machine::Acceleration;
use crate::node::NodeImage;
use crate::report::{self, Attempt, MutantResult, Snoozed, TrialResult};
use crate::scenario::{Day, Mutant, Snooze, Start};
use crate::text::number;
use crate::timeline::{Bus, Timeline};

/// A trial whose input is good.
pub(super) struct Ready {
    pub(super) name: String,
    pub(super) draft: Draft,
    pub(super) node: NodeImage,
    pub(super) acceleration: Acceleration,
    pub(super) workshop: Arc<Workshop>,
    /// What the run was asked for.
    pub(super) options: Arc<Options>,
    /// The kernel that the run chose.
    pub(super) kernel: Option<String>,
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
        self.options.results.join(self.name())
    }

    fn result(&self, verdict: Verdict, reason: Option<String>) -> TrialResult {
        let mut result = TrialResult::new(self.name(), &self.draft.scenario.document.path, verdict, reason);
        result.mutant = self.mutant.as_ref().map(|mutant| {
            MutantResult::new(&mutant.says, &mutant.caught_by, &mutant.passes, verdict, &result.findings)
        });
        result
    }

    /// How many machines it has.
    fn machines(&self) -> usize {
        self.draft.scenario.spec.nodes.len().max(1)
    }

    /// Memory of the host that they take together, in MiB.
    fn memory_mib(&self) -> u64 {
        let (guest, machines) = (self.draft.scenario.spec.node.memory.as_mib(), self.machines());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "MiB of a few machines")]
        let mib = lease::host_memory_mib(guest, machines).ceil() as u64;
        mib
    }
}

/// The result of a trial that was planned and has not begun.
pub(super) fn never_ran(planned: &Planned) -> TrialResult {
    let reason = "never ran: the run ended before its turn".to_owned();
    let result = TrialResult::new(&planned.name, &planned.scenario.document.path, Verdict::Skipped, Some(reason));
    TrialResult { never_ran: true, ..result }
}

/// Runs a trial; what it came to is on the terminal, in its directory and in the ledger.
pub(super) fn run(
    ready: &Arc<Ready>,
    jobs: usize,
    patience: Patience,
    ledger: &Arc<Ledger>,
    kept: &Arc<Kept>,
) -> Result<(), Failed> {
    let stays = Cell::new(false);
    let snoozed = |result: &TrialResult| Snoozed::new(&ready.snoozes, result, patience.today);
    let is_lost = |verdict| matches!(verdict, Verdict::Fail | Verdict::Inconclusive | Verdict::Infra);
    let again = |result: &TrialResult, number: u32| {
        number <= patience.retries
            && is_lost(result.verdict)
            // Of a mutant the verdict is no surprise, and what is known to fail need not show it twice.
            && ready.mutant.is_none()
            && !snoozed(result).is_some_and(|snoozed| snoozed.holds())
            // Whoever wants to look at it wants this one.
            && !stays.get()
            && !interrupt::is_set()
    };
    let dir = ready.dir();
    let result = attempts::run(&dir, again, |before| {
        if let Some(last) = before.last() {
            progress::tell(&format!("{} is run again: {}", ready.name(), report::describe_attempt(last)));
        }
        let (result, stayed) = perform_apart(ready, jobs, ledger, kept, before)?;
        stays.set(stayed);
        // Should the next attempt be its end, what this one found is not lost.
        ledger.note(TrialResult { attempts: before.to_vec(), ..result.clone() });
        Ok(result)
    });
    let mut result = result.inspect_err(|failed| {
        // Where libtest-mimic would tell it, its words are not on the terminal.
        failed.message().filter(|_| progress::is_live()).into_iter().for_each(progress::warn);
    })?;
    result.flaky_ok = patience.flaky_ok;
    result.snoozed = snoozed(&result);
    if let Err(error) = write(&result, &dir) {
        lose(&mut result, &error);
    }
    progress::trial_ended(&result);
    let stays = stays.get();
    let mut text = report::painted_trial(&result);
    let red = result.is_red();
    if let Some(event) = ready.options.break_at.as_ref().filter(|_| !stays) {
        let _ = writeln!(text, "  it never came to {event}");
    }
    if stays {
        let _ = writeln!(text, "  enter     {}", kept::command("shell", &ready.dir()));
    } else if red && result.dir.is_some() && !interrupt::is_set() {
        let node = ready.node.name();
        // Of several nodes none is kept.
        let keeps = ready.draft.scenario.spec.nodes.is_empty();
        let again = kept::again(&ready.options, &ready.name, node, ready.kernel.as_deref(), keeps);
        let _ = writeln!(text, "  again     {again}");
    }
    progress::say(&format!("\n{text}"));
    ledger.note(result);
    // A trial that was cut short has proven nothing.
    if red || interrupt::is_set() { Err(Failed::without_message()) } else { Ok(()) }
}

/// Runs a trial once there is room for its machine; what it came to is in its directory.
pub(super) fn one(
    ready: &Arc<Ready>,
    jobs: usize,
    ledger: &Arc<Ledger>,
    kept: &Arc<Kept>,
) -> Result<TrialResult, Failed> {
    perform_apart(ready, jobs, ledger, kept, &[]).map(|(result, _)| result)
}

/// The same, and whether its machine stays. The attempts `before` it have their files below its directory. The trial's
/// machine dies with the thread that started it, so that thread is one that can outlive the trial.
fn perform_apart(
    ready: &Arc<Ready>,
    jobs: usize,
    ledger: &Arc<Ledger>,
    kept: &Arc<Kept>,
    before: &[Attempt],
) -> Result<(TrialResult, bool), Failed> {
    let (sender, receiver) = mpsc::channel();
    let thread = {
        let (ready, ledger, kept) = (Arc::clone(ready), Arc::clone(ledger), Arc::clone(kept));
        let before = before.to_vec();
        let name = ready.name.rsplit('/').next().unwrap_or_default().to_owned();
        let thread = std::thread::Builder::new().name(name);
        thread.spawn(move || {
            Performance {
                ready: &ready,
                jobs,
                ledger: &ledger,
                kept: &kept,
                before: &before,
                sender,
                delivered: AtomicBool::new(false),
            }
            .perform()
        })
    };
    let thread = thread.map_err(|error| Failed::from(format!("cannot start the trial's thread: {error}")))?;
    let outcome = receiver.recv();
    match outcome {
        Ok(Ok((result, true))) => {
            kept.add(&ready.name, &ready.dir(), thread);
            Ok((result, true))
        }
        outcome => {
            if let Err(panic) = thread.join() {
                std::panic::resume_unwind(panic);
            }
            outcome.unwrap_or_else(|_| Err("the trial's thread ended without a result".into()))
        }
    }
}

fn lose(result: &mut TrialResult, error: &std::io::Error) {
    result.verdict = Verdict::Infra;
    result.reason = Some(format!("its result can't be written: {error}"));
}

/// One trial on the thread that its machine lives and dies with.
struct Performance<'p> {
    ready: &'p Ready,
    jobs: usize,
    ledger: &'p Ledger,
    kept: &'p Kept,
    before: &'p [Attempt],
    /// Gets the result as soon as it is known, and whether the machine stays.
    sender: mpsc::Sender<Result<(TrialResult, bool), Failed>>,
    delivered: AtomicBool,
}

impl Performance<'_> {
    fn perform(&self) {
        let begun = self.begin();
        if self.before.is_empty() {
            self.kept.one_less_to_come();
        }
        let outcome = match begun {
            Ok(begun) => self.go_on(begun).map(Ok),
            Err(not_run) => Some(Err(not_run)),
        };
        if let Some(outcome) = outcome {
            // Whoever waits for it waits as long as this thread lives.
            let _ = self.sender.send(outcome.map(|result| (result, false)));
        }
    }

    fn begin(&self) -> Result<Begun, Failed> {
        let ready = self.ready;
        let not_run = || Failed::from("not run: interrupted");
        // Asked before it is planned, too: nobody waits any more for what would be built for it.
        if interrupt::is_set() {
            return Err(not_run());
        }
        let began = Instant::now();
        // Without a lease: what has to be built for it is built while others boot.
        let plan = lab::plan(&ready.draft, &ready.node, &ready.workshop, &progress::tell);
        let making = began.elapsed();
        let leases = super::leases(&ready.workshop.cache);
        let lease = match lease::take(&leases, self.claim(), interrupt::fd(), &|| tell_of_wait(&leases)) {
            Ok(Some(lease)) if !interrupt::is_set() => lease,
            Ok(_) => return Err(not_run()),
            Err(error) => return Err(format!("cannot take a lease for a machine: {error}").into()),
        };
        Ok(Begun { plan, lease, clock: Clock { making, began: Instant::now() } })
    }

    /// None where the result has been delivered, and the machine stayed.
    fn go_on(&self, begun: Begun) -> Option<TrialResult> {
        let Begun { plan, lease, clock } = begun;
        let ready = self.ready;
        let infra = |reason: String| ready.result(Verdict::Infra, Some(reason));
        // Written first: a start without a result means that the harness was killed or panicked.
        let mut begun = infra("it began, and the harness ended before its result".into());
        begun.attempts = self.before.to_vec();
        self.ledger.note(begun);
        progress::trial_begins(ready.name());
        let dir = ready.dir();
        // Also for a trial that can't be planned: what an earlier run left there is not its own.
        let made = if self.before.is_empty() { fresh(&dir) } else { Ok(()) };
        let result = match (made, plan) {
            (Ok(()), Ok(plan)) => self.in_the_lab(&plan, &lease, clock)?,
            (Ok(()), Err(error)) if error.is_no_fault() => ready.result(Verdict::Skipped, Some(error.to_string())),
            (Ok(()), Err(error)) => infra(error.to_string()),
            (Err(error), _) => infra(format!("cannot make {} anew: {error}", dir.display())),
        };
        drop(lease);
        Some(complete(ready, result, clock))
    }

    fn claim(&self) -> lease::Claim {
        lease::Claim { jobs: self.jobs, machines: self.ready.machines(), memory_mib: self.ready.memory_mib() }
    }

    fn in_the_lab(&self, plan: &Plan, lease: &Lease, clock: Clock) -> Option<TrialResult> {
        let ready = self.ready;
        let dir = ready.dir();
        let infra = |reason: String| ready.result(Verdict::Infra, Some(reason));
        // Two threads: one for this trial's own steps, which also owns QEMU, and one for its servers and streams.
        let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return Some(infra(format!("cannot start the trial's event loop: {error}"))),
        };
        let break_at = ready.options.break_at.as_ref();
        if plan.members.is_some() && (ready.options.keep != Keep::Never || break_at.is_some()) {
            let name = &ready.name;
            progress::tell(&format!(
                "{name} has several nodes: none of them is kept or stopped, and nobody can come in"
            ));
        }
        let host =
            Host { acceleration: &ready.acceleration, workshop: &ready.workshop, tell: &progress::tell, break_at };
        let origin = match lab::origin(plan, &host, interrupt::wait) {
            Ok(origin) => origin,
            Err(lab::Error::Interrupted) => {
                return Some(ready.result(Verdict::Skipped, Some("interrupted".into())));
            }
            Err(error) => return Some(infra(error.to_string())),
        };
        let keeper = TrialKeeper { performance: self, lease, clock, start: origin.start(), over: Notify::new() };
        let outcome = runtime.block_on(async {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let follower = async {
                if let Ok(bus) = receiver.await {
                    tokio::select! {
                        () = follow(&bus, &ready.name, plan) => {}
                        () = keeper.over.notified() => {}
                    }
                }
                std::future::pending::<()>().await;
            };
            let watch = |bus: &Bus| drop(sender.send(bus.clone()));
            let trial = lab::run(plan, &origin, &host, &dir, &keeper, watch, interrupt::wait());
            tokio::select! {
                outcome = trial => outcome,
                () = follower => Err(lab::Error::Interrupted),
            }
        });
        let result = match outcome {
            Ok(Some(timeline)) => judged(ready, &timeline),
            // Delivered when it was kept.
            Ok(None) => return None,
            Err(_) if keeper.has_delivered() => return None,
            Err(lab::Error::Interrupted) => ready.result(Verdict::Skipped, Some("interrupted".into())),
            Err(error) => infra(error.to_string()),
        };
        Some(with_origin(result, origin.start(), dir))
    }
}

/// Shows how far a trial is: a line for each node, and one for each step of several.
async fn follow(bus: &Bus, name: &str, plan: &Plan) {
    let Some(pool) = &plan.members else {
        return progress::follow(bus.clone(), name.to_owned(), plan.scenario.spec.boots.len()).await;
    };
    let of_member = |member: &lab::MemberPlan| {
        let (bus, boots) = (bus.of_node(&member.name), member.plan.scenario.spec.boots.len());
        progress::follow(bus, format!("{name} {}", member.name), boots)
    };
    let steps = progress::follow_steps(bus.clone(), name.to_owned());
    futures::future::join(steps, futures::future::join_all(pool.members.iter().map(of_member))).await;
}

/// A trial that may start its machine.
struct Begun {
    plan: Result<Plan, PlanError>,
    lease: Lease,
    clock: Clock,
}

/// How long a trial takes.
#[derive(Clone, Copy)]
struct Clock {
    making: Duration,
    began: Instant,
}

/// Keeps the machine of one trial, where the run wants that and the host has room.
struct TrialKeeper<'k> {
    performance: &'k Performance<'k>,
    lease: &'k Lease,
    clock: Clock,
    start: Start,
    /// Nothing more is to be told of the trial's progress.
    over: Notify,
}

impl TrialKeeper<'_> {
    /// A result is delivered once, and what happens to the machine after it changes nothing.
    fn has_delivered(&self) -> bool {
        self.performance.delivered.load(Ordering::SeqCst)
    }

    /// The machine idles from here on.
    fn idles(&self, others: bool) -> bool {
        let idle = self.lease.idle(self.performance.claim(), others);
        idle.inspect_err(|error| progress::tell(&format!("the lease of a kept machine can't be changed: {error}")))
            .unwrap_or(false)
    }
}

impl Keeper for TrialKeeper<'_> {
    fn keeps(&self, timeline: &Timeline) -> bool {
        let ready = self.performance.ready;
        if !ready.options.keep.wants(judged(ready, timeline).is_red()) {
            return false;
        }
        let room = self.idles(self.performance.kept.are_more_to_come());
        if !room {
            progress::tell(&format!("{} is not kept: trials to come need the host's memory", ready.name));
        }
        room
    }

    fn kept(&self, timeline: Timeline) {
        // A person may have come unasked: then it stays, whatever room there is.
        self.idles(false);
        self.over.notify_one();
        let ready = self.performance.ready;
        let result = with_origin(judged(ready, &timeline), self.start, ready.dir());
        let result = complete(ready, result, self.clock);
        self.performance.delivered.store(true, Ordering::SeqCst);
        let _ = self.performance.sender.send(Ok((result, true)));
    }
}

fn with_origin(mut result: TrialResult, start: Start, dir: PathBuf) -> TrialResult {
    result.start = start.to_string();
    result.dir = Some(dir);
    result
}

/// Tells, once in a run, that others have what this host carries.
fn tell_of_wait(leases: &Path) {
    static TOLD: Once = Once::new();
    if lease::own() > 0 {
        return;
    }
    TOLD.call_once(|| {
        let others = lease::count(leases).map_or_else(|_| "machines".into(), |count| number(count, "machine"));
        progress::tell(&format!(
            "waiting: others have {others} on this host, and no more fit, by its memory and --jobs"
        ));
    });
}

/// With what is known of a trial only when it is over; it is in its directory then.
fn complete(ready: &Ready, mut result: TrialResult, clock: Clock) -> TrialResult {
    result.seconds = (clock.making + clock.began.elapsed()).as_secs_f64();
    if let Err(error) = write(&result, &ready.dir()) {
        result.verdict = Verdict::Infra;
        result.reason = Some(format!("its result can't be written: {error}"));
    }
    result
}

fn judged(ready: &Ready, timeline: &Timeline) -> TrialResult {
    let judgement = checks::judge(&ready.draft.scenario, timeline);
    let mut result = ready.result(judgement.verdict, None);
    result.phases = report::phases(timeline);
    result.restore_ms = timeline.started().and_then(|started| started.restore_ms);
    result.findings = judgement.findings;
    result.set_aside = judgement.set_aside;
    result.mutant = ready.mutant.as_ref().map(|mutant| {
        MutantResult::new(&mutant.says, &mutant.caught_by, &mutant.passes, result.verdict, &result.findings)
    });
    result
}

/// An empty directory, in the place of what an earlier run left.
fn fresh(dir: &Path) -> std::io::Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)
}

fn write(result: &TrialResult, dir: &Path) -> std::io::Result<()> {
    fs::write(dir.join(lab::files::RESULT), serde_json::to_vec_pretty(result)?)
}
