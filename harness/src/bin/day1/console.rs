//! `day1 console`: the serial console of a trial.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use day1_harness::recording::{self, ConsoleError, WantedConsole};

use super::trial;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 console pull-then-reboot --boot 2
  day1 console pool/rollout --of worker-1 --boot 3
  day1 console pull-then-reboot --follow")]
pub struct Console {
    #[command(flatten)]
    trial: trial::OfRun,
    /// Of a trial with several nodes: the node whose console it is.
    #[arg(long, value_name = "NODE")]
    of: Option<String>,
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
        let dir = match self.trial.find() {
            Ok(dir) => dir,
            Err(message) => {
                eprintln!("error: {message}");
                return ExitCode::from(2);
            }
        };
        let mut out = std::io::BufWriter::new(std::io::stdout().lock());
        let Self { boot, raw, follow, .. } = self;
        let wanted = WantedConsole { node: self.of.as_deref(), boot, raw, follow };
        let shown = recording::show_console(&dir, wanted, &mut out);
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
