//! The catalogue's definitions: `vm-images/NAME.yaml`, and beside them the build definition `vm-images/debian/`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::FORMAT;
use crate::cache;

/// The directory of the Debian stand-in's build definition, beside the definitions.
const RECIPE: &str = "debian";

/// All node images that can be asked for by name.
#[derive(Debug, Clone)]
pub struct Catalogue {
    dir: PathBuf,
    definitions: BTreeMap<String, Definition>,
}

/// How one node image is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// Its name: the file's, without `.yaml`.
    pub name: String,
    /// The file that it was read from.
    pub file: PathBuf,
    /// What the file says.
    pub debian: Debian,
    /// The directory of the build's scripts and files.
    pub recipe: PathBuf,
}

/// A node image from Debian packages in CoreOS's shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Debian {
    kind: Kind,
    /// The release's code name.
    pub suite: Suite,
    /// The archive.
    #[serde(default)]
    pub mirror: Mirror,
    /// Kernel packages; the node boots the kernel of the first.
    #[serde(deserialize_with = "not_empty")]
    pub kernels: Vec<KernelPackage>,
    /// All other packages, without what they depend on.
    #[serde(deserialize_with = "not_empty")]
    pub packages: Vec<Package>,
    /// Kernel arguments besides those that make the node boot.
    #[serde(default)]
    pub arguments: Vec<KernelArgument>,
    /// The disk.
    #[serde(default)]
    pub disk: Disk,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Debian,
}

/// Sizes of the disk and its partitions in MiB. `root` gets what `boot` and `esp` leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, try_from = "RawDisk")]
pub struct Disk {
    /// The whole disk.
    pub size_mib: u32,
    /// Kernels and initramfs.
    pub boot_mib: u32,
    /// The EFI system partition.
    pub esp_mib: u32,
}

impl Default for Disk {
    fn default() -> Self {
        Self { size_mib: 8192, boot_mib: 384, esp_mib: 32 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDisk {
    size_mib: u32,
    boot_mib: u32,
    esp_mib: u32,
}

impl Default for RawDisk {
    fn default() -> Self {
        let Disk { size_mib, boot_mib, esp_mib } = Disk::default();
        Self { size_mib, boot_mib, esp_mib }
    }
}

impl TryFrom<RawDisk> for Disk {
    type Error = String;

    fn try_from(RawDisk { size_mib, boot_mib, esp_mib }: RawDisk) -> Result<Self, String> {
        if boot_mib < 128 {
            return Err(format!("boot_mib is {boot_mib}; a kernel and its initramfs need 128 at least"));
        }
        if esp_mib < 16 {
            return Err(format!("esp_mib is {esp_mib}; GRUB for UEFI needs 16 at least"));
        }
        // The installed tree takes 0.9 GiB; container images come on top.
        let least = boot_mib.saturating_add(esp_mib).saturating_add(4096);
        if size_mib < least {
            return Err(format!("size_mib is {size_mib}; with this boot_mib and esp_mib it must be {least} at least"));
        }
        Ok(Self { size_mib, boot_mib, esp_mib })
    }
}

/// Defines a word of the definition: a string with a rule.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, $rule:expr, $right:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// As written.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether a text follows the rule.
            fn is(text: &str) -> bool {
                let rule: fn(&str) -> bool = $rule;
                rule(text)
            }
        }

        // By a visitor: only an error that comes from there has the word's own line and column.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;

                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str($right)
                    }

                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        if $name::is(text) {
                            Ok($name(text.to_owned()))
                        } else {
                            Err(E::custom(format!(concat!("{:?} is not ", $right), text)))
                        }
                    }
                }

                deserializer.deserialize_str(Word)
            }
        }
    };
}

word!(
    /// A release's code name.
    Suite,
    |text| text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'),
    "a suite's name such as trixie"
);

word!(
    /// An archive's URL.
    Mirror,
    |text| ["http://", "https://"].iter().any(|scheme| text.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
        && text.chars().all(|c| c.is_ascii_graphic() && !"'\"\\".contains(c)),
    "an archive's address such as http://deb.debian.org/debian"
);

word!(
    /// A package's name.
    Package,
    // Debian policy 5.6.1.
    |text| text.len() >= 2
        && text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c)),
    "a package's name (lower-case letters, digits, +, - and .)"
);

word!(
    /// A kernel's package, in apt's words: `PACKAGE`, or `PACKAGE/SUITE` for one of another release.
    KernelPackage,
    |text| match text.split_once('/') {
        Some((package, suite)) => Package::is(package) && Suite::is(suite),
        None => Package::is(text),
    },
    "a kernel's package such as linux-image-amd64, or linux-image-amd64/bookworm of another suite"
);

word!(
    /// A kernel argument.
    KernelArgument,
    |text| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,:=/@+".contains(c)),
    "a kernel argument (letters, digits and -_.,:=/@+, no spaces)"
);

impl Default for Mirror {
    fn default() -> Self {
        Self("http://deb.debian.org/debian".to_owned())
    }
}

