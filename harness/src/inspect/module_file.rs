//! One module file of an image or of a kernel: how it is compressed, and what it says of itself.

use crate::kmod::{Compression, ModuleInfo, Trust, TrustedKey, trust};

/// A module file, read.
#[derive(Debug)]
pub(crate) struct ModuleFile {
    /// How its content is compressed.
    pub(crate) compression: Option<Compression>,
    /// What keeps the kernel's own decompressor from reading it.
    pub(crate) xz_check: Option<XzCheck>,
    /// Its compression does not say how much comes out of it.
    pub(crate) sizeless: bool,
    /// What it says; an error says why it can't be read.
    pub(crate) info: Result<ModuleInfo, String>,
    /// What the trusted certificates say of its signature; none where none are given.
    pub(crate) trust: Option<Trust>,
    /// The bytes that came out of its decompression; of a damaged one, about as many as may have.
    pub(crate) decompressed: u64,
}

/// The checksum of an `.xz` file. The kernel's own decompressor knows the first two (lib/xz/xz_dec_stream.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum XzCheck {
    None,
    Crc32,
    Crc64,
    Sha256,
    Unknown,
}

impl XzCheck {
    /// From the flags in a file's header.
    fn of(bytes: &[u8]) -> Self {
        match bytes.get(7).map(|flags| flags & 0xf) {
            Some(0) => Self::None,
            Some(1) => Self::Crc32,
            Some(4) => Self::Crc64,
            Some(10) => Self::Sha256,
            _ => Self::Unknown,
        }
    }

    /// The kernel can check it.
    pub(crate) fn known_to_kernel(self) -> bool {
        matches!(self, Self::None | Self::Crc32)
    }
}

impl ModuleFile {
    /// Reads a file's bytes; more than `limit` decompressed ones are not read.
    pub(crate) fn read(bytes: &[u8], limit: u64, keys: &[TrustedKey]) -> Self {
        let compression = Compression::of(bytes);
        let xz_check = (compression == Some(Compression::Xz)).then(|| XzCheck::of(bytes));
        let sizeless = compression == Some(Compression::Zstd) && zstd_is_sizeless(bytes);
        let mut file = Self { compression, xz_check, sizeless, info: Err(String::new()), trust: None, decompressed: 0 };
        let decompressed = match compression.map(|kind| kind.decompress(bytes, limit)) {
            Some(Err(error)) => {
                file.info = Err(format!("its compression is damaged: {error}"));
                file.decompressed = limit.min(64 * bytes.len() as u64);
                return file;
            }
            Some(Ok(decompressed)) => Some(decompressed),
            None => None,
        };
        file.decompressed = decompressed.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let module = decompressed.as_deref().unwrap_or(bytes);
        file.info = ModuleInfo::parse(module).map_err(|error| error.to_string()).and_then(modest);
        file.trust = (!keys.is_empty()).then(|| trust(module, keys));
        file
    }

    /// A file that is too large to be read.
    pub(crate) fn too_large(size: u64, limit: u64) -> Self {
        let info = Err(format!("it has {size} bytes; this reads modules of at most {limit}"));
        Self { compression: None, xz_check: None, sizeless: false, info, trust: None, decompressed: 0 }
    }

    /// About how much memory it takes.
    pub(crate) fn weight(&self) -> usize {
        /// A text of its own, or an entry of a map.
        const ENTRY: usize = 64;
        let texts = |count: usize, bytes: usize| count * ENTRY + bytes;
        let Ok(info) = &self.info else { return ENTRY };
        let sum = |names: &mut dyn Iterator<Item = &String>| names.fold(0, |sum, name| sum + texts(1, name.len()));
        sum(&mut info.aliases.iter())
            + sum(&mut info.firmware.iter())
            + sum(&mut info.depends.iter())
            + sum(&mut info.import_ns.iter())
            + sum(&mut info.softdeps.pre.iter().chain(&info.softdeps.post))
            + sum(&mut info.symbol_crcs.keys())
            + sum(&mut info.undefined.iter().chain(&info.undefined_weak))
            + sum(&mut info.exports.keys())
            + sum(&mut info.parameters.keys())
            + sum(&mut info.parameters.values().filter_map(|parameter| parameter.description.as_ref()))
            + 16 * ENTRY
    }
}

