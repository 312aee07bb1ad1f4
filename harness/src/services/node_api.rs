//! What of the control plane one node sees: its kubelet asks here for pods to run, and tells what became of them.
//!
//! A pod is a shell script. The kubelet's words, with its boot id in the header `X-Boot`:
//!
//! | request | answer |
//! |---|---|
//! | `GET /pods` | 200 with a pod's script, its number in the header `X-Pod`; 204 after a while without one |
//! | `POST /pods/NUMBER/taken` | 204: the kubelet has it, and runs it |
//! | `POST /pods/NUMBER/ended/STATUS`, with what it printed | 204 |
//!
//! So a pod gets to a node only while the node reaches the control plane, and its end is known only when the node tells.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};
use tokio::sync::{Notify, watch};

use super::server::{Body, Listener, Server, Service, answer};

/// The API as one node sees it; dropping it ends it.
pub struct NodeApi {
    server: Server,
    socket: String,
    desk: Arc<Desk>,
}

/// When the node's kubelet was heard last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// In which boot of the node.
    pub boot_id: String,
    /// When.
    pub at: Instant,
}

/// A pod that a node is to run; dropping it takes it back, where no kubelet has taken it.
#[derive(Debug)]
pub struct Ordered {
    number: u64,
    desk: Arc<Desk>,
    state: watch::Receiver<State>,
}

/// How far a pod is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// No kubelet has taken it.
    Pending,
    /// The kubelet of this boot has taken it.
    Taken {
        /// The boot's id.
        boot_id: String,
    },
    /// The kubelet has told its end.
    Ended {
        /// Its exit status.
        status: i32,
        /// What it printed.
        output: String,
    },
}

/// The longest that a question for a pod stays open: so often the kubelet is heard at least.
const PATIENCE: Duration = Duration::from_secs(4);
/// More than any pod of ours prints.
const MOST_OUTPUT: usize = 1 << 20;

impl NodeApi {
    /// Starts it, on the current tokio runtime.
    pub fn start() -> io::Result<Self> {
        let desk = Arc::new(Desk { pods: Mutex::default(), more: Notify::new(), heard: watch::Sender::new(None) });
        let (listener, socket) = Listener::unix()?;
        let server = Server::start(listener, None, Arc::clone(&desk));
        Ok(Self { server, socket, desk })
    }

    /// The abstract socket's name, for [`super::socket::connect_stdio`].
    pub fn socket(&self) -> &str {
        &self.socket
    }

    /// When the kubelet was heard last, as it changes.
    pub fn heard(&self) -> watch::Receiver<Option<Heard>> {
        self.desk.heard.subscribe()
    }

    /// Wants a script to be run by the node's kubelet.
    pub fn order(&self, script: String) -> Ordered {
        let (sender, state) = watch::channel(State::Pending);
        let number = {
            let mut pods = lock(&self.desk.pods);
            let number = pods.next;
            pods.next += 1;
            pods.all.push(Entry { number, script: script.into(), state: sender });
            number
        };
        self.desk.more.notify_one();
        Ordered { number, desk: Arc::clone(&self.desk), state }
    }

    /// Ends it.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}

impl Ordered {
    /// How far it is, as it changes.
    pub fn state(&mut self) -> &mut watch::Receiver<State> {
        &mut self.state
    }

    /// Takes it back, where no kubelet has taken it; tells whether it could.
    pub fn withdraw(&self) -> bool {
        let mut pods = lock(&self.desk.pods);
        let before = pods.all.len();
        pods.all.retain(|pod| pod.number != self.number || *pod.state.borrow() != State::Pending);
        pods.all.len() < before
    }
}

impl Drop for Ordered {
    fn drop(&mut self) {
        self.withdraw();
    }
}

#[derive(Debug)]
struct Desk {
    pods: Mutex<Pods>,
    more: Notify,
    heard: watch::Sender<Option<Heard>>,
}

#[derive(Debug, Default)]
struct Pods {
    next: u64,
    all: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    script: Bytes,
    state: watch::Sender<State>,
}

impl Desk {
    fn pending(&self) -> Option<(u64, Bytes)> {
        let pods = lock(&self.pods);
        let pod = pods.all.iter().find(|pod| *pod.state.borrow() == State::Pending)?;
        Some((pod.number, pod.script.clone()))
    }

    /// A pod that nobody has taken yet; waits a while for one.
    async fn next(&self) -> Option<(u64, Bytes)> {
        let waits = async {
            loop {
                let more = self.more.notified();
                if let Some(pod) = self.pending() {
                    return pod;
                }
                more.await;
            }
        };
        tokio::time::timeout(PATIENCE, waits).await.ok()
    }

