//! The scenario file's shape.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{
    AbsolutePath, Expectations, FileMode, Id, ModuleName, Repository, Seconds, Size, TagTemplate, UnitName, UnitRef,
};

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spec {
    /// What it shows, in one line for a person.
    pub description: String,
    /// Words to choose scenarios by, such as `smoke`.
    #[serde(default)]
    pub labels: Vec<Id>,
    /// Where the node begins.
    #[serde(default)]
    pub start: Start,
    /// What the node starts from.
    #[serde(default)]
    pub node: NodeShape,
    /// What the registry holds.
    #[serde(default)]
    pub registry: Registry,
    /// The MachineConfigs under test.
    pub machine_configs: Vec<MachineConfig>,
    /// What must happen, boot by boot.
    pub boots: Vec<Boot>,
    /// What must be true of each boot.
    #[serde(default)]
    pub every_boot: Expectations,
    /// Base checks that this scenario does without, each with its reason.
    #[serde(default)]
    pub without: Vec<OptOut>,
}

/// Where the node begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// At power-on of the node image. For a scenario whose subject comes before the node asks for its config.
    Cold,
    /// In the initramfs of its first boot, forked from a machine that was paused when it asked for its config.
    #[default]
    Template,
    /// At power-on after its first boot, which pulled and asked for a reboot, from the disks that such a boot has
    /// left. What was seen of that boot is judged as well. For a scenario whose subject is the load.
    Pulled,
}

impl Start {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Template => "template",
            Self::Pulled => "pulled",
        }
    }
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Start {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Cold, Self::Template, Self::Pulled];
        let found = all.into_iter().find(|start| start.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no start; it is one of cold, template, pulled"))
    }
}

/// What the node starts from.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NodeShape {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Size,
    /// Network cards, in the order of their PCI slots. The first reaches the harness.
    pub nics: Vec<Nic>,
    /// Disks beside the one with the operating system.
    pub disks: Vec<Disk>,
    /// Files of the node's own base MachineConfig.
    pub files: Vec<NodeFile>,
    /// Units of the node's own base MachineConfig.
    pub units: Vec<NodeUnit>,
}

impl Default for NodeShape {
    fn default() -> Self {
        let nic = |id: &str, model| Id::try_from(id.to_owned()).map(|id| Nic { id, model });
        let nics = [nic("primary", NicModel::VirtioNet), nic("test", NicModel::E1000)];
        Self {
            cpus: 2,
            memory: Size::mib(2048),
            nics: nics.into_iter().flatten().collect(),
            disks: vec![],
            files: vec![],
            units: vec![],
        }
    }
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Nic {
    /// Its name in this scenario.
    pub id: Id,
    /// What QEMU shows the guest.
    pub model: NicModel,
}

/// A model of network card that QEMU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NicModel {
    /// Paravirtual; in-tree driver `virtio_net`.
    VirtioNet,
    /// Intel 82540EM; in-tree driver `e1000`.
    E1000,
    /// Intel 82574L; in-tree driver `e1000e`.
    E1000e,
    /// Intel 82576; in-tree driver `igb`.
    Igb,
}

impl NicModel {
    /// As the scenario writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::VirtioNet => "virtio-net",
            Self::E1000 => "e1000",
            Self::E1000e => "e1000e",
            Self::Igb => "igb",
        }
    }
}

/// A disk beside the one with the operating system, empty at the first boot. With `mount`, Ignition makes an
/// ext4 file system on it, whose label is the disk's id, and a mount unit.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Disk {
    /// Its name in this scenario, its file system's label and its serial number.
    pub id: Id,
    /// How large it is.
    pub size: Size,
    /// Where the node mounts it.
    pub mount: Option<AbsolutePath>,
    /// How slow it is; default: as fast as the host's.
    pub throttle: Option<Throttle>,
}

/// How slow a disk is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Throttle {
    /// Requests per second.
    pub iops: Option<u32>,
    /// Bytes per second.
    pub bytes_per_second: Option<Size>,
}

/// A file of the node's own base MachineConfig.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeFile {
    /// Where it stands.
    pub path: AbsolutePath,
    /// Its mode.
    #[serde(default = "plain_file")]
    pub mode: FileMode,
    /// Its text.
    pub contents: String,
}

fn plain_file() -> FileMode {
    FileMode::new(0o644)
}

/// A unit of the node's own base MachineConfig.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeUnit {
    /// Its name.
    pub name: UnitName,
    /// Whether it is enabled.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Whether it is masked.
    #[serde(default)]
    pub masked: bool,
    /// Its text; absent for a unit that the node has already.
    pub contents: Option<String>,
    /// Drop-ins, by file name.
    #[serde(default)]
    pub dropins: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

impl Spec {
    /// Whether the first boot can be a checkpoint's: it ends in a reboot, and another one follows.
    pub fn has_first_boot_to_skip(&self) -> bool {
        self.boots.len() > 1 && self.boots[0].ends == Ends::Reboot
    }
}

