//! The registry's directory.
//!
//! ```text
//! blobs/HEX                 blobs and manifests, by sha256
//! manifests/NAME/HEX        a manifest of a repository; the file holds its media type
//! tags/NAME/TAG             the digest of a tag's manifest
//! uploads/UUID              what came so far
//! ```
//! NAME is the repository's name with `/` written as `+`, which no name holds. A file gets its name when it is
//! whole. Blobs are shared by all repositories, so a blob is found in each of them: a node can't tell.

use std::io::{self, SeekFrom};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::stream::{self, Stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt};

use crate::services::registry_path::{is_tag, sha256_hex};
use crate::services::server::{Body, BodyError};
use crate::services::socket::random_uuid;

/// Bytes read from a blob at once.
const CHUNK: u64 = 64 * 1024;

/// Why a request is refused.
#[derive(Debug)]
pub(super) enum Failure {
    ManifestUnknown,
    BlobUnknown,
    NameUnknown,
    UploadUnknown,
    NoSuchPath,
    BadName,
    BadTag,
    DigestInvalid,
    ManifestInvalid(String),
    ManifestBlobUnknown(String),
    UploadRange,
    RangeInvalid {
        size: u64,
    },
    Unsupported,
    /// The client's body broke off.
    Client(String),
    Storage(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Storage(error)
    }
}

/// A manifest as it was pushed.
pub(super) struct Manifest {
    pub(super) bytes: Vec<u8>,
    pub(super) media_type: String,
    pub(super) digest: String,
}

pub(super) struct Store {
    root: PathBuf,
}

/// The part of a manifest or index that says what it needs.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct References {
    media_type: Option<String>,
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    /// Content that lives elsewhere is not asked of this registry.
    #[serde(default)]
    urls: Vec<String>,
}

impl Store {
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        for part in ["blobs", "manifests", "tags", "uploads"] {
            std::fs::create_dir_all(root.join(part))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    pub(super) async fn manifest(&self, name: &str, reference: &str) -> Result<Manifest, Failure> {
        let digest = match sha256_hex(reference) {
            Some(_) => reference.to_owned(),
            None if is_tag(reference) => {
                read_text(&self.repository("tags", name).join(reference)).await?.ok_or(Failure::ManifestUnknown)?
            }
            None => return Err(Failure::BadTag),
        };
        let hex = sha256_hex(&digest).ok_or(Failure::ManifestUnknown)?;
        let media_type =
            read_text(&self.repository("manifests", name).join(hex)).await?.ok_or(Failure::ManifestUnknown)?;
        let bytes = fs::read(self.root.join("blobs").join(hex)).await?;
        Ok(Manifest { bytes, media_type, digest })
    }

    pub(super) async fn put_manifest(
        &self,
        name: &str,
        reference: &str,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<String, Failure> {
        let references: References =
            serde_json::from_slice(bytes).map_err(|error| Failure::ManifestInvalid(error.to_string()))?;
        let needed = references.config.iter().chain(&references.layers).chain(&references.manifests);
        for descriptor in needed.filter(|descriptor| descriptor.urls.is_empty()) {
            if self.blob_size(&descriptor.digest).await.is_err() {
                return Err(Failure::ManifestBlobUnknown(descriptor.digest.clone()));
            }
        }
        let hex = hex::encode(Sha256::digest(bytes));
        let digest = format!("sha256:{hex}");
        let is_digest = sha256_hex(reference).is_some();
        if is_digest && reference != digest {
            return Err(Failure::DigestInvalid);
        }
        if !is_digest && !is_tag(reference) {
            return Err(Failure::BadTag);
        }
        let media_type = match references.media_type {
            Some(own) => own,
            None => media_type.to_owned(),
        };
        self.write(&self.root.join("blobs").join(&hex), bytes).await?;
        self.write(&self.repository("manifests", name).join(&hex), media_type.as_bytes()).await?;
        if !is_digest {
            self.write(&self.repository("tags", name).join(reference), digest.as_bytes()).await?;
        }
        Ok(digest)
    }

    pub(super) async fn tags(&self, name: &str) -> Result<Vec<String>, Failure> {
        let mut entries = match fs::read_dir(self.repository("tags", name)).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::NameUnknown),
            Err(error) => return Err(error.into()),
        };
        let mut tags = Vec::new();
        while let Some(entry) = entries.next_entry().await? {
            tags.extend(entry.file_name().into_string());
        }
        tags.sort();
        Ok(tags)
    }

