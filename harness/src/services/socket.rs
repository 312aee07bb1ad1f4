//! Abstract unix sockets: listening on one, and carrying a guest's connection to one.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};

/// Room for one read; larger than a TCP window of the guest's first round trips.
const BUFFER: usize = 64 * 1024;

/// A listener on a fresh abstract name `day1-…`, and that name.
pub fn listen() -> io::Result<(UnixListener, String)> {
    let name = format!("day1-{}", random_uuid()?);
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name)?)?;
    Ok((listener, name))
}

/// Connects to an abstract name.
pub fn connect(name: &str) -> io::Result<UnixStream> {
    UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?)
}

/// Carries standard input and output to the abstract socket `name` until the far side ends; blocks.
///
/// An end of input is passed on as a half-close, so an answer still on its way arrives.
///
/// QEMU gives a `guestfwd` process one socket as standard input, output *and* error: whoever calls this must
/// print nothing, also not the error, or it lands in the guest's TLS stream.
pub fn connect_stdio(name: &str) -> io::Result<()> {
    // Descriptors of their own: the standard library's handles buffer.
    let input = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut output = File::from(io::stdout().as_fd().try_clone_to_owned()?);
    let carried = carry(connect(name)?, input, &mut output);
    // Tells the guest that no more comes. Where the output is no socket, the end of the process tells it.
    let _ = UnixStream::from(OwnedFd::from(output)).shutdown(Shutdown::Write);
    carried
}

fn carry(server: UnixStream, input: impl Read + Send + 'static, output: &mut impl Write) -> io::Result<()> {
    let mut from_server = server.try_clone()?;
    // The thread ends with the process: when the server has ended, what the guest may still send is void.
    std::thread::spawn(move || {
        let (mut input, mut to_server) = (input, server);
        let _ = copy(&mut input, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    copy(&mut from_server, output)
}

/// [`io::copy`] with a larger buffer than its 8 KiB: fewer system calls for an image's layers.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => to.write_all(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// A random UUID (122 random bits) from the kernel.
pub(crate) fn random_uuid() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/uuid")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_fresh_and_gone_with_their_listener() {
        let (first, name) = listen().expect("a listener");
        let (_second, other) = listen().expect("another listener");
        assert_ne!(name, other);
        assert!(connect(&name).is_ok());
        drop(first);
        assert_eq!(connect(&name).expect_err("gone").kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn an_answer_arrives_after_the_end_of_input() {
        let (listener, name) = listen().expect("a listener");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = Vec::new();
            stream.read_to_end(&mut request).expect("the request and its end");
            stream.write_all(b"answer to ").and_then(|()| stream.write_all(&request)).expect("sent");
        });
        let mut output = Vec::new();
        carry(connect(&name).expect("connected"), b"request".as_slice(), &mut output).expect("carried");
        server.join().expect("the server's checks");
        assert_eq!(output, b"answer to request");
    }

    #[test]
    fn carrying_ends_with_the_server_though_the_guest_says_nothing() {
        let (listener, name) = listen().expect("a listener");
        let (_guest, silent) = UnixStream::pair().expect("a pair");
        let server = connect(&name).expect("connected");
        drop(listener.accept().expect("a connection"));
        let mut output = Vec::new();
        carry(server, silent, &mut output).expect("carried");
        assert!(output.is_empty());
    }

    #[test]
    fn copying_passes_every_byte_and_the_end() {
        let bytes: Vec<u8> = (0..3 * BUFFER).map(|i| (i % 251) as u8).collect();
        let mut out = Vec::new();
        copy(&mut bytes.as_slice(), &mut out).expect("copied");
        assert_eq!(out, bytes);
    }
}