fn not_empty<'de, D: serde::Deserializer<'de>, P: Deserialize<'de>>(deserializer: D) -> Result<Vec<P>, D::Error> {
    let packages = Vec::<P>::deserialize(deserializer)?;
    if packages.is_empty() {
        return Err(serde::de::Error::custom("the list is empty; it needs one package at least"));
    }
    Ok(packages)
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
    /// Reads every `*.yaml` of a directory (the repository's `vm-images`).
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let mut definitions = BTreeMap::new();
        for file in entries(dir)? {
            let stem = file.file_stem().and_then(|stem| stem.to_str());
            let (Some(name), Some("yaml")) = (stem, file.extension().and_then(|extension| extension.to_str())) else {
                continue;
            };
            let text = fs::read_to_string(&file).map_err(read_error(&file))?;
            let debian = parse(&text).map_err(|problem| Error::Invalid { path: file.clone(), problem })?;
            let definition = Definition { name: name.to_owned(), file: file.clone(), debian, recipe: dir.join(RECIPE) };
            definitions.insert(name.to_owned(), definition);
        }
        Ok(Self { dir: dir.to_owned(), definitions })
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(String::as_str)
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
    /// Lower-case hex sha256 over all that the definition says and the bytes of the recipe's files; comments
    /// of the YAML don't count.
    pub fn key(&self) -> Result<String, Error> {
        let mut parts = vec![FORMAT.to_vec(), self.debian.canonical()];
        for file in files(&self.recipe)? {
            let relative = file.strip_prefix(&self.recipe).unwrap_or(&file);
            let mode = fs::metadata(&file).map_err(read_error(&file))?.permissions().mode();
            parts.push(relative.as_os_str().as_encoded_bytes().to_vec());
            parts.push(if mode & 0o100 == 0 { b"file".to_vec() } else { b"program".to_vec() });
            parts.push(fs::read(&file).map_err(read_error(&file))?);
        }
        Ok(cache::key(parts.iter().map(Vec::as_slice)))
    }
}

impl Debian {
    fn canonical(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers have a JSON form")
    }
}

/// Reads a definition.
fn parse(text: &str) -> Result<Debian, Problem> {
    serde_yaml::from_str(text).map_err(|error| {
        let place = error.location().map(|at| (at.line(), at.column()));
        let text = error.to_string();
        // The place is told in front.
        let text = text.split(" at line ").next().unwrap_or(&text).to_owned();
        Problem { place, text }
    })
}

fn read_error(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
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
fn files(dir: &Path) -> Result<Vec<PathBuf>, Error> {
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
    use super::*;

    const SMALL: &str = "kind: debian\nsuite: trixie\nkernels: [linux-image-amd64]\npackages: [systemd]\n";

    fn problem(text: &str) -> Problem {
        parse(text).expect_err("a wrong definition")
    }

    #[test]
    fn defaults_fill_what_is_not_said() {
        let debian = parse(SMALL).expect("a definition");
        assert_eq!(debian.mirror.as_str(), "http://deb.debian.org/debian");
        assert_eq!(debian.disk, Disk::default());
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
        assert!(parse(&SMALL.replace("linux-image-amd64", "linux-image-amd64/bookworm")).is_ok());

        let kind = problem(&SMALL.replace("debian", "fedora"));
        assert!(kind.place.is_some() && kind.text.contains("expected `debian`"), "{kind}");

        let disk = problem(&format!("{SMALL}disk: {{size_mib: 1000}}\n"));
        assert!(disk.text.contains("must be 4512 at least"), "{disk}");
        assert!(problem(&format!("{SMALL}arguments: ['a b']\n")).text.contains("no spaces"));
        assert!(problem(&SMALL.replace("[systemd]", "[]")).text.contains("one package at least"));
        assert!(problem(&format!("{SMALL}mirror: ftp://x\n")).text.contains("http://deb.debian.org/debian"));
    }

    fn repository() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("a.yaml"), SMALL).expect("written");
        fs::create_dir_all(dir.path().join("debian/overlay")).expect("created");
        fs::write(dir.path().join("debian/overlay/file"), "x").expect("written");
        dir
    }

    fn key_of(dir: &Path) -> String {
        Catalogue::load(dir).expect("catalogue").get("a").expect("definition").key().expect("key")
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
        let catalogue = Catalogue::load(dir.path()).expect("catalogue");
        assert_eq!(catalogue.names().collect::<Vec<_>>(), ["a"]);
        let error = catalogue.get("b").expect_err("unknown").to_string();
        assert!(error.contains("no node image \"b\"") && error.ends_with("there is a"), "{error}");
    }

    #[test]
    fn a_wrong_file_is_told_with_its_path() {
        let dir = repository();
        fs::write(dir.path().join("b.yaml"), "kind: debian\nsuite: [\n").expect("written");
        let error = Catalogue::load(dir.path()).expect_err("invalid").to_string();
        assert!(error.contains("b.yaml:2:8: ") && error.contains("expected a suite's name"), "{error}");
    }

    #[test]
    fn the_repository_s_own_definitions_are_valid() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm-images");
        let catalogue = Catalogue::load(&dir).expect("valid definitions");
        let definition = catalogue.get("debian-13").expect("defined");
        assert_eq!(definition.debian.suite.as_str(), "trixie");
        assert_eq!(definition.key().expect("key").len(), 64);
    }
}
