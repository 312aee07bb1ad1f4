//! The picture of a trial: lanes of what ran, on one time axis over all its boots, with what happened marked.
//!
//! A picture is made of a timeline alone, and drawn as SVG, or with letters for a terminal.

mod lanes;
mod marks;
mod order;
mod pool;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;

use super::clock::{Clock, signed};
use crate::checks::Finding;
use crate::scenario::Scenario;
use crate::timeline::{Event, Timeline, What};

pub use pool::STYLE as POOL_STYLE;
pub use svg::{PALETTE, STYLE, drawing, standalone, time};
pub use terminal::text;

/// The group of what is true of all nodes together.
pub const CLUSTER: &str = "cluster";

/// Said in the place of a picture of nothing.
pub const NOTHING: &str = "The machine never started, so there is nothing to draw.";

/// A trial as lanes and marks. Times are microseconds of the trial's clock; what a node did before it was forked or
/// recorded stands before 0.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The trial's name.
    pub trial: String,
    /// The boots, in their order.
    pub boots: Vec<Strip>,
    /// The lanes, from the top.
    pub lanes: Vec<Lane>,
    /// What happened, in the order of time.
    pub marks: Vec<Mark>,
    /// Which unit had to be done before which, and whether anything guarantees it.
    pub orders: Vec<Order>,
    /// Of a trial with several nodes: the cluster and each node, in the order of their lanes. Empty for one with a single node.
    pub groups: Vec<Group>,
    /// When the steps of a trial with several nodes ran.
    pub steps: Vec<(i64, i64)>,
    clock: Clock,
}

/// The lanes of a node, or those of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// The node's name, or [`CLUSTER`].
    pub name: String,
    /// How long it was down, for a person.
    pub says: String,
}

/// One boot on the axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Of a trial with several nodes: the node that boots.
    pub node: Option<String>,
    /// Its number, from 1.
    pub number: u32,
    /// Where it begins.
    pub from_us: i64,
    /// Where it ends.
    pub to_us: i64,
    /// Up to where it was taken from a template or a recording.
    pub taken_until_us: Option<i64>,
}

/// A lane: one thing over the whole trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Lane {
    /// What it is about.
    pub kind: LaneKind,
    /// The name of the group that it belongs to, where there are several.
    pub group: Option<String>,
    /// What a person reads before it.
    pub name: String,
    /// The unit, module or interface itself.
    pub of: String,
    /// When it was in which state, in the order of time.
    pub spans: Vec<Span>,
}

/// What a lane is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// A phase of the machine's way up and down.
    Phase,
    /// Ignition's stages in the initramfs.
    Ignition,
    /// Requests for the registry.
    Registry,
    /// A unit of the real root.
    Unit,
    /// A kernel module.
    Module,
    /// A network interface.
    Link,
    /// A node's boots.
    Boots,
    /// What the network's observer is answered.
    Answers,
    /// What the control plane knows of a node.
    ControlPlane,
    /// Pods of Day-2 management.
    Pods,
}

/// A stretch of a lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// The boot that it is in.
    pub boot: u32,
    /// Its begin.
    pub from_us: i64,
    /// Its end.
    pub to_us: i64,
    /// What it shows.
    pub state: State,
    /// What it is, for a person.
    pub text: String,
    /// What is written into it where there is room; empty for what its lane's kind always has there.
    pub label: String,
    /// The timeline's event with which it begins.
    pub seq: Option<u64>,
}

