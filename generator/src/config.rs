//! The parameters of a Day-1 MachineConfig.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Visitor};

use crate::Error;
use crate::names::{
    AbsolutePath, Digest, ImageRepository, KernelRelease, MachineConfigName, ModuleName, PoolName, Tag,
};

/// Everything that a Day-1 MachineConfig is made from, checked.
///
/// Read from YAML it has these keys; the first four are required, the others show their defaults:
///
/// ```yaml
/// machine_config_name: 99-worker-day1-nic
/// machine_config_pool_ref: worker
/// kernel_module_image: quay.io/vendor/driver     # without tag and digest
/// kernel_module_name: day1_nic
/// in_tree_modules_to_remove: [day1_nic]          # in this order; [] removes nothing
/// firmware_files_path: /opt/firmware             # inside the image; default: no firmware
/// pull_secret_path: /var/lib/kubelet/config.json
/// reboot_limit: 3
/// load_timeout: 90                               # whole seconds
/// pull_timeout: 600                              # whole seconds
/// tags: {}                                       # kernel release: tag, instead of the default tag
/// digests: {}                                    # kernel release: sha256:…
/// ```
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Parameters")]
pub struct Day1Config {
    pub(crate) parameters: Parameters,
    pub(crate) in_tree_modules_to_remove: Vec<ModuleName>,
}

/// The parameters as written, each checked by itself.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parameters {
    pub(crate) machine_config_name: MachineConfigName,
    pub(crate) machine_config_pool_ref: PoolName,
    pub(crate) kernel_module_image: ImageRepository,
    pub(crate) kernel_module_name: ModuleName,
    pub(crate) in_tree_modules_to_remove: Option<Vec<ModuleName>>,
    pub(crate) firmware_files_path: Option<AbsolutePath>,
    #[serde(default = "default_pull_secret_path")]
    pub(crate) pull_secret_path: AbsolutePath,
    #[serde(default)]
    pub(crate) reboot_limit: RebootLimit,
    #[serde(default)]
    pub(crate) load_timeout: LoadTimeout,
    #[serde(default)]
    pub(crate) pull_timeout: PullTimeout,
    #[serde(default)]
    pub(crate) tags: BTreeMap<KernelRelease, Tag>,
    #[serde(default)]
    pub(crate) digests: BTreeMap<KernelRelease, Digest>,
}

fn default_pull_secret_path() -> AbsolutePath {
    "/var/lib/kubelet/config.json".parse().expect("a constant absolute path")
}

/// A whole number in a range, with its default.
macro_rules! bounded_number {
    ($type:ident, $what:literal, $min:literal ..= $max:literal, default $default:literal) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $type(pub(crate) u64);

        // Not `try_from = "u64"`: an error from within the visitor carries the line and column of the value.
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Number;
                impl Visitor<'_> for Number {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str(concat!("a whole number: ", $what))
                    }
                    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<$type, E> {
                        number.try_into().map_err(E::custom)
                    }
                }
                deserializer.deserialize_u64(Number)
            }
        }

        impl Default for $type {
            fn default() -> Self {
                Self($default)
            }
        }

        impl TryFrom<u64> for $type {
            type Error = Error;
            fn try_from(value: u64) -> Result<Self, Error> {
                if ($min..=$max).contains(&value) {
                    Ok(Self(value))
                } else {
                    Err(Error::OutOfRange { what: $what, value, min: $min, max: $max })
                }
            }
        }
    };
}

bounded_number!(RebootLimit, "reboot_limit", 1..=20, default 3);
bounded_number!(LoadTimeout, "load_timeout (seconds)", 10..=600, default 90);
bounded_number!(PullTimeout, "pull_timeout (seconds)", 10..=7200, default 600);

impl TryFrom<Parameters> for Day1Config {
    type Error = Error;

