//! A timeline as rows for a person: journal, console, and everything else that was seen.

use std::collections::HashMap;

use serde::Serialize;

use crate::checks::bad_pattern;
use crate::report::picture::{CLUSTER, Picture};
use crate::timeline::{Event, Timeline, What};

/// The rows, a list for each column: they pack far better than a list of rows, and read faster.
#[derive(Default, Serialize)]
pub(super) struct Log {
    /// The events' numbers in the timeline.
    seq: Vec<u64>,
    /// Milliseconds on the trial's clock.
    at: Vec<i64>,
    boot: Vec<u32>,
    /// Of a trial with several nodes: the node, by its place in `names`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    node: Vec<usize>,
    /// `j` journal, `c` console, `e` everything else.
    kind: String,
    /// Syslog priority, 0 to 7.
    priority: Vec<u8>,
    /// Whose word it is, by its place in `names`.
    who: Vec<usize>,
    /// The unit that it is about, by its place in `names`.
    unit: Vec<usize>,
    text: Vec<String>,
    /// All names; the first is empty.
    names: Vec<String>,
}

impl Log {
    pub(super) fn of(timeline: &Timeline, picture: &Picture) -> Self {
        let mut log = Self { names: vec![String::new()], ..Self::default() };
        let mut known = HashMap::from([(String::new(), 0)]);
        let is_pool = timeline.pool().is_some();
        for event in &timeline.events {
            let Row { kind, priority, who, unit, text } = row(event);
            log.seq.push(event.seq);
            log.at.push(picture.time_of(event) / 1_000);
            log.boot.push(event.boot);
            log.kind.push(kind);
            log.priority.push(priority);
            let mut place = |name: &str| {
                *known.entry(name.to_owned()).or_insert_with(|| {
                    log.names.push(name.to_owned());
                    log.names.len() - 1
                })
            };
            if is_pool {
                log.node.push(place(event.node.as_deref().unwrap_or(CLUSTER)));
            }
            log.who.push(place(&who));
            log.unit.push(place(&unit));
            log.text.push(text);
        }
        log
    }
}

struct Row {
    kind: char,
    priority: u8,
    who: String,
    unit: String,
    text: String,
}

fn row(event: &Event) -> Row {
    // What a check calls bad is not to be overlooked, whatever its sender thinks of it.
    let usual = |priority: u8| if bad_pattern(&event.what).is_some() { priority.min(3) } else { priority };
    match &event.what {
        What::Journal(record) => {
            let who = match record.field("SYSLOG_IDENTIFIER") {
                "" => record.field("_COMM"),
                who => who,
            };
            Row {
                kind: 'j',
                priority: usual(record.priority()),
                who: who.to_owned(),
                unit: record.unit().to_owned(),
                text: record.message().to_owned(),
            }
        }
        What::Console(console) => Row {
            kind: 'c',
            priority: usual(6),
            who: "console".into(),
            unit: String::new(),
            text: console.line.clone(),
        },
        other => {
            let (who, priority, text) = describe(other);
            Row { kind: 'e', priority, who: who.into(), unit: String::new(), text }
        }
    }
}

/// What there is of a pool.
mod pool {
    use crate::timeline::{Answering, Asked, NodeChanged, NodeState, Pod, RenderedFor, Step};

    pub(super) fn step(step: &Step) -> (&'static str, u8, String) {
        let Step { index, text, ended, unfinished, .. } = step;
        let number = index + 1;
        match (ended, unfinished.as_slice()) {
            (false, _) => ("day1", 5, format!("step {number} begins: {text}")),
            (true, []) => ("day1", 5, format!("step {number} is done: {text}")),
            (true, all) => ("day1", 4, format!("step {number} ends, and has not come: {}", all.join("; "))),
        }
    }

    pub(super) fn rendered(one: &RenderedFor) -> String {
        format!("pool {} is rendered as {}, of {}", one.pool, one.config, one.machine_configs.join(", "))
    }

    pub(super) fn priority(state: NodeState) -> u8 {
        match state {
            NodeState::Degraded => 3,
            NodeState::NotReady => 4,
            _ => 5,
        }
    }

    pub(super) fn node(one: &NodeChanged) -> String {
        let why = if one.why.is_empty() { String::new() } else { format!(": {}", one.why) };
        format!("the node is {}{why}", one.to.as_str())
    }

