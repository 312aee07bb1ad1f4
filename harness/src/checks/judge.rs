//! From a scenario and a timeline to a verdict.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{self, Ends, Expectation, OptOut, Scenario};
use crate::timeline::{Event, MachineExited, Timeline, What};

use super::boot::Boot;
use super::{
    Evidence, Finding, Outcome, Verdict, budget, config, evidence, file, happened, image, journal, kernel, leftovers,
    module, nic, ordering, pool, ready, reboot, units,
};

/// A trial, judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// What it comes to.
    pub verdict: Verdict,
    /// Everything that was found, the whole trial first, then boot by boot.
    pub findings: Vec<Finding>,
    /// What the scenario does without.
    pub set_aside: Vec<SetAside>,
}

/// A base check, or one pattern of `journal.clean`, that the scenario does without.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SetAside {
    /// Its id.
    pub check: String,
    /// The scenario's reason.
    pub reason: String,
}

impl Judgement {
    /// The findings that the verdict rests on: those that did not pass; of a pass, all.
    pub fn telling(&self) -> impl Iterator<Item = &Finding> {
        let all = self.verdict == Verdict::Pass;
        self.findings.iter().filter(move |finding| all || finding.outcome != Outcome::Pass)
    }
}

/// Judges a timeline by a scenario. The same two give the same judgement, whenever and wherever.
pub fn judge(scenario: &Scenario, timeline: &Timeline) -> Judgement {
    if scenario.spec.nodes.is_empty() { judge_one(scenario, timeline) } else { pool::judge(scenario, timeline) }
}

/// What a scenario does without.
pub(super) fn set_aside(scenario: &Scenario) -> Vec<SetAside> {
    let without = scenario.spec.without.iter();
    without.map(|one| SetAside { check: one.check.clone(), reason: one.reason.clone() }).collect()
}

/// Judges the timeline of a node.
pub(super) fn judge_one(scenario: &Scenario, timeline: &Timeline) -> Judgement {
    let without = &scenario.spec.without;
    if let Some(finding) = evidence::handed_over_early(timeline) {
        return Judgement { verdict: Verdict::Inconclusive, findings: vec![finding], set_aside: vec![] };
    }
    let worth = evidence::worth(timeline);
    let mut findings = worth.findings;
    findings.extend(died(timeline).map(|(event, exit)| {
        let message = format!("QEMU ended ({}), and neither the harness nor the guest asked for it", exit.status);
        let last = exit.stderr.lines().last().unwrap_or("it said nothing");
        Finding::inconclusive("evidence", event.boot.max(1), message).seen([Evidence::new(event, last)])
    }));
    if !is_without(without, "boots.count") {
        findings.push(reboot::count(scenario, timeline));
    }
    // A node that must never ask for its config gets none.
    let boots = scenario.spec.boots.iter().map(|boot| &boot.expect).chain([&scenario.spec.every_boot]);
    let asks = boots.flat_map(|expect| expect.config_never_asked.iter()).next().is_none();
    if asks && !is_without(without, "config.identical") {
        findings.push(config::identical(timeline));
    }
    if !is_without(without, "config.modes") {
        findings.extend(config::modes(timeline));
    }
    let seen = timeline.boots();
    let planned = u32::try_from(scenario.spec.boots.len()).unwrap_or(u32::MAX);
    findings.extend(happened::all(scenario, timeline));
    if is_without(without, "boots.count") {
        // No scenario wants that, and nothing else would tell.
        findings.extend((1..=seen).filter_map(|number| reboot::powered_off(&Boot::new(timeline, number))));
    }
    for number in 1..=seen.max(planned) {
        // Of several boots that may pass until the node settles, what is expected is expected of the last.
        let plan = scenario.spec.boot(number).filter(|plan| plan.at_most.is_none() || number >= seen);
        findings.extend(match number <= seen {
            true => of_boot(scenario, timeline, number, plan),
            false => plan.map(|plan| never_came(scenario, number, plan)).unwrap_or_default(),
        });
    }
    findings.sort_by_key(|finding| finding.boot);
    let verdict = verdict(timeline, worth.contradictory, worth.stood_still, &findings);
    Judgement { verdict, findings, set_aside: set_aside(scenario) }
}

fn is_without(without: &[OptOut], check: &str) -> bool {
    without.iter().any(|one| one.check == check)
}

