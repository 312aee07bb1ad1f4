//! A trial with several nodes: each node judged as if it stood alone, and what is true of all of them together.

#[cfg(test)]
pub(crate) mod fixture;
mod rollout;
mod serving;
mod step;
#[cfg(test)]
mod tests;
mod told;

pub use serving::{Stretch, stretches};
pub use told::{NodeTold, StepTold, steps_told};

use crate::scenario::{PodKind, Scenario};
use crate::timeline::{Event, PodState, Timeline, What};

use super::judge::{Judgement, judge_one, set_aside};
use super::{Finding, Outcome, Verdict};

/// Judges a timeline of several nodes.
pub(super) fn judge(scenario: &Scenario, timeline: &Timeline) -> Judgement {
    let mut findings = vec![];
    let mut verdicts = vec![];
    let of_boots = without_day2(timeline);
    for node in &scenario.spec.nodes {
        let name = node.name.as_str();
        let own = judge_one(&scenario.of_member(name), &of_boots.of_node(name));
        verdicts.push(own.verdict);
        findings.extend(own.findings.into_iter().map(|finding| finding.on(name)));
    }
    let mut of_all = vec![];
    if timeline.pool().is_none() {
        of_all.push(Finding::inconclusive("evidence", None, "what the trial knows of its nodes was not recorded"));
    }
    for (index, planned) in scenario.spec.steps.iter().enumerate() {
        match step::Step::of(timeline, index) {
            Some(step) => of_all.extend(step.judge(planned, &scenario.spec)),
            None => of_all.push(never_came(timeline, index)),
        }
    }
    let any = |outcome| of_all.iter().any(|finding| finding.outcome == outcome);
    // What a single node comes to has its own order; of several the gravest counts.
    let verdict = match () {
        () if verdicts.contains(&Verdict::Infra) => Verdict::Infra,
        () if verdicts.contains(&Verdict::Fail) || any(Outcome::Fail) => Verdict::Fail,
        () if verdicts.contains(&Verdict::Inconclusive) || any(Outcome::Inconclusive) => Verdict::Inconclusive,
        () => Verdict::Pass,
    };
    of_all.extend(findings);
    Judgement { verdict, findings: of_all, set_aside: set_aside(scenario) }
}

/// How long after a pod's end the trace of what it did to a module may still come.
const STRAGGLER_US: u64 = 5_000_000;

/// What of a timeline the boots are judged by: which modules Day-2 management's pods take out and load is its steps' matter.
fn without_day2(timeline: &Timeline) -> Timeline {
    let mut works: Vec<(Option<&str>, u32, &str, u64, u64)> = vec![];
    for event in &timeline.events {
        let What::Pod(pod) = &event.what else { continue };
        if PodKind::of_pod(&pod.name).is_none() {
            continue;
        }
        let node = event.node.as_deref();
        match pod.is {
            // Of one whose end is never heard of, the rest of the boot is its own.
            PodState::Scheduled => works.push((node, event.boot, &pod.name, event.at_us, u64::MAX)),
            PodState::Succeeded | PodState::Failed => {
                let open = works.iter_mut().rev().find(|(of, _, name, ..)| *of == node && *name == pod.name);
                open.into_iter().for_each(|(.., until)| *until = event.at_us.saturating_add(STRAGGLER_US));
            }
            PodState::Pending => {}
        }
    }
    let is_managed = |event: &Event| {
        let is_module = matches!(event.what, What::ModuleLoad(_) | What::ModuleFree(_));
        let in_work = |(node, boot, _, from, until): &(Option<&str>, u32, &str, u64, u64)| {
            *node == event.node.as_deref() && *boot == event.boot && (*from..=*until).contains(&event.at_us)
        };
        is_module && works.iter().any(in_work)
    };
    Timeline::from(timeline.events.iter().filter(|event| !is_managed(event)).cloned().collect::<Vec<_>>())
}

/// A step that the timeline does not have.
fn never_came(timeline: &Timeline, index: usize) -> Finding {
    let began = timeline.events.iter().any(|event| matches!(&event.what, What::Step(step) if step.index == index));
    let how = if began { "has no end" } else { "never came" };
    Finding::inconclusive("rollout.states", None, format!("step {} {how}", index + 1))
}
