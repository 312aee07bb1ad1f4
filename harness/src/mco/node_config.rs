//! What a rendered config puts on a node, as the MCO's daemon (MCD) reads it, and how it changes a running node from
//! one config to another.
//!
//! The rules are those of `pkg/daemon/update.go`, `file_writers.go` and `on_disk_validation.go`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Rendered;
use crate::process::quoted;

/// Files and units of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeConfig {
    /// The rendered config's name.
    pub name: String,
    /// Files by path.
    pub files: BTreeMap<String, NodeFile>,
    /// Units by name.
    pub units: BTreeMap<String, NodeUnit>,
    /// What only the first boot can make: disks, file systems, directories, links, users.
    fixed: String,
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

/// Why the daemon would not make a change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// A file's content can't be read out of the config.
    #[error("the content of {path} can't be read: {why}")]
    Content {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
    /// The change needs a new node.
    #[error("the MCO can't change disks, file systems, directories, links or users of a running node")]
    Unreconcilable,
}

/// Where the daemon writes units.
pub const UNITS: &str = "/etc/systemd/system";
/// The mode of what it writes there.
pub const UNIT_MODE: u32 = 0o644;

impl NodeConfig {
    /// Reads a rendered config.
    pub fn of(rendered: &Rendered) -> Result<Self, ChangeError> {
        Self::read(&rendered.name, &rendered.ignition_json)
    }

    /// Reads a rendered config, by its name and its bytes.
    pub fn read(name: &str, ignition_json: &[u8]) -> Result<Self, ChangeError> {
        let config: Value = serde_json::from_slice(ignition_json).unwrap_or_default();
        let list = |pointer: &str| config.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        let mut files = BTreeMap::new();
        for file in list("/storage/files") {
            let path = file["path"].as_str().unwrap_or_default().to_owned();
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
        let fixed = ["disks", "filesystems", "raid", "directories", "links", "luks"];
        let mut fixed: Vec<&Value> = fixed.iter().map(|key| &config["storage"][key]).collect();
        fixed.push(&config["passwd"]);
        let fixed = format!("{fixed:?}");
        Ok(Self { name: name.to_owned(), files, units: units.collect(), fixed })
    }

    /// The script by which the daemon takes a running node from this config to `new`, and reboots it.
    ///
    /// In its order: all files; units that are new or changed; what is not in the new config any more; the name of
    /// the config that is in force; the reboot. Nothing is started or reloaded: all of it takes effect with the reboot.
    pub fn script_to(&self, new: &Self) -> Result<String, ChangeError> {
        if self.fixed != new.fixed {
            return Err(ChangeError::Unreconcilable);
        }
        let mut script = String::from(
            "set -e\n\
             write() { mkdir -p \"${2%/*}\"; base64 -d >\"$2.mcd\"; chmod \"$1\" \"$2.mcd\"; mv \"$2.mcd\" \"$2\"; }\n",
        );
        for (path, file) in &new.files {
            write(&mut script, path, file.mode, &file.contents);
        }
        for (name, unit) in new.units.iter().filter(|(name, unit)| self.units.get(*name) != Some(unit)) {
            unit.script(name, &mut script);
        }
        for path in self.files.keys().filter(|path| !new.files.contains_key(*path)) {
            line(&mut script, &format!("rm -f {}", quoted(path)));
        }
        for (name, unit) in self.units.iter().filter(|(name, _)| !new.units.contains_key(*name)) {
            unit.removal(name, &mut script);
        }
        write(&mut script, "/etc/machine-config-daemon/currentconfig", 0o600, new.name.as_bytes());
        line(&mut script, "sync");
        line(
            &mut script,
            "systemd-run --unit=machine-config-daemon-reboot --description='reboot for a new config' \
             sh -c 'systemctl reboot'",
        );
        Ok(script)
    }
}

impl NodeUnit {
    fn script(&self, name: &str, script: &mut String) {
        let path = format!("{UNITS}/{name}");
        for (dropin, text) in &self.dropins {
            write(script, &format!("{path}.d/{dropin}"), UNIT_MODE, text.as_bytes());
        }
        if self.mask {
            // It returns early: whether it is enabled is not looked at.
            line(script, &format!("rm -f {0}; ln -s /dev/null {0}", quoted(&path)));
            return;
        }
        if let Some(text) = &self.contents {
            write(script, &path, UNIT_MODE, text.as_bytes());
        }
        let name = quoted(name);
        match self.enabled {
            Some(true) => line(script, &format!("systemctl disable {name} || true; systemctl enable {name}")),
            // A unit that nobody knows is passed over.
            Some(false) => line(script, &format!("systemctl disable {name} || true")),
            None => {}
        }
    }

