//! What entries of the cache are made of, as far as it comes from elsewhere.

use std::fs;
use std::path::Path;

use serde::Serialize;

use super::Cache;

/// Something that is fetched, and what the cache has of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fetched {
    /// What it is: `node-image`, `build-root`, `registry-image` or `driver-image`.
    pub kind: &'static str,
    /// Its name: a node image's, a kernel's release, an image's reference.
    pub name: String,
    /// Where it comes from: addresses, files, and sources in apt's words.
    pub from: Vec<String>,
    /// The Debian packages that are asked for, without what they depend on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
    /// The directory that it has in the cache, relative to the cache's: `KIND/KEY`. None where only the source can tell
    /// which one it is, or where the cache keeps nothing of it.
    pub cache: Option<String>,
    /// Whether it is there.
    pub cached: bool,
    /// Bytes that it takes there.
    pub size_bytes: Option<u64>,
}

impl Fetched {
    /// An entry of the cache, which may have it or not.
    pub fn entry(cache: &Cache, kind: &'static str, name: &str, (cache_kind, key): (&str, &str)) -> Self {
        let place = format!("{cache_kind}/{key}");
        let dir = cache.find(cache_kind, key);
        Self {
            cache: Some(place),
            cached: dir.is_some(),
            size_bytes: dir.map(|dir| size(&dir)),
            ..Self::elsewhere(kind, name)
        }
    }

    /// Something that has no entry, or none that is known yet.
    pub fn elsewhere(kind: &'static str, name: &str) -> Self {
        let (from, packages) = (Vec::new(), Vec::new());
        Self { kind, name: name.to_owned(), from, packages, cache: None, cached: false, size_bytes: None }
    }
}

/// Bytes of all files below a directory; what can't be read has none.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(about) if about.is_dir() => size(&entry.path()),
        Ok(about) if about.is_file() => about.len(),
        _ => 0,
    });
    sizes.sum()
}
