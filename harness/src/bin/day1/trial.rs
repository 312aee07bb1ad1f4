//! The trial that a command is about.

use std::path::PathBuf;

use clap::Args;
use day1_harness::recording;

use super::completions;

#[derive(Args)]
pub struct OfRun {
    /// The trial: its directory, RUN/TRIAL, or a part of its name, in `target/day1-results`.
    #[arg(add = completions::recorded())]
    trial: PathBuf,
}

impl OfRun {
    /// Its directory, or what a person is told.
    pub fn find(&self) -> Result<PathBuf, String> {
        recording::find(&self.trial, &|_| false).map_err(|error| error.to_string())
    }
}
