//! Module files made by hand, for tests.

const HEADER: usize = 64;
const X86_64: u16 = 62;
const RELOCATABLE: u16 = 1;

/// A 64-bit little-endian relocatable ELF file with the given sections.
pub(crate) fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let sections: Vec<Section> =
        sections.iter().map(|(name, data)| Section { name, kind: 1, link: 0, data: data.to_vec() }).collect();
    file(RELOCATABLE, X86_64, &sections)
}

struct Section<'n> {
    name: &'n str,
    kind: u32,
    link: u32,
    data: Vec<u8>,
}

fn file(elf_type: u16, machine: u16, sections: &[Section<'_>]) -> Vec<u8> {
    let mut names = vec![0];
    let mut contents = Vec::new();
    let mut headers = vec![0; HEADER];
    for section in sections {
        headers.extend(section_header(names.len(), section, HEADER + contents.len()));
        names.extend_from_slice(section.name.as_bytes());
        names.push(0);
        contents.extend_from_slice(&section.data);
    }
    let name_of_names = names.len();
    names.extend_from_slice(b".shstrtab\0");
    let last = Section { name: "", kind: 3, link: 0, data: names };
    headers.extend(section_header(name_of_names, &last, HEADER + contents.len()));
    contents.extend_from_slice(&last.data);
    let count = sections.len() + 2;
    let mut file = elf_header(elf_type, machine, HEADER + contents.len(), count);
    file.extend(contents);
    file.extend(headers);
    file
}

fn elf_header(elf_type: u16, machine: u16, section_headers: usize, count: usize) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend(elf_type.to_le_bytes());
    header.extend(machine.to_le_bytes());
    header.extend([1, 0, 0, 0]); // version 1
    header.extend([0; 16]); // no entry, no program headers
    header.extend((section_headers as u64).to_le_bytes());
    header.extend([0; 4]);
    for half in [HEADER, 0, 0, 64, count, count - 1] {
        header.extend((half as u16).to_le_bytes());
    }
    header
}

fn section_header(name: usize, section: &Section<'_>, offset: usize) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend((name as u32).to_le_bytes());
    header.extend(section.kind.to_le_bytes());
    header.extend([0; 16]); // flags, address
    header.extend((offset as u64).to_le_bytes());
    header.extend((section.data.len() as u64).to_le_bytes());
    header.extend(section.link.to_le_bytes());
    header.extend(1_u32.to_le_bytes()); // info: of symbols, the first global one
    header.extend(1_u64.to_le_bytes());
    header.extend(if section.kind == 2 { 24_u64 } else { 0 }.to_le_bytes());
    header
}

const THIS_MODULE: &str = ".gnu.linkonce.this_module";

/// A module as Debian's kernel build makes them, in little.
pub(crate) fn module() -> Vec<u8> {
    let sections = [
        section(".modinfo", modinfo()),
        section("__versions", versions()),
        section(THIS_MODULE, vec![0; 64]),
        Section { name: ".symtab", kind: 2, link: 5, data: vec![0; 24] },
        Section { name: ".strtab", kind: 3, link: 0, data: vec![0] },
    ];
    file(RELOCATABLE, X86_64, &sections)
}

fn modinfo() -> Vec<u8> {
    [
        "name=thing-one",
        "version=1.2",
        "srcversion=ABC",
        "license=GPL",
        "depends=a,b",
        "alias=pci:v1",
        "",
        "alias=pci:v2",
        "firmware=thing/fw.bin",
        "parmtype=speed:int",
        "parm=speed:how fast: 1 to 3",
        "unknown=field",
        "no field",
        "vermagic=6.1.0 SMP preempt mod_unload modversions ",
        "",
    ]
    .join("\0")
    .into_bytes()
}

fn versions() -> Vec<u8> {
    let mut section = Vec::new();
    for (symbol, crc) in [("module_layout", 0x1234_5678_u32), ("printk", 0x9abc_def0)] {
        section.extend(version(symbol, crc));
    }
    section
}

fn version(symbol: &str, crc: u32) -> Vec<u8> {
    let mut entry = u64::from(crc).to_le_bytes().to_vec();
    entry.extend(symbol.bytes().take(55));
    entry.resize(64, 0);
    entry
}

/// A module to be made.
#[derive(Clone)]
pub(crate) struct Module {
    info: Vec<(String, String)>,
    uses: Vec<(String, Option<u32>, bool)>,
    locals: Vec<String>,
    overlapping: usize,
    exports: Vec<(String, u32, bool)>,
    elf_type: u16,
    machine: u16,
    extended: bool,
    this_module: bool,
    symbols: bool,
}

#[allow(dead_code, reason = "each test uses some of it")]
impl Module {
    /// A module of that name, without vermagic and licence.
    pub(crate) fn new(name: &str) -> Self {
        Self::nameless().info("name", name)
    }

    /// One that does not even say its name.
    pub(crate) fn nameless() -> Self {
        Self {
            info: Vec::new(),
            uses: Vec::new(),
            locals: Vec::new(),
            overlapping: 0,
            exports: Vec::new(),
            elf_type: RELOCATABLE,
            machine: X86_64,
            extended: false,
            this_module: true,
            symbols: true,
        }
    }

    /// One more entry of its `.modinfo`.
    pub(crate) fn info(mut self, field: &str, value: &str) -> Self {
        self.info.push((field.to_owned(), value.to_owned()));
        self
    }

    /// The entry in the place of those that it has.
    pub(crate) fn with_info(mut self, field: &str, value: &str) -> Self {
        self.info.retain(|(known, _)| known != field);
        self.info(field, value)
    }

