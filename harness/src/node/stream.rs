//! Node images that are published in a stream: metadata in the format of Fedora CoreOS
//! (<https://github.com/coreos/fedora-coreos-tracker/tree/main/metadata/stream>), which RHEL CoreOS has too.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use url::Url;

use super::catalogue::Kind;
use super::signature::{Fingerprint, Signature};
use super::word::word;
use super::{Architecture, Error, Progress, download, signature, unpack};
use crate::cache::{self, Cache};
use crate::text::printable;

/// The kind of the cache's record which release a name stands for.
const PINS: &str = "node-stream";
/// Changes when another disk is made of the same artifact.
const FORMAT: &[u8] = b"day1 stream image 1";
/// Free space that the compressed and the uncompressed disk take together, today's rounded up.
const NEED_MIB: u64 = 6144;
/// Metadata of all platforms is some 100 KiB.
const METADATA_LIMIT: u64 = 16 * 1024 * 1024;

/// What the definition of a node image from a stream says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreosStream {
    kind: Kind,
    /// Where the stream's metadata is.
    pub stream: HttpUrl,
    /// The processor that it is for.
    #[serde(default)]
    pub architecture: Architecture,
    /// Who must have signed the artifacts.
    pub signature: Signature,
}

word!(
    /// An address on the web.
    HttpUrl,
    |text| Url::parse(text).is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host()),
    "an address such as https://builds.coreos.fedoraproject.org/streams/stable.json"
);

/// The platform whose images QEMU boots: its kernel arguments have `ignition.platform.id=qemu` and a serial console.
const PLATFORM: &str = "qemu";
/// The formats that are understood, the first that is there is taken.
const FORMATS: [&str; 4] = ["qcow2.xz", "qcow2.gz", "qcow2.zst", "qcow2"];

/// One disk of a stream's current release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// The release, such as `42.20250803.3.0`.
    pub release: String,
    /// Where it is.
    pub location: String,
    /// Lower-case hex sha256 of what is there.
    pub sha256: String,
    /// The same of the disk in it, if it is compressed.
    pub uncompressed_sha256: Option<String>,
    /// Where its detached OpenPGP signature is.
    pub signature: Option<String>,
}

/// Which release a name stands for.
#[derive(Serialize, Deserialize)]
struct Pin {
    artifact: Artifact,
    /// The key of the cache entry that was made of it, by the definition of that time.
    entry: String,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    architectures: BTreeMap<String, MetadataArchitecture>,
}

#[derive(Deserialize)]
struct MetadataArchitecture {
    #[serde(default)]
    artifacts: BTreeMap<String, Platform>,
}

#[derive(Deserialize)]
struct Platform {
    release: String,
    #[serde(default)]
    formats: BTreeMap<String, Files>,
}

#[derive(Deserialize)]
struct Files {
    disk: Option<File>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    location: String,
    sha256: String,
    uncompressed_sha256: Option<String>,
    signature: Option<String>,
}

impl CoreosStream {
    /// A stream that no file defines.
    pub fn new(stream: &str, architecture: Architecture, signature: Signature) -> Result<Self, String> {
        let stream = HttpUrl::new(stream)?;
        Ok(Self { kind: Kind::CoreosStream, stream, architecture, signature })
    }

    pub(super) fn beside(mut self, dir: &Path) -> Self {
        self.signature = self.signature.beside(dir);
        self
    }

    /// The release that the cache has under this name.
    fn pinned(&self, cache: &Cache, name: &str) -> Option<Pin> {
        serde_json::from_slice(&fs::read(self.pin(cache, name)).ok()?).ok()
    }

    /// The stream is part of the path: another stream under the same name is another one's image.
    fn pin(&self, cache: &Cache, name: &str) -> std::path::PathBuf {
        let arch = self.architecture.name();
        let key = cache::key([self.stream.as_str().as_bytes(), arch.as_bytes()]);
        cache.root().join(PINS).join(format!("{name}-{}.json", &key[..16]))
    }

