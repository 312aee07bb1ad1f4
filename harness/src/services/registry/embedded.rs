//! The embedded registry: the distribution API over a directory, on a loopback port.
//!
//! It stands in for a real one behind the gateway, so it answers as a real one does where a node's podman or
//! a pushing client can tell: repository names of any depth, image indexes, digests and lengths in headers,
//! ranges (podman resumes cut blobs), and errors with the specification's codes. The crate
//! `container-registry` 0.3.1 knows two-component names only, no indexes, no manifests by digest, no ranges,
//! no lengths and digests in its answers, and calls an unknown manifest `BLOB_UNKNOWN`.
//!
//! Anyone on this host may write to it: it lives as long as a trial and holds nothing secret.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use super::Error;
use super::store::{Failure, Store};
use crate::services::gateway::refusal;
use crate::services::registry_path::{RegistryPath, Subject, is_repository_name};
use crate::services::server::{Body, Listener, Server, Service, answer};

/// Larger manifests are refused, as real registries do.
const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A running registry; dropping it ends it. Its content stays in the directory.
pub struct Embedded {
    server: Server,
    base_url: String,
}

impl Embedded {
    /// Starts a registry that keeps its content in `directory` (made if missing), on the current tokio
    /// runtime and a free port of 127.0.0.1.
    pub async fn start(directory: &Path) -> Result<Self, Error> {
        let store = Store::open(directory).map_err(|source| Error::Storage { path: directory.to_owned(), source })?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let base_url = format!("http://{}", listener.local_addr()?);
        let server = Server::start(Listener::Tcp(listener), None, Arc::new(Api { store }));
        Ok(Self { server, base_url })
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Ends it and its connections.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

struct Api {
    store: Store,
}

impl Service for Api {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        self.respond(request).await.unwrap_or_else(|failure| failure.response())
    }
}

type Answer = Result<Response<Body>, Failure>;

impl Api {
    async fn respond(&self, request: Request<Incoming>) -> Answer {
        let path = RegistryPath::parse(request.uri().path());
        if path.subject == Subject::Ping {
            return Ok(with_headers(answer(StatusCode::OK, "application/json", "{}"), []));
        }
        if path.subject == Subject::Other {
            return Err(Failure::NoSuchPath);
        }
        let name = path.repository.as_str();
        if !is_repository_name(name) {
            return Err(Failure::BadName);
        }
        let method = request.method().clone();
        match (method, path.subject) {
            (Method::GET | Method::HEAD, Subject::Manifest(reference)) => self.manifest(name, &reference).await,
            (Method::PUT, Subject::Manifest(reference)) => self.put_manifest(name, &reference, request).await,
            (Method::GET | Method::HEAD, Subject::Blob(digest)) => self.blob(&digest, request.headers()).await,
            (Method::GET, Subject::Tags) => self.tags(name).await,
            (Method::POST, Subject::Upload(id)) if id.is_empty() => self.begin_upload(name, request).await,
            (Method::PATCH, Subject::Upload(id)) => self.add_to_upload(name, &id, request).await,
            (Method::PUT, Subject::Upload(id)) => self.finish_upload(name, &id, request).await,
            _ => Err(Failure::Unsupported),
        }
    }

    async fn manifest(&self, name: &str, reference: &str) -> Answer {
        let manifest = self.store.manifest(name, reference).await?;
        let mut response = answer(StatusCode::OK, "application/json", manifest.bytes);
        let media_type =
            HeaderValue::from_str(&manifest.media_type).unwrap_or(HeaderValue::from_static("application/json"));
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        Ok(with_headers(response, [(CONTENT_DIGEST, manifest.digest)]))
    }