    /// A symbol that it needs, with the CRC that it expects.
    pub(crate) fn uses(mut self, symbol: &str, crc: u32) -> Self {
        self.uses.retain(|(known, ..)| known != symbol);
        self.uses.push((symbol.to_owned(), Some(crc), false));
        self
    }

    /// A symbol that it takes where it is there.
    pub(crate) fn uses_weak(mut self, symbol: &str) -> Self {
        self.uses.push((symbol.to_owned(), None, true));
        self
    }

    /// Without the CRCs of what it uses.
    pub(crate) fn without_versions(mut self) -> Self {
        self.uses.iter_mut().for_each(|(_, crc, _)| *crc = None);
        self
    }

    /// A symbol of its own.
    pub(crate) fn local(mut self, symbol: &str) -> Self {
        self.locals.push(symbol.to_owned());
        self
    }

    /// Its last symbol so many times more, each by the end of the same bytes for a name.
    pub(crate) fn overlapping(mut self, times: usize) -> Self {
        self.overlapping = times;
        self
    }

    /// A symbol that it gives to others.
    pub(crate) fn exports(mut self, symbol: &str, crc: u32, gpl_only: bool) -> Self {
        self.exports.push((symbol.to_owned(), crc, gpl_only));
        self
    }

    /// For another machine, by its number in ELF.
    pub(crate) fn machine(mut self, machine: u16) -> Self {
        self.machine = machine;
        self
    }

    /// Of another type of ELF file, by its number.
    pub(crate) fn elf_type(mut self, elf_type: u16) -> Self {
        self.elf_type = elf_type;
        self
    }

    /// Without what modpost adds.
    pub(crate) fn without_this_module(mut self) -> Self {
        self.this_module = false;
        self
    }

    /// As `strip --strip-all` leaves it.
    pub(crate) fn stripped(mut self) -> Self {
        self.symbols = false;
        self
    }

    /// CRCs as kernels from 6.14 on have them.
    pub(crate) fn extended_versions(mut self) -> Self {
        self.extended = true;
        self
    }

    /// The file.
    pub(crate) fn build(&self) -> Vec<u8> {
        let info: Vec<u8> = self.info.iter().flat_map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect();
        let mut sections = vec![section(".modinfo", info)];
        if self.this_module {
            sections.push(section(THIS_MODULE, vec![0; 64]));
        }
        let crcs: Vec<(&str, u32)> =
            self.uses.iter().filter_map(|(symbol, crc, _)| Some((symbol.as_str(), (*crc)?))).collect();
        if self.extended {
            sections.push(section("__version_ext_crcs", crcs.iter().flat_map(|(_, crc)| crc.to_le_bytes()).collect()));
            let names = crcs.iter().flat_map(|(symbol, _)| format!("{symbol}\0").into_bytes());
            sections.push(section("__version_ext_names", names.collect()));
        } else if !crcs.is_empty() {
            sections.push(section("__versions", crcs.iter().flat_map(|(symbol, crc)| version(symbol, *crc)).collect()));
        }
        // What is exported, then the CRCs: two sections each.
        let first = sections.len() + 1;
        let of = |gpl: bool| self.exports.iter().filter(move |(.., gpl_only)| *gpl_only == gpl);
        sections.push(section("__ksymtab", vec![0; 12 * self.exports.len()]));
        sections.push(section("__ksymtab_gpl", vec![0; 12 * self.exports.len()]));
        sections.push(section("__kcrctab", of(false).flat_map(|(_, crc, _)| crc.to_le_bytes()).collect()));
        sections.push(section("__kcrctab_gpl", of(true).flat_map(|(_, crc, _)| crc.to_le_bytes()).collect()));
        let mut strings = vec![0];
        let mut symbols = vec![0; 24];
        let mut add = |name: &str, binding: u8, index: usize, value: u64| {
            symbols.extend((strings.len() as u32).to_le_bytes());
            symbols.extend([binding << 4, 0]);
            symbols.extend((index as u16).to_le_bytes());
            symbols.extend(value.to_le_bytes());
            symbols.extend([0; 8]);
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        };
        for gpl in [false, true] {
            for (nth, (symbol, ..)) in of(gpl).enumerate() {
                add(&format!("__ksymtab_{symbol}"), 1, first + usize::from(gpl), 12 * nth as u64);
                add(&format!("__crc_{symbol}"), 1, first + 2 + usize::from(gpl), 4 * nth as u64);
            }
        }
        for (symbol, _, weak) in &self.uses {
            // `module_layout` has a CRC, and nobody uses it.
            if symbol != "module_layout" {
                add(symbol, if *weak { 2 } else { 1 }, 0, 0);
            }
        }
        for symbol in &self.locals {
            add(symbol, 1, first, 0);
        }
        for nth in 0..self.overlapping {
            let mut last = symbols[symbols.len() - 24..].to_vec();
            let name = u32::from_le_bytes(last[..4].try_into().expect("four bytes")) + u32::from(nth == 0);
            last[..4].copy_from_slice(&name.to_le_bytes());
            symbols.extend(last);
        }
        if self.symbols {
            let strings_at = sections.len() as u32 + 2;
            sections.push(Section { name: ".symtab", kind: 2, link: strings_at, data: symbols });
            sections.push(Section { name: ".strtab", kind: 3, link: 0, data: strings });
        }
        file(self.elf_type, self.machine, &sections)
    }
}

fn section(name: &str, data: Vec<u8>) -> Section<'_> {
    Section { name, kind: 1, link: 0, data }
}
