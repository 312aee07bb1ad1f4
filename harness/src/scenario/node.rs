//! What a node starts from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AbsolutePath, FileMode, Id, KernelArgument, ModuleName, Network, Size, UnitName};

/// What the node starts from.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct NodeShape {
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory.
    pub memory: Size,
    /// Which of its image's kernels it boots, counted from 1, until another one is chosen (`boot-kernel`).
    pub kernel: usize,
    /// What is layered into its image: drivers that the node needs before it has a config (Day 0).
    pub layer: Option<Layer>,
    /// What is added to the kernel's command line, such as `enforcing=1` for SELinux.
    pub kernel_arguments: Vec<KernelArgument>,
    /// Whether its firmware is UEFI with Secure Boot and Microsoft's keys: it starts signed boot loaders only, and the
    /// kernel loads signed modules only. Such a node begins at power-on, whatever `start` says.
    pub secure_boot: bool,
    /// With `secure-boot`: keys of images (`signed-by`) that the machine's owner has enrolled (MOK), so that its kernels
    /// trust what they signed.
    pub enrolled_keys: Vec<Id>,
    /// The same of certificates in PEM or DER: files, relative to the scenario's.
    pub enrolled_certificates: Vec<String>,
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
        let nic = |id: &str, model| Id::try_from(id.to_owned()).map(|id| Nic { id, model, network: None });
        let nics = [nic("primary", NicModel::VirtioNet), nic("test", NicModel::E1000)];
        Self {
            cpus: 2,
            memory: Size::mib(2048),
            kernel: 1,
            layer: None,
            kernel_arguments: vec![],
            secure_boot: false,
            enrolled_keys: vec![],
            enrolled_certificates: vec![],
            nics: nics.into_iter().flatten().collect(),
            disks: vec![],
            files: vec![],
            units: vec![],
        }
    }
}

/// What an image build on top of the node image has done to it, for the kernel that the node boots first. Node images
/// that are not built from Debian packages skip the scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Layer {
    /// Out-of-tree modules that it brought: names of directories in `vm-images/kmods`. They are in the root file system
    /// and in the initramfs.
    #[serde(default)]
    pub modules: Vec<ModuleName>,
    /// In-tree modules that it took out of both.
    #[serde(default)]
    pub without: Vec<ModuleName>,
}

/// A network card.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Nic {
    /// Its name in this scenario.
    pub id: Id,
    /// What QEMU shows the guest.
    pub model: NicModel,
    /// The network behind it, with DHCP; default: `10.0.2.0/24` behind the first card, `10.0.3.0/24` behind the second,
    /// and so on. That behind the first has the harness's own addresses, and can't be chosen.
    pub network: Option<Network>,
}

/// A model of network card that QEMU has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Throttle {
    /// Requests per second.
    pub iops: Option<u32>,
    /// Bytes per second.
    pub bytes_per_second: Option<Size>,
}

/// A file of the node's own base MachineConfig.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
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
