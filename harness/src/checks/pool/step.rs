//! One step of a timeline, and what is expected of it.

use std::collections::{BTreeMap, BTreeSet};

use crate::scenario::{AskedFor, Downtime, Id, PodKind, PodOutcome, PodResult, PoolStep, Spec};
use crate::timeline::{Asked, Event, PodState, Timeline, What};

use super::super::boot::{Boot, step_label};
use super::super::judge::one;
use super::super::{Evidence, Finding, span};
use super::serving::{Span, common, silences};

/// A step from its beginning to its end.
pub(super) struct Step<'t> {
    pub(super) timeline: &'t Timeline,
    pub(super) index: usize,
    /// Where the events begin and end, in the timeline.
    pub(super) first: usize,
    pub(super) last: usize,
    pub(super) span: Span,
    /// What it did.
    pub(super) text: String,
    /// How often each node was asked in it.
    asked: BTreeMap<String, u64>,
}

fn configs(names: &[&str]) -> String {
    if names.is_empty() { "no MachineConfig".to_owned() } else { names.join(", ") }
}

/// The least share of the questions that must have been asked for their answers to tell anything.
const ASKED_PERCENT: u64 = 90;

impl<'t> Step<'t> {
    /// None of one that did not begin or end.
    pub(super) fn of(timeline: &'t Timeline, index: usize) -> Option<Self> {
        Self::so_far(timeline, index).filter(|(_, ended)| *ended).map(|(step, _)| step)
    }

    /// One that began, and whether it has an end; without one it is all that comes after its beginning.
    pub(super) fn so_far(timeline: &'t Timeline, index: usize) -> Option<(Self, bool)> {
        let at = |ended: bool| {
            timeline
                .events
                .iter()
                .position(|event| matches!(&event.what, What::Step(step) if step.index == index && step.ended == ended))
        };
        let (first, end) = (at(false)?, at(true));
        let last = end.unwrap_or(timeline.events.len() - 1);
        let What::Step(step) = &timeline.events[first].what else { return None };
        let mut asked = match &timeline.events[last].what {
            What::Step(end) => end.asked.clone(),
            _ => BTreeMap::new(),
        };
        for (node, count) in &mut asked {
            *count = count.saturating_sub(step.asked.get(node).copied().unwrap_or_default());
        }
        let (begins, ends) = (&timeline.events[first], &timeline.events[last]);
        let span = Span { from_us: begins.at_us, to_us: ends.at_us, seq: begins.seq };
        Some((Self { timeline, index, first, last, span, text: step.text.clone(), asked }, end.is_some()))
    }

