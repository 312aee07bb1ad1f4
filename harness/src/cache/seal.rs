//! The seal of an entry: the sha256 of each of its files, so that damage is noticed before the entry is used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use sha2::{Digest, Sha256};

const SEAL: &str = "seal.json";

/// What is hashed at once; a block of zeros counts like a hole in the file.
const BLOCK: usize = 64 * 1024;

/// Writes the seal of the files in `dir`.
pub(super) fn put(dir: &Path) -> io::Result<()> {
    fs::write(dir.join(SEAL), serde_json::to_vec_pretty(&digests(dir)?)?)
}

/// Whether an entry has a seal.
pub(super) fn is_sealed(dir: &Path) -> bool {
    dir.join(SEAL).is_file()
}

/// What is wrong with the files in `dir`, for a person; nothing if they are those that were sealed.
pub(super) fn damage(dir: &Path) -> Option<String> {
    let sealed = fs::read(dir.join(SEAL)).and_then(|text| Ok(serde_json::from_slice(&text)?));
    let sealed: BTreeMap<String, String> = match sealed {
        Ok(sealed) => sealed,
        Err(error) => return Some(format!("its seal can't be read: {error}")),
    };
    let found = match digests(dir) {
        Ok(found) => found,
        Err(error) => return Some(format!("it can't be read: {error}")),
    };
    let differs = |name: &&String| sealed.get(*name) != found.get(*name);
    let names = sealed.keys().chain(found.keys());
    names.filter(differs).min().map(|name| format!("{name} is not what was written"))
}

/// By their paths in `dir`.
fn digests(dir: &Path) -> io::Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    collect(dir, "", &mut digests)?;
    digests.remove(SEAL);
    Ok(digests)
}

fn collect(dir: &Path, below: &str, digests: &mut BTreeMap<String, String>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let path = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{path}/"), digests)?;
        } else {
            digests.insert(path, digest(&entry.path())?);
        }
    }
    Ok(())
}

/// Lower-case hex sha256 over a file's length and its blocks that are not all zeros. A machine's memory is a large
/// file with little in it; its holes cost nothing here.
pub(super) fn digest(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut hash = Sha256::new();
    hash.update(length.to_le_bytes());
    let mut block = vec![0; BLOCK];
    let mut at = 0;
    while let Some(data) = next_data(&file, at)? {
        at = data - data % BLOCK as u64;
        let end = (BLOCK as u64).min(length.saturating_sub(at));
        let bytes = &mut block[..usize::try_from(end).unwrap_or(BLOCK)];
        file.read_exact_at(bytes, at)?;
        if bytes.iter().any(|byte| *byte != 0) {
            hash.update(at.to_le_bytes());
            hash.update(&*bytes);
        }
        at += BLOCK as u64;
    }
    Ok(hex::encode(hash.finalize()))
}

/// Where the file's next data begins; none after the last.
fn next_data(file: &File, at: u64) -> io::Result<Option<u64>> {
    match lseek(file, i64::try_from(at).unwrap_or(i64::MAX), Whence::SeekData) {
        Ok(data) => Ok(Some(u64::try_from(data).unwrap_or(at).max(at))),
        Err(Errno::ENXIO) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("state"), "some state").expect("written");
        let memory = File::create(dir.path().join("memory")).expect("created");
        memory.set_len(64 * 1024 * 1024).expect("a sparse file");
        memory.write_all_at(b"a page", 40 * 1024 * 1024 + 5).expect("written");
        fs::create_dir_all(dir.path().join("layout/blobs")).expect("made");
        fs::write(dir.path().join("layout/blobs/layer"), "a layer").expect("written");
        put(dir.path()).expect("sealed");
        dir
    }

    fn change(dir: &Path, name: &str, bytes: &[u8], at: u64) {
        let file = File::options().write(true).open(dir.join(name)).expect("opened");
        file.write_all_at(bytes, at).expect("written");
    }

    #[test]
    fn what_was_sealed_is_whole() {
        assert_eq!(damage(sealed().path()), None);
    }

    #[test]
    fn one_byte_of_a_hole_a_page_or_the_end_is_damage() {
        for at in [3, 40 * 1024 * 1024 + 6, 64 * 1024 * 1024 - 1] {
            let dir = sealed();
            change(dir.path(), "memory", b"x", at);
            assert_eq!(damage(dir.path()), Some("memory is not what was written".into()), "at {at}");
        }
    }

    #[test]
    fn a_file_that_is_cut_or_missing_or_foreign_is_damage() {
        let dir = sealed();
        let memory = File::options().write(true).open(dir.path().join("memory")).expect("opened");
        memory.set_len(50 * 1024 * 1024).expect("cut where it has a hole");
        assert!(damage(dir.path()).is_some());
        let dir = sealed();
        fs::remove_file(dir.path().join("state")).expect("removed");
        assert_eq!(damage(dir.path()), Some("state is not what was written".into()));
        let dir = sealed();
        fs::write(dir.path().join("more"), "").expect("written");
        assert!(damage(dir.path()).is_some());
        let dir = sealed();
        change(dir.path(), "layout/blobs/layer", b"x", 2);
        assert_eq!(damage(dir.path()), Some("layout/blobs/layer is not what was written".into()));
        let dir = sealed();
        fs::remove_file(dir.path().join(SEAL)).expect("removed");
        assert!(damage(dir.path()).is_some_and(|what| what.contains("seal can't be read")));
    }

    #[test]
    fn zeros_in_the_place_of_a_hole_are_no_damage() {
        let dir = sealed();
        change(dir.path(), "memory", &[0; BLOCK], 0);
        assert_eq!(damage(dir.path()), None);
    }
}
