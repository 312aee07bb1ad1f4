//! `day1 judge`: a recorded trial, judged again.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use day1_harness::checks;
use day1_harness::lab::files;
use day1_harness::report::{self, RunResults, TrialResult};
use day1_harness::scenario::Scenario;
use day1_harness::timeline::Timeline;

/// Example: `day1 judge target/day1-results/pull/pull-then-reboot@debian-13`.
#[derive(Args)]
pub struct Judge {
    /// Directory of the trial, with its `timeline.jsonl` and `scenario.yaml`.
    dir: PathBuf,
    /// Judge by the `scenario.yaml` that is there, although the trial was recorded with another one
    #[arg(long)]
    changed_scenario: bool,
}

impl Judge {
    pub fn perform(self) -> ExitCode {
        let timeline = match Timeline::read(&self.dir.join(files::TIMELINE)) {
            Ok(timeline) => timeline,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        let path = self.dir.join(files::SCENARIO);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                eprintln!("error: cannot read {}: {error}; is this a trial's directory?", path.display());
                return ExitCode::from(2);
            }
        };
        // The scenario's name comes from its path, and the copy's path is the trial's.
        let known = timeline.facts().map(|facts| facts.trial.clone()).filter(|trial| !trial.is_empty());
        let trial = known.unwrap_or_else(|| "unknown/trial".to_owned());
        let id = trial.rsplit_once('@').map_or(trial.as_str(), |(id, _)| id);
        let scenario = match Scenario::of_trial(id, text) {
            Ok(scenario) => scenario,
            Err(mistakes) => {
                eprintln!("{:?}", miette::Report::new(mistakes));
                return ExitCode::from(2);
            }
        };
        let recorded = timeline.facts().map(|facts| facts.scenario_sha256.as_str()).unwrap_or_default();
        if !self.changed_scenario && !recorded.is_empty() && recorded != scenario.document.sha256() {
            eprintln!(
                "error: {} is not the scenario that {trial} was recorded with (sha256 {recorded}); to judge by it all the same, add --changed-scenario",
                path.display()
            );
            return ExitCode::from(2);
        }
        let judgement = checks::judge(&scenario, &timeline);
        let mut result = TrialResult::new(&trial, &path, judgement.verdict, None);
        let last = timeline.events.last();
        result.seconds = last.map_or(0.0, |event| std::time::Duration::from_micros(event.at_us).as_secs_f64());
        result.start = timeline.started().map(|started| started.start.clone()).unwrap_or_default();
        result.restore_ms = timeline.started().and_then(|started| started.restore_ms);
        result.dir = Some(self.dir);
        result.phases = report::phases(&timeline);
        result.findings = judgement.findings;
        result.set_aside = judgement.set_aside;
        print!("{}", report::describe_trial(&result));
        ExitCode::from(RunResults::exit_code_of(&[result]))
    }
}
