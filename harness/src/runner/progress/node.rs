//! What is shown of one node: its boot, its phase, what it did last, and how lively it is.

use std::collections::VecDeque;
use std::time::Duration;

use crate::report;
use crate::scenario::PodKind;
use crate::timeline::{Event, Facts, PodState, Step, What, message_id};

/// Events of this long, in microseconds, are counted for the rate.
const RECENT_US: u64 = 5_000_000;

/// A node as its timeline shows it so far.
pub(super) struct Node {
    trial: String,
    /// How many boots its scenario has.
    planned: usize,
    boot: u32,
    phase: &'static str,
    last: Option<(String, u64)>,
    recent: VecDeque<u64>,
    facts: Facts,
}

impl Node {
    pub(super) fn new(trial: String, planned: usize) -> Self {
        let (last, recent) = (None, VecDeque::new());
        Self { trial, planned, boot: 0, phase: "starting", last, recent, facts: Facts::default() }
    }

    /// Takes an event in; gives what it is for a person, if it matters.
    pub(super) fn observe(&mut self, event: &Event) -> Option<String> {
        if let What::Facts(known) = &event.what {
            self.facts = known.clone();
        }
        if event.boot > self.boot {
            (self.boot, self.phase) = (event.boot, "firmware");
        }
        // What comes late of an earlier boot is no phase of this one.
        if event.boot == self.boot {
            self.phase = self.next_phase(&event.what);
        }
        if !event.recorded {
            self.recent.push_back(event.at_us);
        }
        let text = describe(event, &self.facts)?;
        self.last = Some((text.clone(), event.at_us));
        Some(text)
    }

    fn next_phase(&self, what: &What) -> &'static str {
        match (report::phase_begins(what), what) {
            (Some("after"), _) if self.phase != "shutdown" => "settled",
            (Some("after"), _) => self.phase,
            (Some(phase), _) => phase,
            (None, What::ConfigServed(served)) if served.status == 200 => "ignition",
            (None, What::MachineExited(_)) => "ended",
            (None, _) => self.phase,
        }
    }

    /// The node in a line, so many microseconds after its trial began.
    pub(super) fn line(&mut self, now_us: u64) -> String {
        while self.recent.front().is_some_and(|at| at + RECENT_US < now_us) {
            self.recent.pop_front();
        }
        let rate = self.recent.len() as u64 * 1_000_000 / RECENT_US;
        let (boot, planned, phase) = (self.boot, self.planned, self.phase);
        let passed = clock(Duration::from_micros(now_us));
        let last = self.last.as_ref().map(|(text, at_us)| {
            let age = Duration::from_micros(now_us.saturating_sub(*at_us)).as_secs();
            format!("  {text}, {age} s ago")
        });
        let (trial, last) = (&self.trial, last.unwrap_or_default());
        format!("{passed:>6}  boot {boot}/{planned} {phase:<9} {rate:>4}/s  {trial}{last}")
    }
}

/// `4:05`, or `1:04:05`.
pub(super) fn clock(time: Duration) -> String {
    let (minutes, seconds) = (time.as_secs() / 60, time.as_secs() % 60);
    match minutes / 60 {
        0 => format!("{minutes}:{seconds:02}"),
        hours => format!("{hours}:{:02}:{seconds:02}", minutes % 60),
    }
}

fn describe(event: &Event, facts: &Facts) -> Option<String> {
    match &event.what {
        What::MachineStarted(started) => Some(format!("powered on ({})", started.accel)),
        What::Console(console) if console.line.contains("Linux version ") => Some("the kernel starts".into()),
        What::ConfigServed(served) if served.status == 200 => Some("Ignition has its config".into()),
        What::Registry(request) if request.subject == "manifest" => {
            Some(format!("{} {}:{} → {}", request.method, request.repository, request.reference, request.status))
        }
        What::ModuleLoad(module) if is_of_image(facts, &module.module) => {
            Some(format!("{} loaded by {}", module.module, module.comm))
        }
        What::Journal(record) if record.is_from_systemd() && record.message_id() == message_id::STARTUP_FINISHED => {
            Some("systemd has no more jobs".into())
        }
        What::Qmp(qmp) if matches!(qmp.event.as_str(), "RESET" | "SHUTDOWN") => Some(qmp.event.to_lowercase()),
        What::NodeChanged(one) => Some(with_why(one.to.as_str(), &one.why)),
        What::Pod(pod) if PodKind::of_pod(&pod.name).is_some() => {
            // What one that succeeded printed is in the log.
            let why = if pod.is == PodState::Succeeded { "" } else { pod.why.lines().next().unwrap_or_default() };
            Some(with_why(&format!("pod {} {}", pod.name, pod.is.as_str()), why))
        }
        What::DeadlinePassed { waiting_for, after_s } => Some(format!("no {waiting_for} within {after_s:.0} s")),
        What::MachineExited(_) => Some("machine ended".into()),
        _ => None,
    }
}

/// A step's beginning or end, for a person.
pub(super) fn step(step: &Step) -> String {
    let number = step.index + 1;
    match step.ended {
        false => format!("step {number}: {}", step.text),
        true if step.unfinished.is_empty() => format!("step {number} is done"),
        true => format!("step {number} ends, and {}", step.unfinished.join(", ")),
    }
}

