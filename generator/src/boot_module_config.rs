//! Day-1 parameters from a `BootModuleConfig`, the custom resource of the Kernel Module Management operator.

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::{Day1Config, Error};

/// A `BootModuleConfig` as Day-1 parameters, with what of it has no effect here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootModuleConfig {
    /// The parameters.
    pub config: Day1Config,
    /// One sentence for each field that was accepted and means nothing to this generator.
    pub warnings: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    api_version: ApiVersion,
    kind: Kind,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    spec: Spec,
    #[serde(default, rename = "status")]
    _status: serde::de::IgnoredAny,
}

#[derive(Deserialize)]
enum ApiVersion {
    #[serde(rename = "kmm.sigs.x-k8s.io/v1beta1")]
    V1beta1,
}

#[derive(Deserialize)]
enum Kind {
    BootModuleConfig,
}

/// `BootModuleConfigSpec` of kmm.sigs.x-k8s.io/v1beta1.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    machine_config_name: crate::MachineConfigName,
    machine_config_pool_name: crate::PoolName,
    kernel_module_image: crate::ImageRepository,
    kernel_module_name: crate::ModuleName,
    in_tree_modules_to_remove: Option<Vec<crate::ModuleName>>,
    #[serde(default, deserialize_with = "path_or_nothing")]
    firmware_files_path: Option<crate::AbsolutePath>,
    worker_image: Option<String>,
}

/// As in Go, where the resource is defined, an empty path is none, and so is null.
fn path_or_nothing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<crate::AbsolutePath>, D::Error> {
    struct Path;
    impl Visitor<'_> for Path {
        type Value = Option<crate::AbsolutePath>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an absolute path")
        }
        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
            if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(E::custom) }
        }
        fn visit_unit<E: serde::de::Error>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(Path)
}

impl BootModuleConfig {
    /// Reads one resource.
    ///
    /// As in Kubernetes, an empty list of in-tree modules cannot be told from a missing one: both give the
    /// default, the module's own name.
    ///
    /// # Errors
    /// With line and column, if the text is no BootModuleConfig or a parameter is wrong.
    pub fn from_yaml(text: &str) -> Result<Self, Error> {
        let unreadable = |error: serde_yaml::Error| Error::BootModuleConfig { message: error.to_string() };
        let Resource { api_version: ApiVersion::V1beta1, kind: Kind::BootModuleConfig, spec, .. } =
            serde_yaml::from_str(text.trim_start_matches('\u{feff}')).map_err(unreadable)?;
        let mut builder = Day1Config::builder(
            spec.machine_config_name.as_str(),
            spec.machine_config_pool_name.as_str(),
            spec.kernel_module_image.as_str(),
            spec.kernel_module_name.as_str(),
        );
        if let Some(modules) = spec.in_tree_modules_to_remove.filter(|modules| !modules.is_empty()) {
            builder = builder.in_tree_modules_to_remove(modules.iter().map(|module| module.as_str()));
        }
        if let Some(path) = spec.firmware_files_path {
            builder = builder.firmware_files_path(path.as_str());
        }
        let mut warnings = Vec::new();
        if let Some(image) = spec.worker_image.filter(|image| !image.is_empty()) {
            warnings.push(format!(
                "workerImage {image:?} has no effect: nothing is run from an image, so no worker is needed"
            ));
        }
        Ok(Self { config: builder.build()?, warnings })
    }
}
