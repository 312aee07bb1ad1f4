//! Reading what a `.ko` file says of itself, without the tools of kmod.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use object::read::elf::{ElfFile, FileHeader, SectionHeader};
use object::{Architecture, Object, ObjectKind, ObjectSection, ObjectSymbol, SectionIndex, SymbolSection};

use super::Error;
use super::compression::Compression;
use super::signature::{self, Signature};

/// More symbols than a kernel exports, and far more than a module uses.
const SYMBOLS: usize = 200_000;
/// Bytes of the name of a symbol that it uses or exports: `KSYM_NAME_LEN` of the kernel, which was 128 before Linux 6.1.
const SYMBOL_NAME: usize = 512;
/// Bytes of a `.modinfo` section. The largest of a distribution's kernel, full of aliases, has a fiftieth of it.
const MODINFO: usize = 4 << 20;
/// Where a module has its `struct module`. What lacks it is an object file of some other kind.
const THIS_MODULE: &str = ".gnu.linkonce.this_module";
/// The fields of `.modinfo` of which the kernel takes the first, as all that it asks for by name. Each file of a module may
/// have a `MODULE_LICENSE`.
const FIRST: [&str; 6] = ["name", "version", "srcversion", "vermagic", "license", "depends"];
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
    /// It says that it is part of the kernel's own tree (`intree=`): the kernel does not mark it as out-of-tree.
    pub in_tree: bool,
    /// The signature behind it, if there is one.
    pub signature: Option<Signature>,
    /// The CRCs of the symbols that it expects from the kernel (`CONFIG_MODVERSIONS`), by symbol.
    pub symbol_crcs: BTreeMap<String, u32>,
    /// The machine that it runs on, as images name platforms (`amd64`, `arm64`), or as ELF does where they don't.
    pub architecture: String,
    /// The modules that `modprobe` loads before it, and those after it, where they are there.
    pub softdeps: SoftDeps,
    /// The namespaces whose symbols it says that it uses.
    pub import_ns: Vec<String>,
    /// The symbols that it needs from the kernel or other modules.
    pub undefined: BTreeSet<String>,
    /// The symbols that it takes where they are there.
    pub undefined_weak: BTreeSet<String>,
    /// The symbols that it gives to other modules.
    pub exports: BTreeMap<String, Export>,
}

/// What `MODULE_SOFTDEP` lists.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SoftDeps {
    /// To be loaded before.
    pub pre: Vec<String>,
    /// To be loaded after.
    pub post: Vec<String>,
}

impl SoftDeps {
    /// Adds what `pre: a b post: c` lists; names become the kernel's.
    pub fn take(&mut self, text: &str) {
        let mut list = None;
        for word in text.split_whitespace() {
            match word {
                "pre:" => list = Some(&mut self.pre),
                "post:" => list = Some(&mut self.post),
                name => {
                    if let Some(list) = &mut list {
                        list.push(name.replace('-', "_"));
                    }
                }
            }
        }
    }
}

/// A symbol that a module exports.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Export {
    /// Its CRC, where the kernel has `CONFIG_MODVERSIONS`.
    pub crc: Option<u32>,
    /// Only modules with a licence that goes with the kernel's may use it.
    pub gpl_only: bool,
}

/// A module parameter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parameter {
    /// Such as `int` or `charp`.
    pub kind: Option<String>,
    /// What it is for.
    pub description: Option<String>,
}

