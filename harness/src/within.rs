//! Files of a tree that is another system's root: its links lead where they would there, and never out of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};

/// Opens a path of the tree whose root is this directory.
pub(crate) fn open(root: impl AsFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let how = OpenHow::new().flags(OFlag::O_CLOEXEC | flags);
    let how = how.resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    loop {
        match openat2(root.as_fd(), path, how) {
            // Something was renamed meanwhile, anywhere.
            Err(Errno::EAGAIN) => {}
            opened => return opened.map_err(io::Error::from),
        }
    }
}
