//! Out-of-tree kernel modules: building them for a node's kernel, reading what they say of themselves, making
//! faulty ones, and packing them as driver images.
//!
//! The way of a module: [`ensure_build_root`] makes a small root with the kernel's headers and a compiler,
//! [`build_modules`] compiles sources in it, [`pack_image`] lays the result out as an OCI image with the indexes
//! of `depmod`. Everything slow goes into the cache; nothing needs privileges beyond a user namespace.
//!
//! All functions block. Those that may take longer than two seconds tell their steps to a callback.

mod build;
mod build_root;
mod compression;
#[cfg(test)]
pub(crate) mod fixture;
mod image;
mod inspect;
mod layer;
mod oci;
mod pack;
mod programs;
mod sandbox;
mod signature;
mod signer;
#[cfg(test)]
pub(crate) mod stranger;
mod variant;

use std::io;
use std::path::PathBuf;

pub use build::{BuiltModule, BuiltModules, build_modules};
pub use build_root::{BuildRoot, Distribution, HOST_PACKAGES, ensure_build_root, fetched};
pub use compression::Compression;
pub use image::ensure_image;
pub use inspect::{Export, InspectError, ModuleInfo, Parameter, SoftDeps};
pub use pack::{Base, ImageConfig, OciLayout, PackSpec, index_modules, pack_image};
pub use signature::{Signature, Trust, TrustedKey, TrustedKeyError, trust};
pub use signer::ModuleKey;
pub use variant::Variant;

use crate::{cache, process};

