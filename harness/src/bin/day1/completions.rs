//! `day1 completions`: what a shell asks this program for when a person presses the tab key.

use std::process::ExitCode;

use clap::Args;
use clap_complete::env::Shells;
use clap_complete::{CompletionCandidate, Shell};
use day1_harness::cache::Cache;
use day1_harness::node::Catalogue;
use day1_harness::scenario;

use super::out::print;
use super::run::find_above;

/// The variable by which a shell asks.
pub const VARIABLE: &str = "DAY1_COMPLETE";

#[derive(Args)]
#[command(after_long_help = "\
The script asks this program for what may follow, so that names of trials, node images and checks are completed too.

Examples:
  day1 completions bash >day1.bash
  day1 completions zsh >_day1
  day1 completions fish >day1.fish")]
pub struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    pub fn perform(self) -> ExitCode {
        let name = self.shell.to_string();
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let written = match shells.completer(&name) {
            Some(shell) => shell.write_registration(VARIABLE, "day1", "day1", "day1", &mut script),
            None => Err(std::io::Error::other(format!("{name} is not known"))),
        };
        match written {
            Ok(()) => print(&String::from_utf8_lossy(&script), ExitCode::SUCCESS),
            Err(error) => {
                eprintln!("error: cannot make the script for {name}: {error}");
                ExitCode::from(3)
            }
        }
    }
}

/// Names of scenarios, as filters of trials.
pub fn trials() -> Vec<CompletionCandidate> {
    let Some(listing) = find_above("scenarios").ok().and_then(|dir| scenario::list(&dir).ok()) else { return vec![] };
    let candidate = |scenario: &scenario::Scenario| {
        CompletionCandidate::new(scenario.id()).help(Some(scenario.spec.description.clone().into()))
    };
    listing.scenarios.iter().map(candidate).collect()
}

/// Names of node images.
pub fn nodes() -> Vec<CompletionCandidate> {
    let defined = find_above("vm-images").ok();
    let Some(catalogue) = defined.and_then(|dir| Catalogue::open(&dir, &Cache::open(None).ok()?).ok()) else {
        return vec![];
    };
    catalogue.definitions().map(|one| CompletionCandidate::new(&one.name)).collect()
}
