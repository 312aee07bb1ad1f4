//! A disk's file as a node image, its checksum pinned.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::catalogue::Kind;
use super::word::word;
use super::{Architecture, Error, Progress, unpack};
use crate::cache::{self, Cache};
use crate::input::open_regular;
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
        let path = path.canonicalize().map_err(unreadable(path))?;
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
    let mut file = open_regular(path).map_err(unreadable(path))?;
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).map_err(unreadable(path))?;
    Ok(hex::encode(hash.finalize()))
}

fn unreadable(path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let origin = path.display().to_string();
    move |error| Error::Disk { origin: origin.clone(), problem: format!("it can't be read: {error}") }
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
    let format = info.format.as_str();
    if !["qcow2", "raw"].contains(&format) {
        return Err(foreign(format!("it is {format}; nodes boot from qcow2 or raw disks")));
    }
    if format == "qcow2" {
        match process::output(Command::new("qemu-img").args(["check", "-q", "-f", format]).arg(disk)) {
            // 3: clusters that nothing refers to, which are no damage.
            Err(process::Error::Failed { status, .. }) if status.code() == Some(3) => {}
            Err(error) => return Err(foreign(format!("it is damaged: {error}"))),
            Ok(_) => {}
        }
    }
    if !has_partitions(disk, format).map_err(|error| foreign(error.to_string()))? {
        return Err(foreign(match format {
            "raw" => "it is neither qcow2 nor a raw disk with a partition table".to_owned(),
            _ => "it has no partition table, so nothing boots from it".to_owned(),
        }));
    }
    if format == "raw" {
        let raw = disk.with_extension("raw");
        fs::rename(disk, &raw).map_err(Error::io("rename", disk))?;
        run(Command::new("qemu-img").args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(disk))?;
        fs::remove_file(&raw).map_err(Error::io("remove", &raw))?;
    }
    // Nodes write to overlays; nothing may ever change the base under them.
    fs::set_permissions(disk, fs::Permissions::from_mode(0o444)).map_err(Error::io("protect", disk))
}

/// Whether the first sector is one that a partition table begins with, of MBR's kind or before GPT's.
fn has_partitions(disk: &Path, format: &str) -> Result<bool, process::Error> {
    let argument = |name: &str, path: &Path| {
        let mut argument = OsString::from(name);
        argument.push(path);
        argument
    };
    let first = disk.with_extension("first-sector");
    let mut dd = Command::new("qemu-img");
    dd.args(["dd", "-f", format, "-O", "raw", "bs=512", "count=1"]).arg(argument("if=", disk));
    process::output(dd.arg(argument("of=", &first)))?;
    let sector = fs::read(&first).unwrap_or_default();
    let _ = fs::remove_file(&first);
    Ok(sector.get(510..512) == Some(&[0x55, 0xaa]))
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
        adopted(raw).expect("a raw disk");
        let error = adopted(|disk| fs::write(disk, "no disk at all").expect("written")).expect_err("refused");
        assert!(error.contains("the disk is no disk for a node: it is neither qcow2 nor a raw disk"), "{error}");
    }

    fn raw(disk: &Path) {
        let mut bytes = vec![7; 1 << 20];
        bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
        fs::write(disk, bytes).expect("written");
    }

    fn qcow2(disk: &Path) {
        let source = disk.with_extension("source");
        raw(&source);
        let arguments = ["convert", "-f", "raw", "-O", "qcow2", source.to_str().expect("UTF-8")];
        qemu_img(&arguments, disk);
    }

    #[test]
    fn a_qcow2_disk_that_was_cut_or_that_nothing_boots_from_is_refused() {
        adopted(qcow2).expect("a whole disk");
        let error = adopted(|disk| {
            qcow2(disk);
            let file = fs::File::options().write(true).open(disk).expect("opened");
            file.set_len(file.metadata().expect("there").len() / 2).expect("cut");
        });
        let error = error.expect_err("refused");
        assert!(error.contains("it is damaged: qemu-img check"), "{error}");
        let error = adopted(|disk| qemu_img(&["create", "-q", "-f", "qcow2", "-o", "size=1M"], disk));
        let error = error.expect_err("refused");
        assert!(error.contains("no partition table"), "{error}");
    }

    #[test]
    fn a_disk_that_reads_another_file_of_this_host_is_refused() {
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