fn with_why(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what}: {why}") }
}

fn is_of_image(facts: &Facts, module: &str) -> bool {
    facts.images.iter().any(|image| image.modules.contains_key(module))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::{ConfigServed, Console, ImageFact, MachineStarted, ModuleEvent, Qmp};

    fn console(line: &str) -> What {
        What::Console(Console { line: line.into() })
    }

    fn at(seconds: u64, boot: u32, what: What) -> Event {
        Event { seq: 0, at_us: seconds * 1_000_000, boot, node: None, recorded: false, what }
    }

    #[test]
    fn a_line_has_the_boot_the_phase_the_last_event_with_its_age_and_the_rate() {
        let mut node = Node::new("pull/x@debian-13".into(), 2);
        assert_eq!(node.line(0), "  0:00  boot 0/2 starting     0/s  pull/x@debian-13");
        let served = What::ConfigServed(ConfigServed { status: 200, ..ConfigServed::default() });
        let module = ModuleEvent { module: "day1_nic".into(), comm: "modprobe".into(), ..ModuleEvent::default() };
        let image = ImageFact { modules: [("day1_nic".into(), String::new())].into(), ..ImageFact::default() };
        let facts = What::Facts(Facts { images: vec![image], ..Facts::default() });
        let reset = What::Qmp(Qmp { event: "RESET".into(), ..Qmp::default() });
        let started = What::MachineStarted(MachineStarted { accel: "tcg".into(), ..MachineStarted::default() });
        let init = || console("[    2.000000] Run /init as init process");
        let ended = What::MachineExited(crate::timeline::MachineExited::default());
        for (seconds, boot, what, begins, ends) in [
            (0, 0, facts, "boot 0/2 starting ", "  pull/x@debian-13"),
            (1, 1, started, "boot 1/2 firmware ", "  powered on (tcg), 0 s ago"),
            (3, 1, console("[    0.000000] Linux version 6.12"), "boot 1/2 kernel ", "  the kernel starts, 0 s ago"),
            (5, 1, init(), "boot 1/2 initramfs ", "  the kernel starts, 2 s ago"),
            (9, 1, served, "boot 1/2 ignition ", "  Ignition has its config, 0 s ago"),
            (60, 2, reset, "boot 2/2 firmware ", "  reset, 0 s ago"),
            // What comes late of an earlier boot.
            (61, 1, init(), "boot 2/2 firmware ", "  reset, 1 s ago"),
            (70, 2, What::ModuleLoad(module), "boot 2/2 firmware ", "  day1_nic loaded by modprobe, 0 s ago"),
            (90, 2, ended, "boot 2/2 ended ", "  machine ended, 0 s ago"),
        ] {
            node.observe(&at(seconds, boot, what));
            let line = node.line(seconds * 1_000_000);
            assert!(line.contains(begins) && line.ends_with(ends), "{line}");
        }
        assert_eq!(
            node.line(95_000_000),
            "  1:35  boot 2/2 ended        0/s  pull/x@debian-13  machine ended, 5 s ago"
        );
    }

    #[test]
    fn a_pool_s_steps_nodes_and_day_2_pods_are_told() {
        use crate::timeline::{NodeChanged, NodeState, Pod};
        let told = |what| describe(&at(1, 0, what), &Facts::default());
        let mut one = Step { index: 1, text: "apply 99-a".into(), ..Step::default() };
        assert_eq!(step(&one), "step 2: apply 99-a");
        one.ended = true;
        assert_eq!(step(&one), "step 2 is done");
        one.unfinished = vec!["worker-2 is degraded".into()];
        assert_eq!(step(&one), "step 2 ends, and worker-2 is degraded");
        let changed = NodeChanged { to: NodeState::Degraded, why: "content mismatch".into() };
        assert_eq!(told(What::NodeChanged(changed)).as_deref(), Some("degraded: content mismatch"));
        let pod = |name: &str, is, why: &str| told(What::Pod(Pod { name: name.into(), is, why: why.into() }));
        assert_eq!(pod("load-nic", PodState::Succeeded, "insmod x").as_deref(), Some("pod load-nic succeeded"));
        assert_eq!(
            pod("load-nic", PodState::Failed, "status 1: no\nmore").as_deref(),
            Some("pod load-nic failed: status 1: no")
        );
        assert_eq!(pod("drain", PodState::Failed, ""), None);
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_of_nothing_recorded() {
        let mut node = Node::new("x".into(), 1);
        for _ in 0..50 {
            node.observe(&at(10, 1, console("a line")));
            node.observe(&Event { recorded: true, ..at(10, 1, console("a recorded line")) });
        }
        assert!(node.line(11_000_000).contains(" 10/s "), "{}", node.line(11_000_000));
        assert!(node.line(16_000_000).contains(" 0/s "), "{}", node.line(16_000_000));
    }

    #[test]
    fn time_is_told_as_a_clock() {
        let clocks = [5, 65, 3605].map(|seconds| clock(Duration::from_secs(seconds)));
        assert_eq!(clocks, ["0:05", "1:05", "1:00:05"]);
    }
}
