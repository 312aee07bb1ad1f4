//! Compiling module sources in a build root.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{BuildRoot, Error, ModuleInfo, sandbox};
use crate::cache::{self, Cache};

/// Goes up when modules built by an older version can't be used any more.
const VERSION: &str = "1";
const NEED_MIB: u64 = 64;
/// What Kbuild leaves in a source directory; it is no source.
const PRODUCTS: &[&str] = &["o", "ko", "mod", "a", "order", "symvers", "cmd"];

/// Modules built for one kernel.
#[derive(Debug, Clone)]
pub struct BuiltModules {
    /// The kernel that they are for.
    pub kernel_release: String,
    /// The modules by name.
    pub modules: BTreeMap<String, BuiltModule>,
}

/// A module file and what it says of itself.
#[derive(Debug, Clone)]
pub struct BuiltModule {
    /// The `.ko` file, read-only by convention: it lies in the cache.
    pub path: PathBuf,
    /// What it says of itself.
    pub info: ModuleInfo,
}

impl BuiltModule {
    /// A module file from elsewhere.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let info = ModuleInfo::read(path)?;
        Ok(Self { path: path.to_owned(), info })
    }
}

/// Builds the modules of one or more source directories, each with a `Kbuild` or a `Makefile`; a directory may use
/// symbols that an earlier one exports. Cached by the content of the sources and the build root (2 to 3 s each).
pub fn build_modules(
    cache: &Cache,
    build_root: &BuildRoot,
    sources: &[&Path],
    progress: &dyn Fn(&str),
) -> Result<BuiltModules, Error> {
    let sources = sources.iter().map(|dir| Source::read(dir)).collect::<Result<Vec<_>, _>>()?;
    check_names(&sources)?;
    let key = key(build_root, &sources);
    let entry = cache.entry("kmod", &key, NEED_MIB, |partial| make(partial, build_root, &sources, progress))?;
    let mut modules = BTreeMap::new();
    for path in files_below(&entry)? {
        let module = BuiltModule::open(&path)?;
        let name = module.info.name.clone();
        if modules.insert(name.clone(), module).is_some() {
            return Err(Error::Content(format!("two of the sources build a module named {name}: rename one")));
        }
    }
    Ok(BuiltModules { kernel_release: build_root.kernel_release.clone(), modules })
}

/// A source directory, with its files in the order of their names.
struct Source {
    dir: PathBuf,
    name: String,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Source {
    fn read(dir: &Path) -> Result<Self, Error> {
        let dir = dir.canonicalize().map_err(Error::io("find the module source", dir))?;
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let no_source = |reason: &str| Error::NoSource { path: dir.clone(), reason: reason.to_owned() };
        // The name becomes a word in make's command line.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) {
            return Err(no_source("its name has other characters than letters, digits, dots, hyphens and underscores"));
        }
        let mut files = Vec::new();
        for path in files_below(&dir)?.into_iter().filter(|path| is_source(path)) {
            let contents = fs::read(&path).map_err(Error::io("read", &path))?;
            let relative = path.strip_prefix(&dir).expect("it was found below it").to_owned();
            files.push((relative, contents));
        }
        if !files.iter().any(|(path, _)| path == Path::new("Kbuild") || path == Path::new("Makefile")) {
            return Err(no_source("it has neither a Kbuild nor a Makefile"));
        }
        Ok(Self { dir, name, files })
    }

    fn copy_into(&self, target: &Path) -> Result<(), Error> {
        for (relative, contents) in &self.files {
            let path = target.join(relative);
            let parent = path.parent().expect("it is below the target");
            fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
            fs::write(&path, contents).map_err(Error::io("write", &path))?;
        }
        Ok(())
    }
}

fn is_source(path: &Path) -> bool {
    let hidden = path.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    let product = path.extension().is_some_and(|end| PRODUCTS.iter().any(|product| end == *product))
        || path.to_string_lossy().ends_with(".mod.c");
    !hidden && !product
}

fn check_names(sources: &[Source]) -> Result<(), Error> {
    for (index, source) in sources.iter().enumerate() {
        if sources[..index].iter().any(|earlier| earlier.name == source.name) {
            let reason = format!("another source directory is named {} as well: rename one", source.name);
            return Err(Error::NoSource { path: source.dir.clone(), reason });
        }
    }
    Ok(())
}

fn key(build_root: &BuildRoot, sources: &[Source]) -> String {
    let mut parts: Vec<Vec<u8>> = vec![VERSION.into(), build_root.key.clone().into()];
    for source in sources {
        parts.push(format!("{} {}", source.name, source.files.len()).into());
        for (path, contents) in &source.files {
            parts.push(path.to_string_lossy().into_owned().into());
            parts.push(contents.clone());
        }
    }
    cache::key(parts.iter().map(Vec::as_slice))
}

