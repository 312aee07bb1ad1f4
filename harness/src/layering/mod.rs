//! Node images with kernel modules layered into them, as an image build on top of a node image makes them: in the root
//! file system and in the initramfs, with the indexes of both.
//!
//! The disk is changed as a file: nothing boots, and nothing is mounted. Its first boot is still to come.

mod archive;
mod file_system;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cache::{self, Cache};
use crate::kmod::{self, BuildRoot, BuiltModule};
use crate::node::NodeImage;
use crate::process;

use archive::Archive;
use file_system::{FileSystem, program, run};

const CACHE_KIND: &str = "layered-image";
/// Goes up when the same layer makes another image.
const FORMAT: &[u8] = b"day1 layered image 1";
/// The disk, once raw and once as it is kept.
const NEED_MIB: u64 = 3072;
const DISK: &str = "disk.qcow2";
const DIGEST: &str = "digest.txt";
const RAW_DISK: &str = "disk.raw";
/// Where out-of-tree modules lie below a kernel's directory.
const EXTRA: &str = "extra";

/// What is layered into a node image.
#[derive(Debug, Clone)]
pub struct Layer<'l> {
    /// The modules, built for the build root's kernel.
    pub modules: &'l [BuiltModule],
    /// In-tree modules that the layer takes out, with `_`.
    pub without: &'l BTreeSet<String>,
}

