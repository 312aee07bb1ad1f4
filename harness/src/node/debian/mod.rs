//! A node image from Debian packages in the shape of a CoreOS node.

mod boot_sector;
mod build;
mod host;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub(super) use build::build;
pub use host::{Error as HostError, HOST_PACKAGES, MissingTool, Rootless};

use super::Architecture;
use super::catalogue::{self, Kind, files, read_error};
use super::word::word;
use crate::cache;

/// Changes when this module makes another image from the same definition.
const FORMAT: &[u8] = b"day1 node image 3";

/// Free space that a build takes: the sparse raw disk and the qcow2 made from it, side by side.
pub(super) const NEED_MIB: u64 = 2560;

/// The file of an entry that identifies its disk.
const DIGEST: &str = "digest.txt";

/// Identifies the disk of a complete entry.
pub(super) fn digest(entry: &Path) -> Result<String, super::Error> {
    let path = entry.join(DIGEST);
    fs::read_to_string(&path).map_err(super::Error::io("read", &path))
}

/// What the definition of a node image from Debian packages says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    kind: Kind,
    /// The release's code name.
    pub suite: Suite,
    /// The processor that it is for.
    #[serde(default)]
    pub architecture: Architecture,
    /// The archive.
    #[serde(default)]
    pub mirror: Mirror,
    /// Kernel packages; the node boots the kernel of the first.
    #[serde(deserialize_with = "not_empty")]
    pub kernels: Vec<KernelPackage>,
    /// Packages besides those of every such image, without what they depend on.
    #[serde(default)]
    pub packages: Vec<Package>,
    /// Kernel arguments besides those that make the node boot.
    #[serde(default)]
    pub arguments: Vec<KernelArgument>,
    /// The disk.
    #[serde(default)]
    pub disk: Disk,
    /// The directory of the build's scripts and files.
    #[serde(skip)]
    pub recipe: PathBuf,
}

/// Sizes of the disk and its partitions in MiB. `root` gets what `boot` and `esp` leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawDisk")]
pub struct Disk {
    /// The whole disk.
    pub size_mib: u32,
    /// Kernels and initramfs.
    pub boot_mib: u32,
    /// The EFI system partition.
    pub esp_mib: u32,
}

impl Default for Disk {
    fn default() -> Self {
        Self { size_mib: 8192, boot_mib: 384, esp_mib: 32 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDisk {
    size_mib: u32,
    boot_mib: u32,
    esp_mib: u32,
}

impl Default for RawDisk {
    fn default() -> Self {
        let Disk { size_mib, boot_mib, esp_mib } = Disk::default();
        Self { size_mib, boot_mib, esp_mib }
    }
}

impl TryFrom<RawDisk> for Disk {
    type Error = String;

    fn try_from(RawDisk { size_mib, boot_mib, esp_mib }: RawDisk) -> Result<Self, String> {
        if boot_mib < 128 {
            return Err(format!("boot_mib is {boot_mib}; a kernel and its initramfs need 128 at least"));
        }
        if esp_mib < 16 {
            return Err(format!("esp_mib is {esp_mib}; GRUB for UEFI needs 16 at least"));
        }
        // The installed tree takes 0.9 GiB; container images come on top.
        let least = boot_mib.saturating_add(esp_mib).saturating_add(4096);
        if size_mib < least {
            return Err(format!("size_mib is {size_mib}; with this boot_mib and esp_mib it must be {least} at least"));
        }
        Ok(Self { size_mib, boot_mib, esp_mib })
    }
}

word!(
    /// A release's code name.
    Suite,
    |text| text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
    "a suite's name such as trixie"
);

word!(
    /// An archive's URL.
    Mirror,
    |text| ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
        && text.chars().all(|c| c.is_ascii_graphic() && !"'\"\\".contains(c)),
    "an archive's address such as http://deb.debian.org/debian"
);

word!(
    /// A package's name.
    Package,
    // Debian policy 5.6.1.
    |text| text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c)),
    "a package's name (lower-case letters, digits, +, - and .)"
);

word!(
    /// A kernel's package, in apt's words: `PACKAGE`, or `PACKAGE/SUITE` for one of another release.
    KernelPackage,
    |text| match text.split_once('/') {
        Some((package, suite)) => Package::is(package) && Suite::is(suite),
        None => Package::is(text),
    },
    "a kernel's package such as linux-image-amd64, or linux-image-amd64/bookworm of another suite"
);

word!(
    /// A kernel argument.
    KernelArgument,
    |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,:=/@+".contains(c)),
    "a kernel argument (letters, digits and -_.,:=/@+, no spaces)"
);

impl Default for Mirror {
    fn default() -> Self {
        Self("http://deb.debian.org/debian".to_owned())
    }
}

fn not_empty<'de, D: serde::Deserializer<'de>, P: Deserialize<'de>>(deserializer: D) -> Result<Vec<P>, D::Error> {
    let packages = Vec::<P>::deserialize(deserializer)?;
    if packages.is_empty() {
        return Err(serde::de::Error::custom("the list is empty; it needs one package at least"));
    }
    Ok(packages)
}

/// The directory of the build's scripts and files, beside the definitions.
const RECIPE: &str = "debian";

impl Debian {
    /// What serde can't see: parts that contradict each other.
    pub(super) fn check(&self) -> Result<(), String> {
        let other = self.architecture.other();
        match self.kernels.iter().find(|kernel| kernel.as_str().contains(other.debian_name())) {
            Some(kernel) => Err(format!("{} is for {other}, and the image for {}", kernel.as_str(), self.architecture)),
            None => Ok(()),
        }
    }

    pub(super) fn beside(self, dir: &Path) -> Self {
        Self { recipe: dir.join(RECIPE), ..self }
    }

    /// Lower-case hex sha256 over all that the definition says and the bytes of the recipe's files; comments
    /// of the YAML don't count.
    pub(super) fn key(&self) -> Result<String, catalogue::Error> {
        let canonical = serde_json::to_vec(self).expect("strings and numbers have a JSON form");
        let mut parts = vec![FORMAT.to_vec(), canonical];
        for file in files(&self.recipe)? {
            let relative = file.strip_prefix(&self.recipe).unwrap_or(&file);
            let mode = fs::metadata(&file).map_err(read_error(&file))?.permissions().mode();
            parts.push(relative.as_os_str().as_encoded_bytes().to_vec());
            parts.push(if mode & 0o100 == 0 { b"file".to_vec() } else { b"program".to_vec() });
            parts.push(fs::read(&file).map_err(read_error(&file))?);
        }
        Ok(cache::key(parts.iter().map(Vec::as_slice)))
    }
}
