//! The cache of everything that is slow to make: node images, kernel build roots, modules, the CA.
//!
//! An entry is a directory `KIND/KEY` that is complete from the moment it has its name: it is made in a
//! directory beside it, under a lock that dies with its holder, and renamed. What a killed maker left is
//! removed by the next one.

mod fetched;
mod seal;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::fcntl::{Flock, FlockArg};
use sha2::{Digest, Sha256};

pub use fetched::Fetched;

/// What the name of an entry in the making begins with.
const PARTIAL: &str = ".partial-";

/// A sealed entry that was not used for this long is removed when another of its kind is made.
const STALE: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The cache's root directory.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// What went wrong with the cache.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no place for it.
    #[error(
        "no place for the cache: none of --cache, DAY1_CACHE, XDG_CACHE_HOME and HOME is set; set DAY1_CACHE to a directory with 6 GiB free"
    )]
    NoPlace,
    /// A file operation failed.
    #[error("cannot {what} {path} in the cache: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system is too full.
    #[error(
        "making {what} needs {need} MiB free in {path}, which has {free} MiB: free some, or set DAY1_CACHE to a directory elsewhere"
    )]
    NoSpace {
        /// What was to be made.
        what: String,
        /// MiB needed.
        need: u64,
        /// MiB free.
        free: u64,
        /// Where.
        path: PathBuf,
    },
}

impl Cache {
    /// Opens the cache at `explicit`, else at `$DAY1_CACHE`, `$XDG_CACHE_HOME/day1` or `~/.cache/day1`.
    pub fn open(explicit: Option<&Path>) -> Result<Self, Error> {
        let variable = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = explicit
            .map(Path::to_owned)
            .or_else(|| variable("DAY1_CACHE"))
            .or_else(|| variable("XDG_CACHE_HOME").map(|dir| dir.join("day1")))
            .or_else(|| variable("HOME").map(|dir| dir.join(".cache/day1")))
            .ok_or(Error::NoPlace)?;
        fs::create_dir_all(&root).map_err(|source| Error::Io { what: "create", path: root.clone(), source })?;
        let root = root.canonicalize().map_err(|source| Error::Io { what: "resolve", path: root, source })?;
        Ok(Self { root })
    }

    /// The root directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The entry's directory if it is complete.
    pub fn find(&self, kind: &str, key: &str) -> Option<PathBuf> {
        Some(self.root.join(kind).join(key)).filter(|path| path.is_dir())
    }

    /// The entry's directory; `make` fills it first where it is missing. `make` gets an empty directory on
    /// the same file system. Of several processes that want one entry, one makes it and the others wait.
    ///
    /// `kind` and `key` are file names; `need_mib` is the free space that making it takes.
    pub fn entry<E: From<Error>>(
        &self,
        kind: &str,
        key: &str,
        need_mib: u64,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        if let Some(path) = self.find(kind, key) {
            return Ok(path);
        }
        let _lock = self.lock(kind, key)?;
        if let Some(path) = self.find(kind, key) {
            return Ok(path);
        }
        self.make(kind, key, need_mib, make)
    }

    /// The same for an entry whose files are hashed before each use: `tell` hears of one that is damaged, and it is
    /// made anew.
    pub fn sealed_entry<E: From<Error>>(
        &self,
        kind: &str,
        key: &str,
        need_mib: u64,
        tell: &dyn Fn(&str),
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        if let Some(path) = self.find(kind, key)
            && seal::damage(&path).is_none()
        {
            note_use(&path);
            return Ok(path);
        }
        let _lock = match self.try_lock(kind, key) {
            Some(lock) => lock,
            None => {
                tell(&format!("waiting for another process or trial that makes the {kind} {key}"));
                self.lock(kind, key)?
            }
        };
        if let Some(path) = self.find(kind, key) {
            let Some(damage) = seal::damage(&path) else { return Ok(path) };
            tell(&format!("the {kind} {} is damaged ({damage}) and is made anew", path.display()));
            fs::remove_dir_all(&path).map_err(|source| Error::Io { what: "remove", path, source })?;
        }
        self.make(kind, key, need_mib, |partial| {
            make(partial)?;
            let failed = |source| Error::Io { what: "seal", path: partial.to_owned(), source };
            seal::put(partial).map_err(|error| failed(error).into())
        })
    }

