//! Boots real virtual machines to prove that an out-of-tree kernel module reaches a CoreOS node the
//! Day-1 way, and says with evidence where it falls short.
//!
//! An arrow goes down only: `bin → {bench, verify} → runner → lab → {door, scenario, layering, node, kmod, mco, services,
//! machine, inspect, toolkit, timeline}`; `door` sees `machine`; `recording`, for what was recorded of a trial, sees `lab`
//! and `report`; `report` and `checks` see `timeline` and `scenario` only, and `report` how `mco` reads a config; `mco` sees
//! how `scenario` reads documents and what it says of node disruption, `lint` sees both, `inspect` and `layering` see `kmod` and `node`, `toolkit` sees
//! `inspect` and `kmod`, `explain` sees `checks`, `inspect` and `lint`; `machine` sees `network`, which tells `timeline`; `timeline` imports nothing of ours. `architecture`,
//! `cache`, `containers`, `input`, `process`, `sarif`, `text` and `within` are the floor under all of it.

pub mod architecture;
pub mod bench;
pub mod cache;
pub mod checks;
pub mod containers;
pub mod door;
pub mod explain;
mod input;
pub mod inspect;
pub mod kmod;
pub mod lab;
pub mod layering;
pub mod lint;
pub mod machine;
pub mod mco;
pub mod network;
pub mod node;
pub mod process;
pub mod recording;
pub mod report;
pub mod runner;
mod sarif;
pub mod scenario;
pub mod services;
pub mod text;
pub mod timeline;
pub mod toolkit;
pub mod verify;
mod within;
