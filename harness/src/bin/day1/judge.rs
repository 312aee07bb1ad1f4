//! `day1 judge`: a recorded trial, judged again.

use std::process::ExitCode;

use clap::Args;
use day1_harness::report::{self, Recorded, RecordedError, RunResults};

use super::out::painted;
use super::trial;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 judge pull-then-reboot
  day1 judge target/day1-results/pull/pull-then-reboot@debian-13")]
pub struct Judge {
    #[command(flatten)]
    trial: trial::OfRun,
    /// Judge by the `scenario.yaml` that is there, although the trial was recorded with another one
    #[arg(long)]
    changed_scenario: bool,
}

impl Judge {
    pub fn perform(self) -> ExitCode {
        let dir = match self.trial.find() {
            Ok(dir) => dir,
            Err(message) => {
                eprintln!("error: {message}");
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
