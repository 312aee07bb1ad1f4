//! Driver images with one fault each, for scenarios about what a node does with them.

use std::fmt;

use object::read::File;
use serde::{Deserialize, Serialize};

use super::inspect::{section, symbol_crcs};

/// A fault of a driver image: of its module files, or of how they are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// The options of the modules' version magic are another kernel's; the kernel says `version magic '…' should be
    /// '…'`. The release stays: a kernel with `CONFIG_MODVERSIONS` does not compare it (`same_magic` in
    /// kernel/module/version.c), and loads a module that differs in nothing else.
    WrongVermagic,
    /// A symbol's CRC in the modules is another kernel's; the kernel says `disagrees about version of symbol`.
    CrcMismatch,
    /// `depmod` was not run: the image has none of its indexes.
    MissingModulesDep,
    /// The modules lie in the directory of another kernel release.
    OtherKernelDirectory,
    /// A module that another one depends on was taken out after `depmod` ran.
    MissingDependency,
    /// The layer ends in the middle of its archive; the manifest has the digest of what is there.
    TruncatedLayer,
    /// No fault: the modules were built from other sources, as the next version of a driver; so they say.
    OtherVersion,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::WrongVermagic,
        Self::CrcMismatch,
        Self::MissingModulesDep,
        Self::OtherKernelDirectory,
        Self::MissingDependency,
        Self::TruncatedLayer,
        Self::OtherVersion,
    ];

    /// The module file with the fault in it; unchanged where the fault is not in the file. An error says why the
    /// fault can't be put into this module.
    pub(super) fn alter_module(self, mut module: Vec<u8>) -> Result<Vec<u8>, String> {
        match self {
            Self::WrongVermagic => alter_vermagic(&mut module)?,
            Self::CrcMismatch => alter_crc(&mut module)?,
            Self::OtherVersion => alter_srcversion(&mut module)?,
            _ => {}
        }
        Ok(module)
    }

    /// The directory below `/opt/lib/modules` for modules of `kernel_release`.
    pub(super) fn kernel_directory(self, kernel_release: &str) -> String {
        match self {
            Self::OtherKernelDirectory => format!("{kernel_release}.other"),
            _ => kernel_release.to_owned(),
        }
    }

    /// The image has the indexes of `depmod`.
    pub(super) fn has_indexes(self) -> bool {
        self != Self::MissingModulesDep
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WrongVermagic => "wrong-vermagic",
            Self::CrcMismatch => "crc-mismatch",
            Self::MissingModulesDep => "missing-modules-dep",
            Self::OtherKernelDirectory => "other-kernel-directory",
            Self::MissingDependency => "missing-dependency",
            Self::TruncatedLayer => "truncated-layer",
            Self::OtherVersion => "other-version",
        })
    }
}

/// Turns the case of the first option behind the release (`SMP` becomes `smp`): no kernel has such an option, and
/// the file keeps its length.
fn alter_vermagic(module: &mut [u8]) -> Result<(), String> {
    let mut words = modinfo(module, "vermagic")?.split_mut(|byte| *byte == b' ');
    let option =
        words.nth(1).filter(|word| !word.is_empty()).ok_or("its vermagic has no options behind the release")?;
    for byte in option {
        *byte ^= if byte.is_ascii_alphabetic() { 0x20 } else { 0 };
    }
    Ok(())
}

/// Turns round the checksum of the module's sources, of which the kernel makes no use.
fn alter_srcversion(module: &mut [u8]) -> Result<(), String> {
    let version = modinfo(module, "srcversion")?;
    let before = version.to_owned();
    version.reverse();
    if version == before { Err("its srcversion reads the same backwards".to_owned()) } else { Ok(()) }
}

/// The value of a field of the module's `.modinfo`.
fn modinfo<'m>(module: &'m mut [u8], field: &str) -> Result<&'m mut [u8], String> {
    let range = {
        let file = File::parse(&*module).map_err(|error| error.to_string())?;
        section(&file, ".modinfo").map_err(|error| error.to_string())?.ok_or("it has no .modinfo section")?
    };
    let key = format!("{field}=");
    let mut entries = module[range].split_mut(|byte| *byte == 0);
    let entry = entries.find(|entry| entry.starts_with(key.as_bytes())).ok_or(format!("it has no {field}"))?;
    Ok(&mut entry[key.len()..])
}

/// Turns all bits of the CRC of `module_layout`, which the kernel compares first, or else of the first symbol.
fn alter_crc(module: &mut [u8]) -> Result<(), String> {
    let entries = symbol_crcs(module).map_err(|error| error.to_string())?;
    let entry = entries.iter().find(|entry| entry.symbol == "module_layout").or(entries.first());
    let offset = entry.ok_or("it has no symbol CRCs: its kernel was built without CONFIG_MODVERSIONS")?.offset;
    for byte in &mut module[offset..offset + 4] {
        *byte = !*byte;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{ModuleInfo, fixture};
    use super::*;

    fn altered(variant: Variant) -> (ModuleInfo, ModuleInfo) {
        let module = fixture::module();
        let after = variant.alter_module(module.clone()).expect("altered");
        assert_eq!(module.len(), after.len());
        (ModuleInfo::parse(&module).expect("a module"), ModuleInfo::parse(&after).expect("a module"))
    }

    #[test]
    fn a_wrong_vermagic_differs_behind_the_release_only() {
        let (before, after) = altered(Variant::WrongVermagic);
        assert_eq!(after.vermagic.as_deref(), Some("6.1.0 smp preempt mod_unload modversions "));
        assert_eq!(ModuleInfo { vermagic: before.vermagic.clone(), ..after.clone() }, before);
    }

    #[test]
    fn one_crc_differs() {
        let (before, after) = altered(Variant::CrcMismatch);
        assert_eq!(after.symbol_crcs["module_layout"], !0x1234_5678);
        assert_eq!(after.symbol_crcs["printk"], before.symbol_crcs["printk"]);
        assert_eq!(ModuleInfo { symbol_crcs: before.symbol_crcs.clone(), ..after.clone() }, before);
    }

    #[test]
    fn another_version_differs_in_what_it_says_of_its_sources_only() {
        let (before, after) = altered(Variant::OtherVersion);
        assert_eq!(after.srcversion.as_deref(), Some("CBA"));
        assert_eq!(ModuleInfo { srcversion: before.srcversion.clone(), ..after }, before);
    }

    #[test]
    fn a_module_that_cannot_have_the_fault_is_refused() {
        let bare = fixture::elf(&[(".modinfo", b"name=x\0vermagic=6.1.0\0")]);
        assert!(Variant::WrongVermagic.alter_module(bare.clone()).expect_err("no options").contains("no options"));
        assert!(Variant::CrcMismatch.alter_module(bare.clone()).expect_err("no CRCs").contains("CONFIG_MODVERSIONS"));
        assert!(Variant::OtherVersion.alter_module(bare.clone()).expect_err("no version").contains("no srcversion"));
        assert_eq!(Variant::MissingModulesDep.alter_module(bare.clone()).expect("unchanged"), bare);
        assert!(Variant::WrongVermagic.alter_module(b"junk".to_vec()).is_err());
    }

    #[test]
    fn names_in_files_and_in_messages_are_the_same() {
        for variant in Variant::ALL {
            let text = serde_json::to_string(&variant).expect("serialised");
            assert_eq!(text, format!("\"{variant}\""));
        }
    }
}
