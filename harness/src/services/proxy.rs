//! The cluster's HTTP proxy, for nodes that reach the registry only through one: `CONNECT`, and nothing else.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{JoinHandle, JoinSet};

use super::socket;
use crate::timeline::{Bus, ProxyRequest, What};

/// A request's head is not longer than this; podman's has a few hundred bytes.
const LONGEST_HEAD: usize = 16 * 1024;

/// A running proxy; dropping it ends it and its connections.
pub struct Proxy {
    task: JoinHandle<()>,
    socket: String,
}

impl Proxy {
    /// Starts a proxy that leads each of `hosts` (`HOST:PORT`) to the abstract socket `gateway`, and refuses all others.
    /// Each request is recorded on `bus`.
    pub fn start(hosts: Vec<String>, gateway: &str, bus: Bus) -> io::Result<Self> {
        let (listener, socket) = socket::listen()?;
        listener.set_nonblocking(true)?;
        let way = Arc::new(Way { hosts, gateway: gateway.to_owned(), bus });
        Ok(Self { task: tokio::spawn(accept(UnixListener::from_std(listener)?, way)), socket })
    }

    /// The abstract socket's name, for [`socket::connect_stdio`].
    pub fn socket(&self) -> &str {
        &self.socket
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Way {
    hosts: Vec<String>,
    gateway: String,
    bus: Bus,
}

async fn accept(listener: UnixListener, way: Arc<Way>) {
    // The set lives in this task: ending the task ends every connection.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&way)))),
                Err(error) => {
                    way.bus.push(What::Note { text: format!("proxy: stopped listening: {error}") });
                    return;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: UnixStream, way: Arc<Way>) {
    let mut stream = BufReader::new(stream);
    let Some((method, target)) = head(&mut stream).await else { return };
    let is_known = method == "CONNECT" && way.hosts.contains(&target);
    let onward = if is_known { connect(&way.gateway).await.ok() } else { None };
    let status = match (&onward, is_known) {
        (Some(_), _) => 200,
        (None, true) => 502,
        (None, false) => 403,
    };
    way.bus.push(What::Proxy(ProxyRequest { method, target, status }));
    let answer = match status {
        200 => "HTTP/1.1 200 Connection established\r\n\r\n",
        502 => "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        _ => "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    };
    if stream.write_all(answer.as_bytes()).await.is_err() {
        return;
    }
    if let Some(mut onward) = onward {
        // The gateway's own record tells of a connection that was cut.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut onward).await;
    }
}

async fn connect(gateway: &str) -> io::Result<UnixStream> {
    let stream = socket::connect(gateway)?;
    stream.set_nonblocking(true)?;
    UnixStream::from_std(stream)
}

/// Method and target of a request, after its whole head; none for what is no request.
async fn head(stream: &mut BufReader<UnixStream>) -> Option<(String, String)> {
    let (mut first, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        let read = stream.read_line(&mut line).await.ok()?;
        length += read;
        if read == 0 || length > LONGEST_HEAD {
            return None;
        }
        if line.trim().is_empty() {
            return first;
        }
        if first.is_none() {
            let mut words = line.split_whitespace();
            first = Some((words.next()?.to_owned(), words.next()?.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    async fn asked(proxy: &Proxy, request: &str) -> String {
        let mut stream = connect(proxy.socket()).await.expect("connected");
        stream.write_all(request.as_bytes()).await.expect("sent");
        stream.shutdown().await.expect("ended");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("answered");
        answer
    }

    #[tokio::test]
    async fn a_known_host_is_led_on_and_others_are_refused() {
        let (listener, gateway) = socket::listen().expect("a listener");
        let server = std::thread::spawn(move || {
            use std::io::{Read, Write};
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut request = String::new();
            stream.read_to_string(&mut request).expect("a request");
            stream.write_all(format!("you said {request}").as_bytes()).expect("sent");
        });
        let bus = Bus::new(None);
        let proxy = Proxy::start(vec!["10.0.2.100:443".into()], &gateway, bus.clone()).expect("a proxy");
        let answer = asked(&proxy, "CONNECT 10.0.2.100:443 HTTP/1.1\r\nHost: x\r\n\r\nhello").await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("you said hello"), "{answer}");
        server.join().expect("the server ended");
        assert!(asked(&proxy, "CONNECT 10.0.2.101:443 HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 403"));
        assert!(asked(&proxy, "GET http://10.0.2.100/ HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 403"));
        // The gateway is gone.
        assert!(asked(&proxy, "CONNECT 10.0.2.100:443 HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 502"));
        assert_eq!(asked(&proxy, "nonsense").await, "");
        let statuses = bus.events().into_iter().filter_map(|event| match &event.what {
            What::Proxy(request) => Some(request.status),
            _ => None,
        });
        assert_eq!(statuses.collect::<Vec<_>>(), [200, 403, 403, 502]);
    }
}
