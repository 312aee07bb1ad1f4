//! `day1 images` against a stream that a server of this test has.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use assert_cmd::Command;
use pgp::composed::{ArmorOptions, DetachedSignature, KeyType, SecretKeyParamsBuilder, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, Password};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A web server for files, which can cut an answer short. It notes each request's `Range`.
#[derive(Clone, Default)]
struct Web {
    files: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    /// Answers of this path that are cut after so many bytes, as often as they are here.
    cuts: Arc<Mutex<Vec<(String, usize)>>>,
    requests: Arc<Mutex<Vec<Asked>>>,
}

/// A path, and from which byte on.
type Asked = (String, Option<u64>);

impl Web {
    fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let web = self.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let web = web.clone();
                std::thread::spawn(move || web.answer(connection.expect("a connection")));
            }
        });
        format!("http://{address}")
    }

    fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().expect("not poisoned").insert(path.to_owned(), bytes.into());
    }

    fn cut(&self, path: &str, after: usize) {
        self.cuts.lock().expect("not poisoned").push((path.to_owned(), after));
    }

    fn ranges_of(&self, path: &str) -> Vec<Option<u64>> {
        let requests = self.requests.lock().expect("not poisoned");
        requests.iter().filter(|(asked, _)| asked == path).map(|(_, range)| *range).collect()
    }

    fn answer(&self, mut connection: TcpStream) {
        let mut reader = BufReader::new(connection.try_clone().expect("cloned"));
        let (mut first, mut range) = (String::new(), None);
        reader.read_line(&mut first).expect("a request");
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).expect("a header") == 0 || line == "\r\n" {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
                range = value.trim().trim_end_matches('-').parse::<u64>().ok();
            }
        }
        let path = first.split(' ').nth(1).expect("a path").to_owned();
        self.requests.lock().expect("not poisoned").push((path.clone(), range));
        let Some(bytes) = self.files.lock().expect("not poisoned").get(&path).cloned() else {
            let _ = connection.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return;
        };
        let from = usize::try_from(range.unwrap_or(0)).expect("a length").min(bytes.len());
        let status = match range {
            Some(_) => {
                format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{}", bytes.len() - 1, bytes.len())
            }
            None => "200 OK".to_owned(),
        };
        let rest = &bytes[from..];
        let mut cuts = self.cuts.lock().expect("not poisoned");
        let cut = cuts.iter().position(|(cut, _)| *cut == path).map(|index| cuts.remove(index).1);
        drop(cuts);
        let sent = &rest[..cut.unwrap_or(rest.len()).min(rest.len())];
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", rest.len());
        let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(sent));
    }
}

fn key(user: &str) -> SignedSecretKey {
    let mut parameters = SecretKeyParamsBuilder::default();
    parameters.key_type(KeyType::Ed25519Legacy).can_certify(true).can_sign(true).primary_user_id(user.into());
    let parameters = parameters.build().expect("parameters");
    parameters.generate(rand::thread_rng()).expect("a key")
}

fn signature(key: &SignedSecretKey, bytes: &[u8]) -> Vec<u8> {
    let random = rand::thread_rng();
    let made =
        DetachedSignature::sign_binary_data(random, &key.primary_key, &Password::empty(), HashAlgorithm::Sha256, bytes);
    made.expect("signed").to_bytes().expect("encoded")
}

fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// A stream with one disk of 3 MiB, a directory with its definition, and an empty cache.
struct Published {
    dir: tempfile::TempDir,
    web: Web,
    url: String,
    disk: Vec<u8>,
    packed: Vec<u8>,
    signer: SignedSecretKey,
}

const DISK: &str = "/disk.qcow2.gz";

