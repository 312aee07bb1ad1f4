//! What a run left of a trial, for a person: where it is, its console, and its journal as `journalctl` reads it.

mod console;
mod journal;
mod of_node;

pub use console::{Error as ConsoleError, Wanted as WantedConsole, show as show_console};
pub use journal::{Error as JournalError, Journal};
pub use of_node::{Error as NodeError, of_node};

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::lab::files;
use crate::report::RunResults;
use crate::text::number;

/// Where a run leaves its results, unless it is told another place.
pub const RESULTS: &str = "target/day1-results";

/// Directories of trials are at most this deep below their run's.
const DEEPEST: usize = 4;

/// Why no trial's directory was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// There is nothing of that name.
    #[error("{}{}", missing(run, wanted), listed(known))]
    None {
        /// The run's directory.
        run: PathBuf,
        /// What was asked for.
        wanted: String,
        /// What there is.
        known: Vec<String>,
    },
    /// There is more than one.
    #[error("{}{}", which(run, wanted, known), listed(known))]
    Several {
        /// The run's directory.
        run: PathBuf,
        /// What was asked for.
        wanted: String,
        /// Them.
        known: Vec<String>,
    },
    /// The run's directory can't be read.
    #[error("cannot look for trials in {}: {source}; a trial is named as RUN/TRIAL, RUN being what `day1 run --results` was told", run.display())]
    Io {
        /// The run's directory.
        run: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn missing(run: &Path, wanted: &str) -> String {
    match wanted {
        "" => format!("no directory in {} is a trial's, with a {}", run.display(), files::TIMELINE),
        _ => format!("no trial in {} is called {wanted:?}", run.display()),
    }
}

fn which(run: &Path, wanted: &str, known: &[String]) -> String {
    let (trials, run) = (number(known.len(), "trial"), run.display());
    match wanted {
        "" => format!("which of the {trials} in {run} is meant"),
        _ => format!("{trials} in {run} are called {wanted:?}"),
    }
}

fn listed(names: &[String]) -> String {
    const MOST: usize = 10;
    let more = names.len().saturating_sub(MOST);
    let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
    let each = names.iter().take(MOST).map(|name| format!("\n  {name}")).collect::<String>();
    if names.is_empty() { "; it holds none".to_owned() } else { format!("; there are:{each}{more}") }
}

/// Finds the directory of a trial: by its path; by `RUN/TRIAL`, TRIAL being a part of the name that only one has; or by TRIAL
/// alone, in [`RESULTS`]. The node image may follow as `TRIAL/NODE`. Of several, the one that is `preferred` is meant.
pub fn find(wanted: &Path, preferred: &dyn Fn(&Path) -> bool) -> Result<PathBuf, FindError> {
    if is_trial(wanted) {
        return Ok(wanted.to_owned());
    }
    let run = wanted.ancestors().find(|dir| dir.join(RunResults::FILE).is_file());
    let (run, name) = match run {
        // The current directory is the run's.
        Some(run) if run.as_os_str().is_empty() => (Path::new("."), wanted),
        Some(run) => (run, wanted.strip_prefix(run).unwrap_or(wanted)),
        None if wanted.is_dir() => (wanted, Path::new("")),
        None => (Path::new(RESULTS), wanted),
    };
    let trials = trials(run).map_err(|source| FindError::Io { run: run.to_owned(), source })?;
    choose(run, &name.to_string_lossy(), &trials, preferred)
}

/// The directories of a run's trials.
pub fn trials(run: &Path) -> io::Result<Vec<PathBuf>> {
    let mut trials = Vec::new();
    collect(run, DEEPEST, &mut trials)?;
    trials.sort();
    Ok(trials)
}

fn is_trial(dir: &Path) -> bool {
    dir.join(files::TIMELINE).is_file()
}

fn collect(dir: &Path, depth: usize, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if is_trial(&path) {
            found.push(path);
        } else if depth > 1 {
            collect(&path, depth - 1, found)?;
        }
    }
    Ok(())
}

