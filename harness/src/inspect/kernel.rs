//! A node's kernel, as its `/lib/modules/<release>/` tells of it. Whatever is missing there is missing here: the checks
//! that need it say so.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use day1_generator::KernelRelease;

use super::module_file::{ModuleFile, module_name};
use super::symvers::Symvers;
use crate::input;
use crate::kmod::{Compression, Signature, SoftDeps};

/// Of a list, decompressed. Those of a distribution's kernel have a few MiB.
const LIST: u64 = 128 << 20;
/// Of one of the kernel's own modules, decompressed.
const MODULE: u64 = 128 << 20;

/// Why a kernel's directory can't be used.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// There is no such directory.
    #[error("{} is no directory: name one in the shape of /lib/modules/RELEASE", path.display())]
    NoDirectory {
        /// As given.
        path: PathBuf,
    },
    /// Its name is no kernel's.
    #[error(
        "{} is not named as a kernel release: give the directory the name that uname -r prints on the nodes, such as 6.12.48+deb13-amd64",
        path.display()
    )]
    Name {
        /// The directory, without links.
        path: PathBuf,
    },
    /// Nothing in it tells of a kernel.
    #[error(
        "{} tells nothing of a kernel: it has no modules.dep, modules.builtin, config, Module.symvers or symvers.xz",
        path.display()
    )]
    Empty {
        /// The directory.
        path: PathBuf,
    },
    /// A file of it can't be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file of it can't be understood.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        reason: String,
    },
}

/// An in-tree module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InTree {
    /// Its file, below the kernel's directory.
    pub(crate) path: String,
    /// The modules that it needs, also by way of others, and their files.
    pub(crate) needs: BTreeMap<String, String>,
}

/// A pattern that a module claims, and the module.
pub(crate) type Alias = (String, String);

/// What is known of a kernel.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) release: String,
    pub(crate) dir: PathBuf,
    pub(crate) modules: Option<BTreeMap<String, InTree>>,
    pub(crate) builtin: Option<BTreeSet<String>>,
    pub(crate) aliases: Option<Vec<Alias>>,
    /// Those of what is built in.
    pub(crate) builtin_aliases: Option<Vec<Alias>>,
    pub(crate) softdeps: Option<BTreeMap<String, SoftDeps>>,
    pub(crate) config: Option<BTreeMap<String, String>>,
    pub(crate) symvers: Option<Symvers>,
    /// The vermagic of its own modules, and where it is from.
    pub(crate) vermagic: Option<(String, String)>,
    /// The signature of one of its own modules. Its build signs them all with a key that it trusts.
    pub(crate) signature: Option<Signature>,
    /// Another one that its config may mean as well, where only that is there.
    pub(crate) other_vermagic: Option<String>,
    /// The files below the node's firmware directory.
    pub(crate) firmware: Option<BTreeSet<String>>,
}

impl Kernel {
    /// Reads a directory such as `/lib/modules/6.12.48+deb13-amd64`; its name is the release.
    pub(crate) fn read(dir: &Path) -> Result<Self, KernelError> {
        let real = dir.canonicalize().ok().filter(|path| path.is_dir());
        let real = real.ok_or_else(|| KernelError::NoDirectory { path: dir.to_owned() })?;
        let release = real.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !release.starts_with(|first: char| first.is_ascii_digit()) || release.parse::<KernelRelease>().is_err() {
            return Err(KernelError::Name { path: real });
        }
        let mut kernel = Self { release, dir: dir.to_owned(), ..Self::default() };
        let list = |name: &str| read_list(&real.join(name));
        kernel.modules = list("modules.dep")?.map(|text| modules_dep(&text));
        kernel.builtin = list("modules.builtin")?.map(|text| text.lines().filter_map(module_name).collect());
        kernel.aliases = list("modules.alias")?.map(|text| modules_alias(&text));
        kernel.builtin_aliases = list("modules.builtin.modinfo")?.map(|text| builtin_aliases(&text));
        kernel.softdeps = list("modules.softdep")?.map(|text| modules_softdep(&text));
        kernel.config = list("config")?.map(|text| config(&text));
        kernel.firmware = list("firmware.list")?.map(|text| {
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
            lines.map(|line| line.trim_start_matches("./").trim_start_matches('/').to_owned()).collect()
        });
        kernel.symvers = symvers(&real)?;
        let known = kernel.modules.is_some() || kernel.builtin.is_some() || kernel.config.is_some();
        if !known && kernel.symvers.is_none() {
            return Err(KernelError::Empty { path: dir.to_owned() });
        }
        kernel.read_own_module(&real);
        if let (None, Some(config)) = (&kernel.vermagic, &kernel.config) {
            let mut possible = vermagics_of(&kernel.release, config).into_iter();
            kernel.vermagic = possible.next().map(|vermagic| (vermagic, "config".to_owned()));
            kernel.other_vermagic = possible.next();
        }
        Ok(kernel)
    }