    /// Makes an entry whose lock is held.
    fn make<E: From<Error>>(
        &self,
        kind: &str,
        key: &str,
        need_mib: u64,
        make: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        self.sweep(kind, key);
        self.check_space(kind, need_mib)?;
        let partial = self.root.join(kind).join(format!("{PARTIAL}{key}"));
        let at = |what: &'static str, path: &Path| {
            let path = path.to_owned();
            move |source| Error::Io { what, path, source }
        };
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(at("remove", &partial))?;
        }
        fs::create_dir_all(&partial).map_err(at("create", &partial))?;
        if let Err(error) = make(&partial) {
            // The maker's error is the one to tell; what stays behind is removed by the next maker.
            let _ = fs::remove_dir_all(&partial);
            return Err(error);
        }
        let path = self.root.join(kind).join(key);
        fs::rename(&partial, &path).map_err(at("rename", &partial))?;
        Ok(path)
    }

    /// Removes what killed makers left of other entries, and sealed entries that nobody has used for long. Whatever
    /// is locked is being made; what can't be removed now, a later maker will remove.
    fn sweep(&self, kind: &str, making: &str) {
        let Ok(entries) = fs::read_dir(self.root.join(kind)) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let partial = name.strip_prefix(PARTIAL);
            let key = partial.unwrap_or(&name);
            let is_left = partial.is_some() || (seal::is_sealed(&path) && is_stale(&path));
            if key != making && is_left && self.try_lock(kind, key).is_some() {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }

    /// Removes an entry if it is there.
    pub fn remove(&self, kind: &str, key: &str) -> Result<bool, Error> {
        let _lock = self.lock(kind, key)?;
        let Some(path) = self.find(kind, key) else { return Ok(false) };
        fs::remove_dir_all(&path).map_err(|source| Error::Io { what: "remove", path, source })?;
        Ok(true)
    }

    fn lock(&self, kind: &str, key: &str) -> Result<Flock<File>, Error> {
        let path = self.lock_path(kind, key);
        Flock::lock(self.lock_file(kind, key)?, FlockArg::LockExclusive).map_err(|(_, errno)| Error::Io {
            what: "lock",
            path,
            source: errno.into(),
        })
    }

    /// The entry's lock, if nobody has it.
    fn try_lock(&self, kind: &str, key: &str) -> Option<Flock<File>> {
        Flock::lock(self.lock_file(kind, key).ok()?, FlockArg::LockExclusiveNonblock).ok()
    }

    fn lock_file(&self, kind: &str, key: &str) -> Result<File, Error> {
        let dir = self.root.join(kind);
        fs::create_dir_all(&dir).map_err(|source| Error::Io { what: "create", path: dir, source })?;
        let path = self.lock_path(kind, key);
        File::create(&path).map_err(|source| Error::Io { what: "create", path, source })
    }

    fn lock_path(&self, kind: &str, key: &str) -> PathBuf {
        self.root.join(kind).join(format!(".lock-{key}"))
    }

    fn check_space(&self, what: &str, need_mib: u64) -> Result<(), Error> {
        let stat = nix::sys::statvfs::statvfs(&self.root).map_err(|errno| Error::Io {
            what: "ask the free space of",
            path: self.root.clone(),
            source: errno.into(),
        })?;
        let free = stat.blocks_available() * stat.fragment_size() / (1024 * 1024);
        if free < need_mib {
            return Err(Error::NoSpace { what: what.to_owned(), need: need_mib, free, path: self.root.clone() });
        }
        Ok(())
    }
}

/// A directory's modification time says when its entry was last used; where it can't be set, the entry counts as
/// older, and is made anew some day.
fn note_use(path: &Path) {
    let _ = File::open(path).and_then(|dir| dir.set_modified(SystemTime::now()));
}

fn is_stale(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > STALE))
}