    fn try_from(parameters: Parameters) -> Result<Self, Error> {
        if let Some(kernel) = parameters.tags.keys().find(|kernel| parameters.digests.contains_key(*kernel)) {
            return Err(Error::TagAndDigest { kernel: kernel.to_string() });
        }
        let in_tree_modules_to_remove =
            parameters.in_tree_modules_to_remove.clone().unwrap_or_else(|| vec![parameters.kernel_module_name.clone()]);
        for (index, module) in in_tree_modules_to_remove.iter().enumerate() {
            let module = module.sysfs_name();
            if in_tree_modules_to_remove[..index].iter().any(|earlier| earlier.sysfs_name() == module) {
                return Err(Error::DuplicateModule { module });
            }
        }
        Ok(Self { parameters, in_tree_modules_to_remove })
    }
}

impl Day1Config {
    /// Begins with the four parameters that have no default. Nothing is checked before [`Builder::build`].
    pub fn builder(
        machine_config_name: impl Into<String>,
        machine_config_pool_ref: impl Into<String>,
        kernel_module_image: impl Into<String>,
        kernel_module_name: impl Into<String>,
    ) -> Builder {
        Builder {
            machine_config_name: machine_config_name.into(),
            machine_config_pool_ref: machine_config_pool_ref.into(),
            kernel_module_image: kernel_module_image.into(),
            kernel_module_name: kernel_module_name.into(),
            ..Builder::default()
        }
    }

    /// The MachineConfig's name.
    pub fn machine_config_name(&self) -> &MachineConfigName {
        &self.parameters.machine_config_name
    }

    /// The pool whose nodes get it.
    pub fn machine_config_pool_ref(&self) -> &PoolName {
        &self.parameters.machine_config_pool_ref
    }

    /// The driver image's repository.
    pub fn kernel_module_image(&self) -> &ImageRepository {
        &self.parameters.kernel_module_image
    }

    /// The out-of-tree module.
    pub fn kernel_module_name(&self) -> &ModuleName {
        &self.parameters.kernel_module_name
    }

    /// The in-tree modules that make way for it, in the order of their removal.
    pub fn in_tree_modules_to_remove(&self) -> &[ModuleName] {
        &self.in_tree_modules_to_remove
    }

    /// Where the image holds firmware, if it does.
    pub fn firmware_files_path(&self) -> Option<&AbsolutePath> {
        self.parameters.firmware_files_path.as_ref()
    }

    /// Where the node has its pull secret, if it has one.
    pub fn pull_secret_path(&self) -> &AbsolutePath {
        &self.parameters.pull_secret_path
    }

    /// How many reboots in a row are made without the module getting loaded.
    pub fn reboot_limit(&self) -> u64 {
        self.parameters.reboot_limit.0
    }

    /// How long the load may hold up the boot, without the time to put everything back.
    pub fn load_timeout(&self) -> Duration {
        Duration::from_secs(self.parameters.load_timeout.0)
    }

    /// How long all attempts of one boot to pull the image may take.
    pub fn pull_timeout(&self) -> Duration {
        Duration::from_secs(self.parameters.pull_timeout.0)
    }

    /// What follows the repository in the image's reference on a node with this kernel: `:tag` or `@sha256:…`.
    fn image_version(&self, kernel_release: &str) -> String {
        let Ok(kernel) = kernel_release.parse::<KernelRelease>() else {
            return format!(":{}", Tag::for_kernel(kernel_release));
        };
        match (self.parameters.digests.get(&kernel), self.parameters.tags.get(&kernel)) {
            (Some(digest), _) => format!("@{digest}"),
            (None, Some(tag)) => format!(":{tag}"),
            (None, None) => format!(":{}", Tag::for_kernel(kernel_release)),
        }
    }

    /// The image that a node with this kernel (as `uname -r` prints it) pulls.
    pub fn image_reference(&self, kernel_release: &str) -> String {
        format!("{}{}", self.parameters.kernel_module_image, self.image_version(kernel_release))
    }

    /// The kernels with a chosen tag or digest, and the `:tag` or `@sha256:…` of each.
    pub(crate) fn image_pins(&self) -> BTreeMap<&KernelRelease, String> {
        let kernels = self.parameters.tags.keys().chain(self.parameters.digests.keys());
        kernels.map(|kernel| (kernel, self.image_version(kernel.as_str()))).collect()
    }
}