impl Published {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let raw = dir.path().join("raw");
        let mut bytes = vec![0; 3 << 20];
        rand::RngCore::fill_bytes(&mut rand::thread_rng(), &mut bytes);
        // As the first sector before a partition table ends.
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        std::fs::write(&raw, bytes).expect("written");
        let qcow2 = dir.path().join("qcow2");
        let convert = std::process::Command::new("qemu-img")
            .args(["convert", "-f", "raw", "-O", "qcow2"])
            .args([&raw, &qcow2])
            .status();
        assert!(convert.expect("qemu-img runs").success());
        let disk = std::fs::read(&qcow2).expect("read");
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&disk).expect("packed");
        let packed = encoder.finish().expect("packed");
        let web = Web::default();
        let url = web.serve();
        let published = Self { dir, url, web, disk, packed, signer: key("Signer <signer@example.com>") };
        published.web.put(DISK, published.packed.clone());
        published.web.put("/disk.sig", signature(&published.signer, &published.packed));
        published.release("42.1", &sha256(&published.packed), &sha256(&published.disk));
        let fingerprint = hex::encode(published.signer.fingerprint().as_bytes());
        let public = published.signer.to_public_key().to_armored_string(ArmorOptions::default()).expect("armored");
        std::fs::create_dir(published.path("vm-images")).expect("made");
        std::fs::write(published.path("vm-images/keys.asc"), public).expect("written");
        let definition = format!(
            "kind: coreos-stream\nstream: {}/stable.json\nsignature:\n  keys: keys.asc\n  fingerprints: [{fingerprint}]\n",
            published.url
        );
        std::fs::write(published.path("vm-images/mine.yaml"), definition).expect("written");
        published
    }

    fn release(&self, release: &str, packed: &str, unpacked: &str) {
        let disk = json!({ "location": format!("{}{DISK}", self.url), "signature": format!("{}/disk.sig", self.url),
            "sha256": packed, "uncompressed-sha256": unpacked });
        let qemu = json!({ "release": release, "formats": { "qcow2.gz": { "disk": disk } } });
        let metadata = json!({ "stream": "stable", "architectures": { "x86_64": { "artifacts": { "qemu": qemu } } } });
        self.web.put("/stable.json", metadata.to_string());
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    fn day1(&self, arguments: &[&str]) -> Output {
        let mut command = Command::cargo_bin("day1").expect("the day1 program");
        command.env_remove("DAY1_CACHE").arg("--cache").arg(self.path("cache")).arg("images");
        command.arg("--vm-images").arg(self.path("vm-images")).args(arguments);
        command.output().expect("started")
    }

    fn told(&self, arguments: &[&str], code: i32) -> String {
        let output = self.day1(arguments);
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        text
    }

    fn listed(&self) -> Value {
        let output = self.day1(&["list", "--json"]);
        let all: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        all[0].clone()
    }

    /// Files of the cache besides locks and definitions.
    fn leftovers(&self) -> Vec<String> {
        fn below(dir: &Path, found: &mut Vec<String>) {
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    below(&entry.path(), found);
                } else {
                    found.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
        }
        let mut found = Vec::new();
        below(&self.path("cache"), &mut found);
        found.retain(|name| !name.starts_with(".lock"));
        found
    }
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut_and_becomes_an_image() {
    let published = Published::new();
    assert_eq!(published.listed()["cached"], json!(false));
    published.web.cut(DISK, 1_000_000);
    published.web.cut(DISK, 500_000);
    let text = published.told(&["get", "mine"], 0);
    let ranges = published.web.ranges_of(DISK);
    assert_eq!(ranges, [None, Some(1_000_000), Some(1_500_000)], "{text}");
    assert!(text.contains("cut after 1.0 MiB") && text.contains("signed by Signer"), "{text}");
    let listed = published.listed();
    assert_eq!((&listed["cached"], &listed["release"]), (&json!(true), &json!("42.1")));
    let disk = listed["disk"].as_str().expect("a path");
    assert!(std::fs::read(disk).expect("read") == published.disk, "the disk is what was published");
    // The second time nothing but the metadata is asked for.
    published.told(&["get", "mine"], 0);
    assert_eq!(published.web.ranges_of(DISK).len(), 3);
    assert_eq!(published.web.ranges_of("/stable.json").len(), 2);
    published.told(&["rm", "mine"], 0);
    assert_eq!(published.listed()["cached"], json!(false));
    assert_eq!(published.leftovers(), Vec::<String>::new());
}

#[test]
fn a_later_process_goes_on_with_what_an_earlier_one_left() {
    let published = Published::new();
    published.web.put("/disk.half", "");
    // Every try is cut at once, so that the first process gives up.
    published.web.cut(DISK, 2_000_000);
    for _ in 0..5 {
        published.web.cut(DISK, 0);
    }
    let text = published.told(&["get", "mine"], 3);
    assert!(text.contains("cannot download") && text.contains("1.9 MiB are kept"), "{text}");
    assert_eq!(published.listed()["cached"], json!(false));
    let text = published.told(&["get", "mine"], 0);
    assert!(text.contains("going on after 1.9 MiB"), "{text}");
    assert_eq!(published.web.ranges_of(DISK).last(), Some(&Some(2_000_000)));
}

#[test]
fn another_file_than_the_stream_says_is_refused_and_nothing_of_it_stays() {
    let published = Published::new();
    let mut other = published.packed.clone();
    other[2_000_000] ^= 1;
    published.web.put(DISK, other);
    let text = published.told(&["get", "mine"], 3);
    assert!(text.contains("has the sha256") && text.contains(&sha256(&published.packed)), "{text}");
    assert_eq!(published.leftovers(), Vec::<String>::new());
    // The right compressed bytes, and a stream that is wrong about what is in them.
    published.web.put(DISK, published.packed.clone());
    published.release("42.1", &sha256(&published.packed), &"0".repeat(64));
    let text = published.told(&["get", "mine"], 3);
    assert!(text.contains("the uncompressed disk has the sha256"), "{text}");
    assert_eq!(published.listed()["cached"], json!(false));
}

#[test]
fn a_signature_of_somebody_else_and_none_at_all_are_refused() {
    let published = Published::new();
    let stranger = key("Stranger <stranger@example.com>");
    published.web.put("/disk.sig", signature(&stranger, &published.packed));
    let text = published.told(&["get", "mine"], 3);
    assert!(text.contains("does not count: none of the 1 pinned keys made it"), "{text}");
    published.web.put("/disk.sig", signature(&published.signer, b"other bytes"));
    assert!(published.told(&["get", "mine"], 3).contains("does not count"));
    published.web.put("/disk.sig", "nonsense");
    assert!(published.told(&["get", "mine"], 3).contains("no OpenPGP signature"));
    assert_eq!(published.listed()["cached"], json!(false));
    // Nothing was downloaded twice: the file was right all the time.
    assert_eq!(published.web.ranges_of(DISK).iter().filter(|range| range.is_none()).count(), 1);
    published.web.put("/disk.sig", signature(&published.signer, &published.packed));
    published.told(&["get", "mine"], 0);
}

#[test]
fn keys_without_the_pinned_fingerprint_are_refused_before_anything_is_downloaded() {
    let published = Published::new();
    let stranger = key("Stranger <stranger@example.com>").to_public_key();
    let armored = stranger.to_armored_string(ArmorOptions::default()).expect("armored");
    std::fs::write(published.path("vm-images/keys.asc"), armored).expect("written");
    let text = published.told(&["get", "mine"], 2);
    assert!(text.contains("it has no key with the fingerprint"), "{text}");
    assert_eq!(published.web.ranges_of(DISK), []);
}

#[test]
fn a_new_release_takes_the_place_of_the_old_one() {
    let published = Published::new();
    published.told(&["get", "mine"], 0);
    let first = published.listed()["disk"].clone();
    let mut disk = published.disk.clone();
    let last = disk.len() - 1;
    disk[last] ^= 1;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&disk).expect("packed");
    let packed = encoder.finish().expect("packed");
    published.web.put(DISK, packed.clone());
    published.web.put("/disk.sig", signature(&published.signer, &packed));
    published.release("42.2", &sha256(&packed), &sha256(&disk));
    let text = published.told(&["get", "mine"], 0);
    assert!(text.contains("mine was release 42.1 and is 42.2 now"), "{text}");
    assert_eq!(published.listed()["release"], json!("42.2"));
    assert!(!Path::new(first.as_str().expect("a path")).exists(), "the old disk is gone");
}

