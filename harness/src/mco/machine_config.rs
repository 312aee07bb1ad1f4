//! A MachineConfig as text: YAML or JSON, one document or several.

use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::ignition::{Ignition, SpecVersion, Typed, WithTyped};
use super::{Error, ROLE_LABEL, yaml};
use crate::scenario::{Document, decode_exactly};

/// A MachineConfig, checked on its own.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineConfig {
    /// `metadata.name`.
    pub name: String,
    /// The pool that it is for: the value of [`ROLE_LABEL`].
    pub role: String,
    /// The file that it comes from, or what stands for it.
    pub origin: String,
    pub(super) ignition: Option<Ignition>,
    pub(super) kernel_arguments: Vec<String>,
    pub(super) kernel_type: Option<String>,
    pub(super) extensions: Vec<String>,
    pub(super) fips: bool,
    pub(super) os_image_url: Option<String>,
}

impl MachineConfig {
    /// Reads the MachineConfigs of a file.
    pub fn read(path: &Path) -> Result<Vec<Self>, Error> {
        let text = crate::input::read_text(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Parses the MachineConfigs of a text, those of a list too. `origin` stands for it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Vec<Self>, Error> {
        let documents = yaml::documents(origin, text).map_err(|mut unread| {
            let first = unread.swap_remove(0);
            invalid(origin, (first.line, first.column), first.message, first.help.as_deref())
        })?;
        let mut configs = Vec::new();
        for document in documents.iter().filter(|document| !document.root.is_null()) {
            let parts = yaml::objects(document).into_iter();
            for part in parts.filter_map(|at| document.part(&at)) {
                let head: Head = decoded(part.clone(), origin)?;
                let version = head.spec.config.map(|config| config.ignition.version);
                configs.push(match version {
                    Some(version) => version.dispatch(Parse { part, origin, version })?,
                    None => from_document::<NoIgnition>(decoded(part, origin)?, None, origin)?,
                });
            }
        }
        if configs.is_empty() { Err(Error::Empty { origin: origin.to_owned() }) } else { Ok(configs) }
    }
}

/// What tells how to read the rest.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    #[serde(default)]
    spec: HeadSpec,
}

#[derive(Deserialize, Default)]
struct HeadSpec {
    config: Option<HeadConfig>,
}

#[derive(Deserialize)]
struct HeadConfig {
    ignition: HeadIgnition,
}

#[derive(Deserialize)]
struct HeadIgnition {
    version: SpecVersion,
}

struct ApiVersion;
struct Kind;

impl<'de> Deserialize<'de> for ApiVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        expect(deserializer, "apiVersion", "machineconfiguration.openshift.io/v1").map(|()| Self)
    }
}

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        expect(deserializer, "kind", "MachineConfig").map(|()| Self)
    }
}

fn expect<'de, D: Deserializer<'de>>(deserializer: D, key: &str, expected: &str) -> Result<(), D::Error> {
    let found = String::deserialize(deserializer)?;
    if found == expected { Ok(()) } else { Err(D::Error::custom(format!("{key} is {found:?}, not {expected:?}"))) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Object<C> {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    #[serde(default = "Spec::default")]
    spec: Spec<C>,
}

/// Other metadata (annotations, owner, …) changes nothing on a node.
#[derive(Deserialize)]
struct Metadata {
    name: Name,
    #[serde(default)]
    labels: Labels,
}

#[derive(Deserialize, Default)]
struct Labels {
    #[serde(rename = "machineconfiguration.openshift.io/role")]
    role: Option<String>,
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let part = |part: &str| {
            let bytes = part.as_bytes();
            bytes.first().is_some_and(|b| edge(*b))
                && bytes.last().is_some_and(|b| edge(*b))
                && bytes.iter().all(|b| edge(*b) || *b == b'-')
        };
        if name.len() <= 253 && name.split('.').all(part) {
            return Ok(Self(name));
        }
        Err(D::Error::custom(format!(
            "metadata.name {name:?} is no RFC 1123 subdomain: lower-case letters, digits, `-` and `.`, as in 99-worker-driver"
        )))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Spec<C> {
    config: Option<C>,
    #[serde(default, deserialize_with = "or_default")]
    kernel_arguments: Vec<String>,
    kernel_type: Option<KernelType>,
    #[serde(default, deserialize_with = "or_default")]
    extensions: Vec<Extension>,
    #[serde(default, deserialize_with = "or_default")]
    fips: bool,
    #[serde(rename = "osImageURL")]
    os_image_url: Option<String>,
    /// Only tells the MCO where extensions come from.
    #[serde(rename = "baseOSExtensionsContainerImage")]
    _extensions_image: Option<String>,
}

impl<C> Default for Spec<C> {
    fn default() -> Self {
        Self {
            config: None,
            kernel_arguments: Vec::new(),
            kernel_type: None,
            extensions: Vec::new(),
            fips: false,
            os_image_url: None,
            _extensions_image: None,
        }
    }
}

/// `null` is written by tools that print every key.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// What the MCO takes for kernelType.
pub(crate) const KERNEL_TYPES: [&str; 4] = ["", "default", "realtime", "64k-pages"];

/// What it takes for an extension.
pub(crate) const EXTENSIONS: [&str; 8] =
    ["ipsec", "kerberos", "kernel-devel", "sandboxed-containers", "sysstat", "two-node-ha", "usbguard", "wasm"];

struct KernelType(String);

impl<'de> Deserialize<'de> for KernelType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer, "kernelType", &KERNEL_TYPES).map(Self)
    }
}

