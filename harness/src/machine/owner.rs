//! The owner of one QEMU process, from its start to its end.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use command_fds::CommandFdExt;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

use super::agent::{Agent, Output};
use super::command::{self, Begins, InstrumentSockets, Keeps, Sockets, Spec};
use super::qmp::Protocol;
use super::streams::{self, Listener, Source, Tap};
use super::template::{self, Template};
use super::{Error, delay, program, session};
use crate::process;
use crate::timeline::{
    Bus, Event, Hardware, MachineExited, MachineStarted, Snapshot, Stream, StreamEnded, What, is_panic,
};

/// QEMU answers its protocol within milliseconds; one that does not in this time never will.
pub(super) const ANSWER: Duration = Duration::from_secs(60);

/// A running QEMU machine. It dies with the thread that started it, and when it is dropped.
pub struct Machine {
    pub(super) bus: Bus,
    protocol: Protocol,
    pub(super) agent: Agent,
    pub(super) pid: u32,
    sessions: AtomicU64,
    pub(super) free_ports: Semaphore,
    expected_end: watch::Sender<bool>,
    supervisor: JoinHandle<()>,
    readers: Vec<JoinHandle<()>>,
    /// Copies of what the guest says, where a template is to be made.
    pub(super) taps: Vec<(Source, Tap)>,
}

/// Why a wait gave up.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WaitError {
    /// The deadline passed.
    #[error("no {what} within {after_s:.0} s")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long.
        after_s: f64,
    },
    /// QEMU ended.
    #[error("QEMU ended while waiting for {what}")]
    MachineExited {
        /// What was waited for.
        what: String,
    },
    /// The kernel panicked.
    #[error("the kernel panicked while waiting for {what}: {line}")]
    Panic {
        /// What was waited for.
        what: String,
        /// The console's line.
        line: String,
    },
}

impl Machine {
    /// Starts QEMU, takes all its sockets, and lets the guest run. `console_log` gets every byte of the serial
    /// console.
    ///
    /// Call it on a thread that lives as long as the machine shall: QEMU is killed when that thread ends.
    pub async fn start(spec: &Spec, bus: &Bus, console_log: Option<&Path>) -> Result<Self, Error> {
        let (qmp, qemu_qmp) = pair()?;
        let (console, qemu_console) = pair()?;
        let (journal_initramfs, qemu_journal_initramfs) = pair()?;
        let (journal, qemu_journal) = pair()?;
        let (trace, qemu_trace) = pair()?;
        let (agent_socket, qemu_agent) = pair()?;
        let (clock, qemu_clock) = pair()?;
        let instruments = InstrumentSockets {
            journal_initramfs: qemu_journal_initramfs,
            journal: qemu_journal,
            trace: qemu_trace,
            agent: qemu_agent,
            clock: qemu_clock,
        };
        let sockets = Sockets { qmp: qemu_qmp, console: qemu_console, instruments };
        let sources = [
            (Source::Console, console),
            (Source::JournalInitramfs, journal_initramfs),
            (Source::Journal, journal),
            (Source::Trace, trace),
        ];
        let (mut child, shown) = spawn(spec, sockets)?;
        let greeting = tokio::time::timeout(ANSWER, Protocol::connect(qmp, bus.clone())).await;
        let (protocol, events) = match greeting.unwrap_or_else(|_| Err(silent("the greeting"))) {
            Ok(connected) => connected,
            Err(error) => return Err(ended_early(child, shown, error).await),
        };
        let (expected_end, expected) = watch::channel(false);
        let pid = child.id().unwrap_or_default();
        let stderr = child.stderr.take();
        let supervisor = tokio::spawn(supervise(child, stderr, events, expected, bus.clone()));
        let (agent, answers) = Agent::new(agent_socket);
        let mut machine = Self {
            bus: bus.clone(),
            protocol,
            agent,
            pid,
            sessions: AtomicU64::new(0),
            free_ports: Semaphore::new(session::FREE_PORTS as usize),
            expected_end,
            supervisor,
            readers: vec![tokio::spawn(answers)],
            taps: Vec::new(),
        };
        let (start, template) = match &spec.begins {
            Begins::Fresh => ("cold", None),
            Begins::WithDisks(_) => ("pulled", None),
            Begins::Forked(template) => ("template", Some(template)),
        };
        let restored = match template {
            Some(template) => Some(machine.restore(template).await?),
            None => None,
        };
        machine.bus.push(What::MachineStarted(MachineStarted {
            accel: spec.accel.name().into(),
            qemu: machine.protocol.version.clone(),
            start: start.into(),
            restore_ms: restored.map(|time| time.as_secs_f64() * 1e3),
            hardware: Hardware { cpus: spec.cpus, memory_mib: spec.memory_mib },
        }));
        machine.listen(sources, template, console_log, matches!(spec.keeps, Keeps::Template(_))).await?;
        machine.ask("cont", qapi::qmp::cont {}).await?;
        if template.is_some() {
            template::set_clock(clock, &delay::runtime_files(&spec.delays)).await?;
        }
        Ok(machine)
    }

