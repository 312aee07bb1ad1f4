//! Driver images, wherever they are: verified and read as a stream, into a tree of names. Nothing is unpacked.

mod copy;
mod credentials;
mod layer;
mod layout;
mod limits;
mod manifest;
mod registry;
mod source;
pub(crate) mod tree;

use std::fmt;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Mutex;

use sha2::{Digest, Sha256};

pub use copy::Copied;
pub use limits::Limits;
pub use manifest::Platform;
pub use source::Source;

use crate::kmod::TrustedKey;
use layer::Reading;
use limits::Budget;
use manifest::{Config, Descriptor, Document, Manifest};
use tree::Tree;

/// An index may point to indexes.
const DEPTH: u32 = 4;
/// More layers than any engine stacks.
const LAYERS: usize = 500;

/// Why an image can't be inspected.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The words for the image can't be used.
    #[error(
        "{value:?} names no image: {reason}\nwrite quay.io/vendor/driver:TAG, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG]"
    )]
    Reference {
        /// As given.
        value: String,
        /// Why not.
        reason: String,
    },
    /// A file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A copy of the image can't be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Files are no image.
    #[error("{} holds no image that can be read: {reason}", path.display())]
    Layout {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// An auth file can't be used.
    #[error("cannot take pull credentials from {}: {reason}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The registry has no such image.
    #[error(
        "the registry has no image {reference}: {told}\na node with that kernel pulls nothing, and its in-tree driver stays: push the image with that tag"
    )]
    NotFound {
        /// What was asked for.
        reference: String,
        /// What the registry said.
        told: String,
    },
    /// The registry wants other credentials.
    #[error(
        "the registry refused {reference} ({login}): run `podman login {host}`, or name an auth file in REGISTRY_AUTH_FILE"
    )]
    Unauthorized {
        /// What was asked for.
        reference: String,
        /// As whom.
        login: String,
        /// The registry.
        host: String,
    },
    /// The registry can't be reached, or failed.
    #[error("cannot read {reference} from its registry: {reason}")]
    Registry {
        /// What was asked for.
        reference: String,
        /// What happened.
        reason: String,
    },
    /// There is something wrong with the image itself.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What is wrong with an image as such.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A blob is not what refers to it.
    #[error("the blob {digest} {reason}")]
    Blob {
        /// The digest that it should have.
        digest: String,
        /// What it is instead.
        reason: String,
    },
    /// A manifest, index or config can't be understood.
    #[error("{digest} {reason}")]
    Manifest {
        /// Which one.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A layer is as its digest says, and can't be unpacked.
    #[error("the layer {digest} can't be unpacked: {reason}")]
    Layer {
        /// Which one.
        digest: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is none for the nodes' machine.
    #[error("there is no image for {wanted}; there are those for: {}", if has.is_empty() { "none".to_owned() } else { has.join(", ") })]
    Platform {
        /// The platform of the nodes.
        wanted: String,
        /// Those that there are.
        has: Vec<String>,
    },
    /// It would use up the machine that reads it, or lead out of it.
    #[error("it is refused, as a node may not survive it either: {reason}")]
    Hostile {
        /// The limit that it breaks.
        reason: String,
    },
}

/// Gives a source's blobs.
trait Blobs: Sync {
    /// The bytes of a blob; what they are is for the reader to verify.
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error>;

    /// The bytes of a manifest; a registry keeps them apart from blobs.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        self.open(descriptor)
    }

    /// A failure to bring a blob, which is not the image's.
    fn failure(&self) -> Option<Error> {
        None
    }
}

/// What a source has for a reference, before a platform is chosen.
enum Root {
    Descriptor { descriptor: Descriptor, tag: Option<String>, blobs: Box<dyn Blobs> },
    Choice { manifests: Vec<Descriptor>, tag: Option<String>, blobs: Box<dyn Blobs> },
    Manifest { manifest: Manifest, tag: Option<String>, blobs: Box<dyn Blobs> },
}