    pub(super) fn events(&self) -> impl Iterator<Item = &'t Event> {
        self.timeline.events[self.first..=self.last].iter().map(AsRef::as_ref)
    }

    /// The node of that name, or all of them.
    pub(super) fn nodes<'n>(&self, one: Option<&'n Id>) -> Vec<&'n str>
    where
        't: 'n,
    {
        let all = self.timeline.pool().into_iter().flat_map(|pool| &pool.nodes).map(|node| node.name.as_str());
        one.map_or_else(|| all.collect(), |node| vec![node.as_str()])
    }

    /// When a node did not answer in it; none where too little was asked to tell.
    pub(super) fn silences(&self, node: &str, asked: Asked) -> Option<Vec<Span>> {
        let every_us = self.timeline.pool()?.asked_every_ms.max(1) * 1000;
        let (due, were) = (self.span.length_us() / every_us, self.asked.get(node).copied().unwrap_or_default());
        (were * 100 >= due * ASKED_PERCENT).then(|| silences(self.timeline, node, asked, self.span)).flatten()
    }

    pub(super) fn name(&self) -> String {
        format!("step {} ({})", self.index + 1, self.text)
    }

    pub(super) fn judge(&self, planned: &PoolStep, spec: &Spec) -> Vec<Finding> {
        let expect = &planned.expect;
        let mut findings = self.order(planned, spec);
        if planned.rollout.is_some() {
            findings.extend(self.unavailable(spec));
        }
        findings.extend(self.states(&expect.states, spec));
        findings.extend(self.merged(&expect.merged));
        findings.extend(expect.downtime.iter().map(|downtime| self.downtime(downtime)));
        findings.extend(expect.pods.iter().flat_map(|pod| self.pods(pod)));
        for node in self.nodes(None) {
            findings.extend(self.of_node(planned, node));
        }
        findings
    }

    /// What is expected of one node when the step ends.
    fn of_node(&self, planned: &PoolStep, name: &str) -> Vec<Finding> {
        let label = step_label(self.index);
        let own = self.timeline.of_node(name);
        let looked = own
            .events
            .iter()
            .rev()
            .find(|event| matches!(&event.what, What::Snapshot(snapshot) if snapshot.label == label));
        let until = self.timeline.events[self.last].seq;
        let judged = planned.expect.of(name).map(|(_, expectation)| match looked {
            Some(event) => one(&own, &Boot::looked_at(&own, event.boot, &label, until), expectation),
            None => {
                let message = format!("{}: nobody could look at the node when it ended", self.name());
                Finding::inconclusive(expectation.check(), None, message)
            }
        });
        judged.map(|finding| finding.on(name)).collect()
    }

    fn merged(&self, wanted: &BTreeMap<Id, Vec<String>>) -> Vec<Finding> {
        const CHECK: &str = "rollout.merged";
        let until = &self.timeline.events[..=self.last];
        let judged = wanted.iter().map(|(pool, wanted)| {
            let pool = pool.as_str();
            let last = until.iter().rev().find_map(|event| match &event.what {
                What::Rendered(one) if one.pool == pool => Some((event, one)),
                _ => None,
            });
            let Some((event, rendered)) = last else {
                return Finding::inconclusive(CHECK, None, format!("{}: pool {pool} was never rendered", self.name()));
            };
            let is: Vec<&str> = rendered.machine_configs.iter().map(String::as_str).collect();
            let was: Vec<&str> = wanted.iter().map(String::as_str).collect();
            let seen = [Evidence::new(event, format!("{} is of {}", rendered.config, configs(&is)))];
            if is == was {
                Finding::pass(CHECK, None, format!("{}: {pool} is merged of {}", self.name(), configs(&is))).seen(seen)
            } else {
                let message =
                    format!("{}: {pool} is merged of {}, and was to be of {}", self.name(), configs(&is), configs(&was));
                Finding::fail(CHECK, None, message).seen(seen).advise(
                    "A pool has the MachineConfigs of its role, a custom one those of `worker` before its own, each group by name.",
                )
            }
        });
        judged.collect()
    }

    fn downtime(&self, wanted: &Downtime) -> Finding {
        const CHECK: &str = "downtime";
        let asked = match wanted.asked {
            AskedFor::Service => Asked::Service,
            AskedFor::Ping => Asked::Ping,
        };
        let nodes = self.nodes(wanted.of.as_ref());
        let who = wanted.of.as_ref().map_or("the cluster", Id::as_str);
        let lists: Option<Vec<Vec<Span>>> = nodes.iter().map(|node| self.silences(node, asked)).collect();
        let Some(lists) = lists.filter(|lists| !lists.is_empty()) else {
            let message = format!("{}: {who} was not asked often enough to tell", self.name());
            return Finding::inconclusive(CHECK, None, message);
        };
        let down = common(&lists);
        let sum: u64 = down.iter().map(Span::length_us).sum();
        let us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let most = wanted.at_most.map(|most| us(most.duration())).or(wanted.none.then_some(0));
        let least = wanted.at_least.map_or(0, |least| us(least.duration()));
        let seen = down.iter().filter_map(|one| {
            let event = self.timeline.events.get(usize::try_from(one.seq).ok()?)?;
            Some(Evidence::new(event, format!("{who} is silent for {}", span(one.length_us()))))
        });
        let what = match wanted.asked {
            AskedFor::Service => "serve",
            AskedFor::Ping => "answer",
        };
        let is = match sum {
            0 => format!("{}: {who} did {what} all the time", self.name()),
            sum => format!("{}: {who} did not {what} for {}", self.name(), span(sum)),
        };
        let finding = match () {
            () if most.is_some_and(|most| sum > most) => {
                let most = most.unwrap_or_default();
                let allowed = if most == 0 { "at no time".to_owned() } else { format!("for {} at most", span(most)) };
                Finding::fail(CHECK, None, format!("{is}, and it was to be so {allowed}"))
            }
            () if sum < least => {
                Finding::fail(CHECK, None, format!("{is}, and it was to be so for {} at least", span(least)))
            }
            () => Finding::pass(CHECK, None, is),
        };
        let finding = finding.seen(seen);
        match &wanted.of {
            Some(node) => finding.on(node.as_str()),
            None => finding,
        }
    }

    fn pods(&self, wanted: &PodResult) -> Vec<Finding> {
        const CHECK: &str = "pod.result";
        let nodes = self.nodes(wanted.node.as_ref());
        let told_of = |node: &str| -> Vec<(&Event, &crate::timeline::Pod)> {
            let of_node = self.events().filter(|event| event.node.as_deref() == Some(node));
            let pods = of_node.filter_map(|event| match &event.what {
                What::Pod(pod) if PodKind::of_pod(&pod.name) == Some(wanted.pod) => Some((event, pod)),
                _ => None,
            });
            pods.collect()
        };
        // Each pod of the kind by itself; a node without any has that to tell.
        let each = nodes.into_iter().flat_map(|node| {
            let told = told_of(node);
            let names: BTreeSet<&str> = told.iter().map(|(_, pod)| pod.name.as_str()).collect();
            let of = |name: &str| told.iter().copied().filter(|(_, pod)| pod.name == name).collect::<Vec<_>>();
            let each: Vec<_> = names.into_iter().map(of).collect();
            let each = if each.is_empty() { vec![vec![]] } else { each };
            each.into_iter().map(move |told| (node, told))
        });
        let judged = each.map(|(node, told)| {
            let outcome = match told.last().map(|(_, pod)| pod.is) {
                None => PodOutcome::Never,
                Some(PodState::Pending) => PodOutcome::Pending,
                Some(PodState::Scheduled) => PodOutcome::Unknown,
                Some(PodState::Succeeded) => PodOutcome::Succeeded,
                Some(PodState::Failed) => PodOutcome::Failed,
            };
            let seen = told.iter().map(|(event, pod)| {
                let why = if pod.why.is_empty() { String::new() } else { format!(": {}", pod.why) };
                Evidence::new(event, format!("pod {}{why}", pod.name))
            });
            let is = format!("{}: the pod that {}s ended as {}", self.name(), wanted.pod.as_str(), outcome.as_str());
            if outcome == wanted.is {
                Finding::pass(CHECK, None, is).seen(seen).on(node)
            } else {
                Finding::fail(CHECK, None, format!("{is}, and was to be {}", wanted.is.as_str()))
                    .seen(seen)
                    .advise("A pod is taken by a node's kubelet over the network, and its end is told the same way.")
                    .on(node)
            }
        });
        judged.collect()
    }
}
