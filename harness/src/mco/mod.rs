//! What the Machine Config Operator (MCO) makes of a pool's MachineConfigs: the rendered config.
//!
//! The rules are those of the MCO's controller (`pkg/controller/common/helpers.go`) and of Ignition's own
//! merge (`config/merge/merge.go`), version by version: see the functions.

mod disruption;
mod error;
mod ignition;
mod machine_config;
mod merge;
mod node_change;
mod node_config;
mod patch;
mod prerequisites;
mod readable;
mod render;
mod rollout;
pub(crate) mod yaml;

pub use disruption::{After, Differences, Disruption};
pub use error::Error;
pub use ignition::SpecVersion;
pub(crate) use ignition::{Typed, WithTyped, is_unit_name, problem_of_path};
pub use machine_config::MachineConfig;
pub(crate) use machine_config::{EXTENSIONS, KERNEL_TYPES};
pub use node_change::{ChangeError, NodeChange};
pub use node_config::{NodeConfig, NodeFile, NodeUnit, UNIT_MODE, UNITS};
pub use patch::{Change, Patch, PatchError, Place, patch};
pub use prerequisites::{File, PREREQUISITES_NAME, Prerequisites, ProxyEnv, PullSecret, Unit};
pub use render::{Pool, Rendered, SIZE_LIMIT, render};
pub use rollout::{NodeStatus, PoolStatus, next_nodes};

#[cfg(test)]
mod tests;

/// The label that says which pool a MachineConfig is for.
pub const ROLE_LABEL: &str = "machineconfiguration.openshift.io/role";

/// Has Ignition's own validator accept a config, where it is installed.
#[cfg(test)]
pub(crate) fn ignition_validate(config: &[u8]) {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    std::fs::write(file.path(), config).expect("written");
    match std::process::Command::new("ignition-validate").arg(file.path()).output() {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "ignition-validate: {said}\n{}", String::from_utf8_lossy(config));
        }
        Err(error) => eprintln!("not validated: ignition-validate (Debian: package ignition) can't be run: {error}"),
    }
}
