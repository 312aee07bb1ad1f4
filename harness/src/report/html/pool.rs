//! What the page has of a trial with several nodes: its steps, and each node by itself.

use maud::{Markup, html};

use super::trial::how_to_read;
use crate::checks::{Finding, NodeTold, steps_told};
use crate::report::clock::signed;
use crate::report::picture::{self, CLUSTER, Picture, time};
use crate::scenario::Scenario;
use crate::timeline::Timeline;

/// A node, as if it stood alone.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) timeline: Timeline,
    pub(super) picture: Picture,
}

impl Member {
    /// All of a trial's, where it has several.
    pub(super) fn all(timeline: &Timeline, scenario: Option<&Scenario>, findings: &[Finding]) -> Vec<Self> {
        let nodes = timeline.pool().into_iter().flat_map(|pool| &pool.nodes);
        let member = |name: &String| {
            let own = timeline.of_node(name);
            let picture = Picture::of_node(&own, scenario, findings, name);
            Self { name: name.clone(), timeline: own, picture }
        };
        nodes.map(|node| member(&node.name)).collect()
    }

    /// Its own picture: units and their order.
    pub(super) fn drawn(&self) -> Markup {
        html! {
            details {
                summary { "The boots and units of " (self.name) }
                div class="scroll" tabindex="0" role="region" aria-label=(format!("Picture of {}", self.name)) {
                    (picture::drawing(&self.picture))
                }
                (how_to_read())
            }
        }
    }
}

/// How the picture of several nodes is to be read.
pub(super) fn explained(timeline: &Timeline) -> Markup {
    let every = timeline.pool().map_or(0, |pool| pool.asked_every_ms);
    html! {
        p class="faint" {
            "Thin bars: all is as usual. Each node is asked every " (every) " ms whether it is there and whether its workload serves; \
             that it does not is downtime from the first step's beginning to the last one's end. The cluster is down when nobody \
             serves."
        }
    }
}

/// What each node was when each step ended, and how long it was down in it.
pub(super) fn steps(timeline: &Timeline) -> Markup {
    let steps = steps_told(timeline);
    let down = |us: Option<u64>| match us {
        None => "not asked before".to_owned(),
        Some(0) => "never".to_owned(),
        Some(us) => time(signed(us), 1),
    };
    let state = |node: &NodeTold| {
        let state = if node.state.is_empty() { "not known".to_owned() } else { node.state.clone() };
        html! { @if let Some(seq) = node.seq { a href="#" data-seq=(seq) { (state) } } @else { (state) } }
    };
    html! {
        @if !steps.is_empty() {
            table class="steps" {
                thead { tr {
                    th scope="col" { "Step" } th scope="col" { "Node" } th scope="col" { "When it ended" }
                    th scope="col" { "Did not serve" } th scope="col" { "No ping" }
                } }
                @for step in &steps {
                    tbody {
                        @for (index, node) in step.nodes.iter().enumerate() {
                            tr {
                                @if index == 0 {
                                    th scope="rowgroup" rowspan=(step.nodes.len() + 1) {
                                        (step.index + 1) ": " (step.text)
                                        br;
                                        span class="faint" {
                                            (time(signed(step.from_us), 100_000)) " to "
                                            @if step.ended { (time(signed(step.to_us), 100_000)) } @else { "no end" }
                                        }
                                    }
                                }
                                th scope="row" { (node.name) } td { (state(node)) }
                                td class="number" { (down(node.service_us)) } td class="number" { (down(node.ping_us)) }
                            }
                        }
                        tr {
                            th scope="row" { b { (CLUSTER) } } td {}
                            td class="number" { b { (down(step.service_us)) } } td class="number" { (down(step.ping_us)) }
                        }
                    }
                }
            }
        }
    }
}
