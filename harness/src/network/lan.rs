//! The switch: which frame goes where, over which link.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::net::UnixDatagram;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::frame::{Course, course};
use super::link::{Link, Wire};
use super::{Mac, OBSERVER};

/// A node of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Station {
    /// Its name, which DHCP tells it.
    pub name: String,
    /// Its card's address.
    pub mac: Mac,
    /// The address that DHCP gives it.
    pub address: Ipv4Addr,
}

/// QEMU's ends of a node's sockets: a datagram is a frame.
#[derive(Debug)]
pub struct Socket {
    /// The card's.
    pub nic: OwnedFd,
    /// The router's.
    pub router: OwnedFd,
}

/// The network of one trial; it ends when it is dropped.
pub struct Lan {
    pub(super) switch: Arc<Switch>,
    tasks: JoinSet<()>,
    pub(super) to_observer: Option<mpsc::Receiver<Vec<u8>>>,
}

pub(super) struct Switch {
    ports: Mutex<Vec<Arc<Port>>>,
    to_observer: mpsc::Sender<Vec<u8>>,
}

/// Where a node is plugged in.
pub(super) struct Port {
    pub(super) station: Station,
    router: UnixDatagram,
    link: Mutex<Link>,
    to_node: Direction,
    from_node: Direction,
    /// How many times the observer has asked it.
    pub(super) asked: AtomicU64,
}

/// Frames on their way in one direction.
struct Direction {
    wire: Mutex<Wire>,
    on_its_way: mpsc::Sender<Sent>,
    /// When the link became another, and whether it is cut: what was sent before is lost then, or else held up no longer.
    changed: watch::Sender<(Instant, bool)>,
}

/// A frame on its way.
struct Sent {
    at: Instant,
    arrives: Instant,
    frame: Vec<u8>,
}

/// Where the frames of one direction come out.
struct Arriving {
    frames: mpsc::Receiver<Sent>,
    changed: watch::Receiver<(Instant, bool)>,
}

impl Arriving {
    /// The next frame, when it arrives; none once nothing more can come.
    async fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            let Sent { at, arrives, frame } = self.frames.recv().await?;
            // The sender lives as long as that of the frames.
            let another = self.changed.wait_for(|(changed, _)| *changed > at);
            tokio::select! {
                biased;
                Ok(another) = another => {
                    if another.1 {
                        continue;
                    }
                }
                () = tokio::time::sleep_until(arrives.into()) => {}
            }
            return Some(frame);
        }
    }
}

/// The most frames on their way in one direction: further ones are lost, as where a card's queue is full.
const QUEUE: usize = 1024;
/// More than any frame has: the cards' is 1514 bytes, QEMU's largest 64 KiB and a bit.
const FRAME: usize = 70 * 1024;

impl Lan {
    /// A network without nodes, on the current tokio runtime.
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let switch = Switch { ports: Mutex::default(), to_observer: sender };
        Self { switch: Arc::new(switch), tasks: JoinSet::new(), to_observer: Some(receiver) }
    }

    /// Plugs a node in.
    pub fn attach(&mut self, station: Station) -> io::Result<Socket> {
        let (nic, qemu_nic) = pair()?;
        let (router, qemu_router) = pair()?;
        let nic = Arc::new(nic);
        let (to_node, mut arriving) = Direction::new();
        let (from_node, mut leaving) = Direction::new();
        let port =
            Arc::new(Port { station, router, link: Mutex::default(), to_node, from_node, asked: AtomicU64::new(0) });
        lock(&self.switch.ports).push(Arc::clone(&port));
        let (hears, listener) = (Arc::clone(&port), Arc::clone(&nic));
        self.tasks.spawn(async move {
            frames(&listener, |frame| hears.send(&hears.from_node, frame)).await;
        });
        let hears = Arc::clone(&port);
        self.tasks.spawn(async move {
            frames(&hears.router, |frame| hears.send(&hears.to_node, frame)).await;
        });
        self.tasks.spawn(async move {
            while let Some(frame) = arriving.next().await {
                // A card whose machine has ended takes no more.
                let _ = nic.send(&frame).await;
            }
        });
        let switch = Arc::clone(&self.switch);
        self.tasks.spawn(async move {
            while let Some(frame) = leaving.next().await {
                switch.forward(&port, frame).await;
            }
        });
        Ok(Socket { nic: qemu_nic, router: qemu_router })
    }

    /// Changes a node's link; false where no node is called so.
    pub fn set_link(&self, name: &str, link: Link) -> bool {
        let port = self.switch.port(|port| port.station.name == name);
        port.map(|port| {
            *lock(&port.link) = link;
            for direction in [&port.to_node, &port.from_node] {
                *lock(&direction.wire) = Wire::default();
                direction.changed.send_replace((Instant::now(), link.cut));
            }
        })
        .is_some()
    }

    /// How a node's link is.
    pub fn link(&self, name: &str) -> Option<Link> {
        Some(*lock(&self.switch.port(|port| port.station.name == name)?.link))
    }

    /// How many times the observer has asked each node.
    pub fn asked(&self) -> BTreeMap<String, u64> {
        let ports = self.switch.ports().into_iter();
        ports.map(|port| (port.station.name.clone(), port.asked.load(Ordering::Relaxed))).collect()
    }

    /// Lets something go on for as long as the network is there.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }
}

