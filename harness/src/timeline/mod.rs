//! The timeline: the ordered record of everything seen in a trial, one typed event a line.
//!
//! Checks and reports read it, sources write it, and it imports nothing else of this crate, so that a
//! recorded run can be judged again anywhere.

mod bus;
mod event;
mod facts;
mod file;
mod journal;
mod pool;
mod snapshot;

pub use bus::{Bus, Cursor};
pub use event::{
    Cause, ConfigServed, Console, Event, FileSeen, HandedOver, Happened, Hardware, LOOKED, MachineExited,
    MachineStarted, ModuleEvent, OnDisk, ProxyRequest, Qmp, RegistryProgress, RegistryRequest, Stream, StreamEnded,
    What, delay_unit, is_panic,
};
pub use facts::{ConfigFact, Differs, Facts, FileFact, ImageFact, LayerFact, MemberFact, NicFact, PoolFacts};
pub use file::{ReadError, Timeline, Writer};
pub use journal::{JournalRecord, message_id};
pub use pool::{Answering, Asked, NodeChanged, NodeState, Pod, PodState, RenderedFor, Step};
pub use snapshot::{Link, Module, PciDevice, Snapshot, Unit};

/// What a trial leaves in its directory.
pub mod files {
    /// The timeline.
    pub const TIMELINE: &str = "timeline.jsonl";
    /// Every byte of the serial console.
    pub const CONSOLE: &str = "console.log";
    /// The rendered config, as it was served.
    pub const RENDERED: &str = "rendered.ign";
    /// The scenario, as it was when it ran.
    pub const SCENARIO: &str = "scenario.yaml";
    /// Verdict and findings.
    pub const RESULT: &str = "result.json";
    /// Directory of a trial with several nodes, with one for each of them.
    pub const NODES: &str = "nodes";
}
