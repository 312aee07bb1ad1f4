//! `day1 report`: what a recorded run is told as.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use day1_harness::report::{self, RunResults};

/// A run's directory is the one that `day1 run --results` names, `target/day1-results` by default.
#[derive(Args)]
pub struct Report {
    #[command(subcommand)]
    form: Form,
}

#[derive(Subcommand)]
enum Form {
    /// Print what the run said: each trial, then the summary.
    Text {
        /// Directory of the run.
        #[arg(default_value = "target/day1-results")]
        run: PathBuf,
    },
}

impl Report {
    pub fn perform(self) -> ExitCode {
        match self.form {
            Form::Text { run } => text(&run),
        }
    }
}

fn text(dir: &Path) -> ExitCode {
    let results = match RunResults::read(dir) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let mut out = std::io::stdout().lock();
    for trial in &results.trials {
        // To a pipe that closes early, for one, nothing more can be said.
        let _ = writeln!(out, "{}", report::describe_trial(trial));
    }
    let _ = write!(out, "{}", report::summary(&results, dir));
    ExitCode::from(results.exit_code())
}
