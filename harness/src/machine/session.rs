//! A person's way into the guest: a shell on a terminal, or a command, over virtio-serial ports that are plugged in for it.
//!
//! It needs no network in the guest, and before somebody comes nothing of it is there.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdUnixListener};
use std::time::Duration;

use futures::{Stream, StreamExt};
use qapi::qmp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::owner::ANSWER;
use super::{Error, Machine, instruments};
use crate::process::quoted;
use crate::timeline::What;

/// The bus of the instruments' ports, with room for those of sessions.
pub(super) const BUS: &str = "instruments";

/// Ports that the bus has; the first is for a console only.
pub(super) const BUS_PORTS: u32 = 16;

/// Ports for sessions: what the instruments leave.
pub(super) const FREE_PORTS: u32 = BUS_PORTS - 1 - instruments::PORTS;

const SCRIPT: &str = include_str!("guest/session.sh");

/// How a person comes into the guest, as root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// A login shell on a terminal.
    Terminal {
        /// Its size.
        size: Size,
        /// Its kind, as `TERM` names it.
        kind: String,
    },
    /// A command of the shell, with standard input, output and error.
    Command(String),
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// What a session is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Bytes of its standard input.
    Input(Vec<u8>),
    /// There is no more of that.
    EndOfInput,
    /// The person's terminal has another size now.
    Resized(Size),
}

/// What a session says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Bytes of its standard output, or of its terminal.
    Output(Vec<u8>),
    /// Bytes of its standard error.
    Errors(Vec<u8>),
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionEnd {
    /// With this exit status.
    Exited(i32),
    /// The person is gone; what was begun was hung up.
    HungUp,
    /// The guest was reset, or its machine ended.
    Cut,
}