/// What is wrong with a module file.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// It is compressed.
    #[error("it is compressed with {0}: decompress it first")]
    Compressed(Compression),
    /// It is no ELF file, or a broken one.
    #[error("it is no readable ELF file: {0}")]
    Elf(#[from] object::Error),
    /// It is an ELF file, but no module.
    #[error("it is no kernel module: it has no {0}")]
    NoModule(&'static str),
    /// It is a linked program or library, or a core file.
    #[error("it is no kernel module: it is linked, and a module is a relocatable file (ET_REL)")]
    Linked,
    /// Its symbols were taken away.
    #[error(
        "it has no symbol table, as `strip --strip-all` leaves it; the kernel says `module has no symbols (stripped?)`: strip modules with `strip --strip-debug`"
    )]
    Stripped,
    /// It has more than one symbol table.
    #[error("it has {0} symbol tables, and a module has one")]
    SymbolTables(usize),
    /// It has more symbols than any module.
    #[error("it has more than {SYMBOLS} symbols")]
    Symbols,
    /// A symbol that it uses or exports has a longer name than the kernel's.
    #[error("it uses or exports a symbol whose name has {0} bytes; a kernel's has at most {SYMBOL_NAME}")]
    SymbolName(usize),
    /// Its symbols or sections have the same bytes for names, which makes of a small file a large one.
    #[error("the names of its {0} overlap, and are longer together than the file allows")]
    Names(&'static str),
    /// It says more than any module.
    #[error("its .modinfo section has {0} bytes; this reads at most {MODINFO}")]
    Modinfo(usize),
}

impl ModuleInfo {
    /// Reads a module file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io("read the module", path))?;
        Self::parse(&bytes).map_err(|source| Error::Inspect { path: path.to_owned(), source })
    }

    /// Reads a module file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InspectError> {
        if let Some(kind) = Compression::of(bytes) {
            return Err(InspectError::Compressed(kind));
        }
        let file = object::File::parse(bytes)?;
        if file.format() != object::BinaryFormat::Elf {
            return Err(InspectError::NoModule("ELF format"));
        }
        if file.kind() != ObjectKind::Relocatable {
            return Err(InspectError::Linked);
        }
        let gpl_only = gpl_only_sections(&file, Names::of("sections", bytes))?;
        let modinfo = section(&file, ".modinfo")?.ok_or(InspectError::NoModule(".modinfo section"))?;
        if modinfo.len() > MODINFO {
            return Err(InspectError::Modinfo(modinfo.len()));
        }
        if section(&file, THIS_MODULE)?.is_none_or(|range| range.is_empty()) {
            return Err(InspectError::NoModule(
                "section .gnu.linkonce.this_module, as modpost of the kernel's build makes it",
            ));
        }
        match symbol_tables(&file) {
            1 => {}
            0 => return Err(InspectError::Stripped),
            count => return Err(InspectError::SymbolTables(count)),
        }
        let mut info = Self { signature: signature::read(bytes), architecture: architecture(&file), ..Self::default() };
        let mut taken = BTreeSet::new();
        for entry in bytes[modinfo].split(|byte| *byte == 0) {
            let entry = String::from_utf8_lossy(entry);
            let Some((field, value)) = entry.split_once('=') else { continue };
            let known = FIRST.iter().find(|first| **first == field);
            if known.is_none_or(|first| taken.insert(*first)) {
                info.take(field, value);
            }
        }
        if info.name.is_empty() {
            return Err(InspectError::NoModule("name in its .modinfo section"));
        }
        info.symbol_crcs = symbol_crcs(bytes)?.into_iter().map(|entry| (entry.symbol, entry.crc)).collect();
        info.take_symbols(&file, &gpl_only, Names::of("symbols", bytes))?;
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
            "softdep" => self.softdeps.take(value),
            "import_ns" => self.import_ns.push(value.to_owned()),
            // The kernel asks whether it is there, and not what it says.
            "intree" => self.in_tree = true,
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

    fn take_symbols(
        &mut self,
        file: &object::File<'_>,
        gpl_only: &HashSet<SectionIndex>,
        mut names: Names,
    ) -> Result<(), InspectError> {
        const EXPORT: &[u8] = b"__ksymtab_";
        const CRC: &[u8] = b"__crc_";
        if file.symbols().take(SYMBOLS + 1).count() > SYMBOLS {
            return Err(InspectError::Symbols);
        }
        for symbol in file.symbols() {
            // The kernel refuses names that lie outside the table or have no end, too.
            let name = symbol.name_bytes()?;
            names.take(name)?;
            if name.is_empty() {
                continue;
            }
            if symbol.is_undefined() {
                let known = if symbol.is_weak() { &mut self.undefined_weak } else { &mut self.undefined };
                known.extend(symbol_name(name)?);
            } else if let Some(exported) = name.strip_prefix(EXPORT) {
                let Some(exported) = symbol_name(exported)? else { continue };
                let gpl_only = symbol.section_index().is_some_and(|index| gpl_only.contains(&index));
                self.exports.entry(exported).or_default().gpl_only = gpl_only;
            } else if let Some(exported) = name.strip_prefix(CRC) {
                let Some(exported) = symbol_name(exported)? else { continue };
                self.exports.entry(exported).or_default().crc = export_crc(file, &symbol);
            }
        }
        Ok(())
    }

    /// The parameter that `NAME:TEXT` speaks of, and the text.
    fn parameter(&mut self, value: &str) -> (&mut Parameter, String) {
        let (name, text) = value.split_once(':').unwrap_or((value, ""));
        (self.parameters.entry(name.to_owned()).or_default(), text.to_owned())
    }
}

