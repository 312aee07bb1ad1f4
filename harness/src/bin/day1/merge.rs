//! `day1 report merge`: the shards of a run, joined.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use day1_harness::report;

use super::out::painted;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 run --all --partition hash:1/2 --results shards/1
  day1 run --all --partition hash:2/2 --results shards/2
  day1 report merge shards/1 shards/2 --into target/day1-results")]
pub struct Merge {
    /// Directories of the shards' results.
    #[arg(required_unless_present = "plan")]
    shards: Vec<PathBuf>,
    /// Where the joined run goes: a new directory.
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// A plan that was to run, as `day1 run … --list --format json` prints it (may be given several times). Its trials
    /// are shown even if no shard of it reported, and runs of other plans are left out [default: the one plan that all
    /// shards are parts of].
    #[arg(long, value_name = "FILE")]
    plan: Vec<PathBuf>,
    /// Let several runs of the same part count: the last that shows anything, but a trial that failed in one and passed
    /// in another is flaky.
    #[arg(long)]
    rerun: bool,
    /// Link the trials' files, where that can be, in the place of copying them.
    #[arg(long)]
    link: bool,
}

impl Merge {
    pub fn perform(self) -> ExitCode {
        let Self { shards, into, plan: plans, rerun, link } = self;
        let joined = report::Merge { shards, plans, rerun }.join().and_then(|mut merged| {
            merged.told.iter().for_each(|line| eprintln!("warning: {line}"));
            merged.write(&into, link).map(|()| merged.results)
        });
        match joined {
            Ok(results) => {
                // A page that can't be written changes no verdict: all that it would show is on disk.
                if let Err(error) = report::html::write(&results, &into, None, &into.join(report::html::FILE)) {
                    eprintln!("error: {error}");
                }
                painted(&report::painted_summary(&results, &into), ExitCode::from(results.exit_code()))
            }
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(if error.is_bad_input() { 2 } else { 3 })
            }
        }
    }
}
