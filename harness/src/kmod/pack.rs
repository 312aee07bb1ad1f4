//! Packing modules as a driver image: `/opt/lib/modules/<kernel release>/` with the indexes of `depmod`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::build::files_below;
use super::layer::{self, Entry, Files};
use super::programs;
use super::{
    BuildRoot, BuiltModule, Error, ModuleInfo, ModuleKey, Variant, check_kernel_release, compression, oci, sandbox,
};

/// Where a driver image has its modules; a directory for each kernel release is below.
const MODULES: &str = "opt/lib/modules";

/// What a driver image is to hold.
#[derive(Debug, Clone, Default)]
pub struct PackSpec {
    /// The kernel that the image is for.
    pub kernel_release: String,
    /// The modules.
    pub modules: Vec<BuiltModule>,
    /// Further files, such as firmware, by absolute path in the image.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What lies below it.
    pub base: Base,
    /// Stand-ins for modules of the node that its own depend on, by their path below `/lib/modules/RELEASE`: the
    /// image finds the node's through a link `host` beside its modules, and the indexes name them.
    pub host_modules: BTreeMap<String, BuiltModule>,
    /// A fault to put into it.
    pub variant: Option<Variant>,
    /// What signs its modules; none for modules without a signature.
    pub signed_by: Option<Arc<ModuleKey>>,
    /// Bytes that do not compress, for an image whose pull takes its time.
    pub filler_bytes: u64,
    /// What its config says.
    pub config: ImageConfig,
}

/// What an image's config says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Whether it says that it is for another processor than its kernel's.
    pub other_architecture: bool,
    /// The user that its processes run as; none for root.
    pub user: Option<String>,
    /// What runs in a container of it, in front of the container's own words.
    pub entrypoint: Option<Vec<String>>,
}

/// What a driver image is based on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Base {
    /// Nothing: no shell, no `cp`, no user database.
    #[default]
    Scratch,
    /// A shell, and a few programs such as `cp` and `mkdir`.
    Shell,
    /// A worker: a shell, `modprobe`, and this script as `/usr/local/bin/worker`; it may have no modules.
    Worker(Vec<u8>),
}

/// A driver image on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OciLayout {
    /// The OCI image layout directory, with its `index.json`.
    pub dir: PathBuf,
    /// `sha256:…` of the manifest: what a registry answers to a request for the tag.
    pub manifest_digest: String,
    /// The `srcversion` of each module in the image, where it has one.
    pub modules: BTreeMap<String, Option<String>>,
    /// The size of its blobs, as they are pulled.
    pub bytes: u64,
}

/// Packs an image into `dest_dir`, which is made, or is there and empty. The build root brings `depmod`.
pub fn pack_image(build_root: &BuildRoot, dest_dir: &Path, spec: &PackSpec) -> Result<OciLayout, Error> {
    check_kernel_release(&spec.kernel_release)?;
    if spec.modules.is_empty() && !matches!(spec.base, Base::Worker(_)) {
        return Err(Error::Content("it has no modules".to_owned()));
    }
    fs::create_dir_all(dest_dir).map_err(Error::io("create", dest_dir))?;
    if fs::read_dir(dest_dir).map_err(Error::io("list", dest_dir))?.next().is_some() {
        return Err(Error::Content(format!("{} is not empty: choose another directory", dest_dir.display())));
    }
    let (mut files, modules) = stage(build_root, dest_dir, spec)?;
    files.extend(programs::of(build_root, &spec.base)?);
    for (path, contents) in &spec.files {
        if files.insert(path.clone(), Entry::File(contents.clone())).is_some() {
            return Err(Error::Content(format!("{path} is made by packing: leave it out of the further files")));
        }
    }
    if spec.filler_bytes > 0 {
        files.insert("/filler".to_owned(), Entry::File(filler(spec.filler_bytes)));
    }
    let mut layer = layer::build(&files)?;
    if spec.variant == Some(Variant::TruncatedLayer) {
        layer.bytes.truncate(layer.bytes.len() / 2);
    }
    let manifest_digest = oci::write(dest_dir, &layer, &spec.config, build_root.architecture)?;
    let bytes = layer.bytes.len() as u64;
    Ok(OciLayout { dir: dest_dir.to_owned(), manifest_digest, modules, bytes })
}

