//! Which run a container belongs to, and whether that run is over.

use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A process of this host, by what no other process has or will have: written as
/// `BOOT-ID/PID-NAMESPACE/PID/START`, with the start in the kernel's ticks since it booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RunId {
    boot: String,
    /// A process id means nothing outside of its namespace.
    namespace: u64,
    pid: i32,
    start: u64,
}

impl RunId {
    /// This process.
    pub(super) fn own() -> io::Result<Self> {
        let pid = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let unreadable = || io::Error::other(format!("the start of process {pid} can't be read from /proc"));
        Ok(Self { boot: boot()?, namespace: namespace()?, pid, start: start_of(pid).ok_or_else(unreadable)? })
    }

    /// Whether it is certain that the run is over: its process is gone, or the host has booted since.
    pub(super) fn is_over(&self) -> bool {
        let (Ok(boot), Ok(namespace)) = (boot(), namespace()) else { return false };
        if self.boot != boot {
            return true;
        }
        if self.namespace != namespace {
            return false;
        }
        match kill(Pid::from_raw(self.pid), None) {
            Err(Errno::ESRCH) => true,
            // The number may have been given again. Where /proc hides others' processes, nothing is certain.
            _ => start_of(self.pid).is_some_and(|start| start != self.start),
        }
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.boot, self.namespace, self.pid, self.start)
    }
}

/// A text is no run's identity.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no run: it has the form BOOT-ID/PID-NAMESPACE/PID/START")]
pub(super) struct NoRunId(String);

impl FromStr for RunId {
    type Err = NoRunId;

    fn from_str(text: &str) -> Result<Self, NoRunId> {
        let no = || NoRunId(text.to_owned());
        let parts: Vec<&str> = text.split('/').collect();
        let [boot, namespace, pid, start] = parts.as_slice() else { return Err(no()) };
        let pid: i32 = pid.parse().map_err(|_| no())?;
        // Signals to 0 and below are for groups.
        if boot.is_empty() || pid < 1 {
            return Err(no());
        }
        Ok(Self {
            boot: (*boot).to_owned(),
            namespace: namespace.parse().map_err(|_| no())?,
            pid,
            start: start.parse().map_err(|_| no())?,
        })
    }
}

fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The number in `pid:[4026531836]`.
fn namespace() -> io::Result<u64> {
    let link = fs::read_link("/proc/self/ns/pid")?;
    let number: String = link.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
    number.parse().map_err(io::Error::other)
}

fn start_of(pid: i32) -> Option<u64> {
    start_in(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The start in the text of `/proc/PID/stat`; the program's name in it may hold anything. A zombie has no start: it
/// is over, and only waits to be noticed.
fn start_in(stat: &str) -> Option<u64> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    match fields.next()? {
        // No process has a start that late.
        "Z" | "X" => Some(u64::MAX),
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_run_is_over_when_its_process_is_gone_or_another_one_has_its_number() {
        let own = RunId::own().expect("this process");
        assert!(!own.is_over());
        assert_eq!(own.to_string().parse::<RunId>().expect("parsed"), own);
        assert!(RunId { start: own.start + 1, ..own.clone() }.is_over());
        assert!(RunId { boot: "another".into(), namespace: 1, ..own.clone() }.is_over());
        let mut child = std::process::Command::new("true").spawn().expect("started");
        let pid = i32::try_from(child.id()).expect("a process id");
        let of_child = RunId { pid, start: start_of(pid).expect("a start"), ..own.clone() };
        child.wait().expect("ended");
        assert!(of_child.is_over());
        // Of another container's processes nothing can be told.
        assert!(!RunId { namespace: own.namespace + 1, pid: i32::MAX, ..own }.is_over());
    }

    #[test]
    fn a_zombie_is_over() {
        let own = RunId::own().expect("this process");
        let mut child = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("started");
        let pid = i32::try_from(child.id()).expect("a process id");
        let of_child = RunId { pid, start: start_of(pid).expect("a start"), ..own };
        assert!(!of_child.is_over());
        drop(child.stdin.take());
        // Its output ends when it does, and nobody has waited for it yet.
        std::io::copy(&mut child.stdout.take().expect("an output"), &mut std::io::sink()).expect("read");
        let mut left = 1000;
        while !of_child.is_over() && left > 0 {
            std::thread::sleep(std::time::Duration::from_millis(10));
            left -= 1;
        }
        assert!(left > 0, "a zombie counts as alive");
        child.wait().expect("ended");
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let stat = |name: &str, state: &str| {
            let between: Vec<String> = (4..22).map(|field| field.to_string()).collect();
            format!("7 ({name}) {state} {} 4711 23", between.join(" "))
        };
        for name in ["day1", "a b", "a) S 1 2", ""] {
            assert_eq!(start_in(&stat(name, "S")), Some(4711), "{name}");
        }
        assert_eq!(start_in(&stat("day1", "Z")), Some(u64::MAX));
        assert_eq!(start_in("7 (day1) S 1"), None);
    }

    #[test]
    fn what_others_write_on_their_containers_is_no_run() {
        for text in ["", "x", "a/1/2", "a/1/2/3/4", "/1/2/3", "a/1/0/3", "a/1/-1/3", "a/x/2/3", "a/1/99999999999/3"] {
            assert!(text.parse::<RunId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            if let Ok(run) = text.parse::<RunId>() {
                prop_assert_eq!(run.to_string().parse::<RunId>().expect("its own text"), run);
            }
        }
    }
}
