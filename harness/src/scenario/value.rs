//! The small values of the scenario language, each refused with what would be right.

use std::fmt;
use std::time::Duration;

use regex::Regex;
use serde::Deserialize;

/// What is wrong and, after a line feed, what would be right: the form that decoding turns into a message and
/// its help.
fn refuse<T>(wrong: impl fmt::Display, right: &str) -> Result<T, String> {
    Err(format!("{wrong}\n{right}"))
}

/// A whole number and its unit, as so many of what the units' factors count; of units that end alike the longer first.
fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    units.iter().find_map(|(unit, factor)| {
        let number: u64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        number.checked_mul(*factor)
    })
}

macro_rules! text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text! {
    /// A short name made in the scenario: lower-case letters, digits and `-`, such as `test`.
    Id
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if is_kebab(&text) && text.len() <= 32 {
            return Ok(Self(text));
        }
        refuse(
            format!("`{text}` is not a name"),
            "A name is 1 to 32 lower-case letters, digits and `-`, and begins with a letter.",
        )
    }
}

/// Lower-case letters, digits and inner dashes, a letter first.
pub(super) fn is_kebab(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

text! {
    /// A kernel module's name as `/sys/module` shows it: with `_`, without `.ko`.
    ModuleName
}

impl TryFrom<String> for ModuleName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bare = text.split(".ko").next().unwrap_or_default().replace('-', "_");
        let valid = |name: &str| {
            !name.is_empty() && name.len() < 56 && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        match (valid(&text), valid(&bare)) {
            (true, _) => Ok(Self(text)),
            (false, true) => refuse(
                format!("`{text}` is not a module's name in the kernel"),
                &format!("The kernel calls it `{bare}`: with `_` for `-`, and without `.ko`."),
            ),
            _ => refuse(
                format!("`{text}` is not a module's name"),
                "A module's name is letters, digits and `_`, such as `day1_nic`.",
            ),
        }
    }
}

text! {
    /// A repository without tag and digest, such as `quay.io/vendor/driver`.
    Repository
}

impl TryFrom<String> for Repository {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let Some((host, path)) = text.split_once('/') else {
            return refuse(format!("`{text}` names no registry"), "Write it in full, such as `quay.io/vendor/driver`.");
        };
        if path.contains('@') || path.contains(':') {
            return refuse(
                format!("`{text}` holds a tag or a digest"),
                "Name the repository only; tags are said by `tags`, and a node asks for its kernel's.",
            );
        }
        let component = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
                && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        let is_host = (host.contains('.') || host.contains(':') || host == "localhost")
            && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-:".contains(c));
        if is_host && path.split('/').all(component) {
            return Ok(Self(text));
        }
        refuse(
            format!("`{text}` is not a repository"),
            "A repository is `host/path` in lower case, such as `quay.io/vendor/driver`.",
        )
    }
}

text! {
    /// An absolute path on the node, without `.` and `..`.
    AbsolutePath
}

impl TryFrom<String> for AbsolutePath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let clean = text.starts_with('/')
            && text.len() > 1
            && !text.contains('\0')
            && text.split('/').skip(1).all(|part| !["", ".", ".."].contains(&part));
        if clean {
            Ok(Self(text))
        } else {
            refuse(
                format!("`{text}` is not an absolute path"),
                "Write it from `/`, without `//`, `.` and `..`, such as `/etc/modprobe.d/day1.conf`.",
            )
        }
    }
}

text! {
    /// A systemd unit's full name, such as `NetworkManager.service`.
    UnitName
}

const UNIT_TYPES: [&str; 11] =
    ["service", "socket", "target", "mount", "automount", "swap", "timer", "path", "slice", "scope", "device"];

impl TryFrom<String> for UnitName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let valid = text.rsplit_once('.').is_some_and(|(stem, kind)| !stem.is_empty() && UNIT_TYPES.contains(&kind))
            && text.len() < 256
            && text.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c));
        if valid {
            Ok(Self(text))
        } else {
            refuse(
                format!("`{text}` is not a unit's name"),
                "Write it with its type, such as `NetworkManager.service`.",
            )
        }
    }
}

text! {
    /// A tag of an image; `{kernel-tag}` stands for the node's kernel release as a tag.
    TagTemplate
}

impl TagTemplate {
    /// What stands for the node's kernel release.
    pub const KERNEL_TAG: &str = "{kernel-tag}";

    /// The tag for a node's kernel, `kernel_tag` being its release with every character that no tag may hold
    /// replaced by `_`.
    pub fn fill(&self, kernel_tag: &str) -> String {
        self.0.replace(Self::KERNEL_TAG, kernel_tag)
    }
}

impl TryFrom<String> for TagTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let filled = text.replace(Self::KERNEL_TAG, "k");
        let valid = filled.len() <= 128
            && filled.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && filled.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        if valid {
            Ok(Self(text))
        } else {
            refuse(
                format!("`{text}` is not a tag"),
                "A tag is letters, digits, `_`, `.` and `-`; `{kernel-tag}` stands for the node's kernel.",
            )
        }
    }
}

text! {
    /// A module's file below `/lib/modules/RELEASE`, such as `kernel/lib/crc8.ko.xz`.
    HostPath
}

impl TryFrom<String> for HostPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if (text.ends_with(".ko") || text.ends_with(".ko.xz")) && text.split('/').all(plain) {
            return Ok(Self(text));
        }
        refuse(
            format!("`{text}` is not a module's file below `/lib/modules/RELEASE`"),
            "Write it as the node has it, without the first `/`, such as `kernel/lib/crc8.ko.xz`.",
        )
    }
}

