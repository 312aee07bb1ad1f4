//! A recorded trial: what its directory holds, read again.

use std::io;
use std::path::{Path, PathBuf};

use super::TrialResult;
use super::phases::phases;
use crate::checks::{self, Judgement};
use crate::scenario::{Mistakes, Scenario};
use crate::timeline::{ReadError, Timeline, files};

/// A trial that was recorded, with the scenario that it was recorded with.
#[derive(Debug)]
pub struct Recorded {
    /// Its directory.
    pub dir: PathBuf,
    /// Its name, `family/scenario@node-image`.
    pub trial: String,
    /// The scenario.
    pub scenario: Scenario,
    /// What was seen.
    pub timeline: Timeline,
}

/// Why a directory can't be read as a trial's.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The timeline can't be read.
    #[error(transparent)]
    Timeline(#[from] ReadError),
    /// The scenario can't be read.
    #[error("cannot read {path}: {source}; is this a trial's directory?")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The scenario is wrong.
    #[error("{}", .0.plain().trim_end())]
    Scenario(Box<Mistakes>),
    /// The scenario is another one.
    #[error("{path} is not the scenario that {trial} was recorded with (sha256 {recorded})")]
    OtherScenario {
        /// The file.
        path: PathBuf,
        /// The trial.
        trial: String,
        /// The sum of the scenario that it was recorded with.
        recorded: String,
    },
}

impl Recorded {
    /// Reads a trial's directory. With `changed_scenario` the scenario there may be another one than the trial was recorded
    /// with.
    pub fn read(dir: &Path, changed_scenario: bool) -> Result<Self, RecordedError> {
        Self::with(Timeline::read(&dir.join(files::TIMELINE))?, dir, changed_scenario)
    }

    /// Reads as much of a trial as was recorded, for a person to look at: its end is missing where the harness was killed, and
    /// its scenario may be one that this harness can't read.
    pub fn read_so_far(dir: &Path) -> Result<(Timeline, Result<Self, RecordedError>), ReadError> {
        let timeline = Timeline::read_so_far(&dir.join(files::TIMELINE))?;
        let recorded = Self::with(timeline.clone(), dir, true);
        Ok((timeline, recorded))
    }

    fn with(timeline: Timeline, dir: &Path, changed_scenario: bool) -> Result<Self, RecordedError> {
        let path = dir.join(files::SCENARIO);
        let text = std::fs::read_to_string(&path).map_err(|source| RecordedError::Io { path: path.clone(), source })?;
        // The scenario's name comes from its path, and the copy's path is the trial's.
        let known = timeline.facts().map(|facts| facts.trial.clone()).filter(|trial| !trial.is_empty());
        let trial = known.unwrap_or_else(|| "unknown/trial".to_owned());
        let id = trial.rsplit_once('@').map_or(trial.as_str(), |(id, _)| id);
        let scenario = Scenario::of_trial(id, text).map_err(|mistakes| RecordedError::Scenario(Box::new(mistakes)))?;
        let recorded = timeline.facts().map(|facts| facts.scenario_sha256.as_str()).unwrap_or_default();
        if !changed_scenario && !recorded.is_empty() && recorded != scenario.document.sha256() {
            return Err(RecordedError::OtherScenario { path, trial, recorded: recorded.to_owned() });
        }
        Ok(Self { dir: dir.to_owned(), trial, scenario, timeline })
    }

    /// Judges it again.
    pub fn judge(&self) -> TrialResult {
        let Judgement { verdict, findings, set_aside } = checks::judge(&self.scenario, &self.timeline);
        let mut result = TrialResult::new(&self.trial, &self.dir.join(files::SCENARIO), verdict, None);
        let last = self.timeline.events.last();
        result.seconds = last.map_or(0.0, |event| std::time::Duration::from_micros(event.at_us).as_secs_f64());
        result.start = self.timeline.started().map(|started| started.start.clone()).unwrap_or_default();
        result.restore_ms = self.timeline.started().and_then(|started| started.restore_ms);
        result.dir = Some(self.dir.clone());
        result.phases = phases(&self.timeline);
        result.findings = findings;
        result.set_aside = set_aside;
        result
    }
}
