//! `results.json`: every planned trial with its verdict and findings.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attempt, Part, Phase, Shard, Snoozed};
use crate::checks::{Finding, Outcome, SetAside, Verdict};

/// Version of the shape of `results.json`, which `docs/schema` describes. It is raised when something is taken away, is
/// renamed or means something else; what is only added leaves it as it is, for readers pass over what they don't know.
pub const RESULTS_VERSION: u32 = 1;

/// Nothing takes so long: a century.
const MOST_SECONDS: f64 = 100.0 * 366.0 * 24.0 * 3600.0;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResults {
    /// The version of this shape.
    #[schemars(extend("const" = RESULTS_VERSION))]
    pub version: u32,
    /// Version of this program.
    pub day1: String,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// How long it took, in seconds.
    #[schemars(range(min = 0))]
    pub seconds: f64,
    /// What it ran on.
    pub host: Host,
    /// How many trials ran at once at most; 0 for a run in which none began.
    #[serde(default)]
    pub jobs: usize,
    /// Seconds of processor time that it took so far.
    #[serde(default)]
    pub cpu: Cpu,
    /// Which part of which plan it is; none for trials that `cargo test` chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<Part>,
    /// The parts that these results were joined from; empty for a run's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shards: Vec<Shard>,
    /// Every planned trial, also those that never ran, in the order of their names.
    pub trials: Vec<TrialResult>,
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cpu {
    /// Of the harness itself.
    pub harness_s: f64,
    /// Of the programs that it started and that have ended: QEMU, and what makes its disks.
    pub children_s: f64,
}

/// What a run ran on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Cores that the run could use.
    pub cores: usize,
    /// The registry behind the gateway: `embedded`, or `container IMAGE (IMAGE-ID)`.
    #[serde(default)]
    pub registry: String,
    /// Accelerator of the machines, `kvm` or `tcg`, with the reason, by node image.
    pub acceleration: std::collections::BTreeMap<String, String>,
    /// By how much deadlines were stretched for this host, by node image.
    pub deadline_factor: std::collections::BTreeMap<String, f64>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TrialResult {
    /// `family/scenario@node-image`.
    pub trial: String,
    /// The scenario's file.
    pub scenario: PathBuf,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, where the findings don't say it: the harness's own failure, or why it was skipped or never ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it was planned and did not begin.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub never_ran: bool,
    /// From the first preparation to the end of the machine, in seconds.
    #[schemars(range(min = 0))]
    pub seconds: f64,
    /// Where its node began: `cold` at power-on, `template` in its first boot's initramfs, `pulled` after its first
    /// boot. Empty for a trial that never ran.
    pub start: String,
    /// Milliseconds that QEMU took to have the template's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_ms: Option<f64>,
    /// Directory with `timeline.jsonl`, `console.log`, the rendered config and the scenario.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
    /// Where the time went.
    #[serde(default)]
    pub phases: Vec<Phase>,
    /// What the checks found.
    #[serde(default)]
    pub findings: Vec<Finding>,
    /// What the scenario does without.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub set_aside: Vec<SetAside>,
    /// The trial's other runs, if it ran more than once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// Whether the run takes a flaky trial for a good one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub flaky_ok: bool,
    /// Of a trial that is known to fail: what came of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed: Option<Snoozed>,
    /// Of a mutant: whether it was caught. Such a trial is held against that, not against its verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mutant: Option<MutantResult>,
}

/// What became of a mutant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MutantResult {
    /// What is wrong with it, or merely different.
    pub says: String,
    /// The checks that had to fail; none for a harmless one.
    pub caught_by: Vec<String>,
    /// What came of it.
    pub outcome: MutantOutcome,
}

/// What came of a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MutantOutcome {
    /// It is faulty, and each check that had to fail did.
    Caught,
    /// It is faulty, and a check that had to fail did not.
    Missed,
    /// It is harmless, and passed.
    Passed,
    /// It is harmless, and failed.
    FalseAlarm,
    /// The harness's side failed, or evidence was missing.
    Unclear,
}

