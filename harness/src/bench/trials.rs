//! The trial and the suite, as a user runs them: by the `day1` program, judged by what it writes.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;

use super::{Bench, TRIAL};
use crate::checks::{Outcome, Verdict};
use crate::process;
use crate::report::{Cpu, Phase, RunResults};
use crate::scenario::Start;

/// One run of the trial.
#[derive(Debug, Clone, Serialize)]
pub struct TrialTime {
    /// `cold`, `template` or `pulled`.
    pub start: String,
    /// Seconds from the trial's first preparation to its verdict.
    pub seconds: f64,
    /// Seconds from the program's start to its end.
    pub run_s: f64,
    /// Milliseconds that QEMU took to have the template's state.
    pub restore_ms: Option<f64>,
    /// Processor time.
    pub cpu: Cpu,
    /// Where the time went.
    pub phases: Vec<Phase>,
    /// What the checks found: boot, check and outcome, in this order.
    pub findings: Vec<(Option<u32>, String, Outcome)>,
}

impl TrialTime {
    /// Refuses a trial whose findings are others than this one's: it is another trial then, and no time of it counts.
    pub(super) fn same_findings(&self, other: &Self) -> Result<()> {
        let only = |mine: &Self, others: &Self| {
            let missing = mine.findings.iter().find(|finding| !others.findings.contains(finding));
            missing.map(|(boot, check, outcome)| {
                let boot = boot.map(|boot| format!(" in boot {boot}")).unwrap_or_default();
                format!("only the start from `{}` found {check}{boot}: {outcome:?}", mine.start)
            })
        };
        match only(self, other).or_else(|| only(other, self)) {
            None => Ok(()),
            Some(which) => bail!(
                "{TRIAL} began with `{}` and with `{}`, and its findings differ: {which}",
                self.start,
                other.start
            ),
        }
    }
}

/// One run of the whole suite.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Suite {
    /// How many jobs were asked for; none for as many as fit.
    pub asked_jobs: Option<usize>,
    /// How many trials ran at the same time at most.
    pub jobs: usize,
    /// How many trials there were; all passed.
    pub trials: usize,
    /// Seconds from the first trial's preparation to the last one's verdict.
    pub seconds: f64,
    /// Processor time.
    pub cpu: Cpu,
}

impl Bench<'_> {
    /// Runs the trial once.
    pub(super) fn trial(&self, start: Start) -> Result<TrialTime> {
        let (results, run_s) = self.day1_run(&[TRIAL.into(), format!("--start={start}")])?;
        let [trial] = results.trials.as_slice() else {
            bail!("{TRIAL} selects {} trials where one was expected", results.trials.len());
        };
        if trial.start != start.as_str() {
            bail!("{} began with `{}` though `{start}` was asked for", trial.trial, trial.start);
        }
        Ok(TrialTime {
            start: trial.start.clone(),
            seconds: trial.seconds,
            run_s,
            restore_ms: trial.restore_ms,
            cpu: results.cpu,
            phases: trial.phases.clone(),
            findings: trial.findings.iter().map(|one| (one.boot, one.check.clone(), one.outcome)).collect(),
        })
    }

    /// Runs all trials.
    pub(super) fn suite(&self, jobs: Option<usize>) -> Result<Suite> {
        let arguments: Vec<String> = jobs.map(|jobs| format!("--jobs={jobs}")).into_iter().collect();
        let (results, _) = self.day1_run(&arguments)?;
        Ok(Suite {
            asked_jobs: jobs,
            jobs: results.jobs,
            trials: results.trials.len(),
            seconds: results.seconds,
            cpu: results.cpu,
        })
    }

    /// Runs `day1 run`; every trial must pass. Gives its results, and its time from start to end.
    fn day1_run(&self, arguments: &[String]) -> Result<(RunResults, f64)> {
        let dir = tempfile::Builder::new().prefix("bench-").tempdir_in(&self.workshop.scratch)?;
        let options = self.options;
        let mut command = Command::new(&options.day1);
        command.arg("--cache").arg(self.workshop.cache.root()).arg("run").args(["--node", &options.node]);
        command.arg("--scenarios").arg(&options.scenarios).arg("--vm-images").arg(&options.vm_images);
        command.arg("--results").arg(dir.path()).args(arguments);
        command.stdin(Stdio::null()).env_remove("DAY1_JOBS").env_remove("DAY1_START");
        let began = Instant::now();
        let told = process::output(&mut command);
        let seconds = began.elapsed().as_secs_f64();
        told.context("a trial that is measured must pass")?;
        let results = read(&dir.path().join("results.json"))?;
        if let Some(bad) = results.trials.iter().find(|trial| trial.verdict != Verdict::Pass) {
            bail!("{} did not pass, so its time means nothing", bad.trial);
        }
        Ok((results, seconds))
    }
}

fn read(path: &Path) -> Result<RunResults> {
    let text = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("cannot understand {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_that_finds_something_else_is_refused() {
        let trial = |start: &str, checks: &[&str]| TrialTime {
            start: start.into(),
            seconds: 1.0,
            run_s: 1.0,
            restore_ms: None,
            cpu: Cpu::default(),
            phases: Vec::new(),
            findings: checks.iter().map(|check| (Some(2), (*check).to_owned(), Outcome::Pass)).collect(),
        };
        let cold = trial("cold", &["unit.before", "nic.driver"]);
        assert!(cold.same_findings(&trial("template", &["nic.driver", "unit.before"])).is_ok());
        for other in
            [trial("template", &["unit.before"]), trial("template", &["unit.before", "nic.driver", "evidence"])]
        {
            let error = cold.same_findings(&other).expect_err("other findings").to_string();
            assert!(error.contains("`cold`") && error.contains("`template`") && error.contains("boot 2"), "{error}");
        }
    }
}
