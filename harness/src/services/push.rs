//! Pushing an OCI image layout to a registry: the same code whatever the registry is.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::{Client, Reference};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;
use url::Url;

use super::registry_path::sha256_hex;

/// Bytes sent at once.
const CHUNK: usize = 4 * 1024 * 1024;
/// An index may point to indexes; a layout of ours nests once.
const DEPTH: u32 = 4;

/// Why an image can't be pushed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the layout can't be read.
    #[error("cannot read {path} of the image layout: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of the layout is not what it should be.
    #[error("{path} of the image layout {problem}")]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The registry's URL can't be used.
    #[error("the registry's URL {url} can't be used: it has the form http://127.0.0.1:5000")]
    Url {
        /// The URL.
        url: String,
    },
    /// Nothing would find the image.
    #[error("no tag is given for {repository}: name one at least")]
    NoTag {
        /// The repository.
        repository: String,
    },
    /// The registry refused.
    #[error("cannot push {what} to {url}/{repository}: {source}")]
    Registry {
        /// What was pushed.
        what: String,
        /// The registry.
        url: String,
        /// The repository.
        repository: String,
        /// What the registry said.
        source: Box<OciDistributionError>,
    },
}

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Descriptor {
    media_type: String,
    digest: String,
    size: u64,
}

impl Descriptor {
    fn is_index(&self) -> bool {
        matches!(
            self.media_type.as_str(),
            "application/vnd.oci.image.index.v1+json" | "application/vnd.docker.distribution.manifest.list.v2+json"
        )
    }
}

/// Pushes the image in the OCI layout directory `layout` to `repository` (such as `quay.io/vendor/driver`) of
/// the registry at `base_url` (such as `http://127.0.0.1:5000`) under each of `tags`. Gives the digest of the
/// manifest or index that the tags name.
///
/// The layout's `index.json` must list exactly one image or one image index. Bytes are pushed as they are.
pub async fn push_layout(base_url: &str, layout: &Path, repository: &str, tags: &[String]) -> Result<String, Error> {
    let push = Push::new(base_url, layout, repository)?;
    if tags.is_empty() {
        return Err(Error::NoTag { repository: repository.to_owned() });
    }
    let index_path = layout.join("index.json");
    let index: Index = parse(&index_path, &read(&index_path)?)?;
    let [root] = index.manifests.as_slice() else {
        let problem = format!("lists {} images; it must list one image or one image index", index.manifests.len());
        return Err(Error::Layout { path: index_path, problem });
    };
    push.content_of(root).await?;
    for tag in tags {
        push.manifest(root, push.reference(tag)).await?;
    }
    Ok(root.digest.clone())
}

struct Push<'a> {
    client: Client,
    registry: String,
    base_url: &'a str,
    layout: &'a Path,
    repository: &'a str,
}

