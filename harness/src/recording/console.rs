//! The serial console of a trial: all of it or one boot's, and what comes while its machine runs.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::door;
use crate::lab::files;
use crate::machine::{console_lines, console_text};
use crate::timeline::{ReadError, Timeline, What};

/// Why a console can't be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its file can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can't be written on.
    #[error("cannot write the console: {0}")]
    Write(#[from] io::Error),
    /// The timeline, which knows the boots, can't be read.
    #[error(transparent)]
    Timeline(#[from] ReadError),
    /// Of several nodes none is meant.
    #[error(transparent)]
    Node(#[from] super::NodeError),
    /// There is no such boot.
    #[error("the trial has no boot {number}: {}", if *boots == 0 { "it never began one".to_owned() } else { format!("its boots are 1 to {boots}") })]
    Boot {
        /// What was asked for.
        number: u32,
        /// How many there are.
        boots: u32,
    },
}

/// What of a console is shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'w> {
    /// Of a trial with several nodes: whose.
    pub node: Option<&'w str>,
    /// Only this boot's, from 1.
    pub boot: Option<u32>,
    /// Every byte as it came.
    pub raw: bool,
    /// What comes as long as the machine runs, too.
    pub follow: bool,
}

/// Writes the console of the trial with that directory: of one boot, if one is named. Control characters are left out, unless
/// `raw`. With `follow`, what comes is written as long as the machine runs.
pub fn show(dir: &Path, wanted: Wanted<'_>, to: &mut impl Write) -> Result<(), Error> {
    let Wanted { node, boot, raw, follow } = wanted;
    // The timeline knows the nodes and the boots; a console alone can be read without it.
    let timeline = (boot.is_some() || node.is_some() || dir.join(files::NODES).is_dir())
        .then(|| Timeline::read_so_far(&dir.join(files::TIMELINE)))
        .transpose()?
        .map(|timeline| super::of_node(timeline, node))
        .transpose()?;
    let path = match node {
        Some(node) => dir.join(files::NODES).join(node).join(files::CONSOLE),
        None => dir.join(files::CONSOLE),
    };
    let failed = |source| Error::Read { path: path.clone(), source };
    // Before the file is read: what comes in between is told, too.
    let live = if follow { Live::of(dir, &path).map_err(failed)? } else { None };
    let mut file = File::open(&path).map_err(failed)?;
    let mut log = Vec::new();
    file.read_to_end(&mut log).map_err(failed)?;
    let mut screen = Screen { raw, line: Vec::new() };
    let last = match boot.zip(timeline) {
        Some((number, timeline)) => {
            let boots = timeline.boots();
            if number == 0 || number > boots {
                return Err(Error::Boot { number, boots });
            }
            let part = of_boot(&log, &lines_of_boots(&timeline), number);
            screen.show(part, to)?;
            number == boots
        }
        None => {
            screen.show(&log, to)?;
            true
        }
    };
    if let Some(live) = live
        && last
    {
        while live.wait().map_err(failed)? {
            log.clear();
            file.read_to_end(&mut log).map_err(failed)?;
            screen.show(&log, to)?;
            to.flush()?;
        }
        log.clear();
        file.read_to_end(&mut log).map_err(failed)?;
        screen.show(&log, to)?;
    }
    screen.end(to)?;
    Ok(())
}

/// How many lines of the console each boot has in the timeline, from boot 0.
fn lines_of_boots(timeline: &Timeline) -> Vec<usize> {
    let mut counts = Vec::new();
    for event in timeline.events.iter().filter(|event| matches!(event.what, What::Console(_))) {
        let boot = usize::try_from(event.boot).unwrap_or(usize::MAX);
        if counts.len() <= boot {
            counts.resize(boot + 1, 0);
        }
        counts[boot] += 1;
    }
    counts
}

/// The bytes of one boot. The timeline has a line for each of the log that holds text, in the same order.
fn of_boot<'l>(log: &'l [u8], lines: &[usize], number: u32) -> &'l [u8] {
    let number = usize::try_from(number).unwrap_or(usize::MAX);
    let before: usize = lines.iter().take(number).sum();
    let own = lines.get(number).copied().unwrap_or(0);
    let is_last = number + 1 >= lines.len();
    let (mut start, mut end, mut count) = (if before == 0 { Some(0) } else { None }, 0, 0);
    for line in console_lines(log) {
        if !console_text(&log[line.clone()]).is_empty() {
            count += 1;
        }
        if count <= before {
            start = (count == before).then_some(line.end);
        }
        if count <= before + own {
            end = line.end;
        }
    }
    let Some(start) = start else { return &[] };
    // What came after the recording's end is of the last boot.
    &log[start..if is_last { log.len() } else { end.max(start) }]
}

/// What the terminal gets.
struct Screen {
    raw: bool,
    /// A line whose end has not come yet.
    line: Vec<u8>,
}

impl Screen {
    fn show(&mut self, bytes: &[u8], to: &mut impl Write) -> io::Result<()> {
        if self.raw {
            return to.write_all(bytes);
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                writeln!(to, "{}", console_text(&self.line))?;
                self.line.clear();
            }
        }
        Ok(())
    }

    fn end(&mut self, to: &mut impl Write) -> io::Result<()> {
        if !self.line.is_empty() {
            writeln!(to, "{}", console_text(&self.line))?;
        }
        to.flush()
    }
}

