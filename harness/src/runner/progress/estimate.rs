//! How far a run is, and how long it may still take.

use std::collections::BTreeMap;
use std::time::Duration;

use super::node::clock;
use crate::checks::Verdict;
use crate::report::{RunResults, TrialResult};

/// A run as its trials show it so far. Times are since it began.
pub(super) struct Estimate {
    jobs: usize,
    /// What each trial took in an earlier run, in seconds.
    earlier: BTreeMap<String, f64>,
    /// Trials whose turn is still to come, in the order in which they run.
    waiting: Vec<String>,
    running: BTreeMap<String, Duration>,
    /// What the trials of this run took, in seconds.
    took: BTreeMap<String, f64>,
    total: usize,
    done: usize,
    red: usize,
    flaky: usize,
    /// When the first trial began.
    began: Option<Duration>,
}

impl Estimate {
    /// Of a run of these trials, of which an earlier one left `results`.
    pub(super) fn new(trials: Vec<String>, jobs: usize, results: Option<&RunResults>) -> Self {
        let ran = |trial: &&TrialResult| trial.seconds > 0.0 && trial.verdict != Verdict::Skipped;
        let earlier = results.map(|results| results.trials.iter().filter(ran));
        Self {
            jobs: jobs.max(1),
            earlier: earlier.into_iter().flatten().map(|trial| (trial.trial.clone(), trial.seconds)).collect(),
            total: trials.len(),
            waiting: trials,
            running: BTreeMap::new(),
            took: BTreeMap::new(),
            done: 0,
            red: 0,
            flaky: 0,
            began: None,
        }
    }

    /// A trial's machine is about to start; also when it is run again.
    pub(super) fn begun(&mut self, trial: &str, now: Duration) {
        self.waiting.retain(|one| one != trial);
        self.running.insert(trial.to_owned(), now);
        self.began.get_or_insert(now);
    }

    /// A trial has ended.
    pub(super) fn ended(&mut self, result: &TrialResult, now: Duration) {
        self.waiting.retain(|one| *one != result.trial);
        if let Some(began) = self.running.remove(&result.trial) {
            self.took.insert(result.trial.clone(), now.saturating_sub(began).as_secs_f64());
        }
        self.done += 1;
        self.red += usize::from(result.is_red());
        self.flaky += usize::from(result.verdict == Verdict::Flaky);
    }

    /// How many trials there are, and how many have ended.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.total, self.done)
    }

    /// How long it may still take; nothing where no trial has told yet how long one takes.
    pub(super) fn left(&self, now: Duration) -> Option<Duration> {
        let left = |trial: &str, passed: f64| Some((self.expected(trial)? - passed).max(0.0));
        let running = self.running.iter().map(|(trial, began)| left(trial, now.saturating_sub(*began).as_secs_f64()));
        // When each of the machines that run at once is free.
        let mut free = running.collect::<Option<Vec<f64>>>()?;
        free.resize(free.len().max(self.jobs), 0.0);
        for trial in &self.waiting {
            let next = free.iter_mut().min_by(|a, b| a.total_cmp(b))?;
            *next += left(trial, 0.0)?;
        }
        Some(Duration::from_secs_f64(free.into_iter().fold(0.0, f64::max)))
    }

    /// How long a trial takes, in seconds: as in the earlier run, by as much longer or shorter as the others have become;
    /// or as the mean of the others.
    fn expected(&self, trial: &str) -> Option<f64> {
        let both = self.took.iter().filter_map(|(trial, took)| Some((took, self.earlier.get(trial)?)));
        let (now, before) = both.fold((0.0, 0.0), |sum, (now, before)| (sum.0 + now, sum.1 + before));
        let slower = if before > 0.0 { now / before } else { 1.0 };
        if let Some(seconds) = self.earlier.get(trial) {
            return Some(seconds * slower);
        }
        mean(self.took.values()).or_else(|| mean(self.earlier.values()).map(|mean| mean * slower))
    }

    /// The run in a line.
    pub(super) fn line(&self, now: Duration) -> String {
        let mut parts = vec![format!("{} of {} trials", self.done, self.total)];
        let counts = [(self.red, "red"), (self.flaky, "flaky")].into_iter().filter(|(count, _)| *count > 0);
        parts.extend(counts.map(|(count, word)| format!("{count} {word}")));
        let minutes = self.began.map_or(0.0, |began| now.saturating_sub(began).as_secs_f64() / 60.0);
        if self.done > 0 && minutes > 0.0 {
            #[expect(clippy::cast_precision_loss, reason = "nobody runs 2^52 trials")]
            parts.push(format!("{:.1} a minute", self.done as f64 / minutes));
        }
        parts.push(clock(now));
        // One that takes longer than it should has no time left that could be told.
        if let Some(left) = self.left(now).filter(|left| left.as_secs() > 0) {
            parts.push(format!("about {} left", clock(left)));
        }
        parts.join(", ")
    }
}

