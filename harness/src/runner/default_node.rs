//! The node image of a run that names none: Fedora CoreOS where it can be had, else the Debian stand-in.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::progress;
use crate::cache::{self, Cache};
use crate::containers::Engine;
use crate::node::{self, Catalogue, Source};
use crate::toolkit::{self, DriverToolkit};

/// The stand-in for a CoreOS node: it is built here, from Debian's packages.
pub const STAND_IN: &str = "debian-13";

/// What a run takes in its place where it can.
const COREOS: &str = "fedora-coreos-stable";

/// The longest time in which a stream answers.
const PATIENCE: Duration = Duration::from_millis(1500);

/// The longest time in which an engine answers; podman's service is started by the question.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);

/// For so long, a stream that could not be reached is not asked again.
const REMEMBERED: Duration = Duration::from_secs(60 * 60);

/// Where the cache remembers it.
const UNREACHABLE: &str = "unreachable";

/// Variables that say by which way an address is reached.
const PROXIES: [&str; 8] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"];

/// The node images of a run: those that it names, or else the default, which is told as a line of its own.
pub fn nodes(
    named: Vec<String>,
    vm_images: &Path,
    cache: Option<&Path>,
    toolkit: Option<&DriverToolkit>,
) -> Vec<String> {
    if !named.is_empty() {
        return named;
    }
    let default = default_node(vm_images, cache, toolkit);
    progress::warn(&format!("{default}"));
    vec![default.name.to_owned()]
}

/// The default, and why.
#[derive(Debug, PartialEq, Eq)]
struct Choice {
    name: &'static str,
    why: String,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node: {} ({})", self.name, self.why)
    }
}

fn default_node(vm_images: &Path, cache: Option<&Path>, toolkit: Option<&DriverToolkit>) -> Choice {
    let stand_in = |why: String| Choice { name: STAND_IN, why };
    // What is wrong with them, the run itself tells next.
    let cache = match Cache::open(cache) {
        Ok(cache) => cache,
        Err(error) => return stand_in(error.to_string()),
    };
    match Catalogue::open(vm_images, &cache) {
        Ok(catalogue) => choose(&cache, &catalogue, toolkit.is_some(), &engine),
        Err(error) => stand_in(error.to_string()),
    }
}

/// Fedora CoreOS, if its disk and the dummy modules for its kernel are in the cache or can be brought there. `engine` tells
/// why no container can be run.
fn choose(cache: &Cache, catalogue: &Catalogue, has_toolkit: bool, engine: &dyn Fn() -> Result<(), String>) -> Choice {
    let stand_in = |why: String| Choice { name: STAND_IN, why };
    let coreos = |why: String| Choice { name: COREOS, why };
    let Ok(definition) = catalogue.get(COREOS) else {
        return stand_in(format!("{COREOS} is not defined"));
    };
    let Source::CoreosStream(stream) = &definition.source else {
        return stand_in(format!("{COREOS} is defined in {} and no stream's", definition.file.display()));
    };
    let disk = node::find(cache, definition).ok().flatten();
    let image = disk.as_ref().and_then(|disk| node::known(cache, disk).ok().flatten());
    let has_modules = has_toolkit
        || image.is_some_and(|image| {
            image.facts.kernels.first().is_some_and(|kernel| toolkit::is_cached(cache, &kernel.release))
        });
    let release = disk.as_ref().and_then(|disk| disk.release.clone()).unwrap_or_default();
    let cached = format!("Fedora CoreOS stable {release} is in the cache");
    if disk.is_some() && has_modules {
        return coreos(cached);
    }
    if let Err(why) = reach(cache, stream.stream.as_str()) {
        let lacks = match disk {
            Some(_) => format!("{cached}, but what its modules are built in is not"),
            None => "Fedora CoreOS stable is not in the cache".to_owned(),
        };
        return stand_in(format!("{lacks}, and {} can't be reached: {why}", stream.stream.as_str()));
    }
    if !has_modules && let Err(why) = engine() {
        return stand_in(format!(
            "modules for Fedora CoreOS stable are built in a container, or with --driver-toolkit, and {why}"
        ));
    }
    match disk {
        Some(_) => coreos(format!("{cached}; modules for its kernel are built in a container")),
        None => coreos(format!(
            "{} can be reached: some 800 MiB of disk image are downloaded, and modules are built in a container, both once; \
             --node {STAND_IN} does without",
            stream.stream.as_str()
        )),
    }
}

fn engine() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let found = runtime
        .map_err(|error| error.to_string())?
        .block_on(async { tokio::time::timeout(ENGINE_PATIENCE, Engine::find()).await });
    match found {
        Ok(found) => found.map(|_| ()).map_err(|error| error.to_string()),
        Err(_) => Err(format!("the container engine keeps silent for {} s", ENGINE_PATIENCE.as_secs())),
    }
}

