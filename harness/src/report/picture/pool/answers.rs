//! Who answers the network's observer when, and how long nobody does.

use crate::checks::{Stretch, stretches};
use crate::report::clock::signed;
use crate::timeline::{Asked, Timeline};

use super::super::{CLUSTER, Lane, LaneKind, Span, State, time};

/// The observer's word, over the whole trial.
pub(super) struct Serving<'t> {
    pub(super) timeline: &'t Timeline,
    pub(super) nodes: &'t [&'t str],
    /// From the first step to the last: what is silent before is still being set up.
    pub(super) counted: Option<(i64, i64)>,
    pub(super) end: i64,
}

impl Serving<'_> {
    /// How long a node was silent, for its group.
    pub(super) fn of_node(&self, node: &str) -> String {
        let said = |asked, what: &str| {
            let (lane, _) = self.lane(node, asked);
            let silent = silent(&lane);
            if silent == 0 { None } else { Some(format!("{what} for {}", time(silent, 1))) }
        };
        let both: Vec<String> =
            [said(Asked::Service, "did not serve"), said(Asked::Ping, "no ping")].into_iter().flatten().collect();
        match both.as_slice() {
            [] if self.stretches(node, Asked::Service).is_empty() => "was never asked".into(),
            [] => "served all the time".into(),
            both => both.join(", "),
        }
    }

    /// How long nobody served.
    pub(super) fn of_all(&self) -> String {
        match silent(&self.lane_of_all()) {
            _ if self.nodes.iter().all(|node| self.stretches(node, Asked::Service).is_empty()) => {
                "was never asked".into()
            }
            0 => "served all the time".into(),
            sum => format!("nobody served for {}", time(sum, 1)),
        }
    }

    pub(super) fn ping(&self, node: &str) -> Lane {
        self.lane(node, Asked::Ping).0
    }

    pub(super) fn service(&self, node: &str) -> Lane {
        self.lane(node, Asked::Service).0
    }

    /// How many of the nodes serve.
    pub(super) fn lane_of_all(&self) -> Lane {
        let lists: Vec<Vec<Stretch>> = self.nodes.iter().map(|node| self.stretches(node, Asked::Service)).collect();
        let begin = self.counted_in(&lists);
        let mut edges: Vec<(i64, u64)> = lists.iter().flatten().map(|one| (signed(one.from_us), one.seq)).collect();
        edges.sort_unstable();
        let mut spans: Vec<Span> = Vec::new();
        for (index, &(from, seq)) in edges.iter().enumerate() {
            let to = edges.get(index + 1).map_or(self.end, |(next, _)| *next);
            let is_in = |one: &Stretch| {
                let (begins, ends) = self.ends(one);
                one.answers && begins <= from && from < ends
            };
            let serves = lists.iter().filter(|list| list.iter().any(is_in));
            let (serve, all) = (serves.count(), self.nodes.len());
            let (state, label) = match serve {
                0 => (State::Silent, String::new()),
                _ if serve == all => (State::Up, String::new()),
                _ => (State::Partly, format!("{serve} of {all}")),
            };
            let text = format!("{serve} of {all} nodes serve");
            match spans.last_mut() {
                Some(last) if last.text == text => last.to_us = to,
                _ if from == to => {}
                _ => spans.push(Span { boot: 0, from_us: from, to_us: to, state, text, label, seq: Some(seq) }),
            }
        }
        let spans = spans.into_iter().flat_map(|span| cut(span, begin)).collect();
        Lane {
            kind: LaneKind::Answers,
            group: Some(CLUSTER.into()),
            name: "nodes that serve".into(),
            of: "how many of the nodes serve their workload".into(),
            spans,
        }
    }

    fn lane(&self, node: &str, asked: Asked) -> (Lane, Vec<Stretch>) {
        let (name, of, yes, no) = match asked {
            Asked::Ping => ("ping", "whether the node answers ping", "answers ping", "does not answer ping"),
            Asked::Service => ("workload", "whether its workload serves", "serves", "does not serve"),
        };
        let stretches = self.stretches(node, asked);
        let begin = self.counted_in(std::slice::from_ref(&stretches));
        let spans = stretches.iter().flat_map(|one| {
            let (state, what) = if one.answers { (State::Up, yes) } else { (State::Silent, no) };
            let text = format!("{node} {what}");
            let (from_us, to_us) = self.ends(one);
            let span = Span { boot: 0, from_us, to_us, state, text, label: String::new(), seq: Some(one.seq) };
            cut(span, begin)
        });
        let lane =
            Lane { kind: LaneKind::Answers, group: None, name: name.into(), of: of.into(), spans: spans.collect() };
        (lane, stretches)
    }

    /// The stretch in which silence is downtime; without steps it begins with the first answer.
    fn counted_in(&self, lists: &[Vec<Stretch>]) -> (i64, i64) {
        let first = lists.iter().flatten().filter(|one| one.answers).map(|one| signed(one.from_us)).min();
        self.counted.unwrap_or((first.unwrap_or(self.end), self.end))
    }

    fn stretches(&self, node: &str, asked: Asked) -> Vec<Stretch> {
        stretches(self.timeline, node, asked)
    }

    /// Where a stretch is on the axis.
    fn ends(&self, one: &Stretch) -> (i64, i64) {
        (signed(one.from_us), signed(one.to_us).min(self.end))
    }
}

/// A silence in the parts that are downtime and those that are not; its length is written into it.
fn cut(span: Span, (from, to): (i64, i64)) -> Vec<Span> {
    if span.state != State::Silent {
        return vec![span];
    }
    let part =
        |from_us: i64, to_us: i64, state| (from_us < to_us).then(|| Span { from_us, to_us, state, ..span.clone() });
    let counted = part(span.from_us.max(from), span.to_us.min(to), State::Silent)
        .map(|part| Span { label: time(part.to_us - part.from_us, 1), ..part });
    let before = part(span.from_us, span.to_us.min(from), State::Waiting);
    let after = part(span.from_us.max(to), span.to_us, State::Waiting);
    before.into_iter().chain(counted).chain(after).collect()
}

fn silent(lane: &Lane) -> i64 {
    let silences = lane.spans.iter().filter(|span| span.state == State::Silent);
    silences.map(|span| span.to_us - span.from_us).sum()
}
