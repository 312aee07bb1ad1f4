//! The stand-in for the Machine Config Server: it serves rendered configs to pointer Ignition.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::certs::Authority;
use super::recorded::{Ending, Listen, Recorded};
use super::server::{Availability, Body, Listener, Server, Service, answer, full};
use super::{CONFIG_SERVER_ADDRESS, CONFIG_SERVER_PORT};
use crate::timeline::{Bus, ConfigServed, What};

/// The media type that Ignition asks for.
const IGNITION: &str = "application/vnd.coreos.ignition+json";

/// What the server answers for a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolConfig {
    /// 503: nothing is rendered yet; Ignition asks again.
    NotReady,
    /// A rendered config, byte for byte.
    Ready(Bytes),
}

/// A running config server; dropping it ends it.
pub struct ConfigServer {
    server: Server,
    socket: String,
    pools: Arc<Pools>,
}

/// Why a config can't be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No listener.
    #[error("cannot listen on an abstract unix socket for the config server: {0}")]
    Listen(#[from] io::Error),
    /// The config has no version.
    #[error("the config for pool {pool} is no Ignition config: `ignition.version` is missing or not MAJOR.MINOR.PATCH")]
    NotIgnition {
        /// The pool.
        pool: String,
    },
}

impl ConfigServer {
    /// Starts a server without any pool, on the current tokio runtime. What it serves is recorded on `bus`.
    pub fn start(authority: &Authority, bus: Bus) -> Result<Self, Error> {
        let pools = Arc::new(Pools { answers: Mutex::default(), bus });
        let (listener, socket) = Listener::unix()?;
        let server = Server::start(listener, Some(authority.config_server_tls()), Arc::clone(&pools));
        Ok(Self { server, socket, pools })
    }

    /// Sets what a pool gets from the next request on. A pool that was never set gets 404.
    pub fn set(&self, pool: &str, config: PoolConfig) -> Result<(), Error> {
        let answer = match config {
            PoolConfig::NotReady => Answer::NotReady,
            PoolConfig::Ready(bytes) => {
                let version = version_of(&bytes).ok_or_else(|| Error::NotIgnition { pool: pool.to_owned() })?;
                Answer::Ready { bytes, version }
            }
        };
        self.pools.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(pool.to_owned(), answer);
        Ok(())
    }

    /// The abstract socket's name, for [`super::socket::connect_stdio`].
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// Takes the server down or up again, before another connection is taken.
    pub fn set_availability(&self, availability: Availability) {
        self.server.set_availability(availability);
    }

    /// Waits until no connection is open: whoever was answered has read the answer and gone.
    pub async fn is_idle(&self) {
        self.server.is_idle().await;
    }

    /// Ends it; every answer has its event when this returns.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// The pointer Ignition (spec 3.2.0) of a pool's nodes: it merges the pool's rendered config from the config
/// server and trusts the authority, as the MCO writes it for a new node; and it merges another config, if there is one.
pub fn pointer_config(authority: &Authority, pool: &str, another: Option<&Value>) -> Vec<u8> {
    let source = format!("https://{CONFIG_SERVER_ADDRESS}:{CONFIG_SERVER_PORT}/config/{pool}");
    let ca = format!("data:text/plain;charset=utf-8;base64,{}", STANDARD.encode(authority.ca_pem()));
    let mut merge = vec![json!({ "source": source })];
    if let Some(another) = another {
        merge.push(json!({ "source": format!("data:;base64,{}", STANDARD.encode(another.to_string())) }));
    }
    json!({
        "ignition": {
            "version": "3.2.0",
            "config": { "merge": merge },
            "security": { "tls": { "certificateAuthorities": [{ "source": ca }] } },
        }
    })
    .to_string()
    .into_bytes()
}

struct Pools {
    answers: Mutex<BTreeMap<String, Answer>>,
    bus: Bus,
}

#[derive(Clone)]
enum Answer {
    NotReady,
    Ready { bytes: Bytes, version: Version },
}

impl Service for Pools {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let (status, content_type, body) = self.respond(&request);
        let event = ConfigServed {
            path: request.uri().path().to_owned(),
            status: status.as_u16(),
            sha256: hex::encode(Sha256::digest(&body)),
            bytes: body.len() as u64,
            user_agent: request
                .headers()
                .get(header::USER_AGENT)
                .map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned()),
        };
        let record = Record { event, bus: self.bus.clone() };
        if request.method() == Method::HEAD {
            let mut response = answer(status, content_type, Bytes::new());
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
            return response;
        }
        let mut response =
            answer(status, content_type, Bytes::new()).map(|_| Recorded::new(full(body), record, false).boxed());
        if status == StatusCode::SERVICE_UNAVAILABLE {
            // Who asks again later does so on a connection of its own.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn trouble(&self, text: String) {
        self.bus.push(What::Note { text: format!("config server: {text}") });
    }
}