/// What the names in a file may come to. Each has a place of its own, or is the end of another one; a file that was made to
/// take much memory and time has one long name for all.
struct Names {
    left: usize,
    of: &'static str,
}

impl Names {
    fn of(of: &'static str, file: &[u8]) -> Self {
        Self { left: 2 * file.len(), of }
    }

    fn take(&mut self, name: &[u8]) -> Result<(), InspectError> {
        self.left = self.left.checked_sub(name.len()).ok_or(InspectError::Names(self.of))?;
        Ok(())
    }
}

/// A name that is kept; none where it is no text, as no symbol of a kernel is.
fn symbol_name(name: &[u8]) -> Result<Option<String>, InspectError> {
    if name.len() > SYMBOL_NAME {
        return Err(InspectError::SymbolName(name.len()));
    }
    Ok(std::str::from_utf8(name).ok().map(str::to_owned))
}

/// The sections of what is exported for GPL-compatible modules only. All sections' names are read once here, and so are found
/// to be short enough for being searched.
fn gpl_only_sections(file: &object::File<'_>, mut names: Names) -> Result<HashSet<SectionIndex>, InspectError> {
    let mut found = HashSet::new();
    for section in file.sections() {
        let name = section.name_bytes()?;
        names.take(name)?;
        if name.starts_with(b"__ksymtab_gpl") || name.starts_with(b"___ksymtab_gpl") {
            found.insert(section.index());
        }
    }
    Ok(found)
}

/// How many symbol tables it has, of those that a linker reads.
fn symbol_tables(file: &object::File<'_>) -> usize {
    fn count<Elf: FileHeader>(file: &ElfFile<'_, Elf>) -> usize {
        let sections = file.elf_section_table().iter();
        sections.filter(|section| section.sh_type(file.endian()) == object::elf::SHT_SYMTAB).count()
    }
    match file {
        object::File::Elf32(file) => count(file),
        object::File::Elf64(file) => count(file),
        _ => 0,
    }
}

fn architecture(file: &object::File<'_>) -> String {
    match file.architecture() {
        Architecture::X86_64 => "amd64".to_owned(),
        Architecture::Aarch64 => "arm64".to_owned(),
        Architecture::PowerPc64 if file.is_little_endian() => "ppc64le".to_owned(),
        other => format!("{other:?}").to_ascii_lowercase(),
    }
}

/// Where a section's bytes lie in the file; never outside it.
pub(super) fn section(file: &object::File<'_>, name: &str) -> Result<Option<Range<usize>>, object::Error> {
    let Some(section) = file.section_by_name(name) else { return Ok(None) };
    // Reading the data checks that it lies inside the file.
    let length = section.data()?.len();
    let start = section.file_range().map_or(0, |(offset, _)| usize::try_from(offset).unwrap_or(usize::MAX));
    Ok(start.checked_add(length).map(|end| start..end))
}

