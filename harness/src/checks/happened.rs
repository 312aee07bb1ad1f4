//! `scenario.happened`: what the scenario does to the node was done, and what it puts in its way was met.

use crate::scenario::{Action, Delay, Fault, Proxy, Scenario};
use crate::timeline::{Event, Happened, RegistryRequest, Timeline, What, delay_unit};

use super::boot::{Boot, resolve};
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
    let spec = &scenario.spec;
    findings.extend(spec.registry.faults.iter().enumerate().map(|(index, fault)| struck(timeline, index, fault)));
    findings.extend(spec.delays.iter().enumerate().map(|(index, delay)| held_up(timeline, index, delay)));
    if spec.registry.proxy == Proxy::Required {
        findings.push(proxied(timeline));
    }
    findings
}

/// A fault of the registry struck as many requests as it is to.
fn struck(timeline: &Timeline, index: usize, fault: &Fault) -> Finding {
    let subject = fault.on.subject();
    let concerns = |request: &RegistryRequest| {
        !request.fault.is_empty()
            && subject.is_none_or(|subject| subject == request.subject)
            && fault.repository.as_ref().is_none_or(|wanted| wanted.as_str() == request.repository)
            && fault.answer.is_none_or(|status| status == request.status)
    };
    let requests = timeline.events.iter().filter_map(|event| match &event.what {
        What::Registry(request) if concerns(request) => Some((event, request)),
        _ => None,
    });
    let requests: Vec<_> = requests.collect();
    let wanted = usize::try_from(fault.first.unwrap_or(1)).unwrap_or(usize::MAX);
    let what = format!("the registry's fault {}", index + 1);
    if requests.len() < wanted {
        let message = format!("{what} struck {} requests of {wanted}", requests.len());
        let advice =
            format!("Look at the item {} in `registry.faults`: does the node ask for that, so often?", index + 1);
        return Finding::inconclusive(CHECK, None, message).advise(advice);
    }
    let seen = requests.iter().take(3).map(|(event, request)| {
        Evidence::new(event, format!("{} {}: {}", request.method, request.path, request.fault))
    });
    Finding::pass(CHECK, None, format!("{what} struck {} requests", requests.len())).seen(seen)
}

/// A delay held its unit up in at least one boot.
fn held_up(timeline: &Timeline, index: usize, delay: &Delay) -> Finding {
    let name = delay_unit(index);
    let unit = resolve(timeline.facts(), &delay.unit).unwrap_or_else(|_| delay.unit.to_string());
    for number in 1..=timeline.boots() {
        let boot = Boot::new(timeline, number);
        // What begins before journald is in the real root, only the snapshot tells.
        let began = boot.first_start(&name).filter(|_| boot.first_start(&unit).is_some());
        let Some((_, event)) = began else { continue };
        return Finding::pass(CHECK, number, format!("{unit} was held up, as the scenario wants it"))
            .seen([Evidence::new(event, format!("{name} started"))]);
    }
    let message =
        format!("nothing shows that {unit} was held up in any boot: it was not started, or nothing waited for {name}");
    let advice = format!("Look at the item {} in `delays`: is there such a unit, and is it started?", index + 1);
    Finding::inconclusive(CHECK, None, message).advise(advice)
}

/// The node went through the proxy that is its only way.
fn proxied(timeline: &Timeline) -> Finding {
    let through = timeline.events.iter().find_map(|event| match &event.what {
        What::Proxy(request) if request.status == 200 => Some((event, request)),
        _ => None,
    });
    match through {
        Some((event, request)) => Finding::pass(CHECK, event.boot, "the node went through the proxy")
            .seen([Evidence::new(event, format!("{} {}", request.method, request.target))]),
        None => {
            Finding::inconclusive(CHECK, None, "nothing went through the proxy, which is the only way to the registry")
        }
    }
}

