//! The run's temporary directory, which goes away whatever ends the run.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::sys::signal::{SigSet, Signal};

/// The hidden subcommand of `day1` that [`guard`] stands behind.
pub const GUARD_SUBCOMMAND: &str = "guard-scratch";

/// A temporary directory with a guard: a small process that outlives this one by a moment and removes the
/// directory, also when this process is killed with SIGKILL.
pub struct Scratch {
    dir: PathBuf,
    guard: Child,
    lifeline: Option<ChildStdin>,
}

impl Scratch {
    /// Makes the directory and starts its guard from `day1`, the path of the `day1` program.
    pub fn new(day1: &Path) -> io::Result<Self> {
        let dir = tempfile::Builder::new().prefix("day1-run-").tempdir()?;
        let mut command = Command::new(day1);
        // A process group of its own: Ctrl-C at the terminal must not end the guard before its work is done.
        command.arg(GUARD_SUBCOMMAND).arg(dir.path()).stdin(Stdio::piped()).stdout(Stdio::null()).process_group(0);
        let mut guard = command
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("cannot start {}: {error}", day1.display())))?;
        let lifeline = guard.stdin.take();
        Ok(Self { dir: dir.keep(), guard, lifeline })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        let _ = self.guard.wait();
    }
}

/// Waits until standard input ends, which it does when the process that holds the other end is gone, then
/// removes `dir`.
pub fn guard(dir: &Path) -> io::Result<()> {
    // Whoever ends all that is called day1 must not end this first.
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block()?;
    let mut sink = [0; 64];
    let mut stdin = io::stdin().lock();
    while stdin.read(&mut sink)? > 0 {}
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
