//! The files of a container image as a root directory. Each path is resolved by the kernel as by a process that has that
//! directory for its root (`openat2` with `RESOLVE_IN_ROOT`), so no link of the image leads out of it.

use std::collections::HashSet;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use nix::fcntl::OFlag;
use tar::EntryType;

use super::Error;
use crate::within;

/// What compiling a module does not need, and the places where mounts are made.
const LEFT_OUT: &[&str] = &[
    "boot",
    "build",
    "dev",
    "proc",
    "sys",
    "usr/lib/firmware",
    "usr/lib/locale",
    "usr/lib/sysimage",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/licenses",
    "usr/share/locale",
    "usr/share/man",
    "var/cache",
    "var/lib/dnf",
    "var/lib/rpm",
];

/// Where programs are.
const PROGRAM_DIRS: [&str; 4] = ["usr/bin", "usr/sbin", "bin", "sbin"];

/// What building and packing runs.
const PROGRAMS: [&str; 6] = ["sh", "make", "gcc", "strip", "find", "depmod"];

/// A layer's mark for what lower layers have.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// A directory that becomes a root.
pub(super) struct Root(OwnedFd);

impl Root {
    /// Makes the directory.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        Ok(Self(File::open(path)?.into()))
    }

    /// Unpacks what an engine exported.
    pub(super) fn unpack(&self, archive: impl Read) -> io::Result<()> {
        self.entries(archive, false)
    }

    /// Unpacks a layer over what is there, and removes what it hides.
    pub(super) fn unpack_layer(&self, archive: impl Read) -> io::Result<()> {
        self.entries(archive, true)
    }

    fn entries(&self, archive: impl Read, is_layer: bool) -> io::Result<()> {
        let mut own = HashSet::new();
        for entry in tar::Archive::new(archive).entries()? {
            let mut entry = entry?;
            let path = entry.path()?.into_owned();
            let at = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
            let Some(clean) = plain(&path).map_err(at)? else { continue };
            let name = clean.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if is_left_out(&clean) || entry.header().entry_type() == EntryType::XGlobalHeader {
                continue;
            }
            match name.strip_prefix(WHITEOUT) {
                Some(_) if is_layer && name == OPAQUE => self.clear(clean.parent().unwrap_or(Path::new("")), &own),
                Some("" | "." | "..") if is_layer => Err(invalid("it hides no name")),
                Some(hidden) if is_layer => self.place(&clean.with_file_name(hidden)).and_then(|at| remove(&at.path)),
                _ => {
                    let made = self.put(&mut entry, &clean);
                    own.insert(clean);
                    made
                }
            }
            .map_err(at)?;
        }
        Ok(())
    }

    fn put<R: Read>(&self, entry: &mut tar::Entry<'_, R>, path: &Path) -> io::Result<()> {
        let kind = entry.header().entry_type();
        let place = self.place(path)?;
        let is_directory = fs::symlink_metadata(&place.path).is_ok_and(|known| known.is_dir());
        if kind.is_dir() && is_directory {
            return Ok(());
        }
        remove(&place.path)?;
        // Whoever unpacks it must be able to remove it; nobody but the sandbox's root runs anything of it.
        let mode = entry.header().mode()? & 0o777;
        match kind {
            EntryType::Directory => {
                fs::create_dir(&place.path)?;
                fs::set_permissions(&place.path, Permissions::from_mode(mode | 0o700))
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let mut file = File::options().write(true).create_new(true).open(&place.path)?;
                io::copy(entry, &mut file)?;
                file.set_permissions(Permissions::from_mode(mode | 0o600))?;
                // `make` compares them.
                let time = UNIX_EPOCH.checked_add(Duration::from_secs(entry.header().mtime()?));
                time.map_or(Ok(()), |time| file.set_modified(time))
            }
            EntryType::Symlink => symlink(link_of(entry)?, &place.path),
            EntryType::Link => {
                let target = link_of(entry)?;
                let target = plain(&target)?.unwrap_or_default();
                let from = self.open(target.parent().unwrap_or(Path::new("")))?;
                fs::hard_link(Place::new(from, &target).path, &place.path)
            }
            // Devices, pipes: nothing that is compiled needs them.
            _ => Ok(()),
        }
    }

    /// Removes what lower layers have in a directory.
    fn clear(&self, path: &Path, own: &HashSet<PathBuf>) -> io::Result<()> {
        let directory = self.directory(path)?;
        for name in fs::read_dir(Place::new(directory, Path::new(".")).path)? {
            let inside = path.join(name?.file_name());
            if !own.contains(&inside) {
                remove(&self.place(&inside)?.path)?;
            }
        }
        Ok(())
    }

    /// Where something may be put; the directories above it are made.
    fn place(&self, path: &Path) -> io::Result<Place> {
        Ok(Place::new(self.directory(path.parent().unwrap_or(Path::new("")))?, path))
    }

    fn directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.file_name().is_some() => {
                let above = self.directory(path.parent().unwrap_or(Path::new("")))?;
                fs::create_dir(Place::new(above, path).path)?;
                self.open(path)
            }
            opened => opened,
        }
    }

    /// Opens a directory.
    fn open(&self, path: &Path) -> io::Result<OwnedFd> {
        self.resolve(path, OFlag::O_DIRECTORY)
    }

    fn resolve(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        within::open(&self.0, path, OFlag::O_PATH | flags)
    }

    fn has(&self, path: impl AsRef<Path>) -> bool {
        self.resolve(path.as_ref(), OFlag::empty()).is_ok()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(directory) = self.open(Path::new(path)) else { return Vec::new() };
        let entries = fs::read_dir(Place::new(directory, Path::new(".")).path).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The kernels whose headers are in it.
    fn releases(&self) -> Vec<String> {
        let mut releases = self.names("usr/src/kernels");
        let built = self.names("lib/modules").into_iter();
        releases.extend(built.filter(|release| self.has(format!("lib/modules/{release}/build/"))));
        releases.sort();
        releases.dedup();
        releases
    }

    /// Makes it a build root for a kernel, or tells what of it is missing.
    pub(super) fn prepare(&self, toolkit: &str, kernel: &str) -> Result<(), Error> {
        let build = format!("lib/modules/{kernel}/build");
        let headers = format!("usr/src/kernels/{kernel}");
        let has_build = self.has(format!("{build}/"));
        if !has_build && !self.has(format!("{headers}/")) {
            let (toolkit, kernel) = (toolkit.to_owned(), kernel.to_owned());
            return Err(Error::Headers { toolkit, kernel, has: self.releases() });
        }
        let is_there = |name: &&str| PROGRAM_DIRS.iter().any(|dir| self.has(format!("{dir}/{name}")));
        let missing: Vec<&'static str> = PROGRAMS.into_iter().filter(|name| !is_there(name)).collect();
        if !missing.is_empty() {
            return Err(Error::Programs { toolkit: toolkit.to_owned(), missing });
        }
        let places = || {
            for place in ["build", "dev", "proc", "tmp"] {
                self.directory(Path::new(place))?;
            }
            File::create_new(self.place(Path::new("dev/null"))?.path)?;
            if !has_build {
                let link = self.place(Path::new(&build))?;
                remove(&link.path)?;
                symlink(format!("/{headers}"), link.path)?;
            }
            Ok(())
        };
        places().map_err(|source| Error::Unpack { toolkit: toolkit.to_owned(), source })
    }
}

