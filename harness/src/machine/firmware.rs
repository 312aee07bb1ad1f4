//! A machine's firmware: BIOS, or UEFI from flash files that the host's packages bring.
//!
//! Which files there are, and what they can do, tell QEMU's firmware descriptors (docs/interop/firmware.json of QEMU),
//! which every distribution ships with its builds of EDK II.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::variables::{self, BadVariables};
use crate::architecture::Architecture;
use crate::cache;

/// What a machine runs before its boot loader.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Firmware {
    /// SeaBIOS, which QEMU brings.
    #[default]
    Bios,
    /// UEFI.
    Uefi(Uefi),
}

/// UEFI firmware: its code, and the variables that a machine has at its first start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uefi {
    code: PathBuf,
    variables: PathBuf,
    /// Identifies both files.
    digest: String,
    /// Whether it starts signed boot loaders only, and the guest can't write its variables past it.
    secure_boot: bool,
    /// Certificates in DER that shim trusts beside its own, as `mokutil --import` leaves them.
    owner_keys: Vec<Vec<u8>>,
}

/// Why there is no firmware for a machine.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// No descriptor of the host fits.
    #[error(
        "no UEFI firmware for {architecture}{} is described in {}: install it (on Debian: apt-get install {package})",
        if *secure_boot { " with Secure Boot and Microsoft's keys" } else { "" },
        dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", ")
    )]
    Missing {
        /// QEMU's name of the processor.
        architecture: String,
        /// Whether Secure Boot was wanted.
        secure_boot: bool,
        /// Where descriptors were looked for.
        dirs: Vec<PathBuf>,
        /// Debian's package.
        package: &'static str,
    },
    /// A file of the firmware can't be read.
    #[error("cannot read {}, a part of the host's UEFI firmware: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file with the variables is not as EDK II makes it.
    #[error("cannot enrol a key in {}: {source}", path.display())]
    Variables {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: BadVariables,
    },
}

impl Firmware {
    /// What a machine has where nobody wants another: BIOS is the faster one, where there is one.
    pub fn plain(architecture: Architecture) -> Result<Self, FirmwareError> {
        match architecture {
            Architecture::X86_64 => Ok(Self::Bios),
            Architecture::Aarch64 => Self::uefi(architecture.name(), false),
        }
    }

    /// The host's UEFI for `architecture`, in QEMU's words, such as `x86_64`. With `secure_boot`, one that enforces
    /// Microsoft's keys.
    pub fn uefi(architecture: &str, secure_boot: bool) -> Result<Self, FirmwareError> {
        Self::described_in(&descriptor_dirs(), architecture, secure_boot)
    }

    fn described_in(dirs: &[PathBuf], architecture: &str, secure_boot: bool) -> Result<Self, FirmwareError> {
        let fitting = descriptors(dirs).into_iter().filter(|one| one.fits(architecture, secure_boot));
        // Debian 12 describes an AAVMF with Secure Boot that it does not have.
        let mut there = fitting
            .filter_map(|one| one.mapping.files())
            .filter(|(code, variables)| code.is_file() && variables.is_file());
        let Some((code, variables)) = there.next() else {
            return Err(FirmwareError::Missing {
                architecture: architecture.to_owned(),
                secure_boot,
                dirs: dirs.to_owned(),
                package: if architecture == "aarch64" { "qemu-efi-aarch64" } else { "ovmf" },
            });
        };
        let digest = cache::key([read(&code)?.as_slice(), read(&variables)?.as_slice()]);
        Ok(Self::Uefi(Uefi { code, variables, digest, secure_boot, owner_keys: Vec::new() }))
    }

    /// The same for a machine whose owner has enrolled these certificates, in DER.
    #[must_use]
    pub fn with_owner_keys(self, keys: Vec<Vec<u8>>) -> Self {
        match self {
            Self::Bios => Self::Bios,
            Self::Uefi(uefi) => Self::Uefi(Uefi { owner_keys: keys, ..uefi }),
        }
    }

    /// Whether it starts signed boot loaders only.
    pub fn is_secure_boot(&self) -> bool {
        matches!(self, Self::Uefi(uefi) if uefi.secure_boot)
    }
}

impl Uefi {
    /// A pair of files, made where a directory is given for them.
    #[cfg(test)]
    pub(super) fn for_tests(secure_boot: bool, dirs: &[&Path]) -> Firmware {
        let dir = dirs.first().copied().unwrap_or(Path::new("/nowhere"));
        let (code, variables) = (dir.join("code"), dir.join("variables"));
        if !dirs.is_empty() {
            fs::write(&variables, "variables").expect("written");
        }
        Firmware::Uefi(Self { code, variables, digest: String::new(), secure_boot, owner_keys: Vec::new() })
    }

    pub(super) fn is_secure_boot(&self) -> bool {
        self.secure_boot
    }

    pub(super) fn code(&self) -> &Path {
        &self.code
    }