/// That an address could not be reached, and when.
#[derive(Serialize, Deserialize)]
struct Unreachable {
    at: SystemTime,
    why: String,
}

/// Asks an address, unless it did not answer within the last hour. An answer is not remembered: it costs nothing.
fn reach(cache: &Cache, url: &str) -> Result<(), String> {
    let path = remembered_at(cache, url);
    let text = fs::read(&path).ok();
    let before: Option<Unreachable> = text.and_then(|text| serde_json::from_slice(&text).ok());
    if let Some(before) = before
        && let Ok(age) = before.at.elapsed()
        && age < REMEMBERED
    {
        let minutes = age.as_secs() / 60;
        return Err(format!("{} ({minutes} min ago; {} is asked again an hour after)", before.why, url_host(url)));
    }
    let answer = node::is_reachable(url, PATIENCE);
    if let Err(why) = &answer {
        let text = serde_json::to_vec(&Unreachable { at: SystemTime::now(), why: why.clone() });
        // A run that can't remember it asks once more than it would have to.
        let _ = text.map_err(std::io::Error::from).and_then(|text| {
            fs::create_dir_all(cache.root().join(UNREACHABLE))?;
            fs::write(&path, text)
        });
    }
    answer
}

fn url_host(url: &str) -> String {
    url::Url::parse(url).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
}

