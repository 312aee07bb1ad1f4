//! Day-1 parameters in, MachineConfig out.
//!
//! The MachineConfig brings two units to a node. The *pull* unit fetches the driver image for the running kernel
//! into an image store of its own, verifies it and reboots. At the next boot the *load* unit replaces the in-tree
//! driver by the image's module before the network is configured. Nothing from the image is executed: it is
//! mounted, and the node's own `modprobe` loads the module from it.
//!
//! What a node keeps when the MachineConfig is removed: `/var/lib/day1/<name>` (images and their records) and
//! `/etc/day1/<name>` (the count of reboots), and the firmware that was copied to `/var/lib/firmware`, or to where the
//! kernel's `firmware_class.path` points. All can be deleted. The module itself stays loaded until the reboot
//! that the Machine Config Operator makes for the removal.
//!
//! This crate does no I/O and knows nothing of virtual machines.

mod boot_module_config;
mod config;
mod error;
mod names;
mod render;
mod units;

pub use boot_module_config::BootModuleConfig;
pub use config::{Builder, Day1Config};
pub use error::Error;
pub use names::{AbsolutePath, Digest, ImageRepository, KernelRelease, MachineConfigName, ModuleName, PoolName, Tag};

/// The MachineConfig that loads `kernel_module_name` from `kernel_module_image` on the nodes of a pool, in place of
/// an in-tree module of the same name.
///
/// For everything else there is [`Day1Config::builder`].
///
/// # Errors
/// A parameter that is wrong, and what would be right.
pub fn produce_machine_config(
    machine_config_name: &str,
    machine_config_pool_ref: &str,
    kernel_module_image: &str,
    kernel_module_name: &str,
) -> Result<String, Error> {
    Day1Config::builder(machine_config_name, machine_config_pool_ref, kernel_module_image, kernel_module_name)
        .build()?
        .to_machine_config()
}