struct Extension(String);

impl<'de> Deserialize<'de> for Extension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer, "extension", &EXTENSIONS).map(Self)
    }
}

fn one_of<'de, D: Deserializer<'de>>(deserializer: D, what: &str, known: &[&str]) -> Result<String, D::Error> {
    let found = String::deserialize(deserializer)?;
    if known.contains(&found.as_str()) {
        return Ok(found);
    }
    Err(D::Error::custom(format!("{what} {found:?} is not one that the MCO takes: {}", known.join(" "))))
}

/// Stands for the config where there is none.
#[derive(Deserialize, serde::Serialize)]
struct NoIgnition;

struct Parse<'a> {
    part: Document,
    origin: &'a str,
    version: SpecVersion,
}

impl WithTyped for Parse<'_> {
    type Output = Result<MachineConfig, Error>;

    fn with<C: Typed>(self) -> Self::Output {
        from_document::<C>(decoded(self.part, self.origin)?, Some(self.version), self.origin)
    }
}

fn from_document<C: Typed>(
    object: Object<C>,
    version: Option<SpecVersion>,
    origin: &str,
) -> Result<MachineConfig, Error> {
    let Object { metadata, spec, .. } = object;
    let name = metadata.name.0;
    let refused = |problem: String| Error::Refused { name: name.clone(), origin: origin.to_owned(), problem };
    let role = metadata.labels.role.ok_or_else(|| {
        refused(format!("it lacks the label {ROLE_LABEL}, so no pool would use it; set it to `worker`"))
    })?;
    let ignition = match (spec.config, version) {
        (Some(config), Some(version)) => Some(Ignition::from_typed(version, &config).map_err(refused)?),
        _ => None,
    };
    Ok(MachineConfig {
        role,
        origin: origin.to_owned(),
        ignition,
        kernel_arguments: spec.kernel_arguments,
        kernel_type: spec.kernel_type.map(|kind| kind.0),
        extensions: spec.extensions.into_iter().map(|extension| extension.0).collect(),
        fips: spec.fips,
        os_image_url: spec.os_image_url,
        name,
    })
}

/// Reads an object of a document; only the first thing that is wrong is told.
fn decoded<T: DeserializeOwned>(mut part: Document, origin: &str) -> Result<T, Error> {
    let decoded = decode_exactly::<T>(&mut part);
    match (decoded.mistakes.into_iter().next(), decoded.value) {
        (None, Some(value)) => Ok(value),
        (Some(mistake), _) => {
            Err(invalid(origin, (mistake.line, mistake.column), mistake.message, mistake.help.as_deref()))
        }
        (None, None) => Err(Error::Empty { origin: origin.to_owned() }),
    }
}

fn invalid(origin: &str, (line, column): (usize, usize), message: String, help: Option<&str>) -> Error {
    let message = help.map_or(message.clone(), |help| format!("{message}; {}", lower(help)));
    Error::Invalid { origin: origin.to_owned(), line, column, message }
}

/// Help that goes on a sentence.
fn lower(help: &str) -> String {
    let help = help.trim_end_matches('.');
    let mut chars = help.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