/// What went wrong between a module's source and its image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A file operation failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A value that becomes part of a command or a path is malformed.
    #[error("the {what} {value:?} is malformed: {expected}")]
    Malformed {
        /// Which value.
        what: &'static str,
        /// As given.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// The build root could not be made.
    #[error("cannot make a root to build modules for kernel {kernel_release} from {suite} at {mirror}: {source}")]
    BuildRoot {
        /// The kernel.
        kernel_release: String,
        /// The distribution's suite.
        suite: String,
        /// Its mirror.
        mirror: String,
        /// What failed.
        source: Box<process::Error>,
    },
    /// A source directory holds nothing to build.
    #[error("{} is no module source: {reason}", path.display())]
    NoSource {
        /// The directory.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The sources do not compile.
    #[error("cannot build {} for kernel {kernel_release}: {source}", path.display())]
    Build {
        /// The source directory.
        path: PathBuf,
        /// The kernel.
        kernel_release: String,
        /// What the build said.
        source: Box<process::Error>,
    },
    /// A module file can't be read.
    #[error("{}: {source}", path.display())]
    Inspect {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InspectError,
    },
    /// A faulty variant can't be made of this module.
    #[error("cannot make the variant {variant} of module {module}: {reason}")]
    Variant {
        /// The variant.
        variant: Variant,
        /// The module.
        module: String,
        /// Why not.
        reason: String,
    },
    /// A module can't be signed.
    #[error("cannot {what}: {reason}")]
    Sign {
        /// What was tried.
        what: &'static str,
        /// What happened.
        reason: String,
    },
    /// An image's content contradicts itself.
    #[error("cannot pack the driver image: {0}")]
    Content(String),
    /// `depmod` failed, or warned about the content.
    #[error("depmod could not index the modules: {0}")]
    Depmod(String),
    /// The image's description could not be made.
    #[error("cannot describe the driver image: {0}")]
    Oci(#[from] oci_spec::OciSpecError),
}

impl Error {
    /// For `map_err`: the operation and the path that an I/O error belongs to.
    fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}

/// A kernel release becomes a directory, a package name and a `make` argument.
pub(crate) fn check_kernel_release(value: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~-".contains(&byte);
    if value.starts_with(|first: char| first.is_ascii_digit()) && value.bytes().all(fits) && value.len() <= 64 {
        return Ok(());
    }
    Err(Error::Malformed {
        what: "kernel release",
        value: value.to_owned(),
        expected: "it is what `uname -r` prints, such as 6.12.48+deb13-amd64: a digit, then letters, digits and ._+~-, 64 at most",
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::path::Path;

    use super::*;
    use crate::architecture::Architecture;
    use crate::cache::Cache;

    fn files_in(image: &OciLayout) -> BTreeMap<String, Vec<u8>> {
        let read = |path: PathBuf| std::fs::read(path).expect("read");
        let blob = |digest: &str| read(image.dir.join("blobs/sha256").join(digest.trim_start_matches("sha256:")));
        let manifest: serde_json::Value = serde_json::from_slice(&blob(&image.manifest_digest)).expect("a manifest");
        let layer = blob(manifest["layers"][0]["digest"].as_str().expect("a digest"));
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(layer.as_slice()));
        let file = |entry: std::io::Result<tar::Entry<'_, _>>| {
            let mut entry = entry.expect("an entry");
            let mut contents = Vec::new();
            entry.read_to_end(&mut contents).expect("contents");
            (entry.path().expect("a path").display().to_string(), contents)
        };
        archive.entries().expect("entries").map(file).collect()
    }

    /// The build root of the kernel that the environment names. For the tests that are ignored:
    /// `DAY1_TEST_KERNEL=6.12.… cargo test -p day1-harness --lib kmod:: -- --ignored`.
    fn real_build_root() -> (Cache, BuildRoot) {
        let kernel = std::env::var("DAY1_TEST_KERNEL").expect("DAY1_TEST_KERNEL");
        let suite = std::env::var("DAY1_TEST_SUITE").unwrap_or("trixie".to_owned());
        let arm = kernel.ends_with("arm64");
        let architecture = if arm { Architecture::Aarch64 } else { Architecture::X86_64 };
        let debian = Distribution::debian(architecture, suite, "http://deb.debian.org/debian");
        let cache = Cache::open(None).expect("a cache");
        let build_root = ensure_build_root(&cache, &debian, &kernel, &|step| eprintln!("{step}"));
        (cache, build_root.unwrap_or_else(|error| panic!("{error}")))
    }

    fn build(cache: &Cache, build_root: &BuildRoot, sources: &[PathBuf]) -> Result<BuiltModules, Error> {
        let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        build_modules(cache, build_root, &sources, &|step| eprintln!("{step}"))
    }

    #[test]
    #[ignore = "takes a minute and Debian's mirror; DAY1_TEST_KERNEL names a kernel of DAY1_TEST_SUITE, or trixie"]
    fn modules_are_built_and_packed_for_a_real_kernel() {
        let (cache, build_root) = real_build_root();
        let kernel = build_root.kernel_release.clone();
        let kmods = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images/kmods");
        let sources = [kmods.join("day1_nic"), kmods.join("day1_aux")];
        let dir = tempfile::tempdir().expect("temporary directory");
        let modules = build(&cache, &build_root, &sources).expect("built").modules;
        let other_cache = Cache::open(Some(dir.path())).expect("a cache");
        let again = build(&other_cache, &build_root, &sources).expect("built").modules;
        assert_eq!(modules.keys().collect::<Vec<_>>(), ["day1_aux", "day1_nic"]);
        for (name, module) in &modules {
            let bytes = |module: &BuiltModule| std::fs::read(&module.path).expect("read");
            assert!(bytes(module) == bytes(&again[name]), "{name} has other bytes when built again");
            assert!(module.info.srcversion.is_some(), "{name}");
            assert!(module.info.vermagic.as_ref().is_some_and(|text| text.starts_with(&kernel)), "{:?}", module.info);
        }
        let mut spec = PackSpec { kernel_release: kernel.clone(), ..PackSpec::default() };
        spec.modules = modules.into_values().collect();
        for variant in [None].into_iter().chain(Variant::ALL.map(Some)) {
            spec.variant = variant;
            let name = variant.map_or("good".to_owned(), |variant| variant.to_string());
            let image = pack_image(&build_root, &dir.path().join(name), &spec).expect("packed");
            let directory = if variant == Some(Variant::OtherKernelDirectory) { ".other" } else { "" };
            let files = files_in(&image);
            let has = |file: &str| files.contains_key(&format!("opt/lib/modules/{kernel}{directory}/{file}"));
            assert!(has("extra/day1_nic.ko") && has("extra/day1_aux.ko"), "{variant:?}: {:?}", files.keys());
            for index in ["modules.dep", "modules.dep.bin", "modules.alias", "modules.symbols", "modules.softdep"] {
                assert_eq!(has(index), variant != Some(Variant::MissingModulesDep), "{index} in {variant:?}");
            }
            assert!(!has("modules.order"), "{variant:?}");
        }
    }

    #[test]
    #[ignore = "takes a minute and Debian's mirror; DAY1_TEST_KERNEL names a kernel of DAY1_TEST_SUITE, or trixie"]
    fn a_module_may_use_another_ones_symbols_and_broken_sources_are_quoted() {
        let (_, build_root) = real_build_root();
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(&dir.path().join("cache"))).expect("a cache");
        let source = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir(&path).expect("created");
            std::fs::write(path.join("Kbuild"), format!("obj-m := {name}.o\n")).expect("written");
            let text =
                format!("#include <linux/module.h>\n{text}\nMODULE_LICENSE(\"GPL\");\nMODULE_DESCRIPTION(\"x\");\n");
            std::fs::write(path.join(format!("{name}.c")), text).expect("written");
            path
        };
        let giver =
            source("giver", "int day1_given(void);\nint day1_given(void) { return 1; }\nEXPORT_SYMBOL(day1_given);");
        let taker = source(
            "taker",
            "int day1_given(void);\nstatic int __init start(void) { return day1_given() - 1; }\nmodule_init(start);",
        );
        let built = build(&cache, &build_root, &[giver, taker]).expect("built");
        assert_eq!(built.modules["taker"].info.depends, ["giver"]);
        let kernel_release = build_root.kernel_release.clone();
        let modules = built.modules.into_values().collect();
        let spec = PackSpec { kernel_release: kernel_release.clone(), modules, ..PackSpec::default() };
        let image = pack_image(&build_root, &dir.path().join("image"), &spec).expect("packed");
        let index = &files_in(&image)[&format!("opt/lib/modules/{kernel_release}/modules.dep")];
        assert_eq!(String::from_utf8_lossy(index), "extra/giver.ko:\nextra/taker.ko: extra/giver.ko\n");
        let broken = source("broken", "int day1_broken(void) { return not_declared; }");
        let text = build(&cache, &build_root, &[broken]).expect_err("broken").to_string();
        assert!(text.contains("broken.c:2") && text.contains("not_declared"), "{text}");
    }

    #[test]
    fn kernel_releases_are_plain_words() {
        for good in ["6.12.117+deb13-amd64", "5.14.0-427.13.1.el9_4.x86_64", "6.17.4-200.fc42.x86_64"] {
            assert!(check_kernel_release(good).is_ok(), "{good}");
        }
        for bad in ["", "../6", "6/../..", "6 x", "-6", "6\n", "6$(x)"] {
            assert!(check_kernel_release(bad).is_err(), "{bad}");
        }
    }
}
