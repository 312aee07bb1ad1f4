//! What a line of the timeline can be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::pool::{Answering, NodeChanged, Pod, RenderedFor, Step};
use super::{Facts, JournalRecord, Snapshot};

/// One line of the timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Position in the timeline, from 0, without gaps.
    pub seq: u64,
    /// Host time in microseconds since the trial began, when the harness saw it.
    pub at_us: u64,
    /// The boot it belongs to, from 1; 0 before the machine's first start.
    pub boot: u32,
    /// Of a trial with several nodes: the node that it is about; none for what is about all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Whether it was seen earlier, when the checkpoint was made that the node began with.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub recorded: bool,
    /// What was seen.
    #[serde(flatten)]
    pub what: What,
}

/// What was seen, by kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum What {
    /// What the harness knows of the trial before any machine starts; always the first event.
    Facts(Facts),
    /// QEMU runs and the guest's first instruction is about to be executed.
    MachineStarted(MachineStarted),
    /// QEMU ended.
    MachineExited(MachineExited),
    /// An event of QEMU's machine protocol, as it came.
    Qmp(Qmp),
    /// A line on the serial console.
    Console(Console),
    /// A record of the guest's journal.
    Journal(JournalRecord),
    /// The kernel put a module in (tracepoint `module:module_load`).
    ModuleLoad(ModuleEvent),
    /// The kernel took a module out (tracepoint `module:module_free`).
    ModuleFree(ModuleEvent),
    /// The guest's modules, links, devices and units at one moment.
    Snapshot(Box<Snapshot>),
    /// The config server answered a node.
    ConfigServed(ConfigServed),
    /// The gateway answered a request for the registry.
    Registry(RegistryRequest),
    /// The proxy answered a request.
    Proxy(ProxyRequest),
    /// The gateway has sent a part of an image that the scenario waits for.
    RegistryProgress(RegistryProgress),
    /// The harness did to the node or its surroundings what the scenario says.
    Happened(Happened),
    /// A file of the guest, as a check wants to see it.
    File(FileSeen),
    /// What of the node's config is on its disk.
    OnDisk(OnDisk),
    /// A step of the scenario began or ended.
    Step(Step),
    /// A pool's MachineConfigs became a rendered config.
    Rendered(RenderedFor),
    /// What the control plane knows of a node changed.
    NodeChanged(NodeChanged),
    /// Something that the control plane wants to run on a node came further.
    Pod(Pod),
    /// A node began or ceased to answer the network's observer.
    Answering(Answering),
    /// One of the harness's own streams out of the guest ended or lost data.
    StreamEnded(StreamEnded),
    /// The running node was left to a person; always the last event.
    HandedOver(HandedOver),
    /// The harness did something to the node or gave up a wait; `text` is for a person.
    Note {
        /// What was done or given up.
        text: String,
    },
    /// A wait reached its deadline.
    DeadlinePassed {
        /// What was waited for.
        waiting_for: String,
        /// How long, in seconds, after scaling to this host's speed.
        after_s: f64,
    },
}

/// QEMU runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineStarted {
    /// `tcg` or `kvm`.
    pub accel: String,
    /// QEMU's own version.
    pub qemu: String,
    /// How the machine started: `cold` at power-on, `template` in the middle of its first boot, `pulled` at
    /// power-on with the disks of a node whose first boot is done. Of a `template`, what its console and its
    /// streams said until it was paused follows, before QEMU's event `RESUME`.
    pub start: String,
    /// Milliseconds from QEMU's first answer until it had the template's state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore_ms: Option<f64>,
    /// The hardware.
    pub hardware: Hardware,
}

/// The node's virtual hardware.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Hardware {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

/// QEMU ended.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct MachineExited {
    /// Whether the harness ended it.
    pub expected: bool,
    /// Exit status or signal, for a person.
    pub status: String,
    /// The last lines of QEMU's standard error.
    pub stderr: String,
}

/// An event of QEMU's machine protocol.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Qmp {
    /// `RESET`, `SHUTDOWN`, `GUEST_PANICKED`, …
    pub event: String,
    /// The event's data.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub data: serde_json::Value,
}

impl Qmp {
    /// Why QEMU did it, such as `guest-reset`; empty where it doesn't say.
    pub fn reason(&self) -> &str {
        self.data.get("reason").and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// Whether the guest rebooted, and the machine was paused there instead of reset.
    pub fn is_paused_at_reset(&self) -> bool {
        self.event == "SHUTDOWN" && self.reason() == "guest-reset"
    }
}

/// A line on the serial console, without its line ending, control sequences removed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Console {
    /// The text.
    pub line: String,
}

