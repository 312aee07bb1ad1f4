//! Images from elsewhere: copied into the cache, byte for byte, for the trial's registry.

use std::path::{Path, PathBuf};

use day1_generator::Tag;

use super::Workshop;
use crate::cache;
use crate::inspect::{self, Source};
use crate::kmod::OciLayout;
use crate::node::{Kernel, NodeImage};
use crate::scenario::Scenario;

const CACHE_KIND: &str = "brought-image";
/// Changes when another copy is made of the same image.
const FORMAT: &[u8] = b"day1 brought image 1";
/// Beside the image itself, whose size is known only when it is read.
const NEED_MIB: u64 = 512;
const LAYOUT: &str = "layout";
const RECORD: &str = "image.json";

/// Why an image from elsewhere can't be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error(transparent)]
    Image(#[from] inspect::Error),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// Its record can't be written or read.
    #[error("cannot use {path}: {source}")]
    Record {
        /// The record.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl From<inspect::ImageError> for Error {
    fn from(error: inspect::ImageError) -> Self {
        Self::Image(error.into())
    }
}

/// An image that a scenario brings.
pub(super) struct Brought<'p> {
    pub(super) scenario: &'p Scenario,
    /// As the scenario names it.
    pub(super) from: &'p str,
    pub(super) node: &'p NodeImage,
    pub(super) kernel: &'p Kernel,
    pub(super) workshop: &'p Workshop,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Record {
    manifest_digest: String,
    bytes: u64,
    modules: std::collections::BTreeMap<String, Option<String>>,
}

/// The image's copy in the cache; the image is asked each time which one it is.
pub(super) fn copy(brought: &Brought<'_>) -> Result<OciLayout, Error> {
    let beside = brought.scenario.document.path.parent().unwrap_or(Path::new(""));
    let source = Source::parse(brought.from, &|path| beside.join(path).exists())?.beside(beside);
    let architecture = brought.node.disk.architecture.debian_name();
    let release = &brought.kernel.release;
    let tag = Tag::for_kernel(release).to_string();
    let id = inspect::identify(&source, Some(&tag), architecture, false)?;
    let key = cache::key([FORMAT, id.as_bytes(), release.as_bytes()]);
    let entry = brought.workshop.cache.sealed_entry(CACHE_KIND, &key, NEED_MIB, &|_| (), |dir| {
        let layout = dir.join(LAYOUT);
        std::fs::create_dir(&layout).map_err(record(&layout))?;
        let copied = inspect::copy(&source, Some(&tag), architecture, false, &layout)?;
        let modules = inspect::srcversions(&Source::OciDir { path: layout, tag: None }, None, architecture, release)?;
        let about = Record { manifest_digest: copied.manifest_digest, bytes: copied.bytes, modules };
        let path = dir.join(RECORD);
        let text = serde_json::to_vec(&about).map_err(std::io::Error::from).map_err(record(&path))?;
        std::fs::write(&path, text).map_err(record(&path))
    })?;
    let path = entry.join(RECORD);
    let text = std::fs::read(&path).map_err(record(&path))?;
    let about: Record = serde_json::from_slice(&text).map_err(std::io::Error::from).map_err(record(&path))?;
    let Record { manifest_digest, bytes, modules } = about;
    Ok(OciLayout { dir: entry.join(LAYOUT), manifest_digest, modules, bytes })
}

fn record(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Record { path, source }
}