/// A name in an open directory.
struct Place {
    path: PathBuf,
    /// The path goes through it.
    _directory: OwnedFd,
}

impl Place {
    fn new(directory: OwnedFd, path: &Path) -> Self {
        let above = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        Self { path: above.join(path.file_name().unwrap_or_default()), _directory: directory }
    }
}

/// The parts of a path, if it has any.
fn plain(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(invalid("the path leads out of the image"));
            }
        }
    }
    Ok(Some(parts).filter(|parts| !parts.as_os_str().is_empty()))
}

/// The modules and the kernel itself too: only the headers are needed.
fn is_left_out(path: &Path) -> bool {
    let below = path.strip_prefix("usr").unwrap_or(path);
    let of_modules = below.strip_prefix("lib/modules").ok().and_then(|path| path.components().nth(1));
    LEFT_OUT.iter().any(|left_out| path.starts_with(left_out))
        || of_modules.is_some_and(|part| part.as_os_str() == "kernel" || part.as_os_str() == "vmlinuz")
}

fn link_of<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<PathBuf> {
    let target = entry.link_name()?.map(std::borrow::Cow::into_owned);
    target.ok_or_else(|| invalid("it is a link to nothing"))
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Removes what is at a path, if anything is; a link is not followed.
fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(known) if known.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
pub(super) mod fixture {
    //! Archives for tests.

    use tar::{Builder, EntryType, Header};

    /// What an entry is.
    pub(crate) enum Kind<'k> {
        Directory,
        File(&'k [u8]),
        Program(&'k [u8]),
        Link(&'k str),
        HardLink(&'k str),
    }

    /// An archive with these entries, whatever their paths are.
    pub(crate) fn archive(entries: &[(&str, Kind<'_>)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (path, kind) in entries {
            let mut header = Header::new_gnu();
            header.as_gnu_mut().expect("a GNU header").name[..path.len()].copy_from_slice(path.as_bytes());
            let (entry_type, mode, bytes, target) = match kind {
                Kind::Directory => (EntryType::Directory, 0o555, &[][..], None),
                Kind::File(bytes) => (EntryType::Regular, 0o444, *bytes, None),
                Kind::Program(bytes) => (EntryType::Regular, 0o4755, *bytes, None),
                Kind::Link(target) => (EntryType::Symlink, 0o777, &[][..], Some(target)),
                Kind::HardLink(target) => (EntryType::Link, 0o644, &[][..], Some(target)),
            };
            header.set_entry_type(entry_type);
            header.set_mode(mode);
            header.set_mtime(1_000_000_000);
            header.set_size(bytes.len() as u64);
            if let Some(target) = target {
                header.as_gnu_mut().expect("a GNU header").linkname[..target.len()].copy_from_slice(target.as_bytes());
            }
            header.set_cksum();
            builder.append(&header, bytes).expect("added");
        }
        builder.into_inner().expect("an archive")
    }
}

#[cfg(test)]
mod tests {
    use super::fixture::{Kind, archive};
    use super::*;

    struct Case {
        dir: tempfile::TempDir,
        root: Root,
    }

    impl Case {
        fn new() -> Self {
            let dir = tempfile::tempdir().expect("temporary directory");
            fs::create_dir(dir.path().join("outside")).expect("made");
            let root = Root::create(&dir.path().join("root")).expect("a root");
            Self { dir, root }
        }

        fn layer(&self, entries: &[(&str, Kind<'_>)]) -> io::Result<()> {
            self.root.unpack_layer(archive(entries).as_slice())
        }

        fn text(&self, path: &str) -> Option<String> {
            fs::read_to_string(self.dir.path().join("root").join(path)).ok()
        }
    }

    #[test]
    fn files_are_there_as_they_were_and_can_be_removed() {
        let case = Case::new();
        let entries = [
            ("./usr/", Kind::Directory),
            ("./usr/a", Kind::Program(b"a")),
            ("usr/b", Kind::HardLink("usr/a")),
            ("usr/c", Kind::Link("/usr/a")),
            ("boot/vmlinuz", Kind::File(b"left out")),
            ("lib/modules/6.1/kernel/x.ko", Kind::File(b"left out")),
            ("lib/modules/6.1/build", Kind::Link("/usr")),
        ];
        case.root.unpack(archive(&entries).as_slice()).expect("unpacked");
        assert_eq!((case.text("usr/a"), case.text("usr/b")), (Some("a".into()), Some("a".into())));
        let known = fs::metadata(case.dir.path().join("root/usr/a")).expect("there");
        assert_eq!(known.permissions().mode() & 0o7777, 0o755, "no set-user-id bit");
        assert_eq!(known.modified().expect("a time"), UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        assert!(!case.root.has("boot") && !case.root.has("lib/modules/6.1/kernel"));
        assert!(case.root.has("usr/c") && case.root.has("lib/modules/6.1/build/a"), "absolute links stay inside");
        let usr = fs::metadata(case.dir.path().join("root/usr")).expect("there");
        assert_eq!(usr.permissions().mode() & 0o777, 0o755, "its owner may remove what is in it");
    }

    #[test]
    fn an_upper_layer_replaces_and_hides() {
        let case = Case::new();
        let lower = [("d/x", Kind::File(b"1")), ("d/y", Kind::File(b"1")), ("e/z", Kind::File(b"1"))];
        case.layer(&lower).expect("unpacked");
        case.layer(&[("f", Kind::Link("d")), ("g", Kind::Link("d"))]).expect("unpacked");
        let upper = [
            ("d/.wh.x", Kind::File(b"")),
            ("d/y", Kind::File(b"2")),
            ("e/new", Kind::File(b"2")),
            ("e/.wh..wh..opq", Kind::File(b"")),
            ("d/.wh.absent", Kind::File(b"")),
            ("f/", Kind::Directory),
            ("g/deep/w", Kind::File(b"2")),
        ];
        case.layer(&upper).expect("unpacked");
        assert_eq!((case.text("d/x"), case.text("d/y")), (None, Some("2".into())));
        assert_eq!((case.text("e/z"), case.text("e/new")), (None, Some("2".into())));
        assert!(fs::symlink_metadata(case.dir.path().join("root/f")).expect("there").is_dir(), "in the link's place");
        assert_eq!(case.text("d/deep/w"), Some("2".into()), "a link above is followed");
    }

    #[test]
    fn nothing_is_written_read_or_removed_outside() {
        let case = Case::new();
        let outside = case.dir.path().join("outside");
        fs::write(outside.join("secret"), "secret").expect("written");
        let absolute = outside.to_string_lossy().into_owned();
        for path in ["../outside/x", "a/../../outside/x", "/../outside/x"] {
            let refused = case.layer(&[(path, Kind::File(b"x"))]).expect_err(path).to_string();
            assert!(refused.contains("leads out"), "{refused}");
        }
        for hidden in [".wh.", ".wh..", "a/.wh...", "a/.wh.."] {
            assert!(case.layer(&[("a/b", Kind::File(b"x")), (hidden, Kind::File(b""))]).is_err(), "{hidden}");
        }
        let links = [("up", Kind::Link("../../outside")), ("out", Kind::Link(&absolute)), ("root", Kind::Link("/"))];
        case.layer(&links).expect("links");
        // Each is made, or refused, inside.
        for link in ["up", "out"] {
            let _ = case.layer(&[(&format!("{link}/x"), Kind::File(b"x"))]);
            let _ = case.layer(&[(&format!("{link}/.wh.secret"), Kind::File(b""))]);
            let _ = case.layer(&[(&format!("{link}/.wh..wh..opq"), Kind::File(b""))]);
            let stolen = case.layer(&[("stolen", Kind::HardLink(&format!("{link}/secret")))]);
            assert!(stolen.is_err() && case.text("stolen").is_none(), "{link}");
        }
        assert!(case.layer(&[("stolen", Kind::HardLink("../outside/secret"))]).is_err());
        case.layer(&[("root/inside", Kind::File(b"x"))]).expect("below the root itself");
        assert_eq!(case.text("inside"), Some("x".into()));
        case.layer(&[("up", Kind::File(b"no link any more"))]).expect("replaced");
        let left: Vec<_> = fs::read_dir(&outside).expect("listed").map(|one| one.expect("one").file_name()).collect();
        assert_eq!(left, ["secret"]);
        assert_eq!(fs::read_to_string(outside.join("secret")).expect("read"), "secret");
    }

    #[test]
    fn an_archive_that_is_cut_short_is_refused() {
        let case = Case::new();
        let whole = archive(&[("a", Kind::File(&[7; 4000]))]);
        assert!(case.root.unpack(&whole[..2000]).is_err());
        assert!(
            case.root.unpack(&b"this is no archive, but longer than a header of one would have to be"[..]).is_err()
        );
    }
}
