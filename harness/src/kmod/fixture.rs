//! Module files made by hand, for tests.

const HEADER: usize = 64;

/// A 64-bit little-endian relocatable ELF file with the given sections.
pub(super) fn elf(sections: &[(&str, &[u8])]) -> Vec<u8> {
    let mut names = vec![0];
    let mut contents = Vec::new();
    let mut headers = vec![0; HEADER];
    for (name, data) in sections {
        headers.extend(section_header(names.len(), 1, HEADER + contents.len(), data.len()));
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        contents.extend_from_slice(data);
    }
    let name_of_names = names.len();
    names.extend_from_slice(b".shstrtab\0");
    headers.extend(section_header(name_of_names, 3, HEADER + contents.len(), names.len()));
    contents.extend_from_slice(&names);
    let count = sections.len() + 2;
    let mut file = elf_header(HEADER + contents.len(), count);
    file.extend(contents);
    file.extend(headers);
    file
}

fn elf_header(section_headers: usize, count: usize) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([1, 0, 62, 0, 1, 0, 0, 0]); // relocatable, x86-64, version 1
    header.extend([0; 16]); // no entry, no program headers
    header.extend((section_headers as u64).to_le_bytes());
    header.extend([0; 4]);
    for half in [HEADER, 0, 0, 64, count, count - 1] {
        header.extend((half as u16).to_le_bytes());
    }
    header
}

fn section_header(name: usize, kind: u32, offset: usize, size: usize) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend((name as u32).to_le_bytes());
    header.extend(kind.to_le_bytes());
    header.extend([0; 16]); // flags, address
    header.extend((offset as u64).to_le_bytes());
    header.extend((size as u64).to_le_bytes());
    header.extend([0; 8]); // link, info
    header.extend(1_u64.to_le_bytes());
    header.extend([0; 8]);
    header
}

/// A module as Debian's kernel build makes them, in little.
pub(super) fn module() -> Vec<u8> {
    elf(&[(".modinfo", &modinfo()), ("__versions", &versions())])
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
    for (symbol, crc) in [("module_layout", 0x1234_5678_u64), ("printk", 0x9abc_def0)] {
        section.extend(crc.to_le_bytes());
        section.extend(symbol.as_bytes());
        section.extend(std::iter::repeat_n(0, 56 - symbol.len()));
    }
    section
}
