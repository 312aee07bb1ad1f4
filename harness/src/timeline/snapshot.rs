//! The guest's modules, links, devices and units at one moment.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What the agent read in the guest at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Why it was taken: `ready` after the boot settled, or a step's name.
    pub label: String,
    /// Guest's CLOCK_MONOTONIC in microseconds.
    pub mono_us: u64,
    /// 32 hex digits.
    pub boot_id: String,
    /// `uname -r`.
    pub kernel_release: String,
    /// `/proc/sys/kernel/tainted`.
    pub tainted: u64,
    /// Loaded and built-in modules that have a directory in `/sys/module`, by name.
    pub modules: BTreeMap<String, Module>,
    /// Network interfaces, by name.
    pub links: BTreeMap<String, Link>,
    /// PCI devices, by address (`0000:00:03.0`).
    pub pci: BTreeMap<String, PciDevice>,
    /// Units by name: those that ran or were spoken of, and all targets, mounts and sockets that systemd has loaded; of a
    /// unit that only waits for its turn, such as a device, no more than its job.
    pub units: BTreeMap<String, Unit>,
    /// Mount points.
    #[serde(default)]
    pub mounts: Vec<String>,
    /// Containers in the node's own store (`/var/lib/containers/storage`), running or not, by name.
    #[serde(default)]
    pub containers: Vec<String>,
    /// Volumes in the node's own store.
    #[serde(default)]
    pub volumes: Vec<String>,
}

/// A directory of `/sys/module`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Module {
    /// `live`, `coming`, `going`; empty for a built-in one.
    pub state: String,
    /// `srcversion`; empty if it has none.
    pub srcversion: String,
    /// `version`; empty if it has none.
    pub version: String,
    /// Taint letters, such as `OE`.
    pub taint: String,
    /// Users; absent for a built-in one.
    pub refcnt: Option<i64>,
    /// Modules that use it.
    pub holders: Vec<String>,
}

/// A network interface.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// MAC address, lower case with colons.
    pub mac: String,
    /// `up`, `down`, `unknown`, …
    pub operstate: String,
    /// Driver of the device below it; empty for a virtual one.
    pub driver: String,
    /// Address of the PCI device below it (of the function, not of a virtio child); empty for a virtual one.
    pub pci: String,
    /// Addresses with prefix length.
    pub addresses: Vec<String>,
}

/// A PCI device.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PciDevice {
    /// `8086:100e`.
    pub id: String,
    /// Driver bound to it; empty for none.
    pub driver: String,
}

/// A unit, from `systemctl show`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Unit {
    /// `loaded`, `not-found`, `masked`, …
    pub load_state: String,
    /// `active`, `inactive`, `failed`, `activating`, …
    pub active_state: String,
    /// `exited`, `running`, `dead`, …
    pub sub_state: String,
    /// `success`, `exit-code`, `timeout`, …; empty for units without.
    pub result: String,
    /// Exit status of the main process; absent for units without.
    pub exec_main_status: Option<i32>,
    /// Whether its conditions held when it was last started; absent if it never was.
    pub condition_result: Option<bool>,
    /// Last left the inactive state, guest's CLOCK_MONOTONIC in microseconds; 0 for never in this boot.
    pub inactive_exit_us: u64,
    /// Last became active; 0 for never in this boot.
    pub active_enter_us: u64,
    /// Last became inactive or failed; 0 for never in this boot.
    pub inactive_enter_us: u64,
    /// How long its start may take (`TimeoutStartSec=`), in microseconds; [`Unit::FOR_EVER`] for as long as it likes,
    /// absent where that was not recorded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_timeout_us: Option<u64>,
    /// Units that it starts after, as systemd computed them, implicit ones included.
    pub after: Vec<String>,
    /// Units that it wants or requires.
    pub wants: Vec<String>,
    /// A job that is queued for it: `start`, `stop`, …; empty for none.
    pub job: String,
}

impl Unit {
    /// A start without a timeout.
    pub const FOR_EVER: u64 = u64::MAX;
}