impl Machine {
    /// Lets a person in, until the command or shell ends, or `told` does. The guest's agent has `patience` to answer.
    pub async fn enter(
        &self,
        way: &Way,
        patience: Duration,
        told: impl Stream<Item = Told> + Unpin,
        say: impl AsyncFn(Said),
    ) -> Result<SessionEnd, Error> {
        // Also tells that somebody is there to start it.
        tokio::time::timeout(patience, self.agent.run(":")).await.map_err(|_| Error::Agent {
            what: format!(
                "nothing within {} s: a shell can be had from the start of systemd in the real root on, and as long as the kernel runs",
                patience.as_secs()
            ),
        })??;
        let name = format!("day1.session-{}", self.next_session());
        let names: Vec<String> = match way {
            Way::Terminal { .. } => vec![name.clone()],
            Way::Command(_) => ["in", "out", "err"].map(|stream| format!("{name}.{stream}")).into(),
        };
        let wanted = u32::try_from(names.len()).unwrap_or(u32::MAX);
        let Ok(_room) = self.free_ports.try_acquire_many(wanted) else {
            return Err(Error::Crowded { ports: FREE_PORTS });
        };
        let mut ports = Vec::new();
        let mut outcome = Ok(());
        for name in &names {
            match self.plug(name).await {
                Ok(port) => ports.push(port),
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        let ended = match outcome {
            Ok(()) => self.attend(way, &name, ports, told, say).await,
            Err(error) => Err(error),
        };
        for name in &names {
            // Of a machine that has ended, nothing is left to unplug.
            let _ = self.unplug(name).await;
        }
        ended
    }

    async fn attend(
        &self,
        way: &Way,
        name: &str,
        ports: Vec<UnixStream>,
        told: impl Stream<Item = Told> + Unpin,
        say: impl AsyncFn(Said),
    ) -> Result<SessionEnd, Error> {
        let word = format!("\u{1e}{:032x}\u{1e}", fastrand::u128(..));
        let mut events = self.bus.from_now();
        let cut = async {
            loop {
                match &events.next().await.what {
                    What::MachineExited(_) => return,
                    What::Qmp(qmp) if qmp.event == "RESET" => return,
                    _ => {}
                }
            }
        };
        // Each half lives as long as the session: dropping one that writes closes that direction, dropping both closes the port
        // with what is still on its way.
        let mut halves = ports.into_iter().map(UnixStream::into_split);
        let (Some((first, input)), second, third) = (halves.next(), halves.next(), halves.next()) else {
            return Ok(SessionEnd::Cut);
        };
        let (output, _held) = match second {
            Some((output, to_output)) => (output, Some((first, to_output))),
            None => (first, None),
        };
        let (errors, _to_errors) = third.unzip();
        let ends = Word(word.as_bytes());
        let script = script(way, name, &word);
        let works = async {
            let began = self.agent.run(&script);
            let heard = async {
                tokio::join!(ends.hear(output, async |bytes| say(Said::Output(bytes)).await), async {
                    if let Some(errors) = errors {
                        ends.hear(errors, async |bytes| say(Said::Errors(bytes)).await).await;
                    }
                });
            };
            tokio::pin!(heard);
            tokio::pin!(began);
            let answer = tokio::select! {
                () = &mut heard => began.await?,
                answer = &mut began => {
                    let answer = answer?;
                    if status(&answer.text).is_some() {
                        heard.await;
                    }
                    answer
                }
            };
            match status(&answer.text) {
                Some(status) => Ok(SessionEnd::Exited(status)),
                None => Err(Error::Agent { what: format!("that it can't let anybody in: {}", answer.text.trim_end()) }),
            }
        };
        tokio::select! {
            ended = works => ended,
            () = self.tell(name, input, told) => {
                // What makes a terminal hears no SIGHUP; when it is gone, the kernel sends one to all that is on the terminal.
                let signal = if let Way::Terminal { .. } = way { "KILL" } else { "HUP" };
                let hang_up = format!("kill -s {signal} -- -\"$(cat /run/day1-sessions/{name}.pid)\"");
                // The ports go next, whatever came of it.
                let _ = tokio::time::timeout(ANSWER, self.agent.run(&hang_up)).await;
                Ok(SessionEnd::HungUp)
            }
            () = cut => Ok(SessionEnd::Cut),
        }
    }

    /// Passes on what the session is told, until the person is gone.
    async fn tell(
        &self,
        name: &str,
        input: tokio::net::unix::OwnedWriteHalf,
        mut told: impl Stream<Item = Told> + Unpin,
    ) {
        let mut input = Some(input);
        while let Some(told) = told.next().await {
            match told {
                Told::Input(bytes) => {
                    if let Some(port) = &mut input
                        && port.write_all(&bytes).await.is_err()
                    {
                        input = None;
                    }
                }
                // The port's end is the end of what is read from it.
                Told::EndOfInput => input = None,
                Told::Resized(Size { rows, columns }) => {
                    let resize =
                        format!("stty -F \"$(cat /run/day1-sessions/{name}.tty)\" rows {rows} columns {columns}");
                    // A terminal that has just ended has no size.
                    let _ = tokio::time::timeout(ANSWER, self.agent.run(&resize)).await;
                }
            }
        }
    }

    /// Plugs in a port with that name; gives the harness's end of it.
    async fn plug(&self, name: &str) -> Result<UnixStream, Error> {
        let failed = || Error::io(format!("make the harness's end of the port {name}"));
        let path = format!("day1-{:032x}", fastrand::u128(..));
        let address = SocketAddr::from_abstract_name(&path).map_err(failed())?;
        let listener = StdUnixListener::bind_addr(&address).map_err(failed())?;
        listener.set_nonblocking(true).map_err(failed())?;
        let listener = UnixListener::from_std(listener).map_err(failed())?;
        let socket = qmp::ChardevSocket {
            base: qmp::ChardevCommon { logappend: None, logfile: None },
            nodelay: None,
            reconnect: None,
            server: Some(false),
            telnet: None,
            tls_authz: None,
            tls_creds: None,
            tn3270: None,
            wait: None,
            websocket: None,
            addr: qmp::SocketAddressLegacy::unix(
                qmp::UnixSocketAddress { abstract_: Some(true), tight: Some(true), path }.into(),
            ),
        };
        let backend = qmp::ChardevBackend::socket(socket.into());
        self.ask("chardev-add", qmp::chardev_add { id: name.to_owned(), backend }).await?;
        let stream = loop {
            let accepted = tokio::time::timeout(ANSWER, listener.accept()).await;
            let (stream, _) = accepted
                .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
                .map_err(Error::io(format!("get QEMU's end of the port {name}")))?;
            // Anybody can connect to the name; QEMU's process is known.
            let peer = stream.peer_cred().map_err(failed())?;
            if peer.pid().and_then(|pid| u32::try_from(pid).ok()) == Some(self.pid) {
                break stream;
            }
        };
        let text = |value: &str| serde_json::Value::from(value);
        let arguments = [("chardev", text(name)), ("name", text(name))];
        let added = self.ask(
            "device_add",
            qmp::device_add {
                driver: "virtserialport".into(),
                bus: Some(format!("{BUS}.0")),
                id: Some(name.to_owned()),
                arguments: arguments.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            },
        );
        if let Err(error) = added.await {
            let _ = self.ask("chardev-remove", qmp::chardev_remove { id: name.to_owned() }).await;
            return Err(error);
        }
        Ok(stream)
    }

    async fn unplug(&self, name: &str) -> Result<(), Error> {
        self.ask("device_del", qmp::device_del { id: name.to_owned() }).await?;
        self.ask("chardev-remove", qmp::chardev_remove { id: name.to_owned() }).await?;
        Ok(())
    }
}

/// What the guest runs for it.
fn script(way: &Way, name: &str, word: &str) -> String {
    let assign = |name: &str, value: &str| format!("{name}={}\n", quoted(value));
    let mut text = assign("SESSION", name) + &assign("WORD", word);
    match way {
        Way::Terminal { size, kind } => {
            text += &assign("ROWS", &size.rows.to_string());
            text += &assign("COLUMNS", &size.columns.to_string());
            // It becomes part of a command and of a path.
            let kind: String = kind.chars().filter(|c| c.is_ascii_alphanumeric() || "-_+.".contains(*c)).collect();
            text += &assign("TERM", if kind.is_empty() { "vt100" } else { &kind });
        }
        Way::Command(command) => text += &assign("COMMAND", command),
    }
    text + SCRIPT
}

/// The exit status, of the answer to a session that began.
fn status(answer: &str) -> Option<i32> {
    answer.lines().last()?.strip_prefix("ended ")?.parse().ok()
}

/// The word at the end of a stream, which only the harness knows.
struct Word<'w>(&'w [u8]);

impl Word<'_> {
    /// Passes on what comes before the word.
    async fn hear(&self, mut port: tokio::net::unix::OwnedReadHalf, say: impl AsyncFn(Vec<u8>)) {
        let mut held = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = port.read(&mut buffer).await {
            held.extend_from_slice(&buffer[..length]);
            let (before, is_end) = self.before(&held);
            let rest = held.split_off(before);
            let heard = std::mem::replace(&mut held, rest);
            if !heard.is_empty() {
                say(heard).await;
            }
            if is_end {
                return;
            }
        }
    }

