//! The trials' own directories, from the shards' into the joined run's.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::{MergeError, Merged};

/// Whether a trial's name stays below the directory that it is looked for in: it is read from a file that came from
/// elsewhere.
pub(super) fn is_name(trial: &str) -> bool {
    let mut components = Path::new(trial).components();
    !trial.is_empty() && components.all(|component| matches!(component, Component::Normal(_)))
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
            let from = self.origins.get(&result.trial).map(|dir| dir.join(&result.trial));
            // By its place in the shard: the path in the results is that of the machine that ran it.
            let from = from.filter(|from| from.is_dir());
            let to = into.join(&result.trial);
            if let Some(from) = &from {
                bring(from, &to, link).map_err(|(path, source)| MergeError::Io { what: "copy", path, source })?;
            }
            result.dir = from.map(|_| to);
        }
        Ok(self.results.write(into)?)
    }
}

/// Copies a directory's files, and those of the directories in it.
fn bring(from: &Path, to: &Path, link: bool) -> Result<(), (PathBuf, io::Error)> {
    let at = |path: &Path| {
        let path = path.to_owned();
        move |error| (path, error)
    };
    fs::create_dir_all(to).map_err(at(to))?;
    for entry in fs::read_dir(from).map_err(at(from))? {
        let entry = entry.map_err(at(from))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().map_err(at(&path))?;
        if kind.is_dir() {
            bring(&path, &to, link)?;
        } else if kind.is_file() && !(link && fs::hard_link(&path, &to).is_ok()) {
            fs::copy(&path, &to).map_err(at(&path))?;
        }
    }
    Ok(())
}
