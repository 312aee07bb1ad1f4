//! Images that lie in files: OCI image layouts, as a directory or an archive, and what `docker save` writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::limits::Limits;
use super::manifest::{Descriptor, Document, Manifest};
use super::{Blobs, Error, Fault, Root};
use crate::input::open_regular;
use crate::kmod::Compression;

/// The annotation of an index's entry that holds its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// A file of the layout, by its path in it.
trait Files: Sync {
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>>;
}

/// A directory.
struct Plain(PathBuf);

impl Files for Plain {
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(open_regular(&self.0.join(path))?))
    }
}

/// An archive: where each file lies in it.
struct Archive {
    path: PathBuf,
    files: BTreeMap<String, (u64, u64)>,
}

impl Files for Archive {
    fn open(&self, path: &str) -> io::Result<Box<dyn Read + Send>> {
        let &(offset, size) = self.files.get(path).ok_or(io::ErrorKind::NotFound)?;
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(offset))?;
        Ok(Box::new(file.take(size)))
    }
}

impl Archive {
    /// Reads the archive's directory.
    fn open(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Read { path: path.to_owned(), source };
        let refuse = |reason: String| Error::Layout { path: path.to_owned(), reason };
        let mut file = open_regular(path).map_err(io)?;
        let mut magic = [0; 6];
        let count = file.read(&mut magic).map_err(io)?;
        if let Some(kind) = Compression::of(&magic[..count]) {
            return Err(refuse(format!("it is compressed with {kind}: decompress it first")));
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let broken = |error: io::Error| refuse(format!("it is no archive: {error}"));
        let mut archive = tar::Archive::new(file);
        let (mut files, mut links) = (BTreeMap::new(), Vec::new());
        // Those who make such archives need no long names.
        for (count, entry) in archive.entries_with_seek().map_err(broken)?.raw(true).enumerate() {
            if count > 100_000 {
                return Err(refuse("it has more than 100000 files".to_owned()));
            }
            let entry = entry.map_err(broken)?;
            let name = clean(&String::from_utf8_lossy(&entry.path_bytes()));
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {
                    files.insert(name, (entry.raw_file_position(), entry.size()));
                }
                tar::EntryType::Symlink | tar::EntryType::Link => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    let target = String::from_utf8_lossy(&target).into_owned();
                    let above = match entry.header().entry_type() {
                        tar::EntryType::Symlink => name.rsplit_once('/').map_or("", |(above, _)| above),
                        _ => "",
                    };
                    links.push((name.clone(), clean(&format!("{above}/{target}"))));
                }
                _ => {}
            }
        }
        // `docker save` writes a layer that two images share once, and links to it.
        for (name, target) in links {
            if let Some(place) = files.get(&target).copied() {
                files.insert(name, place);
            }
        }
        Ok(Self { path: path.to_owned(), files })
    }
}

/// A path without `.`, `..` and empty parts; one that leads out of the archive finds nothing in it.
fn clean(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Blobs of a layout, by the path that their digest gives or that a manifest names.
struct Layout {
    files: Box<dyn Files + Send>,
    /// Of `docker save`: the paths of blobs whose digests only the config tells.
    paths: BTreeMap<String, String>,
}

impl Blobs for Layout {
    fn open(&self, blob: &Descriptor) -> Result<Box<dyn Read + Send + '_>, Error> {
        let path = match self.paths.get(&blob.digest) {
            Some(path) => path.clone(),
            None => format!("blobs/sha256/{}", super::hex_of(&blob.digest)?),
        };
        let missing = |error: io::Error| {
            let reason = format!("can't be opened as {path}: {error}");
            Error::Fault(Fault::Blob { digest: blob.digest.clone(), reason })
        };
        self.files.open(&path).map_err(missing)
    }
}

fn document(files: &dyn Files, at: &Path, path: &str) -> Result<Vec<u8>, Error> {
    let refuse = |reason: String| Error::Layout { path: at.to_owned(), reason };
    let mut bytes = Vec::new();
    let file = files.open(path).map_err(|error| refuse(format!("its {path} can't be opened: {error}")))?;
    file.take(Limits::DOCUMENT + 1).read_to_end(&mut bytes).map_err(|error| refuse(error.to_string()))?;
    if bytes.len() as u64 > Limits::DOCUMENT {
        return Err(refuse(format!("its {path} has more than {} bytes", Limits::DOCUMENT)));
    }
    Ok(bytes)
}

