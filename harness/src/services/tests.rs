//! The services together: real HTTP over abstract sockets and loopback.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::certs::Authority;
use super::config_server::{ConfigServer, PoolConfig, pointer_config};
use super::gateway::{Behaviour, Gateway};
use super::push::push_layout;
use super::registry::{Registry, Source};
use super::{Availability, CONFIG_SERVER_ADDRESS, GATEWAY_ADDRESS};
use crate::cache::Cache;
use crate::timeline::{Bus, RegistryRequest, What};

const REPOSITORY: &str = "quay.io/vendor/driver";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

type Sender = http1::SendRequest<Full<Bytes>>;

struct Site {
    dir: TempDir,
    authority: Authority,
    registry: Registry,
    gateway: Gateway,
    bus: Bus,
}

impl Site {
    async fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(&dir.path().join("cache"))).expect("cache");
        let authority = Authority::open(&cache).expect("authority");
        let bus = Bus::new(None);
        let registry = Source::Embedded.start(dir.path()).await.expect("registry");
        let gateway =
            Gateway::start(&authority, registry.base_url(), Behaviour::default(), bus.clone()).expect("gateway");
        Self { dir, authority, registry, gateway, bus }
    }

    /// Pushes an image with one layer and gives its digest.
    async fn push(&self, layer: &[u8], tags: &[&str]) -> String {
        let layout = self.dir.path().join("layout");
        image(&layout, layer);
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        push_layout(self.registry.base_url(), &layout, REPOSITORY, &tags).await.expect("pushed")
    }

    async fn guest(&self) -> Sender {
        tls(self.gateway.socket(), &self.authority, GATEWAY_ADDRESS).await.expect("a TLS connection")
    }

    fn get(&self, path: &str) -> Request<Full<Bytes>> {
        let auth = format!("Basic {}", self.authority.credentials().basic());
        Request::get(path).header("host", "x").header("authorization", auth).body(Full::default()).expect("a request")
    }

    /// The recorded requests, after everything has ended.
    async fn requests(self) -> Vec<RegistryRequest> {
        self.gateway.stop().await;
        let events = self.bus.events();
        let requests = events.iter().filter_map(|event| match &event.what {
            What::Registry(request) => Some(request.clone()),
            _ => None,
        });
        requests.collect()
    }
}

async fn tls(socket: &str, authority: &Authority, address: &'static str) -> std::io::Result<Sender> {
    let stream = tls_stream(socket, authority, address).await?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
    tokio::spawn(connection);
    Ok(sender)
}

async fn tls_stream(
    socket: &str,
    authority: &Authority,
    address: &'static str,
) -> std::io::Result<TlsStream<UnixStream>> {
    let stream = super::socket::connect(socket)?;
    stream.set_nonblocking(true)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("protocol versions")
        .with_root_certificates(authority.roots())
        .with_no_client_auth();
    let name = ServerName::try_from(address).expect("an address");
    TlsConnector::from(Arc::new(config)).connect(name, UnixStream::from_std(stream)?).await
}

async fn plain(base_url: &str) -> Sender {
    let stream = TcpStream::connect(base_url.trim_start_matches("http://")).await.expect("connected");
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a handshake");
    tokio::spawn(connection);
    sender
}

async fn body(response: Response<Incoming>) -> Bytes {
    response.into_body().collect().await.expect("a whole body").to_bytes()
}

async fn json_body(response: Response<Incoming>) -> Value {
    serde_json::from_slice(&body(response).await).expect("JSON")
}

fn header<'a>(response: &'a Response<Incoming>, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Writes a blob of a layout and gives its descriptor.
fn blob(layout: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = digest(bytes);
    let path = layout.join("blobs/sha256").join(&digest["sha256:".len()..]);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
    std::fs::write(path, bytes).expect("written");
    json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() })
}