/// Why there is no layered image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A host program failed.
    #[error("cannot layer modules into the node image: {0}")]
    Program(#[from] process::Error),
    /// The modules can't be indexed.
    #[error("cannot layer modules into the node image: {0}")]
    Modules(#[from] kmod::Error),
    /// The image's disk is not laid out as those of `vm-images/debian` are.
    #[error("cannot layer modules into the node image: its disk is another than vm-images/debian makes: {0}")]
    Disk(String),
    /// A module would not work where it is layered.
    #[error("cannot layer module {module} into the node image: it needs {needs}, which the {place} does not have")]
    Lacks {
        /// The module.
        module: String,
        /// What it needs.
        needs: String,
        /// Where that is missing.
        place: &'static str,
    },
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
}

impl Error {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// A node image of the recipe in `vm-images/debian` with a layer on it, for one of its kernels, that of the build root;
/// made first where the cache has none (about 20 s).
pub fn ensure(
    cache: &Cache,
    image: &NodeImage,
    layer: &Layer<'_>,
    build_root: &BuildRoot,
    tell: &dyn Fn(&str),
) -> Result<NodeImage, Error> {
    let release = &build_root.kernel_release;
    let key = key(image, layer, release)?;
    let dir = cache.entry(CACHE_KIND, &key, NEED_MIB, |dir| {
        tell(&format!("layering modules into {} for kernel {release} (once)", image.name()));
        let work = dir.join("work");
        fs::create_dir(&work).map_err(Error::io("create", &work))?;
        Workbench { dir: &work, layer, build_root }.make(&image.disk.path)?;
        let disk = dir.join(DISK);
        fs::rename(work.join(DISK), &disk).map_err(Error::io("move", &disk))?;
        fs::remove_dir_all(&work).map_err(Error::io("remove", &work))?;
        // As of the image below: what was forked from a node of one disk must not go on with another one.
        let digest = cache::key([key.as_bytes(), cache::file_digest(&disk)?.as_bytes()]);
        let path = dir.join(DIGEST);
        fs::write(&path, digest).map_err(Error::io("write", &path))
    })?;
    let path = dir.join(DIGEST);
    let digest = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    Ok(image.on_disk(dir.join(DISK), digest))
}

fn key(image: &NodeImage, layer: &Layer<'_>, release: &str) -> Result<String, Error> {
    let mut parts = vec![FORMAT.to_vec(), image.disk.digest.clone().into_bytes(), release.as_bytes().to_vec()];
    for module in layer.modules {
        parts.push(module.info.name.clone().into_bytes());
        parts.push(fs::read(&module.path).map_err(Error::io("read", &module.path))?);
    }
    parts.push(b"without".to_vec());
    parts.extend(layer.without.iter().map(|name| name.clone().into_bytes()));
    Ok(cache::key(parts.iter().map(Vec::as_slice)))
}

/// Where one image is made.
struct Workbench<'w> {
    dir: &'w Path,
    layer: &'w Layer<'w>,
    build_root: &'w BuildRoot,
}

impl Workbench<'_> {
    fn make(&self, base: &Path) -> Result<(), Error> {
        let (dir, release) = (self.dir, &self.build_root.kernel_release);
        run(program(dir, "qemu-img").args(["convert", "-f", "qcow2", "-O", "raw"]).arg(base).arg(RAW_DISK))?;
        self.change_root(&FileSystem::of_partition(dir, RAW_DISK, "root")?, &format!("/usr/lib/modules/{release}"))?;
        self.change_boot(&FileSystem::of_partition(dir, RAW_DISK, "boot")?, &format!("/initrd.img-{release}"))?;
        run(program(dir, "qemu-img").args(["convert", "-f", "raw", "-O", "qcow2", RAW_DISK, DISK]))?;
        let disk = dir.join(DISK);
        // Nodes write to overlays; nothing may ever change the base under them.
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o444)).map_err(Error::io("protect", &disk))
    }

    /// The modules in the root file system, and their indexes.
    fn change_root(&self, root: &FileSystem<'_>, modules: &str) -> Result<(), Error> {
        let tree = self.tree("root")?;
        root.copy_tree_out(modules, &relative("root"))?;
        let before = files_below(&tree)?;
        self.layer(&tree, "root file system")?;
        self.index("root")?;
        let after = files_below(&tree)?;
        let gone = before.iter().filter(|path| !after.contains(*path));
        let is_index = |path: &&String| !path.contains('/');
        let changed = after.iter().filter(|path| is_index(path) || !before.contains(*path));
        let mut commands = String::new();
        // Writing to a string can't fail.
        let _ = writeln!(commands, "ea_get -f label-index \"{modules}/modules.dep\" security.selinux");
        let _ = writeln!(commands, "ea_get -f label-module \"{modules}/kernel\" security.selinux");
        for path in gone.chain(before.iter().filter(|path| is_index(path) && after.contains(*path))) {
            let _ = writeln!(commands, "rm \"{modules}/{path}\"");
        }
        if !self.layer.modules.is_empty() {
            let _ = writeln!(commands, "mkdir \"{modules}/{EXTRA}\"");
            let _ = writeln!(commands, "ea_set -f label-module \"{modules}/{EXTRA}\" security.selinux");
        }
        for path in changed {
            let label = if is_index(&path) { "label-index" } else { "label-module" };
            let from = format!("{}/{}/{path}", relative("root"), self.build_root.kernel_release);
            write_file(&mut commands, &from, &format!("{modules}/{path}"), "0100644", label);
        }
        root.change(&commands)
    }

    /// The initramfs, whose modules and indexes are its own.
    fn change_boot(&self, boot: &FileSystem<'_>, initramfs: &str) -> Result<(), Error> {
        const PACKED: &str = "initramfs.zst";
        const PLAIN: &str = "initramfs.cpio";
        boot.copy_out(initramfs, PACKED)?;
        run(program(self.dir, "zstd").args(["--quiet", "--force", "--decompress", PACKED, "-o", PLAIN]))?;
        let path = self.dir.join(PLAIN);
        let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
        let archive = Archive::read(&bytes).map_err(|why| Error::Disk(format!("{initramfs}: {why}")))?;
        let modules = format!("usr/lib/modules/{}", self.build_root.kernel_release);
        let tree = self.tree("initramfs")?;
        for (path, contents) in archive.files(&modules) {
            write(&tree.join(path), contents)?;
        }
        self.layer(&tree, "initramfs")?;
        self.index("initramfs")?;
        let mut files = BTreeMap::new();
        for path in files_below(&tree)? {
            let contents = fs::read(tree.join(&path)).map_err(Error::io("read", &tree.join(&path)))?;
            files.insert(path, contents);
        }
        fs::write(&path, archive.with_files(&modules, &files)).map_err(Error::io("write", &path))?;
        // As the image below is packed.
        run(program(self.dir, "zstd").args(["-9", "--quiet", "--force", "-T0", PLAIN, "-o", PACKED]))?;
        let mut commands = format!("ea_get -f label-boot \"{initramfs}\" security.selinux\nrm \"{initramfs}\"\n");
        write_file(&mut commands, PACKED, initramfs, "0100600", "label-boot");
        boot.change(&commands)
    }

    /// The directory of the kernel's modules in one of the trees that `depmod` indexes.
    fn tree(&self, name: &str) -> Result<PathBuf, Error> {
        let parent = self.dir.join(relative(name));
        fs::create_dir_all(&parent).map_err(Error::io("create", &parent))?;
        Ok(parent.join(&self.build_root.kernel_release))
    }

    fn layer(&self, tree: &Path, place: &'static str) -> Result<(), Error> {
        for path in files_below(tree)? {
            if module_name(&path).is_some_and(|name| self.layer.without.contains(&name)) {
                let path = tree.join(path);
                fs::remove_file(&path).map_err(Error::io("remove", &path))?;
            }
        }
        for module in self.layer.modules {
            let contents = fs::read(&module.path).map_err(Error::io("read", &module.path))?;
            write(&tree.join(EXTRA).join(format!("{}.ko", module.info.name)), &contents)?;
        }
        let there: BTreeSet<String> = files_below(tree)?.iter().filter_map(|path| module_name(path)).collect();
        for info in self.layer.modules.iter().map(|module| &module.info) {
            let module = info.depends.iter().find(|name| !there.contains(*name)).map(|name| format!("module {name}"));
            // Firmware stands elsewhere, and an image build has to bring it there.
            let needs = module.or_else(|| info.firmware.first().map(|file| format!("firmware {file}")));
            if let Some(needs) = needs {
                return Err(Error::Lacks { module: info.name.clone(), needs, place });
            }
        }
        Ok(())
    }

    fn index(&self, tree: &str) -> Result<(), Error> {
        Ok(kmod::index_modules(self.build_root, &self.dir.join(tree))?)
    }
}

