//! `results.json`: every planned trial with its verdict and findings.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Phase;
use crate::checks::{Finding, SetAside, Verdict};

/// Version of the shape of `results.json`.
pub const RESULTS_VERSION: u32 = 1;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// [`RESULTS_VERSION`].
    pub version: u32,
    /// Version of this program.
    pub day1: String,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// What it ran on.
    pub host: Host,
    /// How many trials ran at once at most; 0 for a run in which none began.
    #[serde(default)]
    pub jobs: usize,
    /// Seconds of processor time that it took so far.
    #[serde(default)]
    pub cpu: Cpu,
    /// Every planned trial, also those that never ran, in the order of their names.
    pub trials: Vec<TrialResult>,
}

/// Seconds of processor time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Of the harness itself.
    pub harness_s: f64,
    /// Of the programs that it started and that have ended: QEMU, and what makes its disks.
    pub children_s: f64,
}

/// What a run ran on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Cores that the run could use.
    pub cores: usize,
    /// Accelerator of the machines, `kvm` or `tcg`, with the reason, by node image.
    pub acceleration: std::collections::BTreeMap<String, String>,
    /// By how much deadlines were stretched for this host, by node image.
    pub deadline_factor: std::collections::BTreeMap<String, f64>,
}

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// From the first preparation to the end of the machine, in seconds.
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
}

impl TrialResult {
    /// A result that nothing was found for.
    pub fn new(trial: &str, scenario: &Path, verdict: Verdict, reason: Option<String>) -> Self {
        Self {
            trial: trial.to_owned(),
            scenario: scenario.to_owned(),
            verdict,
            reason,
            seconds: 0.0,
            start: String::new(),
            restore_ms: None,
            dir: None,
            phases: Vec::new(),
            findings: Vec::new(),
            set_aside: Vec::new(),
        }
    }
}

impl RunResults {
    /// 0 all passed, 1 a check failed, 3 the harness's side failed or
    /// evidence is missing.
    pub fn exit_code(&self) -> u8 {
        Self::exit_code_of(&self.trials)
    }

    /// The same for some trials.
    pub fn exit_code_of(trials: &[TrialResult]) -> u8 {
        let any = |wanted: &[Verdict]| trials.iter().any(|trial| wanted.contains(&trial.verdict));
        if any(&[Verdict::Fail]) {
            1
        } else if any(&[Verdict::Infra, Verdict::Inconclusive]) {
            3
        } else {
            0
        }
    }
}
