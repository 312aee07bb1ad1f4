//! The catalogue: `vm-images/NAME.yaml` for each node image, and those that were imported into the cache.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::debian::Debian;
use super::file::DiskFile;
use super::import::imported_dir;
use super::stream::CoreosStream;
use crate::architecture::Architecture;
use crate::cache::Cache;

/// All node images that can be asked for by name.
#[derive(Debug, Clone)]
pub struct Catalogue {
    dir: PathBuf,
    definitions: BTreeMap<String, Definition>,
}

/// Where one node image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name: the file's, without `.yaml`.
    pub name: String,
    /// The file that it was read from.
    pub file: PathBuf,
    /// What the file says.
    pub source: Source,
}

/// The kinds of node images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Made from Debian packages.
    Debian(Debian),
    /// Published in a stream of CoreOS images.
    CoreosStream(CoreosStream),
    /// A disk's file.
    File(DiskFile),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    Debian,
    CoreosStream,
    File,
}

#[derive(Deserialize)]
struct Head {
    kind: Kind,
}

impl Source {
    /// The kind's name, as definitions have it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Debian(_) => "debian",
            Self::CoreosStream(_) => "coreos-stream",
            Self::File(_) => "file",
        }
    }

    /// The processor that it is for.
    pub fn architecture(&self) -> Architecture {
        match self {
            Self::Debian(debian) => debian.architecture,
            Self::CoreosStream(stream) => stream.architecture,
            Self::File(file) => file.architecture,
        }
    }
}

/// Where a definition is wrong, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line and column, both from 1, where they are known.
    pub place: Option<(usize, usize)>,
    /// What is wrong.
    pub text: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some((line, column)) = self.place {
            write!(f, "{line}:{column}: ")?;
        }
        f.write_str(&self.text)
    }
}

/// Why the catalogue can't be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file can't be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A definition is wrong.
    #[error("{}:{problem}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: Problem,
    },
    /// There is none of that name.
    #[error("there is no node image {name:?} in {}; there {}", dir.display(), known(names))]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The catalogue's directory.
        dir: PathBuf,
        /// The names that there are.
        names: Vec<String>,
    },
}

fn known(names: &[String]) -> String {
    match names {
        [] => "are none at all".to_owned(),
        [one] => format!("is {one}"),
        many => format!("are {}", many.join(", ")),
    }
}

impl Catalogue {
    /// Reads every `*.yaml` of a directory (the repository's `vm-images`), and of another one if it is there, whose
    /// names come second.
    pub fn load(dir: &Path, imported: Option<&Path>) -> Result<Self, Error> {
        let mut definitions = BTreeMap::new();
        for dir in imported.filter(|dir| dir.is_dir()).into_iter().chain([dir]) {
            for file in entries(dir)? {
                let stem = file.file_stem().and_then(|stem| stem.to_str());
                if let (Some(name), Some("yaml")) = (stem, file.extension().and_then(|extension| extension.to_str())) {
                    definitions.insert(name.to_owned(), Definition::read(name, &file)?);
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), definitions })
    }

    /// The definitions of a directory, and those that were imported into a cache.
    pub fn open(dir: &Path, cache: &Cache) -> Result<Self, Error> {
        Self::load(dir, Some(&imported_dir(cache)))
    }

    /// All definitions, sorted by name.
    pub fn definitions(&self) -> impl Iterator<Item = &Definition> {
        self.definitions.values()
    }

    /// The definition of a name.
    pub fn get(&self, name: &str) -> Result<&Definition, Error> {
        self.definitions.get(name).ok_or_else(|| Error::Unknown {
            name: name.to_owned(),
            dir: self.dir.clone(),
            names: self.definitions.keys().cloned().collect(),
        })
    }
}

impl Definition {
    pub(super) fn read(name: &str, file: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(file).map_err(read_error(file))?;
        let beside = file.parent().unwrap_or(Path::new("."));
        let source = parse(&text, beside).map_err(|problem| Error::Invalid { path: file.to_owned(), problem })?;
        Ok(Self { name: name.to_owned(), file: file.to_owned(), source })
    }
}