/// Collects parameters for a [`Day1Config`]; what is not set keeps its default.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    machine_config_name: String,
    machine_config_pool_ref: String,
    kernel_module_image: String,
    kernel_module_name: String,
    in_tree_modules_to_remove: Option<Vec<String>>,
    firmware_files_path: Option<String>,
    pull_secret_path: Option<String>,
    reboot_limit: Option<u64>,
    load_timeout: Option<Duration>,
    pull_timeout: Option<Duration>,
    tags: BTreeMap<String, String>,
    digests: BTreeMap<String, String>,
}

impl Builder {
    /// The in-tree modules to remove, in this order. An empty list removes nothing; the default is the module's
    /// own name.
    pub fn in_tree_modules_to_remove<S: Into<String>>(mut self, modules: impl IntoIterator<Item = S>) -> Self {
        self.in_tree_modules_to_remove = Some(modules.into_iter().map(Into::into).collect());
        self
    }

    /// The absolute path of the firmware inside the image.
    pub fn firmware_files_path(mut self, path: impl Into<String>) -> Self {
        self.firmware_files_path = Some(path.into());
        self
    }

    /// The absolute path of the pull secret on the node; default `/var/lib/kubelet/config.json`.
    pub fn pull_secret_path(mut self, path: impl Into<String>) -> Self {
        self.pull_secret_path = Some(path.into());
        self
    }

    /// At most this many reboots in a row, 1 to 20; default 3.
    pub fn reboot_limit(mut self, limit: u64) -> Self {
        self.reboot_limit = Some(limit);
        self
    }

    /// How long the load may hold up the boot, 10 s to 10 min, rounded up to whole seconds; default 90 s.
    pub fn load_timeout(mut self, timeout: Duration) -> Self {
        self.load_timeout = Some(timeout);
        self
    }

    /// How long the pull may take with all its attempts, 10 s to 2 h, rounded up to whole seconds; default 10 min.
    pub fn pull_timeout(mut self, timeout: Duration) -> Self {
        self.pull_timeout = Some(timeout);
        self
    }

    /// Another tag than the default one for the nodes with this kernel release.
    pub fn tag(mut self, kernel_release: impl Into<String>, tag: impl Into<String>) -> Self {
        self.tags.insert(kernel_release.into(), tag.into());
        self
    }

    /// Pins the image of the nodes with this kernel release to a digest, `sha256:…`.
    pub fn digest(mut self, kernel_release: impl Into<String>, digest: impl Into<String>) -> Self {
        self.digests.insert(kernel_release.into(), digest.into());
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// The first parameter that is wrong, and what would be right.
    pub fn build(self) -> Result<Day1Config, Error> {
        Parameters {
            machine_config_name: self.machine_config_name.try_into()?,
            machine_config_pool_ref: self.machine_config_pool_ref.try_into()?,
            kernel_module_image: self.kernel_module_image.try_into()?,
            kernel_module_name: self.kernel_module_name.try_into()?,
            in_tree_modules_to_remove: self
                .in_tree_modules_to_remove
                .map(|modules| modules.into_iter().map(TryInto::try_into).collect::<Result<_, _>>())
                .transpose()?,
            firmware_files_path: self.firmware_files_path.map(TryInto::try_into).transpose()?,
            pull_secret_path: self
                .pull_secret_path
                .map_or_else(|| Ok(default_pull_secret_path()), TryInto::try_into)?,
            reboot_limit: self.reboot_limit.map_or_else(|| Ok(RebootLimit::default()), TryInto::try_into)?,
            load_timeout: self.load_timeout.map_or_else(|| Ok(LoadTimeout::default()), |t| seconds(t).try_into())?,
            pull_timeout: self.pull_timeout.map_or_else(|| Ok(PullTimeout::default()), |t| seconds(t).try_into())?,
            tags: checked_map(self.tags)?,
            digests: checked_map(self.digests)?,
        }
        .try_into()
    }
}

fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn checked_map<V: TryFrom<String, Error = Error>>(
    map: BTreeMap<String, String>,
) -> Result<BTreeMap<KernelRelease, V>, Error> {
    map.into_iter().map(|(kernel, value)| Ok((kernel.try_into()?, value.try_into()?))).collect()
}