/// What is wrong with what was to be done when a boot had settled.
fn after_boot(done: &[(&Event, &Happened)], number: u32, then: &[Action]) -> Option<Finding> {
    let mine: Vec<_> =
        done.iter().filter(|(event, happened)| happened.index.is_none() && event.boot == number).collect();
    if let Some(failed) = mine.iter().find_map(|(event, happened)| failed(event, happened)) {
        return Some(failed);
    }
    let missing = missing(then, mine.iter().map(|(_, happened)| *happened));
    if missing.is_empty() {
        return None;
    }
    let message = format!("`{}` was to be done when boot {number} had settled, and was not", missing.join(", "));
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
    if !missing(actions, mine.iter().map(|(_, happened)| *happened)).is_empty() {
        let message = format!("only {} of `{names}` happened", mine.len());
        return Finding::inconclusive(CHECK, first.boot, message);
    }
    let evidence = mine.iter().map(|(event, happened)| Evidence::new(event, happened.action.clone()));
    Finding::pass(CHECK, first.boot, format!("`{names}` happened in boot {}", first.boot)).seen(evidence)
}

/// The names of those actions that were not done.
fn missing<'a>(wanted: &'a [Action], done: impl Iterator<Item = &'a Happened>) -> Vec<&'static str> {
    let mut done: Vec<&str> = done.map(|happened| happened.action.as_str()).collect();
    let was_done = |action: &&Action| match done.iter().position(|name| *name == action.name()) {
        Some(place) => {
            done.remove(place);
            false
        }
        None => true,
    };
    wanted.iter().filter(was_done).map(Action::name).collect()
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
    use crate::timeline::ProxyRequest;

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
    fn another_thing_that_was_done_is_no_substitute() {
        let events = ["clock", "collect-images"].map(|name| happened(Some(0), name, None));
        assert_eq!(judged(&events)[0].outcome, Outcome::Inconclusive);
    }

    #[test]
    fn what_the_scenario_puts_in_the_way_must_be_met() {
        let judged = |change: fn(&mut Scenario), spoil: fn(&mut Node)| {
            let (mut scenario, mut node) = (scenario(), Node::pulled_and_loaded());
            change(&mut scenario);
            spoil(&mut node);
            all(&scenario, &node.timeline()).remove(0)
        };
        let fault: fn(&mut Scenario) =
            |scenario| scenario.spec.registry.faults = expect("[{on: manifest, first: 2, answer: 503}]");
        let refused = |node: &mut Node| {
            node.boot(1).request("manifest", "tag", |one| (one.status, one.fault) = (503, "answered 503".into()));
        };
        assert_eq!(judged(fault, |_| {}).outcome, Outcome::Inconclusive);
        assert!(judged(fault, refused).message.contains("struck 1 requests of 2"));
        let twice = |node: &mut Node| {
            for _ in 0..2 {
                node.boot(1).request("manifest", "tag", |one| (one.status, one.fault) = (503, "answered 503".into()));
            }
        };
        assert_eq!(judged(fault, twice).outcome, Outcome::Pass);

        let delay: fn(&mut Scenario) = |scenario| scenario.spec.delays = expect("[{unit: load, by: 9s}]");
        assert_eq!(judged(delay, |_| {}).outcome, Outcome::Inconclusive);
        let held = |node: &mut Node| node.boot(2).starting(&delay_unit(0), 1_400_000);
        assert_eq!(judged(delay, held).outcome, Outcome::Pass);
        let early = |node: &mut Node| node.ready(2).unit(&delay_unit(0), |unit| unit.inactive_exit_us = 1_300_000);
        assert_eq!(judged(delay, early).outcome, Outcome::Pass);

        let proxy: fn(&mut Scenario) = |scenario| scenario.spec.registry.proxy = Proxy::Required;
        assert_eq!(judged(proxy, |_| {}).outcome, Outcome::Inconclusive);
        let through = |node: &mut Node| {
            let request = ProxyRequest { method: "CONNECT".into(), target: "registry:443".into(), status: 200 };
            node.boot(1).push(What::Proxy(request));
        };
        assert_eq!(judged(proxy, through).outcome, Outcome::Pass);
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
