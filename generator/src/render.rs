//! The MachineConfig as YAML.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ignition_config::v3_2;
use serde_json::Value;

use crate::units::NodeFile;
use crate::{Day1Config, Error};

/// The label by which a pool selects its MachineConfigs.
const ROLE_LABEL: &str = "machineconfiguration.openshift.io/role";

impl Day1Config {
    /// The Ignition configuration (3.2.0) inside the MachineConfig.
    pub fn ignition(&self) -> v3_2::Config {
        let mut config = v3_2::Config::default();
        let files = self.files().into_iter().map(ignition_file).collect();
        config.storage = Some(v3_2::Storage { files: Some(files), ..Default::default() });
        let units = self.units().into_iter().map(|(name, contents)| {
            let mut unit = v3_2::Unit::new(name);
            unit.contents = Some(contents);
            unit.enabled = Some(true);
            unit
        });
        config.systemd = Some(v3_2::Systemd { units: Some(units.collect()) });
        config
    }

    /// The MachineConfig as YAML, the same bytes for the same parameters.
    ///
    /// # Errors
    /// Only if it cannot be serialised, which is a fault of this crate.
    pub fn to_machine_config(&self) -> Result<String, Error> {
        let fault = |message: String| Error::Render { name: self.machine_config_name().to_string(), message };
        let ignition = serde_json::to_value(self.ignition()).map_err(|error| fault(error.to_string()))?;
        let machine_config = serde_json::json!({
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": {
                "labels": { ROLE_LABEL: self.machine_config_pool_ref().as_str() },
                "name": self.machine_config_name().as_str(),
            },
            "spec": { "config": ignition },
        });
        serde_yaml::to_string(&sorted(machine_config)).map_err(|error| fault(error.to_string()))
    }
}

impl Day1Config {
    /// The cluster's MachineConfiguration with the policy by which a change of the image needs no reboot: the pull unit
    /// is restarted, which pulls the new image, and the next boot loads it. For OpenShift 4.17 and later. What else the
    /// cluster's `nodeDisruptionPolicy` has must be kept beside it.
    ///
    /// Scripts and units have no policy: another version of this generator, a parameter that a unit has in its text,
    /// and the removal reboot the nodes.
    ///
    /// # Errors
    /// Only if it cannot be serialised, which is a fault of this crate.
    pub fn to_machine_configuration(&self) -> Result<String, Error> {
        let restart = serde_json::json!({ "type": "Restart", "restart": { "serviceName": self.pull_unit() } });
        let configuration = serde_json::json!({
            "apiVersion": "operator.openshift.io/v1",
            "kind": "MachineConfiguration",
            "metadata": { "name": "cluster" },
            "spec": { "nodeDisruptionPolicy": { "files": [{ "path": self.config_path(), "actions": [restart] }] } },
        });
        serde_yaml::to_string(&sorted(configuration))
            .map_err(|error| Error::Render { name: self.machine_config_name().to_string(), message: error.to_string() })
    }
}

fn ignition_file(file: NodeFile) -> v3_2::File {
    let source = format!("data:text/plain;charset=utf-8;base64,{}", STANDARD.encode(file.contents));
    v3_2::File {
        mode: Some(file.mode),
        overwrite: Some(true),
        contents: Some(v3_2::Resource { source: Some(source), ..Default::default() }),
        ..v3_2::File::new(file.path)
    }
}

/// Sorts keys, whatever order serde_json's maps have in this build, and leaves out what is not set.
fn sorted(value: Value) -> serde_yaml::Value {
    match value {
        Value::Null => serde_yaml::Value::Null,
        Value::Bool(value) => value.into(),
        Value::Number(value) => serde_yaml::to_value(value).unwrap_or_default(),
        Value::String(value) => value.into(),
        Value::Array(values) => serde_yaml::Value::Sequence(values.into_iter().map(sorted).collect()),
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().filter(|(_, value)| !value.is_null()).collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            serde_yaml::Value::Mapping(entries.into_iter().map(|(key, value)| (key.into(), sorted(value))).collect())
        }
    }
}
