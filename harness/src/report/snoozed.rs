//! What the snoozes of a trial make of its verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Attempt, TrialResult};
use crate::checks::{Finding, Outcome, Verdict};
use crate::scenario::{Day, Snooze};

/// A trial that is known to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snoozed {
    /// What came of it.
    pub outcome: SnoozeOutcome,
    /// The snoozes that are about the trial.
    pub by: Vec<SnoozedBy>,
}

/// A snooze that is about a trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SnoozedBy {
    /// `file:line` of the entry.
    pub place: String,
    /// Which trials it is about.
    pub pattern: String,
    /// The checks that may fail; empty for all.
    #[serde(default)]
    pub checks: Vec<String>,
    /// Why, for a person.
    pub reason: String,
    /// Where it is tracked: the address of an issue.
    pub tracker: String,
    /// The last day that it holds, `YYYY-MM-DD` in UTC.
    pub expires: String,
    /// Whether that day was over when the trial ran.
    pub expired: bool,
}

/// What came of a trial that is known to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnoozeOutcome {
    /// It fails as it is known to, which is not counted.
    Holds,
    /// It fails as it is known to, and the snooze has expired.
    Expired,
    /// It fails by a check that no snooze names.
    FailsOtherwise,
    /// It passes: the snooze can go.
    Passes,
    /// It neither passed nor failed.
    Unclear,
}

impl Snoozed {
    /// What the snoozes of a trial, if it has any, make of its result.
    pub fn new(snoozes: &[Snooze], result: &TrialResult, today: Day) -> Option<Self> {
        if snoozes.is_empty() {
            return None;
        }
        let failed = |attempt: &&Attempt| attempt.verdict == Verdict::Fail;
        let attempts = result.attempts.iter().filter(failed).flat_map(|attempt| &attempt.findings);
        let failed = |finding: &&Finding| finding.outcome == Outcome::Fail;
        let failed: Vec<&Finding> = result.findings.iter().chain(attempts).filter(failed).collect();
        let all_are_known = |with: &dyn Fn(&Snooze) -> bool| {
            failed.iter().all(|finding| snoozes.iter().any(|one| with(one) && one.is_about(&finding.check)))
        };
        let outcome = match result.verdict {
            Verdict::Pass => SnoozeOutcome::Passes,
            // One that failed for no check was lost.
            Verdict::Fail | Verdict::Flaky if failed.is_empty() => SnoozeOutcome::Unclear,
            Verdict::Fail | Verdict::Flaky if all_are_known(&|one| !one.has_expired(today)) => SnoozeOutcome::Holds,
            Verdict::Fail | Verdict::Flaky if all_are_known(&|_| true) => SnoozeOutcome::Expired,
            Verdict::Fail | Verdict::Flaky => SnoozeOutcome::FailsOtherwise,
            Verdict::Inconclusive | Verdict::Infra | Verdict::Skipped => SnoozeOutcome::Unclear,
        };
        let by = snoozes.iter().map(|one| SnoozedBy {
            place: one.place.clone(),
            pattern: one.pattern.to_string(),
            checks: one.checks.clone(),
            reason: one.reason.clone(),
            tracker: one.tracker.to_string(),
            expires: one.expires.to_string(),
            expired: one.has_expired(today),
        });
        Some(Self { outcome, by: by.collect() })
    }

    /// Whether the trial's failure is not counted.
    pub fn holds(&self) -> bool {
        self.outcome == SnoozeOutcome::Holds
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn snooze(checks: &[&str], expires: &str) -> Snooze {
        Snooze {
            pattern: "a/b".to_owned().try_into().expect("a pattern"),
            checks: checks.iter().map(|check| (*check).to_owned()).collect(),
            reason: "known".into(),
            tracker: "https://example.com/1".to_owned().try_into().expect("an address"),
            expires: day(expires),
            place: "snoozes.yaml:1".into(),
        }
    }

    fn day(text: &str) -> Day {
        text.to_owned().try_into().expect("a day")
    }

    fn result(verdict: Verdict, failing: &[&str]) -> TrialResult {
        let mut result = TrialResult::new("a/b@c", Path::new("a/b.yaml"), verdict, None);
        let finding = |check: &str, outcome| Finding {
            check: check.to_owned(),
            node: None,
            boot: None,
            outcome,
            message: String::new(),
            evidence: vec![],
            advice: None,
        };
        result.findings = failing.iter().map(|check| finding(check, Outcome::Fail)).collect();
        result.findings.push(finding("evidence", Outcome::Pass));
        result
    }

    #[test]
    fn a_failure_is_held_against_what_is_known_until_it_expires() {
        use SnoozeOutcome::{Expired, FailsOtherwise, Holds, Passes, Unclear};
        let today = day("2026-11-26");
        let (nic, all) = (snooze(&["nic.driver"], "2026-11-26"), snooze(&[], "2026-11-26"));
        let (old_nic, unit) = (snooze(&["nic.driver"], "2026-11-25"), snooze(&["unit.before"], "2027-01-01"));
        let nic_fails = result(Verdict::Fail, &["nic.driver"]);
        let both_fail = result(Verdict::Fail, &["nic.driver", "unit.before"]);
        for (snoozes, result, outcome) in [
            (vec![&nic], &nic_fails, Holds),
            (vec![&all], &both_fail, Holds),
            (vec![&nic], &both_fail, FailsOtherwise),
            (vec![&nic, &unit], &both_fail, Holds),
            (vec![&old_nic], &nic_fails, Expired),
            (vec![&old_nic], &both_fail, FailsOtherwise),
            (vec![&old_nic, &unit], &both_fail, Expired),
            (vec![&old_nic, &all], &nic_fails, Holds),
            (vec![&all], &result(Verdict::Pass, &[]), Passes),
            (vec![&old_nic], &result(Verdict::Pass, &[]), Passes),
            (vec![&all], &result(Verdict::Infra, &[]), Unclear),
            (vec![&all], &result(Verdict::Inconclusive, &[]), Unclear),
        ] {
            let snoozes: Vec<Snooze> = snoozes.into_iter().cloned().collect();
            let snoozed = Snoozed::new(&snoozes, result, today).expect("snoozed");
            assert_eq!(snoozed.outcome, outcome, "{snoozes:?}");
            assert_eq!(snoozed.by.len(), snoozes.len());
        }
        assert_eq!(Snoozed::new(&[], &nic_fails, today), None);
    }

    #[test]
    fn a_flaky_trial_is_snoozed_where_its_failures_are_known() {
        let today = day("2026-11-26");
        let snoozes = [snooze(&["nic.driver"], "2026-12-31")];
        let outcome = |failing: &str| {
            let mut flaky = result(Verdict::Flaky, &[]);
            flaky.attempts = vec![Attempt::new(1, &result(Verdict::Fail, &[failing]))];
            Snoozed::new(&snoozes, &flaky, today).expect("snoozed").outcome
        };
        assert_eq!(outcome("nic.driver"), SnoozeOutcome::Holds);
        assert_eq!(outcome("unit.before"), SnoozeOutcome::FailsOtherwise);
        let mut lost = result(Verdict::Flaky, &[]);
        lost.attempts = vec![Attempt::new(1, &result(Verdict::Infra, &["unit.before"]))];
        assert_eq!(Snoozed::new(&snoozes, &lost, today).expect("snoozed").outcome, SnoozeOutcome::Unclear);
    }
}