    fn becomes(&self, number: u64, state: State) -> StatusCode {
        let pods = lock(&self.pods);
        let Some(pod) = pods.all.iter().find(|pod| pod.number == number) else { return StatusCode::NOT_FOUND };
        // What is told twice since the first answer was lost is told once.
        if !matches!(*pod.state.borrow(), State::Ended { .. }) {
            pod.state.send_replace(state);
        }
        StatusCode::NO_CONTENT
    }
}

impl Service for Desk {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        let boot_id = request.headers().get("x-boot").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let boot_id = boot_id.to_owned();
        self.heard.send_replace(Some(Heard { boot_id: boot_id.clone(), at: Instant::now() }));
        let plain = |status| answer(status, "text/plain; charset=utf-8", Bytes::new());
        let path = request.uri().path().to_owned();
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let number = |text: &str| text.parse::<u64>().ok();
        match (request.method(), words.as_slice()) {
            (&Method::GET, ["pods"]) => match self.next().await {
                Some((number, script)) => {
                    let mut response = answer(StatusCode::OK, "text/x-shellscript", script);
                    response.headers_mut().insert("x-pod", HeaderValue::from(number));
                    response
                }
                None => plain(StatusCode::NO_CONTENT),
            },
            (&Method::POST, ["pods", pod, "taken"]) => plain(match number(pod) {
                Some(number) => self.becomes(number, State::Taken { boot_id }),
                None => StatusCode::NOT_FOUND,
            }),
            (&Method::POST, ["pods", pod, "ended", status]) => {
                let (Some(number), Ok(status)) = (number(pod), status.parse()) else {
                    return plain(StatusCode::NOT_FOUND);
                };
                let Ok(output) = Limited::new(request.into_body(), MOST_OUTPUT).collect().await else {
                    return plain(StatusCode::BAD_REQUEST);
                };
                let output = String::from_utf8_lossy(&output.to_bytes()).into_owned();
                plain(self.becomes(number, State::Ended { status, output }))
            }
            _ => plain(StatusCode::NOT_FOUND),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    /// Asks as a kubelet would; gives status, number of the pod and body.
    async fn ask(api: &NodeApi, method: &str, path: &str, body: &str) -> (u16, Option<u64>, String) {
        let (socket, request) = (
            api.socket().to_owned(),
            format!(
                "{method} {path} HTTP/1.1\r\nHost: x\r\nX-Boot: one\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ),
        );
        let told = tokio::task::spawn_blocking(move || {
            let mut stream = crate::services::socket::connect(&socket).expect("connected");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut told = String::new();
            stream.read_to_string(&mut told).expect("answered");
            told
        });
        let told = told.await.expect("told");
        let (head, body) = told.split_once("\r\n\r\n").expect("a head");
        let pod = head.lines().find_map(|line| line.strip_prefix("x-pod: ")?.parse().ok());
        (head[9..12].parse().expect("a status"), pod, body.to_owned())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_pod_is_given_until_it_is_taken_and_its_end_is_told_once() {
        let api = NodeApi::start().expect("started");
        assert!(api.heard().borrow().is_none());
        let mut pod = api.order("echo hi".into());
        // An answer that is lost on its way is given again.
        for _ in 0..2 {
            assert_eq!(ask(&api, "GET", "/pods", "").await, (200, Some(0), "echo hi".into()));
            assert_eq!(*pod.state().borrow(), State::Pending);
        }
        assert_eq!(ask(&api, "POST", "/pods/0/taken", "").await.0, 204);
        assert_eq!(*pod.state().borrow(), State::Taken { boot_id: "one".into() });
        assert!(!pod.withdraw());
        let ended = State::Ended { status: 3, output: "hi\n".into() };
        assert_eq!(ask(&api, "POST", "/pods/0/ended/3", "hi\n").await.0, 204);
        assert_eq!(ask(&api, "POST", "/pods/0/ended/0", "again").await.0, 204);
        assert_eq!(*pod.state().borrow(), ended);
        assert_eq!(api.heard().borrow().as_ref().map(|heard| heard.boot_id.clone()).as_deref(), Some("one"));
        for (method, path) in [("POST", "/pods/9/taken"), ("POST", "/pods/0/ended/x"), ("GET", "/other")] {
            assert_eq!(ask(&api, method, path, "").await.0, 404, "{path}");
        }
        api.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_waits_for_a_pod_gets_the_next_and_one_that_nobody_took_can_be_withdrawn() {
        let api = NodeApi::start().expect("started");
        let withdrawn = api.order("never".into());
        assert!(withdrawn.withdraw() && !withdrawn.withdraw());
        drop(api.order("dropped".into()));
        let (waits, next) = tokio::join!(ask(&api, "GET", "/pods", ""), async {
            tokio::task::yield_now().await;
            api.order("next".into())
        });
        assert_eq!(waits, (200, Some(2), "next".into()));
        assert!(next.withdraw());
        api.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_asks_in_vain_is_told_so() {
        let api = NodeApi::start().expect("started");
        assert_eq!(ask(&api, "GET", "/pods", "").await.0, 204);
        api.stop().await;
    }
}