#[test]
fn a_file_of_one_s_own_is_imported_with_its_checksum_and_keeps_its_name() {
    let published = Published::new();
    let file = published.path("own.qcow2.gz");
    std::fs::write(&file, &published.packed).expect("written");
    let file = file.to_str().expect("a path");
    let wrong = published.told(&["import", file, "--name", "own", "--sha256", &"0".repeat(64)], 2);
    assert!(wrong.contains("has the sha256"), "{wrong}");
    let refused = published.told(&["import", file, "--name", "mine"], 2);
    assert!(refused.contains("mine.yaml has it"), "{refused}");
    let refused = published.told(&["import", file, "--name", "../own"], 2);
    assert!(refused.contains("lower-case letters"), "{refused}");
    published.told(&["import", file, "--name", "own", "--sha256", &sha256(&published.packed)], 0);
    std::fs::remove_file(file).expect("removed");
    let list = published.told(&["list"], 0);
    assert!(list.contains("own ") && list.contains("file "), "{list}");
    let output = published.told(&["get", "own"], 0);
    let disk = output.lines().find_map(|line| line.strip_prefix("own: ")).expect("a path");
    let mut bytes = Vec::new();
    std::fs::File::open(disk).expect("there").read_to_end(&mut bytes).expect("read");
    assert!(bytes == published.disk);
    published.told(&["rm", "own"], 0);
    assert!(published.told(&["get", "own"], 2).contains("there is no node image \"own\""));
}

#[test]
fn a_stream_is_imported_by_its_address_only_with_a_word_about_who_signed() {
    let published = Published::new();
    let address = format!("{}/stable.json", published.url);
    let refused = published.told(&["import", &address, "--name", "theirs"], 2);
    assert!(refused.contains("--unsigned"), "{refused}");
    published.told(&["import", &address, "--name", "theirs", "--unsigned"], 0);
    assert!(published.told(&["list"], 0).contains("theirs"));
    let keys = published.path("vm-images/keys.asc");
    let fingerprint = hex::encode(published.signer.fingerprint().as_bytes());
    let keys = ["--keys", keys.to_str().expect("a path"), "--fingerprint", &fingerprint];
    published.told(&[&["import", &address, "--name", "signed"][..], &keys].concat(), 0);
}