/// The image in an OCI image layout directory.
pub(super) fn open_dir(dir: &Path, tag: Option<&str>) -> Result<Root, Error> {
    if !dir.is_dir() {
        let reason = "there is no such directory; write oci:DIR or oci:DIR:TAG".to_owned();
        return Err(Error::Layout { path: dir.to_owned(), reason });
    }
    oci(Box::new(Plain(dir.to_owned())), dir, tag)
}

/// Whether an archive is what `docker save` writes; newer ones can be read as an OCI image layout too.
pub(super) fn is_docker_archive(path: &Path) -> Result<bool, Error> {
    Ok(Archive::open(path)?.files.contains_key("manifest.json"))
}

/// The image in an archive of an OCI image layout.
pub(super) fn open_archive(path: &Path, tag: Option<&str>) -> Result<Root, Error> {
    let archive = Archive::open(path)?;
    if !archive.files.contains_key("index.json") && archive.files.contains_key("manifest.json") {
        let reason = format!("it is what `docker save` writes: say docker-archive:{}", path.display());
        return Err(Error::Layout { path: path.to_owned(), reason });
    }
    oci(Box::new(archive), path, tag)
}

fn oci(files: Box<dyn Files + Send>, at: &Path, tag: Option<&str>) -> Result<Root, Error> {
    let refuse = |reason: String| Error::Layout { path: at.to_owned(), reason };
    let bytes = document(files.as_ref(), at, "index.json")?;
    let Document::Index(manifests) = Document::parse("index.json", &bytes)? else {
        return Err(refuse("its index.json is no index".to_owned()));
    };
    let name = |descriptor: &Descriptor| descriptor.annotations.as_ref()?.get(REF_NAME).cloned();
    let found: Vec<&Descriptor> = match tag {
        None => manifests.iter().collect(),
        Some(tag) => manifests.iter().filter(|one| name(one).is_some_and(|name| is_tag(&name, tag))).collect(),
    };
    let names = || manifests.iter().map(|one| name(one).unwrap_or_else(|| one.digest.clone())).collect::<Vec<_>>();
    match found.as_slice() {
        [only] => {
            let tag = tag.map(str::to_owned).or_else(|| name(only).as_deref().and_then(tag_of).map(str::to_owned));
            let blobs = Box::new(Layout { files, paths: BTreeMap::new() });
            Ok(Root::Descriptor { descriptor: (*only).clone(), tag, blobs })
        }
        [] => {
            let wanted = tag.map_or_else(|| "no image".to_owned(), |tag| format!("no image with the tag {tag}"));
            Err(refuse(format!("it has {wanted}; it has: {}", list(&names()))))
        }
        // One tag for each platform is an index in other words.
        several if several.iter().all(|one| one.platform.is_some()) && tag.is_none_or(|_| several.len() > 1) => {
            let choice = several.iter().map(|one| (*one).clone()).collect();
            let tag =
                tag.map(str::to_owned).or_else(|| name(several[0]).as_deref().and_then(tag_of).map(str::to_owned));
            Ok(Root::Choice { manifests: choice, tag, blobs: Box::new(Layout { files, paths: BTreeMap::new() }) })
        }
        _ => Err(refuse(format!("it has several images; add one of these tags behind a colon: {}", list(&names())))),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// Whether a name such as `quay.io/vendor/driver:6.12` or `6.12` stands for a tag or is the reference itself.
fn is_tag(name: &str, tag: &str) -> bool {
    name == tag || tag_of(name) == Some(tag)
}

fn tag_of(name: &str) -> Option<&str> {
    let last = name.rsplit('/').next()?;
    match last.split_once(':') {
        Some((_, tag)) => Some(tag),
        None => (!name.contains('/')).then_some(name),
    }
}

/// One image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The image in what `docker save` or `podman save` wrote.
pub(super) fn open_docker(path: &Path, tag: Option<&str>) -> Result<Root, Error> {
    let refuse = |reason: String| Error::Layout { path: path.to_owned(), reason };
    let archive = Archive::open(path)?;
    if !archive.files.contains_key("manifest.json") && archive.files.contains_key("index.json") {
        return Err(refuse(format!("it is an archive of an OCI layout: say oci-archive:{}", path.display())));
    }
    let bytes = document(&archive, path, "manifest.json")?;
    let saved: Vec<Saved> = serde_json::from_slice(&bytes)
        .map_err(|error| refuse(format!("its manifest.json can't be understood: {error}")))?;
    let tags = |one: &Saved| one.repo_tags.clone().unwrap_or_default();
    let fits = |one: &&Saved| tag.is_none_or(|tag| tags(one).iter().any(|name| is_tag(name, tag)));
    let found: Vec<&Saved> = saved.iter().filter(fits).collect();
    let [image] = found.as_slice() else {
        let names: Vec<String> = saved.iter().flat_map(tags).collect();
        let problem = if found.is_empty() { "it has no such image" } else { "it has several images" };
        return Err(refuse(format!("{problem}; add one of these behind a colon: {}", list(&names))));
    };
    let config = document(&archive, path, &clean(&image.config))?;
    let config_digest = super::digest(&config);
    // The config's file has its digest for a name, and `blobs/sha256/` or no directory before it.
    let stated = image.config.rsplit('/').next().unwrap_or_default().trim_end_matches(".json");
    if stated.len() == 64 && config_digest != format!("sha256:{stated}") {
        let reason = format!("has the digest {config_digest}");
        return Err(Error::Fault(Fault::Blob { digest: format!("sha256:{stated}"), reason }));
    }
    let diff_ids = super::manifest::Config::parse(&config_digest, &config)?.diff_ids().to_vec();
    if diff_ids.len() != image.layers.len() {
        let reason = format!("names {} layers, and its archive has {}", diff_ids.len(), image.layers.len());
        return Err(Error::Fault(Fault::Manifest { digest: config_digest, reason }));
    }
    let mut layout =
        Layout { files: Box::new(Archive { path: path.to_owned(), files: BTreeMap::new() }), paths: BTreeMap::new() };
    let mut layers = Vec::new();
    for (diff_id, layer) in diff_ids.iter().zip(&image.layers) {
        let layer = clean(layer);
        let Some((_, size)) = archive.files.get(&layer).copied() else {
            let reason = format!("can't be opened as {layer}: the archive has no such file");
            return Err(Error::Fault(Fault::Blob { digest: diff_id.clone(), reason }));
        };
        let digest = stored_digest(&archive, &layer)?.unwrap_or_else(|| diff_id.clone());
        layout.paths.insert(digest.clone(), layer);
        layers.push(Descriptor { digest, size, ..Descriptor::default() });
    }
    layout.paths.insert(config_digest.clone(), clean(&image.config));
    layout.files = Box::new(archive);
    let config = Descriptor { digest: config_digest, size: config.len() as u64, ..Descriptor::default() };
    let tag = tag.map(str::to_owned).or_else(|| tags(image).first().and_then(|name| tag_of(name)).map(str::to_owned));
    Ok(Root::Manifest { manifest: Manifest { config, layers }, tag, blobs: Box::new(layout) })
}

/// The digest that a layer of a `docker save` has as it is stored, where that is not the config's: Docker's containerd
/// store keeps layers compressed, and names them by their digest. None for a plain one.
fn stored_digest(archive: &Archive, layer: &str) -> Result<Option<String>, Error> {
    let named = layer.strip_prefix("blobs/sha256/").map(|name| format!("sha256:{name}"));
    if let Some(digest) = named.filter(|digest| super::hex_of(digest).is_ok()) {
        return Ok(Some(digest));
    }
    let failed = |source| Error::Read { path: archive.path.clone(), source };
    let mut layer = BufReader::new(archive.open(layer).map_err(failed)?);
    if Compression::of(layer.fill_buf().map_err(failed)?).is_none() {
        return Ok(None);
    }
    let mut hash = Sha256::new();
    io::copy(&mut layer, &mut hash).map_err(failed)?;
    Ok(Some(format!("sha256:{}", hex::encode(hash.finalize()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_names() {
        assert_eq!(tag_of("quay.io:443/vendor/driver:6.12"), Some("6.12"));
        assert_eq!(tag_of("6.12"), Some("6.12"));
        assert_eq!(tag_of("quay.io/vendor/driver"), None);
        assert!(is_tag("quay.io/vendor/driver:6.12", "quay.io/vendor/driver:6.12"));
        assert!(!is_tag("quay.io/vendor/driver:6.12", "6.1"));
    }

    #[test]
    fn paths_stay_in_the_archive() {
        assert_eq!(clean("a/../../etc/./passwd"), "etc/passwd");
        assert_eq!(clean("/abc/../def/layer.tar"), "def/layer.tar");
    }
}
