//! `node.ready`: a boot settled, with every job done and no unit failed but the expected ones.

use crate::scenario::{Expectations, UnitOutcome};
use crate::timeline::{Unit, What};

use super::boot::Boot;
use super::units::last_words;
use super::{Evidence, Finding};

const CHECK: &str = "node.ready";

pub(super) fn ready(boot: &Boot<'_>, expected: &[&Expectations]) -> Finding {
    let number = boot.number;
    let deadline = boot.events.iter().find_map(|event| match &event.what {
        What::DeadlinePassed { waiting_for, after_s } => Some((*event, waiting_for, *after_s)),
        _ => None,
    });
    if let (Some((event, waiting_for, after_s)), None) = (deadline, boot.startup_finished()) {
        let message = format!("boot {number} did not settle within {after_s:.0} s");
        let finding =
            Finding::fail(CHECK, number, message).seen([Evidence::new(event, format!("waited for {waiting_for}"))]);
        return finding.seen(stuck(boot).1).advise(
            "Jobs that are still queued are in the evidence; `systemd-analyze blame` and the console tell more.",
        );
    }
    let Some(finished) = boot.startup_finished() else {
        return Finding::inconclusive(
            CHECK,
            number,
            "systemd did not say that the start-up is finished, nor did the wait end",
        );
    };
    let Some((event, snapshot)) = boot.snapshot() else {
        return Finding::inconclusive(CHECK, number, "no snapshot of this boot: nothing tells which units failed");
    };
    if snapshot.units.is_empty() {
        return Finding::inconclusive(CHECK, number, "the snapshot holds no units: nothing tells which failed");
    }
    let expected = expected_failures(boot, expected);
    let which = |is: fn(&Unit) -> bool| -> Vec<&str> {
        let units = snapshot.units.iter().filter(|(name, unit)| is(unit) && !expected.contains(name));
        units.map(|(name, _)| name.as_str()).collect()
    };
    // systemd calls a unit that it is about to start again neither failed nor busy.
    let kinds = [
        ("failed units", "as `systemctl --failed` shows", which(|unit| unit.active_state == "failed")),
        (
            "units that end and are started again",
            "auto-restart",
            which(|unit| unit.sub_state.starts_with("auto-restart")),
        ),
    ];
    if let Some((what, shown, units)) = kinds.into_iter().find(|(.., units)| !units.is_empty()) {
        let words = units.iter().flat_map(|unit| last_words(boot, unit));
        let message = format!("{what}: {}", units.join(", "));
        return Finding::fail(CHECK, number, message).seen([Evidence::new(event, shown)]).seen(words);
    }
    let (jobs, evidence) = stuck(boot);
    if !jobs.is_empty() {
        let message = format!("jobs are still queued: {}", jobs.join(", "));
        return Finding::fail(CHECK, number, message).seen(evidence);
    }
    let but = match expected.as_slice() {
        [] => "no failed unit".to_owned(),
        expected => format!("no failed unit but {}", expected.join(", ")),
    };
    let message = format!("boot {number} settled with {but}");
    Finding::pass(CHECK, number, message)
        .seen([Evidence::new(finished, "start-up finished"), Evidence::new(event, "units and jobs")])
}

/// Units that the expectations of this boot say fail.
fn expected_failures(boot: &Boot<'_>, expected: &[&Expectations]) -> Vec<String> {
    let failing =
        expected.iter().flat_map(|expect| expect.unit_result.iter()).filter(|one| one.result == UnitOutcome::Failed);
    failing.filter_map(|one| boot.resolve(&one.unit).ok()).collect()
}

fn stuck(boot: &Boot<'_>) -> (Vec<String>, Vec<Evidence>) {
    let Some((event, snapshot)) = boot.snapshot() else { return (vec![], vec![]) };
    let queued = snapshot.units.iter().filter(|(_, unit)| !unit.job.is_empty());
    let jobs: Vec<String> = queued.map(|(name, unit)| format!("{name} ({})", unit.job)).collect();
    let evidence =
        if jobs.is_empty() { vec![] } else { vec![Evidence::new(event, format!("queued: {}", jobs.join(", ")))] };
    (jobs, evidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{LOAD, Node, boot_of, expect, scenario};

    fn judged(node: &Node) -> Finding {
        let timeline = node.timeline();
        ready(&boot_of(&timeline, 2), &[&scenario().spec.boots[1].expect])
    }

    #[test]
    fn a_settled_boot_passes() {
        assert_eq!(judged(&Node::pulled_and_loaded()).outcome, Outcome::Pass);
    }

    #[test]
    fn a_failed_unit_fails_unless_it_is_expected_to() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(LOAD, |unit| unit.active_state = "failed".into());
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains(LOAD), "{finding:?}");
        let (this, every) = (Expectations::default(), expect("{unit.result: {unit: load, result: failed}}"));
        let timeline = node.timeline();
        assert_eq!(ready(&boot_of(&timeline, 2), &[&this, &every]).outcome, Outcome::Pass);
    }

    #[test]
    fn a_unit_that_is_started_again_and_again_fails() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("crio.service", |unit| {
            unit.active_state = "activating".into();
            unit.sub_state = "auto-restart-queued".into();
        });
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("crio.service"), "{finding:?}");
    }

    #[test]
    fn a_stuck_job_and_a_passed_deadline_fail() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("slow.service", |unit| unit.job = "start".into());
        assert!(judged(&node).message.contains("slow.service (start)"));
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_journal("Startup finished");
        node.boot(2).push(What::DeadlinePassed { waiting_for: "the boot to settle".into(), after_s: 240.0 });
        assert!(judged(&node).message.contains("did not settle within 240 s"));
    }

    #[test]
    fn without_evidence_it_is_inconclusive() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_journal("Startup finished");
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_snapshot();
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }
}