impl Pools {
    fn respond(&self, request: &Request<Incoming>) -> (StatusCode, &'static str, Bytes) {
        let text = |status, text: String| (status, "text/plain; charset=utf-8", Bytes::from(text + "\n"));
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD".to_owned());
        }
        let path = request.uri().path();
        let pool = path.strip_prefix("/config/").unwrap_or_default();
        let answer = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(pool).cloned();
        match answer {
            None => text(StatusCode::NOT_FOUND, format!("no config at {path}")),
            Some(Answer::NotReady) => {
                text(StatusCode::SERVICE_UNAVAILABLE, format!("the config of pool {pool} is not rendered yet"))
            }
            Some(Answer::Ready { bytes, version }) => match newest_accepted(request.headers()) {
                Some(newest) if !newest.reads(version) => text(
                    StatusCode::BAD_REQUEST,
                    format!(
                        "the config of pool {pool} has spec {}.{}.{}, and the client reads {}.{}.{} at most",
                        version.0, version.1, version.2, newest.0, newest.1, newest.2
                    ),
                ),
                _ => (StatusCode::OK, "application/json", bytes),
            },
        }
    }
}

/// An Ignition spec version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.').map(|part| part.parse().ok());
        let version = Self(parts.next()??, parts.next()??, parts.next()??);
        parts.next().is_none().then_some(version)
    }

    /// Whether an Ignition whose newest spec is this one reads `config`: it does within one major version.
    fn reads(self, config: Self) -> bool {
        self.0 == config.0 && config <= self
    }
}

fn version_of(config: &[u8]) -> Option<Version> {
    let config: serde_json::Value = serde_json::from_slice(config).ok()?;
    Version::parse(config.pointer("/ignition/version")?.as_str()?)
}

/// The newest spec that the client accepts: `application/vnd.coreos.ignition+json;version=3.5.0, */*;q=0.1`.
///
/// A client that names none (a person with curl) gets the config as it is. The Machine Config Server would
/// convert to the client's version; here the bytes under test never change, so a node that is too old is
/// refused.
fn newest_accepted(headers: &HeaderMap) -> Option<Version> {
    let accept = headers.get(header::ACCEPT)?.to_str().ok()?;
    accept
        .split(',')
        .filter_map(|range| {
            let (media_type, parameters) = range.split_once(';')?;
            if !media_type.trim().eq_ignore_ascii_case(IGNITION) {
                return None;
            }
            let version = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("version="))?;
            Version::parse(version.trim().trim_matches('"'))
        })
        .max()
}

/// Pushes the event when the whole answer was handed to the connection, a note when it was cut.
struct Record {
    event: ConfigServed,
    bus: Bus,
}

impl Listen for Record {
    fn ended(&mut self, ending: Ending) {
        self.bus.push(if ending.complete {
            What::ConfigServed(std::mem::take(&mut self.event))
        } else {
            What::Note {
                text: format!(
                    "config server: the answer for {} was cut after {} of {} bytes",
                    self.event.path, ending.bytes, self.event.bytes
                ),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &str) -> HeaderMap {
        [(header::ACCEPT, HeaderValue::from_str(value).expect("a header value"))].into_iter().collect()
    }

    #[test]
    fn the_newest_ignition_version_of_the_accept_header_counts() {
        let ignition = "application/vnd.coreos.ignition+json;version=3.5.0, */*;q=0.1";
        assert_eq!(newest_accepted(&accepting(ignition)), Some(Version(3, 5, 0)));
        let old = "application/vnd.coreos.ignition+json; version=2.4.0, application/vnd.coreos.ignition+json; version=1; q=0.5, */*; q=0.1";
        assert_eq!(newest_accepted(&accepting(old)), Some(Version(2, 4, 0)));
        assert_eq!(newest_accepted(&accepting("*/*")), None);
        assert_eq!(newest_accepted(&HeaderMap::new()), None);
    }

    #[test]
    fn a_client_reads_its_own_major_version_up_to_its_own() {
        assert!(Version(3, 5, 0).reads(Version(3, 2, 0)));
        assert!(!Version(3, 1, 0).reads(Version(3, 2, 0)));
        assert!(!Version(4, 0, 0).reads(Version(3, 2, 0)));
        assert_eq!(Version::parse("3.2"), None);
        assert_eq!(Version::parse("3.2.0.1"), None);
    }
}