    /// The variables of a machine that was never started.
    pub(super) fn variables(&self) -> Result<Vec<u8>, FirmwareError> {
        let mut store = read(&self.variables)?;
        if !self.owner_keys.is_empty() {
            let failed = |source| FirmwareError::Variables { path: self.variables.clone(), source };
            variables::enrol(&mut store, &self.owner_keys).map_err(failed)?;
        }
        Ok(store)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, FirmwareError> {
    fs::read(path).map_err(|source| FirmwareError::Read { path: path.to_owned(), source })
}

/// A descriptor, as far as it matters here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Descriptor {
    interface_types: Vec<String>,
    mapping: Mapping,
    targets: Vec<Target>,
    features: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Mapping {
    device: String,
    executable: Option<File>,
    nvram_template: Option<File>,
}

#[derive(Debug, Deserialize)]
struct File {
    filename: PathBuf,
    format: String,
}

#[derive(Debug, Deserialize)]
struct Target {
    architecture: String,
}

impl Mapping {
    /// The code and the variables, where they are two raw flash images.
    fn files(&self) -> Option<(PathBuf, PathBuf)> {
        let raw =
            |file: &Option<File>| file.as_ref().filter(|file| file.format == "raw").map(|one| one.filename.clone());
        (self.device == "flash").then_some(())?;
        Some((raw(&self.executable)?, raw(&self.nvram_template)?))
    }
}

impl Descriptor {
    fn fits(&self, architecture: &str, secure_boot: bool) -> bool {
        let has = |feature: &str| self.features.iter().any(|one| one == feature);
        let enforces = has("secure-boot") && has("enrolled-keys");
        // One that needs SMM does not run in a machine without it.
        let suits = if secure_boot { enforces } else { !has("requires-smm") && !has("enrolled-keys") };
        suits
            && self.interface_types.iter().any(|one| one == "uefi")
            && self.targets.iter().any(|target| target.architecture == architecture)
            && self.mapping.files().is_some()
    }
}

/// Where descriptors are: a file of a later directory takes the place of its namesake.
fn descriptor_dirs() -> Vec<PathBuf> {
    ["/usr/share/qemu/firmware", "/usr/local/share/qemu/firmware", "/etc/qemu/firmware"].map(PathBuf::from).into()
}

/// All descriptors that can be read, in the order of their names, which is that of their rank.
fn descriptors(dirs: &[PathBuf]) -> Vec<Descriptor> {
    let entries = dirs.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten().flatten();
    let json = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "json"));
    let by_name: BTreeMap<_, PathBuf> = json.filter_map(|path| Some((path.file_name()?.to_owned(), path))).collect();
    // An empty one, or a link to /dev/null, masks its namesake; what is of another kind is not for us.
    by_name.values().filter_map(|path| serde_json::from_slice(&fs::read(path).ok()?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with descriptors in Debian's way, of files that are there.
    fn host(descriptors: &[(&str, &str, &[&str])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        for (name, architecture, features) in descriptors {
            let file = |part: &str| {
                let path = dir.path().join(format!("{name}.{part}"));
                fs::write(&path, format!("{name} {part}")).expect("written");
                serde_json::json!({ "filename": path, "format": "raw" })
            };
            let text = serde_json::json!({
                "description": "x",
                "interface-types": ["uefi"],
                "mapping": { "device": "flash", "executable": file("code"), "nvram-template": file("vars") },
                "targets": [{ "architecture": architecture, "machines": ["pc-q35-*"] }],
                "features": features,
                "tags": [],
            });
            fs::write(dir.path().join(format!("{name}.json")), text.to_string()).expect("written");
        }
        dir
    }

    fn found(dirs: &[PathBuf], architecture: &str, secure_boot: bool) -> Result<Uefi, String> {
        match Firmware::described_in(dirs, architecture, secure_boot) {
            Ok(Firmware::Uefi(uefi)) => Ok(uefi),
            Ok(Firmware::Bios) => panic!("no UEFI"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn the_first_descriptor_that_fits_gives_the_files() {
        let dir = host(&[
            ("40-enrolled", "x86_64", &["requires-smm", "secure-boot", "enrolled-keys"]),
            ("50-secure", "x86_64", &["requires-smm", "secure-boot"]),
            ("60-plain", "x86_64", &["acpi-s3"]),
            ("61-plain-too", "x86_64", &[]),
            ("70-arm", "aarch64", &[]),
        ]);
        let dirs = [dir.path().to_owned()];
        let code = |architecture, secure_boot| {
            let uefi = found(&dirs, architecture, secure_boot).expect("found");
            uefi.code().file_name().expect("a name").to_string_lossy().into_owned()
        };
        assert_eq!(code("x86_64", true), "40-enrolled.code");
        assert_eq!(code("x86_64", false), "60-plain.code");
        assert_eq!(code("aarch64", false), "70-arm.code");
        let told = found(&dirs, "aarch64", true).expect_err("none");
        assert!(told.contains("Secure Boot") && told.contains("apt-get install qemu-efi-aarch64"), "{told}");
        assert!(told.contains(&dirs[0].display().to_string()), "{told}");
    }

    #[test]
    fn a_later_directory_masks_and_replaces() {
        let (shipped, local) = (host(&[("60-plain", "x86_64", &[])]), host(&[("60-plain", "x86_64", &[])]));
        let dirs = [shipped.path().to_owned(), local.path().to_owned()];
        assert!(found(&dirs, "x86_64", false).expect("found").code().starts_with(local.path()));
        fs::write(local.path().join("60-plain.json"), "").expect("written");
        assert!(found(&dirs, "x86_64", false).expect_err("masked").contains("apt-get install ovmf"));
    }

    #[test]
    fn other_files_are_another_firmware() {
        let dir = host(&[("60-plain", "x86_64", &[]), ("70-plain", "x86_64", &[])]);
        let dirs = [dir.path().to_owned()];
        let before = found(&dirs, "x86_64", false).expect("found");
        assert_eq!(found(&dirs, "x86_64", false), Ok(before.clone()));
        fs::write(dir.path().join("60-plain.code"), "an update").expect("written");
        assert_ne!(found(&dirs, "x86_64", false).expect("found"), before);
        fs::remove_file(dir.path().join("60-plain.vars")).expect("removed");
        let other = found(&dirs, "x86_64", false).expect("one whose files are there");
        assert!(other.code().ends_with("70-plain.code"), "{other:?}");
        fs::remove_file(dir.path().join("70-plain.code")).expect("removed");
        assert!(found(&dirs, "x86_64", false).expect_err("no files").contains("apt-get install ovmf"));
    }
}
