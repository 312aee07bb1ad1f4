//! The door to a trial's machine, for a person at another terminal: `day1 run` holds it open, `day1 shell` comes to it.
//!
//! It is an abstract unix socket with a name that follows from the trial's directory. So it is written down nowhere, and when its
//! process ends, however it ends, nothing is left of it.

pub mod visitor;
mod wire;

use std::io;
use std::os::linux::fs::MetadataExt;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use futures::{SinkExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};

use crate::machine::{SessionEnd, Way};

pub use wire::{Connection, Hearing, Message, Saying};

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// To know what there is.
    Look,
    /// To be let in.
    Enter {
        /// How.
        way: Way,
        /// Also where that ends a trial before its time.
        now: bool,
    },
    /// That a node which was stopped goes on.
    Continue,
    /// That the machine ends.
    Release,
}

/// What there is behind the door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lodging {
    /// Name of the trial.
    pub trial: String,
    /// Process that runs it.
    pub pid: u32,
    /// The boot that its node is in, from 1.
    pub boot: u32,
    /// How the node is.
    pub node: Node,
}

/// How a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Node {
    /// Its trial goes on.
    OnTrial,
    /// Its trial is over, and it is left to whoever comes.
    Kept,
    /// It was stopped at an event, with all that it runs.
    Stopped {
        /// The event, as it was asked for.
        at: String,
    },
    /// It was stopped at an event; since somebody has come, its kernel runs again and its services stand still.
    StandsStill {
        /// The event, as it was asked for.
        at: String,
    },
}

/// What answers a request.
pub type Answer = Result<Lodging, String>;

/// Why nobody was let in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody holds the door open.
    #[error("no machine of the trial in {} runs: it was not kept, or its run has ended", dir.display())]
    Nobody {
        /// The trial's directory.
        dir: PathBuf,
    },
    /// Somebody else does.
    #[error("the door of {} is held by the user with id {uid}, who is not you", dir.display())]
    Stranger {
        /// The trial's directory.
        dir: PathBuf,
        /// Who.
        uid: u32,
    },
    /// The other side refused.
    #[error("{0}")]
    Refused(String),
    /// The other side ended.
    #[error("the run that held the machine has ended")]
    Ended,
    /// The connection, or the directory.
    #[error("cannot {what} the door of {}: {source}", dir.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The trial's directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The name of the door of the trial with that directory, by whatever path it is reached.
fn address(dir: &Path) -> io::Result<SocketAddr> {
    let meta = std::fs::metadata(dir)?;
    SocketAddr::from_abstract_name(format!("day1-door-{:x}-{:x}", meta.st_dev(), meta.st_ino()))
}

/// Opens the door of the trial with that directory.
pub fn open(dir: &Path) -> Result<UnixListener, Error> {
    let open = || {
        let listener = StdUnixListener::bind_addr(&address(dir)?)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    };
    open().map_err(|source| Error::Io { what: "open", dir: dir.to_owned(), source })
}

/// Whether somebody holds the door of the trial with that directory open.
pub fn is_open(dir: &Path) -> bool {
    watch(dir).is_some()
}

/// A connection that ends when the door does, if it is open.
pub fn watch(dir: &Path) -> Option<StdUnixStream> {
    address(dir).and_then(|address| StdUnixStream::connect_addr(&address)).ok()
}

/// Comes to the door of the trial with that directory.
pub fn come(dir: &Path) -> Result<Connection, Error> {
    let failed = |source: io::Error| Error::Io { what: "come to", dir: dir.to_owned(), source };
    let stream = match StdUnixStream::connect_addr(&address(dir).map_err(failed)?) {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            return Err(Error::Nobody { dir: dir.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    };
    stream.set_nonblocking(true).map_err(failed)?;
    let stream = UnixStream::from_std(stream).map_err(failed)?;
    // Anybody can take the name; what is typed at a shell is for one's own eyes.
    let uid = stream.peer_cred().map_err(failed)?.uid();
    if may_meet(uid) { Ok(wire::connection(stream)) } else { Err(Error::Stranger { dir: dir.to_owned(), uid }) }
}

/// Takes the next who comes; strangers are sent away without a word.
pub async fn next(listener: &UnixListener) -> io::Result<Connection> {
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred().is_ok_and(|peer| may_meet(peer.uid())) {
            return Ok(wire::connection(stream));
        }
    }
}

/// The same user, and root.
fn may_meet(uid: u32) -> bool {
    uid == 0 || uid == nix::unistd::getuid().as_raw()
}

/// Asks for something.
pub async fn ask(connection: &mut Connection, request: Request) -> Result<Lodging, Error> {
    connection.send(Message::Request(request)).await.map_err(|_| Error::Ended)?;
    match connection.next().await {
        Some(Ok(Message::Answer(answer))) => answer.map_err(Error::Refused),
        Some(Ok(_)) => Err(Error::Refused("the run speaks another language; is it of another version of day1?".into())),
        Some(Err(error)) => Err(Error::Refused(format!("the run can't be understood: {error}"))),
        None => Err(Error::Ended),
    }
}

/// How a session ended, as it is told over the door; or why there was none.
pub type End = Result<SessionEnd, String>;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{Said, Size, Told};

    fn lodging() -> Lodging {
        Lodging { trial: "a/b@c".into(), pid: 7, boot: 2, node: Node::Stopped { at: "phase: settled".into() } }
    }

    #[tokio::test]
    async fn a_door_is_found_by_its_trial_s_directory_and_is_gone_with_its_process() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let link = dir.path().join("link");
        let trial = dir.path().join("trial");
        std::fs::create_dir(&trial).expect("made");
        std::os::unix::fs::symlink(&trial, &link).expect("linked");
        assert!(!is_open(&trial));
        assert!(matches!(come(&trial), Err(Error::Nobody { .. })));
        let listener = open(&trial).expect("opened");
        assert!(matches!(open(&link), Err(Error::Io { what: "open", .. })), "it is open already");
        let held = async {
            let mut visitor = next(&listener).await.expect("a visitor");
            let request = visitor.next().await.expect("a message").expect("readable");
            assert_eq!(request, Message::Request(Request::Look));
            visitor.send(Message::Answer(Ok(lodging()))).await.expect("sent");
        };
        let asked = async { ask(&mut come(&link).expect("open"), Request::Look).await.expect("an answer") };
        let ((), answer) = tokio::join!(held, asked);
        assert_eq!(answer, lodging());
        drop(listener);
        assert!(!is_open(&trial) && matches!(come(&link), Err(Error::Nobody { .. })));
    }

    #[tokio::test]
    async fn every_message_arrives_as_it_was_sent() {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (mut here, mut there) = (wire::connection(here), wire::connection(there));
        let size = Size { rows: 50, columns: 132 };
        let all = [
            Message::Request(Request::Enter { way: Way::Terminal { size, kind: "xterm".into() }, now: true }),
            Message::Request(Request::Release),
            Message::Answer(Err("no".into())),
            Message::Told(Told::Input(vec![0, 255, b'\n'])),
            Message::Told(Told::EndOfInput),
            Message::Told(Told::Resized(size)),
            Message::Said(Said::Output(vec![7; 100_000])),
            Message::Said(Said::Errors(vec![])),
            Message::Ended(Ok(SessionEnd::Exited(3))),
            Message::Ended(Err("why".into())),
        ];
        for message in all {
            let (sent, got) = tokio::join!(here.send(message.clone()), there.next());
            sent.expect("sent");
            assert_eq!(got.expect("a message").expect("readable"), message);
        }
        drop(here);
        assert!(there.next().await.is_none());
    }
}
