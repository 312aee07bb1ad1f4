//! `day1 bench`: what a trial costs against the boots that it contains.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use day1_harness::bench::{self, Options, Part};
use day1_harness::runner::STAND_IN;

use crate::run::find_above;

use super::out::print;

#[derive(Args)]
#[command(after_long_help = "\
All parts together take about 40 minutes without KVM. Missed goals don't change the exit code.

Examples:
  day1 bench
  day1 bench --only floor,trials --rounds 1
  day1 bench --json bench.json")]
pub struct Bench {
    /// Measure only these parts: `floor`, `trials`, `memory`, `suite`.
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// How often the plain boots and the trial are measured; their median counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Run the suite with these numbers of jobs as well, such as `3,4`.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    jobs: Vec<usize>,
    /// Write everything that was measured to this file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The node image: always the same unless told otherwise, so that numbers can be compared.
    #[arg(long, value_name = "IMAGE", default_value = STAND_IN)]
    node: String,
}

impl Bench {
    pub fn perform(self, cache: Option<PathBuf>) -> ExitCode {
        let found = (|| Ok::<_, String>((find_above("scenarios")?, find_above("vm-images")?)))();
        let (scenarios, vm_images) = match found {
            Ok(found) => found,
            Err(message) => {
                eprintln!("error: {message}");
                return ExitCode::from(2);
            }
        };
        match self.measure(cache, scenarios, vm_images) {
            Ok(code) => code,
            Err(error) => {
                eprintln!("error: {error:#}");
                ExitCode::from(3)
            }
        }
    }

    fn measure(self, cache: Option<PathBuf>, scenarios: PathBuf, vm_images: PathBuf) -> Result<ExitCode> {
        let parts = if self.only.is_empty() { Part::ALL.to_vec() } else { self.only };
        let day1 = std::env::current_exe().context("cannot find this program's own file")?;
        // Before half an hour of measuring.
        let json = self.json.map(|path| std::fs::File::create(&path).map(|file| (file, path))).transpose();
        let json = json.context("cannot create the JSON file")?;
        let options =
            Options { day1, scenarios, vm_images, node: self.node, cache, rounds: self.rounds, jobs: self.jobs, parts };
        let report = bench::run(&options)?;
        if let Some((file, path)) = json {
            let written = serde_json::to_writer_pretty(file, &report.to_json());
            written.with_context(|| format!("cannot write {}", Path::display(&path)))?;
        }
        Ok(print(&report.table(), ExitCode::SUCCESS))
    }
}