impl<'a> Push<'a> {
    fn new(base_url: &'a str, layout: &'a Path, repository: &'a str) -> Result<Self, Error> {
        let refuse = || Error::Url { url: base_url.to_owned() };
        let url = Url::parse(base_url).map_err(|_| refuse())?;
        let host = url.host_str().filter(|_| url.scheme() == "http" && url.path() == "/").ok_or_else(refuse)?;
        let registry = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let config = ClientConfig {
            protocol: ClientProtocol::Http,
            // Naming a proxy keeps the client from using the environment's, which would not find loopback.
            http_proxy: Some(base_url.to_owned()),
            no_proxy: Some(host.to_owned()),
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(|source| Error::Registry {
            what: "anything".to_owned(),
            url: base_url.to_owned(),
            repository: repository.to_owned(),
            source: Box::new(source),
        })?;
        Ok(Self { client, registry, base_url, layout, repository })
    }

    fn reference(&self, tag: &str) -> Reference {
        Reference::with_tag(self.registry.clone(), self.repository.to_owned(), tag.to_owned())
    }

    fn by_digest(&self, descriptor: &Descriptor) -> Reference {
        Reference::with_digest(self.registry.clone(), self.repository.to_owned(), descriptor.digest.clone())
    }

    /// Pushes everything below a manifest or index, deepest first, so that nothing refers to what is missing.
    async fn content_of(&self, root: &Descriptor) -> Result<(), Error> {
        let mut blobs = Vec::new();
        let mut manifests = Vec::new();
        let mut level = vec![root.clone()];
        for _ in 0..DEPTH {
            let mut below = Vec::new();
            for descriptor in &level {
                let bytes = self.checked(descriptor)?;
                let path = self.path(descriptor)?;
                if descriptor.is_index() {
                    below.extend(parse::<Index>(&path, &bytes)?.manifests);
                } else {
                    let manifest: Manifest = parse(&path, &bytes)?;
                    blobs.push(manifest.config);
                    blobs.extend(manifest.layers);
                }
            }
            manifests.extend(below.iter().cloned());
            level = below;
        }
        if let Some(descriptor) = level.first() {
            let problem = format!("is nested deeper than {DEPTH} indexes");
            return Err(Error::Layout { path: self.path(descriptor)?, problem });
        }
        for blob in &blobs {
            self.blob(blob).await?;
        }
        for manifest in manifests.iter().rev() {
            self.manifest(manifest, self.by_digest(manifest)).await?;
        }
        Ok(())
    }

    async fn blob(&self, descriptor: &Descriptor) -> Result<(), Error> {
        let failed = |source| self.failed(format!("blob {}", descriptor.digest), source);
        let target = self.by_digest(descriptor);
        if self.client.blob_exists(&target, &descriptor.digest).await.map_err(failed)? {
            return Ok(());
        }
        let path = self.path(descriptor)?;
        let file = tokio::fs::File::open(&path).await.map_err(|source| Error::Read { path: path.clone(), source })?;
        let size = file.metadata().await.map_err(|source| Error::Read { path: path.clone(), source })?.len();
        if size != descriptor.size {
            let problem = format!("has {size} bytes and should have {}", descriptor.size);
            return Err(Error::Layout { path, problem });
        }
        self.client.push_blob_stream(&target, chunks(file), &descriptor.digest, Some(size)).await.map_err(failed)?;
        Ok(())
    }

    async fn manifest(&self, descriptor: &Descriptor, target: Reference) -> Result<(), Error> {
        let bytes = self.checked(descriptor)?;
        let problem = || Error::Layout {
            path: self.layout.join("index.json"),
            problem: format!("gives {:?} as a media type", descriptor.media_type),
        };
        let content_type = descriptor.media_type.parse().map_err(|_| problem())?;
        let what = format!("manifest {} as {target}", descriptor.digest);
        match self.client.push_manifest_raw(&target, bytes, content_type).await {
            Ok(_) => Ok(()),
            Err(source) => Err(self.failed(what, source)),
        }
    }

    /// A manifest's bytes, which must have its digest: the client would push anything.
    fn checked(&self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let path = self.path(descriptor)?;
        let bytes = read(&path)?;
        let actual = format!("sha256:{}", hex::encode(Sha256::digest(&bytes)));
        if actual != descriptor.digest {
            return Err(Error::Layout { path, problem: format!("has the digest {actual}") });
        }
        Ok(bytes)
    }

    fn path(&self, descriptor: &Descriptor) -> Result<PathBuf, Error> {
        let hex = sha256_hex(&descriptor.digest).ok_or_else(|| Error::Layout {
            path: self.layout.join("index.json"),
            problem: format!("refers to {:?}, which is no sha256 digest", descriptor.digest),
        })?;
        Ok(self.layout.join("blobs/sha256").join(hex))
    }

    fn failed(&self, what: String, source: OciDistributionError) -> Error {
        Error::Registry {
            what,
            url: self.base_url.to_owned(),
            repository: self.repository.to_owned(),
            source: Box::new(source),
        }
    }
}

fn chunks(file: tokio::fs::File) -> impl Stream<Item = Result<Bytes, OciDistributionError>> + Send {
    stream::try_unfold(file, |mut file| async move {
        let mut buffer = Vec::new();
        let count = (&mut file).take(CHUNK as u64).read_to_end(&mut buffer).await?;
        Ok((count > 0).then(|| (Bytes::from(buffer), file)))
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn parse<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::Layout { path: path.to_owned(), problem: format!("can't be understood: {error}") })
}