impl MutantResult {
    /// What came of a mutant whose trial has this verdict and these findings. Each check of `passes` has to pass where it
    /// judged anything, and none may lack its evidence.
    pub fn new(says: &str, caught_by: &[String], passes: &[String], verdict: Verdict, findings: &[Finding]) -> Self {
        let outcomes = |check: &String| -> Vec<Outcome> {
            findings.iter().filter(|finding| finding.check == *check).map(|finding| finding.outcome).collect()
        };
        let fails = |check: &String| outcomes(check).contains(&Outcome::Fail);
        let good = |check: &String| {
            let outcomes = outcomes(check);
            !outcomes.is_empty() && outcomes.iter().all(|outcome| *outcome == Outcome::Pass)
        };
        let outcome = match (caught_by.is_empty(), verdict) {
            (_, Verdict::Infra | Verdict::Inconclusive | Verdict::Skipped) => MutantOutcome::Unclear,
            // It failed before it came to its fault.
            (false, Verdict::Fail) if !passes.iter().all(good) => MutantOutcome::Unclear,
            (false, Verdict::Fail) if caught_by.iter().all(fails) => MutantOutcome::Caught,
            (false, _) => MutantOutcome::Missed,
            (true, Verdict::Pass) => MutantOutcome::Passed,
            (true, _) => MutantOutcome::FalseAlarm,
        };
        Self { says: says.to_owned(), caught_by: caught_by.to_vec(), outcome }
    }

    /// Whether it is as it must be.
    pub fn is_good(&self) -> bool {
        matches!(self.outcome, MutantOutcome::Caught | MutantOutcome::Passed)
    }
}

/// The findings that did not pass: first those that the verdict rests on, and of each boot before those of the next and of
/// the whole trial, for what went wrong first explains most.
pub(super) fn wrong(verdict: Verdict, findings: &[Finding]) -> Vec<&Finding> {
    // What failed in a trial whose evidence can't be trusted has proven nothing.
    let telling = if verdict == Verdict::Fail { Outcome::Fail } else { Outcome::Inconclusive };
    let rank = |finding: &&Finding| (finding.outcome != telling, finding.boot.unwrap_or(u32::MAX));
    let mut wrong: Vec<&Finding> = findings.iter().filter(|finding| finding.outcome != Outcome::Pass).collect();
    wrong.sort_by_key(rank);
    wrong
}

impl TrialResult {
    /// A result that nothing was found for.
    pub fn new(trial: &str, scenario: &Path, verdict: Verdict, reason: Option<String>) -> Self {
        Self {
            trial: trial.to_owned(),
            scenario: scenario.to_owned(),
            verdict,
            reason,
            never_ran: false,
            seconds: 0.0,
            start: String::new(),
            restore_ms: None,
            dir: None,
            phases: Vec::new(),
            findings: Vec::new(),
            set_aside: Vec::new(),
            attempts: Vec::new(),
            flaky_ok: false,
            snoozed: None,
            mutant: None,
        }
    }

    /// 0 as it must be, 1 not, 3 the harness's side failed or evidence is missing.
    fn exit_code(&self) -> u8 {
        match (&self.mutant, self.verdict) {
            // Nothing is known of it: no pass without evidence.
            _ if self.never_ran => 3,
            (Some(mutant), _) if mutant.is_good() => 0,
            (Some(mutant), _) if mutant.outcome == MutantOutcome::Unclear => 3,
            (Some(_), _) => 1,
            (None, Verdict::Fail | Verdict::Flaky) if self.is_snoozed() => 0,
            (None, Verdict::Fail) => 1,
            (None, Verdict::Flaky) if self.flaky_ok => 0,
            // What only the harness lost is no fault of the node's.
            (None, Verdict::Flaky) if self.attempts.iter().any(|one| one.verdict == Verdict::Fail) => 1,
            (None, Verdict::Infra | Verdict::Inconclusive | Verdict::Flaky) => 3,
            (None, Verdict::Pass | Verdict::Skipped) => 0,
        }
    }

