//! What a node reaches over its network: registry and gateway, config server; and how it gets there.
//!
//! The guest sees two fixed addresses, so that rendered configs keep their bytes. Behind each stands an
//! abstract unix socket with a random name: no port can be taken, and nothing is left when the process dies.
//! QEMU starts `day1 connect NAME` for each connection (see [`socket::connect_stdio`]), with
//! `-netdev user,restrict=on,guestfwd=tcp:10.0.2.100:443-cmd:day1 connect NAME`.
//!
//! ```text
//! guest ─ 10.0.2.100:443 ──── gateway (TLS, auth, record) ── registry (plain HTTP on loopback)
//!       ├ 10.0.2.101:22623 ── config server (TLS)
//!       └ 10.0.2.103:6443 ─── control plane of a pool (HTTP)
//! ```

pub mod certs;
pub mod config_server;
pub mod faults;
pub mod gateway;
pub mod node_api;
pub mod proxy;
pub mod push;
mod recorded;
pub mod registry;
mod registry_path;
mod server;
pub mod socket;

pub use server::Availability;

#[cfg(test)]
mod tests;

/// The gateway's address as the guest sees it; also the registry's name in mirror entries and pull secrets.
pub const GATEWAY_ADDRESS: &str = "10.0.2.100";
/// The gateway's name, for nodes that know it by one; nothing in the guest resolves it.
pub const GATEWAY_NAME: &str = "registry.day1.test";
/// The gateway's port as the guest sees it.
pub const GATEWAY_PORT: u16 = 443;
/// The control plane's address as the guests of a pool see it.
pub const API_ADDRESS: &str = "10.0.2.103";
/// The control plane's port as they see it: the Kubernetes API's own.
pub const API_PORT: u16 = 6443;
/// The proxy's address as the guest sees it.
pub const PROXY_ADDRESS: &str = "10.0.2.102";
/// The proxy's port as the guest sees it.
pub const PROXY_PORT: u16 = 3128;
/// The config server's address as the guest sees it.
pub const CONFIG_SERVER_ADDRESS: &str = "10.0.2.101";
/// The config server's port as the guest sees it: the Machine Config Server's own.
pub const CONFIG_SERVER_PORT: u16 = 22623;