/// Lower-case hex sha256 of what is in a file, without its holes; not the one that `sha256sum` prints.
pub fn file_digest(path: &Path) -> Result<String, Error> {
    seal::digest(path).map_err(|source| Error::Io { what: "read", path: path.to_owned(), source })
}

/// Lower-case hex sha256 over parts, each with its length, so that parts can't run into each other.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_made_once_and_a_failed_one_is_not_trusted() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let failed = cache.entry("thing", "k", 0, |partial| {
            fs::write(partial.join("half"), "x").expect("written");
            Err(Error::NoPlace)
        });
        assert!(failed.is_err());
        assert!(cache.find("thing", "k").is_none());
        let made = cache.entry::<Error>("thing", "k", 0, |partial| {
            assert_eq!(fs::read_dir(partial).expect("listed").count(), 0, "an empty directory");
            fs::write(partial.join("whole"), "x").expect("written");
            Ok(())
        });
        let again = cache.entry::<Error>("thing", "k", 0, |_| panic!("made twice"));
        assert_eq!(made.expect("made"), again.expect("found"));
    }

    #[test]
    fn a_damaged_entry_is_told_and_made_anew_and_a_whole_one_is_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let told = std::cell::RefCell::new(Vec::new());
        let made = std::cell::Cell::new(0);
        let entry = || {
            let tell = |text: &str| told.borrow_mut().push(text.to_owned());
            let entry = cache.sealed_entry::<Error>("thing", "k", 0, &tell, |partial| {
                made.set(made.get() + 1);
                fs::write(partial.join("file"), "whole").expect("written");
                Ok(())
            });
            entry.expect("an entry")
        };
        let path = entry();
        assert_eq!((entry(), made.get()), (path.clone(), 1));
        fs::write(path.join("file"), "wholf").expect("damaged");
        entry();
        assert_eq!((made.get(), told.borrow().len()), (2, 1), "{told:?}");
        assert!(told.borrow()[0].contains("file is not what was written"), "{told:?}");
        fs::remove_file(path.join("file")).expect("removed");
        fs::remove_file(path.join("seal.json")).expect("removed");
        entry();
        assert_eq!(made.get(), 3);
    }

    #[test]
    fn what_killed_makers_and_old_runs_left_goes_when_another_entry_is_made() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let make = |key: &str| {
            let entry = cache.sealed_entry::<Error>("thing", key, 0, &|_| {}, |partial| {
                fs::write(partial.join("file"), "whole").expect("written");
                Ok(())
            });
            entry.expect("an entry")
        };
        let (old, used) = (make("old"), make("used"));
        let at_work = cache.lock("thing", "at-work").expect("locked");
        for key in ["killed", "at-work"] {
            fs::create_dir(dir.path().join("thing").join(format!(".partial-{key}"))).expect("made");
        }
        let long_ago = SystemTime::now() - STALE - Duration::from_secs(60);
        for path in [&old, &used] {
            File::open(path).and_then(|dir| dir.set_modified(long_ago)).expect("aged");
        }
        make("used");
        make("new");
        let is_there = |name: &str| dir.path().join("thing").join(name).exists();
        assert!(is_there("used") && is_there("new") && is_there(".partial-at-work"));
        assert!(!is_there("old") && !is_there(".partial-killed"));
        drop(at_work);
    }

    #[test]
    fn of_several_that_want_one_entry_one_makes_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let made = std::sync::atomic::AtomicUsize::new(0);
        let together = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    together.wait();
                    let entry = cache.sealed_entry::<Error>("thing", "k", 0, &|_| {}, |partial| {
                        made.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        fs::write(partial.join("file"), "whole").expect("written");
                        Ok(())
                    });
                    entry.expect("an entry");
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
    }

    #[test]
    fn too_little_space_is_told_before_anything_is_made() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("cache");
        let error = cache.entry::<Error>("thing", "k", u64::MAX, |_| panic!("made")).expect_err("no space");
        assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    }

    #[test]
    fn parts_of_a_key_keep_their_borders() {
        assert_ne!(key([b"ab".as_slice(), b"c"]), key([b"a".as_slice(), b"bc"]));
    }
}
