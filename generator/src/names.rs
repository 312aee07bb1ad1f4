//! The names that Day-1 parameters are made of, each valid once it exists.

use serde::de::{Deserialize, Deserializer, Visitor};

use crate::Error;

/// Implements what all checked names share.
macro_rules! checked_name {
    ($type:ident) => {
        impl $type {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl TryFrom<String> for $type {
            type Error = Error;
            fn try_from(value: String) -> Result<Self, Error> {
                Self::check(&value)?;
                Ok(Self(value))
            }
        }
        impl std::str::FromStr for $type {
            type Err = Error;
            fn from_str(value: &str) -> Result<Self, Error> {
                Self::try_from(value.to_owned())
            }
        }
        // Not `try_from = "String"`: an error from within the visitor carries the line and column of the value.
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $type;
                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a string")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$type, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// The name of a MachineConfig.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineConfigName(String);
checked_name!(MachineConfigName);

impl MachineConfigName {
    /// Unit and script names are made from it, and must stay below 255 bytes.
    const MAX: usize = 200;

    fn check(value: &str) -> Result<(), Error> {
        rfc1123("machine_config_name", value, Self::MAX, "99-worker-day1-nic")
    }
}

/// The name of a MachineConfigPool, which is also the value of the role label.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PoolName(String);
checked_name!(PoolName);

impl PoolName {
    /// A label's value.
    const MAX: usize = 63;

    fn check(value: &str) -> Result<(), Error> {
        rfc1123("machine_config_pool_ref", value, Self::MAX, "worker")
    }
}

fn rfc1123(what: &'static str, value: &str, max: usize, example: &'static str) -> Result<(), Error> {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let problem = if value.is_empty() {
        "it is empty"
    } else if value.len() > max {
        "it is too long"
    } else if value.chars().any(|c| c.is_ascii_uppercase()) {
        "it has an upper-case letter"
    } else if !value.chars().all(|c| edge(c) || matches!(c, '-' | '.')) {
        "it has a character that is not allowed"
    } else if !value.split('.').all(|label| label.starts_with(edge) && label.ends_with(edge)) {
        "a part between dots is empty, or begins or ends with '-'"
    } else {
        return Ok(());
    };
    Err(Error::Name { what, value: value.to_owned(), problem, max, example })
}

/// The repository of a driver image: a registry's host and a path, without tag and digest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageRepository(String);
checked_name!(ImageRepository);

impl ImageRepository {
    fn check(value: &str) -> Result<(), Error> {
        let example = "quay.io/vendor/driver";
        // Nothing is proposed that would be refused in its turn.
        let fault = |problem, proposal: &str| {
            let right = proposal != value && Self::check(proposal).is_ok();
            let example = if right { proposal } else { example }.to_owned();
            Err(Error::Image { value: value.to_owned(), problem, example })
        };
        // With a tag and a digest a reference of 255 characters becomes longer, but not by as much again.
        if value.len() > 512 {
            return fault("it is longer than 255 characters", example);
        }
        if let Some((_, rest)) = value.rsplit_once("://") {
            return fault("it has a scheme", without_tag(rest.split('@').next().unwrap_or(rest)));
        }
        let (named, part) = value.split_once('@').map_or((value, "tag"), |(named, _)| (named, "digest"));
        let repository = without_tag(named);
        if repository != value {
            Self::check(repository)?;
            return Err(Error::ImageWithVersion { value: value.to_owned(), part, repository: repository.to_owned() });
        }
        if value.len() > 255 {
            return fault("it is longer than 255 characters", example);
        }
        let Some((host, path)) = value.split_once('/') else {
            return fault("it has no path after the registry's host", example);
        };
        if !is_host(host) {
            // A short name means whatever the node's search registries say, or nothing at all.
            return fault("its first part is no registry host", &format!("quay.io/{value}"));
        }
        if path.chars().any(|c| c.is_ascii_uppercase()) {
            return fault("its path has an upper-case letter", &format!("{host}/{}", path.to_ascii_lowercase()));
        }
        if !path.split('/').all(is_path_component) {
            return fault("its path breaks the grammar of image names", example);
        }
        Ok(())
    }
}

/// The reference without the part after the last colon, if that is a tag and not a port.
fn without_tag(reference: &str) -> &str {
    match reference.rsplit_once(':') {
        Some((before, after)) if before.contains('/') && !after.contains('/') => before,
        _ => reference,
    }
}

fn is_host(host: &str) -> bool {
    let (name, port) = host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    let label = |label: &str| {
        let edge = |c: char| c.is_ascii_alphanumeric();
        label.starts_with(edge) && label.ends_with(edge) && label.chars().all(|c| edge(c) || c == '-')
    };
    (name.contains('.') || name == "localhost" || port.is_some())
        && name.split('.').all(label)
        && port.is_none_or(|port| {
            port.starts_with(|c: char| c.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
        })
}

/// Alphanumerics, separated by one dot, one or two underscores or any number of dashes.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separator = |s: &str| matches!(s, "." | "_" | "__") || (!s.is_empty() && s.chars().all(|c| c == '-'));
    component.starts_with(alphanumeric)
        && component.ends_with(alphanumeric)
        && component.split(alphanumeric).filter(|between| !between.is_empty()).all(separator)
}

/// The name of a kernel module. `-` and `_` are kept as given; to the kernel they are the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ModuleName(String);
checked_name!(ModuleName);

impl ModuleName {
    /// `MODULE_NAME_LEN` of the kernel is 56 on 64-bit machines, with the final NUL.
    const MAX: usize = 55;

    /// The name as `/sys/module` has it.
    pub fn sysfs_name(&self) -> String {
        self.0.replace('-', "_")
    }

    fn check(value: &str) -> Result<(), Error> {
        let base = value.rsplit('/').next().unwrap_or(value);
        let stem = base.split(".ko").next().unwrap_or(base);
        let problem = if value.is_empty() {
            "it is empty"
        } else if value.contains('/') {
            "it is a path"
        } else if value.contains(".ko") {
            "it is a file name"
        } else if value.len() > Self::MAX {
            "it is too long"
        } else if !value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')) {
            "it has a character that is not allowed"
        } else if value.starts_with('-') {
            "it begins with '-'"
        } else {
            return Ok(());
        };
        let example = if stem != value && Self::check(stem).is_ok() { stem } else { "e1000" };
        Err(Error::Module { value: value.to_owned(), problem, example: example.to_owned() })
    }
}

/// An absolute path on the node or in the image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct AbsolutePath(String);
checked_name!(AbsolutePath);

impl AbsolutePath {
    fn check(value: &str) -> Result<(), Error> {
        let problem = if !value.starts_with('/') {
            "it is not absolute"
        } else if value.chars().all(|c| c == '/') {
            "it is the root directory"
        } else if value.split('/').any(|part| matches!(part, "." | "..")) {
            "it has '.' or '..'"
        } else if value.len() > 1024 {
            "it is longer than 1024 characters"
        } else if !value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '+' | '@' | '=' | ',' | '-'))
        {
            "it has a character that is not allowed"
        } else {
            return Ok(());
        };
        Err(Error::Path { value: value.to_owned(), problem })
    }
}

