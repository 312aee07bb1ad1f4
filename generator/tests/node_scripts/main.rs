//! The scripts of a generated MachineConfig, run against stubs of podman, modprobe and the rest.

mod load;
mod pull;
mod stub_node;
