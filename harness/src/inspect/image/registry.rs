//! Images in a registry. Blobs stream; nothing is kept on disk.

use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures::StreamExt;
use futures::stream::BoxStream;
use oci_client::client::{Certificate, CertificateEncoding, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference};
use tokio::runtime::Runtime;

use super::limits::Limits;
use super::manifest::Descriptor;
use super::{Blobs, Error, Fault, Root, credentials};
use crate::text::with_causes;

const CONNECT: Duration = Duration::from_secs(20);
/// Between two pieces of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// For a whole manifest, or the beginning of a blob, with all logins.
const ANSWER: Duration = Duration::from_secs(120);
const ACCEPTED: &[&str] = &[
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Where container engines find the authorities of private registries (containers-certs.d(5)).
const CERTIFICATES: [&str; 2] = ["/etc/containers/certs.d", "/etc/docker/certs.d"];

/// A repository of a registry.
pub(super) struct Registry {
    runtime: Arc<Runtime>,
    client: Client,
    auth: RegistryAuth,
    host: String,
    path: String,
    /// What the reference names, with its digest.
    root: Option<(String, Bytes)>,
    /// The first failure of a blob's transfer, which is no fault of the image.
    failure: Arc<Mutex<Option<String>>>,
}

impl Registry {
    /// Prepares for a repository such as `quay.io/vendor/driver`. Plain http is spoken to this machine's own
    /// registries, and to others where `insecure` says so.
    pub(super) fn new(repository: &str, insecure: bool) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Reference { value: repository.to_owned(), reason };
        let (host, path) = repository.split_once('/').ok_or_else(|| refuse("it has no path".to_owned()))?;
        let local = is_loopback(host);
        let mut config = ClientConfig {
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("day1/", env!("CARGO_PKG_VERSION")),
            extra_root_certificates: certificates(host)?,
            ..ClientConfig::default()
        };
        if local || insecure {
            config.protocol = ClientProtocol::HttpsExcept(vec![host.to_owned()]);
        }
        if local {
            // Naming a proxy keeps the client from using the environment's, which would not find loopback; then none is
            // used for any host, also for one that the registry redirects to.
            config.http_proxy = Some(format!("http://{host}"));
            config.no_proxy = Some("*".to_owned());
        }
        let failed = |reason: String| Error::Registry { reference: repository.to_owned(), reason };
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = Arc::new(runtime.map_err(|error| failed(error.to_string()))?);
        let auth = match credentials::look_up(host, path)? {
            Some((user, password)) => RegistryAuth::Basic(user, password),
            None => RegistryAuth::Anonymous,
        };
        let (host, path) = (host.to_owned(), path.to_owned());
        Ok(Self { runtime, client, auth, host, path, root: None, failure: Arc::default() })
    }

    fn reference(&self, digest: &str) -> Reference {
        Reference::with_digest(self.host.clone(), self.path.clone(), digest.to_owned())
    }

    /// The manifest or index that a tag or digest names.
    pub(super) fn open(mut self, tag: Option<&str>, digest: Option<&str>) -> Result<Root, Error> {
        let reference = match digest {
            Some(digest) => self.reference(digest),
            None => Reference::with_tag(self.host.clone(), self.path.clone(), tag.unwrap_or("latest").to_owned()),
        };
        let bytes = self.pull_manifest(&reference)?;
        let actual = super::digest(&bytes);
        if let Some(expected) = digest.filter(|expected| *expected != actual) {
            let reason = format!("has the digest {actual}");
            return Err(Error::Fault(Fault::Blob { digest: expected.to_owned(), reason }));
        }
        if bytes.trim_ascii_start().starts_with(b"<") {
            let reason = "it answers with a page for a browser: a login page, or no registry at all".to_owned();
            return Err(Error::Registry { reference: reference.to_string(), reason });
        }
        let size = bytes.len() as u64;
        self.root = Some((actual.clone(), bytes));
        let descriptor = Descriptor { digest: actual, size, ..Descriptor::default() };
        Ok(Root::Descriptor { descriptor, tag: tag.map(str::to_owned), blobs: Box::new(self) })
    }

    fn pull_manifest(&self, reference: &Reference) -> Result<Bytes, Error> {
        let asked = self.client.pull_manifest_raw(reference, &self.auth, ACCEPTED);
        let answer = self.within(reference, "arrive whole", asked)?;
        let (bytes, _) = answer.map_err(|error| self.failed(&reference.to_string(), &error))?;
        if bytes.len() as u64 > Limits::DOCUMENT {
            let reason = format!("its manifest has more than {} bytes", Limits::DOCUMENT);
            return Err(Error::Fault(Fault::Hostile { reason }));
        }
        Ok(bytes)
    }

    /// Waits for an answer. The client reads a manifest, a token or an error of any length; one without end must end.
    fn within<T>(&self, reference: &Reference, to: &str, asked: impl Future<Output = T>) -> Result<T, Error> {
        let answer = self.runtime.block_on(async { tokio::time::timeout(ANSWER, asked).await });
        answer.map_err(|_| Error::Registry {
            reference: reference.to_string(),
            reason: format!("it did not {to} within {} s", ANSWER.as_secs()),
        })
    }

    fn failed(&self, reference: &str, error: &OciDistributionError) -> Error {
        use oci_client::errors::OciErrorCode;
        let reference = reference.to_owned();
        let told = error.to_string();
        let code = match error {
            OciDistributionError::RegistryError { envelope, .. } => envelope.errors.first().map(|error| &error.code),
            _ => None,
        };
        match (error, code) {
            (OciDistributionError::ImageManifestNotFoundError(_), _)
            | (OciDistributionError::ServerError { code: 404, .. }, _)
            | (_, Some(OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)) => {
                Error::NotFound { reference, told }
            }
            (OciDistributionError::UnauthorizedError { .. } | OciDistributionError::AuthenticationFailure(_), _)
            | (_, Some(OciErrorCode::Unauthorized | OciErrorCode::Denied)) => {
                let login = match &self.auth {
                    RegistryAuth::Basic(user, _) => format!("as {user}"),
                    _ => "without credentials, as no auth file has any for it".to_owned(),
                };
                Error::Unauthorized { reference, login, host: self.host.clone() }
            }
            (OciDistributionError::DigestError(_), _) => Error::Fault(Fault::Blob { digest: reference, reason: told }),
            _ => Error::Registry { reference, reason: with_causes(error) },
        }
    }
}