text! {
    /// An argument of the kernel's command line, such as `enforcing=1`.
    KernelArgument
}

impl TryFrom<String> for KernelArgument {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() || !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.,:=/@+".contains(c)) {
            return refuse(
                format!("`{text}` is not an argument of the kernel"),
                "Write one argument: letters, digits and `-_.,:=/@+`, such as `enforcing=1`.",
            );
        }
        if text.starts_with("day1-") {
            return refuse(
                format!("`{text}` is the harness's own"),
                "`node.kernel` chooses which of the node's kernels boots.",
            );
        }
        Ok(Self(text))
    }
}

/// A size in bytes, written as `2GiB`, `512MiB` or `64KiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Size(u64);

impl Size {
    /// A size of so many MiB.
    pub const fn mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }

    /// In MiB, rounded down.
    pub fn as_mib(self) -> u64 {
        self.0 >> 20
    }
}

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match in_units(&text, &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]) {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => refuse(
                format!("`{text}` is not a size"),
                "Write a whole number and its unit: `2GiB`, `512MiB` or `64KiB`.",
            ),
        }
    }
}

/// A time at reference speed (a host where the stand-in node boots in 30 s), written as `90s`, `2min` or `500ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Seconds(Duration);

impl Seconds {
    /// So many seconds.
    pub const fn new(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// As a duration, not scaled to any host.
    pub const fn duration(self) -> Duration {
        self.0
    }
}

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match in_units(&text, &[("min", 60_000), ("ms", 1), ("s", 1_000)]) {
            Some(ms) if ms > 0 => Ok(Self(Duration::from_millis(ms))),
            _ => refuse(
                format!("`{text}` is not a time"),
                "Write a whole number and its unit: `90s`, `2min` or `500ms`.",
            ),
        }
    }
}

text! {
    /// An IPv4 network, such as `10.88.0.0/16`.
    Network
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(address, length)| {
            Some((u32::from(address.parse::<std::net::Ipv4Addr>().ok()?), length.parse::<u32>().ok()?))
        });
        match parts {
            // QEMU gives the guest .15 and keeps .2 and .3 for itself.
            Some((address, length @ 8..=27)) if address << length == 0 => Ok(Self(text)),
            _ => refuse(
                format!("`{text}` is not a network"),
                "Write its first address and the length of its prefix, from 8 to 27, such as `10.88.0.0/16`.",
            ),
        }
    }
}

/// A share between nothing and everything, written as `50%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Percent(u8);

impl Percent {
    /// From 1 to 99.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<String> for Percent {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.strip_suffix('%').and_then(|number| number.parse().ok()) {
            Some(number @ 1..=99) => Ok(Self(number)),
            _ => {
                refuse(format!("`{text}` is not a share"), "Write a whole number from 1 to 99 with `%`, such as `50%`.")
            }
        }
    }
}

/// A file's mode, written in octal as `0644`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct FileMode(u32);

impl FileMode {
    /// A mode by its bits.
    pub const fn new(bits: u32) -> Self {
        Self(bits)
    }

    /// Its bits.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for FileMode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = text.strip_prefix("0o").unwrap_or(&text);
        match u32::from_str_radix(digits, 8) {
            Ok(bits) if bits <= 0o777 && text.starts_with('0') => Ok(Self(bits)),
            _ => refuse(
                format!("`{text}` is not a file mode"),
                "Write it in octal with a 0 first, such as `0644`; the MCO refuses more than 0777.",
            ),
        }
    }
}

/// A regular expression.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern(Regex);

impl Pattern {
    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return refuse("an empty pattern matches everything", "Say what must stand there.");
        }
        Regex::new(&text).map(Self).or_else(|error| {
            let reason = error.to_string();
            let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
            refuse(
                format!("not a regular expression: {reason}"),
                "Put `\\` before a character that is meant as itself, and the whole in single quotes.",
            )
        })
    }
}

/// What a unit of a MachineConfig under test is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It pulls the driver image.
    Pull,
    /// It swaps the in-tree module for the image's.
    Load,
}

impl Role {
    /// `pull` or `load`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Load => "load",
        }
    }
}

/// A unit, by its role in a MachineConfig under test (`load`, `pull`, or `load/NAME` with the MachineConfig's
/// name where several are under test), or by its own name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum UnitRef {
    /// By role.
    Role {
        /// The role.
        role: Role,
        /// The MachineConfig's name, where it is said.
        machine_config: Option<String>,
    },
    /// By name.
    Name(UnitName),
}

impl fmt::Display for UnitRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Role { role, machine_config: None } => f.write_str(role.as_str()),
            Self::Role { role, machine_config: Some(name) } => write!(f, "{}/{name}", role.as_str()),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl TryFrom<String> for UnitRef {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (word, machine_config) = match text.split_once('/') {
            Some((word, name)) => (word, Some(name.to_owned())),
            None => (text.as_str(), None),
        };
        let role = [Role::Pull, Role::Load].into_iter().find(|role| role.as_str() == word);
        match (role, UnitName::try_from(text.clone())) {
            (Some(role), _) => Ok(Self::Role { role, machine_config }),
            (None, Ok(name)) => Ok(Self::Name(name)),
            (None, Err(_)) => refuse(
                format!("`{text}` names no unit"),
                "Write a role (`load`, `pull`, or `load/NAME` with a MachineConfig's name) or a unit's full name (`NetworkManager.service`).",
            ),
        }
    }
}