/// With another proxy, it is another question.
fn remembered_at(cache: &Cache, url: &str) -> PathBuf {
    let proxies = PROXIES.map(|name| std::env::var(name).unwrap_or_default());
    let key = cache::key(std::iter::once(url).chain(proxies.iter().map(String::as_str)).map(str::as_bytes));
    cache.root().join(UNREACHABLE).join(format!("{key}.json"))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use super::*;

    const KERNEL: &str = "6.17.7-300.fc43.x86_64";

    /// A cache, and a directory of definitions with the stream of a server of this test.
    struct Case {
        dir: tempfile::TempDir,
        cache: Cache,
        requests: Arc<AtomicUsize>,
    }

    impl Case {
        fn new(server: &str, requests: Arc<AtomicUsize>) -> Self {
            let dir = tempfile::tempdir().expect("temporary directory");
            let cache = Cache::open(Some(&dir.path().join("cache"))).expect("a cache");
            let text = format!("kind: coreos-stream\nstream: {server}/stable.json\nsignature: none\n");
            fs::write(dir.path().join(format!("{COREOS}.yaml")), text).expect("written");
            Self { dir, cache, requests }
        }

        fn answering() -> Self {
            Self::serving(Some("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"))
        }

        /// A server that gives this answer, or none at all.
        fn serving(answer: Option<&'static str>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let server = format!("http://{}", listener.local_addr().expect("an address"));
            let requests = Arc::new(AtomicUsize::new(0));
            let count = Arc::clone(&requests);
            std::thread::spawn(move || {
                let mut open = Vec::new();
                for connection in listener.incoming() {
                    let mut connection = connection.expect("a connection");
                    count.fetch_add(1, Ordering::SeqCst);
                    if let Some(answer) = answer {
                        BufReader::new(&connection).read_line(&mut String::new()).expect("a request");
                        connection.write_all(answer.as_bytes()).expect("answered");
                    } else {
                        open.push(connection);
                    }
                }
            });
            Self::new(&server, requests)
        }

        /// A port at which nobody listens.
        fn absent() -> Self {
            let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("an address");
            Self::new(&format!("http://{address}"), Arc::default())
        }

        fn with_disk(self) -> Self {
            let catalogue = Catalogue::open(self.dir.path(), &self.cache).expect("a catalogue");
            let definition = catalogue.get(COREOS).expect("defined");
            let Source::CoreosStream(stream) = &definition.source else { panic!("no stream") };
            stream.pretend_cached(&self.cache, COREOS, KERNEL);
            self
        }

        fn with_modules(self) -> Self {
            toolkit::pretend_cached(&self.cache, KERNEL);
            self
        }

        fn choose(&self, has_toolkit: bool, engine: Result<(), &str>) -> Choice {
            let catalogue = Catalogue::open(self.dir.path(), &self.cache).expect("a catalogue");
            choose(&self.cache, &catalogue, has_toolkit, &|| engine.map_err(str::to_owned))
        }

        fn requests(&self) -> usize {
            self.requests.load(Ordering::SeqCst)
        }
    }

    const NO_ENGINE: Result<(), &str> = Err("no container engine answers");

    #[test]
    fn coreos_where_its_stream_answers_and_its_modules_can_be_built() {
        let case = Case::answering();
        let chosen = case.choose(false, Ok(()));
        assert_eq!(chosen.name, COREOS, "{chosen}");
        assert!(chosen.why.contains("800 MiB") && chosen.why.contains("--node debian-13"), "{chosen}");
        assert_eq!(case.choose(true, NO_ENGINE).name, COREOS, "a toolkit needs no engine");
        let chosen = case.choose(false, NO_ENGINE);
        assert_eq!(chosen.name, STAND_IN, "{chosen}");
        assert!(
            chosen.why.contains("no container engine answers") && chosen.why.contains("--driver-toolkit"),
            "{chosen}"
        );
        let cached = case.with_disk();
        let chosen = cached.choose(false, Ok(()));
        assert_eq!(chosen.name, COREOS, "{chosen}");
        assert!(!chosen.why.contains("MiB") && chosen.why.contains("43.1 is in the cache"), "{chosen}");
        assert_eq!(cached.choose(false, NO_ENGINE).name, STAND_IN);
    }

    #[test]
    fn what_is_in_the_cache_needs_no_network_and_no_engine() {
        let case = Case::answering().with_disk().with_modules();
        let chosen = case.choose(false, NO_ENGINE);
        assert_eq!((chosen.name, case.requests()), (COREOS, 0), "{chosen}");
        let case = Case::absent().with_disk();
        assert_eq!(case.choose(true, NO_ENGINE).name, COREOS);
        let chosen = case.choose(false, Ok(()));
        assert_eq!(chosen.name, STAND_IN, "its modules can't be built: {chosen}");
        assert!(chosen.why.contains("is in the cache, but") && chosen.why.contains("can't be reached"), "{chosen}");
    }

    #[test]
    fn what_can_not_be_reached_is_told_and_not_asked_again() {
        for case in [Case::absent(), Case::serving(Some("HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n"))] {
            let chosen = case.choose(false, Ok(()));
            assert_eq!(chosen.name, STAND_IN, "{chosen}");
            let told = chosen.to_string();
            assert!(told.starts_with("node: debian-13 (Fedora CoreOS stable is not in the cache, and http"), "{told}");
            assert!(told.contains("/stable.json can't be reached: "), "{told}");
            let requests = case.requests();
            let again = case.choose(false, Ok(()));
            assert!(again.why.contains("min ago") && again.why.contains("asked again"), "{again}");
            assert_eq!(case.requests(), requests);
        }
    }

    #[test]
    fn a_server_that_keeps_silent_costs_two_seconds_at_most_and_once() {
        assert!(PATIENCE < Duration::from_secs(2));
        let case = Case::serving(None);
        let began = Instant::now();
        let chosen = case.choose(false, Ok(()));
        // On a host that is busy, a thread may be late.
        assert!(began.elapsed() < PATIENCE * 3, "{:?}", began.elapsed());
        assert_eq!(chosen.name, STAND_IN, "{chosen}");
        assert!(case.choose(false, Ok(())).why.contains("min ago"));
        assert_eq!(case.requests(), 1);
    }

    #[test]
    fn an_old_answer_and_one_by_another_way_do_not_count() {
        let case = Case::answering();
        let catalogue = Catalogue::open(case.dir.path(), &case.cache).expect("a catalogue");
        let Source::CoreosStream(stream) = &catalogue.get(COREOS).expect("defined").source else { panic!("no stream") };
        let path = remembered_at(&case.cache, stream.stream.as_str());
        fs::create_dir_all(path.parent().expect("a directory")).expect("made");
        let remember = |at: SystemTime| {
            let text = serde_json::to_vec(&Unreachable { at, why: "no route".into() }).expect("encoded");
            fs::write(&path, text).expect("written");
            case.choose(false, Ok(())).name
        };
        assert_eq!(remember(SystemTime::now()), STAND_IN);
        assert_eq!(remember(SystemTime::now() - REMEMBERED), COREOS);
        assert_eq!(remember(SystemTime::now() + REMEMBERED), COREOS, "the clock was set back");
        fs::write(&path, "junk").expect("written");
        assert_eq!(case.choose(false, Ok(())).name, COREOS);
        assert_ne!(remembered_at(&case.cache, "http://another/"), path);
    }

    #[test]
    fn a_catalogue_without_the_stream_and_one_that_is_broken_leave_the_stand_in() {
        let case = Case::answering();
        let definition = case.dir.path().join(format!("{COREOS}.yaml"));
        fs::remove_file(&definition).expect("removed");
        assert!(case.choose(false, Ok(())).why.contains("is not defined"));
        fs::write(&definition, "kind: nonsense\n").expect("written");
        let chosen = default_node(case.dir.path(), Some(case.cache.root()), None);
        assert_eq!(chosen.name, STAND_IN);
        assert!(chosen.why.contains("nonsense"), "{chosen}");
    }
}
