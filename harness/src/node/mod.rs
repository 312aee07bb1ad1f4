//! Node images: what a node boots from. A catalogue of definitions (`vm-images/*.yaml`), and the ways to come by the
//! images: built from Debian packages, downloaded from a stream, or taken from a file. They lie in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::architecture::Architecture;
use crate::cache::{self, Cache, Fetched};
use crate::process;

mod catalogue;
mod debian;
mod download;
mod file;
mod import;
mod signature;
mod stream;
mod unpack;
mod word;

pub(crate) use catalogue::files as files_below;
pub use catalogue::{Catalogue, Definition, Error as CatalogueError, Problem, Source};
pub use debian::{
    Debian, Disk, HOST_PACKAGES, HostError, KernelArgument, KernelPackage, Mirror, MissingTool, Package, Rootless,
    Suite,
};
pub use download::is_reachable;
pub use file::{DiskFile, Sha256Digest};
pub use import::{Import, import, imported_dir, remove_imported};
pub use signature::{Fingerprint, Signature};
pub use stream::{Artifact, CoreosStream, HttpUrl};

/// The kind of a node image's cache entry.
const CACHE_KIND: &str = "node-image";
/// The kind of the cache entry with what a node image said of itself when it was booted.
const SURVEY_KIND: &str = "node-survey";
/// Changes when another survey is made of the same image.
const SURVEY_FORMAT: &[u8] = b"day1 node survey 1";
/// The base disk in an entry.
const DISK: &str = "disk.qcow2";
/// Bytes. No node's disk is larger: what is may not fill this host's, on its way or when it is uncompressed.
const LARGEST_DISK: u64 = 64 << 30;
/// What an entry of a known image says about itself.
const FACTS: &str = "facts.json";
/// Where an entry has what the kernels say of themselves.
const KERNEL_DIRS: &str = "kernels";

/// A disk of the cache that a node can boot from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDisk {
    /// The image's name in the catalogue.
    pub name: String,
    /// The processor that it is for.
    pub architecture: Architecture,
    /// The release of the stream that it is from.
    pub release: Option<String>,
    /// The base disk, qcow2, never written to: nodes boot from overlays.
    pub path: PathBuf,
    /// Lower-case hex sha256 that no other disk has.
    pub digest: String,
}

/// A bootable image in the cache of which is known what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeImage {
    /// Its disk.
    pub disk: BootDisk,
    /// What is in it.
    pub facts: Facts,
    /// The directory of what belongs to the facts.
    dir: PathBuf,
}

/// What is in a node image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The kernels in it; the first is the one that it boots.
    pub kernels: Vec<Kernel>,
    /// `ID` of its `os-release`, such as `debian`, `fedora` or `rhcos`.
    pub distribution: String,
    /// `VERSION_ID` of its `os-release`.
    pub distribution_version: String,
    /// URL of the archive that its packages come from, where modules for its kernels are built with them.
    pub mirror: Option<String>,
    /// Whether its boot loader takes kernel arguments and the choice of the kernel from the machine's firmware.
    pub takes_boot_arguments: bool,
    /// Versions of what a Day-1 MachineConfig meets, by program: `systemd`, `podman`, `NetworkManager`, `ignition`.
    pub versions: BTreeMap<String, String>,
}

/// A kernel of a node image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// As `uname -r` says it.
    pub release: String,
    /// Code name of the distribution's release that it is from, for instance `trixie`.
    pub suite: String,
}

impl NodeImage {
    /// Its name in the catalogue.
    pub fn name(&self) -> &str {
        &self.disk.name
    }

    /// What a kernel of the image says of itself, laid out as Fedora has `/usr/lib/modules/RELEASE`: `modules.*`,
    /// `config`, `symvers`, `firmware.list`.
    pub fn kernel_dir(&self, release: &str) -> PathBuf {
        self.dir.join(KERNEL_DIRS).join(release)
    }

    /// Whether it was made by the recipe in `vm-images/debian`, so that its disk is laid out as that says.
    pub fn is_built_here(&self) -> bool {
        self.facts.mirror.is_some()
    }

    /// An image that was made from this one, of which the same is known.
    pub fn on_disk(&self, path: PathBuf, digest: String) -> Self {
        Self { disk: BootDisk { path, digest, ..self.disk.clone() }, ..self.clone() }
    }

    /// Reads an image whose facts are in a directory.
    fn known(disk: BootDisk, dir: &Path) -> Result<Self, Error> {
        let path = dir.join(FACTS);
        let text = fs::read(&path).map_err(Error::io("read", &path))?;
        let facts = serde_json::from_slice(&text).map_err(|error| Error::io("understand", &path)(error.into()))?;
        Ok(Self { disk, facts, dir: dir.to_owned() })
    }
}

/// Hears what a long operation does.
pub trait Progress: Send + Sync {
    /// A new step began, in words for a person.
    fn step(&self, text: &str);