/// An image whose manifest and config were read and verified.
pub(crate) struct Image {
    /// `sha256:…` of what the reference names: the manifest, or the index of platforms. None in what `docker save`
    /// writes.
    pub(crate) digest: Option<String>,
    /// `sha256:…` of the manifest of the nodes' platform.
    pub(crate) manifest_digest: Option<String>,
    /// The tag that its source gives it.
    pub(crate) tag: Option<String>,
    /// What its config says that it runs on.
    pub(crate) platform: Platform,
    /// The user that its processes run as, if it names one.
    pub(crate) user: Option<String>,
    /// Bytes of its layers and its config, as they are pulled.
    pub(crate) size: u64,
    /// The manifest's bytes; none in what `docker save` writes.
    manifest: Option<Vec<u8>>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    diff_ids: Vec<String>,
    blobs: Box<dyn Blobs>,
}

/// What is in an image.
pub(crate) struct Content {
    pub(crate) tree: Tree,
    /// Bytes of its layers, decompressed.
    pub(crate) bytes: u64,
    /// Bytes of memory that may still be taken for it, of [`Limits::kept`].
    pub(crate) room: usize,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image").field("digest", &self.digest).field("layers", &self.layers).finish_non_exhaustive()
    }
}

impl Image {
    /// Finds an image and reads what it says of itself. `tag` is asked for where the source names none.
    pub(crate) fn open(source: &Source, tag: Option<&str>, architecture: &str, insecure: bool) -> Result<Self, Error> {
        let root = match source {
            Source::Registry { repository, tag: own, digest } => {
                let tag = own.as_deref().or(tag.filter(|_| digest.is_none()));
                registry::Registry::new(repository, insecure)?.open(tag, digest.as_deref())?
            }
            Source::OciDir { path, tag } => layout::open_dir(path, tag.as_deref())?,
            Source::OciArchive { path, tag } => layout::open_archive(path, tag.as_deref())?,
            Source::DockerArchive { path, tag } => layout::open_docker(path, tag.as_deref())?,
        };
        Self::of(root, architecture)
    }

    fn of(root: Root, architecture: &str) -> Result<Self, Error> {
        let (manifest, bytes, digest, tag, blobs) = match root {
            Root::Manifest { manifest, tag, blobs } => (manifest, None, None, tag, blobs),
            Root::Descriptor { descriptor, tag, blobs } => {
                let digest = descriptor.digest.clone();
                let (manifest, bytes) = manifest_of(blobs.as_ref(), descriptor, architecture)?;
                (manifest, Some(bytes), Some(digest), tag, blobs)
            }
            Root::Choice { manifests, tag, blobs } => {
                let descriptor = manifest::choose(&manifests, architecture)?.clone();
                let (manifest, bytes) = manifest_of(blobs.as_ref(), descriptor, architecture)?;
                let digest = digest(&bytes);
                (manifest, Some(bytes), Some(digest), tag, blobs)
            }
        };
        if manifest.layers.len() > LAYERS {
            return Err(Fault::Hostile { reason: format!("it has more than {LAYERS} layers") }.into());
        }
        let config = document(blobs.open(&manifest.config)?, &manifest.config)?;
        let config = Config::parse(&manifest.config.digest, &config)?;
        if config.diff_ids().len() != manifest.layers.len() {
            let (named, layers) = (config.diff_ids().len(), manifest.layers.len());
            let reason = format!("is a config for {named} layers, and its manifest has {layers}");
            return Err(Fault::Manifest { digest: manifest.config.digest, reason }.into());
        }
        let sizes = manifest.layers.iter().map(|layer| layer.size).chain([manifest.config.size]);
        Ok(Self {
            digest,
            manifest_digest: bytes.as_deref().map(self::digest),
            manifest: bytes,
            config: manifest.config,
            tag,
            platform: config.platform(),
            user: config.user().map(str::to_owned),
            size: sizes.fold(0, u64::saturating_add),
            diff_ids: config.diff_ids().to_vec(),
            layers: manifest.layers,
            blobs,
        })
    }

