//! What came of each step, for a person.

use crate::timeline::{Asked, Timeline, What};

use super::serving::{Span, common, silences};
use super::step::Step;

/// What came of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepTold {
    /// Its place among the steps, from 0.
    pub index: usize,
    /// What it did.
    pub text: String,
    /// When it began and ended on the timeline's clock, in microseconds; of one without an end, where the timeline ends.
    pub from_us: u64,
    /// See there.
    pub to_us: u64,
    /// Whether it has an end.
    pub ended: bool,
    /// What each node came to, in the trial's order.
    pub nodes: Vec<NodeTold>,
    /// How long none of them served, in microseconds; none where one was not asked before the step.
    pub service_us: Option<u64>,
    /// How long none of them answered ping.
    pub ping_us: Option<u64>,
}

/// What a node came to in a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeTold {
    /// Its name.
    pub name: String,
    /// What it is when the step ends: as a scenario expects it, or else what the control plane said last; empty where it said nothing.
    pub state: String,
    /// The event that tells it.
    pub seq: Option<u64>,
    /// How long it did not serve, in microseconds; none where it was not asked before the step.
    pub service_us: Option<u64>,
    /// How long it did not answer ping.
    pub ping_us: Option<u64>,
}

/// What came of the steps that began.
pub fn steps_told(timeline: &Timeline) -> Vec<StepTold> {
    let began = timeline.events.iter().filter_map(|event| match &event.what {
        What::Step(step) if !step.ended => Some(step.index),
        _ => None,
    });
    began.filter_map(|index| Step::so_far(timeline, index)).map(|(step, ended)| step.told(ended)).collect()
}

impl Step<'_> {
    fn told(&self, ended: bool) -> StepTold {
        let names = self.nodes(None);
        let down = |names: &[&str], asked| {
            let lists: Option<Vec<Vec<Span>>> =
                names.iter().map(|name| silences(self.timeline, name, asked, self.span)).collect();
            lists.map(|lists| common(&lists).iter().map(Span::length_us).sum())
        };
        let node = |name: &&str| {
            let (state, seen) = self.state_of(name);
            let last = self.timeline.events[..=self.last].iter().rev().find_map(|event| match &event.what {
                What::NodeChanged(one) if event.node.as_deref() == Some(*name) => Some((one.to.as_str(), event.seq)),
                _ => None,
            });
            let of_last = last.map(|(state, _)| state).unwrap_or_default();
            NodeTold {
                name: (*name).to_owned(),
                state: state.map_or(of_last, crate::scenario::MemberState::as_str).to_owned(),
                seq: seen.last().map(|evidence| evidence.seq).or(last.map(|(_, seq)| seq)),
                service_us: down(&[name], Asked::Service),
                ping_us: down(&[name], Asked::Ping),
            }
        };
        StepTold {
            index: self.index,
            text: self.text.clone(),
            from_us: self.span.from_us,
            to_us: self.span.to_us,
            ended,
            nodes: names.iter().map(node).collect(),
            service_us: down(&names, Asked::Service),
            ping_us: down(&names, Asked::Ping),
        }
    }
}
