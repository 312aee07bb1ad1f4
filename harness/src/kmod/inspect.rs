//! Reading what a `.ko` file says of itself, without the tools of kmod.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;

use object::{Object, ObjectSection};

use super::Error;

/// Ends a signed module; `struct module_signature` and the signature lie before it (include/linux/module_signature.h).
const SIGNATURE_MAGIC: &[u8] = b"~Module signature appended~\n";
const SIGNATURE_TRAILER: usize = 12;
/// `struct modversion_info`: a CRC of the size of a `long`, and the symbol's name, 64 bytes in all.
const SYMBOL_VERSION: usize = 64;

/// What a module says of itself, mostly in its `.modinfo` section.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleInfo {
    /// The name, with underscores, as in `/sys/module`.
    pub name: String,
    /// `MODULE_VERSION`.
    pub version: Option<String>,
    /// A checksum of the sources; the kernel shows it in `/sys/module/NAME/srcversion`.
    pub srcversion: Option<String>,
    /// The kernel and the options that it was built for.
    pub vermagic: Option<String>,
    /// The modules that it needs loaded.
    pub depends: Vec<String>,
    /// What `modprobe` and udev find it by.
    pub aliases: Vec<String>,
    /// `MODULE_LICENSE`.
    pub license: Option<String>,
    /// Firmware files that it may ask for, relative to the firmware directory.
    pub firmware: Vec<String>,
    /// Its parameters by name.
    pub parameters: BTreeMap<String, Parameter>,
    /// It says that it is part of the kernel's own tree.
    pub in_tree: bool,
    /// The signature behind it, if there is one.
    pub signature: Option<Signature>,
    /// The CRCs of the symbols that it expects from the kernel (`CONFIG_MODVERSIONS`), by symbol.
    pub symbol_crcs: BTreeMap<String, u32>,
}

/// A module parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Such as `int` or `charp`.
    pub kind: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// A signature behind a module. Whether a kernel trusts it is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// It is a PKCS#7 message, the only kind that today's kernels take.
    pub is_pkcs7: bool,
    /// Its length in bytes.
    pub length: usize,
}

/// What is wrong with a module file.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is compressed.
    #[error("it is compressed with {0}: decompress it first")]
    Compressed(&'static str),
    /// It is no ELF file, or a broken one.
    #[error("it is no readable ELF file: {0}")]
    Elf(#[from] object::Error),
    /// It is an ELF file, but no module.
    #[error("it is no kernel module: it has no {0}")]
    NoModule(&'static str),
}

impl ModuleInfo {
    /// Reads a module file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io("read the module", path))?;
        Self::parse(&bytes).map_err(|source| Error::Inspect { path: path.to_owned(), source })
    }

    /// Reads a module file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InspectError> {
        if let Some(kind) = compression(bytes) {
            return Err(InspectError::Compressed(kind));
        }
        let file = object::File::parse(bytes)?;
        if file.format() != object::BinaryFormat::Elf {
            return Err(InspectError::NoModule("ELF format"));
        }
        let modinfo = section(&file, ".modinfo")?.ok_or(InspectError::NoModule(".modinfo section"))?;
        let mut info = Self { signature: signature(bytes), ..Self::default() };
        for entry in bytes[modinfo].split(|byte| *byte == 0) {
            if let Some((field, value)) = String::from_utf8_lossy(entry).split_once('=') {
                info.take(field, value);
            }
        }
        if info.name.is_empty() {
            return Err(InspectError::NoModule("name in its .modinfo section"));
        }
        info.symbol_crcs = symbol_crcs(bytes)?.into_iter().map(|entry| (entry.symbol, entry.crc)).collect();
        Ok(info)
    }

    fn take(&mut self, field: &str, value: &str) {
        let text = || Some(value.to_owned());
        match field {
            "name" => self.name = value.replace('-', "_"),
            "version" => self.version = text(),
            "srcversion" => self.srcversion = text(),
            "vermagic" => self.vermagic = text(),
            "license" => self.license = text(),
            "depends" => self.depends = value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            "alias" => self.aliases.push(value.to_owned()),
            "firmware" => self.firmware.push(value.to_owned()),
            "intree" => self.in_tree = value == "Y",
            "parm" => {
                let (parameter, description) = self.parameter(value);
                parameter.description = Some(description);
            }
            "parmtype" => {
                let (parameter, kind) = self.parameter(value);
                parameter.kind = Some(kind);
            }
            _ => {}
        }
    }

    /// The parameter that `NAME:TEXT` speaks of, and the text.
    fn parameter(&mut self, value: &str) -> (&mut Parameter, String) {
        let (name, text) = value.split_once(':').unwrap_or((value, ""));
        (self.parameters.entry(name.to_owned()).or_default(), text.to_owned())
    }
}

fn compression(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: [(&[u8], &str); 3] = [(b"\xfd7zXZ\0", "xz"), (b"\x1f\x8b", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd")];
    KINDS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, kind)| *kind)
}

/// Where a section's bytes lie in the file; never outside it.
pub(super) fn section(file: &object::File<'_>, name: &str) -> Result<Option<Range<usize>>, object::Error> {
    let Some(section) = file.section_by_name(name) else { return Ok(None) };
    // Reading the data checks that it lies inside the file.
    let length = section.data()?.len();
    let start = section.file_range().map_or(0, |(offset, _)| usize::try_from(offset).unwrap_or(usize::MAX));
    Ok(start.checked_add(length).map(|end| start..end))
}