fn write_index(layout: &Path, manifests: &[Value]) {
    let index = json!({ "schemaVersion": 2, "manifests": manifests });
    std::fs::write(layout.join("index.json"), index.to_string()).expect("written");
}

fn image(layout: &Path, layer: &[u8]) -> Value {
    let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
    let config = blob(layout, "application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
    let layer = blob(layout, "application/vnd.oci.image.layer.v1.tar", layer);
    let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
    let descriptor = blob(layout, MANIFEST, manifest.to_string().as_bytes());
    write_index(layout, std::slice::from_ref(&descriptor));
    descriptor
}

#[tokio::test]
async fn a_pushed_image_is_pulled_and_each_request_is_recorded() {
    let site = Site::new().await;
    let layer = b"layer".repeat(1000);
    let pushed = site.push(&layer, &["6.12.0-1", "latest"]).await;
    let mut guest = site.guest().await;

    let by_tag = guest.send_request(site.get(&format!("/v2/{REPOSITORY}/manifests/6.12.0-1"))).await.expect("answered");
    assert_eq!(by_tag.status(), StatusCode::OK);
    assert_eq!(header(&by_tag, "docker-content-digest"), pushed);
    assert_eq!(header(&by_tag, "content-type"), MANIFEST);
    let manifest = body(by_tag).await;
    assert_eq!(digest(&manifest), pushed);

    let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(&layer));
    let pulled = guest.send_request(site.get(&path)).await.expect("answered");
    assert_eq!(header(&pulled, "content-length"), layer.len().to_string());
    assert_eq!(body(pulled).await, layer);

    let mut head = site.get(&format!("/v2/{REPOSITORY}/manifests/{pushed}"));
    *head.method_mut() = hyper::Method::HEAD;
    head.headers_mut().insert("user-agent", "test/1".parse().expect("a value"));
    let head = guest.send_request(head).await.expect("answered");
    assert_eq!(header(&head, "content-length"), manifest.len().to_string());
    assert!(body(head).await.is_empty());

    let requests = site.requests().await;
    let [tag, pull, head] = requests.as_slice() else { panic!("three requests, not {requests:#?}") };
    assert_eq!((tag.subject.as_str(), tag.reference.as_str()), ("manifest", "6.12.0-1"));
    assert_eq!((tag.repository.as_str(), tag.status, tag.complete), (REPOSITORY, 200, true));
    assert_eq!(tag.user, "day1");
    assert_eq!((pull.subject.as_str(), pull.bytes, pull.complete), ("blob", layer.len() as u64, true));
    assert_eq!((head.method.as_str(), head.bytes, head.complete), ("HEAD", 0, true));
    assert_eq!(head.user_agent, "test/1");
}

#[tokio::test]
async fn without_the_right_password_nothing_is_answered() {
    let site = Site::new().await;
    site.push(b"layer", &["latest"]).await;
    let mut guest = site.guest().await;
    let wrong = base64::engine::general_purpose::STANDARD.encode("day1:wrong");
    for auth in [None, Some(format!("Basic {wrong}")), Some("Basic !".into()), Some("Bearer x".into())] {
        let mut request = Request::get("/v2/").header("host", "x");
        if let Some(auth) = auth {
            request = request.header("authorization", auth);
        }
        let response = guest.send_request(request.body(Full::default()).expect("a request")).await.expect("answered");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert!(header(&response, "www-authenticate").starts_with("Basic realm="));
        assert_eq!(json_body(response).await["errors"][0]["code"], "UNAUTHORIZED");
    }
    let right = guest.send_request(site.get("/v2/")).await.expect("answered");
    assert_eq!(right.status(), StatusCode::OK);
    body(right).await;
    let requests = site.requests().await;
    assert_eq!(requests.iter().map(|r| r.status).collect::<Vec<_>>(), [401, 401, 401, 401, 200]);
    assert!(requests.iter().all(|r| r.subject == "ping" && r.user.is_empty() == (r.status == 401)));
}