    pub(super) async fn blob_size(&self, digest: &str) -> Result<u64, Failure> {
        let hex = sha256_hex(digest).ok_or(Failure::DigestInvalid)?;
        match fs::metadata(self.root.join("blobs").join(hex)).await {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::BlobUnknown),
            Err(error) => Err(error.into()),
        }
    }

    /// A body of `length` bytes of a blob, from `first`.
    pub(super) async fn read_blob(&self, digest: &str, first: u64, length: u64) -> Result<Body, Failure> {
        let hex = sha256_hex(digest).ok_or(Failure::DigestInvalid)?;
        let mut file = File::open(self.root.join("blobs").join(hex)).await?;
        file.seek(SeekFrom::Start(first)).await?;
        Ok(StreamBody::new(frames(file, length)).boxed())
    }

    pub(super) async fn begin_upload(&self) -> Result<String, Failure> {
        let id = random_uuid()?;
        File::create_new(self.upload(&id)?).await?;
        Ok(id)
    }

    /// Appends a body to an upload and gives the upload's size. `expected` is the size that the client
    /// believes to be there.
    pub(super) async fn add_to_upload(
        &self,
        id: &str,
        expected: Option<u64>,
        mut body: Incoming,
    ) -> Result<u64, Failure> {
        let mut file = match OpenOptions::new().append(true).open(self.upload(id)?).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(Failure::UploadUnknown),
            Err(error) => return Err(error.into()),
        };
        let mut size = file.metadata().await?.len();
        if expected.is_some_and(|expected| expected != size) {
            return Err(Failure::UploadRange);
        }
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| Failure::Client(error.to_string()))?;
            if let Some(data) = frame.data_ref() {
                file.write_all(data).await?;
                size += data.len() as u64;
            }
        }
        file.flush().await?;
        Ok(size)
    }

    /// Makes an upload a blob if it has the digest.
    pub(super) async fn finish_upload(&self, id: &str, digest: &str) -> Result<(), Failure> {
        let expected = sha256_hex(digest).ok_or(Failure::DigestInvalid)?;
        let path = self.upload(id)?;
        let hashed = path.clone();
        let actual = tokio::task::spawn_blocking(move || sha256_of(&hashed)).await.map_err(io::Error::other)?;
        if actual? != expected {
            fs::remove_file(&path).await?;
            return Err(Failure::DigestInvalid);
        }
        Ok(fs::rename(path, self.root.join("blobs").join(expected)).await?)
    }

    /// The file of an upload; only what looks like an id of ours may become a path.
    fn upload(&self, id: &str) -> Result<PathBuf, Failure> {
        let is_id = id.len() == 36 && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
        is_id.then(|| self.root.join("uploads").join(id)).ok_or(Failure::UploadUnknown)
    }

    fn repository(&self, part: &str, name: &str) -> PathBuf {
        self.root.join(part).join(name.replace('/', "+"))
    }

    /// Writes a file that has its name only when it is whole.
    async fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).await?;
        }
        let partial = self.root.join("uploads").join(random_uuid()?);
        fs::write(&partial, bytes).await?;
        Ok(fs::rename(partial, path).await?)
    }
}

/// The frames of a file's next `length` bytes. A file that is shorter is an error, so that the connection is
/// cut and the client doesn't take it for the whole.
fn frames(file: File, length: u64) -> impl Stream<Item = Result<Frame<Bytes>, BodyError>> {
    stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let mut buffer = Vec::new();
        let count = (&mut file).take(left.min(CHUNK)).read_to_end(&mut buffer).await?;
        if count == 0 {
            return Err(BodyError::from("the blob's file is shorter than it was"));
        }
        Ok(Some((Frame::data(Bytes::from(buffer)), (file, left - count as u64))))
    })
}

fn sha256_of(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    io::copy(&mut std::fs::File::open(path)?, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}

async fn read_text(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path).await {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
