//! `unit.result`: how a unit's start ended.

use crate::scenario::{UnitOutcome, UnitResult};
use crate::timeline::{Unit, message_id};

use super::boot::{Boot, journal_line};
use super::{Evidence, Finding};

const CHECK: &str = "unit.result";

/// How a unit's start ended, or that it did not end yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Ended(UnitOutcome),
    Running,
}

impl Seen {
    fn text(self) -> &'static str {
        match self {
            Self::Ended(UnitOutcome::Success) => "succeeded",
            Self::Ended(UnitOutcome::Failed) => "failed",
            Self::Ended(UnitOutcome::Skipped) => "was skipped by a condition",
            Self::Ended(UnitOutcome::NotStarted) => "was not started",
            Self::Running => "was still starting",
        }
    }
}

pub(super) fn result(boot: &Boot<'_>, expected: &UnitResult) -> Finding {
    let unit = match boot.resolve(&expected.unit) {
        Ok(unit) => unit,
        Err(why) => return Finding::inconclusive(CHECK, boot.number, why),
    };
    let Some((seen, evidence)) = outcome(boot, &unit) else {
        let message =
            format!("nothing tells how {unit} ended: no snapshot, and systemd's journal does not speak of it");
        return Finding::inconclusive(CHECK, boot.number, message);
    };
    if seen == Seen::Ended(expected.result) {
        return Finding::pass(CHECK, boot.number, format!("{unit} {}", seen.text())).seen([evidence]);
    }
    let wanted = Seen::Ended(expected.result).text();
    let finding = Finding::fail(CHECK, boot.number, format!("{unit} {}, expected: {wanted}", seen.text()));
    let finding = finding.seen([evidence]).seen(last_words(boot, &unit));
    let advice = match seen {
        Seen::Ended(UnitOutcome::NotStarted) => {
            "Is the unit enabled (`WantedBy=`, `enabled: true`), and is what wants it started?"
        }
        Seen::Ended(UnitOutcome::Failed) => "The unit's own last lines are in the evidence.",
        Seen::Running => {
            "Its own timeout is longer than the boot was given, or it waits for something that never came."
        }
        _ => return finding,
    };
    finding.advise(advice)
}

/// How a unit's start ended: by the snapshot, which is one consistent moment; else by systemd's journal.
pub(super) fn outcome(boot: &Boot<'_>, unit: &str) -> Option<(Seen, Evidence)> {
    if let Some((event, snapshot)) = boot.snapshot() {
        let (seen, text) = match snapshot.units.get(unit) {
            Some(state) => (by_state(state), describe(state)),
            // systemd unloads what nothing refers to; what ran stays in its journal.
            None => match by_journal(boot, unit) {
                Some(seen) => return Some(seen),
                None => (Seen::Ended(UnitOutcome::NotStarted), "not among the loaded units".to_owned()),
            },
        };
        return Some((seen, Evidence::new(event, format!("{unit}: {text}"))));
    }
    by_journal(boot, unit)
}

fn by_state(unit: &Unit) -> Seen {
    let never_ran = unit.inactive_exit_us == 0 && unit.active_enter_us == 0;
    match unit.active_state.as_str() {
        "failed" => Seen::Ended(UnitOutcome::Failed),
        "activating" | "reloading" => Seen::Running,
        "active" => Seen::Ended(UnitOutcome::Success),
        _ if unit.result == "exec-condition" => Seen::Ended(UnitOutcome::Skipped),
        _ if never_ran && unit.condition_result == Some(false) => Seen::Ended(UnitOutcome::Skipped),
        _ if never_ran => Seen::Ended(UnitOutcome::NotStarted),
        _ if unit.result.is_empty() || unit.result == "success" => Seen::Ended(UnitOutcome::Success),
        _ => Seen::Ended(UnitOutcome::Failed),
    }
}

fn describe(unit: &Unit) -> String {
    let result = if unit.result.is_empty() { String::new() } else { format!(", result {}", unit.result) };
    let status = unit.exec_main_status.map(|status| format!(", exit status {status}")).unwrap_or_default();
    format!("{} ({}){result}{status}", unit.active_state, unit.sub_state)
}