impl Console {
    /// Whether it is the first line of a booting Linux kernel.
    pub fn is_kernel_banner(&self) -> bool {
        self.line.contains("] Linux version ")
    }
}

/// Whether a text is the kernel's word that it panics.
pub fn is_panic(text: &str) -> bool {
    text.contains("Kernel panic - not syncing")
}

/// The kernel put a module in or took it out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ModuleEvent {
    /// Module name, with `_`.
    pub module: String,
    /// Taint letters that the module brings, such as `OE`; empty for none.
    #[serde(default)]
    pub taints: String,
    /// Guest's CLOCK_MONOTONIC in microseconds.
    pub mono_us: u64,
    /// Name of the task that did it, such as `modprobe` or `(udev-worker)`; `process PID` where it is not known.
    pub comm: String,
    /// Its process id in the guest.
    pub pid: u32,
}

/// The config server answered a node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigServed {
    /// Path of the request, such as `/config/worker`.
    pub path: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Lower-case hex sha256 of the answer's body.
    pub sha256: String,
    /// Length of the body in bytes.
    pub bytes: u64,
    /// The client's User-Agent.
    pub user_agent: String,
}

/// The gateway answered a request for the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RegistryRequest {
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// The repository of the path, as the MachineConfig names it (`quay.io/vendor/driver`); empty for `/v2/`.
    pub repository: String,
    /// `ping`, `manifest`, `blob`, `tags` or `other`.
    pub subject: String,
    /// Tag or digest of the path; empty if it has none.
    pub reference: String,
    /// HTTP status of the answer.
    pub status: u16,
    /// Bytes of the answer's body that were sent.
    pub bytes: u64,
    /// Whether the body was sent to its end.
    pub complete: bool,
    /// User of the basic auth that was accepted; empty without.
    pub user: String,
    /// The client's User-Agent.
    pub user_agent: String,
    /// Microseconds from the request's head to the end of the answer.
    pub took_us: u64,
    /// What the gateway did to the answer on purpose, for a person; empty for nothing.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fault: String,
}

/// The proxy answered a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyRequest {
    /// HTTP method.
    pub method: String,
    /// What was asked for, `HOST:PORT`.
    pub target: String,
    /// HTTP status of the answer.
    pub status: u16,
}

/// The gateway has sent a part of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryProgress {
    /// The repository as the MachineConfig names it.
    pub repository: String,
    /// How much of the image's bytes it has sent, in percent.
    pub percent: u8,
}

/// The harness did to the node or its surroundings what the scenario says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// Its place among what happens in the scenario, from 0; absent for what is done between boots (`then`).
    pub index: Option<usize>,
    /// What was done, as the scenario names it.
    pub action: String,
    /// The event that it waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trigger: Option<u64>,
    /// Why it could not be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Happened {
    /// Whether the node has got another config by it.
    pub fn changes_config(&self) -> bool {
        self.failed.is_none() && matches!(self.action.as_str(), "apply" | "withdraw")
    }
}

/// What of the node's config is on its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDisk {
    /// As in [`ConfigFact::files`]; a file that is not there is left out.
    pub files: BTreeMap<String, String>,
    /// What `systemctl is-enabled` says of each unit.
    pub units: BTreeMap<String, String>,
}

/// A file of the guest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSeen {
    /// Its path.
    pub path: String,
    /// Whether it is there.
    pub exists: bool,
    /// Its mode, such as 0o644, without its kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// Its text, the first 4 KiB; empty for a directory.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// The harness's last word in the kernel's log of a settled node. When it has come out of the guest's console and
/// journal, all that was said before it has come, too.
pub const LOOKED: &str = "the harness has looked at this node";

/// The unit that holds another one up, by its place among the scenario's delays, from 0.
pub fn delay_unit(index: usize) -> String {
    format!("day1-delay-{index}.service")
}

/// A stream of the harness out of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stream {
    /// The serial console.
    Console,
    /// The journal, streamed from the initramfs.
    JournalInitramfs,
    /// The journal, streamed from the real root.
    Journal,
    /// The kernel's module tracepoints.
    ModuleTrace,
    /// The agent that takes snapshots.
    Agent,
}

/// A stream ended or lost data while the machine ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamEnded {
    /// Which stream.
    pub stream: Stream,
    /// What happened, for a person.
    pub reason: String,
}

/// The running node was left to a person: what comes after is not recorded, and is no evidence.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandedOver {
    /// What made the trial end before its time; none for one that had come to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<String>,
}

/// Why a boot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A unit asked for the reboot.
    Unit(String),
    /// Something else in the guest asked for the reboot.
    Guest(String),
    /// The kernel panicked.
    Panic,
    /// The harness reset or cut the machine.
    Harness,
    /// The boot did not end; the trial did.
    Running,
}
