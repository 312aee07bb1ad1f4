//! The reverse proxy in front of the registry: TLS, basic auth, and a record of every request.
//!
//! It rewrites nothing but the host. A node can only read: content comes in on the other side, straight into
//! the registry.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use url::Url;

use super::certs::{Authority, Certificate, Credentials};
use super::faults::{Fault, Faults};
use super::recorded::{Ending, Listen, Recorded};
use super::registry_path::RegistryPath;
use super::server::{Availability, Body, Listener, Server, Service, answer};
use crate::timeline::{Bus, RegistryProgress, RegistryRequest, What};

/// Headers that belong to one connection (RFC 9110, 7.6.1), and those that the gateway answers for itself.
const NOT_FORWARDED: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::HOST,
];

/// A running gateway; dropping it ends it.
pub struct Gateway {
    server: Server,
    socket: String,
}

/// How a gateway behaves.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// What its certificate is like.
    pub certificate: Certificate,
    /// What goes wrong with requests.
    pub faults: Vec<Fault>,
    /// What of its progress is told.
    pub marks: Vec<Mark>,
}

/// A share of an image's bytes that is worth an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// The image's repository.
    pub repository: String,
    /// All the bytes of its blobs.
    pub bytes: u64,
    /// The share.
    pub percent: u8,
}

/// Why a gateway can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No listener.
    #[error("cannot listen on an abstract unix socket for the gateway: {0}")]
    Listen(#[from] io::Error),
    /// The registry's URL can't be used.
    #[error("the registry's URL {url} can't be used: {reason}; it has the form http://127.0.0.1:5000")]
    Backend {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Gateway {
    /// Starts a gateway in front of the registry at `backend` (such as `http://127.0.0.1:5000`), on the
    /// current tokio runtime. Every request is recorded on `bus` when its answer ended.
    pub fn start(authority: &Authority, backend: &str, behaviour: Behaviour, bus: Bus) -> Result<Self, Error> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let proxy = Proxy {
            backend: origin(backend)?,
            client: Client::builder(TokioExecutor::new()).build(connector),
            credentials: authority.credentials().clone(),
            faults: Faults::new(behaviour.faults),
            progress: Arc::new(Progress::new(behaviour.marks)),
            bus,
        };
        let (listener, socket) = Listener::unix()?;
        let server = Server::start(listener, Some(authority.gateway_tls(behaviour.certificate)), Arc::new(proxy));
        Ok(Self { server, socket })
    }

    /// The abstract socket's name, for [`super::socket::connect_stdio`].
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Makes the registry unreachable for the node, or reachable again, before another connection is taken.
    pub fn set_availability(&self, availability: Availability) {
        self.server.set_availability(availability);
    }

    /// Waits until no connection is open: every request has its event then.
    pub async fn is_idle(&self) {
        self.server.is_idle().await;
    }

    /// Ends it; every request has its event when this returns.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// `http://HOST:PORT` without a trailing slash.
fn origin(backend: &str) -> Result<String, Error> {
    let refuse = |reason: String| Error::Backend { url: backend.to_owned(), reason };
    let url = Url::parse(backend).map_err(|error| refuse(error.to_string()))?;
    if url.scheme() != "http" || url.host().is_none() || url.path() != "/" || url.query().is_some() {
        return Err(refuse("it is not plain http to a host, without a path".to_owned()));
    }
    Ok(url.origin().ascii_serialization())
}

struct Proxy {
    backend: String,
    client: Client<HttpConnector, Empty<Bytes>>,
    credentials: Credentials,
    faults: Faults,
    progress: Arc<Progress>,
    bus: Bus,
}

/// The bytes of each image's blobs that were sent.
struct Progress {
    marks: Vec<Mark>,
    sent: Mutex<BTreeMap<String, u64>>,
}

impl Progress {
    fn new(marks: Vec<Mark>) -> Self {
        Self { marks, sent: Mutex::default() }
    }

    /// Counts bytes; gives the marks that they reached.
    fn count(&self, repository: &str, bytes: u64) -> Vec<RegistryProgress> {
        if !self.marks.iter().any(|mark| mark.repository == repository) {
            return vec![];
        }
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let sent = sent.entry(repository.to_owned()).or_default();
        let before = *sent;
        *sent += bytes;
        let reached = self.marks.iter().filter(|mark| {
            let at = mark.bytes * u64::from(mark.percent) / 100;
            mark.repository == repository && before < at && at <= *sent
        });
        reached.map(|mark| RegistryProgress { repository: repository.to_owned(), percent: mark.percent }).collect()
    }
}

impl Service for Proxy {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let mut record = Record::begin(&request, Arc::clone(&self.progress), self.bus.clone());
        let bodiless = request.method() == Method::HEAD;
        let effect = self.faults.strike(&record.event.subject, &record.event.repository);
        record.event.fault = effect.describe();
        if let Some(delay) = effect.delay {
            // The lateness is what the scenario asks for.
            tokio::time::sleep(delay).await;
        }
        let response = match effect.refusal() {
            Some(refusal) => refusal,
            None => self.respond(&request, &mut record.event).await,
        };
        record.event.status = response.status().as_u16();
        response.map(|body| Recorded::new(effect.shape(body), record, bodiless).boxed())
    }

    fn trouble(&self, text: String) {
        self.bus.push(What::Note { text: format!("gateway: {text}") });
    }
}

impl Proxy {
    /// What the node gets where nothing goes wrong on purpose.
    async fn respond(&self, request: &Request<Incoming>, event: &mut RegistryRequest) -> Response<Body> {
        if !self.is_authorized(request.headers()) {
            return unauthorized();
        }
        event.user.clone_from(&self.credentials.user);
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return refusal(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "the gateway lets nodes only read");
        }
        self.forward(request).await
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = given.and_then(|value| value.split_once(' ')) else { return false };
        let expected = format!("{}:{}", self.credentials.user, self.credentials.password);
        scheme.eq_ignore_ascii_case("basic")
            && STANDARD.decode(token.trim()).is_ok_and(|decoded| decoded == expected.as_bytes())
    }

    async fn forward(&self, request: &Request<Incoming>) -> Response<Body> {
        match self.client.request(self.for_backend(request)).await {
            Ok(mut response) => {
                remove_hop_headers(response.headers_mut());
                response.map(|body| body.map_err(Into::into).boxed())
            }
            Err(error) => {
                self.trouble(format!("no answer from the registry at {}: {error}", self.backend));
                refusal(StatusCode::BAD_GATEWAY, "UNAVAILABLE", "the gateway got no answer from the registry")
            }
        }
    }

    fn for_backend(&self, request: &Request<Incoming>) -> Request<Empty<Bytes>> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let mut forwarded = Request::new(Empty::new());
        *forwarded.method_mut() = request.method().clone();
        *forwarded.uri_mut() = format!("{}{path}", self.backend)
            .parse::<Uri>()
            .expect("a valid origin and the path of a valid URI make a valid URI");
        *forwarded.headers_mut() = request.headers().clone();
        remove_hop_headers(forwarded.headers_mut());
        // A request body, if there was any, is not forwarded; the credentials are the gateway's.
        forwarded.headers_mut().remove(header::CONTENT_LENGTH);
        forwarded.headers_mut().remove(header::AUTHORIZATION);
        forwarded
    }
}

