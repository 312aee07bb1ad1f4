//! What a run is told as: on the terminal, as `results.json`, as JUnit, to GitHub, as SARIF.

mod attempt;
mod clock;
#[cfg(test)]
mod fixture;
mod github;
pub mod html;
mod junit;
mod merge;
mod partition;
mod phases;
pub mod picture;
mod place;
mod plan;
mod recorded;
mod results;
mod sarif;
mod schema;
mod snoozed;
mod terminal;
mod words;

use std::path::Path;

pub use attempt::Attempt;
pub(crate) use attempt::told;
pub use github::{SUMMARY_LIMIT as GITHUB_SUMMARY_LIMIT, annotations as github_annotations, summary as github_summary};
pub use junit::write as write_junit;
pub use merge::{Merge, MergeError, Merged, Shard, ShardRun};
pub use partition::{BadPartition, Partition};
pub use phases::{Phase, begins as phase_begins, phases};
pub use plan::{PLAN_VERSION, Part, PlannedScenario, ReadPlanError, RunPlan};
pub use recorded::{Recorded, RecordedError};
pub use results::{
    Cpu, Host, MutantOutcome, MutantResult, RESULTS_VERSION, ReadResultsError, RunResults, TrialResult,
    WriteResultsError,
};
pub use sarif::sarif;
pub use schema::results_schema;
pub use snoozed::{SnoozeOutcome, Snoozed, SnoozedBy};
pub use terminal::{painted_summary, painted_trial, stretched, summary, trial as describe_trial};
pub use words::attempt as describe_attempt;

/// Name of the file with a run's results as JUnit.
pub const JUNIT_FILE: &str = "junit.xml";

/// Writes a file that is renamed into its place: whoever reads it meanwhile, or after a kill, finds a whole one. What is no file,
/// such as a pipe, is written to as it is, and a link stays one.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return std::fs::write(path, bytes);
    }
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let new = path.with_file_name(format!(".{}.new", path.file_name().unwrap_or_default().to_string_lossy()));
    std::fs::write(&new, bytes).and_then(|()| std::fs::rename(&new, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}