impl Default for Lan {
    fn default() -> Self {
        Self::new()
    }
}

impl Switch {
    fn port(&self, is: impl Fn(&Port) -> bool) -> Option<Arc<Port>> {
        lock(&self.ports).iter().find(|port| is(port)).map(Arc::clone)
    }

    pub(super) fn ports(&self) -> Vec<Arc<Port>> {
        lock(&self.ports).clone()
    }

    /// Passes a node's frame on.
    async fn forward(&self, from: &Arc<Port>, frame: Vec<u8>) {
        match course(&frame) {
            None => {}
            Some(Course::Router) => from.to_router(&frame).await,
            Some(Course::Station(mac)) => self.to_station(mac, frame),
            Some(Course::All) => {
                from.to_router(&frame).await;
                for port in self.ports().iter().filter(|port| !Arc::ptr_eq(port, from)) {
                    port.send(&port.to_node, frame.clone());
                }
                self.to_station(OBSERVER.0, frame);
            }
        }
    }

    fn to_station(&self, mac: Mac, frame: Vec<u8>) {
        if mac == OBSERVER.0 {
            // One that does not keep up, or is not there, hears the next.
            let _ = self.to_observer.try_send(frame);
        } else if let Some(port) = self.port(|port| port.station.mac == mac) {
            port.send(&port.to_node, frame);
        }
    }

    /// Sends a frame of the observer.
    pub(super) fn to_node(port: &Port, frame: Vec<u8>) {
        port.send(&port.to_node, frame);
    }
}

impl Port {
    /// Puts a frame on the link.
    fn send(&self, direction: &Direction, frame: Vec<u8>) {
        // One that finds the queue full is lost, and takes no time of the wire.
        let Ok(place) = direction.on_its_way.try_reserve() else { return };
        // In this order: one that is sent while the link becomes another counts as sent before.
        let at = Instant::now();
        let link = *lock(&self.link);
        if let Some(arrives) = lock(&direction.wire).arrives(&link, frame.len(), at) {
            place.send(Sent { at, arrives, frame });
        }
    }

    async fn to_router(&self, frame: &[u8]) {
        let _ = self.router.send(frame).await;
    }
}

impl Direction {
    fn new() -> (Self, Arriving) {
        let (on_its_way, frames) = mpsc::channel(QUEUE);
        let (changed, receiver) = watch::channel((Instant::now(), false));
        (Self { wire: Mutex::default(), on_its_way, changed }, Arriving { frames, changed: receiver })
    }
}

/// Hears frames until the socket's other end is gone.
async fn frames(socket: &UnixDatagram, heard: impl Fn(Vec<u8>)) {
    let mut buffer = vec![0; FRAME];
    while let Ok(length) = socket.recv(&mut buffer).await {
        heard(buffer[..length].to_vec());
    }
}