fn remove_hop_headers(headers: &mut HeaderMap) {
    for name in NOT_FORWARDED {
        headers.remove(name);
    }
}

fn unauthorized() -> Response<Body> {
    let mut response = refusal(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", "authentication required");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"day1 harness registry\""));
    response
}

/// An error in the distribution API's form.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    let mut response = answer(status, "application/json", body.to_string());
    response.headers_mut().insert("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
    response
}

/// The record of one request; it pushes its event when it is dropped, which the answer's end does.
struct Record {
    event: RegistryRequest,
    began: Instant,
    /// The boot that the node was in when it asked; the answer may outlive it.
    boot: u32,
    progress: Arc<Progress>,
    bus: Bus,
}

impl Record {
    fn begin(request: &Request<Incoming>, progress: Arc<Progress>, bus: Bus) -> Self {
        let path = RegistryPath::parse(request.uri().path());
        let event = RegistryRequest {
            method: request.method().to_string(),
            path: request.uri().path_and_query().map_or_else(String::new, |path| path.to_string()),
            subject: path.subject_name().to_owned(),
            reference: path.reference().to_owned(),
            repository: path.repository,
            user_agent: request
                .headers()
                .get(header::USER_AGENT)
                .map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
            ..RegistryRequest::default()
        };
        Self { event, began: Instant::now(), boot: bus.boot(), progress, bus }
    }
}

impl Listen for Record {
    fn sent(&mut self, bytes: u64) {
        if self.event.subject == "blob" {
            for progress in self.progress.count(&self.event.repository, bytes) {
                self.bus.push_in(self.boot, What::RegistryProgress(progress));
            }
        }
    }

    fn ended(&mut self, ending: Ending) {
        self.event.bytes = ending.bytes;
        self.event.complete = ending.complete;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.event.took_us = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.bus.push_in(self.boot, What::Registry(std::mem::take(&mut self.event)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_told_once_when_its_share_is_reached() {
        let progress = Progress::new(vec![Mark { repository: "a".into(), bytes: 1000, percent: 50 }]);
        let told: Vec<usize> = [100, 300, 200, 500].map(|bytes| progress.count("a", bytes).len()).into();
        assert_eq!(told, [0, 0, 1, 0]);
        assert!(progress.count("b", 1000).is_empty());
    }

    #[test]
    fn a_backend_is_an_http_origin() {
        assert_eq!(origin("http://127.0.0.1:5000/").expect("an origin"), "http://127.0.0.1:5000");
        for bad in ["https://127.0.0.1:5000", "http://127.0.0.1/x", "127.0.0.1:5000", "unix:/x", ""] {
            assert!(matches!(origin(bad), Err(Error::Backend { .. })), "{bad}");
        }
    }
}
