//! Node images that a person brings: their definitions lie in the cache, beside the images.

use std::fs;
use std::path::PathBuf;

use serde::Serialize;

use super::{BootDisk, CoreosStream, Definition, DiskFile, Error, Progress, Source, ensure, forget};
use crate::cache::Cache;

/// Where a brought image comes from.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Import {
    /// A disk's file.
    File(DiskFile),
    /// A stream.
    Stream(CoreosStream),
}

/// The directory of the brought images' definitions.
pub fn imported_dir(cache: &Cache) -> PathBuf {
    cache.root().join("imported")
}

/// Gives an image a name, and brings its disk into the cache. Refused where the name is another image's.
pub fn import(cache: &Cache, name: &str, what: &Import, progress: &dyn Progress) -> Result<BootDisk, Error> {
    let refused = |problem: &str| Error::Name { name: name.to_owned(), problem: problem.to_owned() };
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    if name.is_empty() || name.starts_with(['.', '-']) || name.len() > 64 || !name.bytes().all(fits) {
        return Err(refused(
            "it becomes a file's name and part of a trial's: lower-case letters, digits, `-`, `_` and `.`",
        ));
    }
    let dir = imported_dir(cache);
    fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
    let path = definition_file(cache, name);
    let text = serde_yaml::to_string(what).map_err(|error| refused(&error.to_string()))?;
    match fs::read_to_string(&path) {
        Ok(before) if before != text => {
            return Err(refused(&format!("another one has it; `day1 images rm {name}` removes that")));
        }
        _ => {}
    }
    let source = match what {
        Import::File(file) => Source::File(file.clone()),
        Import::Stream(stream) => Source::CoreosStream(stream.clone()),
    };
    let definition = Definition { name: name.to_owned(), file: path.clone(), source };
    let disk = ensure(cache, &definition, progress)?;
    fs::write(&path, text).map_err(Error::io("write", &path))?;
    Ok(disk)
}

/// Removes a brought image and its name.
pub fn remove_imported(cache: &Cache, definition: &Definition) -> Result<(), Error> {
    forget(cache, definition)?;
    fs::remove_file(&definition.file).map_err(Error::io("remove", &definition.file))
}

fn definition_file(cache: &Cache, name: &str) -> PathBuf {
    imported_dir(cache).join(format!("{name}.yaml"))
}
