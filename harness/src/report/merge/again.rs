//! A trial whose shard was run several times.

use std::path::PathBuf;

use crate::checks::Verdict;
use crate::report::TrialResult;

/// What one run of a shard says of a trial.
pub(super) struct Result {
    pub(super) result: TrialResult,
    pub(super) dir: PathBuf,
    pub(super) started: String,
}

/// Whether it shows anything of what is under test.
fn shows_something(result: &TrialResult) -> bool {
    matches!(result.verdict, Verdict::Pass | Verdict::Fail | Verdict::Flaky)
}

/// Of a trial's results, first to last, the one that counts: the last that shows anything; but what both failed and passed
/// has not passed.
pub(super) fn decide(results: Vec<Result>) -> Option<Result> {
    results.into_iter().reduce(|before, after| {
        match (shows_something(&before.result), shows_something(&after.result)) {
            (true, false) => before,
            (true, true) if before.result.is_red() != after.result.is_red() => flaky(before, after),
            // Once flaky, it stays that.
            (true, true) if before.result.verdict == Verdict::Flaky => before,
            _ => after,
        }
    })
}

/// The result that failed, which has something to look into, as flaky.
fn flaky(before: Result, after: Result) -> Result {
    let (mut failed, passed) = if before.result.is_red() { (before, after) } else { (after, before) };
    // A mutant is held against what had to come of it, not against its verdict: it stays as it is, red.
    if failed.result.mutant.is_none() {
        let (in_one, in_other) = (&failed.started, &passed.started);
        failed.result.reason = Some(format!("it failed in the run of {in_one}, and passed in that of {in_other}"));
        failed.result.verdict = Verdict::Flaky;
    }
    failed
}
