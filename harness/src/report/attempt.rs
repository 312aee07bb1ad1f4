//! A trial that ran more than once.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::TrialResult;
use crate::checks::{Finding, Verdict};

/// A run of a trial that its verdict is not about: another one of the same trial's was told in its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// Which run of the trial it was, from 1. The number that is missing is that of the run that the result is about.
    pub number: u32,
    /// What it came to.
    pub verdict: Verdict,
    /// Why, where the findings don't say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// From the first preparation to the end of the machine, in seconds.
    #[schemars(range(min = 0))]
    pub seconds: f64,
    /// Where its node began; empty if it had none.
    pub start: String,
    /// Directory with its files, below the trial's.
    pub dir: String,
    /// What the checks found.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

impl Attempt {
    /// An attempt that another one is told in the place of.
    pub fn new(number: u32, result: &TrialResult) -> Self {
        Self {
            number,
            verdict: result.verdict,
            reason: result.reason.clone(),
            seconds: result.seconds,
            start: result.start.clone(),
            dir: Self::dir_of(number),
            findings: result.findings.clone(),
        }
    }

    /// Directory of an attempt's files, below the trial's.
    pub fn dir_of(number: u32) -> String {
        format!("attempt-{number}")
    }
}

/// Which of several runs of a trial its result is about, by their verdicts: the last that passed; else the last failure, for it
/// is evidence that no loss of another run takes back. None of none.
pub(crate) fn told(verdicts: impl IntoIterator<Item = Verdict>) -> Option<usize> {
    let weight = |verdict| match verdict {
        Verdict::Pass | Verdict::Flaky => 4,
        Verdict::Fail => 3,
        Verdict::Inconclusive => 2,
        Verdict::Infra => 1,
        Verdict::Skipped => 0,
    };
    verdicts.into_iter().enumerate().max_by_key(|(_, verdict)| weight(*verdict)).map(|(index, _)| index)
}
