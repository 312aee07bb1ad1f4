//! Leases: how many machines run at once on this host, across processes, by its cores and its memory.
//!
//! A lease is a lock on a file in the cache that holds the memory and the number of machines it is for. The kernel lets
//! go of the lock when its holder dies, however it dies, and closing the file wakes those who wait.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

/// The right to run the machines of one trial; ends when it is dropped.
pub struct Lease {
    _lock: Flock<File>,
    path: PathBuf,
    is_idle: AtomicBool,
}

/// How many leases of machines at work this process has.
static OWN: AtomicUsize = AtomicUsize::new(0);

/// How many leases of machines at work this process has.
pub fn own() -> usize {
    OWN.load(Ordering::Relaxed)
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.is_at_work_no_more();
    }
}

/// Behind the memory of a lease whose machine idles.
const IDLE: &str = " idle";

impl Lease {
    /// From now on the machine is kept and does nothing: it takes its memory, and another one may run beside it. Tells
    /// whether that can be; where `others` are to come that take as much as this one, there must be room left for one.
    pub fn idle(&self, claim: Claim, others: bool) -> io::Result<bool> {
        self.idle_on(claim, others, Memory::of_this_host())
    }

    fn idle_on(&self, claim: Claim, others: bool, host: Memory) -> io::Result<bool> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        let _gate = Flock::lock(File::open(dir.join(GATE))?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        if others && !has_room(&held(dir)?, claim, host) {
            return Ok(false);
        }
        // Closing the file wakes those who wait.
        fs::write(&self.path, format!("{}{IDLE}", claim.text()))?;
        self.is_at_work_no_more();
        Ok(true)
    }