    /// Of the entry that is this name's own, and was held against all that is asked of it now: the same disk under another
    /// name may have come without a signature.
    pub(super) fn key(&self, name: &str, artifact: &Artifact) -> String {
        let uncompressed = artifact.uncompressed_sha256.as_deref().unwrap_or_default();
        let mut signers: Vec<&str> = match &self.signature {
            Signature::None => Vec::new(),
            Signature::Keys { fingerprints, .. } => fingerprints.iter().map(Fingerprint::as_str).collect(),
        };
        signers.sort_unstable();
        let signers = signers.join(" ");
        let parts = [name, &artifact.sha256, uncompressed, &signers].map(str::as_bytes);
        cache::key([FORMAT].into_iter().chain(parts))
    }

    /// Lets the name stand for a release 43.1 with this kernel.
    #[cfg(test)]
    pub(crate) fn pretend_cached(&self, cache: &Cache, name: &str, kernel: &str) {
        let (release, sha256) = ("43.1".to_owned(), "0".repeat(64));
        let location = "https://example.com/disk.qcow2.xz".to_owned();
        let artifact = Artifact { release, location, sha256, uncompressed_sha256: None, signature: None };
        let pin = self.pin(cache, name);
        fs::create_dir_all(pin.parent().expect("a directory")).expect("made");
        let pinned = Pin { entry: self.key(name, &artifact), artifact };
        fs::write(&pin, serde_json::to_vec(&pinned).expect("encoded")).expect("written");
        let entry = cache.root().join(super::CACHE_KIND).join(pinned.entry);
        fs::create_dir_all(&entry).expect("made");
        let facts = super::Facts {
            kernels: vec![super::Kernel { release: kernel.to_owned(), suite: String::new() }],
            distribution: "fedora".to_owned(),
            distribution_version: "43".to_owned(),
            mirror: None,
            takes_boot_arguments: true,
            versions: BTreeMap::new(),
        };
        super::write_facts(&entry, &facts).expect("written");
    }

    /// Whether the name stands for a release that the cache has.
    pub(super) fn find(&self, cache: &Cache, name: &str) -> Option<(Artifact, std::path::PathBuf)> {
        let Pin { artifact, .. } = self.pinned(cache, name)?;
        let entry = cache.find(super::CACHE_KIND, &self.key(name, &artifact))?;
        Some((artifact, entry))
    }

    /// Downloads the stream's current release, unless the cache has it, and lets the name stand for it.
    pub(super) fn update(&self, cache: &Cache, name: &str, progress: &dyn Progress) -> Result<(), Error> {
        let artifact = self.newest(progress)?;
        let before = self.pinned(cache, name);
        let entry = self.key(name, &artifact);
        let make = |dir: &Path| self.make(&artifact, cache, dir, progress);
        cache.entry(super::CACHE_KIND, &entry, NEED_MIB, make)?;
        let now = Pin { artifact, entry };
        let pin = self.pin(cache, name);
        let dir = pin.parent().unwrap_or(cache.root());
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let text = serde_json::to_vec_pretty(&now).map_err(std::io::Error::from).map_err(Error::io("encode", &pin))?;
        let file = tempfile::NamedTempFile::new_in(dir).map_err(Error::io("create a file in", dir))?;
        fs::write(file.path(), text).map_err(Error::io("write", file.path()))?;
        file.persist(&pin).map_err(|error| Error::io("rename", &pin)(error.error))?;
        match before {
            Some(old) if old.entry != now.entry => {
                let (old_release, release) = (&old.artifact.release, &now.artifact.release);
                progress.step(&format!("{name} was release {old_release} and is {release} now"));
                cache.remove(super::CACHE_KIND, &old.entry).map(|_| ()).map_err(Error::from)
            }
            _ => Ok(()),
        }
    }