/// The same bytes for the same length.
fn filler(length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    fastrand::Rng::with_seed(length).fill(&mut bytes);
    bytes
}

type Modules = BTreeMap<String, Option<String>>;

/// The link beside an image's modules to the node's own.
const HOST: &str = "host";

/// Lays the modules out in a directory of their own, indexes them, and reads all of it back.
fn stage(build_root: &BuildRoot, beside: &Path, spec: &PackSpec) -> Result<(Files, Modules), Error> {
    if spec.modules.is_empty() {
        return Ok((Files::new(), Modules::new()));
    }
    let stage = tempfile::Builder::new().prefix(".stage-").tempdir_in(beside).map_err(Error::io("create", beside))?;
    let directory =
        spec.variant.map_or(spec.kernel_release.clone(), |variant| variant.kernel_directory(&spec.kernel_release));
    let modules_dir = stage.path().join(MODULES).join(&directory);
    let extra = modules_dir.join("extra");
    fs::create_dir_all(&extra).map_err(Error::io("create", &extra))?;
    let mut modules = Modules::new();
    let mut order = String::new();
    for module in &spec.modules {
        let name = &module.info.name;
        let (bytes, srcversion) = contents(module, spec.variant)?;
        let bytes = match &spec.signed_by {
            Some(key) => key.sign(bytes)?,
            None => bytes,
        };
        if modules.insert(name.clone(), srcversion).is_some() {
            return Err(Error::Content(format!("two of its modules are named {name}")));
        }
        let path = extra.join(format!("{name}.ko"));
        fs::write(&path, bytes).map_err(Error::io("write", &path))?;
    }
    for name in modules.keys() {
        order.push_str(&format!("extra/{name}.ko\n"));
    }
    let host = modules_dir.join(HOST);
    for (path, module) in &spec.host_modules {
        let path = host.join(path);
        let dir = path.parent().unwrap_or(&host);
        fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let bytes = fs::read(&module.path).map_err(Error::io("read", &module.path))?;
        // As its name says, or `depmod` can't read it.
        let bytes = if path.extension().is_some_and(|end| end == "xz") { compression::xz(&bytes) } else { Ok(bytes) };
        fs::write(&path, bytes.map_err(Error::io("compress", &module.path))?).map_err(Error::io("write", &path))?;
    }
    if spec.variant.is_none_or(Variant::has_indexes) {
        index(build_root, stage.path(), &modules_dir, &directory, &order)?;
    }
    if let Some(variant @ Variant::MissingDependency) = spec.variant {
        let depended =
            spec.modules.iter().flat_map(|module| &module.info.depends).find(|name| modules.contains_key(*name));
        let name = depended.ok_or_else(|| Error::Variant {
            variant,
            module: modules.keys().cloned().collect::<Vec<_>>().join(", "),
            reason: "none of them depends on another one".to_owned(),
        })?;
        let path = extra.join(format!("{name}.ko"));
        fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    let has_host = host.is_dir();
    if has_host {
        // They were there for the indexes only.
        fs::remove_dir_all(&host).map_err(Error::io("remove", &host))?;
    }
    let mut files = read_back(stage.path())?;
    if has_host {
        let link = Entry::Link(format!("/lib/modules/{directory}"));
        files.insert(format!("/{MODULES}/{directory}/{HOST}"), link);
    }
    Ok((files, modules))
}

/// The module's file as the image has it, and its srcversion.
fn contents(module: &BuiltModule, variant: Option<Variant>) -> Result<(Vec<u8>, Option<String>), Error> {
    let bytes = fs::read(&module.path).map_err(Error::io("read the module", &module.path))?;
    let Some(variant) = variant else { return Ok((bytes, module.info.srcversion.clone())) };
    let failed = |reason| Error::Variant { variant, module: module.info.name.clone(), reason };
    let altered = variant.alter_module(bytes).map_err(failed)?;
    let info = ModuleInfo::parse(&altered).map_err(|error| failed(error.to_string()))?;
    if info.name != module.info.name {
        return Err(failed("altering it changed its name".to_owned()));
    }
    Ok((altered, info.srcversion))
}

/// Runs `depmod` as a driver image's build does.
fn index(build_root: &BuildRoot, stage: &Path, modules_dir: &Path, directory: &str, order: &str) -> Result<(), Error> {
    // Without this list, the indexes are in the order of the file system; an image has no such file.
    let order_path = modules_dir.join("modules.order");
    fs::write(&order_path, order).map_err(Error::io("write", &order_path))?;
    depmod(build_root, stage, "/build/opt", directory)?;
    fs::remove_file(&order_path).map_err(Error::io("remove", &order_path))
}

/// Makes the indexes of all modules in the `lib/modules/RELEASE` of a tree anew, as a node image's build does.
pub fn index_modules(build_root: &BuildRoot, tree: &Path) -> Result<(), Error> {
    depmod(build_root, tree, "/build", &build_root.kernel_release)
}

fn depmod(build_root: &BuildRoot, work: &Path, base: &str, directory: &str) -> Result<(), Error> {
    let mut command = build_root.command(work);
    command.args(["depmod", "-b", base, directory]);
    let mut complaints = Vec::new();
    sandbox::run(command, &mut |line| {
        // A driver image holds no list of what is built into the kernel.
        if !line.is_empty() && !line.contains("could not open modules.builtin") {
            complaints.push(line.to_owned());
        }
    })
    .map_err(|error| Error::Depmod(error.to_string()))?;
    if complaints.is_empty() { Ok(()) } else { Err(Error::Depmod(complaints.join("; "))) }
}

fn read_back(stage: &Path) -> Result<Files, Error> {
    let mut files = Files::new();
    for path in files_below(stage)? {
        let relative = path.strip_prefix(stage).expect("it was found below it").to_string_lossy().into_owned();
        files.insert(format!("/{relative}"), Entry::File(fs::read(&path).map_err(Error::io("read", &path))?));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;
    use crate::architecture::Architecture;

    fn module(dir: &Path) -> BuiltModule {
        let path = dir.join("thing-one.ko");
        fs::write(&path, fixture::module()).expect("written");
        BuiltModule::open(&path).expect("a module")
    }

    /// Without indexes, packing needs no build root.
    fn without_indexes(modules: Vec<BuiltModule>) -> PackSpec {
        let variant = Some(Variant::MissingModulesDep);
        PackSpec { kernel_release: "6.1.0".to_owned(), modules, variant, ..PackSpec::default() }
    }

    fn nowhere() -> BuildRoot {
        BuildRoot::of_one_tree("/nowhere".into(), Architecture::X86_64, "6.1.0", String::new())
    }

    #[test]
    fn the_same_content_has_the_same_digest_wherever_it_is_packed() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut spec = without_indexes(vec![module(dir.path())]);
        spec.files.insert("/firmware/fw.bin".to_owned(), b"fw".to_vec());
        let one = pack_image(&nowhere(), &dir.path().join("one"), &spec).expect("packed");
        let two = pack_image(&nowhere(), &dir.path().join("two"), &spec).expect("packed");
        assert_eq!(one.manifest_digest, two.manifest_digest);
        assert_eq!(one.modules, BTreeMap::from([("thing_one".to_owned(), Some("ABC".to_owned()))]));
        spec.files.insert("/firmware/fw.bin".to_owned(), b"other".to_vec());
        let three = pack_image(&nowhere(), &dir.path().join("three"), &spec).expect("packed");
        assert_ne!(one.manifest_digest, three.manifest_digest);
        let left: Vec<_> = fs::read_dir(dir.path().join("one")).expect("listed").collect();
        assert_eq!(left.len(), 3, "blobs, index.json and oci-layout: {left:?}");
    }

    #[test]
    fn contradictory_content_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let module = module(dir.path());
        let refused = |spec: &PackSpec| {
            let dest = tempfile::tempdir().expect("temporary directory");
            pack_image(&nowhere(), dest.path(), spec).expect_err("refused").to_string()
        };
        assert!(refused(&without_indexes(vec![])).contains("no modules"));
        assert!(refused(&without_indexes(vec![module.clone(), module.clone()])).contains("thing_one"));
        let mut spec = without_indexes(vec![module]);
        spec.files.insert("/opt/lib/modules/6.1.0/extra/thing_one.ko".to_owned(), Vec::new());
        assert!(refused(&spec).contains("made by packing"));
        spec.files.clear();
        let text = pack_image(&nowhere(), dir.path(), &spec).expect_err("not empty").to_string();
        assert!(text.contains("is not empty"), "{text}");
    }
}