    fn is_at_work_no_more(&self) {
        if !self.is_idle.swap(true, Ordering::Relaxed) {
            OWN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// The lock under which leases are given.
const GATE: &str = "gate";

/// What a lease is for, and within what.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// Machines that may run at once.
    pub jobs: usize,
    /// How many of them it is for.
    pub machines: usize,
    /// Memory of the host that they take together, in MiB.
    pub memory_mib: u64,
}

impl Claim {
    /// As the lease's file holds it.
    fn text(&self) -> String {
        format!("{} {}", self.memory_mib, self.machines)
    }
}

/// A wait that a person is told of, in milliseconds.
const LONG: u16 = 3_000;

/// Waits for a lease; `dir` is shared by all processes that use one cache.
///
/// Once `interrupted` can be read, the wait ends with `None`. A machine that is too large for the host, and a trial with more
/// machines than may run at once, get their lease when nothing else runs. `waits` is called again and again while the wait is
/// long.
pub fn take(
    dir: &Path,
    claim: Claim,
    interrupted: Option<BorrowedFd<'_>>,
    waits: &dyn Fn(),
) -> io::Result<Option<Lease>> {
    fs::create_dir_all(dir)?;
    let gate = dir.join(GATE);
    File::options().create(true).append(true).open(&gate)?;
    // Who looks opens files for reading only, so only the end of a lease wakes.
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    inotify.add_watch(dir, AddWatchFlags::IN_CLOSE_WRITE)?;
    let (mut patience, mut asked) = (PollTimeout::from(LONG), Instant::now());
    loop {
        let lock = Flock::lock(File::open(&gate)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        if let Some(lease) = try_take(dir, claim, Memory::of_this_host())? {
            return Ok(Some(lease));
        }
        drop(lock);
        let mut wakers = vec![PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        wakers.extend(interrupted.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        // The kernel tells that a dead holder's file is closed a moment before it lets go of the lock, so a wake that
        // brings no lease is followed by one more look.
        patience = match poll(&mut wakers, patience) {
            Ok(0) | Err(Errno::EINTR) => PollTimeout::from(LONG),
            Ok(_) => PollTimeout::from(200_u8),
            Err(errno) => return Err(errno.into()),
        };
        if wakers.get(1).and_then(PollFd::any).unwrap_or(false) {
            return Ok(None);
        }
        if asked.elapsed().as_millis() >= LONG.into() {
            waits();
            asked = Instant::now();
        }
        // What was seen so far is looked at next; the rest wakes again.
        match inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// A lease, if the host has room for one now. The gate is held meanwhile.
fn try_take(dir: &Path, claim: Claim, host: Memory) -> io::Result<Option<Lease>> {
    let held = held(dir)?;
    let at_work: usize = held.iter().filter(|one| !one.is_idle).map(|one| one.machines).sum();
    let has_cores = at_work + claim.machines <= claim.jobs;
    if at_work > 0 && !(has_cores && has_room(&held, claim, host)) {
        return Ok(None);
    }
    let is_free = |path: &PathBuf| held.iter().all(|one| one.path != *path);
    let Some(path) = (0..).map(|slot| dir.join(format!("slot-{slot}"))).find(is_free) else { return Ok(None) };
    let mut file = File::options().create(true).write(true).truncate(true).open(&path)?;
    write!(file, "{}", claim.text())?;
    let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
    OWN.fetch_add(1, Ordering::Relaxed);
    Ok(Some(Lease { _lock: lock, path, is_idle: AtomicBool::new(false) }))
}

fn has_room(held: &[Held], claim: Claim, host: Memory) -> bool {
    let sum = |of: fn(&Held) -> bool| held.iter().filter(|one| of(one)).map(|one| one.memory_mib).sum::<u64>();
    sum(|_| true) + claim.memory_mib <= host.machines_mib
        && sum(|one| one.is_young) + claim.memory_mib <= host.available_mib
}

/// A machine takes its memory bit by bit; for this long the host still calls some of it available.
const YOUNG: Duration = Duration::from_secs(120);

/// A lease that lives.
struct Held {
    path: PathBuf,
    memory_mib: u64,
    machines: usize,
    is_young: bool,
    is_idle: bool,
}

/// How many leases live.
pub fn count(dir: &Path) -> io::Result<usize> {
    if dir.exists() { Ok(held(dir)?.len()) } else { Ok(0) }
}

/// The leases that live.
fn held(dir: &Path) -> io::Result<Vec<Held>> {
    let mut held = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("slot-")) {
            continue;
        }
        match Flock::lock(File::open(&path)?, FlockArg::LockSharedNonblock) {
            Ok(_free) => {}
            Err((_, Errno::EWOULDBLOCK)) => {
                let text = fs::read_to_string(&path)?;
                let (claim, is_idle) = text.strip_suffix(IDLE).map_or((text.as_str(), false), |text| (text, true));
                let (memory, machines) = claim.split_once(' ').unwrap_or((claim, "1"));
                let (memory_mib, machines) = (memory.parse().unwrap_or(0), machines.parse().unwrap_or(1));
                let taken = fs::metadata(&path)?.modified()?;
                // One that idles has done its work, and has taken what it takes.
                let is_young = !is_idle && taken.elapsed().is_ok_and(|age| age < YOUNG);
                held.push(Held { path, memory_mib, machines, is_young, is_idle });
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
    Ok(held)
}

/// Tenths of a core that a node keeps busy over its boots, without KVM and with two virtual CPUs, as `day1 bench`
/// measures it.
const TENTHS_OF_CORES_PER_NODE: usize = 13;

/// How many machines the host's cores carry at once: rounded up, for a node that waits leaves its core to others.
pub fn jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores * 10).div_ceil(TENTHS_OF_CORES_PER_NODE)
}

/// Memory of a template that its forks leave as it was, in MiB: they have it in common.
const SHARED_MIB: f64 = 95.0;

/// Memory that a node has of its own when it has settled, in MiB: pages of the guest, and QEMU's translated code.
/// With KVM there is no such code, so less is needed than reckoned.
const OWN_MIB: f64 = 500.0;

/// The part of a guest's memory that its kernel takes to manage it: 64 bytes for each page of 4 KiB.
const PAGE_TABLE_PART: f64 = 64.0 / 4096.0;

/// Memory of the host that nodes forked from one template take together when they have settled, in MiB (PSS), as
/// `day1 bench` measures it.
#[expect(clippy::cast_precision_loss, reason = "counts of nodes and MiB of memory are small")]
pub fn host_memory_mib(guest_mib: u64, count: usize) -> f64 {
    SHARED_MIB + count as f64 * (OWN_MIB + guest_mib as f64 * PAGE_TABLE_PART)
}

/// The host's memory in MiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    /// What all machines together get; the rest is for what else runs.
    machines_mib: u64,
    /// What nobody uses now.
    available_mib: u64,
}

impl Memory {
    fn of_this_host() -> Self {
        let total = meminfo_mib("MemTotal:").unwrap_or(u64::MAX).min(memory_limit_mib());
        Self { machines_mib: total / 10 * 9, available_mib: meminfo_mib("MemAvailable:").unwrap_or(u64::MAX) }
    }
}

/// The smallest limit of this process's cgroup and those above it: a container's, say.
fn memory_limit_mib() -> u64 {
    let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = cgroups.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    let limits = Path::new("/sys/fs/cgroup").join(own);
    let limits = limits.ancestors().take_while(|dir| dir.starts_with("/sys/fs/cgroup")).filter_map(|dir| {
        let bytes: u64 = fs::read_to_string(dir.join("memory.max")).ok()?.trim().parse().ok()?;
        Some(bytes / (1024 * 1024))
    });
    limits.min().unwrap_or(u64::MAX)
}

fn meminfo_mib(name: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::{Mutex, mpsc};
    use std::time::Duration;

    use super::*;

    const SMALL: u64 = 1;
    const HOST: Memory = Memory { machines_mib: 1000, available_mib: 900 };

    fn try_one(dir: &Path, jobs: usize, memory_mib: u64) -> Option<Lease> {
        try_some(dir, jobs, 1, memory_mib)
    }

    fn try_some(dir: &Path, jobs: usize, machines: usize, memory_mib: u64) -> Option<Lease> {
        fs::create_dir_all(dir).expect("made");
        try_take(dir, Claim { jobs, machines, memory_mib }, HOST).expect("locked")
    }

    #[test]
    fn there_are_as_many_leases_as_jobs_until_one_ends() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = try_one(dir.path(), 2, SMALL).expect("a lease");
        let _second = try_one(dir.path(), 2, SMALL).expect("another lease");
        assert!(try_one(dir.path(), 2, SMALL).is_none());
        assert!(try_one(dir.path(), 3, SMALL).is_some());
        drop(first);
        assert!(try_one(dir.path(), 2, SMALL).is_some());
    }

    #[test]
    fn each_machine_of_a_trial_counts() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let three = try_some(dir.path(), 2, 3, SMALL).expect("more than may run at once, but nothing else runs");
        assert!(try_one(dir.path(), 2, SMALL).is_none());
        assert!(try_one(dir.path(), 4, SMALL).is_some());
        drop(three);
        let _one = try_one(dir.path(), 2, SMALL).expect("a lease");
        assert!(try_some(dir.path(), 2, 2, SMALL).is_none());
        assert!(try_some(dir.path(), 3, 2, SMALL).is_some());
    }

    #[test]
    fn memory_bounds_them_but_for_one_alone() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let most = HOST.machines_mib;
        let alone = try_one(dir.path(), 9, most + 1).expect("too large, but nothing else runs");
        assert!(try_one(dir.path(), 9, SMALL).is_none());
        drop(alone);
        let _small = try_one(dir.path(), 9, SMALL).expect("a lease");
        assert!(try_one(dir.path(), 9, most).is_none());
        assert!(try_one(dir.path(), 9, SMALL).is_some());
    }

    #[test]
    fn an_idle_machine_leaves_its_turn_and_keeps_its_memory() {
        let dir = tempfile::tempdir().expect("temporary directory");
        File::create(dir.path().join(GATE)).expect("made");
        let claim = |memory_mib| Claim { jobs: 1, machines: 1, memory_mib };
        let first = try_one(dir.path(), 1, 400).expect("a lease");
        assert!(try_one(dir.path(), 1, 400).is_none());
        assert!(first.idle_on(claim(400), true, HOST).expect("written"));
        let second = try_one(dir.path(), 1, 400).expect("a lease beside the idle one");
        assert!(try_one(dir.path(), 9, 400).is_none(), "there is no memory for a third");
        assert!(!second.idle_on(claim(400), true, HOST).expect("written"), "others to come would wait for ever");
        assert!(second.idle_on(claim(400), false, HOST).expect("written"));
        // With nothing but idle ones, the next is not kept waiting for a person.
        assert!(try_one(dir.path(), 1, 400).is_some());
    }

    #[test]
    fn what_a_young_lease_will_take_is_not_given_again() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let host = Memory { machines_mib: 1000, available_mib: 500 };
        let try_one =
            |memory_mib| try_take(dir.path(), Claim { jobs: 9, machines: 1, memory_mib }, host).expect("locked");
        let _first = try_one(300).expect("a lease");
        assert!(try_one(300).is_none());
        let slot = File::options().append(true).open(dir.path().join("slot-0")).expect("opened");
        slot.set_modified(std::time::SystemTime::now() - YOUNG).expect("made older");
        let _second = try_one(300).expect("a lease, for the first one's memory is no longer among the available");
        assert_eq!(count(dir.path()).expect("counted"), 2);
    }

    #[test]
    fn the_end_of_a_lease_wakes_who_waits() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let claim = Claim { jobs: 1, machines: 1, memory_mib: SMALL };
        let first = take(dir.path(), claim, None, &|| {}).expect("locked").expect("a lease");
        let (sender, taken) = mpsc::channel();
        let waiting = dir.path().to_owned();
        std::thread::spawn(move || {
            for _ in 0..2 {
                sender.send(take(&waiting, claim, None, &|| {}).expect("locked").is_some()).expect("heard");
            }
        });
        assert!(taken.recv_timeout(Duration::from_millis(200)).is_err(), "the lease was given twice");
        drop(first);
        for _ in 0..2 {
            assert_eq!(taken.recv_timeout(Duration::from_secs(20)), Ok(true));
        }
    }