    /// Removes what the cache has under this name.
    pub(super) fn forget(&self, cache: &Cache, name: &str) -> Result<bool, Error> {
        let Some(pinned) = self.pinned(cache, name) else { return Ok(false) };
        let pin = self.pin(cache, name);
        fs::remove_file(&pin).map_err(Error::io("remove", &pin))?;
        Ok(cache.remove(super::CACHE_KIND, &pinned.entry)?)
    }

    /// What the stream has now.
    fn newest(&self, progress: &dyn Progress) -> Result<Artifact, Error> {
        let url = self.stream.as_str();
        progress.step(&format!("reading the stream {url}"));
        let text = download::small(url, METADATA_LIMIT)?;
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| self.useless(error.to_string()))?;
        self.choose(metadata)
    }

    fn choose(&self, mut metadata: Metadata) -> Result<Artifact, Error> {
        let wanted = self.architecture.name();
        let known = names(metadata.architectures.keys());
        let architecture = metadata.architectures.remove(wanted);
        let mut architecture =
            architecture.ok_or_else(|| self.useless(format!("it has no architecture {wanted}, only {known}")))?;
        let known = names(architecture.artifacts.keys());
        let platform = architecture.artifacts.remove(PLATFORM);
        let mut platform =
            platform.ok_or_else(|| self.useless(format!("it has no artifacts for {PLATFORM}, only for {known}")))?;
        let known = names(platform.formats.keys());
        let file = FORMATS.iter().find_map(|format| platform.formats.remove(*format)?.disk);
        let file = file.ok_or_else(|| {
            self.useless(format!("{PLATFORM} has no disk in one of the formats {}, only {known}", FORMATS.join(", ")))
        })?;
        let is_digest =
            |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        for digest in std::iter::once(&file.sha256).chain(&file.uncompressed_sha256) {
            if !is_digest(digest) {
                return Err(self.useless(format!("{digest:?} is no sha256 (64 lower-case hex digits)")));
            }
        }
        // Relative ones, as a mirror may have them.
        let at = |location: &str| {
            let base = Url::parse(self.stream.as_str());
            let url = base
                .and_then(|base| base.join(location))
                .map_err(|error| self.useless(format!("{location:?} is no address: {error}")))?;
            HttpUrl::new(url.as_str()).map(|url| url.as_str().to_owned()).map_err(|problem| self.useless(problem))
        };
        Ok(Artifact {
            release: printable(&platform.release),
            location: at(&file.location)?,
            sha256: file.sha256,
            uncompressed_sha256: file.uncompressed_sha256,
            signature: file.signature.as_deref().map(at).transpose()?,
        })
    }

    fn useless(&self, problem: String) -> Error {
        Error::Stream { url: self.stream.as_str().to_owned(), problem }
    }

    /// Fills the cache entry `dir`: download, compare with the metadata, verify the signature, uncompress, compare.
    fn make(&self, artifact: &Artifact, cache: &Cache, dir: &Path, progress: &dyn Progress) -> Result<(), Error> {
        // Before hundreds of MiB are fetched for nothing.
        let signature_url = match (&self.signature, &artifact.signature) {
            (Signature::None, _) => None,
            (Signature::Keys { .. }, Some(url)) => Some(url),
            (Signature::Keys { .. }, None) => {
                return Err(self.useless(format!(
                    "it has no signature of {}, and the definition demands one (`signature: none` does without)",
                    artifact.location
                )));
            }
        };
        let keys = self.signature.check()?;
        progress.step(&format!("downloading {} (release {})", artifact.location, artifact.release));
        let file = download::resumable(cache, &artifact.location, &artifact.sha256, progress)?;
        if let Some(url) = signature_url {
            let signature = download::small(url, signature::LIMIT)?;
            let signer = signature::verify(&keys, &signature, file.path()).map_err(|problem| Error::Signature {
                url: artifact.location.clone(),
                signature: url.clone(),
                problem,
            })?;
            progress.step(&format!("signed by {signer}"));
        }
        let disk = dir.join(super::DISK);
        progress.step("uncompressing the disk");
        unpack::unpack(file.path(), &disk, artifact.uncompressed_sha256.as_deref(), progress)?;
        file.remove()?;
        super::file::adopt(&disk, &artifact.location)
    }
}

