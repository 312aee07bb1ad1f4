//! `day1 report`: what a recorded run is told as.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use day1_harness::recording;
use day1_harness::report::picture::{self, Picture};
use day1_harness::report::{self, Recorded, RunResults, html};

use super::merge::Merge;
use super::out::{painted, print};
use super::trial;

#[derive(Args)]
#[command(after_long_help = "\
A run's directory is the one that `day1 run --results` names, `target/day1-results` by default.

Examples:
  day1 report text
  day1 report html --compare yesterday/day1-results")]
pub struct Report {
    #[command(subcommand)]
    form: Form,
}

#[derive(Subcommand)]
enum Form {
    /// Print what the run said: each trial, then the summary.
    #[command(after_long_help = "Examples:\n  day1 report text target/day1-results")]
    Text {
        /// Directory of the run.
        #[arg(default_value = "target/day1-results")]
        run: PathBuf,
    },
    /// Write the run as one page: every trial's findings, picture, journal, console and config.
    #[command(after_long_help = "\
Examples:
  day1 report html
  day1 report html target/day1-results --compare yesterday/day1-results -o report.html")]
    Html {
        /// Directory of the run.
        #[arg(default_value = "target/day1-results")]
        run: PathBuf,
        /// Directory of an earlier run: what changed since is told.
        #[arg(long, value_name = "RUN")]
        compare: Option<PathBuf>,
        /// Where it is written [default: `report.html` in the run's directory].
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Draw a trial: what ran when, over all its boots, and what happened. Of several nodes: who served when.
    #[command(after_long_help = "\
Examples:
  day1 report picture pull-then-reboot
  day1 report picture target/day1-results/pull/pull-then-reboot@debian-13 --svg boots.svg
  day1 report picture pool/rollout --of worker-1")]
    Picture {
        #[command(flatten)]
        trial: trial::OfRun,
        /// Of a trial with several nodes: this one's own boots and units, in the place of all nodes.
        #[arg(long, value_name = "NODE")]
        of: Option<String>,
        /// Write an SVG file in the place of lines for a terminal.
        #[arg(long, value_name = "FILE")]
        svg: Option<PathBuf>,
        /// Columns of the terminal [default: what it has, or 100].
        #[arg(long, value_name = "N", conflicts_with = "svg", value_parser = clap::value_parser!(u16).range(40..=1000))]
        width: Option<u16>,
    },
    /// Join the results of a run's shards, so that no planned trial vanishes.
    ///
    /// Every planned trial is in the joined run; those of a shard that never reported are red, with the shard's name. The exit code is
    /// that of a run.
    Merge(Merge),
    /// Tell GitHub Actions of the run: a summary of the job goes to the file that `GITHUB_STEP_SUMMARY` names (to standard
    /// output without it), and annotations of the scenarios' lines to standard output.
    ///
    /// Run it in a step of its own, from the top of the repository, with `if: always()`. It ends with 0 whatever the run came
    /// to, for the run's own step tells that.
    #[command(after_long_help = "Examples:\n  day1 report github target/day1-results")]
    Github {
        /// Directory of the run.
        #[arg(default_value = "target/day1-results")]
        run: PathBuf,
    },
    /// Print what fell short as SARIF 2.1.0, at the lines of the scenarios, for code review tools.
    #[command(after_long_help = "Examples:\n  day1 report sarif target/day1-results >day1.sarif")]
    Sarif {
        /// Directory of the run.
        #[arg(default_value = "target/day1-results")]
        run: PathBuf,
    },
    /// Print the run as JUnit XML, with each trial's files attached by their paths from here; a run writes the same as
    /// `junit.xml`.
    #[command(after_long_help = "Examples:\n  day1 report junit target/day1-results >junit.xml")]
    Junit {
        /// Directory of the run.
        #[arg(default_value = "target/day1-results")]
        run: PathBuf,
    },
}

impl Report {
    pub fn perform(self) -> ExitCode {
        match self.form {
            Form::Text { run } => text(&run),
            Form::Html { run, compare, output } => page(&run, compare.as_deref(), output),
            Form::Picture { trial, of, svg, width } => picture(&trial, of.as_deref(), svg.as_deref(), width),
            Form::Merge(merge) => merge.perform(),
            Form::Github { run } => github(&run),
            Form::Sarif { run } => sarif(&run),
            Form::Junit { run } => junit(&run),
        }
    }
}

fn text(dir: &Path) -> ExitCode {
    let results = match read(dir) {
        Ok(results) => results,
        Err(code) => return code,
    };
    let trials = results.trials.iter().map(|trial| report::painted_trial(trial) + "\n");
    let text = trials.collect::<String>() + &report::painted_summary(&results, dir);
    painted(&text, ExitCode::from(results.exit_code()))
}

fn page(dir: &Path, compare: Option<&Path>, output: Option<PathBuf>) -> ExitCode {
    let both = read(dir).and_then(|results| Ok((results, compare.map(read).transpose()?)));
    let (results, earlier) = match both {
        Ok(both) => both,
        Err(code) => return code,
    };
    let path = output.unwrap_or_else(|| dir.join(html::FILE));
    match html::write(&results, dir, earlier.as_ref(), &path) {
        Ok(()) => print(&format!("{}\n", path.display()), ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn picture(trial: &trial::OfRun, of: Option<&str>, svg: Option<&Path>, width: Option<u16>) -> ExitCode {
    let picture = match drawn(trial, of) {
        Ok(picture) => picture,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let Some(file) = svg else {
        let width = width.unwrap_or_else(|| console::Term::stdout().size_checked().map_or(100, |(_, width)| width));
        return print(&picture::text(&picture, usize::from(width)), ExitCode::SUCCESS);
    };
    let Some(drawn) = picture::standalone(&picture) else {
        eprintln!("error: {}", picture::NOTHING);
        return ExitCode::from(2);
    };
    if file.as_os_str() == "-" {
        return print(&drawn, ExitCode::SUCCESS);
    }
    match std::fs::write(file, drawn) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write {}: {error}", file.display());
            ExitCode::from(3)
        }
    }
}

fn drawn(trial: &trial::OfRun, of: Option<&str>) -> Result<Picture, String> {
    let (timeline, recorded) = Recorded::read_so_far(&trial.find()?).map_err(|error| error.to_string())?;
    let recorded = recorded.inspect_err(|error| eprintln!("warning: without the scenario: {error}")).ok();
    let findings = recorded.as_ref().map(|recorded| recorded.judge().findings).unwrap_or_default();
    let scenario = recorded.map(|recorded| recorded.scenario);
    match of {
        None => Ok(Picture::of(&timeline, scenario.as_ref(), &findings)),
        Some(_) => recording::of_node(timeline, of)
            .map(|own| Picture::of_node(&own, scenario.as_ref(), &findings, of.unwrap_or_default()))
            .map_err(|error| error.to_string()),
    }
}

fn github(dir: &Path) -> ExitCode {
    let results = match read(dir) {
        Ok(results) => results,
        Err(code) => return code,
    };
    let file = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|file| !file.is_empty()).map(PathBuf::from);
    let written = file.as_ref().and_then(|file| std::fs::metadata(file).ok()).map_or(0, |file| file.len());
    let room = report::GITHUB_SUMMARY_LIMIT.saturating_sub(usize::try_from(written).unwrap_or(usize::MAX));
    let summary = report::github_summary(&results, room);
    let annotations = report::github_annotations(&results, dir);
    match &file {
        None => print(&format!("{summary}\n{annotations}"), ExitCode::SUCCESS),
        Some(file) => match append(file, &summary) {
            Ok(()) => print(&annotations, ExitCode::SUCCESS),
            Err(error) => {
                eprintln!("error: cannot write the summary to {}: {error}", file.display());
                ExitCode::from(3)
            }
        },
    }
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    std::fs::File::options().create(true).append(true).open(file)?.write_all(text.as_bytes())
}

fn sarif(dir: &Path) -> ExitCode {
    let results = match read(dir) {
        Ok(results) => results,
        Err(code) => return code,
    };
    match report::sarif(&results, dir) {
        Ok(sarif) => print(&(sarif + "\n"), ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: cannot write {} as SARIF: {error}", dir.display());
            ExitCode::from(3)
        }
    }
}

fn junit(dir: &Path) -> ExitCode {
    let results = match read(dir) {
        Ok(results) => results,
        Err(code) => return code,
    };
    let mut xml = Vec::new();
    match report::write_junit(&results, dir, &mut xml) {
        Ok(()) => print(&String::from_utf8_lossy(&xml), ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: cannot write {} as JUnit: {error}", dir.display());
            ExitCode::from(3)
        }
    }
}

fn read(dir: &Path) -> Result<RunResults, ExitCode> {
    RunResults::read(dir).map_err(|error| {
        eprintln!("error: {error}");
        ExitCode::from(2)
    })
}
