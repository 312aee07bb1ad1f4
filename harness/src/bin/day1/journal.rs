//! `day1 journal`: the recorded journal of a trial, read by `journalctl`.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitCode;

use clap::Args;
use day1_harness::lab::files;
use day1_harness::recording::{self, Journal, JournalError};
use day1_harness::runner::Scratch;
use day1_harness::timeline::Timeline;

use super::trial;

const SIGPIPE: i32 = nix::sys::signal::Signal::SIGPIPE as i32;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 journal pull-then-reboot -b 2 -u NetworkManager
  day1 journal pull-then-reboot --boot 1 -p err -o json
  day1 journal pool/rollout --of worker-1 -b 3 -u kubelet")]
pub struct JournalOf {
    #[command(flatten)]
    trial: trial::OfRun,
    /// Of a trial with several nodes: the node whose journal it is.
    #[arg(long, value_name = "NODE")]
    of: Option<String>,
    /// Options of journalctl.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    options: Vec<String>,
}

impl JournalOf {
    pub fn perform(self) -> ExitCode {
        self.read().unwrap_or_else(|(code, message)| {
            eprintln!("error: {message}");
            ExitCode::from(code)
        })
    }

    fn read(&self) -> Result<ExitCode, (u8, String)> {
        let bad = |error: &dyn std::error::Error| (2, error.to_string());
        let own = |error: &dyn std::error::Error| (3, error.to_string());
        let dir = self.trial.find().map_err(|message| (2, message))?;
        let timeline = Timeline::read_so_far(&dir.join(files::TIMELINE)).map_err(|error| bad(&error))?;
        let (of, options) = self.options_of_node();
        let timeline = recording::of_node(timeline, of.as_deref()).map_err(|error| bad(&error))?;
        let day1 = std::env::current_exe().map_err(|error| own(&error))?;
        // It is as long as the timeline's, and goes with this process however that ends.
        let scratch = Scratch::new(&day1).map_err(|error| own(&error))?;
        let status = Journal::of(&timeline).read(scratch.dir(), &options);
        match status {
            // Its pipe was closed: a pager that is done, or `head`.
            Ok(status) if status.signal() == Some(SIGPIPE) => Ok(ExitCode::SUCCESS),
            Ok(status) => Ok(ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(3))),
            Err(error @ JournalError::Boot { .. }) => Err(bad(&error)),
            Err(error) => Err(own(&error)),
        }
    }

    /// The node, also where it stands among journalctl's options, and the rest of these.
    fn options_of_node(&self) -> (Option<String>, Vec<String>) {
        let (mut of, mut rest) = (self.of.clone(), Vec::new());
        let mut options = self.options.iter();
        while let Some(option) = options.next() {
            match option.strip_prefix("--of=") {
                Some(node) => of = Some(node.to_owned()),
                None if option == "--of" => of = options.next().cloned().or(of),
                None => rest.push(option.clone()),
            }
        }
        (of, rest)
    }
}
