//! A MachineConfig as text: YAML or JSON, one document or several.

use std::path::Path;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};

use super::ignition::{Ignition, SpecVersion, Typed, WithTyped};
use super::{Error, ROLE_LABEL};

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

    /// Parses the MachineConfigs of a text. `origin` stands for it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Vec<Self>, Error> {
        let heads: Vec<Option<Head>> = documents(text, origin)?;
        if heads.iter().all(Option::is_none) {
            return Err(Error::Empty { origin: origin.to_owned() });
        }
        let mut configs = Vec::new();
        for (index, head) in heads.into_iter().enumerate() {
            let Some(head) = head else { continue };
            let version = head.spec.config.map(|config| config.ignition.version);
            configs.push(match version {
                Some(version) => version.dispatch(Parse { text, origin, index, version })?,
                None => from_document::<NoIgnition>(nth(text, origin, index)?, None, origin)?,
            });
        }
        Ok(configs)
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
struct Document<C> {
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

struct KernelType(String);

impl<'de> Deserialize<'de> for KernelType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        one_of(deserializer, "kernelType", &["", "default", "realtime", "64k-pages"]).map(Self)
    }
}

struct Extension(String);

impl<'de> Deserialize<'de> for Extension {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KNOWN: [&str; 8] =
            ["ipsec", "kerberos", "kernel-devel", "sandboxed-containers", "sysstat", "two-node-ha", "usbguard", "wasm"];
        one_of(deserializer, "extension", &KNOWN).map(Self)
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
    text: &'a str,
    origin: &'a str,
    index: usize,
    version: SpecVersion,
}

impl WithTyped for Parse<'_> {
    type Output = Result<MachineConfig, Error>;

    fn with<C: Typed>(self) -> Self::Output {
        let document = nth::<C>(self.text, self.origin, self.index);
        let document = document.or_else(|error| with_octal_modes(self.text, self.index).ok_or(error))?;
        from_document(document, Some(self.version), self.origin)
    }
}

fn from_document<C: Typed>(
    document: Document<C>,
    version: Option<SpecVersion>,
    origin: &str,
) -> Result<MachineConfig, Error> {
    let Document { metadata, spec, .. } = document;
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

/// JSON is read as JSON: it is not all of it YAML (tabs).
fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn documents<T: DeserializeOwned>(text: &str, origin: &str) -> Result<Vec<T>, Error> {
    if is_json(text) {
        return Ok(vec![json(text, origin)?]);
    }
    serde_yaml::Deserializer::from_str(text)
        .map(|document| T::deserialize(document).map_err(|error| yaml_error(&error, origin)))
        .collect()
}

fn nth<C: DeserializeOwned>(text: &str, origin: &str, index: usize) -> Result<Document<C>, Error> {
    if is_json(text) {
        return json(text, origin);
    }
    let document = serde_yaml::Deserializer::from_str(text)
        .nth(index)
        .ok_or_else(|| Error::Empty { origin: origin.to_owned() })?;
    Document::deserialize(document).map_err(|error| yaml_error(&error, origin))
}

/// Reads a document whose modes are written `0644`: an octal number for the cluster's YAML 1.1, a text here.
fn with_octal_modes<C: DeserializeOwned>(text: &str, index: usize) -> Option<Document<C>> {
    let document = serde_yaml::Deserializer::from_str(text).nth(index)?;
    let mut value = serde_yaml::Value::deserialize(document).ok()?;
    let storage = value.get_mut("spec")?.get_mut("config")?.get_mut("storage")?;
    for list in ["files", "directories"] {
        let nodes = storage.get_mut(list).and_then(serde_yaml::Value::as_sequence_mut);
        for mode in nodes.into_iter().flatten().filter_map(|node| node.get_mut("mode")) {
            let octal = mode.as_str().filter(|text| text.starts_with('0')).map(|text| i64::from_str_radix(text, 8));
            if let Some(Ok(octal)) = octal {
                *mode = octal.into();
            }
        }
    }
    serde_yaml::from_value(value).ok()
}

fn json<T: DeserializeOwned>(text: &str, origin: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| invalid(origin, (error.line(), error.column()), &error.to_string()))
}

fn yaml_error(error: &serde_yaml::Error, origin: &str) -> Error {
    let place = error.location().map_or((1, 1), |location| (location.line(), location.column()));
    invalid(origin, place, &error.to_string())
}

/// Both parsers put the place at the end of their message too.
fn invalid(origin: &str, (line, column): (usize, usize), message: &str) -> Error {
    let message = message.rfind(" at line ").map_or(message, |end| &message[..end]);
    Error::Invalid { origin: origin.to_owned(), line, column, message: message.to_owned() }
}