    /// A line that a tool printed meanwhile.
    fn line(&self, _text: &str) {}

    /// So many bytes are there, of so many in all, where that is known.
    fn transferred(&self, _bytes: u64, _total: Option<u64>) {}
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
    Definition(#[from] catalogue::Error),
    /// The host lacks something.
    #[error(transparent)]
    Host(#[from] debian::HostError),
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
    /// A stream does not have what is wanted.
    #[error("the stream {url} can't be used: {problem}")]
    Stream {
        /// The stream.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A download failed.
    #[error("cannot download {url}: {problem}")]
    Download {
        /// From where.
        url: String,
        /// Why.
        problem: String,
    },
    /// A file is not what its checksum says.
    #[error(
        "{what} has the sha256 {found}, and {expected} is wanted: it was damaged on its way, or is another one; nothing of it is used"
    )]
    Checksum {
        /// What was compared.
        what: String,
        /// The sha256 that it should have.
        expected: String,
        /// The sha256 that it has.
        found: String,
    },
    /// A file of keys can't be used.
    #[error("the keys in {} can't be used: {problem}", path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Nobody who counts signed a download.
    #[error("the signature {signature} of {url} does not count: {problem}; nothing of the download is used")]
    Signature {
        /// What was downloaded.
        url: String,
        /// Where the signature is.
        signature: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A disk can't be booted from, or only with other files.
    #[error("{origin} is no disk for a node: {problem}")]
    Disk {
        /// Where it came from.
        origin: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A name can't be given to an image.
    #[error("the name {name:?} can't be given to an image: {problem}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        problem: String,
    },
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
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
    /// Whether the input is wrong, not this host, the network or the image.
    pub fn is_bad_input(&self) -> bool {
        matches!(self, Self::Definition(_) | Self::Name { .. } | Self::Keys { .. } | Self::Disk { .. })
    }

    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// The disk of a definition; built, downloaded or copied first where the cache has none. Blocks; that takes one to
/// three minutes, and hundreds of MB. Of several processes that want it, one makes it.
pub fn ensure(cache: &Cache, definition: &Definition, progress: &dyn Progress) -> Result<BootDisk, Error> {
    if let Some(disk) = find(cache, definition)? {
        return Ok(disk);
    }
    let name = &definition.name;
    match &definition.source {
        Source::Debian(debian) => {
            let key = debian.key()?;
            let make = |dir: &Path| debian::build(cache, name, debian, &key, dir, progress);
            cache.entry(CACHE_KIND, &key, debian::NEED_MIB, make)?;
        }
        Source::CoreosStream(stream) => stream.update(cache, name, progress)?,
        Source::File(file) => {
            file.ensure(cache, name, progress)?;
        }
    }
    find(cache, definition)?.ok_or_else(|| {
        let gone = std::io::Error::other("another process removed it");
        Error::io("use node image", Path::new(name))(gone)
    })
}

/// The same, but a stream is asked for its current release first.
pub fn update(cache: &Cache, definition: &Definition, progress: &dyn Progress) -> Result<BootDisk, Error> {
    if let Source::CoreosStream(stream) = &definition.source {
        stream.update(cache, &definition.name, progress)?;
    }
    ensure(cache, definition, progress)
}

/// The disk of a definition if the cache has it.
pub fn find(cache: &Cache, definition: &Definition) -> Result<Option<BootDisk>, Error> {
    let disk = |architecture, entry: &Path, digest, release| BootDisk {
        name: definition.name.clone(),
        architecture,
        release,
        path: entry.join(DISK),
        digest,
    };
    Ok(match &definition.source {
        Source::Debian(debian) => match cache.find(CACHE_KIND, &debian.key()?) {
            Some(entry) => Some(disk(debian.architecture, &entry, debian::digest(&entry)?, None)),
            None => None,
        },
        Source::CoreosStream(stream) => stream
            .find(cache, &definition.name)
            .map(|(artifact, entry)| (stream.key(&definition.name, &artifact), artifact, entry))
            .map(|(key, artifact, entry)| disk(stream.architecture, &entry, key, Some(artifact.release))),
        Source::File(file) => {
            let key = file.key(&definition.name);
            cache.find(CACHE_KIND, &key).map(|entry| disk(file.architecture, &entry, key, None))
        }
    })
}

/// Where the disk of a definition comes from, and what the cache has of it. Nothing is asked or fetched.
pub fn fetched(cache: &Cache, definition: &Definition) -> Result<Fetched, Error> {
    let (kind, name) = ("node-image", &definition.name);
    let entry = |key: &str| Fetched::entry(cache, kind, name, (CACHE_KIND, key));
    Ok(match &definition.source {
        Source::Debian(debian) => {
            let others = debian.kernels.iter().filter_map(|kernel| kernel.as_str().split_once('/'));
            let own = std::iter::once(debian.suite.as_str());
            let suites: BTreeSet<&str> = own.chain(others.map(|(_, suite)| suite)).collect();
            let from = suites.iter().map(|suite| format!("{} {suite}", debian.mirror.as_str())).collect();
            let named = debian.kernels.iter().map(KernelPackage::as_str);
            let packages = named.chain(debian.packages.iter().map(Package::as_str)).map(str::to_owned).collect();
            Fetched { from, packages, ..entry(&debian.key()?) }
        }
        Source::CoreosStream(stream) => match stream.find(cache, name) {
            Some((artifact, _)) => {
                let from = std::iter::once(artifact.location.clone()).chain(artifact.signature.clone());
                Fetched { from: from.collect(), ..entry(&stream.key(name, &artifact)) }
            }
            // Which release it is, only the stream can tell.
            None => Fetched { from: vec![stream.stream.as_str().to_owned()], ..Fetched::elsewhere(kind, name) },
        },
        Source::File(file) => Fetched { from: vec![file.path.display().to_string()], ..entry(&file.key(name)) },
    })
}

/// Removes the disk of a definition from the cache, and what is known of it. Says whether there was one.
pub fn forget(cache: &Cache, definition: &Definition) -> Result<bool, Error> {
    if let Some(disk) = find(cache, definition)? {
        cache.remove(SURVEY_KIND, &survey_key(&disk))?;
    }
    match &definition.source {
        Source::Debian(debian) => Ok(cache.remove(CACHE_KIND, &debian.key()?)?),
        Source::CoreosStream(stream) => stream.forget(cache, &definition.name),
        Source::File(file) => Ok(cache.remove(CACHE_KIND, &file.key(&definition.name))?),
    }
}

/// What is known of a disk: of a built one from its build, of another one from the boot in which it was asked.
pub fn known(cache: &Cache, disk: &BootDisk) -> Result<Option<NodeImage>, Error> {
    let beside = disk.path.parent().filter(|dir| dir.join(FACTS).is_file()).map(Path::to_owned);
    let dir = beside.or_else(|| cache.find(SURVEY_KIND, &survey_key(disk)));
    dir.map(|dir| NodeImage::known(disk.clone(), &dir)).transpose()
}

/// What is known of a disk; `ask` boots it where nothing is, and fills the directory that it is given with
/// `kernels/`.
pub fn survey<E: From<Error> + From<cache::Error>>(
    cache: &Cache,
    disk: &BootDisk,
    ask: impl FnOnce(&Path) -> Result<Facts, E>,
) -> Result<NodeImage, E> {
    if let Some(image) = known(cache, disk)? {
        return Ok(image);
    }
    let dir = cache.entry(SURVEY_KIND, &survey_key(disk), 64, |dir| {
        let facts = ask(dir)?;
        write_facts(dir, &facts).map_err(E::from)
    })?;
    Ok(NodeImage::known(disk.clone(), &dir)?)
}

/// The directories that [`NodeImage::kernel_dir`] gives for the images in a cache, by release; of several, the newest.
pub fn kernel_dirs(cache: &Path) -> BTreeMap<String, PathBuf> {
    let mut found: BTreeMap<String, (std::time::SystemTime, PathBuf)> = BTreeMap::new();
    let list = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    for entry in [CACHE_KIND, SURVEY_KIND].iter().flat_map(|kind| list(&cache.join(kind))) {
        let hidden = entry.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        for dir in list(&entry.join(KERNEL_DIRS)).filter(|dir| !hidden && dir.is_dir()) {
            let Some(release) = dir.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
            let made = dir.metadata().and_then(|about| about.modified()).unwrap_or(std::time::UNIX_EPOCH);
            if found.get(&release).is_none_or(|(known, _)| *known < made) {
                found.insert(release, (made, dir));
            }
        }
    }
    found.into_iter().map(|(release, (_, dir))| (release, dir)).collect()
}

fn survey_key(disk: &BootDisk) -> String {
    cache::key([SURVEY_FORMAT, disk.digest.as_bytes()])
}

fn write_facts(dir: &Path, facts: &Facts) -> Result<(), Error> {
    let path = dir.join(FACTS);
    let text = serde_json::to_vec_pretty(facts).map_err(|error| Error::io("describe", &path)(error.into()))?;
    fs::write(&path, text).map_err(Error::io("write", &path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_of_node_images_are_found_in_the_cache() {
        let temp = tempfile::tempdir().expect("temporary directory");
        for dir in
            ["node-image/key-1/kernels/6.1", "node-image/.partial-2/kernels/6.2", "node-survey/key-3/kernels/6.3"]
        {
            fs::create_dir_all(temp.path().join(dir)).expect("made");
        }
        assert_eq!(kernel_dirs(temp.path()).keys().collect::<Vec<_>>(), ["6.1", "6.3"]);
        assert!(kernel_dirs(Path::new("/nowhere")).is_empty());
    }
}
