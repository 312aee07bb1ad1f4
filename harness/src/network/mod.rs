//! A layer-2 network of a trial's own: its nodes, each with a router of its own behind it, and a host that asks them
//! whether they are there. It exists in this process only, and needs no right on the host.
//!
//! ```text
//! node ── link ── switch ── link ── node
//!   └ its router (QEMU's own): DHCP, and the way to the harness's servers
//! ```
//!
//! A frame of a node goes to its own router, to another node, or to both, by its destination; a router's goes to its
//! node alone. So each node has the same router's address, the harness knows which node it speaks to, and DHCP gives
//! each its fixed address.

mod frame;
mod lan;
mod link;
mod probe;

pub use lan::{Lan, Socket, Station};
pub use link::Link;
pub use probe::{PROBE_INTERVAL, SERVICE_PORT};

use std::net::Ipv4Addr;

/// A station's address on the layer below.
pub type Mac = [u8; 6];

/// The host that asks; its address is no node's and no server's.
const OBSERVER: (Mac, Ipv4Addr) = ([0x52, 0x54, 0x00, 0xd1, 0xff, 0x01], Ipv4Addr::new(10, 0, 2, 200));

/// How QEMU's router begins its addresses: the rest is the address it answers for, such as its own, 10.0.2.2.
const ROUTER_PREFIX: [u8; 2] = [0x52, 0x55];

/// Reads `52:54:00:d1:00:01`.
pub fn parse_mac(text: &str) -> Option<Mac> {
    let mut parts = text.split(':').map(|part| u8::from_str_radix(part, 16).ok());
    let mut mac = Mac::default();
    for byte in &mut mac {
        *byte = parts.next()??;
    }
    parts.next().is_none().then_some(mac)
}