/// The state that a span shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Firmware.
    Firmware,
    /// Bootloader.
    Bootloader,
    /// The kernel, until it starts init.
    Kernel,
    /// The initramfs.
    Initramfs,
    /// The real root, until its start-up is finished.
    System,
    /// A node without anything more to start.
    Settled,
    /// The way down.
    Shutdown,
    /// A stage of Ignition.
    Stage,
    /// A unit that starts or works.
    Starting,
    /// A unit that is active.
    Active,
    /// A unit that failed.
    Failed,
    /// A unit whose conditions did not hold.
    Skipped,
    /// A module of the kernel's own tree.
    InTree,
    /// A module of the driver image.
    OutOfTree,
    /// A request that got what it asked for.
    Answered,
    /// A request that did not.
    Refused,
    /// A link that carries, or a node that answers.
    Up,
    /// Some nodes serve, and some do not.
    Partly,
    /// Nobody answers, and that counts as downtime.
    Silent,
    /// What has not begun: nobody answers before the first step, or a pod waits for its node.
    Waiting,
    /// A node that is Ready and has nothing to do.
    Ready,
    /// A node that nothing new is put on.
    Cordoned,
    /// The daemon changes the node, or a pod runs.
    Working,
    /// The daemon reboots the node.
    Rebooting,
    /// The kubelet is not heard.
    NotReady,
    /// The daemon could not bring the node to its config.
    Degraded,
    /// A pod that succeeded.
    Succeeded,
}

/// Something that happened at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Of a trial with several nodes: the node that it is about; none for what is about all of them.
    pub node: Option<String>,
    /// The boot that it is in.
    pub boot: u32,
    /// When.
    pub at_us: i64,
    /// What kind of thing.
    pub kind: MarkKind,
    /// What happened, for a person.
    pub text: String,
    /// The timeline's event.
    pub seq: Option<u64>,
}

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// The driver image was pulled.
    Pull,
    /// A reboot was asked for, or the machine was reset.
    Reboot,
    /// An in-tree module went out.
    Unload,
    /// A module of the driver image came in.
    Load,
    /// NetworkManager starts.
    NetworkManager,
    /// A link carries.
    Link,
    /// The trial did something to the node or its surroundings.
    Happened,
    /// A check found something wrong.
    Finding,
    /// A step of the scenario began or ended.
    Step,
    /// A pool got another rendered config.
    Rendered,
}

/// One unit's place before another's.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The boot.
    pub boot: u32,
    /// The first unit, those that the ordering goes through, and the later one.
    pub path: Vec<String>,
    /// Whether systemd's own ordering guarantees it.
    pub guaranteed: bool,
    /// The same for a person.
    pub text: String,
}

impl Picture {
    /// The picture of a timeline. The scenario says which units and modules matter besides those under test; findings that
    /// did not pass are marked where their evidence is.
    ///
    /// Of a trial with several nodes it is that of all of them; [`Timeline::of_node`] has a node's own.
    pub fn of(timeline: &Timeline, scenario: Option<&Scenario>, findings: &[Finding]) -> Self {
        if let Some(pool) = timeline.pool() {
            return pool::picture(timeline, pool, scenario, findings);
        }
        let clock = Clock::of(timeline);
        let boots = strips(timeline, &clock);
        let orders = order::all(timeline, scenario);
        let lanes = lanes::all(timeline, scenario, &clock, &boots, &orders);
        let marks = marks::all(timeline, findings, &clock, &lanes);
        let trial = timeline.facts().map(|facts| facts.trial.clone()).unwrap_or_default();
        Self { trial, boots, lanes, marks, orders, groups: Vec::new(), steps: Vec::new(), clock }
    }

    /// Where an event of its timeline stands on its axis, in microseconds.
    pub fn time_of(&self, event: &Event) -> i64 {
        self.clock.of_event(event)
    }

    /// The picture of one node of several, from its own part of the timeline.
    pub fn of_node(own: &Timeline, scenario: Option<&Scenario>, findings: &[Finding], node: &str) -> Self {
        let scenario = scenario.map(|scenario| scenario.of_member(node));
        let findings: Vec<Finding> =
            findings.iter().filter(|finding| finding.node.as_deref() == Some(node)).cloned().collect();
        let mut picture = Self::of(own, scenario.as_ref(), &findings);
        picture.trial = format!("{node} in {}", picture.trial);
        picture
    }

    /// What a mark is about: a boot, or, of several nodes, one of them or all.
    pub fn subject(&self, mark: &Mark) -> String {
        match &mark.node {
            Some(node) => node.clone(),
            None if self.groups.is_empty() => format!("boot {}", mark.boot),
            None => CLUSTER.to_owned(),
        }
    }