#[tokio::test]
async fn an_unknown_tag_is_a_manifest_unknown() {
    let site = Site::new().await;
    site.push(b"layer", &["latest"]).await;
    let mut guest = site.guest().await;
    let missing = site.get(&format!("/v2/{REPOSITORY}/manifests/6.1.0"));
    let response = guest.send_request(missing).await.expect("answered");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(json_body(response).await["errors"][0]["code"], "MANIFEST_UNKNOWN");
    let mut put = site.get(&format!("/v2/{REPOSITORY}/manifests/latest"));
    *put.method_mut() = hyper::Method::PUT;
    let refused = guest.send_request(put).await.expect("answered");
    assert_eq!(refused.status(), StatusCode::METHOD_NOT_ALLOWED, "a node only reads");
    body(refused).await;
    assert_eq!(site.requests().await.len(), 2);
}

#[tokio::test]
async fn a_cut_download_is_recorded_as_incomplete() {
    let site = Site::new().await;
    let layer = vec![7; 16 * 1024 * 1024];
    site.push(&layer, &["latest"]).await;
    let mut guest = site.guest().await;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(&layer));
    let mut response = guest.send_request(site.get(&path)).await.expect("answered");
    response.body_mut().frame().await.expect("a frame").expect("data");
    let mut events = site.bus.from_start();
    drop((response, guest));
    let event = tokio::time::timeout(Duration::from_secs(20), events.next()).await.expect("the event of the cut");
    let What::Registry(request) = &event.what else { panic!("a registry request, not {event:?}") };
    assert!(!request.complete);
    assert!(request.bytes < layer.len() as u64, "{} bytes", request.bytes);
}

#[tokio::test]
async fn stopping_the_gateway_records_what_was_under_way() {
    let site = Site::new().await;
    let layer = vec![7; 16 * 1024 * 1024];
    site.push(&layer, &["latest"]).await;
    let mut guest = site.guest().await;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(&layer));
    let _response = guest.send_request(site.get(&path)).await.expect("answered");
    let requests = site.requests().await;
    assert_eq!(requests.iter().map(|r| (r.status, r.complete)).collect::<Vec<_>>(), [(200, false)]);
}

#[tokio::test]
async fn a_range_is_answered_with_that_range() {
    let site = Site::new().await;
    let layer: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
    site.push(&layer, &["latest"]).await;
    let mut guest = site.guest().await;
    let path = format!("/v2/{REPOSITORY}/blobs/{}", digest(&layer));
    let mut request = site.get(&path);
    request.headers_mut().insert("range", "bytes=70000-".parse().expect("a value"));
    let response = guest.send_request(request).await.expect("answered");
    assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&response, "content-range"), "bytes 70000-199999/200000");
    assert_eq!(body(response).await, layer[70_000..]);
    let mut request = site.get(&path);
    request.headers_mut().insert("range", "bytes=200000-".parse().expect("a value"));
    let response = guest.send_request(request).await.expect("answered");
    assert_eq!(response.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(header(&response, "content-range"), "bytes */200000");
}

#[tokio::test]
async fn an_unreachable_registry_cuts_and_refuses_until_it_is_back() {
    let site = Site::new().await;
    site.push(b"layer", &["latest"]).await;
    let mut early = site.guest().await;
    body(early.send_request(site.get("/v2/")).await.expect("answered")).await;
    site.gateway.set_availability(Availability::Down);
    let connected = tls(site.gateway.socket(), &site.authority, GATEWAY_ADDRESS).await;
    assert!(connected.is_err(), "no TLS with a registry that is down");
    assert!(early.send_request(site.get("/v2/")).await.is_err(), "earlier connections are cut");
    site.gateway.set_availability(Availability::Serving);
    let mut late = site.guest().await;
    assert_eq!(late.send_request(site.get("/v2/")).await.expect("answered").status(), StatusCode::OK);
}

