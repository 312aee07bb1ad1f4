//! JUnit XML, for CI systems that show it.

use std::io::{self, Write};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{RunResults, TrialResult};
use crate::checks::Verdict;

/// Writes the run as JUnit XML: a suite per scenario family, a case per trial.
pub fn write(results: &RunResults, to: impl Write) -> io::Result<()> {
    let mut report = Report::new("day1");
    report.set_time(Duration::from_secs_f64(results.seconds));
    let mut families: Vec<&str> = results.trials.iter().map(|trial| family(&trial.trial)).collect();
    families.dedup();
    for name in families {
        let mut suite = TestSuite::new(name);
        suite.add_test_cases(results.trials.iter().filter(|trial| family(&trial.trial) == name).map(case));
        report.add_test_suite(suite);
    }
    report.serialize(to).map_err(io::Error::other)
}

fn family(trial: &str) -> &str {
    trial.split_once('/').map_or("scenarios", |(family, _)| family)
}

fn case(trial: &TrialResult) -> TestCase {
    let non_success = |kind| {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message(trial));
        status
    };
    let status = match trial.verdict {
        _ if trial.mutant.as_ref().is_some_and(super::MutantResult::is_good) => TestCaseStatus::success(),
        Verdict::Pass if trial.is_red() => non_success(NonSuccessKind::Failure),
        Verdict::Pass | Verdict::Flaky => TestCaseStatus::success(),
        Verdict::Fail => non_success(NonSuccessKind::Failure),
        Verdict::Inconclusive | Verdict::Infra => non_success(NonSuccessKind::Error),
        Verdict::Skipped if trial.is_red() => non_success(NonSuccessKind::Error),
        Verdict::Skipped => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(message(trial));
            status
        }
    };
    let mut case = TestCase::new(trial.trial.clone(), status);
    case.set_classname(format!("day1.{}", family(&trial.trial)));
    case.set_time(Duration::from_secs_f64(trial.seconds));
    case.set_system_out(super::describe_trial(trial));
    case
}

fn message(trial: &TrialResult) -> String {
    use crate::checks::Outcome;
    let short = trial.findings.iter().filter(|finding| finding.outcome != Outcome::Pass);
    let lines: Vec<String> = trial
        .reason
        .iter()
        .cloned()
        .chain(short.map(|finding| format!("{}: {}", finding.check, finding.message)))
        .collect();
    lines.join("\n")
}
