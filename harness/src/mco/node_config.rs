//! What a rendered config puts on a node, as the MCO's daemon (MCD) reads it.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{ChangeError, Rendered};

/// Files and units of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// The rendered config's name.
    pub name: String,
    /// Files by path.
    pub files: BTreeMap<String, NodeFile>,
    /// Units by name.
    pub units: BTreeMap<String, NodeUnit>,
    /// What only the first boot can make, by its name for a person: disks, file systems, directories, links, groups.
    pub(super) fixed: BTreeMap<&'static str, Vec<Value>>,
    /// Users.
    pub(super) users: Vec<Value>,
    /// Files to which something is appended.
    pub(super) appended: Vec<String>,
    /// What is no part of Ignition.
    pub(super) system: System,
}

/// What a rendered config says of the operating system.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct System {
    pub(super) kernel_arguments: Vec<String>,
    pub(super) kernel_type: String,
    pub(super) extensions: Vec<String>,
    pub(super) fips: bool,
    pub(super) os_image_url: Option<String>,
}

/// A file of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFile {
    /// Its mode.
    pub mode: u32,
    /// Its content.
    pub contents: Vec<u8>,
}

/// A unit of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeUnit {
    /// Its text; none where only enablement or drop-ins are said.
    pub contents: Option<String>,
    /// Whether it is enabled; none where nothing is said.
    pub enabled: Option<bool>,
    /// Whether it is masked.
    pub mask: bool,
    /// Drop-ins by file name.
    pub dropins: BTreeMap<String, String>,
}

/// Where the daemon writes units.
pub const UNITS: &str = "/etc/systemd/system";
/// What the daemon can't change on a running node (`reconcile.go`), by its name for a person.
const FIXED: [(&str, &str); 9] = [
    ("disks", "/storage/disks"),
    ("file systems", "/storage/filesystems"),
    ("RAID arrays", "/storage/raid"),
    ("encrypted volumes", "/storage/luks"),
    ("directories", "/storage/directories"),
    (LINKS, "/storage/links"),
    ("groups", "/passwd/groups"),
    ("Ignition's own kernel arguments", "/kernelArguments/shouldExist"),
    ("Ignition's own kernel arguments to remove", "/kernelArguments/shouldNotExist"),
];
/// Of the above, what may be taken away.
pub(super) const LINKS: &str = "links";
/// The mode of what it writes there.
pub const UNIT_MODE: u32 = 0o644;

impl NodeConfig {
    /// Reads a rendered config.
    pub fn of(rendered: &Rendered) -> Result<Self, ChangeError> {
        let system = System {
            kernel_arguments: rendered.kernel_arguments.clone(),
            kernel_type: rendered.kernel_type.clone(),
            extensions: rendered.extensions.clone(),
            fips: rendered.fips,
            os_image_url: rendered.os_image_url.clone(),
        };
        Ok(Self { system, ..Self::read(&rendered.name, &rendered.ignition_json)? })
    }

    /// Reads a rendered config's part that is Ignition, by its name and its bytes.
    pub fn read(name: &str, ignition_json: &[u8]) -> Result<Self, ChangeError> {
        let config: Value = serde_json::from_slice(ignition_json).unwrap_or_default();
        let list = |pointer: &str| config.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let (mut files, mut appended) = (BTreeMap::new(), Vec::new());
        for file in list("/storage/files") {
            let path = file["path"].as_str().unwrap_or_default().to_owned();
            appended.extend(file["append"].as_array().filter(|list| !list.is_empty()).map(|_| path.clone()));
            let contents =
                contents(&file["contents"]).map_err(|why| ChangeError::Content { path: path.clone(), why })?;
            let mode = file["mode"].as_u64().and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
            files.insert(path, NodeFile { mode, contents });
        }
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let units = list("/systemd/units").into_iter().map(|unit| {
            let dropins = unit["dropins"].as_array().into_iter().flatten();
            let dropins = dropins.filter_map(|dropin| Some((text(&dropin["name"])?, text(&dropin["contents"])?)));
            let node_unit = NodeUnit {
                contents: text(&unit["contents"]),
                enabled: unit["enabled"].as_bool(),
                mask: unit["mask"].as_bool().unwrap_or(false),
                dropins: dropins.collect(),
            };
            (text(&unit["name"]).unwrap_or_default(), node_unit)
        });
        let fixed = FIXED.into_iter().map(|(name, pointer)| (name, list(pointer)));
        let fixed = fixed.filter(|(_, items)| !items.is_empty()).collect();
        let (units, users) = (units.collect(), list("/passwd/users"));
        Ok(Self { name: name.to_owned(), files, units, fixed, users, appended, system: System::default() })
    }
}

/// The bytes of an Ignition resource that is a `data:` URL.
pub(super) fn contents(resource: &Value) -> Result<Vec<u8>, String> {
    let Some(source) = resource["source"].as_str().filter(|source| !source.is_empty()) else { return Ok(Vec::new()) };
    let bytes = decode(source)?;
    match resource["compression"].as_str().unwrap_or_default() {
        "" => Ok(bytes),
        "gzip" => {
            let mut unpacked = Vec::new();
            let read = flate2::read::GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked);
            read.map(|_| unpacked).map_err(|error| error.to_string())
        }
        other => Err(format!("the compression {other:?} is not known")),
    }
}

/// The bytes of a `data:` URL (RFC 2397), in base64 or percent-encoded.
pub(super) fn decode(url: &str) -> Result<Vec<u8>, String> {
    let rest = url.strip_prefix("data:").ok_or_else(|| format!("{url:.40} is no data: URL"))?;
    let (kind, data) = rest.split_once(',').ok_or("a data: URL without a comma")?;
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(data).collect();
    if kind.ends_with(";base64") { STANDARD.decode(bytes).map_err(|error| error.to_string()) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_and_units_are_read() {
        let text = br#"{
            "storage": { "files": [
                { "path": "/etc/base", "contents": { "source": "data:,b%20c" } },
                { "path": "/usr/local/bin/x", "mode": 493, "contents": { "source": "data:;base64,aGk=" } },
                { "path": "/etc/more", "append": [{ "source": "data:,x" }] }
            ] },
            "systemd": { "units": [{ "name": "x.service", "enabled": true }, { "name": "y.service", "mask": true }] }
        }"#;
        let config = NodeConfig::read("rendered-worker-1", text).expect("read");
        assert_eq!(config.files["/etc/base"], NodeFile { mode: 0o644, contents: b"b c".to_vec() });
        assert_eq!(config.files["/usr/local/bin/x"], NodeFile { mode: 0o755, contents: b"hi".to_vec() });
        assert_eq!(config.units["x.service"].enabled, Some(true));
        assert!(config.units["y.service"].mask);
        assert_eq!(config.appended, ["/etc/more"]);
    }

    #[test]
    fn what_is_no_data_url_is_refused() {
        assert!(decode("https://x").is_err() && decode("data:x").is_err());
        let text = br#"{ "storage": { "files": [{ "path": "/a", "contents": { "source": "https://x" } }] } }"#;
        let error = NodeConfig::read("x", text).expect_err("refused").to_string();
        assert_eq!(error, "the content of /a can't be read: https://x is no data: URL");
    }
}