    async fn put_manifest(&self, name: &str, reference: &str, request: Request<Incoming>) -> Answer {
        let media_type = text_of(request.headers(), &header::CONTENT_TYPE).unwrap_or_default().to_owned();
        let bytes = Limited::new(request.into_body(), MANIFEST_LIMIT)
            .collect()
            .await
            .map_err(|error| Failure::ManifestInvalid(error.to_string()))?
            .to_bytes();
        let digest = self.store.put_manifest(name, reference, &media_type, &bytes).await?;
        let location = format!("/v2/{name}/manifests/{digest}");
        Ok(empty(StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest)]))
    }

    async fn blob(&self, digest: &str, headers: &HeaderMap) -> Answer {
        let size = self.store.blob_size(digest).await?;
        let range = text_of(headers, &header::RANGE).and_then(|range| ByteRange::parse(range, size));
        let (status, first, last) = match range {
            None => (StatusCode::OK, 0, size.saturating_sub(1)),
            Some(Some(range)) => (StatusCode::PARTIAL_CONTENT, range.first, range.last),
            Some(None) => return Err(Failure::RangeInvalid { size }),
        };
        let length = if size == 0 { 0 } else { last - first + 1 };
        let mut response = answer(status, "application/octet-stream", Bytes::new());
        *response.body_mut() = self.store.read_blob(digest, first, length).await?;
        let mut response = with_headers(
            response,
            [
                (header::CONTENT_LENGTH, length.to_string()),
                (header::ACCEPT_RANGES, "bytes".to_owned()),
                (CONTENT_DIGEST, digest.to_owned()),
            ],
        );
        if status == StatusCode::PARTIAL_CONTENT {
            response = with_headers(response, [(header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}"))]);
        }
        Ok(response)
    }

    async fn tags(&self, name: &str) -> Answer {
        let tags = self.store.tags(name).await?;
        Ok(answer(StatusCode::OK, "application/json", json!({ "name": name, "tags": tags }).to_string()))
    }

    async fn begin_upload(&self, name: &str, request: Request<Incoming>) -> Answer {
        if let Some(digest) = query(&request, "mount")
            && self.store.blob_size(&digest).await.is_ok()
        {
            return Ok(blob_created(name, digest));
        }
        let id = self.store.begin_upload().await?;
        match query(&request, "digest") {
            Some(digest) => self.complete(name, &id, &digest, request).await,
            None => Ok(upload_accepted(name, &id, 0)),
        }
    }

    async fn add_to_upload(&self, name: &str, id: &str, request: Request<Incoming>) -> Answer {
        let expected = text_of(request.headers(), &header::CONTENT_RANGE)
            .and_then(|range| range.split_once('-'))
            .and_then(|(first, _)| first.parse().ok());
        let size = self.store.add_to_upload(id, expected, request.into_body()).await?;
        Ok(upload_accepted(name, id, size))
    }

    async fn finish_upload(&self, name: &str, id: &str, request: Request<Incoming>) -> Answer {
        let digest = query(&request, "digest").ok_or(Failure::DigestInvalid)?;
        self.complete(name, id, &digest, request).await
    }

    async fn complete(&self, name: &str, id: &str, digest: &str, request: Request<Incoming>) -> Answer {
        self.store.add_to_upload(id, None, request.into_body()).await?;
        self.store.finish_upload(id, digest).await?;
        Ok(blob_created(name, digest.to_owned()))
    }
}

impl Failure {
    fn response(&self) -> Response<Body> {
        let (status, code, message) = match self {
            Self::ManifestUnknown => (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown"),
            Self::BlobUnknown => (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry"),
            Self::NameUnknown => (StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry"),
            Self::UploadUnknown => (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"),
            Self::NoSuchPath => (StatusCode::NOT_FOUND, "NOT_FOUND", "no such path in the distribution API"),
            Self::BadName => (StatusCode::BAD_REQUEST, "NAME_INVALID", "invalid repository name"),
            Self::BadTag => (StatusCode::BAD_REQUEST, "TAG_INVALID", "neither a tag nor a sha256 digest"),
            Self::DigestInvalid => {
                (StatusCode::BAD_REQUEST, "DIGEST_INVALID", "provided digest did not match uploaded content")
            }
            Self::ManifestInvalid(reason) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID", reason.as_str()),
            Self::ManifestBlobUnknown(digest) => (StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", digest.as_str()),
            Self::UploadRange => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", "the chunk is not the next one")
            }
            Self::RangeInvalid { .. } => {
                (StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "the range is outside of the blob")
            }
            Self::Unsupported => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the operation is unsupported"),
            Self::Client(reason) => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", reason.as_str()),
            Self::Storage(error) => {
                tracing::error!("the registry's storage failed: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "the registry's storage failed")
            }
        };
        let response = refusal(status, code, message);
        match self {
            Self::RangeInvalid { size } => with_headers(response, [(header::CONTENT_RANGE, format!("bytes */{size}"))]),
            _ => response,
        }
    }
}

/// One range of bytes, both ends included.
#[derive(Debug, PartialEq, Eq)]
struct ByteRange {
    first: u64,
    last: u64,
}

impl ByteRange {
    /// `None`: not a range of one part, so it is to be ignored (RFC 9110, 14.2). `Some(None)`: not satisfiable.
    fn parse(range: &str, size: u64) -> Option<Option<Self>> {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        if first.is_empty() {
            let suffix: u64 = last.parse().ok()?;
            let satisfiable = suffix > 0 && size > 0;
            return Some(satisfiable.then(|| Self { first: size.saturating_sub(suffix), last: size - 1 }));
        }
        let first: u64 = first.parse().ok()?;
        let last: u64 = if last.is_empty() { u64::MAX } else { last.parse().ok()? };
        if last < first {
            return None;
        }
        Some((first < size).then(|| Self { first, last: last.min(size - 1) }))
    }
}

fn text_of<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn query(request: &Request<Incoming>, name: &str) -> Option<String> {
    let query = request.uri().query()?;
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}

fn with_headers(
    mut response: Response<Body>,
    headers: impl IntoIterator<Item = (HeaderName, String)>,
) -> Response<Body> {
    for (name, value) in headers {
        // Every value is made of digests, checked names and numbers.
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

fn empty(status: StatusCode, headers: impl IntoIterator<Item = (HeaderName, String)>) -> Response<Body> {
    let mut response = with_headers(answer(status, "application/octet-stream", Bytes::new()), headers);
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

fn blob_created(name: &str, digest: String) -> Response<Body> {
    let location = format!("/v2/{name}/blobs/{digest}");
    empty(StatusCode::CREATED, [(header::LOCATION, location), (CONTENT_DIGEST, digest)])
}

fn upload_accepted(name: &str, id: &str, size: u64) -> Response<Body> {
    empty(
        StatusCode::ACCEPTED,
        [
            (header::LOCATION, format!("/v2/{name}/blobs/uploads/{id}")),
            (header::RANGE, format!("0-{}", size.saturating_sub(1))),
            (HeaderName::from_static("docker-upload-uuid"), id.to_owned()),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_the_http_specification() {
        let range = |first, last| Some(Some(ByteRange { first, last }));
        assert_eq!(ByteRange::parse("bytes=0-", 10), range(0, 9));
        assert_eq!(ByteRange::parse("bytes=3-5", 10), range(3, 5));
        assert_eq!(ByteRange::parse("bytes=3-99", 10), range(3, 9));
        assert_eq!(ByteRange::parse("bytes=-4", 10), range(6, 9));
        assert_eq!(ByteRange::parse("bytes=10-", 10), Some(None));
        assert_eq!(ByteRange::parse("bytes=0-", 0), Some(None));
        assert_eq!(ByteRange::parse("bytes=5-3", 10), None);
        assert_eq!(ByteRange::parse("bytes=0-1,3-4", 10), None);
        assert_eq!(ByteRange::parse("lines=0-1", 10), None);
    }
}