    /// How many bytes come before the word, or before what may be its beginning; and whether it is there.
    fn before(&self, bytes: &[u8]) -> (usize, bool) {
        if let Some(at) = bytes.windows(self.0.len()).position(|window| window == self.0) {
            return (at, true);
        }
        let beginning = (1..self.0.len().min(bytes.len() + 1)).rev().find(|length| bytes.ends_with(&self.0[..*length]));
        (bytes.len() - beginning.unwrap_or(0), false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_ends_with_its_word_in_whatever_pieces_it_comes() {
        let word = Word(b"\x1eabc\x1e");
        assert_eq!(word.before(b"text"), (4, false));
        assert_eq!(word.before(b"text\x1eab"), (4, false));
        assert_eq!(word.before(b"text\x1eabx"), (8, false));
        assert_eq!(word.before(b"text\x1eabc\x1e"), (4, true));
        assert_eq!(word.before(b"\x1e\x1eabc\x1e more"), (1, true));
        assert_eq!(word.before(b""), (0, false));
    }

    #[tokio::test]
    async fn what_was_said_before_the_word_is_passed_on_and_nothing_after_it() {
        let (ours, mut guest) = UnixStream::pair().expect("a pair");
        let written = async {
            for piece in [b"one \x1e".as_slice(), b"two \x1ea", b"bc", b"\x1e three"] {
                guest.write_all(piece).await.expect("written");
                tokio::task::yield_now().await;
            }
        };
        let heard = std::sync::Mutex::new(Vec::new());
        let word = Word(b"\x1eabc\x1e");
        let hears = word.hear(ours.into_split().0, async |bytes| heard.lock().expect("heard").extend(bytes));
        tokio::join!(written, hears);
        assert_eq!(heard.into_inner().expect("heard"), b"one \x1etwo ");
    }

    #[test]
    fn only_a_session_that_began_has_a_status() {
        assert_eq!(status("ended 3"), Some(3));
        assert_eq!(status("something\nended 0\n"), Some(0));
        assert_eq!(status("the guest's kernel shows no virtio-serial port x\n"), None);
    }

    #[test]
    fn nothing_that_a_terminal_is_called_becomes_a_command() {
        let size = Size { rows: 24, columns: 80 };
        let way = |kind: &str| Way::Terminal { size, kind: kind.into() };
        let text = script(&way("xterm;rm -rf $HOME"), "day1.session-1", "w");
        assert!(text.contains("TERM='xtermrm-rfHOME'\n"), "{text}");
        assert!(script(&way(""), "x", "w").contains("TERM='vt100'\n"));
    }

    #[test]
    fn the_script_passes_shellcheck() {
        let Ok(_) = std::process::Command::new("shellcheck").arg("--version").output() else {
            eprintln!("skipped: shellcheck is not installed");
            return;
        };
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/machine/guest/session.sh");
        let output = std::process::Command::new("shellcheck").args(["--shell", "sh", file]).output().expect("it runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