fn make(partial: &Path, build_root: &BuildRoot, sources: &[Source], progress: &dyn Fn(&str)) -> Result<(), Error> {
    let work = partial.join("work");
    for source in sources {
        source.copy_into(&work.join(&source.name))?;
    }
    for (index, source) in sources.iter().enumerate() {
        progress(&format!("building {} for kernel {}", source.name, build_root.kernel_release));
        compile(&work, build_root, &sources[..index], source)?;
        let target = partial.join(&source.name);
        fs::create_dir_all(&target).map_err(Error::io("create", &target))?;
        keep_modules(&work.join(&source.name), &target, source)?;
    }
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))
}

fn compile(work: &Path, build_root: &BuildRoot, earlier: &[Source], source: &Source) -> Result<(), Error> {
    let failed = |error| Error::Build {
        path: source.dir.clone(),
        kernel_release: build_root.kernel_release.clone(),
        source: Box::new(error),
    };
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let symbols: Vec<String> = earlier.iter().map(|source| format!("/build/{}/Module.symvers", source.name)).collect();
    let mut make = build_root.command(work);
    make.arg("make")
        .arg(format!("-j{jobs}"))
        .arg("-C")
        .arg(format!("/lib/modules/{}/build", build_root.kernel_release))
        .arg(format!("M=/build/{}", source.name))
        .arg(format!("KBUILD_EXTRA_SYMBOLS={}", symbols.join(" ")))
        .arg(format!("ARCH={}", build_root.architecture.kernel_name()))
        .arg(format!("CROSS_COMPILE={}", build_root.tool_prefix()))
        .arg("modules");
    sandbox::run(make, &mut |_| ()).map_err(failed)?;
    let mut strip = build_root.command(work);
    // As `make modules_install INSTALL_MOD_STRIP=1` does; nine tenths of a module are its debug information.
    strip.args([
        "find",
        &format!("/build/{}", source.name),
        "-name",
        "*.ko",
        "-exec",
        &format!("{}strip", build_root.tool_prefix()),
        "--strip-debug",
        "{}",
        "+",
    ]);
    sandbox::run(strip, &mut |_| ()).map_err(failed)
}

fn keep_modules(built: &Path, target: &Path, source: &Source) -> Result<(), Error> {
    let modules: Vec<PathBuf> =
        files_below(built)?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "ko")).collect();
    if modules.is_empty() {
        let reason = "its Kbuild builds no module: `obj-m := NAME.o` is missing".to_owned();
        return Err(Error::NoSource { path: source.dir.clone(), reason });
    }
    for module in modules {
        let kept = target.join(module.file_name().expect("it is a file"));
        fs::rename(&module, &kept).map_err(Error::io("move", &module))?;
    }
    Ok(())
}

/// All regular files below a directory, sorted; links are not followed.
pub(super) fn files_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).map_err(Error::io("list", &dir))? {
            let entry = entry.map_err(Error::io("list", &dir))?;
            let kind = entry.file_type().map_err(Error::io("examine", entry.path()))?;
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::architecture::Architecture;

    fn root() -> BuildRoot {
        BuildRoot::of_one_tree("/nowhere".into(), Architecture::X86_64, "6.1.0", "key".into())
    }

    #[test]
    fn products_of_an_earlier_build_do_not_change_the_key() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let source = dir.path().join("thing");
        fs::create_dir(&source).expect("created");
        fs::write(source.join("Kbuild"), "obj-m := thing.o\n").expect("written");
        fs::write(source.join("thing.c"), "int a;\n").expect("written");
        let before = key(&root(), &[Source::read(&source).expect("read")]);
        for product in ["thing.o", ".thing.o.cmd", "thing.mod.c", "Module.symvers", "modules.order", "thing.ko"] {
            fs::write(source.join(product), "x").expect("written");
        }
        assert_eq!(before, key(&root(), &[Source::read(&source).expect("read")]));
        fs::write(source.join("thing.c"), "int b;\n").expect("written");
        assert_ne!(before, key(&root(), &[Source::read(&source).expect("read")]));
    }

    #[test]
    fn a_directory_without_a_kbuild_file_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let text = Source::read(dir.path()).map(|_| ()).expect_err("no source").to_string();
        assert!(text.contains("is no module source"), "{text}");
        let text = Source::read(&dir.path().join("gone")).map(|_| ()).expect_err("not there").to_string();
        assert!(text.contains("gone") && text.contains("No such file"), "{text}");
    }
}
