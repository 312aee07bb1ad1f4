//! An image layer with the same bytes for the same files: sorted, owned by root, without times.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use sha2::{Digest, Sha256};

use super::Error;

/// The files of an image by absolute path.
pub(super) type Files = BTreeMap<String, Entry>;

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// Plain content.
    File(Vec<u8>),
    /// What can be executed.
    Program(Vec<u8>),
    /// A symbolic link.
    Link(String),
}

/// A compressed layer.
#[derive(Debug)]
pub(super) struct Layer {
    /// The tar archive, compressed by gzip.
    pub(super) bytes: Vec<u8>,
    /// `sha256:…` of the archive before compression.
    pub(super) diff_id: String,
}

/// Makes a layer of files; their directories come with them. All are readable by everybody and writable by root.
pub(super) fn build(files: &Files) -> Result<Layer, Error> {
    for path in files.keys() {
        check_path(path)?;
    }
    let directories = directories(files);
    if let Some(path) = files.keys().find(|path| directories.contains(path.trim_start_matches('/'))) {
        return Err(Error::Content(format!("{path} is a file and the directory of another file")));
    }
    let archive = archive(files, &directories).map_err(|error| Error::Content(format!("the archive: {error}")))?;
    let diff_id = digest(&archive);
    let bytes = compress(&archive).map_err(|error| Error::Content(format!("the compression: {error}")))?;
    Ok(Layer { bytes, diff_id })
}

/// `sha256:…` of some bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn check_path(path: &str) -> Result<(), Error> {
    let bad = |part: &str| part.is_empty() || part == "." || part == ".." || part.contains('\0');
    match path.strip_prefix('/') {
        Some(rest) if !rest.split('/').any(bad) => Ok(()),
        _ => Err(Error::Malformed {
            what: "path of a file in the image",
            value: path.to_owned(),
            expected: "it is absolute, without empty parts, . and .., such as /firmware/thing.bin",
        }),
    }
}

/// Each directory above a file, without the leading slash.
fn directories(files: &Files) -> BTreeSet<&str> {
    let mut directories = BTreeSet::new();
    for path in files.keys() {
        let path = path.trim_start_matches('/');
        directories.extend(path.match_indices('/').map(|(index, _)| &path[..index]));
    }
    directories
}

fn archive(files: &Files, directories: &BTreeSet<&str>) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    // All directories first: each stands before what is in it.
    for directory in directories {
        let mut header = header(tar::EntryType::Directory, 0o755, 0);
        archive.append_data(&mut header, format!("{directory}/"), io::empty())?;
    }
    for (path, entry) in files {
        let path = path.trim_start_matches('/');
        let (mode, contents) = match entry {
            Entry::File(contents) => (0o644, contents),
            Entry::Program(contents) => (0o755, contents),
            Entry::Link(target) => {
                let mut header = header(tar::EntryType::Symlink, 0o777, 0);
                archive.append_link(&mut header, path, target)?;
                continue;
            }
        };
        let mut header = header(tar::EntryType::Regular, mode, contents.len() as u64);
        archive.append_data(&mut header, path, contents.as_slice())?;
    }
    archive.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    const UNKNOWN_SYSTEM: u8 = 255;
    let mut encoder =
        GzBuilder::new().mtime(0).operating_system(UNKNOWN_SYSTEM).write(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn files(list: &[(&str, &str)]) -> Files {
        list.iter().map(|(path, text)| ((*path).to_owned(), Entry::File(text.as_bytes().to_vec()))).collect()
    }

    fn unpack(layer: &Layer) -> Vec<u8> {
        let mut archive = Vec::new();
        flate2::read::GzDecoder::new(layer.bytes.as_slice()).read_to_end(&mut archive).expect("gzip");
        archive
    }

    #[test]
    fn the_same_files_are_the_same_bytes_without_times_and_owners() {
        let files = files(&[("/opt/lib/b", "2"), ("/opt/a", "1"), ("/fw/x.bin", "3")]);
        let layer = build(&files).expect("a layer");
        assert_eq!(layer.bytes, build(&files).expect("a layer").bytes);
        let archive = unpack(&layer);
        assert_eq!(layer.diff_id, digest(&archive));
        let mut seen = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let header = entry.header().clone();
            assert_eq!((header.uid().ok(), header.gid().ok(), header.mtime().ok()), (Some(0), Some(0), Some(0)));
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("text");
            seen.push((entry.path().expect("a path").display().to_string(), header.mode().expect("a mode"), text));
        }
        let expected = [
            ("fw/", 0o755, ""),
            ("opt/", 0o755, ""),
            ("opt/lib/", 0o755, ""),
            ("fw/x.bin", 0o644, "3"),
            ("opt/a", 0o644, "1"),
            ("opt/lib/b", 0o644, "2"),
        ];
        assert_eq!(seen, expected.map(|(path, mode, text)| (path.to_owned(), mode, text.to_owned())));
    }

    #[test]
    fn programs_can_be_executed_and_links_stay_links() {
        let mut files = files(&[("/etc/x", "1")]);
        files.insert("/bin".to_owned(), Entry::Link("usr/bin".to_owned()));
        files.insert("/usr/bin/sh".to_owned(), Entry::Program(b"2".to_vec()));
        let archive = unpack(&build(&files).expect("a layer"));
        let mut archive = tar::Archive::new(archive.as_slice());
        let mut seen = BTreeMap::new();
        for entry in archive.entries().expect("entries") {
            let entry = entry.expect("an entry");
            let target = entry.link_name().expect("a name").map(|target| target.display().to_string());
            seen.insert(entry.path().expect("a path").display().to_string(), (entry.header().mode().ok(), target));
        }
        assert_eq!(seen["bin"], (Some(0o777), Some("usr/bin".to_owned())));
        assert_eq!(seen["usr/bin/sh"], (Some(0o755), None));
        assert_eq!(seen["etc/x"], (Some(0o644), None));
    }

    #[test]
    fn paths_longer_than_a_tar_header_survive() {
        let path = format!("/{}/{}", "d".repeat(150), "f".repeat(150));
        let archive = unpack(&build(&files(&[(&path, "x")])).expect("a layer"));
        let mut archive = tar::Archive::new(archive.as_slice());
        let paths: Vec<String> = archive
            .entries()
            .expect("entries")
            .map(|e| e.expect("e").path().expect("p").display().to_string())
            .collect();
        assert!(paths.contains(&path[1..].to_owned()), "{paths:?}");
    }

    #[test]
    fn paths_that_leave_the_image_are_refused() {
        for path in ["relative", "/../x", "/a/./b", "/a//b", "/", "", "/a/"] {
            assert!(build(&files(&[(path, "x")])).is_err(), "{path}");
        }
        assert!(build(&files(&[("/a", "x"), ("/a/b", "x")])).is_err());
    }
}
