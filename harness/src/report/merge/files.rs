//! The trials' own directories, from the shards' into the joined run's.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::{MergeError, Merged};
use crate::report::Attempt;

/// Where a run has the files of a trial, or of an attempt of one.
#[derive(Debug, Clone)]
pub(super) struct Place {
    run: PathBuf,
    name: PathBuf,
}

impl Place {
    /// Of a trial of the run in the directory `run`. By its name, for the path in the results is that of the machine that ran
    /// it.
    pub(super) fn new(run: &Path, trial: &str) -> Self {
        Self { run: run.to_owned(), name: trial.into() }
    }

    /// A directory in this one.
    pub(super) fn below(&self, name: &str) -> Self {
        Self { run: self.run.clone(), name: self.name.join(name) }
    }

    /// The directory, if it is there, and there by itself: the names, and what lies there, came from elsewhere, and nothing is to
    /// be read from outside the run.
    fn dir(&self) -> Option<PathBuf> {
        let own = self.run.canonicalize().ok()?.join(&self.name);
        let is_own = is_name(&self.name) && own.is_dir() && own.canonicalize().is_ok_and(|dir| dir == own);
        is_own.then_some(own)
    }
}

/// Whether a trial's name stays below the directory that it is looked for in.
pub(super) fn is_name(trial: &Path) -> bool {
    let mut components = trial.components();
    components.clone().count() > 0 && components.all(|component| matches!(component, Component::Normal(_)))
}

impl Merged {
    /// Writes the results into a new or empty directory, and copies the trials' directories there; or links the
    /// files, where `link` says so and both lie on one file system, which takes no space.
    pub fn write(&mut self, into: &Path, link: bool) -> Result<(), MergeError> {
        let failed = |what, path: &Path| {
            let path = path.to_owned();
            move |source| MergeError::Io { what, path, source }
        };
        fs::create_dir_all(into).map_err(failed("make", into))?;
        if fs::read_dir(into).map_err(failed("list", into))?.next().is_some() {
            return Err(MergeError::Into(into.to_owned()));
        }
        for result in &mut self.results.trials {
            let to = into.join(&result.trial);
            let origin = self.origins.get(&result.trial);
            let from = origin.and_then(|(own, _)| own.dir());
            let attempts = origin.into_iter().flat_map(|(_, attempts)| attempts).zip(&result.attempts);
            let attempts = attempts.filter_map(|(place, attempt)| Some((place.dir()?, to.join(&attempt.dir))));
            let own = from.iter().map(|from| (from.clone(), to.clone()));
            for (from, to) in own.chain(attempts) {
                bring(&from, &to, link, &is_attempt).map_err(|(path, source)| MergeError::Io {
                    what: "copy",
                    path,
                    source,
                })?;
            }
            result.dir = from.map(|_| to);
        }
        Ok(self.results.write(into)?)
    }
}

/// Whether it is the directory of an attempt in a trial's: those have their own places in the joined run.
fn is_attempt(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix("attempt-")?.parse().ok());
    number.is_some_and(|number| *name == *Attempt::dir_of(number))
}

/// Copies a directory's files, and those of the directories in it, but for those that are `left` out.
fn bring(from: &Path, to: &Path, link: bool, left: &dyn Fn(&OsStr) -> bool) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() && !left(&entry.file_name()) {
            bring(&path, &to, link, &|_| false)?;
        } else if kind.is_file() && !(link && fs::hard_link(&path, &to).is_ok()) {
            fs::copy(&path, &to).map_err(at(&path))?;
        }
    }
    Ok(())
}
