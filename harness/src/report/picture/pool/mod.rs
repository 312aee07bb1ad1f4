//! The picture of a trial with several nodes: the cluster, then each node, on the host's clock.

mod answers;
mod marks;
mod node;
#[cfg(test)]
mod tests;

use super::{CLUSTER, Clock, Group, Lane, Picture, Strip, signed};
use crate::checks::Finding;
use crate::scenario::Scenario;
use crate::timeline::{PoolFacts, Timeline, What};

use answers::Serving;
use node::Member;

/// Colours of what only a picture of several nodes has, for pages that hold such a drawing as well.
pub const STYLE: &str = include_str!("pool.css");

pub(super) fn picture(
    timeline: &Timeline,
    pool: &PoolFacts,
    scenario: Option<&Scenario>,
    findings: &[Finding],
) -> Picture {
    let clock = Clock::of_host();
    let steps = steps(timeline);
    let names: Vec<&str> = pool.nodes.iter().map(|node| node.name.as_str()).collect();
    let end = timeline.events.iter().map(|event| signed(event.at_us)).max().unwrap_or_default();
    let counted = steps.iter().map(|(from, _)| *from).min().zip(steps.iter().map(|(_, to)| *to).max());
    let serving = Serving { timeline, nodes: &names, counted, end };
    let mut groups = vec![Group { name: CLUSTER.into(), says: serving.of_all() }];
    let mut lanes = vec![serving.lane_of_all()];
    let mut boots: Vec<Strip> = Vec::new();
    for name in names.iter().copied() {
        let own = timeline.of_node(name);
        let strips = super::strips(&own, &clock);
        let member = Member {
            name,
            trial: timeline.facts(),
            own: &own,
            clock: &clock,
            strips: &strips,
            scenario: scenario.map(|scenario| scenario.of_member(name)),
        };
        let mut of_node = vec![member.boots(), serving.ping(name), serving.service(name), member.control_plane(end)];
        of_node.extend(member.pods(end));
        of_node.extend(member.modules());
        of_node.retain(|lane| !lane.spans.is_empty());
        groups.push(Group { name: name.to_owned(), says: serving.of_node(name) });
        lanes.extend(of_node.into_iter().map(|lane| Lane { group: Some(name.to_owned()), ..lane }));
        boots.extend(strips.into_iter().map(|strip| Strip { node: Some(name.to_owned()), ..strip }));
    }
    let trial = timeline.facts().map(|facts| facts.trial.clone()).unwrap_or_default();
    let marks = marks::all(timeline, findings);
    Picture { trial, boots, lanes, marks, orders: Vec::new(), groups, steps, clock }
}

/// When each step ran; one without an end runs until the timeline's.
fn steps(timeline: &Timeline) -> Vec<(i64, i64)> {
    let told = |wanted: bool| {
        timeline.events.iter().filter_map(move |event| match &event.what {
            What::Step(step) if step.ended == wanted => Some((step.index, signed(event.at_us))),
            _ => None,
        })
    };
    let last = timeline.events.last().map_or(0, |event| signed(event.at_us));
    told(false)
        .map(|(index, from)| (from, told(true).find(|(ended, _)| *ended == index).map_or(last, |(_, to)| to)))
        .collect()
}

/// A rendered config's name as people say it: of its hash no more than tells it from another.
fn short(text: &str) -> String {
    match text.rsplit_once('-') {
        Some((name, hash)) if hash.len() >= 32 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            format!("{name}-{}", &hash[..5])
        }
        _ => text.to_owned(),
    }
}
