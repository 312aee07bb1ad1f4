//! Leases: how many trials run at once on this host, across processes.
//!
//! A lease is a lock on a file in the cache; the kernel lets go of it when its holder dies, however it dies.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// The right to run one trial; ends when it is dropped.
pub struct Lease {
    _lock: Flock<File>,
}

/// Waits for one of `slots` leases, shared by all processes that use the same directory.
///
/// `interrupted` ends the wait with `None`.
pub fn take(dir: &Path, slots: usize, interrupted: impl Fn() -> bool) -> io::Result<Option<Lease>> {
    fs::create_dir_all(dir)?;
    loop {
        for slot in 0..slots.max(1) {
            let file = File::create(dir.join(format!("slot-{slot}")))?;
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Some(Lease { _lock: lock })),
                Err((_, Errno::EWOULDBLOCK)) => {}
                Err((_, errno)) => return Err(errno.into()),
            }
        }
        if interrupted() {
            return Ok(None);
        }
        // Several file locks can't be awaited together, so a waiter looks again.
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Cores that a node keeps busy over its boots, without KVM and with two virtual CPUs: 1.3 were measured.
const TENTHS_OF_CORES_PER_TRIAL: usize = 13;

/// How many trials the host carries at once, by its cores and by its free memory.
pub fn slots(memory_mib_per_trial: u64) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let by_cores = (cores * 10).div_ceil(TENTHS_OF_CORES_PER_TRIAL);
    let by_memory = available_memory_mib()
        .map_or(usize::MAX, |free| usize::try_from(free * 8 / 10 / memory_mib_per_trial.max(1)).unwrap_or(usize::MAX));
    by_cores.min(by_memory).max(1)
}

fn available_memory_mib() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_given_once_until_it_ends() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = take(dir.path(), 1, || false).expect("locked").expect("a lease");
        assert!(take(dir.path(), 1, || true).expect("locked").is_none());
        assert!(take(dir.path(), 2, || true).expect("locked").is_some());
        drop(first);
        assert!(take(dir.path(), 1, || true).expect("locked").is_some());
    }
}