/// Reads a definition; the paths in it are relative to the directory that it lies in.
fn parse(text: &str, beside: &Path) -> Result<Source, Problem> {
    let Head { kind } = decode(text)?;
    Ok(match kind {
        Kind::Debian => {
            let debian = decode::<Debian>(text)?;
            debian.check().map_err(|text| Problem { place: None, text })?;
            Source::Debian(debian.beside(beside))
        }
        Kind::CoreosStream => Source::CoreosStream(decode::<CoreosStream>(text)?.beside(beside)),
        Kind::File => Source::File(decode::<DiskFile>(text)?.beside(beside)),
    })
}

fn decode<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    serde_yaml::from_str(text).map_err(|error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let text = error.to_string();
        // The place is told in front.
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Problem { place, text }
    })
}

pub(super) fn read_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::Read { path, source }
}

/// A directory's entries, sorted.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut paths = fs::read_dir(dir)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        .map_err(read_error(dir))?;
    paths.sort();
    Ok(paths)
}

/// All files below a directory, sorted by path.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut found = Vec::new();
    for path in entries(dir)? {
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::debian::Disk;
    use super::*;

    const SMALL: &str = "kind: debian\nsuite: trixie\nkernels: [linux-image-amd64]\npackages: [systemd]\n";

    fn problem(text: &str) -> Problem {
        parse(text, Path::new("/")).expect_err("a wrong definition")
    }

    fn debian(text: &str) -> Debian {
        match parse(text, Path::new("/")) {
            Ok(Source::Debian(debian)) => debian,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let debian = debian(SMALL);
        assert_eq!(debian.mirror.as_str(), "http://deb.debian.org/debian");
        assert_eq!(debian.disk, Disk::default());
        assert_eq!(debian.recipe, Path::new("/debian"));
        assert!(debian.arguments.is_empty());
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        let unknown = problem(&format!("{SMALL}suit: x\n"));
        assert_eq!(unknown.place, Some((5, 1)));
        assert!(unknown.text.contains("unknown field `suit`, expected one of"), "{unknown}");
        assert!(unknown.text.contains("`suite`"), "{unknown}");

        let package = problem(&SMALL.replace("[systemd]", "\n  - systemd\n  - Udev"));
        assert_eq!(package.place, Some((6, 5)), "{package}");
        assert!(package.text.contains("\"Udev\" is not a package's name"), "{package}");

        let kernel = problem(&SMALL.replace("linux-image-amd64", "linux-image-amd64/"));
        assert!(kernel.text.contains("\"linux-image-amd64/\" is not a kernel's package"), "{kernel}");
        debian(&SMALL.replace("linux-image-amd64", "linux-image-amd64/bookworm"));

        let kind = problem(&SMALL.replace("debian", "fedora"));
        assert!(
            kind.place.is_some() && kind.text.contains("expected one of `debian`, `coreos-stream`, `file`"),
            "{kind}"
        );

        let disk = problem(&format!("{SMALL}disk: {{size_mib: 1000}}\n"));
        assert!(disk.text.contains("must be 4512 at least"), "{disk}");
        assert!(problem(&format!("{SMALL}arguments: ['a b']\n")).text.contains("no spaces"));
        assert!(problem(&SMALL.replace("[linux-image-amd64]", "[]")).text.contains("one package at least"));
        assert!(problem(&format!("{SMALL}mirror: ftp://x\n")).text.contains("http://deb.debian.org/debian"));
    }

    #[test]
    fn a_kernel_is_for_the_image_s_processor() {
        let arm = format!("{SMALL}architecture: aarch64\n");
        let told = problem(&arm).text;
        assert!(told.contains("linux-image-amd64 is for x86_64, and the image for aarch64"), "{told}");
        assert_eq!(debian(&arm.replace("amd64", "arm64-16k")).architecture, Architecture::Aarch64);
        let unknown = problem(&format!("{SMALL}architecture: riscv64\n"));
        assert_eq!(unknown.place, Some((5, 15)), "{unknown}");
        assert!(unknown.text.contains("expected `x86_64` or `aarch64`"), "{unknown}");
    }

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("a.yaml"), SMALL).expect("written");
        fs::create_dir_all(dir.path().join("debian/overlay")).expect("created");
        fs::write(dir.path().join("debian/overlay/file"), "x").expect("written");
        dir
    }

    fn key_of(dir: &Path) -> String {
        match &Catalogue::load(dir, None).expect("catalogue").get("a").expect("definition").source {
            Source::Debian(debian) => debian.key().expect("key"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_key_changes_with_what_the_image_is_made_of_and_with_nothing_else() {
        let dir = repository();
        let first = key_of(dir.path());
        fs::write(dir.path().join("a.yaml"), format!("# a comment\n{SMALL}")).expect("written");
        assert_eq!(key_of(dir.path()), first, "comments don't count");
        fs::write(dir.path().join("a.yaml"), SMALL.replace("[systemd]", "[systemd, udev]")).expect("written");
        let more = key_of(dir.path());
        assert_ne!(more, first);
        fs::write(dir.path().join("debian/overlay/file"), "y").expect("written");
        let other = key_of(dir.path());
        assert_ne!(other, more);
        let program = fs::Permissions::from_mode(0o755);
        fs::set_permissions(dir.path().join("debian/overlay/file"), program).expect("mode set");
        assert_ne!(key_of(dir.path()), other);
    }

    #[test]
    fn an_unknown_name_is_told_with_the_known_ones() {
        let dir = repository();
        let catalogue = Catalogue::load(dir.path(), None).expect("catalogue");
        assert_eq!(catalogue.definitions().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["a"]);
        let error = catalogue.get("b").expect_err("unknown").to_string();
        assert!(error.contains("no node image \"b\"") && error.ends_with("there is a"), "{error}");
    }

    #[test]
    fn a_wrong_file_is_told_with_its_path() {
        let dir = repository();
        fs::write(dir.path().join("b.yaml"), "kind: debian\nsuite: [x]\n").expect("written");
        let error = Catalogue::load(dir.path(), None).expect_err("invalid").to_string();
        assert!(error.contains("b.yaml:2:8: ") && error.contains("expected a suite's name"), "{error}");
    }

    #[test]
    fn the_repository_s_own_definitions_are_valid() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images");
        let catalogue = Catalogue::load(&dir, None).expect("valid definitions");
        let definition = catalogue.get("debian-13").expect("defined");
        assert!(matches!(&definition.source, Source::Debian(debian) if debian.suite.as_str() == "trixie"));
        for stream in ["stable", "testing", "next"] {
            let definition = catalogue.get(&format!("fedora-coreos-{stream}")).expect("defined");
            let Source::CoreosStream(published) = &definition.source else { panic!("{definition:?}") };
            assert!(published.stream.as_str().ends_with(&format!("/{stream}.json")));
            published.signature.check().expect("the keys are there and have the fingerprints");
        }
    }

    #[test]
    fn a_name_of_the_repository_s_own_goes_before_an_imported_one() {
        let (own, imported) = (repository(), repository());
        fs::write(imported.path().join("a.yaml"), SMALL.replace("trixie", "forky")).expect("written");
        fs::write(imported.path().join("b.yaml"), SMALL.replace("trixie", "forky")).expect("written");
        let catalogue = Catalogue::load(own.path(), Some(imported.path())).expect("catalogue");
        let suite = |name: &str| match &catalogue.get(name).expect("defined").source {
            Source::Debian(debian) => debian.suite.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!((suite("a"), suite("b")), ("trixie".into(), "forky".into()));
        assert!(Catalogue::load(own.path(), Some(Path::new("/nowhere"))).is_ok());
    }
}
