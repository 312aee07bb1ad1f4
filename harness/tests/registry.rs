//! Registries in containers: refused in time where there is no engine, like the embedded one where there is, and gone
//! with the run that started them.
//!
//! What needs an engine is ignored unless asked for; `cargo xtask ci` asks for it where an engine answers. It uses the
//! image of `cargo xtask registry-image`, or what `DAY1_REGISTRY_IMAGE` names.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use day1_harness::services::push::push_layout;
use day1_harness::services::registry::{Backend, Registry, Source};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const DAY1: &str = env!("CARGO_BIN_EXE_day1");

/// `day1 run` with one good scenario, in a directory of its own.
struct Run {
    dir: TempDir,
    command: Command,
}

impl Run {
    fn new(registry: &str) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut command = Command::new(DAY1);
        command.args(["run", "--node", "debian-13", "--registry", registry, "pull-then-reboot", "--scenarios"]);
        command.arg(root.join("scenarios")).arg("--vm-images").arg(root.join("vm-images"));
        command.arg("--results").arg(dir.path().join("results")).arg("--cache").arg(dir.path().join("cache"));
        Self { dir, command }
    }

    /// With its exit code and standard error; nothing may have been built for it.
    fn refused(mut self, engine: &str) -> (Option<i32>, String) {
        let output = self.command.env("DOCKER_HOST", engine).output().expect("started");
        assert!(!self.dir.path().join("cache/node-image").exists(), "a node image was built for nothing");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

#[test]
fn without_an_engine_a_container_is_refused_before_anything_is_built() {
    let (code, error) = Run::new("container").refused("unix:///nonexistent/engine.sock");
    assert_eq!(code, Some(3), "{error}");
    for part in ["/nonexistent/engine.sock: No such file", "systemctl start docker", "DOCKER_HOST", "embedded"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    let (code, error) = Run::new("container").refused("tcp://192.0.2.1:2375");
    assert_eq!(code, Some(3), "{error}");
    assert!(error.contains("tcp://192.0.2.1:2375") && error.contains("on this host"), "{error}");
}

#[test]
fn what_names_no_image_is_bad_usage() {
    for bad in ["docker", "container=", "container=UPPER", "container=a b"] {
        let (code, error) = Run::new(bad).refused("unix:///nonexistent/engine.sock");
        assert_eq!(code, Some(2), "{bad}: {error}");
        assert!(error.contains("container=") && error.contains("--registry"), "{bad}: {error}");
    }
}

/// An engine without images that reaches no registry; gives what it was asked.
fn poor_engine(socket: &Path) -> Arc<Mutex<Vec<String>>> {
    let listener = UnixListener::bind(socket).expect("a listener");
    let asked = Arc::new(Mutex::new(Vec::new()));
    let requests = Arc::clone(&asked);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head);
            let line = head.lines().next().unwrap_or_default().to_owned();
            let (status, body) = match line.split(['?', ' ']).nth(1) {
                Some("/version") => {
                    ("200 OK", r#"{"Version":"5.8.0","Components":[{"Name":"Podman Engine","Version":"5.8.0"}]}"#)
                }
                Some("/containers/json") => ("200 OK", "[]"),
                Some("/images/create") => {
                    ("500 Internal Server Error", r#"{"message":"toomanyrequests: pull rate limit"}"#)
                }
                _ => ("404 Not Found", r#"{"message":"no such image"}"#),
            };
            requests.lock().expect("a lock").push(line);
            // Who only wants to know whether anyone listens has gone.
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    asked
}

#[test]
fn an_image_that_can_t_be_pulled_is_told_with_what_to_do() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let socket = dir.path().join("engine.sock");
    let asked = poor_engine(&socket);
    let (code, error) = Run::new("container=quay.io/day1/registry:7").refused(&format!("unix://{}", socket.display()));
    assert_eq!(code, Some(3), "{error}");
    let socket = socket.display().to_string();
    for part in ["podman 5.8.0", &socket, "quay.io/day1/registry:7", "pull rate limit", "docker load", "registry-image"]
    {
        assert!(error.contains(part), "{part}: {error}");
    }
    let asked = asked.lock().expect("a lock").join("\n");
    assert!(asked.contains("POST /images/create") && !asked.contains("/containers/create"), "{asked}");
}

fn image() -> String {
    std::env::var("DAY1_REGISTRY_IMAGE").unwrap_or_else(|_| "day1/registry:debian".into())
}

async fn in_a_container() -> Source {
    let backend: Backend = format!("container={}", image()).parse().expect("an image");
    backend.source(Path::new(DAY1), &|step| eprintln!("{step}")).await.expect("an engine and the image")
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// As podman sends it.
const ACCEPT: &str = "application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.v1+prettyjws, \
    application/vnd.docker.distribution.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.index.v1+json";

/// An image layout that is being written.
struct Layout(PathBuf);

impl Layout {
    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let hex = hex::encode(Sha256::digest(bytes));
        let blobs = self.0.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).expect("made");
        std::fs::write(blobs.join(&hex), bytes).expect("written");
        json!({ "mediaType": media_type, "digest": format!("sha256:{hex}"), "size": bytes.len() })
    }

    fn image(&self, architecture: &str, layer: &[u8]) -> Value {
        let config =
            json!({ "architecture": architecture, "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let layer = self.blob("application/vnd.oci.image.layer.v1.tar+gzip", layer);
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] });
        self.blob(MANIFEST, manifest.to_string().as_bytes())
    }

    async fn push(&self, registry: &Registry, root: &Value, repository: &str, tags: &[&str]) -> String {
        let index = json!({ "schemaVersion": 2, "manifests": [root] });
        std::fs::write(self.0.join("index.json"), index.to_string()).expect("written");
        let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
        push_layout(registry.base_url(), &self.0, repository, &tags).await.expect("pushed")
    }
}

fn digest(descriptor: &Value) -> &str {
    descriptor["digest"].as_str().expect("a digest")
}

/// Asks a registry as a node does, and notes of each answer what podman looks at.
struct Node<'r> {
    registry: &'r Registry,
    client: Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>>,
    seen: Vec<String>,
}