#[tokio::test]
async fn a_gateway_without_its_registry_says_so() {
    let site = Site::new().await;
    let mut guest = site.guest().await;
    let Site { registry, authority, bus, gateway, .. } = site;
    let auth = format!("Basic {}", authority.credentials().basic());
    registry.stop().await;
    let request = Request::get("/v2/").header("host", "x").header("authorization", auth).body(Full::default());
    let response = guest.send_request(request.expect("a request")).await.expect("answered");
    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    gateway.stop().await;
    let told = |what: &What| matches!(what, What::Note { text } if text.contains("no answer from the registry"));
    assert!(bus.events().iter().any(|event| told(&event.what)), "{:?}", bus.events());
}

#[tokio::test]
async fn an_index_is_pushed_with_all_it_refers_to() {
    let site = Site::new().await;
    let layout = site.dir.path().join("layout");
    let manifest = image(&layout, b"layer");
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [manifest] });
    let index = blob(&layout, INDEX, index.to_string().as_bytes());
    write_index(&layout, std::slice::from_ref(&index));
    let pushed = push_layout(site.registry.base_url(), &layout, "driver", &["t".to_owned()]).await.expect("pushed");
    assert_eq!(pushed, index["digest"]);
    let mut client = plain(site.registry.base_url()).await;
    for reference in ["t", manifest["digest"].as_str().expect("a digest")] {
        let request = Request::get(format!("/v2/driver/manifests/{reference}")).header("host", "x");
        let response = client.send_request(request.body(Full::default()).expect("a request")).await.expect("answered");
        assert_eq!(response.status(), StatusCode::OK, "{reference}");
        body(response).await;
    }
    let tags = Request::get("/v2/driver/tags/list").header("host", "x").body(Full::default()).expect("a request");
    let tags = json_body(client.send_request(tags).await.expect("answered")).await;
    assert_eq!(tags, json!({ "name": "driver", "tags": ["t"] }));
}

#[tokio::test]
async fn a_broken_layout_is_not_pushed() {
    let site = Site::new().await;
    let layout = site.dir.path().join("layout");
    let push = || async {
        push_layout(site.registry.base_url(), &layout, REPOSITORY, &["t".to_owned()])
            .await
            .expect_err("refused")
            .to_string()
    };
    std::fs::create_dir(&layout).expect("made");
    assert!(push().await.contains("index.json"), "no index");
    let manifest = image(&layout, b"layer");
    let path = layout.join("blobs/sha256").join(&manifest["digest"].as_str().expect("a digest")["sha256:".len()..]);
    let whole = std::fs::read(&path).expect("read");
    std::fs::write(&path, &whole[1..]).expect("written");
    assert!(push().await.contains("has the digest sha256:"), "a manifest that was changed");
    std::fs::write(&path, &whole).expect("written");
    let layer = layout.join("blobs/sha256").join(&digest(b"layer")["sha256:".len()..]);
    std::fs::write(&layer, b"lay").expect("written");
    assert!(push().await.contains("has 3 bytes and should have 5"), "a layer that was cut");
    std::fs::write(&layer, b"reyal").expect("written");
    let error = push().await;
    assert!(error.contains("cannot push blob sha256:"), "a layer that was changed: {error}");
    write_index(&layout, &[manifest.clone(), manifest]);
    assert!(push().await.contains("lists 2 images"), "two images");
}