    /// Puts what the guest says into the timeline, from what it said before it was forked.
    async fn listen(
        &mut self,
        sources: [(Source, UnixStream); 4],
        template: Option<&Template>,
        console_log: Option<&Path>,
        keep: bool,
    ) -> Result<(), Error> {
        let listener = Listener {
            bus: self.bus.clone(),
            seen: streams::Seen::default(),
            console_log: console_log.map(Path::to_owned),
        };
        for (source, socket) in sources {
            let said = template.map(|template| template.said(source)).transpose()?.unwrap_or_default();
            source.read(said.lines.as_slice(), listener.clone()).await;
            let bytes = std::io::Cursor::new(said.rest).chain(socket);
            let listener = listener.clone();
            self.readers.push(if keep {
                let tap = Tap::default();
                let bytes = tap.through(bytes);
                self.taps.push((source, tap));
                tokio::spawn(async move { source.read(bytes, listener).await })
            } else {
                tokio::spawn(async move { source.read(bytes, listener).await })
            });
        }
        Ok(())
    }

    /// Asks QEMU for something that it does within milliseconds.
    pub(super) async fn ask<C: qapi::qmp::QmpCommand>(&self, what: &'static str, command: C) -> Result<C::Ok, Error> {
        let answer = tokio::time::timeout(ANSWER, self.protocol.execute(what, command)).await;
        answer.unwrap_or_else(|_| Err(silent(what)))
    }

    /// Waits for the first event of the trial, past or to come, for which `wanted` gives a value. It gives up
    /// when the deadline passes, QEMU ends or the kernel panics.
    pub async fn wait_for<T>(
        &self,
        what: &str,
        deadline: Duration,
        wanted: impl FnMut(&Event) -> Option<T>,
    ) -> Result<T, WaitError> {
        wait(&mut self.bus.from_start(), what, deadline, wanted).await
    }

    /// Asks the guest to reboot as a person at its keyboard would, with Ctrl-Alt-Del.
    pub async fn press_ctrl_alt_del(&self) -> Result<(), Error> {
        use qapi::qmp::{KeyValue, QKeyCode, QKeyCodeWrapper};
        let keys = [QKeyCode::ctrl, QKeyCode::alt, QKeyCode::delete];
        let keys = keys.map(|data| KeyValue::qcode(QKeyCodeWrapper { data })).into();
        self.ask("send-key", qapi::qmp::send_key { hold_time: None, keys }).await?;
        Ok(())
    }

    /// Memory of the host that QEMU takes: its own pages, and its share of those that it has in common with others
    /// (PSS, `proc_pid_smaps(5)`), in MiB.
    pub fn host_memory_mib(&self) -> Result<f64, Error> {
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        let text = std::fs::read_to_string(&path).map_err(Error::io(format!("read {path}")))?;
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        let missing = || std::io::Error::other("it has no `Pss:`");
        Ok(kib.ok_or_else(missing).map_err(Error::io(format!("read {path}")))? / 1024.0)
    }

    /// Reads the guest's modules, links, devices and units, and puts them into the timeline.
    pub async fn snapshot(&self, label: &str, deadline: Duration) -> Result<Snapshot, Error> {
        let snapshot = within(deadline, "a snapshot", self.agent.snapshot(label)).await;
        match &snapshot {
            Ok(snapshot) => self.bus.push(What::Snapshot(Box::new(snapshot.clone()))),
            Err(error) => self.bus.push(What::StreamEnded(StreamEnded {
                stream: Stream::Agent,
                reason: format!("no snapshot \"{label}\": {error}"),
            })),
        }
        snapshot
    }