    /// The vermagic of a module that is there, and who signed the first that is the kernel's own: `updates` has others.
    fn read_own_module(&mut self, dir: &Path) {
        let files = self.modules.iter().flat_map(BTreeMap::values).map(|module| module.path.as_str());
        for path in files.filter(|path| dir.join(path).is_file()).take(8) {
            let Ok(bytes) = input::read(&dir.join(path), MODULE) else { continue };
            let Ok(info) = ModuleFile::read(&bytes, MODULE, &[]).info else { continue };
            let Some(vermagic) = info.vermagic else { continue };
            self.vermagic.get_or_insert((vermagic, path.to_owned()));
            if info.in_tree {
                self.signature = info.signature;
                break;
            }
        }
    }

    /// Whether the config has an option set to yes; none without a config.
    pub(crate) fn has_option(&self, option: &str) -> Option<bool> {
        self.config.as_ref().map(|config| config.get(option).is_some_and(|value| value == "y"))
    }

    /// Whether the module of that name is a part of the kernel itself; none where no list tells.
    pub(crate) fn has_builtin(&self, name: &str) -> Option<bool> {
        self.builtin.as_ref().map(|builtin| builtin.contains(name))
    }

    /// What some in-tree modules need, if by way of others, and one of them that needs it.
    pub(crate) fn needed_by<'k>(&'k self, names: &'k [String]) -> BTreeMap<&'k str, &'k str> {
        let Some(modules) = &self.modules else { return BTreeMap::new() };
        let needs = |name: &'k String| {
            let module = modules.get(name);
            module.into_iter().flat_map(|module| module.needs.keys()).map(|needed| (needed.as_str(), name.as_str()))
        };
        names.iter().rev().flat_map(needs).collect()
    }

    /// The patterns that an in-tree module claims devices by.
    pub(crate) fn claims(&self, name: &str) -> usize {
        self.aliases.iter().flatten().filter(|(pattern, module)| module == name && is_hardware(pattern)).count()
    }
}

/// Whether a pattern is that of a device, and not another name of a module.
pub(crate) fn is_hardware(pattern: &str) -> bool {
    const NAMES: [&str; 9] =
        ["fs-", "net-", "crypto-", "char-major-", "block-major-", "devname:", "rtnl-", "netdev-", "symbol:"];
    pattern.contains(':') && !NAMES.iter().any(|start| pattern.starts_with(start))
}

/// The text of a file; none where it is not there. Not all of them are UTF-8: modinfo has authors' names.
fn read_list(path: &Path) -> Result<Option<String>, KernelError> {
    match input::read(path, LIST) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(KernelError::Read { path: path.to_owned(), source }),
    }
}

fn symvers(dir: &Path) -> Result<Option<Symvers>, KernelError> {
    let names = ["Module.symvers", "symvers", "symvers.xz", "symvers.gz", "symvers.zst", "build/Module.symvers"];
    for path in names.map(|name| dir.join(name)) {
        if !path.is_file() {
            continue;
        }
        let failed = |source| KernelError::Read { path: path.clone(), source };
        let bytes = input::read(&path, LIST).map_err(failed)?;
        let bytes = match Compression::of(&bytes) {
            Some(kind) => kind.decompress(&bytes, LIST).map_err(failed)?,
            None => bytes,
        };
        let parsed = Symvers::parse(&String::from_utf8_lossy(&bytes));
        return parsed.map(Some).map_err(|reason| KernelError::Content { path: path.clone(), reason });
    }
    Ok(None)
}

/// `FILE: FILE…` a line.
pub(super) fn modules_dep(text: &str) -> BTreeMap<String, InTree> {
    let line = |line: &str| {
        let (path, needs) = line.split_once(':')?;
        let needs = needs.split_whitespace().filter_map(|path| Some((module_name(path)?, path.to_owned()))).collect();
        Some((module_name(path)?, InTree { path: path.to_owned(), needs }))
    };
    text.lines().filter_map(line).collect()
}

/// `alias PATTERN MODULE` a line.
pub(super) fn modules_alias(text: &str) -> Vec<Alias> {
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let (keyword, pattern, module) = (words.next()?, words.next()?, words.next()?);
        (keyword == "alias").then(|| (pattern.to_owned(), module.replace('-', "_")))
    };
    text.lines().filter_map(line).collect()
}

/// `softdep MODULE pre: … post: …` a line.
pub(super) fn modules_softdep(text: &str) -> BTreeMap<String, SoftDeps> {
    let mut all = BTreeMap::<String, SoftDeps>::new();
    for line in text.lines() {
        if let Some((module, rest)) = line.strip_prefix("softdep ").and_then(|rest| rest.trim().split_once(' ')) {
            all.entry(module.replace('-', "_")).or_default().take(rest);
        }
    }
    all
}

/// `MODULE.alias=PATTERN` between zeros.
fn builtin_aliases(text: &str) -> Vec<Alias> {
    let entry = |entry: &str| {
        let (key, pattern) = entry.split_once('=')?;
        let (module, field) = key.split_once('.')?;
        (field == "alias").then(|| (pattern.to_owned(), module.replace('-', "_")))
    };
    text.split('\0').filter_map(entry).collect()
}

