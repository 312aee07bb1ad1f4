//! The scenario language: one YAML file says what a node starts from, what happens to it, and what must be
//! true at each boot.
//!
//! [`Scenario::load`] gives a scenario whose cross-references were verified, or every mistake in the file at
//! once, each with its line and what would be right.

mod breakpoint;
mod decode;
mod disruption;
mod document;
mod exact;
mod expect;
mod happening;
mod load;
mod matrix;
mod mistake;
mod mutant;
mod node;
mod patch;
mod pool;
mod reference;
mod registry;
mod schema;
mod sketch;
mod snooze;
mod spec;
#[cfg(test)]
mod tests;
mod value;
mod verify;
mod verify_pool;

pub use breakpoint::{BadEvent, Breakpoint};
pub(crate) use decode::{decode_exactly, nearest};
pub use disruption::{DisruptionAction, FilePolicy, NodeDisruptionPolicy, SshKeyPolicy, UnitPolicy};
pub use document::{Document, Path, Step};
pub(crate) use document::{Entry, Node, Value};
pub(crate) use exact::Exact;
pub use expect::{
    ConfigNeverAsked, Expectation, Expectations, FileState, ImageNotPulled, ImagePulled, ImageRefused, JournalLacks,
    JournalSays, KernelRunning, Many, ModuleAbsent, ModulePresent, ModuleReplaced, NicDriver, Obstacle, Origin,
    UnitBefore, UnitOutcome, UnitResult,
};
pub use happening::{
    Action, After, Clock, ConfigChange, Damage, Delay, Fill, Filling, Happening, Harm, JournalTrigger, LinkAction,
    LinkState, ModuleMoment, ModuleTrigger, Phase, PulledTrigger, Reach, Trigger, UnitMoment, UnitTrigger,
};
pub use load::{Listing, Scenario, list};
pub use mistake::{Mistake, Mistakes};
pub use mutant::{Mutant, Mutation, mutants};
pub use node::{Disk, Layer, Nic, NicModel, NodeFile, NodeShape, NodeUnit, Throttle};
pub use patch::{Patch, PatchChange, PatchPlace};
pub use pool::{
    AskedFor, DAY2_WORKER, DAY2_WORKER_TAG, Downtime, Label, MOST_NODES, Member, MemberLink, MemberState, Module,
    PodKind, PodOutcome, PodResult, Pool, PoolAction, Rollout, Step as PoolStep, StepExpectations, TakesOut, WORKER,
    pool_of,
};
pub use reference::reference;
pub use registry::{Architecture, Asked, Base, Certificate, Fault, Image, Proxy, PullSecret, Registry, Variant};
pub use schema::{schema, snoozes_schema};
pub use sketch::{Plot, Sketch};
pub use snooze::{Day, SNOOZES_FILE, Snooze, Tracker, TrialPattern, snoozes};
pub use spec::{
    BASE_CHECKS, Boot, ConfigSource, Ends, Generate, JOURNAL_PATTERNS, JUDGED_UNASKED, MachineConfig, OptOut, Roles,
    Spec, Start,
};
pub use value::{
    AbsolutePath, FileMode, HostPath, Id, KernelArgument, ModuleName, Network, Pattern, Percent, Repository, Role,
    Seconds, Size, TagTemplate, UnitName, UnitRef,
};