    /// The whole axis; `None` for a trial whose machine never started.
    pub fn extent(&self) -> Option<(i64, i64)> {
        // A machine that never started has no steps either, and a step may go on when the last machine is gone.
        self.boots.first()?;
        let boots = self.boots.iter().map(|boot| (boot.from_us, boot.to_us));
        let all: Vec<(i64, i64)> = boots.chain(self.steps.iter().copied()).collect();
        let from = all.iter().map(|(from, _)| *from).min()?;
        let to = all.iter().map(|(_, to)| *to).max()?;
        (to > from).then_some((from, to))
    }

    /// The stretch around a module's change before the network, where most is to see in least time: from the first unit of an
    /// ordering, or the first change of a module, to a little after NetworkManager's start. Of the last boot that has it.
    pub fn close_up(&self) -> Option<(i64, i64)> {
        // Of several nodes none has its own numbers of boots.
        if !self.groups.is_empty() {
            return None;
        }
        let boot = self.boots.iter().rev().find(|boot| {
            let has = |kind| self.marks.iter().any(|mark| mark.boot == boot.number && mark.kind == kind);
            has(MarkKind::Load) || has(MarkKind::Unload)
        })?;
        let own = |kinds: &[MarkKind]| {
            let marks = self.marks.iter().filter(|mark| mark.boot == boot.number && kinds.contains(&mark.kind));
            marks.map(|mark| mark.at_us).collect::<Vec<_>>()
        };
        let mut moments = own(&[MarkKind::Load, MarkKind::Unload, MarkKind::NetworkManager]);
        for order in self.orders.iter().filter(|order| order.boot == boot.number) {
            let units = self.lanes.iter().filter(|lane| lane.kind == LaneKind::Unit && order.path.contains(&lane.of));
            let spans = units.flat_map(|lane| lane.spans.iter().find(|span| span.boot == boot.number));
            moments.extend(spans.map(|span| span.from_us));
        }
        let (from, to) = (moments.iter().min()?, moments.iter().max()?);
        let margin = ((to - from) / 8).max(100_000);
        let (from, to) = ((from - margin).max(boot.from_us), (to + margin).min(boot.to_us));
        // One that shows half of the trial shows no more than the whole does.
        let (begin, end) = self.extent()?;
        (from < to && (to - from) * 2 < end - begin).then_some((from, to))
    }
}

/// Where each boot stands on the axis.
fn strips(timeline: &Timeline, clock: &Clock) -> Vec<Strip> {
    let starts: Vec<Option<i64>> = (1..=timeline.boots() + 1)
        .map(|number| timeline.of_boot(number).find(|event| !event.recorded).map(|event| signed(event.at_us)))
        .collect();
    let mut strips = Vec::new();
    for number in 1..=timeline.boots() {
        let index = number as usize;
        let events = || timeline.of_boot(number);
        let last = events().map(|event| clock.of_event(event)).max();
        let seen = (starts[index - 1], starts[index].or(last));
        let (Some(last), to) = (last, seen.1) else { continue };
        let kernel = clock.zero_of(number);
        let forked =
            events().any(|event| matches!(&event.what, What::MachineStarted(start) if start.start == "template"));
        let resumed = events().find(|event| matches!(&event.what, What::Qmp(qmp) if qmp.event == "RESUME"));
        let (from, taken) = match seen.0 {
            // All of it was recorded earlier.
            None => (kernel.unwrap_or(last), Some(last)),
            Some(start) if forked => {
                (kernel.unwrap_or(start).min(start), Some(resumed.map_or(start, |event| signed(event.at_us))))
            }
            Some(start) => (kernel.unwrap_or(start).min(start), None),
        };
        let to = if seen.0.is_none() { last } else { to.unwrap_or(last) };
        strips.push(Strip { node: None, number, from_us: from, to_us: to.max(from), taken_until_us: taken });
    }
    strips
}