/// A machine that still runs, and its console's file.
struct Live {
    inotify: Inotify,
    /// Ends when the machine is let go.
    door: UnixStream,
}

impl Live {
    fn of(dir: &Path, file: &Path) -> io::Result<Option<Self>> {
        let Some(door) = door::watch(dir) else { return Ok(None) };
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(file, AddWatchFlags::IN_MODIFY)?;
        Ok(Some(Self { inotify, door }))
    }

    /// Waits until there is more; false when there will be no more.
    fn wait(&self) -> io::Result<bool> {
        let mut wakers =
            [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN), PollFd::new(self.door.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wakers, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let is_open = !wakers[1].any().unwrap_or(false);
        match self.inotify.read_events() {
            Ok(_) | Err(Errno::EAGAIN) => Ok(is_open),
            Err(errno) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::timeline::{Bus, Console, MachineStarted, Qmp};

    const LOG: &[u8] = b"SeaBIOS\r\n\r\n[    0.0] Linux version 1\r\nlogin: \x1b[31mred\x1b[0m\r\n\r\nSeaBIOS\r\n[    0.0] Linux version 2\r\nhalf";

    /// As the machine reads it.
    fn timeline() -> Timeline {
        let bus = Bus::new(None);
        bus.push(What::MachineStarted(MachineStarted::default()));
        for line in console_lines(LOG) {
            let text = console_text(&LOG[line]);
            if text.is_empty() {
                continue;
            }
            if text == "SeaBIOS" && bus.events().len() > 2 {
                bus.push(What::Qmp(Qmp { event: "RESET".into(), ..Qmp::default() }));
            }
            bus.push(What::Console(Console { line: text }));
        }
        Timeline::from(bus.events())
    }

    #[test]
    fn a_boot_s_part_is_what_the_timeline_has_of_it() {
        let lines = lines_of_boots(&timeline());
        assert_eq!(lines, [0, 3, 3]);
        let part = |number| String::from_utf8_lossy(of_boot(LOG, &lines, number)).into_owned();
        assert!(part(1).starts_with("SeaBIOS\r\n\r\n[    0.0] Linux version 1"), "{:?}", part(1));
        assert!(part(1).ends_with("red\x1b[0m\r\n\r\n"), "{:?}", part(1));
        assert_eq!(part(2), "SeaBIOS\r\n[    0.0] Linux version 2\r\nhalf");
        assert_eq!(part(1) + &part(2), String::from_utf8_lossy(LOG));
        assert_eq!(part(3), "");
    }

    #[test]
    fn a_terminal_is_told_nothing_unless_it_is_asked_for() {
        let dir = tempfile::tempdir().expect("temporary directory");
        std::fs::write(dir.path().join(files::CONSOLE), LOG).expect("written");
        let mut text = String::new();
        for event in timeline().events {
            let _ = writeln!(text, "{}", serde_json::to_string(event.as_ref()).expect("JSON"));
        }
        // As of a trial that goes on: its last line is being written.
        std::fs::write(dir.path().join(files::TIMELINE), text + "{\"seq\":").expect("written");
        let shown = |boot, raw| {
            let mut out = Vec::new();
            show(dir.path(), Wanted { boot, raw, follow: true, node: None }, &mut out)
                .map(|()| String::from_utf8_lossy(&out).into_owned())
        };
        assert_eq!(shown(Some(2), false).expect("shown"), "SeaBIOS\n[    0.0] Linux version 2\nhalf\n");
        let all = shown(None, false).expect("shown");
        assert!(all.contains("login: red\n") && !all.contains(['\x1b', '\r']), "{all:?}");
        assert_eq!(shown(None, true).expect("shown").as_bytes(), LOG);
        assert!(matches!(shown(Some(3), false), Err(Error::Boot { number: 3, boots: 2 })));
        assert!(matches!(shown(Some(0), false), Err(Error::Boot { .. })));
    }

    #[test]
    fn of_several_nodes_one_s_console_is_shown() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let own = dir.path().join(files::NODES).join("worker-2");
        std::fs::create_dir_all(&own).expect("made");
        std::fs::write(own.join(files::CONSOLE), LOG).expect("written");
        let lines = crate::checks::pool::fixture::Pool::rolled_out().timeline().events;
        let lines = lines.iter().map(|event| serde_json::to_string(event.as_ref()).expect("JSON") + "\n");
        std::fs::write(dir.path().join(files::TIMELINE), lines.collect::<String>()).expect("written");
        let shown = |node| {
            let mut out = Vec::new();
            show(dir.path(), Wanted { node, raw: true, ..Wanted::default() }, &mut out).map(|()| out)
        };
        assert_eq!(shown(Some("worker-2")).expect("shown"), LOG);
        assert!(matches!(shown(None), Err(Error::Node(_))));
        assert!(matches!(shown(Some("../worker-2")), Err(Error::Node(_))), "a name is no path");
    }
}