fn of_boot(scenario: &Scenario, timeline: &Timeline, number: u32, plan: Option<&scenario::Boot>) -> Vec<Finding> {
    let boot = Boot::new(timeline, number);
    let without = &scenario.spec.without;
    let mut findings = vec![];
    if let Some(plan) = plan.filter(|plan| plan.ends == Ends::Ready && !is_without(without, "node.ready")) {
        findings.push(ready::ready(&boot, &[&plan.expect, &scenario.spec.every_boot]));
    }
    // What is left, in which state the kernel is and how long things took counts once the boot settled.
    if boot.settled().is_some() && plan.is_some_and(|plan| plan.ends == Ends::Ready) {
        if !is_without(without, "node.leftovers") {
            findings.push(leftovers::leftovers(&boot));
        }
        if !is_without(without, "config.on-disk") {
            findings.push(config::on_disk(timeline, &boot));
        }
        if !is_without(without, "kernel.taint") {
            findings.push(kernel::taint(&boot));
        }
        findings.extend(kernel::chosen(&boot));
        if !is_without(without, "unit.budget") {
            findings.extend(budget::all(&boot));
        }
    }
    if scenario.spec.node.secure_boot && plan.is_some_and(|plan| plan.ends != Ends::Cut) {
        findings.push(kernel::locked_down(&boot));
    }
    if !is_without(without, "journal.clean") {
        findings.extend(journal::clean(&boot, without));
    }
    let own = plan.map(|plan| plan.expect.each()).unwrap_or_default();
    let every = scenario.spec.every_boot.each();
    findings.extend(own.into_iter().chain(every).map(|(_, expectation)| one(timeline, &boot, expectation)));
    findings
}

pub(super) fn one(timeline: &Timeline, boot: &Boot<'_>, expectation: Expectation<'_>) -> Finding {
    match expectation {
        Expectation::ConfigNeverAsked(one) => config::never_asked(timeline, boot, one),
        Expectation::UnitResult(one) => units::result(boot, one),
        Expectation::UnitBefore(one) => ordering::before(boot, one),
        Expectation::ModuleReplaced(one) => module::replaced(boot, one),
        Expectation::ModulePresent(one) => module::present(boot, one),
        Expectation::ModuleAbsent(one) => module::absent(boot, one),
        Expectation::NicDriver(one) => nic::driver(boot, one),
        Expectation::ImagePulled(one) => image::pulled(timeline, boot, one),
        Expectation::ImageNotPulled(one) => image::not_pulled(timeline, boot, one),
        Expectation::ImageRefused(one) => image::refused(timeline, boot, one),
        Expectation::JournalSays(one) => journal::says(boot, one),
        Expectation::JournalLacks(one) => journal::lacks(timeline, boot, one),
        Expectation::KernelRunning(one) => kernel::running(boot, one),
        Expectation::FileState(one) => file::state(boot, one),
    }
}

/// A planned boot that the timeline does not have: each of its expectations lacks its evidence.
fn never_came(scenario: &Scenario, number: u32, plan: &scenario::Boot) -> Vec<Finding> {
    let expectations = plan.expect.each().into_iter().chain(scenario.spec.every_boot.each());
    let ids = expectations.map(|(_, expectation)| expectation.check());
    let ids = ids.chain((plan.ends == Ends::Ready).then_some("node.ready"));
    ids.map(|check| Finding::inconclusive(check, number, format!("boot {number} never came"))).collect()
}

/// The end of QEMU that neither the harness nor the guest asked for.
fn died(timeline: &Timeline) -> Option<(&Event, &MachineExited)> {
    let by_guest = timeline.events.iter().any(|event| reboot::guest_shutdown(event));
    let mut unexpected = timeline.events.iter().filter_map(|event| match &event.what {
        What::MachineExited(exit) if !exit.expected => Some((event.as_ref(), exit)),
        _ => None,
    });
    unexpected.next().filter(|_| !by_guest)
}