impl Node<'_> {
    async fn ask(&mut self, method: &str, path: &str, range: Option<&str>) {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.registry.base_url()));
        request =
            request.header("accept", ACCEPT).header("user-agent", "containers/5.34.2 (github.com/containers/image)");
        if let Some(range) = range {
            request = request.header("range", range);
        }
        let response = self.client.request(request.body(Empty::new()).expect("a request")).await.expect("answered");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("a whole body").to_bytes();
        let header = |name: &str| head.headers.get(name).map_or("none", |value| value.to_str().expect("text"));
        let json = || serde_json::from_slice::<Value>(&body).unwrap_or_default();
        let mut seen = format!("{method} {path} {} → {}", range.unwrap_or_default(), head.status.as_u16());
        if path.ends_with("/tags/list") && head.status.is_success() {
            // Real ones list tags in any order.
            let mut tags: Vec<String> = serde_json::from_value(json()["tags"].clone()).expect("tags");
            tags.sort();
            seen += &format!(", {} {tags:?}", json()["name"]);
        } else if head.status.is_success() {
            let media_type = header("content-type").split(';').next().unwrap_or_default();
            let (digest, length) = (header("docker-content-digest"), header("content-length"));
            seen += &format!(", {media_type}, {digest}, {length} bytes, body {}", hex::encode(Sha256::digest(&body)));
        } else if method != "HEAD" && head.status != StatusCode::RANGE_NOT_SATISFIABLE {
            // Go's file server answers in plain text where a range is the trouble.
            seen += &format!(", {}", json()["errors"][0]["code"]);
        }
        self.seen.push(format!("{seen}, range {}", header("content-range")));
    }
}

const REPOSITORY: &str = "quay.io/day1/day1-nic";