fn pair() -> io::Result<(UnixDatagram, OwnedFd)> {
    let (ours, theirs) = StdUnixDatagram::pair()?;
    ours.set_nonblocking(true)?;
    Ok((UnixDatagram::from_std(ours)?, theirs.into()))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A node as QEMU would be one.
    struct Node {
        nic: UnixDatagram,
        router: UnixDatagram,
        mac: Mac,
    }

    impl Node {
        fn new(lan: &mut Lan, number: u8) -> Self {
            let mac = [0x52, 0x54, 0, 0xd1, number, 1];
            let station = Station { name: format!("n{number}"), mac, address: Ipv4Addr::new(10, 0, 2, 10 + number) };
            let Socket { nic, router } = lan.attach(station).expect("attached");
            let socket = |fd: OwnedFd| {
                let socket = StdUnixDatagram::from(fd);
                socket.set_nonblocking(true).expect("set");
                UnixDatagram::from_std(socket).expect("a socket")
            };
            Self { nic: socket(nic), router: socket(router), mac }
        }

        async fn says(&self, to: Mac, text: &[u8]) {
            self.nic.send(&[to.as_slice(), &self.mac, &[0x88, 0xb5], text].concat()).await.expect("sent");
        }
    }

    async fn heard(socket: &UnixDatagram) -> Option<Vec<u8>> {
        let mut buffer = [0; 2000];
        let heard = tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await.ok()?;
        Some(buffer[14..heard.expect("received")].to_vec())
    }

    const ROUTER: Mac = [0x52, 0x55, 10, 0, 2, 2];

    #[tokio::test]
    async fn frames_reach_whom_they_are_for_and_nobody_else() {
        let mut lan = Lan::new();
        let (one, two, three) = (Node::new(&mut lan, 1), Node::new(&mut lan, 2), Node::new(&mut lan, 3));
        one.says(two.mac, b"to two").await;
        assert_eq!(heard(&two.nic).await.as_deref(), Some(b"to two".as_slice()));
        one.says(ROUTER, b"to the router").await;
        assert_eq!(heard(&one.router).await.as_deref(), Some(b"to the router".as_slice()));
        one.says([0xff; 6], b"to all").await;
        for socket in [&one.router, &two.nic, &three.nic] {
            assert_eq!(heard(socket).await.as_deref(), Some(b"to all".as_slice()));
        }
        for socket in [&one.nic, &two.router, &three.router, &two.nic, &three.nic] {
            assert_eq!(heard(socket).await, None);
        }
        // A router is its node's alone.
        two.router
            .send(&[one.mac.as_slice(), &ROUTER, &[0x88, 0xb5], b"from the router"].concat())
            .await
            .expect("sent");
        assert_eq!(heard(&two.nic).await.as_deref(), Some(b"from the router".as_slice()));
        assert_eq!(heard(&one.nic).await, None);
    }

    #[tokio::test]
    async fn a_cut_node_is_alone_until_it_is_cut_no_more() {
        let mut lan = Lan::new();
        let (one, two) = (Node::new(&mut lan, 1), Node::new(&mut lan, 2));
        assert!(lan.set_link("n1", Link { cut: true, ..Link::default() }));
        assert!(!lan.set_link("n9", Link::default()));
        one.says(two.mac, b"lost").await;
        two.says(one.mac, b"lost").await;
        one.says(ROUTER, b"lost").await;
        for socket in [&one.nic, &two.nic, &one.router] {
            assert_eq!(heard(socket).await, None);
        }
        lan.set_link("n1", Link::default());
        one.says(two.mac, b"there").await;
        assert_eq!(heard(&two.nic).await.as_deref(), Some(b"there".as_slice()));
    }

    #[tokio::test]
    async fn a_slow_link_delays_both_ways() {
        let mut lan = Lan::new();
        let (one, two) = (Node::new(&mut lan, 1), Node::new(&mut lan, 2));
        let delay = Duration::from_millis(100);
        lan.set_link("n1", Link { delay, ..Link::default() });
        for (from, to) in [(&one, &two), (&two, &one)] {
            let began = Instant::now();
            from.says(to.mac, b"slow").await;
            assert!(heard(&to.nic).await.is_some());
            assert!(began.elapsed() >= delay);
        }
    }

    #[tokio::test]
    async fn what_is_on_its_way_when_a_link_is_slow_no_more_holds_nothing_up() {
        let mut lan = Lan::new();
        let (one, two) = (Node::new(&mut lan, 1), Node::new(&mut lan, 2));
        lan.set_link("n1", Link { delay: Duration::from_secs(3600), ..Link::default() });
        one.says(two.mac, b"slow").await;
        assert_eq!(heard(&two.nic).await, None);
        lan.set_link("n1", Link::default());
        one.says(two.mac, b"fast").await;
        for text in [b"slow", b"fast"] {
            assert_eq!(heard(&two.nic).await.as_deref(), Some(text.as_slice()));
        }
        // What is on its way when the link is cut is lost, and a backlog of the old link is none of the new one.
        lan.set_link("n1", Link { bytes_per_second: Some(1), ..Link::default() });
        one.says(two.mac, b"lost").await;
        assert_eq!(heard(&two.nic).await, None);
        lan.set_link("n1", Link { cut: true, ..Link::default() });
        assert_eq!(heard(&two.nic).await, None);
        lan.set_link("n1", Link { bytes_per_second: Some(1000), ..Link::default() });
        one.says(two.mac, b"anew").await;
        assert_eq!(heard(&two.nic).await.as_deref(), Some(b"anew".as_slice()));
    }
}