#[tokio::test]
async fn the_registry_refuses_what_does_not_fit() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let registry = Source::Embedded.start(dir.path()).await.expect("registry");
    let mut client = plain(registry.base_url()).await;
    let manifest = json!({ "config": { "digest": digest(b"no") }, "layers": [] }).to_string();
    let zeros = "0".repeat(64);
    let cases = [
        ("PUT", "/v2/a/manifests/t".to_owned(), manifest.as_str(), "MANIFEST_BLOB_UNKNOWN"),
        ("PUT", "/v2/a/manifests/t".to_owned(), "no json", "MANIFEST_INVALID"),
        ("PUT", format!("/v2/a/manifests/sha256:{zeros}"), "{}", "DIGEST_INVALID"),
        ("PUT", "/v2/a/manifests/.t".to_owned(), "{}", "TAG_INVALID"),
        ("GET", "/v2/a/../b/manifests/t".to_owned(), "", "NAME_INVALID"),
        ("GET", "/v2/A/manifests/t".to_owned(), "", "NAME_INVALID"),
        ("GET", format!("/v2/a/blobs/sha256:{zeros}"), "", "BLOB_UNKNOWN"),
        ("GET", "/v2/a/blobs/sha256:..".to_owned(), "", "DIGEST_INVALID"),
        ("GET", "/v2/a/tags/list".to_owned(), "", "NAME_UNKNOWN"),
        ("PATCH", "/v2/a/blobs/uploads/..".to_owned(), "", "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH", "/v2/a/blobs/uploads/00000000-0000-0000-0000-000000000000".to_owned(), "", "BLOB_UPLOAD_UNKNOWN"),
        ("DELETE", "/v2/a/manifests/t".to_owned(), "", "UNSUPPORTED"),
    ];
    for (method, path, content, code) in cases {
        let request = Request::builder().method(method).uri(&path).header("host", "x");
        let request = request.body(Full::from(content.to_owned())).expect("a request");
        let response = client.send_request(request).await.expect("answered");
        assert!(!response.status().is_success());
        assert_eq!(json_body(response).await["errors"][0]["code"], code, "{method} {path}");
    }
}

#[tokio::test]
async fn a_chunk_must_be_the_next_one() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let registry = Source::Embedded.start(dir.path()).await.expect("registry");
    let mut client = plain(registry.base_url()).await;
    let mut send = async |method: &str, uri: &str, range: &str, content: &'static [u8]| {
        let request = Request::builder().method(method).uri(uri).header("host", "x").header("content-range", range);
        let request = request.body(Full::from(content)).expect("a request");
        let response = client.send_request(request).await.expect("answered");
        let answer =
            (response.status(), header(&response, "location").to_owned(), header(&response, "range").to_owned());
        body(response).await;
        answer
    };
    let (_, location, _) = send("POST", "/v2/a/blobs/uploads/", "", b"").await;
    assert_eq!(send("PATCH", &location, "0-2", b"one").await.2, "0-2");
    assert_eq!(send("PATCH", &location, "0-2", b"one").await.0, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(send("PATCH", &location, "3-5", b"two").await.2, "0-5");
    let target = format!("{location}?digest={}", digest(b"onetwoend"));
    assert_eq!(send("PUT", &target, "", b"end").await.0, StatusCode::CREATED);
    assert_eq!(send("HEAD", &format!("/v2/a/blobs/{}", digest(b"onetwoend")), "", b"").await.0, StatusCode::OK);
}

async fn fetch(sender: &mut Sender, path: &str, accept: &str) -> (StatusCode, Bytes) {
    let request =
        Request::get(path).header("host", "x").header("accept", accept).header("user-agent", "Ignition/2.21.0");
    let response = sender.send_request(request.body(Full::default()).expect("a request")).await.expect("answered");
    (response.status(), body(response).await)
}

fn config_server() -> (TempDir, Authority, Bus, ConfigServer) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let authority = Authority::open(&Cache::open(Some(dir.path())).expect("cache")).expect("authority");
    let bus = Bus::new(None);
    let server = ConfigServer::start(&authority, bus.clone()).expect("config server");
    (dir, authority, bus, server)
}