/// All that trials do to a registry, and all that their nodes may ask it; gives what a node sees.
async fn contract(source: &Source) -> Vec<String> {
    let dir = tempfile::tempdir().expect("temporary directory");
    let registry = source.start(dir.path()).await.expect("a registry");
    let layout = Layout(dir.path().join("layout"));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let mut node = Node { registry: &registry, client, seen: Vec::new() };
    let manifest = |repository: &str, reference: &str| format!("/v2/{repository}/manifests/{reference}");

    node.ask("GET", "/v2/", None).await;
    node.ask("GET", &manifest(REPOSITORY, "6.12.0_rt"), None).await;
    node.ask("GET", &format!("/v2/{REPOSITORY}/tags/list"), None).await;

    // Larger than what is pushed at once.
    let layer: Vec<u8> = (0..9_000_000_u32).map(|i| (i % 251) as u8).collect();
    let first = layout.image("amd64", &layer);
    let long = "t".repeat(128);
    assert_eq!(layout.push(&registry, &first, REPOSITORY, &["6.12.0_rt", &long, "latest"]).await, digest(&first));
    for reference in ["6.12.0_rt", &long, digest(&first)] {
        node.ask("HEAD", &manifest(REPOSITORY, reference), None).await;
        node.ask("GET", &manifest(REPOSITORY, reference), None).await;
    }
    node.ask("GET", &format!("/v2/{REPOSITORY}/tags/list"), None).await;
    let blob = format!("/v2/{REPOSITORY}/blobs/sha256:{}", hex::encode(Sha256::digest(&layer)));
    node.ask("HEAD", &blob, None).await;
    node.ask("GET", &blob, None).await;
    // A cut blob is asked for from where it was cut.
    for range in ["bytes=0-0", "bytes=7000000-", "bytes=5-9000005", "bytes=-10", "bytes=9000000-"] {
        node.ask("GET", &blob, Some(range)).await;
    }

    // What is not there, in all ways.
    let zeros = format!("sha256:{}", "0".repeat(64));
    for reference in ["6.1.0", &zeros] {
        node.ask("HEAD", &manifest(REPOSITORY, reference), None).await;
        node.ask("GET", &manifest(REPOSITORY, reference), None).await;
        node.ask("GET", &manifest("quay.io/day1/none", reference), None).await;
    }
    node.ask("HEAD", &format!("/v2/{REPOSITORY}/blobs/{zeros}"), None).await;
    node.ask("GET", &format!("/v2/{REPOSITORY}/blobs/{zeros}"), None).await;

    // A tag moves, and what it named stays.
    let second = layout.image("amd64", b"another layer");
    layout.push(&registry, &second, REPOSITORY, &["6.12.0_rt"]).await;
    for reference in ["6.12.0_rt", "latest", digest(&first), digest(&second)] {
        node.ask("GET", &manifest(REPOSITORY, reference), None).await;
    }
    // And back: all of it is there already.
    layout.push(&registry, &first, REPOSITORY, &["6.12.0_rt"]).await;
    node.ask("GET", &manifest(REPOSITORY, "6.12.0_rt"), None).await;

    // The same content under another name.
    layout.push(&registry, &first, "mirror/a__b/c-d", &["6.12.0_rt"]).await;
    node.ask("GET", &manifest("mirror/a__b/c-d", "6.12.0_rt"), None).await;
    node.ask("GET", &blob.replace(REPOSITORY, "mirror/a__b/c-d"), None).await;

    // An index, with another platform's image; a layer that is no archive, as a truncated one is none; an empty one.
    let arm64 = layout.image("arm64", &layer[..1000]);
    let of = |image: &Value, architecture: &str| {
        let mut image = image.clone();
        image["platform"] = json!({ "architecture": architecture, "os": "linux" });
        image
    };
    let index =
        json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [of(&second, "amd64"), of(&arm64, "arm64")] });
    let index = layout.blob(INDEX, index.to_string().as_bytes());
    layout.push(&registry, &index, "index", &["latest"]).await;
    for reference in ["latest", digest(&index), digest(&arm64)] {
        node.ask("GET", &manifest("index", reference), None).await;
    }
    layout.push(&registry, &layout.image("arm64", b""), "empty", &["latest"]).await;
    node.ask("GET", &manifest("empty", "latest"), None).await;
    node.ask("GET", &format!("/v2/empty/blobs/sha256:{}", hex::encode(Sha256::digest(b""))), None).await;

    let seen = node.seen;
    registry.stop().await;
    seen
}