impl Blobs for Registry {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        super::hex_of(&blob.digest)?;
        let reference = self.reference(&blob.digest);
        let descriptor = OciDescriptor { digest: blob.digest.clone(), ..OciDescriptor::default() };
        let size = i64::try_from(blob.size).unwrap_or(i64::MAX);
        let descriptor = OciDescriptor { size, ..descriptor };
        // A layer may name other places where it is; a node's registry has it, or the node does without.
        let asked = self.client.pull_blob_stream(&reference, &descriptor);
        let stream = self.within(&reference, "begin", asked)?;
        let stream = stream.map_err(|error| match self.failed(&reference.to_string(), &error) {
            Error::NotFound { told, .. } => Error::Fault(Fault::Blob {
                digest: blob.digest.clone(),
                reason: format!("is not in the registry: {told}"),
            }),
            other => other,
        })?;
        let (runtime, failure) = (Arc::clone(&self.runtime), Arc::clone(&self.failure));
        Ok(Box::new(Streamed { runtime, stream: stream.stream, chunk: Bytes::new(), failure }))
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let bytes = match &self.root {
            Some((digest, bytes)) if *digest == descriptor.digest => bytes.clone(),
            _ => self.pull_manifest(&self.reference(&descriptor.digest))?,
        };
        Ok(Box::new(bytes.reader()))
    }

    fn failure(&self) -> Option<Error> {
        let reason = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        Some(Error::Registry { reference: format!("{}/{}", self.host, self.path), reason })
    }
}

/// A blob on its way.
struct Streamed {
    runtime: Arc<Runtime>,
    stream: BoxStream<'static, io::Result<Bytes>>,
    chunk: Bytes,
    failure: Arc<Mutex<Option<String>>>,
}

impl Read for Streamed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.runtime.block_on(self.stream.next()) {
                Some(Ok(chunk)) => self.chunk = chunk,
                Some(Err(error)) => {
                    // A wrong digest is the blob's fault, and found by our own sum as well.
                    let is_digest = error.get_ref().is_some_and(|inner| inner.is::<oci_client::errors::DigestError>());
                    if is_digest {
                        return Ok(0);
                    }
                    let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
                    failure.get_or_insert_with(|| with_causes(&error));
                    return Err(error);
                }
                None => return Ok(0),
            }
        }
        let count = self.chunk.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.chunk[..count]);
        self.chunk.advance(count);
        Ok(count)
    }
}

/// Whether a host, with or without a port, is this machine.
fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    name == "localhost" || name.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

/// The authorities that container engines trust for a registry.
fn certificates(host: &str) -> Result<Vec<Certificate>, Error> {
    let mut found = Vec::new();
    for base in CERTIFICATES {
        let Ok(entries) = std::fs::read_dir(Path::new(base).join(host)) else { continue };
        for path in
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "crt"))
        {
            let data = std::fs::read(&path).map_err(|source| Error::Read { path: path.clone(), source })?;
            found.push(Certificate { encoding: CertificateEncoding::Pem, data });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_spoken_to_in_plain_http() {
        for (host, local) in [
            ("127.0.0.1:5000", true),
            ("localhost", true),
            ("localhost:5000", true),
            ("127.0.0.1.evil.example", false),
            ("quay.io", false),
            ("10.0.0.1:5000", false),
        ] {
            assert_eq!(is_loopback(host), local, "{host}");
        }
    }
}
