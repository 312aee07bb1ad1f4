//! Checks: pure functions from a scenario and a timeline to findings, and from findings to a verdict.
//!
//! No evidence, no pass: a check whose evidence is absent says [`Outcome::Inconclusive`]. A check says
//! [`Outcome::Fail`] only on evidence that speaks against the expectation, so that lost evidence can't turn a
//! trial red; that is why a failure stands even where other evidence is missing. See [`Verdict`] for the
//! exceptions.

mod boot;
mod budget;
mod config;
mod evidence;
mod explain;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod happened;
mod image;
mod journal;
mod judge;
mod kernel;
mod leftovers;
mod module;
mod nic;
mod obstacle;
mod ordering;
pub(crate) mod pool;
mod ready;
mod reboot;
mod units;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use boot::{resolve, step_label};
pub use explain::{ALL, Asked, Explanation, explain, page, pattern};
pub use journal::{BAD_PATTERNS, BadPattern, Where, bad_pattern};
pub use judge::{Judgement, SetAside, judge};
pub use ordering::{Guarantee, guarantee};
pub use pool::{NodeTold, StepTold, Stretch, steps_told, stretches};
pub use reboot::{BootEnd, boot_ends, is_shutdown};

use crate::timeline::Event;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// The expectation holds, and there is evidence for it.
    Pass,
    /// There is evidence against it.
    Fail,
    /// The evidence is missing.
    Inconclusive,
}

/// A place in the timeline that a finding rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// The event's number in the timeline.
    pub seq: u64,
    /// What it shows, for a person.
    pub text: String,
}

impl Evidence {
    fn new(event: &Event, text: impl Into<String>) -> Self {
        Self { seq: event.seq, text: text.into() }
    }
}

/// One thing that one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The check's id, such as `unit.before`.
    pub check: String,
    /// Of a trial with several nodes: the one it is about; absent for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The boot it is about, from 1; absent for the whole trial.
    pub boot: Option<u32>,
    /// What was found.
    pub outcome: Outcome,
    /// One line for a person.
    pub message: String,
    /// Where to look.
    pub evidence: Vec<Evidence>,
    /// What to do about it.
    pub advice: Option<String>,
}

impl Finding {
    fn new(check: &str, boot: Option<u32>, outcome: Outcome, message: impl Into<String>) -> Self {
        debug_assert!(explain(check).is_some(), "`{check}` has no text in checks/explain/table.rs");
        let message = message.into();
        Self { check: check.to_owned(), node: None, boot, outcome, message, evidence: vec![], advice: None }
    }

    fn pass(check: &str, boot: impl Into<Option<u32>>, message: impl Into<String>) -> Self {
        Self::new(check, boot.into(), Outcome::Pass, message)
    }

    fn fail(check: &str, boot: impl Into<Option<u32>>, message: impl Into<String>) -> Self {
        Self::new(check, boot.into(), Outcome::Fail, message)
    }

    fn inconclusive(check: &str, boot: impl Into<Option<u32>>, message: impl Into<String>) -> Self {
        Self::new(check, boot.into(), Outcome::Inconclusive, message)
    }

    fn seen(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    fn on(mut self, node: &str) -> Self {
        self.node = Some(node.to_owned());
        self
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

/// What a trial's findings come to. The first of these that applies:
///
/// 1. `Infra`: QEMU ended and neither the harness nor the guest asked for it.
/// 2. `Inconclusive`: the witnesses of the boots contradict each other, so that nothing can be trusted to have
///    happened in the boot that it is filed under; a failure is not told then either.
/// 3. `Infra`: the machine stood still in a boot, by the kernel's own word and before any out-of-tree module was in
///    it, and no earlier boot failed.
/// 4. `Fail`: a check found evidence against an expectation.
/// 5. `Inconclusive`: evidence is missing.
/// 6. `Pass`.
///
/// `Flaky`, and `Infra` and `Skipped` for trials without a timeline, are the runner's to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything was shown.
    Pass,
    /// Something was shown to be otherwise.
    Fail,
    /// It failed, and passed when it was run again.
    Flaky,
    /// Evidence is missing.
    Inconclusive,
    /// The harness's side broke.
    Infra,
    /// It did not run.
    Skipped,
}

/// A span of time for a person.
fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{} ms", us / 1_000),
        _ => format!("{}.{} s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// A moment of a boot for a person. Guests say it so too: `dmesg`, and `journalctl -o short-monotonic`.
fn moment(us: u64) -> String {
    format!("{}.{:03} s of the kernel's clock", us / 1_000_000, us % 1_000_000 / 1_000)
}