    /// `sha256:…` of its config.
    pub(crate) fn config_digest(&self) -> &str {
        &self.config.digest
    }

    /// Reads all layers, side by side, and puts them over each other.
    pub(crate) fn read(&self, limits: &Limits, keys: &[TrustedKey]) -> Result<Content, Error> {
        let budget = Budget::new(limits);
        let reading = Reading { budget: &budget, keys };
        let count = self.layers.len();
        let next = Mutex::new(0..count);
        let trees: Vec<Mutex<Option<Result<Tree, Error>>>> = (0..count).map(|_| Mutex::default()).collect();
        let read_next = || {
            while let Some(index) = next.lock().ok().and_then(|mut next| next.next()) {
                let tree = self.read_layer(index, &reading);
                let failed = tree.is_err();
                if let Ok(mut place) = trees[index].lock() {
                    *place = Some(tree);
                }
                if failed {
                    // What is left is not worth the time.
                    if let Ok(mut next) = next.lock() {
                        *next = count..count;
                    }
                }
            }
        };
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4).min(count.max(1));
        std::thread::scope(|scope| {
            for _ in 1..workers {
                scope.spawn(read_next);
            }
            read_next();
        });
        if let Some(failure) = self.blobs.failure() {
            return Err(failure);
        }
        let mut whole = Tree::default();
        for tree in trees {
            // A layer that was not begun stands after one that failed.
            if let Ok(Some(tree)) = tree.into_inner() {
                whole.cover(tree?);
            }
        }
        Ok(Content { tree: whole, bytes: budget.total(), room: budget.room() })
    }

    fn read_layer(&self, index: usize, reading: &Reading<'_>) -> Result<Tree, Error> {
        let layer = &self.layers[index];
        let blob = self.blobs.open(layer)?;
        Ok(layer::read(blob, layer, self.diff_ids.get(index).map(String::as_str), reading)?)
    }
}

/// The manifest for a machine that a descriptor leads to, and its bytes.
fn manifest_of(
    blobs: &dyn Blobs,
    mut descriptor: Descriptor,
    architecture: &str,
) -> Result<(Manifest, Vec<u8>), Error> {
    for _ in 0..DEPTH {
        let bytes = document(blobs.manifest(&descriptor)?, &descriptor)?;
        match Document::parse(&descriptor.digest, &bytes)? {
            Document::Manifest(manifest) => return Ok((manifest, bytes)),
            Document::Index(manifests) => descriptor = manifest::choose(&manifests, architecture)?.clone(),
        }
    }
    Err(Fault::Hostile { reason: format!("its indexes are nested more than {DEPTH} deep") }.into())
}

/// The verified bytes of a manifest or config.
fn document(blob: impl Read, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
    let damaged = |reason: String| Fault::Blob { digest: descriptor.digest.clone(), reason };
    let mut bytes = Vec::new();
    blob.take(Limits::DOCUMENT + 1).read_to_end(&mut bytes).map_err(|error| damaged(error.to_string()))?;
    if bytes.len() as u64 > Limits::DOCUMENT {
        return Err(Fault::Hostile {
            reason: format!("{} has more than {} bytes", descriptor.digest, Limits::DOCUMENT),
        }
        .into());
    }
    if bytes.len() as u64 != descriptor.size {
        return Err(
            damaged(format!("has {} bytes, and what refers to it says {}", bytes.len(), descriptor.size)).into()
        );
    }
    let actual = digest(&bytes);
    if actual != descriptor.digest {
        return Err(damaged(format!("has the digest {actual}")).into());
    }
    Ok(bytes)
}

/// `sha256:…` of some bytes.
fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// The 64 digits of a sha256 digest, which become a file's name or a part of a URL.
fn hex_of(digest: &str) -> Result<&str, Error> {
    let digits = digest.strip_prefix("sha256:").unwrap_or_default();
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Ok(digits);
    }
    let reason = "is no sha256 digest, the only kind that is verified here".to_owned();
    Err(Fault::Blob { digest: digest.to_owned(), reason }.into())
}