    /// Runs a shell script as root in the guest; the timeline notes it.
    pub async fn run(&self, script: &str, deadline: Duration) -> Result<Output, Error> {
        self.bus.push(What::Note { text: format!("the harness runs in the guest: {script}") });
        self.query(script, deadline).await
    }

    /// As [`Machine::run`], for a script that only looks: the timeline does not note it.
    pub async fn query(&self, script: &str, deadline: Duration) -> Result<Output, Error> {
        within(deadline, "the end of a script", self.agent.run(script)).await
    }

    /// Makes the guest's services stand still, all but the harness's own and the journal's, or go on.
    pub async fn freeze(&self, still: bool, deadline: Duration) -> Result<Output, Error> {
        within(deadline, "an end of the guest's services' work", self.agent.freeze(still)).await
    }

    /// Stops the machine's processors: the guest's clocks stand still.
    pub async fn pause(&self) -> Result<(), Error> {
        self.ask("stop", qapi::qmp::stop {}).await?;
        Ok(())
    }

    /// Lets them go on.
    pub async fn resume(&self) -> Result<(), Error> {
        self.ask("cont", qapi::qmp::cont {}).await?;
        Ok(())
    }

    /// A number for a session, never the same.
    pub(super) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    /// Resets the machine as a cut of its power would: the guest gets no chance to write anything.
    pub async fn reset(&self) -> Result<(), Error> {
        self.ask("system_reset", qapi::qmp::system_reset {}).await?;
        Ok(())
    }

    /// Pulls the n-th of [`Spec::disks`] out of the running machine, from 0.
    pub async fn unplug_disk(&self, index: usize) -> Result<(), Error> {
        self.ask("device_del", qapi::qmp::device_del { id: command::device_name(index) }).await?;
        Ok(())
    }

    /// Pulls the cable of the n-th network card out, or puts it in.
    pub async fn set_link(&self, index: usize, up: bool) -> Result<(), Error> {
        self.ask("set_link", qapi::qmp::set_link { name: command::network_name(index), up }).await?;
        Ok(())
    }

    /// Whether QEMU runs.
    pub fn is_running(&self) -> bool {
        !self.supervisor.is_finished()
    }

    /// Ends the machine at once: its disks have no name, so there is nothing to put in order. What its streams
    /// still held is in the timeline when this returns.
    pub async fn stop(mut self) {
        self.expected_end.send_replace(true);
        let _ = (&mut self.supervisor).await;
        for reader in &mut self.readers {
            let _ = reader.await;
        }
    }
}