/// A kernel release, as `uname -r` prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelRelease(String);
checked_name!(KernelRelease);

impl KernelRelease {
    fn check(value: &str) -> Result<(), Error> {
        let ok = (1..=64).contains(&value.len())
            && value.starts_with(|c: char| c.is_ascii_alphanumeric())
            && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '+' | '~' | '-'));
        if ok { Ok(()) } else { Err(Error::KernelRelease { value: value.to_owned() }) }
    }
}

/// A tag of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(String);
checked_name!(Tag);

impl Tag {
    /// The longest tag that registries take.
    pub const MAX: usize = 128;

    /// The tag that a node with this kernel pulls, if nothing else is chosen for it: the kernel release with
    /// each byte that no tag may hold as `_`, cut to [`Tag::MAX`].
    pub fn for_kernel(release: &str) -> Self {
        let letter = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let mut tag: String = release.bytes().map(|b| if letter(b) { char::from(b) } else { '_' }).collect();
        if tag.starts_with(['.', '-']) {
            tag.replace_range(..1, "_");
        }
        tag.truncate(Self::MAX);
        Self(tag)
    }

    fn check(value: &str) -> Result<(), Error> {
        let ok = (1..=Self::MAX).contains(&value.len())
            && value.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && value.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'));
        if ok { Ok(()) } else { Err(Error::Tag { value: value.to_owned() }) }
    }
}

/// The sha256 digest of an image's manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Digest(String);
checked_name!(Digest);

impl Digest {
    fn check(value: &str) -> Result<(), Error> {
        let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        match value.strip_prefix("sha256:") {
            Some(digits) if digits.len() == 64 && digits.chars().all(hex) => Ok(()),
            _ => Err(Error::Digest { value: value.to_owned() }),
        }
    }
}
