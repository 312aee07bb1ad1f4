//! What a run is told as: on the terminal, as `results.json`, as JUnit.

pub mod html;
mod junit;
mod phases;
pub mod picture;
mod recorded;
mod results;
mod terminal;

pub use junit::write as write_junit;
pub use phases::{Phase, phases};
pub use recorded::{Recorded, RecordedError};
pub use results::{Cpu, Host, MutantOutcome, MutantResult, RESULTS_VERSION, ReadResultsError, RunResults, TrialResult};
pub use terminal::{summary, trial as describe_trial};
