//! A person at the door: the terminal that a session is carried to.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use futures::{SinkExt, StreamExt};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use terminal_size::terminal_size_of;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Connection, End, Message, Saying};
use crate::machine::{Said, SessionEnd, Size, Told};

/// What leaves a session on a terminal: Ctrl-].
const LEAVE: u8 = 0x1d;

/// A terminal whose keys all go to the session; as it was before, when this is dropped.
pub struct Raw {
    before: Termios,
}

impl Raw {
    /// Takes the terminal at standard input.
    pub fn take() -> io::Result<Self> {
        let before = tcgetattr(io::stdin().as_fd())?;
        let mut raw = before.clone();
        cfmakeraw(&mut raw);
        tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &raw)?;
        Ok(Self { before })
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin().as_fd(), SetArg::TCSADRAIN, &self.before);
    }
}

/// The terminal of standard output; none where a session needs a terminal and this has none.
pub fn terminal() -> Option<Size> {
    if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return None;
    }
    let size = terminal_size_of(io::stdout());
    Some(size.map_or(Size { rows: 24, columns: 80 }, |(columns, rows)| Size { rows: rows.0, columns: columns.0 }))
}

/// Carries a session to this process's standard streams until it ends, or the person leaves it.
pub async fn stay(connection: Connection, on_terminal: bool) -> io::Result<End> {
    let ends = [SignalKind::terminate(), SignalKind::hangup(), SignalKind::interrupt()];
    let [mut terminated, mut hung_up, mut interrupted] = [signal(ends[0])?, signal(ends[1])?, signal(ends[2])?];
    let resized = signal(SignalKind::window_change())?;
    let streams = Streams { input: tokio::io::stdin(), output: tokio::io::stdout(), errors: tokio::io::stderr() };
    tokio::select! {
        end = carry(connection, streams, on_terminal, resized) => end,
        // What was begun is hung up when the connection goes.
        _ = terminated.recv() => Ok(Ok(SessionEnd::HungUp)),
        _ = hung_up.recv() => Ok(Ok(SessionEnd::HungUp)),
        _ = interrupted.recv() => Ok(Ok(SessionEnd::HungUp)),
    }
}

struct Streams<I, O, E> {
    input: I,
    output: O,
    errors: E,
}

async fn carry<I, O, E>(
    connection: Connection,
    streams: Streams<I, O, E>,
    on_terminal: bool,
    resized: Signal,
) -> io::Result<End>
where
    I: AsyncRead + Unpin,
    O: AsyncWrite + Unpin,
    E: AsyncWrite + Unpin,
{
    let Streams { input, mut output, mut errors } = streams;
    let (saying, mut hearing) = connection.split();
    let hears = async {
        loop {
            match hearing.next().await {
                Some(Ok(Message::Said(Said::Output(bytes)))) => {
                    output.write_all(&bytes).await?;
                    output.flush().await?;
                }
                Some(Ok(Message::Said(Said::Errors(bytes)))) => {
                    errors.write_all(&bytes).await?;
                    errors.flush().await?;
                }
                Some(Ok(Message::Ended(end))) => return Ok(end),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(error),
                None => return Ok(Ok(SessionEnd::Cut)),
            }
        }
    };
    tokio::select! {
        end = hears => end,
        () = tell(saying, input, on_terminal, resized) => Ok(Ok(SessionEnd::HungUp)),
    }
}

/// Tells the session what comes in, until the person leaves it.
async fn tell(mut saying: Saying, mut input: impl AsyncRead + Unpin, on_terminal: bool, mut resized: Signal) {
    let mut buffer = vec![0; 16 * 1024];
    let mut open = true;
    loop {
        let (told, leaves) = tokio::select! {
            read = input.read(&mut buffer), if open => {
                let bytes = &buffer[..read.unwrap_or(0)];
                let leave = bytes.iter().position(|byte| on_terminal && *byte == LEAVE);
                open = !bytes.is_empty();
                match bytes {
                    [] => (Told::EndOfInput, on_terminal),
                    bytes => (Told::Input(bytes[..leave.unwrap_or(bytes.len())].to_vec()), leave.is_some()),
                }
            }
            _ = resized.recv() => match terminal() {
                Some(size) => (Told::Resized(size), false),
                None => continue,
            },
        };
        // Where nobody hears it any more, the other half tells so.
        let _ = saying.send(Message::Told(told)).await;
        if leaves {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::door::wire;

    /// What the other side was told, the end, and what came out.
    async fn session(input: &[u8], on_terminal: bool, answers: Vec<Message>) -> (Vec<Told>, End, String, String) {
        let (here, there) = UnixStream::pair().expect("a pair");
        let (here, mut there) = (wire::connection(here), wire::connection(there));
        let resized = signal(SignalKind::window_change()).expect("a signal");
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let run = async move {
            let mut told = Vec::new();
            while let Some(Ok(Message::Told(one))) = there.next().await {
                let last = matches!(one, Told::EndOfInput);
                told.push(one);
                if last {
                    break;
                }
            }
            for answer in answers {
                there.send(answer).await.expect("sent");
            }
            drop(there);
            told
        };
        let streams = Streams { input, output: &mut output, errors: &mut errors };
        let (told, end) = tokio::join!(run, carry(here, streams, on_terminal, resized));
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (told, end.expect("carried"), text(output), text(errors))
    }

    #[tokio::test]
    async fn a_command_gets_its_input_to_the_end_and_gives_both_outputs_and_its_status() {
        let answers = vec![
            Message::Said(Said::Output(b"out".to_vec())),
            Message::Said(Said::Errors(b"err".to_vec())),
            Message::Ended(Ok(SessionEnd::Exited(3))),
        ];
        let (told, end, output, errors) = session(b"ip a\x1d\n", false, answers).await;
        assert_eq!(told, [Told::Input(b"ip a\x1d\n".to_vec()), Told::EndOfInput]);
        assert_eq!((end, output.as_str(), errors.as_str()), (Ok(SessionEnd::Exited(3)), "out", "err"));
    }

    #[tokio::test]
    async fn a_terminal_leaves_with_its_key_and_what_was_typed_before_it_is_passed_on() {
        let (told, end, ..) = session(b"ls\x1dmore", true, vec![]).await;
        assert_eq!(told, [Told::Input(b"ls".to_vec())]);
        assert_eq!(end, Ok(SessionEnd::HungUp));
    }

    #[tokio::test]
    async fn a_run_that_ends_cuts_the_session() {
        let (_, end, ..) = session(b"", false, vec![]).await;
        assert_eq!(end, Ok(SessionEnd::Cut));
    }
}