fn by_journal(boot: &Boot<'_>, unit: &str) -> Option<(Seen, Evidence)> {
    let about = boot.about(unit);
    let started = about.iter().rposition(|(_, record)| record.message_id() == message_id::UNIT_STARTING);
    let last_run = &about[started.unwrap_or(0)..];
    // A start that a condition kept from running ends with the words of one that was done.
    let skipped = last_run.iter().find(|(_, record)| record.message_id() == message_id::UNIT_SKIPPED);
    if let Some((event, record)) = skipped {
        return Some((Seen::Ended(UnitOutcome::Skipped), journal_line(event, record)));
    }
    about.iter().rev().find_map(|(event, record)| {
        let seen = match record.message_id() {
            message_id::UNIT_STARTED | message_id::UNIT_SUCCESS => Seen::Ended(UnitOutcome::Success),
            message_id::UNIT_FAILED | message_id::UNIT_FAILURE_RESULT => Seen::Ended(UnitOutcome::Failed),
            message_id::UNIT_SKIPPED => Seen::Ended(UnitOutcome::Skipped),
            message_id::UNIT_STARTING => Seen::Running,
            _ => return None,
        };
        Some((seen, journal_line(event, record)))
    })
}

/// The last lines of a unit's own journal.
pub(super) fn last_words(boot: &Boot<'_>, unit: &str) -> Vec<Evidence> {
    let said = boot.said_by(unit);
    said[said.len().saturating_sub(3)..].iter().map(|(event, record)| journal_line(event, record)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{LOAD, Node, boot_of, expect};

    fn judged(node: &Node, boot: u32, text: &str) -> Finding {
        let timeline = node.timeline();
        result(&boot_of(&timeline, boot), &expect(text))
    }

    #[test]
    fn success_is_seen_in_the_snapshot() {
        let finding = judged(&Node::pulled_and_loaded(), 2, "{unit: load, result: success}");
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        assert!(!finding.evidence.is_empty());
    }

    #[test]
    fn a_failed_unit_is_not_green_and_its_last_words_are_shown() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(LOAD, |unit| {
            (unit.active_state, unit.result) = ("failed".into(), "exit-code".into());
        });
        let finding = judged(&node, 2, "{unit: load, result: success}");
        assert_eq!(finding.outcome, Outcome::Fail);
        assert!(finding.evidence.iter().any(|e| e.text.contains("loaded day1_nic")), "{finding:?}");
        assert_eq!(judged(&node, 2, "{unit: load, result: failed}").outcome, Outcome::Pass);
    }

    #[test]
    fn without_a_snapshot_the_journal_tells() {
        let node = Node::pulled_and_loaded();
        assert_eq!(judged(&node, 1, "{unit: load, result: skipped}").outcome, Outcome::Pass);
        assert_eq!(judged(&node, 1, "{unit: load, result: success}").outcome, Outcome::Fail);
        let pull = judged(&node, 1, "{unit: pull, result: success}");
        assert!(pull.outcome == Outcome::Fail && pull.message.contains("still starting"), "{pull:?}");
    }

    #[test]
    fn a_unit_that_never_ran_is_not_started() {
        let finding = judged(&Node::pulled_and_loaded(), 2, "{unit: nowhere.service, result: not-started}");
        assert_eq!(finding.outcome, Outcome::Pass);
        let finding = judged(&Node::pulled_and_loaded(), 2, "{unit: nowhere.service, result: success}");
        assert_eq!(finding.outcome, Outcome::Fail);
    }

    #[test]
    fn without_any_evidence_nothing_is_said() {
        let finding = judged(&Node::pulled_and_loaded(), 1, "{unit: nowhere.service, result: success}");
        assert_eq!(finding.outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.facts().units.clear();
        assert_eq!(judged(&node, 2, "{unit: load, result: success}").outcome, Outcome::Inconclusive);
    }
}
