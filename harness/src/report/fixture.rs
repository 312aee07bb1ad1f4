//! A run with a trial of each kind, for the tests of what reports make of it.

use std::path::Path;

use super::{
    Attempt, Cpu, Host, MutantOutcome, MutantResult, Phase, RESULTS_VERSION, RunResults, SnoozeOutcome, Snoozed,
    SnoozedBy, TrialResult,
};
use crate::checks::{Evidence, Finding, Outcome, SetAside, Verdict};
use crate::report::Part;

pub(super) fn finding(check: &str, boot: u32, outcome: Outcome, message: &str) -> Finding {
    let evidence = vec![Evidence { seq: 41, text: "e1000 \u{1b}[31mis still there".into() }];
    let advice = Some("Put it into `in_tree_modules_to_remove`.".into());
    Finding { check: check.into(), node: None, boot: Some(boot), outcome, message: message.into(), evidence, advice }
}

pub(super) fn trial(name: &str, verdict: Verdict) -> TrialResult {
    let id = name.split('@').next().unwrap_or_default();
    let mut trial = TrialResult::new(name, Path::new(&format!("scenarios/{id}.yaml")), verdict, None);
    trial.seconds = 90.5;
    trial.start = "template".into();
    trial.restore_ms = Some(61.5);
    trial.dir = Some(Path::new("target/day1-results").join(name));
    trial.phases = vec![Phase { boot: 1, name: "kernel".into(), seconds: 2.5 }];
    trial.findings = vec![finding("evidence", 1, Outcome::Pass, "all agree")];
    trial
}

fn failing(name: &str, verdict: Verdict, outcome: Outcome) -> TrialResult {
    let mut trial = trial(name, verdict);
    trial.findings.push(finding("nic.driver", 2, outcome, "network card `test` is driven by e1000, not by day1_nic"));
    trial
}

fn snoozed(outcome: SnoozeOutcome, expires: &str) -> Option<Snoozed> {
    let by = SnoozedBy {
        place: "scenarios/snoozes.yaml:7".into(),
        pattern: "power-loss/*".into(),
        checks: vec!["nic.driver".into()],
        reason: "a half-written store is taken for a whole one".into(),
        tracker: "https://example.com/issues/1".into(),
        expires: expires.into(),
        expired: outcome == SnoozeOutcome::Expired,
    };
    Some(Snoozed { outcome, by: vec![by] })
}

pub(super) fn flaky(name: &str) -> TrialResult {
    let mut flaky = trial(name, Verdict::Flaky);
    flaky.attempts = vec![
        Attempt::new(1, &failing(name, Verdict::Fail, Outcome::Fail)),
        Attempt::new(2, &TrialResult::new(name, Path::new("x"), Verdict::Infra, Some("QEMU ended".into()))),
    ];
    flaky
}

pub(super) fn run() -> RunResults {
    let infra = Some("cannot start QEMU: no memory\nsecond line".into());
    let mut lost =
        TrialResult::new("pull/lost@debian-13", Path::new("scenarios/pull/lost.yaml"), Verdict::Infra, infra);
    lost.seconds = 1.0;
    let reason = Some("never ran: the run ended before its turn".into());
    let skipped =
        TrialResult::new("pull/skipped@debian-13", Path::new("scenarios/pull/skipped.yaml"), Verdict::Skipped, reason);
    let (mut holds, mut expired) = (
        failing("power-loss/holds@debian-13", Verdict::Fail, Outcome::Fail),
        failing("power-loss/expired@debian-13", Verdict::Fail, Outcome::Fail),
    );
    holds.snoozed = snoozed(SnoozeOutcome::Holds, "2026-12-31");
    expired.snoozed = snoozed(SnoozeOutcome::Expired, "2026-01-31");
    let mut passes = trial("power-loss/passes@debian-13", Verdict::Pass);
    passes.snoozed = snoozed(SnoozeOutcome::Passes, "2026-12-31");
    let mut tolerated = flaky("ordering/tolerated@debian-13");
    tolerated.flaky_ok = true;
    let mut mutant = failing("mutants/caught@debian-13", Verdict::Fail, Outcome::Fail);
    mutant.mutant = Some(MutantResult {
        says: "the in-tree driver stays".into(),
        caught_by: vec!["nic.driver".into()],
        outcome: MutantOutcome::Caught,
    });
    let mut passed = trial("pull/passed@debian-13", Verdict::Pass);
    passed.set_aside = vec![SetAside { check: "journal.clean/io-error".into(), reason: "broken on purpose".into() }];
    let mut trials = vec![
        passed,
        failing("pull/failed[secret=wrong]@debian-13", Verdict::Fail, Outcome::Fail),
        flaky("ordering/flaky@debian-13"),
        tolerated,
        failing("pull/unclear@debian-13", Verdict::Inconclusive, Outcome::Inconclusive),
        lost,
        skipped,
        holds,
        expired,
        passes,
        mutant,
    ];
    trials.sort_by(|a, b| a.trial.cmp(&b.trial));
    RunResults {
        version: RESULTS_VERSION,
        day1: "0.1.0".into(),
        started: "2026-11-26T00:52:42Z".into(),
        seconds: 399.5,
        host: Host {
            cores: 2,
            registry: "embedded".into(),
            acceleration: [("debian-13".into(), "tcg (there is no /dev/kvm)".into())].into(),
            deadline_factor: [("debian-13".into(), 1.9)].into(),
        },
        jobs: 2,
        cpu: Cpu { harness_s: 10.0, children_s: 600.0 },
        part: Some(Part { plan: "5a".repeat(32), trials: trials.len(), partition: "hash:1/2".parse().ok() }),
        shards: Vec::new(),
        trials,
    }
}
