//! What a run is told as: on the terminal, as `results.json`, as JUnit.

mod junit;
mod phases;
mod results;
mod terminal;

pub use junit::write as write_junit;
pub use phases::{Phase, phases};
pub use results::{Cpu, Host, MutantOutcome, MutantResult, RESULTS_VERSION, ReadResultsError, RunResults, TrialResult};
pub use terminal::{summary, trial as describe_trial};
