//! `day1 console`: the serial console of a trial.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use day1_harness::recording::{self, ConsoleError};

use super::completions;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 console pull-then-reboot --boot 2
  day1 console pull-then-reboot --follow")]
pub struct Console {
    /// The trial: its directory, RUN/TRIAL, or a part of its name, in `target/day1-results`.
    #[arg(add = completions::recorded())]
    trial: PathBuf,
    /// Only this boot's, from 1.
    #[arg(long, short, value_name = "N")]
    boot: Option<u32>,
    /// Go on as long as the machine runs.
    #[arg(long, short)]
    follow: bool,
    /// Every byte as it came.
    #[arg(long)]
    raw: bool,
}

impl Console {
    pub fn perform(self) -> ExitCode {
        let dir = match recording::find(&self.trial, &|_| false) {
            Ok(dir) => dir,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(2);
            }
        };
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let shown = recording::show_console(&dir, self.boot, self.raw, self.follow, &mut out);
        match shown.and_then(|()| Ok(out.flush()?)) {
            Ok(()) => ExitCode::SUCCESS,
            // A pager that was closed, say.
            Err(ConsoleError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {error}");
                ExitCode::from(if matches!(error, ConsoleError::Write(_)) { 3 } else { 2 })
            }
        }
    }
}
