//! `day1 man`: the manual, a page for each command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 man man1 && man -l man1/day1-run.1")]
pub struct ManPages {
    /// The directory that they are written to; it is made if need be.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl ManPages {
    /// `command` is the whole command line.
    pub fn perform(self, command: Command) -> ExitCode {
        let written = std::fs::create_dir_all(&self.dir).and_then(|()| clap_mangen::generate_to(command, &self.dir));
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot write the manual to {}: {error}", self.dir.display());
                ExitCode::from(2)
            }
        }
    }
}
