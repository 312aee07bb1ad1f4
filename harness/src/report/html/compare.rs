//! A run held against an earlier one.

use std::collections::BTreeMap;

use crate::checks::Verdict;
use crate::report::words::word;
use crate::report::{RunResults, TrialResult};

/// A trial's time tells something if it changed by this part and this many seconds.
const PART: f64 = 0.2;
const SECONDS: f64 = 10.0;

/// What changed since an earlier run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Changes {
    /// When the earlier run began.
    pub since: String,
    /// Trials that both have, by name: what the earlier run said.
    pub before: BTreeMap<String, Before>,
    /// Trials that are new.
    pub added: Vec<String>,
    /// Trials that are not planned any more.
    pub gone: Vec<String>,
}

/// What the earlier run said of a trial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Before {
    pub word: &'static str,
    pub seconds: f64,
    pub change: Change,
}

/// What changed about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Change {
    /// It was green and is red.
    Broken,
    /// It was red and is green.
    Mended,
    /// Another word, as red or green as before.
    Other,
    /// It takes longer.
    Slower,
    /// It takes less long.
    Faster,
    /// Nothing that tells anything.
    Same,
}

/// A run's trials.
pub(super) fn by_name(run: &RunResults) -> BTreeMap<&str, &TrialResult> {
    run.trials.iter().map(|trial| (trial.trial.as_str(), trial)).collect()
}

pub(super) fn changes(earlier: &RunResults, now: &RunResults) -> Changes {
    let before = by_name(earlier);
    let mut changes = Changes { since: earlier.started.clone(), ..Changes::default() };
    for trial in &now.trials {
        match before.get(trial.trial.as_str()) {
            Some(old) => {
                let before = Before { word: word(old), seconds: old.seconds, change: change(old, trial) };
                changes.before.insert(trial.trial.clone(), before);
            }
            None => changes.added.push(trial.trial.clone()),
        }
    }
    let is_gone = |name: &&str| now.trials.iter().all(|trial| trial.trial != *name);
    changes.gone = before.into_keys().filter(is_gone).map(str::to_owned).collect();
    changes
}

fn change(old: &TrialResult, new: &TrialResult) -> Change {
    let (longer, part) = (new.seconds - old.seconds, (new.seconds - old.seconds).abs() / old.seconds.max(1.0));
    let tells = old.verdict == Verdict::Pass && new.verdict == Verdict::Pass && longer.abs() > SECONDS && part > PART;
    match (old.is_red(), new.is_red()) {
        (false, true) => Change::Broken,
        (true, false) => Change::Mended,
        _ if word(old) != word(new) => Change::Other,
        // How long a trial takes depends on where its node begins.
        _ if tells && old.start == new.start && longer > 0.0 => Change::Slower,
        _ if tells && old.start == new.start => Change::Faster,
        _ => Change::Same,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn trial(name: &str, verdict: Verdict, seconds: f64) -> TrialResult {
        let mut trial = TrialResult::new(name, Path::new("x.yaml"), verdict, None);
        trial.seconds = seconds;
        trial
    }

    #[test]
    fn what_became_of_a_trial_is_told_by_its_verdict_and_then_by_its_time() {
        let of =
            |old: (Verdict, f64), new: (Verdict, f64)| change(&trial("a", old.0, old.1), &trial("a", new.0, new.1));
        assert_eq!(of((Verdict::Pass, 100.0), (Verdict::Fail, 100.0)), Change::Broken);
        assert_eq!(of((Verdict::Fail, 100.0), (Verdict::Pass, 300.0)), Change::Mended);
        assert_eq!(of((Verdict::Fail, 100.0), (Verdict::Infra, 100.0)), Change::Other);
        assert_eq!(of((Verdict::Pass, 100.0), (Verdict::Pass, 130.0)), Change::Slower);
        assert_eq!(of((Verdict::Pass, 130.0), (Verdict::Pass, 100.0)), Change::Faster);
        assert_eq!(of((Verdict::Pass, 100.0), (Verdict::Pass, 109.0)), Change::Same);
        assert_eq!(of((Verdict::Pass, 10.0), (Verdict::Pass, 15.0)), Change::Same, "too short to tell anything");
        assert_eq!(of((Verdict::Fail, 100.0), (Verdict::Fail, 300.0)), Change::Same);
        let mut cold = trial("a", Verdict::Pass, 200.0);
        cold.start = "cold".into();
        assert_eq!(change(&trial("a", Verdict::Pass, 100.0), &cold), Change::Same, "it began elsewhere");
    }
}