fn config(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (option, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
        Some((option.to_owned(), value.trim_matches('"').to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// As include/linux/vermagic.h puts it together. Real-time kernels may have both options for preemption: which of them it
/// asks first has changed ("preempt: Move PREEMPT_RT before PREEMPT in vermagic"), and distributions take such changes to
/// older kernels. Debian's 6.12 has the older order.
fn vermagics_of(release: &str, config: &BTreeMap<String, String>) -> Vec<String> {
    let has = |option: &str| config.get(option).is_some_and(|value| value == "y");
    let preempt = match (has("PREEMPT_BUILD") || has("PREEMPT"), has("PREEMPT_RT")) {
        (true, true) => vec!["preempt", "preempt_rt"],
        (true, false) => vec!["preempt"],
        (false, true) => vec!["preempt_rt"],
        (false, false) => vec![""],
    };
    let word = |option: &str, word: &'static str| if has(option) { word } else { "" };
    let whole = |preempt: &str| {
        let words = [
            release,
            word("SMP", "SMP"),
            preempt,
            word("MODULE_UNLOAD", "mod_unload"),
            word("MODVERSIONS", "modversions"),
            word("ARM64", "aarch64"),
        ];
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    };
    preempt.into_iter().map(whole).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn a_kernels_lists_are_read() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let dir = temp.path().join("6.12.0-1");
        write(
            &dir,
            "modules.dep",
            "kernel/a/e1000.ko.xz:\nkernel/b/top-x.ko.xz: kernel/b/mid.ko.xz kernel/b/low.ko.xz\n",
        );
        write(&dir, "modules.builtin", "kernel/fs/ext-4.ko\n");
        write(&dir, "modules.alias", "# x\nalias pci:v1* e1000\nalias fs-x top-x\n");
        write(&dir, "modules.softdep", "# x\nsoftdep top-x pre: mid post: low\n");
        write(&dir, "modules.builtin.modinfo", "ext4.license=GPL\0ext4.alias=fs-ext4\0");
        write(
            &dir,
            "config",
            "CONFIG_SMP=y\nCONFIG_PREEMPT_BUILD=y\nCONFIG_MODULE_UNLOAD=y\nCONFIG_MODVERSIONS=y\n# CONFIG_X is not set\n",
        );
        write(&dir, "Module.symvers", "0x1\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n");
        write(&dir, "firmware.list", "./intel/a.bin\nb.bin\n");
        let kernel = Kernel::read(&dir).expect("read");
        assert_eq!(kernel.release, "6.12.0-1");
        let needs = &kernel.modules.as_ref().expect("modules")["top_x"].needs;
        assert_eq!(needs.keys().map(String::as_str).collect::<Vec<_>>(), ["low", "mid"]);
        assert_eq!(kernel.has_builtin("ext_4"), Some(true));
        assert_eq!((kernel.claims("e1000"), kernel.claims("top_x")), (1, 0));
        assert_eq!(kernel.softdeps.as_ref().expect("softdeps")["top_x"].pre, ["mid"]);
        assert_eq!(kernel.builtin_aliases.as_deref(), Some(&[("fs-ext4".to_owned(), "ext4".to_owned())][..]));
        let vermagic = "6.12.0-1 SMP preempt mod_unload modversions".to_owned();
        assert_eq!(kernel.vermagic, Some((vermagic, "config".to_owned())));
        assert!(kernel.firmware.as_ref().is_some_and(|list| list.contains("intel/a.bin")));
    }

    #[test]
    fn a_config_gives_each_vermagic_that_it_may_mean() {
        for (options, expected) in [
            ("SMP PREEMPT_BUILD MODULE_UNLOAD", &["6.1 SMP preempt mod_unload"][..]),
            ("SMP PREEMPT", &["6.1 SMP preempt"]),
            ("SMP PREEMPT_RT MODVERSIONS", &["6.1 SMP preempt_rt modversions"]),
            ("PREEMPT_BUILD PREEMPT_RT", &["6.1 preempt", "6.1 preempt_rt"]),
            ("SMP ARM64 MODULE_UNLOAD", &["6.1 SMP mod_unload aarch64"]),
        ] {
            let config = options.split(' ').map(|option| (option.to_owned(), "y".to_owned())).collect();
            assert_eq!(vermagics_of("6.1", &config), expected, "{options}");
        }
    }

    #[test]
    fn what_is_missing_stays_unknown_and_what_is_wrong_is_refused() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let dir = temp.path().join("6.1");
        assert!(matches!(Kernel::read(&dir), Err(KernelError::NoDirectory { .. })));
        assert!(matches!(Kernel::read(Path::new("/")), Err(KernelError::Name { .. })));
        fs::create_dir(&dir).expect("made");
        assert!(matches!(Kernel::read(&dir), Err(KernelError::Empty { .. })));
        write(&dir, "modules.builtin", "kernel/x.ko\n");
        let kernel = Kernel::read(&dir).expect("read");
        assert!(kernel.vermagic.is_none() && kernel.modules.is_none() && kernel.has_option("SMP").is_none());
        write(&dir, "Module.symvers", "junk\n");
        let told = Kernel::read(&dir).expect_err("refused").to_string();
        assert!(told.contains("Module.symvers: line 1, column 1"), "{told}");
    }
}
