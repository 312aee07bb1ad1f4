//! `day1 completions`: what a shell asks this program for when a person presses the tab key.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use clap_complete::engine::{ArgValueCompleter, PathCompleter, ValueCompleter as _};
use clap_complete::env::Shells;
use clap_complete::{CompletionCandidate, Shell};
use day1_harness::cache::Cache;
use day1_harness::door;
use day1_harness::node::Catalogue;
use day1_harness::{recording, scenario};

use super::out::print;
use super::run::find_above;

/// Behind the script for bash.
const WHOLE_WORDS: &str = include_str!("completions.bash");

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
            Ok(()) => {
                let script = String::from_utf8_lossy(&script).into_owned();
                print(&(script + if name == "bash" { WHOLE_WORDS } else { "" }), ExitCode::SUCCESS)
            }
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

/// Trials that a run has left in its usual place, and directories.
pub fn recorded() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| of_trials(begun, |_| true))
}

/// As [`recorded`], of those whose machine is kept.
pub fn kept() -> ArgValueCompleter {
    ArgValueCompleter::new(|begun: &OsStr| of_trials(begun, door::is_open))
}

fn of_trials(begun: &OsStr, is_meant: impl Fn(&Path) -> bool) -> Vec<CompletionCandidate> {
    let run = Path::new(recording::RESULTS);
    let trials = recording::trials(run).unwrap_or_default();
    let names = trials.iter().filter(|dir| is_meant(dir)).filter_map(|dir| dir.strip_prefix(run).ok()?.to_str());
    let begun_text = begun.to_string_lossy();
    // A trial may be called without its family too.
    let named = names.filter_map(|name| {
        let forms = [Some(name), name.split_once('/').map(|(_, own)| own)];
        forms.into_iter().flatten().find(|form| form.starts_with(&*begun_text))
    });
    named.map(CompletionCandidate::new).chain(PathCompleter::dir().complete(begun)).collect()
}

/// Names of node images.
pub fn nodes() -> Vec<CompletionCandidate> {
    let defined = find_above("vm-images").ok();
    let Some(catalogue) = defined.and_then(|dir| Catalogue::open(&dir, &Cache::open(None).ok()?).ok()) else {
        return vec![];
    };
    catalogue.definitions().map(|one| CompletionCandidate::new(&one.name)).collect()
}
