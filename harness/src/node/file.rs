//! A disk's file as a node image, its checksum pinned.

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::catalogue::Kind;
use super::word::word;
use super::{Architecture, Error, Progress, unpack};
use crate::cache::{self, Cache};
use crate::process;

/// Changes when another disk is made of the same file.
const FORMAT: &[u8] = b"day1 file image 1";

/// What the definition of a node image from a file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiskFile {
    kind: Kind,
    /// The file, qcow2 or raw, compressed with xz, gzip or zstd or not. The cache keeps a copy.
    pub path: PathBuf,
    /// Its lower-case hex sha256.
    pub sha256: Sha256Digest,
    /// The processor that it is for.
    #[serde(default)]
    pub architecture: Architecture,
}

word!(
    /// A sha256.
    Sha256Digest,
    |text| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)),
    "a sha256: 64 lower-case hex digits, as `sha256sum` prints it"
);

impl DiskFile {
    /// Pins a file as it is now.
    pub fn pin(path: &Path, architecture: Architecture) -> Result<Self, Error> {
        let path = path.canonicalize().map_err(Error::io("find", path))?;
        let sha256 = digest(&path)?;
        let sha256 = Sha256Digest::new(&sha256).expect("a sha256 in hex");
        Ok(Self { kind: Kind::File, path, sha256, architecture })
    }

    pub(super) fn beside(mut self, dir: &Path) -> Self {
        self.path = dir.join(self.path);
        self
    }

    /// Of the entry that is this name's own: it goes with the name.
    pub(super) fn key(&self, name: &str) -> String {
        cache::key([FORMAT, name.as_bytes(), self.sha256.as_str().as_bytes()])
    }

    pub(super) fn ensure(&self, cache: &Cache, name: &str, progress: &dyn Progress) -> Result<PathBuf, Error> {
        let length = fs::metadata(&self.path).map_or(0, |metadata| metadata.len());
        // A compressed disk becomes larger; by how much, nobody knows before.
        let need_mib = 512 + 3 * (length >> 20);
        cache.entry(super::CACHE_KIND, &self.key(name), need_mib, |dir| {
            progress.step(&format!("taking node image {name} from {}", self.path.display()));
            let found = digest(&self.path)?;
            if found != self.sha256.as_str() {
                return Err(Error::Checksum {
                    what: self.path.display().to_string(),
                    expected: self.sha256.as_str().to_owned(),
                    found,
                });
            }
            let disk = dir.join(super::DISK);
            unpack::unpack(&self.path, &disk, None, progress)?;
            adopt(&disk, &self.path.display().to_string())
        })
    }
}

fn digest(path: &Path) -> Result<String, Error> {
    let unreadable = |error: std::io::Error| Error::Disk {
        origin: path.display().to_string(),
        problem: format!("it can't be read: {error}"),
    };
    let mut file = fs::File::open(path).map_err(unreadable)?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(unreadable)?;
    Ok(hex::encode(hash.finalize()))
}

/// What `qemu-img info` says.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    format: String,
    backing_filename: Option<String>,
    #[serde(default)]
    format_specific: serde_json::Value,
}

/// Makes a disk that came from elsewhere one that nodes boot from: qcow2, of its own, read-only.
pub(super) fn adopt(disk: &Path, origin: &str) -> Result<(), Error> {
    let foreign = |problem: String| Error::Disk { origin: origin.to_owned(), problem };
    let run = |command: &mut Command| process::output(command).map_err(|error| foreign(error.to_string()));
    let text = run(Command::new("qemu-img").args(["info", "--output=json"]).arg(disk))?;
    let info: Info = serde_json::from_slice(&text).map_err(|error| foreign(error.to_string()))?;
    // Either would have QEMU read another file of this host, whatever it is.
    let elsewhere = info
        .backing_filename
        .or_else(|| info.format_specific.pointer("/data/data-file").and_then(|file| file.as_str().map(str::to_owned)));
    if let Some(other) = elsewhere {
        return Err(foreign(format!(
            "it is only a part of a disk and refers to {other:?}; `qemu-img convert -O qcow2` makes a whole one"
        )));
    }
    match info.format.as_str() {
        "qcow2" => {}
        "raw" => {
            let mut start = [0; 512];
            let mut file = fs::File::open(disk).map_err(Error::io("open", disk))?;
            if file.read_exact(&mut start).is_err() || start[510..] != [0x55, 0xaa] {
                return Err(foreign("it is neither qcow2 nor a raw disk with a partition table".to_owned()));
            }
            let raw = disk.with_extension("raw");
            fs::rename(disk, &raw).map_err(Error::io("rename", disk))?;
            run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(disk))?;
            fs::remove_file(&raw).map_err(Error::io("remove", &raw))?;
        }
        other => return Err(foreign(format!("it is {other}; nodes boot from qcow2 or raw disks"))),
    }
    // Nodes write to overlays; nothing may ever change the base under them.
    fs::set_permissions(disk, fs::Permissions::from_mode(0o444)).map_err(Error::io("protect", disk))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adopted(make: impl FnOnce(&Path)) -> Result<(), String> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let disk = dir.path().join("disk.qcow2");
        make(&disk);
        adopt(&disk, "the disk").map_err(|error| error.to_string())?;
        let format = process::output(Command::new("qemu-img").arg("info").arg(&disk)).expect("told");
        assert!(String::from_utf8_lossy(&format).contains("file format: qcow2"));
        assert!(fs::metadata(&disk).expect("there").permissions().readonly());
        Ok(())
    }

    fn qemu_img(arguments: &[&str], disk: &Path) {
        process::output(Command::new("qemu-img").args(arguments).arg(disk)).expect("made");
    }

    #[test]
    fn a_raw_disk_becomes_a_qcow2_one_and_what_is_no_disk_is_refused() {
        adopted(|disk| {
            let mut bytes = vec![0; 1 << 20];
            bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
            fs::write(disk, bytes).expect("written");
        })
        .expect("a raw disk");
        let error = adopted(|disk| fs::write(disk, "no disk at all").expect("written")).expect_err("refused");
        assert!(error.contains("the disk is no disk for a node: it is neither qcow2 nor a raw disk"), "{error}");
    }

    #[test]
    fn a_disk_that_reads_another_file_of_this_host_is_refused() {
        adopted(|disk| qemu_img(&["create", "-q", "-f", "qcow2", "-o", "size=1M"], disk)).expect("a whole disk");
        let elsewhere = tempfile::tempdir().expect("temporary directory");
        let data_file = format!("data_file={}", elsewhere.path().join("data").display());
        for option in ["backing_file=/etc/hostname,backing_fmt=raw", &data_file] {
            let error = adopted(|disk| {
                qemu_img(&["create", "-q", "-u", "-f", "qcow2", "-o", &format!("{option},size=1M")], disk);
            });
            let error = error.expect_err("refused");
            assert!(error.contains("refers to \"/"), "{option}: {error}");
        }
    }
}
