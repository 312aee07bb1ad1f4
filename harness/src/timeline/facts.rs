//! What a timeline begins with: what is known of the trial before anything happens.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OnDisk;

/// What the harness knows of the trial before any machine starts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Name of the trial, `family/scenario@node-image`.
    pub trial: String,
    /// Lower-case hex sha256 of the scenario's file; empty in older recordings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub scenario_sha256: String,
    /// Whether the harness says [`LOOKED`] in the guest when it has looked at a settled node.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub says_when_it_has_looked: bool,
    /// Whether the node got the harness's instruments by a config beside the rendered one, for its systemd takes no units
    /// as credentials.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub instruments_in_config: bool,
    /// Name of the node image.
    pub node_image: String,
    /// Releases of the node image's kernels; the first is the one that it boots.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// The release of the kernel that each boot must run, where the run chose one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// Lower-case hex sha256 of the rendered config, as bytes on the wire.
    pub rendered_sha256: String,
    /// Units of the MachineConfigs under test, by role: `pull`, `load`, or `pull/NAME`, `load/NAME` (NAME is
    /// the MachineConfig's) where more than one is under test; the value is the unit's name.
    pub units: BTreeMap<String, String>,
    /// Files of the MachineConfigs under test.
    #[serde(default)]
    pub files: Vec<FileFact>,
    /// What the node's configs put on it: the first boot's, then each that it is changed to.
    #[serde(default)]
    pub configs: Vec<ConfigFact>,
    /// Images that the registry holds for this trial.
    pub images: Vec<ImageFact>,
    /// The registry behind the gateway: `embedded`, or `container IMAGE (IMAGE-ID)`; empty in older recordings.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub registry: String,
    /// The node's network cards.
    pub nics: Vec<NicFact>,
    /// The trial's nodes, where it has several: in the trial's own facts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool: Option<Box<PoolFacts>>,
    /// What is layered into the node image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<LayerFact>,
}

/// The nodes of a trial with several, and how they are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolFacts {
    /// The nodes, in the scenario's order.
    pub nodes: Vec<MemberFact>,
    /// How often the network's observer asks each of them, in milliseconds: what is measured by it is as exact as that.
    pub asked_every_ms: u64,
}

/// A node of a trial with several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberFact {
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
    /// The pool that it is in at first.
    pub pool: String,
}

/// What is layered into a node image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerFact {
    /// The release of the kernel that it is for.
    pub kernel: String,
    /// `srcversion` of every module that it brings, by module name (with `_`).
    pub modules: BTreeMap<String, String>,
    /// In-tree modules that it takes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<String>,
}

impl std::fmt::Display for LayerFact {
    /// For a person, behind the node image's name.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { kernel, modules, without } = self;
        let named = modules.iter().map(|(name, version)| format!("{name} (srcversion {version})"));
        let named: Vec<String> = named.collect();
        let brings = if named.is_empty() { "nothing".to_owned() } else { named.join(", ") };
        let lacks = if without.is_empty() { String::new() } else { format!(", and {} taken out", without.join(", ")) };
        write!(f, "with {brings} layered into it for kernel {kernel}{lacks}")
    }
}

/// What a config puts on a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFact {
    /// The rendered config's name.
    pub name: String,
    /// Mode and sha256 of each file, also those of units, as `0644 SHA256`, by path.
    pub files: BTreeMap<String, String>,
    /// Whether each unit is `enabled`, `disabled` or `masked`, where that is said.
    pub units: BTreeMap<String, String>,
}

/// What of a config is not on a disk as the config has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs<'f> {
    /// `file` or `unit`.
    pub what: &'static str,
    /// The file's path, or the unit's name.
    pub name: &'f str,
    /// What it is, where it is there.
    pub found: Option<&'f str>,
    /// What the config has.
    pub expected: &'f str,
}

impl ConfigFact {
    /// What is not on a disk as this config has it, files first.
    pub fn differences<'f>(&'f self, seen: &'f OnDisk) -> Vec<Differs<'f>> {
        let differ = |what,
                      expected: &'f BTreeMap<String, String>,
                      found: &'f BTreeMap<String, String>,
                      is_so: fn(&str, &str) -> bool| {
            let all = expected.iter().map(move |(name, expected)| Differs {
                what,
                name: name.as_str(),
                found: found.get(name).map(String::as_str),
                expected: expected.as_str(),
            });
            all.filter(move |one| !one.found.is_some_and(|found| is_so(one.expected, found)))
        };
        let files = differ("file", &self.files, &seen.files, |is, found| is == found);
        files.chain(differ("unit", &self.units, &seen.units, is_so)).collect()
    }
}

/// Whether what systemd says of a unit is what the config wants. A unit without `[Install]` is `static`, with which both
/// a config that says `enabled: false` and one that says `enabled: true` must be content: there is nothing to enable.
fn is_so(is: &str, found: &str) -> bool {
    const NEITHER: [&str; 4] = ["static", "indirect", "generated", "alias"];
    match is {
        // Nor is there anything to disable where there is no unit, which systemd before 253 says in a sentence.
        "disabled" => {
            matches!(found, "disabled" | "not-found")
                || NEITHER.contains(&found)
                || found.starts_with("Failed to get unit file state")
        }
        "enabled" => matches!(found, "enabled" | "enabled-runtime") || NEITHER.contains(&found),
        is => is == found,
    }
}

/// A file of a MachineConfig under test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// Where it stands on the node.
    pub path: String,
    /// Its mode, such as 0o755.
    pub mode: u32,
}

/// An image in the registry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ImageFact {
    /// The repository as the MachineConfig names it, such as `quay.io/vendor/driver`.
    pub repository: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// Manifest digest, `sha256:…`.
    pub digest: String,
    /// `srcversion` of every module inside, by module name (with `_`).
    pub modules: BTreeMap<String, String>,
}

/// A network card of the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NicFact {
    /// Name in the scenario, such as `test`.
    pub id: String,
    /// QEMU's device model, such as `e1000`.
    pub model: String,
    /// MAC address, lower case with colons.
    pub mac: String,
    /// The network behind it, where the scenario chooses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_can_not_be_enabled_is_not_disabled_either() {
        for (is, found) in
            [("disabled", "static"), ("enabled", "enabled-runtime"), ("enabled", "static"), ("masked", "masked")]
        {
            assert!(is_so(is, found), "{is} {found}");
        }
        for (is, found) in [
            ("disabled", "enabled"),
            ("disabled", "masked"),
            ("enabled", ""),
            ("enabled", "linked"),
            ("enabled", "disabled"),
            ("enabled", "not-found"),
            ("masked", "static"),
        ] {
            assert!(!is_so(is, found), "{is} {found}");
        }
    }

    #[test]
    fn files_come_before_units_and_what_is_not_there_differs() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, is)| ((*name).into(), (*is).into())).collect();
        let config = ConfigFact {
            name: "rendered-worker-1".into(),
            files: map(&[("/etc/a", "0644 aa"), ("/etc/b", "0644 bb")]),
            units: map(&[("a.service", "enabled"), ("b.service", "masked")]),
        };
        let seen = OnDisk {
            files: map(&[("/etc/a", "0644 aa")]),
            units: map(&[("a.service", "static"), ("b.service", "disabled")]),
        };
        let differ: Vec<_> = config.differences(&seen).iter().map(|one| (one.what, one.name, one.found)).collect();
        assert_eq!(differ, [("file", "/etc/b", None), ("unit", "b.service", Some("disabled"))]);
    }
}
