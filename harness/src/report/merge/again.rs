//! A trial whose shard was run several times.

use super::files::Place;
use crate::checks::Verdict;
use crate::report::{self, Attempt, SnoozeOutcome, TrialResult};

/// What the runs of a shard say of a trial, with where its files are.
pub(super) struct Result {
    pub(super) result: TrialResult,
    /// In the run that the result is about.
    pub(super) place: Place,
    /// Of the other attempts, in their order.
    pub(super) attempts: Vec<Place>,
}

impl Result {
    /// Of one run.
    pub(super) fn new(result: TrialResult, place: Place) -> Self {
        let attempts = result.attempts.iter().map(|attempt| place.below(&attempt.dir)).collect();
        Self { result, place, attempts }
    }

    /// Every attempt of the run, first to last, each with its files; and the place among them of the one that the
    /// result is about, whose number the others don't have.
    fn unfolded(&self) -> (Vec<(Attempt, Place)>, usize) {
        let mut all: Vec<(Attempt, Place)> =
            self.result.attempts.iter().cloned().zip(self.attempts.iter().cloned()).collect();
        let own = (1..).zip(&all).find(|(number, (attempt, _))| attempt.number != *number);
        let own = own.map_or(all.len(), |(number, _)| number as usize - 1);
        let mut told = Attempt::new(0, &self.result);
        if told.verdict == Verdict::Flaky && !self.result.attempts.is_empty() {
            // Each attempt by itself: this one passed.
            told.verdict = Verdict::Pass;
        }
        all.insert(own, (told, self.place.clone()));
        (all, own)
    }
}

/// What comes of a trial's results, first to last. A run that never began it says nothing, and what the harness lost takes
/// nothing back; but what passed in one run and failed or lacked evidence in another is flaky, as with retries. Every attempt is
/// kept.
pub(super) fn decide(mut results: Vec<Result>) -> Option<Result> {
    if results.iter().any(|one| !one.result.never_ran) {
        results.retain(|one| !one.result.never_ran);
    }
    if results.iter().any(|one| one.result.mutant.is_some()) {
        return results.into_iter().reduce(worse);
    }
    let told = report::told(results.iter().map(|one| one.result.verdict))?;
    let mut all = Vec::new();
    let mut place = 0;
    for (index, one) in results.iter().enumerate() {
        let (unfolded, own) = one.unfolded();
        if index == told {
            place = all.len() + own;
        }
        all.extend(unfolded);
    }
    let known = results.iter().rev().filter(|one| one.result.verdict == Verdict::Fail);
    let known = known.filter_map(|one| one.result.snoozed.clone()).max_by_key(|one| !one.holds());
    let mut joined = results.swap_remove(told);
    all.remove(place);
    let passed = matches!(joined.result.verdict, Verdict::Pass | Verdict::Flaky);
    let not_so = |(attempt, _): &(Attempt, Place)| matches!(attempt.verdict, Verdict::Fail | Verdict::Inconclusive);
    if passed && all.iter().any(not_so) {
        joined.result.verdict = Verdict::Flaky;
        // What is known of the failure counts, not that it was not there once.
        if joined.result.snoozed.as_ref().is_some_and(|one| one.outcome == SnoozeOutcome::Passes) {
            joined.result.snoozed = known;
        }
    }
    let numbers = (1..).filter(|number| *number as usize != place + 1);
    let renumbered = numbers.zip(all).map(|(number, (attempt, place))| {
        let attempt = Attempt { number, dir: Attempt::dir_of(number), ..attempt };
        (attempt, place)
    });
    (joined.result.attempts, joined.attempts) = renumbered.unzip();
    Some(joined)
}

/// A mutant is held against what had to come of it: one that was missed once was missed.
fn worse(before: Result, after: Result) -> Result {
    let shows_something = |one: &Result| matches!(one.result.verdict, Verdict::Pass | Verdict::Fail);
    match (shows_something(&before), shows_something(&after)) {
        (true, false) => before,
        (true, true) if before.result.is_red() => before,
        _ => after,
    }
}
