//! HTTP/1.1 over an abstract unix socket or loopback TCP, with or without TLS; every connection ends with
//! its server.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// What a body of ours may fail with; hyper cuts the connection then.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// A body of ours.
pub(super) type Body = BoxBody<Bytes, BodyError>;

/// Whether a server takes connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// It serves.
    Serving,
    /// It is down: connections are cut, new ones are closed as soon as they are made.
    Down,
}

/// Where connections come from.
pub(super) enum Listener {
    /// An abstract unix socket.
    Unix(UnixListener),
    /// TCP on loopback.
    Tcp(TcpListener),
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Listener {
    /// An abstract unix socket on a fresh name.
    pub(super) fn unix() -> io::Result<(Self, String)> {
        let (listener, name) = super::socket::listen()?;
        listener.set_nonblocking(true)?;
        Ok((Self::Unix(UnixListener::from_std(listener)?), name))
    }

    async fn accept(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Unix(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                // An answer's head and body are two writes; Nagle's algorithm would hold the second for 40 ms.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

/// Answers requests. One value serves all connections.
pub(super) trait Service: Send + Sync + 'static {
    /// Answers one request; dropped when the client cuts the connection.
    fn answer(self: Arc<Self>, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;

    /// A connection failed before its first request, or the listener failed; `text` is for a person.
    fn trouble(&self, text: String) {
        tracing::warn!("{text}");
    }
}

/// A running server; dropping it ends it and its connections.
pub(super) struct Server {
    task: JoinHandle<()>,
    orders: mpsc::UnboundedSender<Order>,
}

/// What the server's task is told.
enum Order {
    Be(Availability),
    /// Tell when no connection is open.
    Idle(oneshot::Sender<()>),
    /// End, and tell when it is done.
    Stop(oneshot::Sender<()>),
}

impl Server {
    /// Starts serving on the current tokio runtime.
    pub(super) fn start<S: Service>(listener: Listener, tls: Option<Arc<ServerConfig>>, service: Arc<S>) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let task = tokio::spawn(accept(listener, tls.map(TlsAcceptor::from), service, inbox));
        Self { task, orders }
    }

    /// Takes the server down or up again, before it takes another connection.
    pub(super) fn set_availability(&self, availability: Availability) {
        // A server whose listener failed has ended, and told so.
        let _ = self.orders.send(Order::Be(availability));
    }

    /// Waits until no connection is open, or the server has ended.
    pub(super) async fn is_idle(&self) {
        let (idle, told) = oneshot::channel();
        if self.orders.send(Order::Idle(idle)).is_ok() {
            let _ = told.await;
        }
    }

    /// Ends the server; when this returns, every connection has ended and said its last event.
    pub(super) async fn stop(self) {
        let (done, told) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).is_ok() {
            let _ = told.await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept<S: Service>(
    listener: Listener,
    tls: Option<TlsAcceptor>,
    service: Arc<S>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    // The set lives in this task: ending the task ends every connection.
    let mut connections = JoinSet::new();
    let mut availability = Availability::Serving;
    let mut waiting: Vec<oneshot::Sender<()>> = Vec::new();
    loop {
        if connections.is_empty() {
            for idle in waiting.drain(..) {
                // Whoever asked may have given up waiting.
                let _ = idle.send(());
            }
        }
        tokio::select! {
            // Orders first: who sees a connection refused can rely on the earlier ones being cut.
            biased;
            Some(order) = orders.recv() => match order {
                Order::Be(Availability::Serving) => availability = Availability::Serving,
                Order::Be(Availability::Down) => {
                    availability = Availability::Down;
                    connections.shutdown().await;
                }
                Order::Idle(idle) => waiting.push(idle),
                Order::Stop(done) => {
                    connections.shutdown().await;
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                    return;
                }
            },
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok(stream) if availability == Availability::Serving => {
                    connections.spawn(serve(stream, tls.clone(), Arc::clone(&service)));
                }
                Ok(stream) => {
                    drop(stream);
                    service.trouble("down, closed a connection as soon as it was made".to_owned());
                }
                Err(error) => {
                    service.trouble(format!("stopped listening: {error}"));
                    return;
                }
            },
        }
    }
}

async fn serve<S: Service>(stream: Box<dyn Stream>, tls: Option<TlsAcceptor>, service: Arc<S>) {
    let Some(tls) = tls else { return serve_http(stream, service).await };
    match tls.accept(stream).await {
        Ok(stream) => serve_http(stream, service).await,
        Err(error) => service.trouble(format!("TLS handshake failed: {error}")),
    }
}

async fn serve_http<S: Service>(stream: impl Stream + 'static, service: Arc<S>) {
    let answer = service_fn(move |request| {
        let service = Arc::clone(&service);
        async move { Ok::<_, Infallible>(service.answer(request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // A cut connection is an error here; the request's own record tells it.
    let Ok(parts) = served.without_shutdown().await else { return };
    // The client closes first: only that tells that it has read the whole answer, wherever that was on its way.
    let mut stream = parts.io.into_inner();
    let _ = tokio::time::timeout(LINGER, tokio::io::copy(&mut stream, &mut tokio::io::sink())).await;
    let _ = stream.shutdown().await;
}

/// How long an answered client that does not close its connection is waited for: an old one may wait for ours.
const LINGER: Duration = Duration::from_secs(10);

/// A body of bytes at hand.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed()
}

/// An answer with a body of bytes at hand.
pub(super) fn answer(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(full(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