fn verdict(timeline: &Timeline, contradictory: bool, stood_still: Option<u32>, findings: &[Finding]) -> Verdict {
    let any = |outcome| findings.iter().any(|finding| finding.outcome == outcome);
    let failed_before = |number| {
        let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Fail);
        failed.filter_map(|finding| finding.boot).any(|boot| boot < number)
    };
    match () {
        () if died(timeline).is_some() => Verdict::Infra,
        () if contradictory => Verdict::Inconclusive,
        () if stood_still.is_some_and(|number| !failed_before(number)) => Verdict::Infra,
        () if any(Outcome::Fail) => Verdict::Fail,
        () if any(Outcome::Inconclusive) || findings.is_empty() => Verdict::Inconclusive,
        () => Verdict::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::fixture::{LOAD, Node, scenario};
    use crate::timeline::{Event, HandedOver};

    fn judged(node: &Node) -> Judgement {
        judge(&scenario(), &node.timeline())
    }

    fn failing(judgement: &Judgement) -> Vec<&str> {
        let failing = judgement.findings.iter().filter(|finding| finding.outcome == Outcome::Fail);
        failing.map(|finding| finding.check.as_str()).collect()
    }

    #[test]
    fn a_good_trial_passes_with_every_check_of_the_scenario() {
        let judgement = judged(&Node::pulled_and_loaded());
        assert_eq!(judgement.verdict, Verdict::Pass, "{:#?}", judgement.telling().collect::<Vec<_>>());
        let mut checks: Vec<&str> = judgement.findings.iter().map(|finding| finding.check.as_str()).collect();
        checks.sort_unstable();
        checks.dedup();
        let all = [
            "boots.count",
            "config.identical",
            "config.modes",
            "config.on-disk",
            "evidence",
            "image.not-pulled",
            "image.pulled",
            "journal.clean",
            "kernel.taint",
            "module.replaced",
            "nic.driver",
            "node.leftovers",
            "node.ready",
            "unit.before",
            "unit.budget",
            "unit.result",
        ];
        assert_eq!(checks, all);
    }

    #[test]
    fn one_failure_turns_it_red_even_where_other_evidence_is_missing() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.modules.remove("day1_nic");
        node.boot(1).remove_console();
        let judgement = judged(&node);
        assert_eq!(judgement.verdict, Verdict::Fail);
        assert_eq!(failing(&judgement), ["module.replaced"]);
    }

    #[test]
    fn no_evidence_no_pass() {
        let removed: [fn(&What) -> bool; 7] = [
            |what| matches!(what, What::Snapshot(_)),
            |what| matches!(what, What::Console(_)),
            |what| matches!(what, What::Journal(_)),
            |what| matches!(what, What::ModuleLoad(_) | What::ModuleFree(_)),
            |what| matches!(what, What::ConfigServed(_)),
            |what| matches!(what, What::Facts(_)),
            |what| matches!(what, What::Qmp(_) | What::MachineStarted(_)),
        ];
        for (which, removed) in removed.into_iter().enumerate() {
            let mut node = Node::pulled_and_loaded();
            node.remove(removed);
            assert_eq!(judged(&node).verdict, Verdict::Inconclusive, "{which}: {:#?}", judged(&node));
        }
        assert_eq!(judge(&scenario(), &Timeline::default()).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn contradicting_witnesses_make_failures_untold() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).snapshot.modules.remove("day1_nic");
        node.boot(2).boot_id("boot-1");
        assert_eq!(judged(&node).verdict, Verdict::Inconclusive);
    }

    #[test]
    fn a_machine_that_died_is_the_harness_side() {
        let mut node = Node::pulled_and_loaded();
        let exit = MachineExited { expected: false, status: "signal 11".into(), stderr: String::new() };
        node.boot(2).push(What::MachineExited(exit));
        let judgement = judged(&node);
        assert_eq!(judgement.verdict, Verdict::Infra);
        let told = "QEMU ended (signal 11), and neither the harness nor the guest asked for it";
        assert!(judgement.telling().any(|finding| finding.message == told), "{judgement:#?}");
    }

    #[test]
    fn a_machine_that_stood_still_is_the_harness_side_unless_something_failed_before_or_a_module_was_there() {
        let still = |before: &[&str]| {
            let mut node = Node::pulled_and_loaded();
            for line in before {
                node.boot(2).console(line);
            }
            node.boot(2).console("[   23.502032] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:");
            node.boot(2).console("[   23.547372] rcu: \tPossible timer handling issue on cpu=1 timer-softirq=3");
            node
        };
        let untainted = "[   23.517547] CPU: 1 UID: 0 PID: 0 Comm: swapper/1 Not tainted 6.12.107+deb13-amd64 #1";
        let mut node = still(&[untainted]);
        let judgement = judged(&node);
        assert_eq!(judgement.verdict, Verdict::Infra);
        assert!(judgement.telling().any(|finding| finding.message.contains("the machine stood still")));

        node.boot(1).console("[   30.000000] Kernel panic - not syncing: before");
        assert_eq!(judged(&node).verdict, Verdict::Fail);

        let loaded = "[   20.000000] day1_nic: loading out-of-tree module taints kernel.";
        let tainted =
            "[   23.517547] CPU: 1 UID: 0 PID: 0 Comm: swapper/1 Tainted: G           O 6.12.107+deb13-amd64 #1";
        // A program may write what it likes.
        let forged = "CPU: 1 UID: 0 PID: 0 Comm: swapper/1 Not tainted 6.12.107+deb13-amd64 #1";
        for before in [vec![loaded, untainted], vec![tainted], vec![forged], vec![]] {
            assert_eq!(judged(&still(&before)).verdict, Verdict::Fail, "{before:?}");
        }
    }

    #[test]
    fn a_boot_that_never_came_is_judged_by_what_ended_the_one_before() {
        let mut node = Node::pulled_and_loaded();
        node.drop_boots_after(1);
        assert_eq!(judged(&node).verdict, Verdict::Inconclusive);
        node.boot(1).push(What::DeadlinePassed { waiting_for: "the reboot".into(), after_s: 300.0 });
        let judgement = judged(&node);
        assert_eq!(judgement.verdict, Verdict::Fail);
        assert_eq!(failing(&judgement), ["boots.count"]);
    }

    #[test]
    fn a_node_that_was_left_to_a_person_is_judged_unless_its_trial_was_cut_short() {
        let mut node = Node::pulled_and_loaded();
        let handed_over = |early: Option<&str>| What::HandedOver(HandedOver { early: early.map(str::to_owned) });
        node.remove(|what| matches!(what, What::MachineExited(_)));
        node.boot(2).push(handed_over(None));
        assert_eq!(judged(&node).verdict, Verdict::Pass, "{:#?}", judged(&node).telling().collect::<Vec<_>>());
        node.ready(2).snapshot.modules.remove("day1_nic");
        assert_eq!(judged(&node).verdict, Verdict::Fail);
        node.boot(2).push(handed_over(Some("entered in boot 2")));
        let judgement = judged(&node);
        assert_eq!(judgement.verdict, Verdict::Inconclusive);
        let [finding] = judgement.findings.as_slice() else { panic!("{judgement:#?}") };
        assert!(finding.message.contains("entered in boot 2") && !finding.evidence.is_empty(), "{finding:?}");
    }

    #[test]
    fn what_a_scenario_does_without_is_set_aside_with_its_reason() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("other.service", |unit| unit.active_state = "failed".into());
        assert_eq!(failing(&judged(&node)), ["node.ready"]);
        let mut scenario = scenario();
        scenario.spec.without = vec![OptOut { check: "node.ready".into(), reason: "a unit fails on purpose".into() }];
        let judgement = judge(&scenario, &node.timeline());
        assert_eq!(judgement.verdict, Verdict::Pass, "{judgement:#?}");
        assert_eq!(judgement.set_aside[0].reason, "a unit fails on purpose");
    }

    #[test]
    fn a_config_without_its_order_is_caught_by_that_check_alone() {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit("network-pre.target", |unit| unit.after.retain(|after| after != LOAD));
        assert_eq!(failing(&judged(&node)), ["unit.before"]);
    }

    #[test]
    fn the_bus_files_the_events_under_the_same_boots() {
        let recorded = Node::pulled_and_loaded().timeline();
        let bus = crate::timeline::Bus::new(None);
        recorded.events.iter().for_each(|event| bus.push(event.what.clone()));
        let timeline = Timeline::from(bus.events());
        assert_eq!(judge(&scenario(), &timeline), judge(&scenario(), &recorded));
    }

    #[test]
    fn a_judgement_survives_its_file_and_a_recorded_timeline_is_judged_the_same() {
        let node = Node::pulled_and_loaded();
        let judgement = judged(&node);
        let written = serde_json::to_string(&judgement).expect("writable");
        assert_eq!(serde_json::from_str::<Judgement>(&written).expect("readable"), judgement);
        let lines: Vec<String> = node
            .timeline()
            .events
            .iter()
            .map(|event| serde_json::to_string(event.as_ref()).expect("writable"))
            .collect();
        let events = lines.iter().map(|line| serde_json::from_str::<Event>(line).expect("readable").into());
        assert_eq!(judge(&scenario(), &Timeline::from(events.collect::<Vec<_>>())), judgement);
    }
}