    #[test]
    fn memory_is_reckoned_as_it_was_measured() {
        // MiB of settled nodes with 2048 MiB each, by `day1 bench --only memory` without KVM.
        for (count, measured) in [(1, 629.0), (2, 1153.0), (4, 2240.0)] {
            let reckoned = host_memory_mib(2048, count) / measured;
            assert!((reckoned - 1.0).abs() < 0.05, "{count}: {reckoned}");
        }
    }

    #[test]
    fn a_long_wait_is_told() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let claim = Claim { jobs: 1, machines: 1, memory_mib: SMALL };
        let first = Mutex::new(take(dir.path(), claim, None, &|| {}).expect("locked"));
        assert!(own() >= 1);
        let second =
            take(dir.path(), claim, None, &|| drop(first.lock().expect("not poisoned").take())).expect("locked");
        assert!(second.is_some(), "the first one ended when the wait was told");
    }

    #[test]
    fn an_interrupt_ends_the_wait() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let claim = Claim { jobs: 1, machines: 1, memory_mib: SMALL };
        let _first = take(dir.path(), claim, None, &|| {}).expect("locked").expect("a lease");
        let (mut signal, interrupted) = UnixStream::pair().expect("a pair");
        signal.write_all(b"x").expect("sent");
        assert!(take(dir.path(), claim, Some(interrupted.as_fd()), &|| {}).expect("locked").is_none());
    }
}