/// The CRC of an exported symbol: the value of `__crc_NAME`, or since Linux 5.19 what it points to.
fn export_crc(file: &object::File<'_>, symbol: &object::Symbol<'_, '_>) -> Option<u32> {
    match symbol.section() {
        SymbolSection::Absolute => u32::try_from(symbol.address()).ok(),
        SymbolSection::Section(index) => {
            let section = file.section_by_index(index).ok()?;
            let start = usize::try_from(symbol.address().checked_sub(section.address())?).ok()?;
            let raw: [u8; 4] = section.data().ok()?.get(start..start.checked_add(4)?)?.try_into().ok()?;
            Some(if file.is_little_endian() { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) })
        }
        _ => None,
    }
}

/// A symbol with its CRC, and where the CRC lies in the file.
pub(super) struct SymbolCrc {
    pub(super) symbol: String,
    pub(super) crc: u32,
    pub(super) offset: usize,
}

/// The entries of the `__versions` section, in their order, or else those of the sections that kernels from 6.14 on
/// have for symbols with long names (`CONFIG_EXTENDED_MODVERSIONS`).
pub(super) fn symbol_crcs(bytes: &[u8]) -> Result<Vec<SymbolCrc>, object::Error> {
    let file = object::File::parse(bytes)?;
    let extended = extended_crcs(&file, bytes)?;
    if !extended.is_empty() {
        return Ok(extended);
    }
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

fn extended_crcs(file: &object::File<'_>, bytes: &[u8]) -> Result<Vec<SymbolCrc>, object::Error> {
    let (Some(crcs), Some(names)) = (section(file, "__version_ext_crcs")?, section(file, "__version_ext_names")?)
    else {
        return Ok(Vec::new());
    };
    let names = bytes[names].split(|byte| *byte == 0);
    let entries = bytes[crcs.clone()].chunks_exact(4).zip(names).enumerate();
    Ok(entries
        .filter_map(|(index, (raw, name))| {
            let raw: [u8; 4] = raw.try_into().ok()?;
            Some(SymbolCrc {
                symbol: String::from_utf8_lossy(name).into_owned(),
                crc: if file.is_little_endian() { u32::from_le_bytes(raw) } else { u32::from_be_bytes(raw) },
                offset: crcs.start + index * 4,
            })
        })
        .filter(|entry| !entry.symbol.is_empty())
        .collect())
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
    fn what_it_uses_and_gives_is_read_from_its_symbols() {
        let module = fixture::Module::new("thing")
            .info("softdep", "pre: ptp post: thing-helper")
            .info("import_ns", "NETDEV_INTERNAL")
            .uses("printk", 1)
            .uses_weak("maybe_there")
            .exports("thing_give", 0xfeed_f00d, false)
            .exports("thing_give_gpl", 7, true);
        let info = ModuleInfo::parse(&module.build()).expect("a module");
        assert_eq!(info.architecture, "amd64");
        assert_eq!(info.softdeps, SoftDeps { pre: vec!["ptp".into()], post: vec!["thing_helper".into()] });
        assert_eq!(info.import_ns, ["NETDEV_INTERNAL"]);
        assert_eq!(info.undefined, BTreeSet::from(["printk".to_owned()]));
        assert_eq!(info.undefined_weak, BTreeSet::from(["maybe_there".to_owned()]));
        let exports = [
            ("thing_give".to_owned(), Export { crc: Some(0xfeed_f00d), gpl_only: false }),
            ("thing_give_gpl".to_owned(), Export { crc: Some(7), gpl_only: true }),
        ];
        assert_eq!(info.exports, BTreeMap::from(exports));
        let arm = ModuleInfo::parse(&module.machine(183).build()).expect("a module");
        assert_eq!(arm.architecture, "arm64");
    }

    #[test]
    fn crcs_of_symbols_with_long_names_are_read() {
        let long = "a_symbol_with_a_name_that_is_longer_than_fifty_six_bytes_as_those_of_rust_are";
        let module = fixture::Module::new("thing").uses("printk", 1).uses(long, 0x0102_0304).extended_versions();
        let info = ModuleInfo::parse(&module.build()).expect("a module");
        assert_eq!(info.symbol_crcs[long], 0x0102_0304);
        assert_eq!(info.symbol_crcs["printk"], 1);
    }

    #[test]
    fn what_is_no_module_is_told_apart() {
        let told = |bytes: &[u8]| ModuleInfo::parse(bytes).expect_err("no module").to_string();
        assert!(told(b"\xfd7zXZ\0rest").contains("compressed with xz"));
        assert!(told(b"#!/bin/sh\n").contains("no readable ELF file"));
        assert!(told(b"").contains("no readable ELF file"));
        assert!(told(&fixture::elf(&[(".text", b"x")])).contains("no .modinfo section"));
        assert!(told(&fixture::Module::nameless().build()).contains("no name"));
        assert!(told(&fixture::elf(&[(".modinfo", b"name=x\0")])).contains("no section .gnu.linkonce.this_module"));
        let module = fixture::Module::new("thing");
        assert!(told(&module.clone().without_this_module().build()).contains("no section .gnu.linkonce.this_module"));
        assert!(told(&module.clone().stripped().build()).contains("strip --strip-debug"));
        assert!(told(&module.clone().elf_type(3).build()).contains("it is linked"));
        assert!(ModuleInfo::parse(&module.build()).is_ok());
    }

    #[test]
    fn names_take_no_more_memory_than_the_file() {
        let told = |module: &fixture::Module| ModuleInfo::parse(&module.build()).expect_err("refused").to_string();
        let module = fixture::Module::new("thing");
        let name = |length: usize| "x".repeat(length);
        let longest = module.clone().uses_weak(&name(512)).exports(&name(511), 1, false).local(&name(2000));
        assert!(ModuleInfo::parse(&longest.build()).is_ok());
        assert!(told(&module.clone().uses_weak(&name(513))).contains("has 513 bytes; a kernel's has at most 512"));
        assert!(told(&module.clone().exports(&name(513), 1, false)).contains("has 513 bytes"));
        // Of a megabyte and a thousand symbols, the first that is kept is too long, and of those that are not, all together.
        assert!(told(&module.clone().uses_weak(&name(1 << 20)).overlapping(1000)).contains("has 1048576 bytes"));
        assert!(told(&module.clone().local(&name(1 << 20)).overlapping(1000)).contains("names of its symbols overlap"));
        assert!(told(&module.clone().uses_weak(&name(500)).overlapping(1000)).contains("names of its symbols overlap"));
        let much = module.info("alias", &name(4 << 20));
        assert!(told(&much).contains(".modinfo section has"), "{}", told(&much));
    }

    #[test]
    fn of_a_field_that_is_there_again_the_first_counts() {
        let mut module = fixture::Module::new("thing");
        for value in ["one", "two"] {
            for field in ["name", "version", "srcversion", "vermagic", "license", "depends", "alias"] {
                module = module.info(field, value);
            }
        }
        let info = ModuleInfo::parse(&module.build()).expect("a module");
        assert_eq!(info.name, "thing");
        for text in [&info.version, &info.srcversion, &info.vermagic, &info.license] {
            assert_eq!(text.as_deref(), Some("one"));
        }
        assert_eq!((info.depends, info.aliases), (vec!["one".to_owned()], vec!["one".to_owned(), "two".to_owned()]));
    }

    #[test]
    fn whatever_intree_says_it_is_no_out_of_tree_module() {
        for (field, in_tree) in [("intree=Y", true), ("intree=N", true), ("intree=", true), ("intree", false)] {
            let (name, value) = field.split_once('=').unwrap_or(("x", field));
            let info = ModuleInfo::parse(&fixture::Module::new("thing").info(name, value).build()).expect("a module");
            assert_eq!(info.in_tree, in_tree, "{field}");
        }
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
