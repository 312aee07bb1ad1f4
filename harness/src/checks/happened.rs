//! `scenario.happened`: what the scenario does to the node was done.

use crate::scenario::{Action, Scenario};
use crate::timeline::{Event, Happened, Timeline, What};

use super::{Evidence, Finding};

const CHECK: &str = "scenario.happened";

/// One finding for each thing that happens in the scenario. A fault that never came proves nothing.
pub(super) fn all(scenario: &Scenario, timeline: &Timeline) -> Vec<Finding> {
    let done: Vec<(&Event, &Happened)> = timeline
        .events
        .iter()
        .filter_map(|event| match &event.what {
            What::Happened(happened) => Some((event.as_ref(), happened)),
            _ => None,
        })
        .collect();
    let happens = scenario.spec.happens.iter().enumerate();
    let mut findings: Vec<Finding> = happens.map(|(index, one)| judge(&done, index, &one.actions)).collect();
    for (index, plan) in scenario.spec.boots.iter().enumerate() {
        let number = match plan.at_most {
            Some(_) => timeline.boots(),
            None => u32::try_from(index + 1).unwrap_or(u32::MAX),
        };
        // Of boots that never were, boots.count tells.
        if number <= timeline.boots() {
            findings.extend(after_boot(&done, number, &plan.then));
        }
    }
    findings
}

/// What is wrong with what was to be done when a boot had settled.
fn after_boot(done: &[(&Event, &Happened)], number: u32, then: &[Action]) -> Option<Finding> {
    let mine: Vec<_> =
        done.iter().filter(|(event, happened)| happened.index.is_none() && event.boot == number).collect();
    if let Some(failed) = mine.iter().find_map(|(event, happened)| failed(event, happened)) {
        return Some(failed);
    }
    let missing = then.get(mine.len()..).filter(|missing| !missing.is_empty())?;
    let names = missing.iter().map(Action::name).collect::<Vec<_>>().join(", ");
    let message = format!("`{names}` was to be done when boot {number} had settled, and was not");
    let finding = Finding::inconclusive(CHECK, number, message);
    Some(finding.advise("The boot did not settle, or ended before that; boots.count and node.ready tell more."))
}

fn judge(done: &[(&Event, &Happened)], index: usize, actions: &[Action]) -> Finding {
    let names = actions.iter().map(Action::name).collect::<Vec<_>>().join(", ");
    let mine: Vec<_> = done.iter().filter(|(_, happened)| happened.index == Some(index)).collect();
    if let Some(failed) = mine.iter().find_map(|(event, happened)| failed(event, happened)) {
        return failed;
    }
    let Some((first, _)) = mine.first() else {
        let message = format!("`{names}` never happened: what it waits for was not seen");
        let advice = format!("Look at `when` of the item {} in `happens`.", index + 1);
        return Finding::inconclusive(CHECK, None, message).advise(advice);
    };
    if mine.len() < actions.len() {
        let message = format!("only {} of `{names}` happened", mine.len());
        return Finding::inconclusive(CHECK, first.boot, message);
    }
    let evidence = mine.iter().map(|(event, happened)| Evidence::new(event, happened.action.clone()));
    Finding::pass(CHECK, first.boot, format!("`{names}` happened in boot {}", first.boot)).seen(evidence)
}

fn failed(event: &Event, happened: &Happened) -> Option<Finding> {
    let why = happened.failed.as_ref()?;
    let message = format!("`{}` could not be done: {why}", happened.action);
    Some(Finding::inconclusive(CHECK, event.boot, message).seen([Evidence::new(event, why.clone())]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, expect, scenario};

    fn judged(events: &[Happened]) -> Vec<Finding> {
        let mut scenario = scenario();
        scenario.spec.happens = expect("[{when: {phase: settled}, do: [power-cut, collect-images]}]");
        let mut node = Node::pulled_and_loaded();
        events.iter().for_each(|event| node.boot(2).push(What::Happened(event.clone())));
        all(&scenario, &node.timeline())
    }

    fn happened(index: Option<usize>, action: &str, failed: Option<&str>) -> Happened {
        Happened { index, action: action.into(), trigger: None, failed: failed.map(Into::into) }
    }

    #[test]
    fn what_was_done_passes_and_what_was_not_proves_nothing() {
        let (cut, collect) = (happened(Some(0), "power-cut", None), happened(Some(0), "collect-images", None));
        assert_eq!(judged(&[cut.clone(), collect])[0].outcome, Outcome::Pass);
        assert_eq!(judged(&[cut])[0].outcome, Outcome::Inconclusive);
        let never = &judged(&[])[0];
        assert!(never.outcome == Outcome::Inconclusive && never.message.contains("never happened"), "{never:?}");
        let failed = &judged(&[happened(Some(0), "power-cut", Some("QEMU is gone"))])[0];
        assert!(failed.outcome == Outcome::Inconclusive && failed.message.contains("QEMU is gone"), "{failed:?}");
    }

    #[test]
    fn what_was_to_be_done_after_a_boot_is_demanded() {
        let judged = |events: &[Happened]| {
            let mut scenario = scenario();
            scenario.spec.boots[1].then = expect("[collect-images, reboot]");
            let mut node = Node::pulled_and_loaded();
            events.iter().for_each(|event| node.boot(2).push(What::Happened(event.clone())));
            all(&scenario, &node.timeline())
        };
        let (collect, reboot) = (happened(None, "collect-images", None), happened(None, "reboot", None));
        assert_eq!(judged(&[collect.clone(), reboot]), []);
        let found = judged(&[collect]);
        assert!(found[0].outcome == Outcome::Inconclusive && found[0].message.starts_with("`reboot`"), "{found:?}");
        let found = judged(&[]);
        assert!(found[0].message.contains("`collect-images, reboot` was to be done when boot 2"), "{found:?}");
        let found = judged(&[happened(None, "collect-images", Some("no podman"))]);
        assert!(found.len() == 1 && found[0].message.contains("no podman"), "{found:?}");
    }
}