    /// Whether it fails as it is known to, which is not counted.
    pub fn is_snoozed(&self) -> bool {
        self.snoozed.as_ref().is_some_and(Snoozed::holds)
    }

    /// Whether the trial is red.
    pub fn is_red(&self) -> bool {
        self.exit_code() != 0
    }
}

#[derive(Deserialize)]
struct Versioned {
    version: Option<u64>,
}

/// Why a run's results can't be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct WriteResultsError {
    path: PathBuf,
    source: std::io::Error,
}

/// Why a run's results can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadResultsError {
    /// The file can't be read.
    #[error("cannot read {path}: {source}; is this the directory of a run, as `day1 run --results` names it?")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what a run writes.
    #[error("{path}: not the results of a run: {source}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// No run is like that.
    #[error("{path}: not the results of a run: {what}")]
    Unsound {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Another version of this program wrote it.
    #[error("{path} has version {found} of its shape, and this program reads version {RESULTS_VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// The version that it has.
        found: u64,
    },
}

impl RunResults {
    /// Name of the file in a run's directory.
    pub const FILE: &str = "results.json";

    /// Reads the results of a run from its directory.
    pub fn read(dir: &Path) -> Result<Self, ReadResultsError> {
        let path = dir.join(Self::FILE);
        let bytes = std::fs::read(&path).map_err(|source| ReadResultsError::Io { path: path.clone(), source })?;
        let shape = |source| ReadResultsError::Shape { path: path.clone(), source };
        // The version first: what another version holds is not this one's to call wrong.
        match serde_json::from_slice(&bytes).map_err(shape)? {
            Versioned { version: Some(found) } if found != u64::from(RESULTS_VERSION) => {
                Err(ReadResultsError::Version { path, found })
            }
            _ => {
                let mut results: Self = serde_json::from_slice(&bytes).map_err(shape)?;
                results.sound().map_err(|what| ReadResultsError::Unsound { path: path.clone(), what })?;
                // A run may have been moved, as CI's artifacts are.
                for trial in results.trials.iter_mut().filter(|trial| trial.dir.is_some()) {
                    let own = dir.join(&trial.trial);
                    if own.is_dir() {
                        trial.dir = Some(own);
                    }
                }
                Ok(results)
            }
        }
    }