    pub(super) fn pod(pod: &Pod) -> String {
        let why = if pod.why.is_empty() { String::new() } else { format!(": {}", pod.why) };
        format!("pod {} {}{why}", pod.name, pod.is.as_str())
    }

    pub(super) fn answering(one: &Answering) -> String {
        let who = match one.asked {
            Asked::Ping => "the node",
            Asked::Service => "the workload's service",
        };
        format!("{who} {}", if one.answers { "answers" } else { "does not answer any more" })
    }
}

/// What else a timeline holds: who tells it, how grave it is, and what it says.
fn describe(what: &What) -> (&'static str, u8, String) {
    match what {
        What::Facts(facts) => {
            let layer = facts.layer.as_ref().map(|layer| format!(", {layer}")).unwrap_or_default();
            ("day1", 6, format!("the trial {} on {}{layer}", facts.trial, facts.node_image))
        }
        What::MachineStarted(one) => {
            ("qemu", 5, format!("QEMU {} starts the machine by {} ({})", one.qemu, one.accel, one.start))
        }
        What::MachineExited(one) => {
            let priority = if one.expected { 5 } else { 2 };
            ("qemu", priority, format!("QEMU ended: {} {}", one.status, one.stderr).trim_end().to_owned())
        }
        What::Qmp(qmp) if qmp.data.is_null() => ("qemu", 6, qmp.event.clone()),
        What::Qmp(qmp) => ("qemu", 6, format!("{} {}", qmp.event, qmp.data)),
        What::ModuleLoad(one) => {
            ("kernel trace", 5, format!("module {} was loaded by {} {}", one.module, one.comm, one.taints))
        }
        What::ModuleFree(one) => ("kernel trace", 5, format!("module {} was taken out by {}", one.module, one.comm)),
        What::Snapshot(one) => {
            let (units, modules) = (one.units.len(), one.modules.len());
            (
                "day1",
                6,
                format!(
                    "looked at the node ({}): {units} units, {modules} modules, kernel {}",
                    one.label, one.kernel_release
                ),
            )
        }
        What::ConfigServed(one) => {
            ("config server", 5, format!("{} → {}, {} bytes, sha256 {}", one.path, one.status, one.bytes, one.sha256))
        }
        What::Registry(one) => {
            let priority = if one.complete && (one.status < 400 || one.subject == "ping") { 5 } else { 4 };
            let fault = if one.fault.is_empty() { String::new() } else { format!(", on purpose: {}", one.fault) };
            ("registry", priority, format!("{} {} → {}, {} bytes{fault}", one.method, one.path, one.status, one.bytes))
        }
        What::Proxy(one) => ("proxy", 5, format!("{} {} → {}", one.method, one.target, one.status)),
        What::RegistryProgress(one) => ("registry", 6, format!("{} % of {} sent", one.percent, one.repository)),
        What::Happened(one) => match &one.failed {
            Some(why) => ("day1", 3, format!("{} could not be done: {why}", one.action)),
            None => ("day1", 5, one.action.clone()),
        },
        What::File(one) if !one.exists => ("day1", 6, format!("{} is not there", one.path)),
        What::File(one) => ("day1", 6, format!("{}: {}", one.path, one.text)),
        What::OnDisk(one) => {
            ("day1", 6, format!("looked at {} files and {} units on the disk", one.files.len(), one.units.len()))
        }
        What::Step(step) => pool::step(step),
        What::Rendered(one) => ("control plane", 5, pool::rendered(one)),
        What::NodeChanged(one) => ("control plane", pool::priority(one.to), pool::node(one)),
        What::Pod(pod) => ("control plane", 5, pool::pod(pod)),
        What::Answering(one) => ("observer", 5, pool::answering(one)),
        What::StreamEnded(one) => ("day1", 3, format!("the stream {:?} ended: {}", one.stream, one.reason)),
        What::HandedOver(one) => match &one.early {
            Some(why) => {
                ("day1", 4, format!("the node was handed to a person before the trial came to its end: {why}"))
            }
            None => ("day1", 5, "the trial is over, and its machine stays for a person".into()),
        },
        What::Note { text } => ("day1", 5, text.clone()),
        What::DeadlinePassed { waiting_for, after_s } => ("day1", 3, format!("no {waiting_for} within {after_s:.0} s")),
        What::Journal(_) | What::Console(_) => ("", 6, String::new()),
    }
}