fn names<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> CoreosStream {
        CoreosStream::new("https://example.com/streams/stable.json", Architecture::X86_64, Signature::None)
            .expect("one")
    }

    fn chosen(formats: &str) -> Result<Artifact, String> {
        let text = format!(
            r#"{{"stream": "stable", "metadata": {{}}, "architectures": {{"x86_64": {{"images": {{}}, "artifacts": {{
                "metal": {{"release": "1", "formats": {{}}}}, "qemu": {{"release": "42.1", "formats": {{{formats}}}}}}}}}}}}}"#
        );
        stream().choose(serde_json::from_str(&text).expect("metadata")).map_err(|error| error.to_string())
    }

    #[test]
    fn the_disk_for_qemu_is_taken_and_its_address_may_be_relative() {
        let sha = "a".repeat(64);
        let gz = format!(r#""qcow2.gz": {{"disk": {{"location": "../disk.qcow2.gz", "sha256": "{sha}"}}}}"#);
        let artifact = chosen(&gz).expect("one");
        assert_eq!(artifact.release, "42.1");
        assert_eq!(artifact.location, "https://example.com/disk.qcow2.gz");
        assert_eq!((artifact.uncompressed_sha256, artifact.signature), (None, None));
        let xz = format!(
            r#"{gz}, "qcow2.xz": {{"disk": {{"location": "https://other/disk.xz", "signature": "https://other/disk.xz.sig",
            "sha256": "{sha}", "uncompressed-sha256": "{sha}"}}}}"#
        );
        let artifact = chosen(&xz).expect("one");
        assert_eq!(artifact.location, "https://other/disk.xz");
        assert_eq!(artifact.uncompressed_sha256, Some(sha));
    }

    #[test]
    fn a_disk_goes_with_its_name_although_other_signers_are_demanded_now() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(temp.path())).expect("a cache");
        let stranger = CoreosStream {
            signature: Signature::Keys {
                keys: temp.path().join("keys.asc"),
                fingerprints: vec![Fingerprint::new(&"A".repeat(40)).expect("one")],
            },
            ..stream()
        };
        stream().pretend_cached(&cache, "mine", "6.12");
        assert!(stream().find(&cache, "mine").is_some());
        assert!(stranger.find(&cache, "mine").is_none(), "nobody verified it against these keys");
        assert!(stranger.forget(&cache, "mine").expect("removed"));
        assert!(stream().find(&cache, "mine").is_none());
        let left: Vec<_> =
            fs::read_dir(temp.path().join(super::super::CACHE_KIND)).expect("a directory").flatten().collect();
        assert!(!left.iter().any(|entry| entry.path().is_dir()), "{left:?}");
    }

    #[test]
    fn what_a_stream_lacks_is_told_with_what_it_has() {
        let error = chosen(r#""iso": {"disk": {"location": "x", "sha256": "y"}}"#).expect_err("no disk");
        assert!(error.contains("qcow2.xz, qcow2.gz") && error.ends_with("only iso"), "{error}");
        let error = chosen(r#""qcow2": {"disk": {"location": "x", "sha256": "ABC"}}"#).expect_err("no sha256");
        assert!(error.contains("\"ABC\" is no sha256"), "{error}");
        let arm = CoreosStream { architecture: Architecture::Aarch64, ..stream() };
        let metadata = serde_json::from_str(r#"{"architectures": {"s390x": {}}}"#).expect("metadata");
        let error = arm.choose(metadata).expect_err("no architecture").to_string();
        assert!(error.contains("no architecture aarch64, only s390x"), "{error}");
    }
}