#[tokio::test]
async fn the_embedded_registry_gives_the_same_answers_each_time() {
    let first = contract(&Source::Embedded).await;
    assert!(first.iter().any(|line| line.contains("→ 206")), "{first:#?}");
    assert!(first.iter().any(|line| line.contains("→ 416")), "{first:#?}");
    assert!(first.iter().any(|line| line.contains("MANIFEST_UNKNOWN")), "{first:#?}");
    assert_eq!(first, contract(&Source::Embedded).await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine and the image of `cargo xtask registry-image`"]
async fn a_node_can_t_tell_a_registry_in_a_container_from_the_embedded_one() {
    let (embedded, container) = (contract(&Source::Embedded).await, contract(&in_a_container().await).await);
    let differences: Vec<_> = embedded.iter().zip(&container).filter(|(ours, theirs)| ours != theirs).collect();
    assert!(differences.is_empty() && embedded.len() == container.len(), "embedded, container: {differences:#?}");
}

/// Runs the engine's own program; gives what it prints, or what went wrong.
fn try_docker(words: &[&str]) -> Result<String, String> {
    let output = Command::new("docker").args(words).output().expect("docker is on the PATH");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn docker(words: &[&str]) -> String {
    try_docker(words).unwrap_or_else(|error| panic!("docker {words:?}: {error}"))
}

/// The containers of the run of a process, running or not, by name.
fn containers_of(pid: u32) -> Vec<String> {
    let all = docker(&["ps", "--all", "--filter", "label=day1.run", "--format", r#"{{.Names}} {{.Label "day1.run"}}"#]);
    let of_run = |line: &&str| line.split('/').nth_back(1) == Some(&pid.to_string());
    all.lines().filter(of_run).filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect()
}

/// Waits until something is so, but not for ever.
fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "no {what} within 30 s");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn port_of(container: &str) -> u16 {
    let addresses = docker(&["port", container]);
    let [address] = addresses.lines().collect::<Vec<_>>()[..] else { panic!("one port, not {addresses}") };
    let (_, address) = address.split_once(" -> ").expect("an address");
    address.strip_prefix("127.0.0.1:").expect("an address on loopback").parse().expect("a port")
}

/// The container of a registry, by its port.
fn container_of(registry: &Registry) -> String {
    let port: u16 = registry.base_url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let mine = containers_of(std::process::id());
    mine.into_iter().find(|name| !docker(&["port", name]).is_empty() && port_of(name) == port).expect("a container")
}

/// All containers.
fn names() -> Vec<String> {
    docker(&["ps", "--all", "--format", "{{.Names}}"]).lines().map(str::to_owned).collect()
}

fn is_left(container: &str, volume: &str, port: u16) -> bool {
    let volumes = docker(&["volume", "ls", "--format", "{{.Name}}"]);
    names().iter().any(|name| name == container)
        || volumes.lines().any(|name| name == volume)
        || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// An image made of the registry's, with another environment; goes with the value.
struct Altered(String);

impl Altered {
    fn new(name: &str, variables: &str) -> Self {
        let container = docker(&["create", &image()]);
        let tag = format!("day1/registry-test-{}:{name}", std::process::id());
        let change = format!("ENV {variables}");
        let committed = try_docker(&["commit", "--change", &change, &container, &tag]);
        docker(&["rm", "--volumes", &container]);
        assert!(committed.is_ok(), "{change}: {committed:?}");
        Self(tag)
    }

    fn registry(&self) -> String {
        format!("container={}", self.0)
    }
}

impl Drop for Altered {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", &self.0]).output();
    }
}

#[test]
#[ignore = "needs a container engine and the image of `cargo xtask registry-image`"]
fn a_run_that_is_killed_leaves_no_container_volume_or_port() {
    // It listens elsewhere, so that the run waits for it until it is killed.
    let mute = Altered::new("mute", "REGISTRY_HTTP_ADDR=:5001");
    for signal in [Signal::SIGKILL, Signal::SIGINT, Signal::SIGTERM, Signal::SIGABRT] {
        let mut run = Run::new(&mute.registry());
        let mut process = run.command.stderr(Stdio::null()).spawn().expect("started");
        let pid = process.id();
        let container = eventually("container", || containers_of(pid).pop());
        // The engine lists a container a moment before it knows of it, and has its port when it runs.
        let volume = ["inspect", "--format", "{{range .Mounts}}{{.Name}}{{end}}", &container];
        let volume = eventually("volume", || try_docker(&volume).ok().filter(|name| !name.is_empty()));
        let port = eventually("port", || (!docker(&["port", &container]).is_empty()).then(|| port_of(&container)));
        assert!(is_left(&container, &volume, port), "it runs");
        assert!(process.try_wait().expect("asked").is_none(), "it waits for its registry");
        kill(Pid::from_raw(i32::try_from(pid).expect("a process id")), signal).expect("killed");
        process.wait().expect("ended");
        eventually("end of all that belonged to it", || (!is_left(&container, &volume, port)).then_some(()));
        assert_eq!(containers_of(pid), Vec::<String>::new(), "{signal}");
    }
}

#[test]
#[ignore = "needs a container engine and the image of `cargo xtask registry-image`"]
fn a_run_that_is_killed_while_its_container_is_created_leaves_none() {
    for wait_ms in (0..300).step_by(25) {
        let mut run = Run::new(&format!("container={}", image()));
        let mut process = run.command.stderr(Stdio::null()).spawn().expect("started");
        std::thread::sleep(Duration::from_millis(wait_ms));
        process.kill().expect("killed");
        process.wait().expect("ended");
        let pid = process.id();
        let holders = || {
            let processes = std::fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
            let lines = processes.filter_map(|one| std::fs::read_to_string(one.path().join("cmdline")).ok());
            lines.filter(|line| line.contains("hold-registry") && line.contains(&format!("/{pid}/"))).count()
        };
        // The engine can't begin anything for it any more then.
        eventually("end of what held its container", || (holders() == 0).then_some(()));
        assert_eq!(containers_of(pid), Vec::<String>::new(), "killed after {wait_ms} ms");
    }
}

#[test]
#[ignore = "needs a container engine and the image of `cargo xtask registry-image`"]
fn a_registry_that_does_not_serve_is_told_with_its_last_words() {
    let broken = Altered::new("broken", "REGISTRY_LOG_LEVEL=nonsense");
    let guarded =
        Altered::new("guarded", "REGISTRY_AUTH=silly REGISTRY_AUTH_SILLY_REALM=a REGISTRY_AUTH_SILLY_SERVICE=b");
    for (image, parts) in [(&broken, ["exit code 1", "nonsense"]), (&guarded, ["401", "without a password"])] {
        let output = Run::new(&image.registry()).command.output().expect("started");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{error}");
        for part in parts.iter().chain([&"Docker", &image.0.as_str()]) {
            assert!(error.contains(part), "{part}: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine and the image of `cargo xtask registry-image`"]
async fn each_trial_has_a_registry_of_its_own_and_its_end_is_noticed() {
    let source = in_a_container().await;
    assert!(source.image_id().is_some_and(|id| id.starts_with("sha256:")), "{source}");
    let dir = tempfile::tempdir().expect("temporary directory");
    let (one, other) = (source.start(dir.path()).await.expect("one"), source.start(dir.path()).await.expect("other"));
    let layout = Layout(dir.path().join("layout"));
    layout.push(&one, &layout.image("amd64", b"layer"), REPOSITORY, &["t"]).await;
    let client: Client<_, Empty<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("{}/v2/{REPOSITORY}/tags/list", other.base_url());
    let response = client.get(url.parse().expect("a URL")).await.expect("answered");
    assert_eq!(response.status(), StatusCode::NOT_FOUND, "what one trial pushed is in another's registry");

    let (first, second) = (container_of(&one), container_of(&other));
    docker(&["kill", &first]);
    let why = tokio::time::timeout(Duration::from_secs(20), one.ended()).await.expect("its end is noticed");
    assert!(why.contains("exit code 137"), "{why}");
    one.stop().await;
    assert!(!names().contains(&first), "{first} is left");
    assert!(tokio::time::timeout(Duration::from_millis(300), other.ended()).await.is_err(), "the other one lives");
    let panicked = tokio::spawn(async move {
        let _registry = other;
        panic!("on purpose");
    });
    assert!(panicked.await.is_err());
    assert!(!names().contains(&second), "{second} is left");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a container engine and the image of `cargo xtask registry-image`"]
async fn what_a_dead_run_left_goes_when_the_next_one_starts() {
    let source = in_a_container().await;
    let dir = tempfile::tempdir().expect("temporary directory");
    let living = source.start(dir.path()).await.expect("a registry");
    let run = docker(&["inspect", "--format", r#"{{index .Config.Labels "day1.run"}}"#, &container_of(&living)]);
    let (before, start) = run.rsplit_once('/').expect("parts");
    let dead = format!("{before}/{}", start.parse::<u64>().expect("a start") - 1);
    let create = |label: &str| docker(&["create", "--label", &format!("day1.run={label}"), &image()]);
    let (of_dead, of_living, of_others) = (create(&dead), create(&run), create("not ours"));
    let next = source.start(dir.path()).await.expect("another registry");
    let ids = docker(&["ps", "--all", "--no-trunc", "--quiet"]);
    let left = [&of_dead, &of_living, &of_others].map(|id| ids.contains(id.as_str()));
    docker(&["rm", "--force", "--volumes", &of_living, &of_others]);
    assert_eq!(left, [false, true, true]);
    assert!(names().contains(&container_of(&living)));
    next.stop().await;
    living.stop().await;
}