/// Whether the header of a frame lacks the size of its content, as `zstd` leaves it away where it reads from a pipe
/// (RFC 8878, 3.1.1.1.1: Frame_Content_Size_flag, Single_Segment_flag).
fn zstd_is_sizeless(bytes: &[u8]) -> bool {
    bytes.get(4).is_some_and(|descriptor| descriptor >> 6 == 0 && descriptor & 0x20 == 0)
}

/// What a module claims is compared with all that the kernel's claim: it may not take for ever. What it says is printed.
fn modest(info: ModuleInfo) -> Result<ModuleInfo, String> {
    const COUNT: usize = 10_000;
    const LENGTH: usize = 1024;
    for (what, list) in [("aliases", &info.aliases), ("firmware files", &info.firmware)] {
        if list.len() > COUNT {
            return Err(format!("it names more than {COUNT} {what}"));
        }
        if list.iter().any(|text| text.len() > LENGTH) {
            return Err(format!("it names {what} in more than {LENGTH} bytes"));
        }
    }
    for (what, list) in [("modules that it needs", &info.depends), ("namespaces", &info.import_ns)] {
        if list.iter().any(|text| text.len() > LENGTH) {
            return Err(format!("it names {what} in more than {LENGTH} bytes"));
        }
    }
    for (what, text) in [
        ("version", &info.version),
        ("srcversion", &info.srcversion),
        ("vermagic", &info.vermagic),
        ("licence", &info.license),
    ] {
        if text.as_ref().is_some_and(|text| text.len() > LENGTH) {
            return Err(format!("its {what} has more than {LENGTH} bytes"));
        }
    }
    if info.name.len() > LENGTH {
        return Err(format!("its name has more than {LENGTH} bytes"));
    }
    Ok(info)
}

/// The name under which the kernel knows the module in a file; none where the file is no module by its name.
pub(crate) fn module_name(path: &str) -> Option<String> {
    let base = path.rsplit('/').next().unwrap_or(path);
    let plain = Compression::ALL.iter().find_map(|kind| base.strip_suffix(kind.suffix())).unwrap_or(base);
    let name = plain.strip_suffix(".ko").filter(|name| !name.is_empty())?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kmod::fixture;

    #[test]
    fn names_are_the_kernels() {
        for (path, name) in [
            ("a/i2c-dev.ko.xz", Some("i2c_dev")),
            ("x.ko", Some("x")),
            ("x.ko.zst", Some("x")),
            ("x.ko.bak", None),
            (".ko", None),
            ("modules.dep", None),
        ] {
            assert_eq!(module_name(path).as_deref(), name, "{path}");
        }
    }

    #[test]
    fn a_compressed_module_is_read_and_its_size_is_limited() {
        let module = fixture::module();
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(1)).expect("xz");
        std::io::Write::write_all(&mut encoder, &module).expect("written");
        let xz = encoder.finish().expect("finished");
        let file = ModuleFile::read(&xz, 1 << 20, &[]);
        assert_eq!((file.compression, file.xz_check), (Some(Compression::Xz), Some(XzCheck::Crc64)));
        assert_eq!(file.info.as_ref().map(|info| info.name.as_str()), Ok("thing_one"));
        assert!(file.weight() > 1000);
        let refused = ModuleFile::read(&xz, 100, &[]).info.expect_err("too large");
        assert!(refused.contains("more than 100 bytes"), "{refused}");
        for (count, length) in [(10_001, 1), (1, 1025)] {
            let alias = "x".repeat(length);
            let many = (0..count).fold(fixture::Module::new("m"), |module, _| module.info("alias", &alias));
            assert!(ModuleFile::read(&many.build(), 1 << 30, &[]).info.expect_err("refused").contains("aliases"));
        }
        for field in ["license", "version", "depends"] {
            let long = fixture::Module::new("m").info(field, &"x".repeat(1025));
            let told = ModuleFile::read(&long.build(), 1 << 30, &[]).info.expect_err("refused");
            assert!(told.contains("more than 1024 bytes"), "{field}: {told}");
        }
        let cut = ModuleFile::read(&xz[..xz.len() / 2], 1 << 20, &[]).info.expect_err("cut");
        assert!(cut.contains("damaged"), "{cut}");
    }
}
