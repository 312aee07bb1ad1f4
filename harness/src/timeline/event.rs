//! What a line of the timeline can be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{JournalRecord, Snapshot};

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

/// What the harness knows of the trial before any machine starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Name of the trial, `family/scenario@node-image`.
    pub trial: String,
    /// Lower-case hex sha256 of the scenario's file; empty in older recordings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scenario_sha256: String,
    /// Whether the harness says [`LOOKED`] in the guest when it has looked at a settled node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub says_when_it_has_looked: bool,
    /// Whether the node got the harness's instruments by a config beside the rendered one, for its systemd takes no units
    /// as credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub instruments_in_config: bool,
    /// Name of the node image.
    pub node_image: String,
    /// Releases of the node image's kernels; the first is the one that it boots.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// The release of the kernel that each boot must run, where the run chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Lower-case hex sha256 of the rendered config, as bytes on the wire.
    pub rendered_sha256: String,
    /// Units of the MachineConfigs under test, by role: `pull`, `load`, or `pull/NAME`, `load/NAME` (NAME is
    /// the MachineConfig's) where more than one is under test; the value is the unit's name.
    pub units: BTreeMap<String, String>,
    /// Files of the MachineConfigs under test.
    #[serde(default)]
    pub files: Vec<FileFact>,
    /// What the node's configs put on it: the first boot's, then each that it is changed to.
    #[serde(default)]
    pub configs: Vec<ConfigFact>,
    /// Images that the registry holds for this trial.
    pub images: Vec<ImageFact>,
    /// The registry behind the gateway: `embedded`, or `container IMAGE (IMAGE-ID)`; empty in older recordings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub registry: String,
    /// The node's network cards.
    pub nics: Vec<NicFact>,
    /// The trial's nodes, where it has several: in the trial's own facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Box<PoolFacts>>,
    /// What is layered into the node image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerFact>,
}

/// The nodes of a trial with several, and how they are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFacts {
    /// The nodes, in the scenario's order.
    pub nodes: Vec<MemberFact>,
    /// How often the network's observer asks each of them, in milliseconds: what is measured by it is as exact as that.
    pub asked_every_ms: u64,
}

/// A node of a trial with several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFact {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The pool that it is in at first.
    pub pool: String,
}

/// What is layered into a node image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFact {
    /// The release of the kernel that it is for.
    pub kernel: String,
    /// `srcversion` of every module that it brings, by module name (with `_`).
    pub modules: BTreeMap<String, String>,
    /// In-tree modules that it takes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

impl std::fmt::Display for LayerFact {
    /// For a person, behind the node image's name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, modules, without } = self;
        let named = modules.iter().map(|(name, version)| format!("{name} (srcversion {version})"));
        let named: Vec<String> = named.collect();
        let brings = if named.is_empty() { "nothing".to_owned() } else { named.join(", ") };
        let lacks = if without.is_empty() { String::new() } else { format!(", and {} taken out", without.join(", ")) };
        write!(f, "with {brings} layered into it for kernel {kernel}{lacks}")
    }
}

/// What a config puts on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFact {
    /// The rendered config's name.
    pub name: String,
    /// Mode and sha256 of each file, also those of units, as `0644 SHA256`, by path.
    pub files: BTreeMap<String, String>,
    /// Whether each unit is `enabled`, `disabled` or `masked`, where that is said.
    pub units: BTreeMap<String, String>,
}

/// What of the node's config is on its disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnDisk {
    /// As in [`ConfigFact::files`]; a file that is not there is left out.
    pub files: BTreeMap<String, String>,
    /// What `systemctl is-enabled` says of each unit.
    pub units: BTreeMap<String, String>,
}

/// A file of a MachineConfig under test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Where it stands on the node.
    pub path: String,
    /// Its mode, such as 0o755.
    pub mode: u32,
}

/// An image in the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageFact {
    /// The repository as the MachineConfig names it, such as `quay.io/vendor/driver`.
    pub repository: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Manifest digest, `sha256:…`.
    pub digest: String,
    /// `srcversion` of every module inside, by module name (with `_`).
    pub modules: BTreeMap<String, String>,
}

/// A network card of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NicFact {
    /// Name in the scenario, such as `test`.
    pub id: String,
    /// QEMU's device model, such as `e1000`.
    pub model: String,
    /// MAC address, lower case with colons.
    pub mac: String,
    /// The network behind it, where the scenario chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
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

/// A step of the scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its place among the steps, from 0.
    pub index: usize,
    /// What it does, for a person.
    pub text: String,
    /// Whether this is its end.
    pub ended: bool,
    /// How many times the network's observer has asked each node by then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub asked: BTreeMap<String, u64>,
    /// What did not come in its time; none for a step that came to its end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unfinished: Vec<String>,
}

/// A pool's rendered config.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenderedFor {
    /// The pool.
    pub pool: String,
    /// The rendered config's name.
    pub config: String,
    /// The MachineConfigs that it was merged of, in the order of the merge.
    pub machine_configs: Vec<String>,
}

/// What the control plane knows of a node changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeChanged {
    /// What it is now.
    pub to: NodeState,
    /// Why, or to what, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// What the control plane knows of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// Its kubelet asks for work.
    Ready,
    /// Its kubelet has not asked for too long.
    NotReady,
    /// Nothing new is put on it.
    Cordoned,
    /// Its workload was stopped.
    Drained,
    /// The daemon writes another config.
    Working,
    /// The daemon reboots it.
    Rebooting,
    /// It has the config that it is to have, and the daemon found it on its disk.
    Done,
    /// The daemon could not bring it to its config, or found another state on its disk.
    Degraded,
    /// Its workload may run again.
    Uncordoned,
}

impl NodeState {
    /// As the timeline writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not-ready",
            Self::Cordoned => "cordoned",
            Self::Drained => "drained",
            Self::Working => "working",
            Self::Rebooting => "rebooting",
            Self::Done => "done",
            Self::Degraded => "degraded",
            Self::Uncordoned => "uncordoned",
        }
    }
}

/// Something that the control plane wants to run on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its name, such as `load-day1-nic-2`.
    pub name: String,
    /// How far it is.
    pub is: PodState,
    /// Why, or what it printed, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
}

/// How far a pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PodState {
    /// It waits for a node that takes it.
    Pending,
    /// The node's kubelet has taken it.
    Scheduled,
    /// The node's kubelet told that it succeeded.
    Succeeded,
    /// The node's kubelet told that it failed.
    Failed,
}

/// A node began or ceased to answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answering {
    /// What it is asked.
    pub asked: Asked,
    /// Whether it answers.
    pub answers: bool,
    /// Since when, on the timeline's clock in microseconds: when the first question was asked that was answered so.
    pub since_us: u64,
}

/// What the network's observer asks a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Whether it is there (ICMP echo).
    Ping,
    /// Whether its workload's service takes a connection.
    Service,
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
