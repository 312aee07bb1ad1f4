//! The lanes of one node of several.

use crate::report::clock::{Clock, signed};
use crate::report::phases;
use crate::scenario::{PodKind, Scenario};
use crate::timeline::{Event, Facts, NodeState, PodState, Timeline, What};

use super::super::lanes::{Source, modules};
use super::super::marks::reboots;
use super::super::{Lane, LaneKind, Span, State, Strip};
use super::short;

/// A node.
pub(super) struct Member<'t> {
    pub(super) name: &'t str,
    /// What the trial knows, such as its images.
    pub(super) trial: Option<&'t Facts>,
    /// What is the node's own of the timeline.
    pub(super) own: &'t Timeline,
    pub(super) clock: &'t Clock,
    pub(super) strips: &'t [Strip],
    /// The scenario as the node follows it.
    pub(super) scenario: Option<Scenario>,
}

impl Member<'_> {
    fn events(&self) -> impl Iterator<Item = &Event> {
        self.own.events.iter().map(AsRef::as_ref).filter(|event| !event.recorded)
    }

    /// Each boot from power-on to the kernel, until the kubelet works, until it goes down.
    pub(super) fn boots(&self) -> Lane {
        let ends = reboots(self.own, self.clock);
        let spans = self.strips.iter().flat_map(|strip| {
            let number = strip.number;
            let why = ends.iter().find(|mark| mark.boot == number).map(|mark| format!(": {}", mark.text));
            let starts = phases::starts(self.own, number);
            let begin = |phase: &str| starts.iter().find(|(name, _)| *name == phase).map(|(_, event)| *event);
            let works = self.events().find(|event| {
                let is_heard = match &event.what {
                    What::NodeChanged(one) => one.to == NodeState::Ready,
                    What::Pod(pod) => pod.is == PodState::Scheduled,
                    _ => false,
                };
                is_heard && event.boot == number
            });
            let down = format!("boot {number} goes down{}", why.unwrap_or_default());
            let parts = [
                (
                    self.own.of_boot(number).next(),
                    State::Firmware,
                    format!("boot {number}: from power-on to its kernel"),
                    "",
                ),
                (begin(phases::KERNEL), State::System, format!("boot {number} comes up"), "boot"),
                (works, State::Settled, format!("the kubelet works in boot {number}"), ""),
                (begin(phases::SHUTDOWN), State::Shutdown, down, ""),
            ];
            let mut parts: Vec<(i64, Span)> = parts
                .into_iter()
                .filter_map(|(event, state, text, label)| {
                    let event = event?;
                    let from = signed(event.at_us).clamp(strip.from_us, strip.to_us);
                    let label = if label.is_empty() { String::new() } else { format!("{label} {number}") };
                    Some((
                        from,
                        Span { boot: number, from_us: from, to_us: from, state, text, label, seq: Some(event.seq) },
                    ))
                })
                .collect();
            parts.sort_by_key(|(from, _)| *from);
            let ends: Vec<i64> = parts.iter().skip(1).map(|(from, _)| *from).chain([strip.to_us]).collect();
            parts.into_iter().zip(ends).map(|((_, span), to)| Span { to_us: to.max(span.from_us), ..span })
        });
        let spans = spans.collect();
        Lane {
            kind: LaneKind::Boots,
            group: None,
            name: "boots".into(),
            of: format!("the boots of {}", self.name),
            spans,
        }
    }

    /// What the control plane knows of it: how far the daemon is, and whether the kubelet is heard.
    pub(super) fn control_plane(&self, end: i64) -> Lane {
        let (mut daemon, mut is_heard) = ((State::Ready, String::new()), true);
        let mut spans: Vec<Span> = Vec::new();
        for event in self.events() {
            let What::NodeChanged(change) = &event.what else { continue };
            match change.to {
                NodeState::Ready => is_heard = true,
                NodeState::NotReady => is_heard = false,
                NodeState::Targeted => continue,
                NodeState::Cordoned => daemon = (State::Cordoned, "cordoned".into()),
                NodeState::Drained => daemon = (State::Cordoned, "drained".into()),
                NodeState::Working => daemon = (State::Working, "working".into()),
                NodeState::Rebooting => daemon = (State::Rebooting, "rebooting".into()),
                NodeState::Done => daemon = (State::Ready, "done".into()),
                NodeState::Degraded => daemon = (State::Degraded, "degraded".into()),
                NodeState::Uncordoned if daemon.0 == State::Cordoned => daemon = (State::Ready, String::new()),
                NodeState::Uncordoned => {}
            }
            let (state, label) = match (is_heard, daemon.0) {
                (true, _) => (daemon.0, daemon.1.clone()),
                // A node that is lost while it is degraded is both.
                (false, State::Degraded) => (State::Degraded, "degraded, not ready".into()),
                (false, _) => (State::NotReady, "not ready".into()),
            };
            let why = if change.why.is_empty() { String::new() } else { format!(": {}", short(&change.why)) };
            let text = format!("{} is {}{why}", self.name, change.to.as_str());
            let at = signed(event.at_us);
            if let Some(last) = spans.last_mut() {
                last.to_us = at;
            }
            spans.push(Span { boot: event.boot, from_us: at, to_us: end, state, text, label, seq: Some(event.seq) });
        }
        Lane {
            kind: LaneKind::ControlPlane,
            group: None,
            name: "control plane".into(),
            of: format!("what the control plane knows of {}", self.name),
            spans,
        }
    }

    /// The pods of Day-2 management.
    pub(super) fn pods(&self, end: i64) -> Vec<Lane> {
        let mut spans: Vec<Span> = Vec::new();
        // Where the open part of each pod stands among the spans.
        let mut open: std::collections::BTreeMap<&str, usize> = std::collections::BTreeMap::new();
        for event in self.events() {
            let What::Pod(pod) = &event.what else { continue };
            if PodKind::of_pod(&pod.name).is_none() {
                continue;
            }
            let at = signed(event.at_us);
            if let Some(index) = open.remove(pod.name.as_str()) {
                spans[index].to_us = at;
            }
            let why = if pod.why.is_empty() { String::new() } else { format!(": {}", pod.why) };
            let (state, what, to) = match pod.is {
                PodState::Pending => (State::Waiting, "waits for its node", end),
                PodState::Scheduled => (State::Working, "runs", end),
                PodState::Succeeded => (State::Succeeded, "succeeded", at),
                PodState::Failed => (State::Failed, "failed", at),
            };
            if to > at {
                open.insert(&pod.name, spans.len());
            }
            let (text, label) = (format!("pod {} {what}{why}", pod.name), pod.name.clone());
            spans.push(Span { boot: event.boot, from_us: at, to_us: to, state, text, label, seq: Some(event.seq) });
        }
        let of = format!("pods of Day-2 management on {}", self.name);
        vec![Lane { kind: LaneKind::Pods, group: None, name: "Day-2 pods".into(), of, spans }]
    }

    /// Which copy of a driver is in the kernel.
    pub(super) fn modules(&self) -> Vec<Lane> {
        let source = Source::new(self.own, self.clock, self.strips);
        let mut lanes = modules::all(&source, self.scenario.as_ref());
        for lane in &mut lanes {
            for span in &mut lane.spans {
                span.label = if span.state == State::OutOfTree { self.copy(&lane.of, span) } else { "in-tree".into() };
                span.text = format!("{}: {}", span.text, span.label);
            }
        }
        lanes
    }

    /// Whose copy of a module it is that was there for a while, by the looks that were taken in it.
    fn copy(&self, module: &str, span: &Span) -> String {
        const PLAIN: &str = "out-of-tree";
        let looks = self
            .events()
            .filter(|event| event.boot == span.boot && (span.from_us..=span.to_us).contains(&signed(event.at_us)));
        let version = looks.filter_map(|event| match &event.what {
            What::Snapshot(snapshot) => Some(snapshot.modules.get(module)?.srcversion.as_str()),
            _ => None,
        });
        let (Some(version), Some(facts)) = (version.last(), self.trial) else { return PLAIN.into() };
        if facts.layer.as_ref().is_some_and(|layer| layer.modules.get(module).is_some_and(|own| own == version)) {
            return "layered into the node image".into();
        }
        let has = facts.images.iter().filter(|image| image.modules.contains_key(module)).count();
        let image = facts.images.iter().find(|image| image.modules.get(module).is_some_and(|own| own == version));
        match image {
            Some(_) if has == 1 => PLAIN.into(),
            Some(image) => {
                let name = image.repository.rsplit('/').next().unwrap_or_default();
                let tag = image.tags.first().map(|tag| format!(":{tag}")).unwrap_or_default();
                format!("of {name}{tag}")
            }
            None => format!("srcversion {version}"),
        }
    }
}
