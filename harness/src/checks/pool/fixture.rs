//! Timelines of two nodes for the tests: two good trials side by side, and one step after them.

use std::sync::Arc;

use crate::checks::fixture::{Node, expect, scenario};
use crate::scenario::Scenario;
use crate::timeline::{
    Answering, Asked, Event, Facts, MemberFact, NodeChanged, NodeState, Pod, PodState, PoolFacts, RenderedFor, Step,
    Timeline, What,
};

/// When the step begins and ends, in seconds of the timeline's clock.
pub(crate) const BEGINS: u64 = 100;
pub(crate) const ENDS: u64 = 200;

/// Two nodes, `worker-1` and `worker-2`, in one pool, and a step.
pub(crate) struct Pool {
    pub(crate) nodes: [Node; 2],
    /// What is told of the step: when, of which node, and what. What comes before it is told first.
    pub(crate) told: Vec<(u64, Option<&'static str>, What)>,
}

pub(crate) const ONE: Option<&str> = Some("worker-1");
pub(crate) const TWO: Option<&str> = Some("worker-2");

/// The scenario that the good pool follows: `worker-1` is updated without a reboot, `worker-2` is left alone.
pub(crate) fn pool_scenario(expect_of_step: &str) -> Scenario {
    let mut scenario = scenario();
    scenario.spec.nodes = expect("[{name: worker-1}, {name: worker-2}]");
    scenario.spec.steps = expect(&format!(
        "[{{do: {{apply: 99-worker-day1-nic}}, rollout: {{nodes: [worker-1]}}, expect: {expect_of_step}}}]"
    ));
    scenario
}

pub(crate) fn changed(to: NodeState) -> What {
    What::NodeChanged(NodeChanged { to, why: String::new() })
}

pub(crate) fn done(config: &str) -> What {
    What::NodeChanged(NodeChanged { to: NodeState::Done, why: config.into() })
}

pub(crate) fn answers(asked: Asked, answers: bool, since_s: u64) -> What {
    What::Answering(Answering { asked, answers, since_us: since_s * 1_000_000 })
}

pub(crate) fn pod(name: &str, is: PodState) -> What {
    What::Pod(Pod { name: name.into(), is, why: String::new() })
}

impl Pool {
    pub(crate) fn rolled_out() -> Self {
        let step = |ended| {
            // Four times a second.
            let asked = if ended { 4 * ENDS } else { 4 * BEGINS };
            let asked = ["worker-1", "worker-2"].map(|node| (node.to_owned(), asked)).into();
            What::Step(Step { index: 0, text: "apply 99-worker-day1-nic".into(), ended, asked, unfinished: vec![] })
        };
        let rendered = RenderedFor {
            pool: "worker".into(),
            config: "rendered-worker-2".into(),
            machine_configs: vec!["99-worker-day1-nic".into()],
        };
        let mut told: Vec<(u64, Option<&'static str>, What)> = [ONE, TWO]
            .into_iter()
            .flat_map(|node| {
                [
                    (50, node, changed(NodeState::Ready)),
                    (60, node, answers(Asked::Service, true, 60)),
                    (60, node, answers(Asked::Ping, true, 60)),
                ]
            })
            .collect();
        told.extend([
            (BEGINS, None, step(false)),
            (100, None, What::Rendered(rendered)),
            (100, ONE, changed(NodeState::Targeted)),
            (101, ONE, changed(NodeState::Cordoned)),
            (102, ONE, answers(Asked::Service, false, 102)),
            (103, ONE, changed(NodeState::Drained)),
            (104, ONE, changed(NodeState::Working)),
            (105, ONE, pod("load-nic-2", PodState::Succeeded)),
            (110, ONE, done("rendered-worker-2")),
            (112, ONE, answers(Asked::Service, true, 112)),
            (113, ONE, changed(NodeState::Uncordoned)),
            (ENDS, None, step(true)),
        ]);
        Self { nodes: [Node::pulled_and_loaded(), Node::pulled_and_loaded()], told }
    }

    /// Tells one thing more, in its place.
    pub(crate) fn tell(&mut self, at_s: u64, node: Option<&'static str>, what: What) {
        let place = self.told.iter().position(|(at, ..)| *at > at_s).unwrap_or(self.told.len());
        self.told.insert(place, (at_s, node, what));
    }

    pub(crate) fn forget(&mut self, which: impl Fn(&What) -> bool) {
        self.told.retain(|(.., what)| !which(what));
    }

    pub(crate) fn timeline(&self) -> Timeline {
        let member = |name: &str| MemberFact { name: name.into(), address: "10.0.2.11".into(), pool: "worker".into() };
        let pool = PoolFacts { nodes: vec![member("worker-1"), member("worker-2")], asked_every_ms: 250 };
        let facts = Facts { trial: "pool/rollout@debian-13".into(), pool: Some(Box::new(pool)), ..Facts::default() };
        let mut events =
            vec![Event { seq: 0, at_us: 0, boot: 0, node: None, recorded: false, what: What::Facts(facts) }];
        for (node, name) in self.nodes.iter().zip(["worker-1", "worker-2"]) {
            let own =
                node.timeline().events.into_iter().map(|event| Event { node: Some(name.into()), ..(*event).clone() });
            events.extend(own);
        }
        events.extend(self.told.iter().map(|(at_s, node, what)| Event {
            seq: 0,
            at_us: at_s * 1_000_000,
            // The last of each node.
            boot: if node.is_some() { 2 } else { 0 },
            node: node.map(str::to_owned),
            recorded: false,
            what: what.clone(),
        }));
        let numbered = events.into_iter().zip(0..).map(|(event, seq)| Arc::new(Event { seq, ..event }));
        Timeline::from(numbered.collect::<Vec<_>>())
    }
}