/// Below a tree, as `depmod` wants it.
fn relative(tree: &str) -> String {
    format!("{tree}/lib/modules")
}

fn write_file(commands: &mut String, from: &str, to: &str, mode: &str, label: &str) {
    // Writing to a string can't fail.
    let _ = writeln!(commands, "write \"{from}\" \"{to}\"");
    let _ = writeln!(commands, "set_inode_field \"{to}\" mode {mode}");
    let _ = writeln!(commands, "ea_set -f {label} \"{to}\" security.selinux");
}

/// Writes a file, and the directories that it stands in.
fn write(path: &Path, contents: &[u8]) -> Result<(), Error> {
    let dir = path.parent().unwrap_or(path);
    fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    fs::write(path, contents).map_err(Error::io("write", path))
}

/// The paths of all files below a directory.
fn files_below(dir: &Path) -> Result<BTreeSet<String>, Error> {
    let files = crate::node::files_below(dir).map_err(|error| Error::Disk(error.to_string()))?;
    let relative = files.iter().filter_map(|path| path.strip_prefix(dir).ok());
    Ok(relative.map(|path| path.to_string_lossy().into_owned()).collect())
}

/// The name under which the kernel knows a module's file; none for another file.
pub fn module_name(path: &str) -> Option<String> {
    let file = path.rsplit('/').next()?;
    let name = ["", ".xz", ".zst", ".gz"].iter().find_map(|end| file.strip_suffix(&format!(".ko{end}")))?;
    Some(name.replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;
    use crate::kmod::fixture::Module;

    /// Layers a module, made with some lines about itself, into a tree that has e1000 and crc8.
    fn layered(info: &[(&str, &str)], without: &[&str]) -> Result<BTreeSet<String>, Error> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let tree = dir.path().join("tree");
        for name in ["kernel/drivers/e1000.ko.xz", "kernel/lib/crc8.ko.xz", "modules.dep"] {
            write(&tree.join(name), b"").expect("written");
        }
        let made = info.iter().fold(Module::new("day1_nic"), |made, (field, value)| made.with_info(field, value));
        let path = dir.path().join("day1_nic.ko");
        fs::write(&path, made.build()).expect("written");
        let modules = [BuiltModule::open(&path).expect("a module")];
        let without = without.iter().map(|name| (*name).to_owned()).collect();
        let build_root = BuildRoot::of_one_tree("/nowhere".into(), Architecture::X86_64, "6.1.0", String::new());
        let layer = Layer { modules: &modules, without: &without };
        Workbench { dir: dir.path(), layer: &layer, build_root: &build_root }.layer(&tree, "initramfs")?;
        files_below(&tree)
    }

    #[test]
    fn modules_come_in_and_those_taken_out_are_gone() {
        let files = layered(&[("depends", "crc8")], &["e1000"]).expect("layered");
        assert_eq!(
            files.into_iter().collect::<Vec<_>>(),
            ["extra/day1_nic.ko", "kernel/lib/crc8.ko.xz", "modules.dep"]
        );
    }

    #[test]
    fn a_module_that_would_not_work_there_is_refused() {
        let refused = |info, without: &[&str]| layered(info, without).expect_err("refused").to_string();
        assert!(refused(&[("depends", "crc8")], &["crc8"]).contains("needs module crc8, which the initramfs"));
        assert!(refused(&[("firmware", "day1/nic.bin")], &[]).contains("needs firmware day1/nic.bin"));
    }

    #[test]
    fn a_module_is_known_by_its_file() {
        assert_eq!(module_name("kernel/drivers/i2c/i2c-piix4.ko.xz").as_deref(), Some("i2c_piix4"));
        assert_eq!(module_name("extra/day1_nic.ko").as_deref(), Some("day1_nic"));
        assert_eq!(module_name("modules.dep"), None);
    }
}