    fn removal(&self, name: &str, script: &mut String) {
        let path = format!("{UNITS}/{name}");
        if !self.mask {
            line(script, &format!("systemctl preset {} || true", quoted(name)));
        }
        if self.mask || self.contents.is_some() {
            line(script, &format!("rm -f {}", quoted(&path)));
        }
        for dropin in self.dropins.keys() {
            line(script, &format!("rm -f {}", quoted(&format!("{path}.d/{dropin}"))));
        }
    }
}

fn line(script: &mut String, text: &str) {
    script.push_str(text);
    script.push('\n');
}

fn write(script: &mut String, path: &str, mode: u32, contents: &[u8]) {
    // Writing to a string does not fail.
    let _ = writeln!(script, "write {mode:o} {} <<'END'\n{}\nEND", quoted(path), STANDARD.encode(contents));
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
    use super::super::{MachineConfig, Pool, render};
    use super::*;

    fn config(name: &str, files: &str, units: &str) -> MachineConfig {
        let text = format!(
            "apiVersion: machineconfiguration.openshift.io/v1\n\
             kind: MachineConfig\n\
             metadata: {{name: {name}, labels: {{machineconfiguration.openshift.io/role: worker}}}}\n\
             spec: {{config: {{ignition: {{version: 3.2.0}}, storage: {{files: [{files}]}}, systemd: {{units: [{units}]}}}}}}\n"
        );
        MachineConfig::parse(&text, name).unwrap_or_else(|error| panic!("{error}")).remove(0)
    }

    fn of(configs: &[MachineConfig]) -> NodeConfig {
        NodeConfig::of(&render(&Pool::new("worker"), configs).expect("rendered")).expect("read")
    }

    fn base() -> MachineConfig {
        config("00-base", "{path: /etc/base, mode: 420, contents: {source: 'data:,b%20c'}}", "")
    }

    fn driver() -> MachineConfig {
        config(
            "99-driver",
            "{path: /usr/local/bin/x, mode: 493, contents: {source: 'data:;base64,aGk='}}",
            "{name: x.service, enabled: true, contents: \"[Unit]\\n\"}, {name: y.service, mask: true}",
        )
    }

    #[test]
    fn files_and_units_are_read() {
        let config = of(&[base(), driver()]);
        assert_eq!(config.files["/etc/base"], NodeFile { mode: 0o644, contents: b"b c".to_vec() });
        assert_eq!(config.files["/usr/local/bin/x"].contents, b"hi");
        assert_eq!(config.units["x.service"].enabled, Some(true));
        assert!(config.units["y.service"].mask);
    }

    #[test]
    fn a_config_is_written_and_removed_in_the_daemons_order() {
        let (before, after) = (of(&[base()]), of(&[base(), driver()]));
        let script = before.script_to(&after).expect("a script");
        let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text:?} is not in {script}"));
        // All files every time, then the units.
        assert!(at("write 644 '/etc/base'") < at("write 755 '/usr/local/bin/x'"));
        assert!(at("/usr/local/bin/x") < at("write 644 '/etc/systemd/system/x.service'"));
        assert!(at("systemctl disable 'x.service' || true; systemctl enable 'x.service'") < at("currentconfig"));
        assert!(at("ln -s /dev/null '/etc/systemd/system/y.service'") < at("currentconfig"));
        assert!(at("currentconfig") < at("systemctl reboot"));
        let script = after.script_to(&before).expect("a script");
        let at = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text:?} is not in {script}"));
        assert!(at("systemctl preset 'x.service'") < at("rm -f '/etc/systemd/system/x.service'"));
        assert!(
            script.contains("rm -f '/usr/local/bin/x'") && script.contains("rm -f '/etc/systemd/system/y.service'")
        );
    }

    #[test]
    fn an_unchanged_unit_is_left_alone() {
        let other = config("99-other", "{path: /etc/other, contents: {source: 'data:,x'}}", "");
        let script = of(&[driver()]).script_to(&of(&[driver(), other])).expect("a script");
        assert!(script.contains("'/usr/local/bin/x'") && !script.contains("x.service"), "{script}");
    }

    #[test]
    fn what_only_the_first_boot_can_make_is_refused() {
        let mut other = of(&[base()]);
        other.fixed.push('x');
        assert_eq!(of(&[base()]).script_to(&other), Err(ChangeError::Unreconcilable));
        assert!(decode("https://x").is_err() && decode("data:x").is_err());
    }
}