    /// What is wrong with results that have the right shape: a file may be damaged, or made by hand.
    fn sound(&self) -> Result<(), String> {
        let attempts = |trial: &TrialResult| trial.attempts.iter().map(|one| one.seconds).collect::<Vec<_>>();
        let trials = self.trials.iter().flat_map(|trial| std::iter::once(trial.seconds).chain(attempts(trial)));
        if let Some(seconds) = trials.chain([self.seconds]).find(|seconds| !(0.0..MOST_SECONDS).contains(seconds)) {
            return Err(format!("something in it took {seconds} s"));
        }
        let mut names: Vec<&str> = self.trials.iter().map(|trial| trial.trial.as_str()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("it has two results of {}", pair[0])),
            None => Ok(()),
        }
    }

    /// Writes them, and the same as JUnit, into a directory; it is made where it is missing.
    pub fn write(&self, dir: &Path) -> Result<(), WriteResultsError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| WriteResultsError { path, source }
        };
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let mut junit = Vec::new();
        super::write_junit(self, dir, &mut junit).map_err(failed(&dir.join(super::JUNIT_FILE)))?;
        let results = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        for (name, bytes) in [(Self::FILE, results.map_err(failed(&dir.join(Self::FILE)))?), (super::JUNIT_FILE, junit)]
        {
            let path = dir.join(name);
            super::write_whole(&path, &bytes).map_err(failed(&path))?;
        }
        Ok(())
    }

    /// 0 all passed, 1 a check failed, 3 the harness's side failed or
    /// evidence is missing.
    pub fn exit_code(&self) -> u8 {
        Self::exit_code_of(&self.trials)
    }

    /// The same for some trials.
    pub fn exit_code_of(trials: &[TrialResult]) -> u8 {
        let codes: Vec<u8> = trials.iter().map(TrialResult::exit_code).collect();
        [1, 3].into_iter().find(|code| codes.contains(code)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn results_are_read_from_a_run_s_directory_and_another_version_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join(RunResults::FILE);
        assert!(matches!(RunResults::read(dir.path()), Err(ReadResultsError::Io { .. })));
        std::fs::write(&path, "{}").expect("written");
        assert!(matches!(RunResults::read(dir.path()), Err(ReadResultsError::Shape { .. })));
        std::fs::write(&path, r#"{"version": 77}"#).expect("written");
        assert!(matches!(RunResults::read(dir.path()), Err(ReadResultsError::Version { found: 77, .. })));
        let trial = TrialResult::new("a/b@c", Path::new("a/b.yaml"), Verdict::Pass, None);
        let results = RunResults {
            version: RESULTS_VERSION,
            day1: "0".into(),
            started: String::new(),
            seconds: 1.0,
            host: Host::default(),
            jobs: 1,
            cpu: Cpu::default(),
            part: None,
            shards: Vec::new(),
            trials: vec![trial],
        };
        std::fs::write(&path, serde_json::to_vec(&results).expect("JSON")).expect("written");
        assert_eq!(RunResults::read(dir.path()).expect("readable"), results);
    }

    #[test]
    fn a_run_that_was_moved_has_its_trials_where_it_is() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fixture::run().write(dir.path()).expect("written");
        let moved = dir.path().join("pull/passed@debian-13");
        std::fs::create_dir_all(&moved).expect("made");
        let results = RunResults::read(dir.path()).expect("readable");
        let of =
            |name: &str| results.trials.iter().find(|trial| trial.trial == name).and_then(|trial| trial.dir.clone());
        assert_eq!(of("pull/passed@debian-13"), Some(moved));
        let there = Path::new("target/day1-results/pull/unclear@debian-13");
        assert_eq!(of("pull/unclear@debian-13").as_deref(), Some(there), "its files are not here");
    }

    #[test]
    fn a_trial_that_never_ran_is_red() {
        let mut result = TrialResult::new("a/b@c", Path::new("a/b.yaml"), Verdict::Skipped, None);
        assert_eq!(RunResults::exit_code_of(std::slice::from_ref(&result)), 0, "it was left out on purpose");
        result.never_ran = true;
        assert_eq!(RunResults::exit_code_of(std::slice::from_ref(&result)), 3);
    }

    fn finding(check: &str, outcome: Outcome) -> Finding {
        let (check, message) = (check.to_owned(), String::new());
        Finding { check, node: None, boot: None, outcome, message, evidence: vec![], advice: None }
    }

    #[test]
    fn a_mutant_is_caught_by_each_check_that_had_to_fail() {
        let findings = [finding("unit.before", Outcome::Fail), finding("nic.driver", Outcome::Pass)];
        let outcome = |caught_by: &[&str], verdict| {
            let caught_by: Vec<String> = caught_by.iter().map(|check| (*check).to_owned()).collect();
            MutantResult::new("x", &caught_by, &[], verdict, &findings).outcome
        };
        assert_eq!(outcome(&["unit.before"], Verdict::Fail), MutantOutcome::Caught);
        assert_eq!(outcome(&["unit.before", "nic.driver"], Verdict::Fail), MutantOutcome::Missed);
        assert_eq!(outcome(&["unit.before"], Verdict::Pass), MutantOutcome::Missed);
        assert_eq!(outcome(&["unit.before"], Verdict::Inconclusive), MutantOutcome::Unclear);
        let caught_by = ["unit.before".to_owned()];
        let with =
            |passes: &str| MutantResult::new("x", &caught_by, &[passes.to_owned()], Verdict::Fail, &findings).outcome;
        assert_eq!(with("nic.driver"), MutantOutcome::Caught);
        assert_eq!(with("unit.before"), MutantOutcome::Unclear);
        assert_eq!(with("boots.count"), MutantOutcome::Unclear, "it judged nothing");
        assert_eq!(outcome(&[], Verdict::Pass), MutantOutcome::Passed);
        assert_eq!(outcome(&[], Verdict::Fail), MutantOutcome::FalseAlarm);
    }

    #[test]
    fn a_mutants_trial_is_held_against_what_had_to_come_of_it() {
        let mut result = TrialResult::new("mutants/a@b", Path::new("x"), Verdict::Fail, None);
        assert_eq!(RunResults::exit_code_of(std::slice::from_ref(&result)), 1);
        let with = |outcome| MutantResult { says: String::new(), caught_by: vec![], outcome };
        for (outcome, code) in [
            (MutantOutcome::Caught, 0),
            (MutantOutcome::Passed, 0),
            (MutantOutcome::Missed, 1),
            (MutantOutcome::FalseAlarm, 1),
            (MutantOutcome::Unclear, 3),
        ] {
            result.mutant = Some(with(outcome));
            assert_eq!(RunResults::exit_code_of(std::slice::from_ref(&result)), code, "{outcome:?}");
        }
    }

    #[test]
    fn a_flaky_trial_is_no_pass_unless_the_run_takes_it_for_one() {
        let code = |change: &dyn Fn(&mut TrialResult)| {
            let mut result = fixture::flaky("a/b@c");
            change(&mut result);
            RunResults::exit_code_of(&[result])
        };
        assert_eq!(code(&|_| ()), 1);
        assert_eq!(code(&|result| result.flaky_ok = true), 0);
        // Of its attempts, only those of the harness's own side failed.
        assert_eq!(code(&|result| result.attempts.retain(|one| one.verdict == Verdict::Infra)), 3);
        let mut failed = TrialResult::new("a/b@c", Path::new("x"), Verdict::Fail, None);
        failed.flaky_ok = true;
        assert_eq!(RunResults::exit_code_of(&[failed]), 1);
    }

    #[test]
    fn a_snooze_that_holds_is_not_counted_and_no_other_one_hides_anything() {
        let run = fixture::run();
        let code = |name: &str| {
            let trial = run.trials.iter().find(|trial| trial.trial.contains(name)).expect("a trial");
            RunResults::exit_code_of(std::slice::from_ref(trial))
        };
        assert_eq!([code("/holds@"), code("/expired@"), code("/passes@"), code("/failed[")], [0, 1, 0, 1]);
        let mut infra = TrialResult::new("a/b@c", Path::new("x"), Verdict::Infra, None);
        infra.snoozed = run.trials.iter().find(|trial| trial.is_snoozed()).and_then(|trial| trial.snoozed.clone());
        assert_eq!(RunResults::exit_code_of(&[infra]), 3, "what the harness lost is never snoozed");
    }

    #[test]
    fn what_went_wrong_first_is_told_first() {
        let at = |check: &str, boot, outcome| Finding { boot, ..finding(check, outcome) };
        let findings = [
            at("config.modes", None, Outcome::Fail),
            at("evidence", Some(1), Outcome::Pass),
            at("unit.before", Some(1), Outcome::Inconclusive),
            at("nic.driver", Some(2), Outcome::Fail),
            at("boots.count", Some(1), Outcome::Fail),
        ];
        let checks =
            |verdict| -> Vec<&str> { wrong(verdict, &findings).iter().map(|finding| finding.check.as_str()).collect() };
        assert_eq!(checks(Verdict::Fail), ["boots.count", "nic.driver", "config.modes", "unit.before"]);
        assert_eq!(checks(Verdict::Infra)[0], "unit.before", "what failed without evidence tells nothing");
    }
}