#[expect(clippy::cast_precision_loss, reason = "nobody runs 2^52 trials")]
fn mean<'n>(numbers: impl ExactSizeIterator<Item = &'n f64>) -> Option<f64> {
    let count = numbers.len();
    (count > 0).then(|| numbers.sum::<f64>() / count as f64)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::report::{Cpu, Host, RESULTS_VERSION};

    fn result(trial: &str, verdict: Verdict, seconds: f64) -> TrialResult {
        TrialResult { seconds, ..TrialResult::new(trial, Path::new("x"), verdict, None) }
    }

    fn earlier(trials: &[(&str, f64)]) -> RunResults {
        RunResults {
            part: None,
            shards: Vec::new(),
            version: RESULTS_VERSION,
            day1: String::new(),
            started: String::new(),
            seconds: 0.0,
            host: Host::default(),
            jobs: 1,
            cpu: Cpu::default(),
            trials: trials.iter().map(|(trial, seconds)| result(trial, Verdict::Pass, *seconds)).collect(),
        }
    }

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn nothing_is_known_until_a_trial_has_ended_or_an_earlier_run_tells() {
        let mut run = Estimate::new(names(&["a", "b", "c"]), 1, None);
        assert_eq!(run.left(s(0)), None);
        run.begun("a", s(10));
        assert_eq!(run.line(s(20)), "0 of 3 trials, 0:20");
        run.ended(&result("a", Verdict::Fail, 0.0), s(70));
        assert_eq!(run.left(s(70)), Some(s(120)), "two more that take as long");
        run.begun("b", s(70));
        assert_eq!(run.line(s(90)), "1 of 3 trials, 1 red, 0.8 a minute, 1:30, about 1:40 left");
        let known = Estimate::new(names(&["a", "b"]), 1, Some(&earlier(&[("a", 30.0), ("b", 50.0)])));
        assert_eq!(known.left(s(0)), Some(s(80)));
    }

    #[test]
    fn trials_run_side_by_side_in_their_order() {
        let results = earlier(&[("a", 100.0), ("b", 40.0), ("c", 40.0), ("d", 40.0)]);
        let mut run = Estimate::new(names(&["a", "b", "c", "d"]), 2, Some(&results));
        assert_eq!(run.left(s(0)), Some(s(120)), "one machine has a, the other b, c and d");
        run.begun("a", s(0));
        run.begun("b", s(0));
        assert_eq!(run.left(s(30)), Some(s(90)));
        // One that takes longer than it should may end at any moment.
        assert_eq!(run.left(s(500)), Some(s(40)));
        run.begun("c", s(500));
        run.begun("d", s(500));
        assert!(!run.line(s(900)).contains("left"), "{}", run.line(s(900)));
    }

    #[test]
    fn a_slower_host_makes_all_of_them_slower() {
        let results = earlier(&[("a", 10.0), ("b", 20.0)]);
        let mut run = Estimate::new(names(&["a", "b", "new"]), 1, Some(&results));
        run.begun("a", s(0));
        run.ended(&result("a", Verdict::Pass, 0.0), s(30));
        assert_eq!(run.left(s(30)), Some(s(60 + 30)), "b takes three times as long, and the new one as long as a did");
    }

    #[test]
    fn what_never_ran_tells_nothing_and_is_done_all_the_same() {
        let mut skipped = earlier(&[]);
        skipped.trials = vec![result("a", Verdict::Skipped, 5.0), result("b", Verdict::Pass, 0.0)];
        let mut run = Estimate::new(names(&["a", "b"]), 1, Some(&skipped));
        assert_eq!(run.left(s(0)), None);
        run.ended(&result("a", Verdict::Skipped, 0.0), s(1));
        run.ended(&result("b", Verdict::Flaky, 0.0), s(2));
        assert_eq!(run.counts(), (2, 2));
        assert!(run.line(s(2)).starts_with("2 of 2 trials, 1 red, 1 flaky, "), "{}", run.line(s(2)));
        assert!(!run.line(s(2)).contains("left"));
    }
}
