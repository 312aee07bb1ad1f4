//! The scenario language: one YAML file says what a node starts from, what happens to it, and what must be
//! true at each boot.
//!
//! [`Scenario::load`] gives a scenario whose cross-references were verified, or every mistake in the file at
//! once, each with its line and what would be right.

mod decode;
mod document;
mod expect;
mod load;
mod mistake;
mod spec;
#[cfg(test)]
mod tests;
mod value;
mod verify;

pub use document::{Document, Path, Step};
pub use expect::{
    Expectation, Expectations, ImageNotPulled, ImagePulled, ImageRefused, JournalSays, Many, ModuleAbsent,
    ModulePresent, ModuleReplaced, NicDriver, Origin, UnitBefore, UnitOutcome, UnitResult,
};
pub use load::{Listing, Scenario, list};
pub use mistake::{Mistake, Mistakes};
pub use spec::{
    BASE_CHECKS, Boot, ConfigSource, Disk, Ends, Generate, Image, JOURNAL_PATTERNS, MachineConfig, Nic, NicModel,
    NodeFile, NodeShape, NodeUnit, OptOut, Registry, Roles, Spec, Start, Then, Throttle, Variant,
};
pub use value::{
    AbsolutePath, FileMode, Id, ModuleName, Pattern, Repository, Role, Seconds, Size, TagTemplate, UnitName, UnitRef,
};
