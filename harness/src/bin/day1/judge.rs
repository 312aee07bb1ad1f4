//! `day1 judge`: a recorded trial, judged again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use day1_harness::recording;
use day1_harness::report::{self, Recorded, RecordedError, RunResults};

use super::completions;
use super::out::painted;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 judge pull-then-reboot
  day1 judge target/day1-results/pull/pull-then-reboot@debian-13")]
pub struct Judge {
    /// The trial: its directory, RUN/TRIAL, or a part of its name, in `target/day1-results`.
    #[arg(add = completions::recorded())]
    trial: PathBuf,
    /// Judge by the `scenario.yaml` that is there, although the trial was recorded with another one
    #[arg(long)]
    changed_scenario: bool,
}

impl Judge {
    pub fn perform(self) -> ExitCode {
        let dir = match recording::find(&self.trial, &|_| false) {
            Ok(dir) => dir,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        let recorded = match Recorded::read(&dir, self.changed_scenario) {
            Ok(recorded) => recorded,
            Err(RecordedError::Scenario(mistakes)) => {
                eprintln!("{:?}", miette::Report::new(*mistakes));
                return ExitCode::from(2);
            }
            Err(error @ RecordedError::OtherScenario { .. }) => {
                eprintln!("error: {error}; to judge by it all the same, add --changed-scenario");
                return ExitCode::from(2);
            }
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        let result = recorded.judge();
        painted(&report::painted_trial(&result), ExitCode::from(RunResults::exit_code_of(&[result])))
    }
}