/// A symbol with its CRC, and where the CRC lies in the file.
pub(super) struct SymbolCrc {
    pub(super) symbol: String,
    pub(super) crc: u32,
    pub(super) offset: usize,
}

/// The entries of the `__versions` section, in their order.
pub(super) fn symbol_crcs(bytes: &[u8]) -> Result<Vec<SymbolCrc>, object::Error> {
    let file = object::File::parse(bytes)?;
    let Some(range) = section(&file, "__versions")? else { return Ok(Vec::new()) };
    let (width, little) = (if file.is_64() { 8 } else { 4 }, file.is_little_endian());
    let entries = bytes[range.clone()].chunks_exact(SYMBOL_VERSION).enumerate();
    Ok(entries
        .filter_map(|(index, entry)| {
            // A CRC is 32 bits wide also where its field has 64.
            let skip = if little { 0 } else { width - 4 };
            let raw: [u8; 4] = entry.get(skip..skip + 4)?.try_into().ok()?;
            let name = entry.get(width..)?.split(|byte| *byte == 0).next()?;
            Some(SymbolCrc {
                symbol: String::from_utf8_lossy(name).into_owned(),
                crc: if little { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) },
                offset: range.start + index * SYMBOL_VERSION + skip,
            })
        })
        .filter(|entry| !entry.symbol.is_empty())
        .collect())
}

fn signature(bytes: &[u8]) -> Option<Signature> {
    const PKCS7: u8 = 2;
    let before = bytes.strip_suffix(SIGNATURE_MAGIC)?;
    let (module, trailer) = before.split_at_checked(before.len().checked_sub(SIGNATURE_TRAILER)?)?;
    let length = u32::from_be_bytes(trailer.get(8..12)?.try_into().ok()?);
    let length = usize::try_from(length).ok().filter(|length| *length <= module.len())?;
    Some(Signature { is_pkcs7: trailer[2] == PKCS7, length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Variant, fixture};
    use super::*;

    #[test]
    fn every_field_is_read() {
        let info = ModuleInfo::parse(&fixture::module()).expect("a module");
        assert_eq!(info.name, "thing_one");
        assert_eq!(info.version.as_deref(), Some("1.2"));
        assert_eq!(info.srcversion.as_deref(), Some("ABC"));
        assert_eq!(info.vermagic.as_deref(), Some("6.1.0 SMP preempt mod_unload modversions "));
        assert_eq!(info.license.as_deref(), Some("GPL"));
        assert_eq!(info.depends, ["a", "b"]);
        assert_eq!(info.aliases, ["pci:v1", "pci:v2"]);
        assert_eq!(info.firmware, ["thing/fw.bin"]);
        let speed = Parameter { kind: Some("int".into()), description: Some("how fast: 1 to 3".into()) };
        assert_eq!(info.parameters, BTreeMap::from([("speed".into(), speed)]));
        assert!(!info.in_tree);
        assert_eq!(info.signature, None);
        let crcs = BTreeMap::from([("module_layout".into(), 0x1234_5678), ("printk".into(), 0x9abc_def0)]);
        assert_eq!(info.symbol_crcs, crcs);
    }

    #[test]
    fn a_signature_is_seen_and_a_torn_one_is_not() {
        let mut bytes = fixture::module();
        bytes.extend_from_slice(&[7; 20]);
        bytes.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 20]);
        bytes.extend_from_slice(SIGNATURE_MAGIC);
        let info = ModuleInfo::parse(&bytes).expect("a module");
        assert_eq!(info.signature, Some(Signature { is_pkcs7: true, length: 20 }));
        let length = bytes.len() - SIGNATURE_MAGIC.len() - 4;
        bytes[length..length + 4].copy_from_slice(&[0xff; 4]);
        assert_eq!(ModuleInfo::parse(&bytes).expect("a module").signature, None);
        assert_eq!(signature(SIGNATURE_MAGIC), None);
    }

    #[test]
    fn what_is_no_module_is_told_apart() {
        let told = |bytes: &[u8]| ModuleInfo::parse(bytes).expect_err("no module").to_string();
        assert!(told(b"\xfd7zXZ\0rest").contains("compressed with xz"));
        assert!(told(b"#!/bin/sh\n").contains("no readable ELF file"));
        assert!(told(b"").contains("no readable ELF file"));
        assert!(told(&fixture::elf(&[(".text", b"x")])).contains("no .modinfo section"));
        assert!(told(&fixture::elf(&[(".modinfo", b"license=GPL\0")])).contains("no name"));
    }

    proptest! {
        #[test]
        fn damaged_modules_never_panic(
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..40),
            cut in any::<proptest::sample::Index>(),
        ) {
            let mut bytes = fixture::module();
            for (index, value) in damage {
                let at = index.index(bytes.len());
                bytes[at] = value;
            }
            let read_and_alter = |bytes: &[u8]| {
                let _ = ModuleInfo::parse(bytes);
                for variant in Variant::ALL {
                    if let Ok(altered) = variant.alter_module(bytes.to_vec()) {
                        assert_eq!(altered.len(), bytes.len());
                    }
                }
            };
            read_and_alter(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            read_and_alter(&bytes);
        }
    }
}