fn choose(
    run: &Path,
    wanted: &str,
    trials: &[PathBuf],
    preferred: &dyn Fn(&Path) -> bool,
) -> Result<PathBuf, FindError> {
    let name = |dir: &Path| dir.strip_prefix(run).unwrap_or(dir).display().to_string();
    // A node image follows on a `/` or on a `@`.
    let plain = |name: &str| name.replace('@', "/");
    let sought = plain(wanted);
    let exact: Vec<&PathBuf> = trials.iter().filter(|dir| plain(&name(dir)) == sought).collect();
    let part: Vec<&PathBuf> = trials.iter().filter(|dir| plain(&name(dir)).contains(&sought)).collect();
    let found = if exact.is_empty() { part } else { exact };
    let liked: Vec<&PathBuf> = found.iter().copied().filter(|dir| preferred(dir)).collect();
    let (run, wanted) = (run.to_owned(), wanted.to_owned());
    match (found.as_slice(), liked.as_slice()) {
        ([one], _) | (_, [one]) => Ok((*one).clone()),
        ([], _) => Err(FindError::None { run, wanted, known: trials.iter().map(|dir| name(dir)).collect() }),
        (several, _) => {
            let known = several.iter().map(|dir| name(dir)).collect();
            Err(FindError::Several { run, wanted, known })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["pull/a@debian-13", "pull/a-b@debian-13", "pull/a@rhcos", "load/a@debian-13,6.12"];

    fn found(wanted: &str, liked: &str) -> Result<String, FindError> {
        let run = Path::new("results");
        let trials: Vec<PathBuf> = NAMES.iter().map(|name| run.join(name)).collect();
        let dir = choose(run, wanted, &trials, &|dir| !liked.is_empty() && dir.ends_with(liked))?;
        Ok(dir.strip_prefix(run).expect("below the run").display().to_string())
    }

    #[test]
    fn a_part_of_a_name_is_enough_where_only_one_has_it() {
        assert_eq!(found("pull/a@debian-13", "").expect("exact"), NAMES[0]);
        assert_eq!(found("pull/a/rhcos", "").expect("with its node"), NAMES[2]);
        assert_eq!(found("a-b", "").expect("a part"), NAMES[1]);
        assert_eq!(found("6.12", "").expect("its kernel"), NAMES[3]);
        let several = found("pull", "").expect_err("three").to_string();
        assert!(several.starts_with("3 trials in results") && several.contains("\n  pull/a@rhcos"), "{several}");
        assert!(matches!(found("pull", "a@rhcos"), Ok(name) if name == NAMES[2]), "the one that is preferred");
        let unnamed = found("", "").expect_err("all").to_string();
        assert!(unnamed.starts_with("which of the 4 trials in results is meant; there are:"), "{unnamed}");
        let none = found("push", "").expect_err("none").to_string();
        assert!(none.contains("\"push\"") && none.contains("load/a@"), "{none}");
    }

    #[test]
    fn a_trial_is_found_by_its_path_and_by_its_run() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let run = dir.path().join("my-run");
        for name in NAMES {
            fs::create_dir_all(run.join(name)).expect("made");
            fs::write(run.join(name).join(files::TIMELINE), "").expect("written");
        }
        fs::write(run.join(RunResults::FILE), "{}").expect("written");
        let find = |path: &str| find(&dir.path().join(path), &|_| false);
        assert_eq!(find("my-run/pull/a@rhcos").expect("by its path"), run.join(NAMES[2]));
        assert_eq!(find("my-run/a-b").expect("by its run"), run.join(NAMES[1]));
        assert!(matches!(find("my-run"), Err(FindError::Several { .. })));
        assert!(matches!(super::find(Path::new("no/such"), &|_| false), Err(FindError::Io { .. })));
    }
}
