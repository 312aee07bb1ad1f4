//! The results of a run while it goes on.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

use anyhow::Result;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

use super::selection::Planned;
use super::{prepare, trial};
use crate::checks::Verdict;
use crate::report::{Cpu, Host, Part, RESULTS_VERSION, RunResults, TrialResult};
use crate::text::with_causes;

/// The run's results, on disk from its start: a run that is killed leaves what it knew.
pub(super) struct Ledger {
    /// None for one trial of nextest's, whose runs have results of their own.
    pub(super) dir: Option<PathBuf>,
    began: Instant,
    started: String,
    /// By the trials' names.
    results: Mutex<BTreeMap<String, TrialResult>>,
    part: Option<Part>,
    pub(super) host: OnceLock<Host>,
    pub(super) jobs: AtomicUsize,
}

impl Ledger {
    /// Of a run whose results go to `dir`, where they go anywhere, before any of its trials has begun.
    pub(super) fn new(dir: Option<PathBuf>, part: Option<Part>, planned: &[Planned]) -> Self {
        let results = planned.iter().map(|one| (one.name.clone(), trial::never_ran(one))).collect();
        Self {
            dir,
            began: Instant::now(),
            started: now(),
            results: Mutex::new(results),
            part,
            host: OnceLock::new(),
            jobs: AtomicUsize::new(0),
        }
    }

    /// Puts a result in the place of an earlier one of the same trial, here and on disk.
    pub(super) fn note(&self, result: TrialResult) {
        self.put(result);
        // Should this fail, the run's last writing does too, and tells.
        let _ = self.write();
    }

    fn put(&self, result: TrialResult) {
        self.results.lock().unwrap_or_else(PoisonError::into_inner).insert(result.trial.clone(), result);
    }

    pub(super) fn now(&self) -> RunResults {
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

    pub(super) fn write(&self) -> Result<()> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        self.dir.as_deref().map_or(Ok(()), |dir| Ok(self.now().write(dir)?))
    }

    /// Every trial gets the reason why none could begin.
    pub(super) fn nothing_ran(&self, planned: &[Planned], error: &anyhow::Error) -> Result<()> {
        let bad_input = error.downcast_ref::<prepare::BadInput>().is_some();
        for one in planned {
            let mut result = trial::never_ran(one);
            if !bad_input {
                result.verdict = Verdict::Infra;
            }
            result.reason = Some(format!("never ran: {}", with_causes(error.as_ref())));
            self.put(result);
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

/// Under cargo-nextest each trial is a process of its own; each then has only its own directory to write.
pub(super) fn is_one_of_nextest() -> bool {
    std::env::var_os("NEXTEST").is_some()
}

#[cfg(test)]
pub(super) mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::scenario::Scenario;

    pub(in crate::runner) fn ledger(dir: &Path) -> (Ledger, Vec<Planned>) {
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
        (Ledger::new(Some(dir.to_owned()), None, &planned), planned)
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

    #[test]
    fn what_is_noted_is_on_disk_at_once() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (ledger, planned) = ledger(dir.path());
        let begun = TrialResult::new(&planned[0].name, Path::new("x"), Verdict::Infra, Some("it began".into()));
        ledger.note(begun.clone());
        assert_eq!(RunResults::read(dir.path()).expect("results").trials, [begun]);
    }
}