/// What the registry holds, and whether the node reaches it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Registry {
    /// Whether anything answers at the registry's address.
    pub reachable: bool,
    /// The images in it.
    pub images: Vec<Image>,
}

impl Default for Registry {
    fn default() -> Self {
        Self { reachable: true, images: vec![] }
    }
}

/// A driver image.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Image {
    /// Where it stands, as a MachineConfig names it.
    pub repository: Repository,
    /// The modules in it; their sources are in `vm-images/kmods/`.
    pub modules: Vec<ModuleName>,
    /// What is wrong with it; default: nothing.
    pub variant: Option<Variant>,
    /// Its tags; default: the tag for the node's kernel. An empty list leaves it without any.
    #[serde(default = "kernel_tag")]
    pub tags: Vec<TagTemplate>,
}

fn kernel_tag() -> Vec<TagTemplate> {
    TagTemplate::try_from(TagTemplate::KERNEL_TAG.to_owned()).into_iter().collect()
}

/// What is wrong with an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Its modules say that they are for another kernel.
    WrongVermagic,
    /// Its modules carry another checksum of a symbol than the kernel has.
    CrcMismatch,
    /// `modules.dep` and its like are missing.
    MissingModulesDep,
    /// Its modules stand in another kernel's directory.
    OtherKernelDirectory,
}

/// A MachineConfig under test: made by the generator, or a file as it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(try_from = "MachineConfigForm")]
pub struct MachineConfig {
    /// Where it comes from.
    pub source: ConfigSource,
    /// Which of its units does what, where that is not to be found out from the units.
    pub units: Roles,
}

/// Where a MachineConfig under test comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum ConfigSource {
    /// Made by the generator from these parameters.
    Generate(Generate),
    /// A file, relative to the scenario's.
    File(String),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct MachineConfigForm {
    generate: Option<Generate>,
    file: Option<String>,
    #[serde(default)]
    units: Roles,
}

impl TryFrom<MachineConfigForm> for MachineConfig {
    type Error = &'static str;

    fn try_from(form: MachineConfigForm) -> Result<Self, Self::Error> {
        let source = match (form.generate, form.file) {
            (Some(parameters), None) => ConfigSource::Generate(parameters),
            (None, Some(file)) => ConfigSource::File(file),
            (None, None) => {
                return Err(
                    "this MachineConfig comes from nowhere\nWrite `generate:` with the generator's parameters, or `file:` with a path.",
                );
            }
            (Some(_), Some(_)) => {
                return Err(
                    "this MachineConfig has both `generate` and `file`\nKeep one; a second MachineConfig is a second item of the list.",
                );
            }
        };
        Ok(Self { source, units: form.units })
    }
}

/// Which unit of a MachineConfig does what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Roles {
    /// The unit that pulls.
    pub pull: Option<UnitName>,
    /// The unit that loads.
    pub load: Option<UnitName>,
}

/// The generator's parameters, as they stand in the file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Generate(pub serde_json::Map<String, serde_json::Value>);

impl Generate {
    /// A parameter that is a text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(serde_json::Value::as_str)
    }

    /// The parameters as the generator's own type. Prefer [`super::Scenario::generator_config`], whose errors
    /// have a place.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(serde_json::Value::Object(self.0.clone()))
    }
}

/// One boot of the node.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Boot {
    /// How it must end.
    pub ends: Ends,
    /// With `ends: reboot`: the unit that must ask for it.
    pub by: Option<UnitRef>,
    /// With `ends: ready`: what is done to the settled node.
    pub then: Option<Then>,
    /// The longest it may take, at reference speed.
    pub deadline: Option<Seconds>,
    /// What must be true of it.
    #[serde(default)]
    pub expect: Expectations,
}

impl Boot {
    /// The longest this boot may take, at reference speed. A boot that pulls gets more.
    pub fn deadline(&self) -> Seconds {
        self.deadline.unwrap_or(match self.ends {
            Ends::Ready => Seconds::new(240),
            Ends::Reboot => Seconds::new(300),
        })
    }
}

/// How a boot must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// The node settles: all jobs done.
    Ready,
    /// The node reboots of its own.
    Reboot,
}

/// What is done to a settled node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Then {
    /// It is asked to reboot, as a person would.
    Reboot,
}

/// A base check that a scenario does without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OptOut {
    /// The check's id; for one pattern of `journal.clean`, `journal.clean/NAME`.
    pub check: String,
    /// Why, for a person.
    pub reason: String,
}

/// The checks that always run unless a scenario does without.
pub const BASE_CHECKS: [&str; 5] = ["boots.count", "config.identical", "evidence", "journal.clean", "node.ready"];

/// Names of the bad patterns that `journal.clean` knows.
pub const JOURNAL_PATTERNS: [&str; 16] = [
    "panic",
    "oops",
    "bug",
    "warning",
    "soft-lockup",
    "hung-task",
    "rcu-stall",
    "general-protection",
    "segfault",
    "core-dump",
    "out-of-memory",
    "io-error",
    "filesystem-error",
    "ordering-cycle",
    "emergency",
    "refcount-leak",
];