#[tokio::test]
async fn the_config_server_serves_exact_bytes_and_records_them() {
    let (_dir, authority, bus, server) = config_server();
    let config = Bytes::from_static(b"{ \"ignition\": {\"version\":\"3.2.0\"}, \"x\": 1 }\n");
    let mut node = tls(server.socket(), &authority, CONFIG_SERVER_ADDRESS).await.expect("a TLS connection");
    let current = "application/vnd.coreos.ignition+json;version=3.5.0, */*;q=0.1";
    let old = "application/vnd.coreos.ignition+json;version=3.1.0, */*;q=0.1";

    assert_eq!(fetch(&mut node, "/config/worker", current).await.0, StatusCode::NOT_FOUND);
    server.set("worker", PoolConfig::NotReady).expect("set");
    assert_eq!(fetch(&mut node, "/config/worker", current).await.0, StatusCode::SERVICE_UNAVAILABLE);
    // A node that has to ask again makes a connection of its own for it.
    let mut node = tls(server.socket(), &authority, CONFIG_SERVER_ADDRESS).await.expect("a TLS connection");
    server.set("worker", PoolConfig::Ready(config.clone())).expect("set");
    assert_eq!(fetch(&mut node, "/config/worker", old).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(fetch(&mut node, "/config/infra", current).await.0, StatusCode::NOT_FOUND);
    assert_eq!(fetch(&mut node, "/config/worker", current).await, (StatusCode::OK, config.clone()));
    assert!(server.set("worker", PoolConfig::Ready(Bytes::from_static(b"{}"))).is_err());
    server.stop().await;

    let events = bus.events();
    let served: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::ConfigServed(served) => Some((served.status, served.path.as_str())),
            _ => None,
        })
        .collect();
    let worker = "/config/worker";
    assert_eq!(served, [(404, worker), (503, worker), (400, worker), (404, "/config/infra"), (200, worker)]);
    let Some(What::ConfigServed(last)) = events.last().map(|event| &event.what) else { panic!("{events:?}") };
    assert_eq!(last.sha256, hex::encode(Sha256::digest(&config)));
    assert_eq!((last.bytes, last.user_agent.as_str()), (config.len() as u64, "Ignition/2.21.0"));
}

#[tokio::test]
async fn the_config_server_is_idle_when_its_answers_were_read() {
    let (_dir, authority, bus, server) = config_server();
    server.set("worker", PoolConfig::NotReady).expect("set");
    let mut events = bus.from_start();
    let mut node = tls_stream(server.socket(), &authority, CONFIG_SERVER_ADDRESS).await.expect("a TLS connection");
    node.write_all(b"GET /config/worker HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("sent");
    assert!(matches!(&events.next().await.what, What::ConfigServed(served) if served.status == 503));
    // The answer is on its way, and the node has not read it.
    assert!(tokio::time::timeout(Duration::from_millis(100), server.is_idle()).await.is_err());
    let mut answer = vec![0; 1024];
    let count = node.read(&mut answer).await.expect("the answer");
    let answer = String::from_utf8_lossy(&answer[..count]).to_lowercase();
    assert!(answer.contains("503") && answer.contains("connection: close"), "{answer}");
    node.shutdown().await.expect("closed");
    tokio::time::timeout(Duration::from_secs(5), server.is_idle())
        .await
        .expect("idle before the server's own patience ends");
}

#[tokio::test]
async fn each_server_shows_its_own_certificate() {
    let site = Site::new().await;
    let error =
        tls(site.gateway.socket(), &site.authority, CONFIG_SERVER_ADDRESS).await.map(drop).expect_err("refused");
    assert!(error.to_string().contains("certificate not valid for name"), "{error}");
}

#[test]
fn the_pointer_config_is_valid_ignition() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let authority = Authority::open(&Cache::open(Some(dir.path())).expect("cache")).expect("authority");
    let config = pointer_config(&authority, "worker", None);
    let (parsed, warnings) = ignition_config::Config::parse_slice(&config).expect("Ignition");
    assert!(warnings.is_empty(), "{warnings:?}");
    let parsed = serde_json::to_value(parsed).expect("JSON");
    let source = parsed.pointer("/ignition/config/merge/0/source").expect("a source");
    assert_eq!(source, "https://10.0.2.101:22623/config/worker");
    crate::mco::ignition_validate(&config);
}
