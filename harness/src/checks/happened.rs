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
    let between = done.iter().filter(|(_, happened)| happened.index.is_none());
    findings.extend(between.filter_map(|(event, happened)| failed(event, happened)));
    findings
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
    fn what_failed_between_boots_is_told() {
        let found = judged(&[happened(None, "fill", Some("no such directory"))]);
        assert_eq!(found.len(), 2);
        assert!(found[1].message.contains("no such directory"), "{found:?}");
    }
}
