//! Node images: what a node boots from. A catalogue of definitions (`vm-images/*.yaml`) and the builder of
//! the Debian stand-in; the images lie in the cache.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{self, Cache};
use crate::process;

mod boot_sector;
mod build;
mod definition;
mod host;

pub use definition::{
    Catalogue, Debian, Definition, Disk, KernelArgument, KernelPackage, Mirror, Package, Problem, Suite,
};
pub use host::{HOST_PACKAGES, MissingTool, Rootless};

/// The kind of a node image's cache entry.
pub(crate) const CACHE_KIND: &str = "node-image";

/// Free space that a build takes: the sparse raw disk and the qcow2 made from it, side by side.
const NEED_MIB: u64 = 2560;

/// Where an entry has what a kernel's `/lib/modules/<release>` says of it, in a directory by its release.
pub(crate) const KERNELS: &str = "kernels";

/// Changes when this module makes another image from the same definition.
const FORMAT: &[u8] = b"day1 node image 2";

/// A bootable image in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// Its name in the catalogue.
    pub name: String,
    /// The base disk, qcow2, never written to: nodes boot from overlays.
    pub disk: PathBuf,
    /// Lower-case hex sha256 over the definition and the versions of all its packages.
    pub digest: String,
    /// The kernels in it; the first is the one that it boots.
    pub kernels: Vec<Kernel>,
    /// URL of the archive that its packages came from.
    pub mirror: String,
    /// Directory of the `.deb` files with the headers of exactly these kernels, without their compiler:
    /// the archive drops a kernel's headers when the next kernel comes.
    pub kernel_headers: PathBuf,
    /// `NAME VERSION ARCHITECTURE` of each package, one a line.
    pub packages: PathBuf,
}

impl NodeImage {
    /// The directory that tells of one of its kernels, in the shape of `/lib/modules/<release>`.
    pub fn kernel_dir(&self, release: &str) -> PathBuf {
        self.disk.with_file_name(KERNELS).join(release)
    }
}

/// A kernel of a node image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// Code name of the distribution's release that it is from, for instance `trixie`.
    pub suite: String,
}

/// What an entry of the cache says about itself (`image.json`).
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    digest: String,
    kernels: Vec<Kernel>,
    mirror: String,
}

/// Hears what a long operation does.
pub trait Progress: Send + Sync {
    /// A new step began, in words for a person.
    fn step(&self, text: &str);

    /// A line that a tool printed meanwhile.
    fn line(&self, _text: &str) {}
}

/// Hears nothing.
impl Progress for () {
    fn step(&self, _text: &str) {}
}

/// Why there is no node image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A definition is wrong.
    #[error(transparent)]
    Definition(#[from] definition::Error),
    /// The host lacks something.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A host program failed.
    #[error("cannot make node image {image}: {source}")]
    Program {
        /// The image.
        image: String,
        /// What the program said.
        source: process::Error,
    },
    /// The build failed.
    #[error(
        "cannot build node image {image}: {status} while {step}; the last lines of {log}:\n{output}",
        log = log.display()
    )]
    Build {
        /// The image.
        image: String,
        /// The step that failed.
        step: String,
        /// Exit status or signal of the build.
        status: std::process::ExitStatus,
        /// The end of what it printed.
        output: String,
        /// All that it printed.
        log: PathBuf,
    },
    /// What the build left is not what it should be.
    #[error(
        "the build of node image {image} left {what} in a bad state: {problem}; this is a fault of vm-images/debian"
    )]
    Output {
        /// The image.
        image: String,
        /// Which part.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// A file operation failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The image of a definition; built first where the cache has none. Blocks; a build takes one to three
/// minutes and downloads about 150 MB. Of several processes that want it, one builds.
pub fn ensure(cache: &Cache, definition: &Definition, progress: &dyn Progress) -> Result<NodeImage, Error> {
    let key = definition.key()?;
    let entry = cache.entry(CACHE_KIND, &key, NEED_MIB, |dir| build::build(cache, definition, &key, dir, progress))?;
    open(&definition.name, &entry)
}

/// The image of a definition if the cache has it.
pub fn find(cache: &Cache, definition: &Definition) -> Result<Option<NodeImage>, Error> {
    let key = definition.key()?;
    cache.find(CACHE_KIND, &key).map(|entry| open(&definition.name, &entry)).transpose()
}

/// Removes the image of a definition from the cache, so that the next [`ensure`] builds it from today's
/// packages. Says whether there was one.
pub fn forget(cache: &Cache, definition: &Definition) -> Result<bool, Error> {
    Ok(cache.remove(CACHE_KIND, &definition.key()?)?)
}

fn open(name: &str, entry: &Path) -> Result<NodeImage, Error> {
    let path = entry.join(build::RECORD);
    let text = fs::read(&path).map_err(Error::io("read", &path))?;
    let record: Record = serde_json::from_slice(&text).map_err(|error| Error::Io {
        what: "understand",
        path: path.clone(),
        source: error.into(),
    })?;
    Ok(NodeImage {
        name: name.to_owned(),
        disk: entry.join(build::DISK),
        digest: record.digest,
        kernels: record.kernels,
        mirror: record.mirror,
        kernel_headers: entry.join(build::KERNEL_HEADERS),
        packages: entry.join(build::PACKAGES),
    })
}