/// Waits on a cursor, from where it stands; see [`Machine::wait_for`].
pub async fn wait<T>(
    events: &mut crate::timeline::Cursor,
    what: &str,
    deadline: Duration,
    mut wanted: impl FnMut(&Event) -> Option<T>,
) -> Result<T, WaitError> {
    let watch = async {
        loop {
            let event = events.next().await;
            if let Some(value) = wanted(&event) {
                return Ok(value);
            }
            match &event.what {
                What::MachineExited(_) => return Err(WaitError::MachineExited { what: what.to_owned() }),
                What::Console(console) if is_panic(&console.line) => {
                    return Err(WaitError::Panic { what: what.to_owned(), line: console.line.clone() });
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(deadline, watch)
        .await
        .unwrap_or_else(|_| Err(WaitError::Deadline { what: what.to_owned(), after_s: deadline.as_secs_f64() }))
}

async fn within<T>(deadline: Duration, what: &str, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(deadline, answer).await.unwrap_or_else(|_| {
        Err(Error::Agent { what: format!("nothing within {} s: {what} was asked for", deadline.as_secs()) })
    })
}

fn silent(what: &'static str) -> Error {
    Error::Qmp { what, message: format!("no answer within {} s", ANSWER.as_secs()) }
}

/// Starts QEMU; gives its command line for a person as well.
fn spawn(spec: &Spec, sockets: Sockets) -> Result<(Child, String), Error> {
    let line = command::build(spec, sockets, overlays(spec)?)?;
    let (name, package) = program::of(spec.architecture);
    let mut program = Command::new(name);
    program.args(&line.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let shown = process::command_line(&program);
    // Of its own process group: a Ctrl-C at the terminal reaches the harness, which ends the machine in order.
    std::os::unix::process::CommandExt::process_group(&mut program, 0);
    process::die_with_parent(&mut program);
    program.fd_mappings(command::mappings(line.files)).map_err(|error| Error::Io {
        what: "number the files that QEMU inherits".into(),
        source: std::io::Error::other(error),
    })?;
    // The command holds QEMU's ends of the sockets; it goes here, so that each closes when QEMU ends.
    let child = tokio::process::Command::from(program).kill_on_drop(true).spawn();
    Ok((child.map_err(|source| Error::Start { program: name, package, source })?, shown))
}

fn pair() -> Result<(UnixStream, OwnedFd), Error> {
    let failed = || Error::io("make a pair of sockets for QEMU");
    let (ours, theirs) = StdUnixStream::pair().map_err(failed())?;
    ours.set_nonblocking(true).map_err(failed())?;
    Ok((UnixStream::from_std(ours).map_err(failed())?, theirs.into()))
}

/// The writable disks: overlays on what the machine begins with, or empty ones. Unless they are kept they have no
/// name any more when QEMU gets them, so that nothing is left of them whatever ends it.
fn overlays(spec: &Spec) -> Result<Vec<OwnedFd>, Error> {
    let dir = tempfile::Builder::new()
        .prefix("disks-")
        .tempdir_in(&spec.scratch)
        .map_err(Error::io(format!("make a directory in {}", spec.scratch.display())))?;
    let before = match &spec.begins {
        Begins::Fresh => None,
        Begins::WithDisks(dir) => Some(dir.as_path()),
        Begins::Forked(template) => Some(template.dir()),
    };
    let mut files = Vec::new();
    for index in 0..=spec.disks.len() {
        let name = command::disk_name(index);
        let path = spec.keeps.dir().unwrap_or(dir.path()).join(&name);
        let mut create = Command::new("qemu-img");
        create.args(["create", "-q", "-f", "qcow2"]);
        match (before, index.checked_sub(1).map(|i| &spec.disks[i])) {
            (Some(dir), _) => create.args(["-F", "qcow2", "-b"]).arg(dir.join(&name)).arg(&path),
            (None, None) => create.args(["-F", "qcow2", "-b"]).arg(&spec.image).arg(&path),
            (None, Some(disk)) => create.arg(&path).arg(format!("{}M", disk.size_mib)),
        };
        process::output(&mut create)?;
        let file = std::fs::File::options().read(true).write(true).open(&path);
        files.push(file.map_err(Error::io(format!("open {}", path.display())))?.into());
    }
    Ok(files)
}

async fn ended_early(mut child: Child, command: String, error: Error) -> Error {
    let stderr = read_stderr(child.stderr.take());
    let _ = child.start_kill();
    let (status, stderr) = tokio::join!(child.wait(), stderr);
    match status {
        Ok(status) if !stderr.is_empty() => Error::EndedEarly { status: status.to_string(), stderr, command },
        _ => error,
    }
}

async fn read_stderr(stderr: Option<tokio::process::ChildStderr>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stderr) = stderr {
        let _ = stderr.read_to_end(&mut bytes).await;
    }
    process::tail(&String::from_utf8_lossy(&bytes), 20)
}

/// Waits for QEMU's end and puts it into the timeline, after the last of QEMU's events.
async fn supervise(
    mut child: Child,
    stderr: Option<tokio::process::ChildStderr>,
    events: JoinHandle<()>,
    mut expected: watch::Receiver<bool>,
    bus: Bus,
) {
    let wait = async {
        tokio::select! {
            status = child.wait() => return status,
            // Also when the machine was dropped without being stopped.
            _ = expected.changed() => {}
        }
        // It may have ended by itself meanwhile; waiting for it tells.
        let _ = child.start_kill();
        child.wait().await
    };
    let (status, stderr) = tokio::join!(wait, read_stderr(stderr));
    let _ = events.await;
    let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
    bus.push(What::MachineExited(MachineExited { expected: *expected.borrow(), status, stderr }));
}
