//! Which unit of somebody's MachineConfig pulls, and which one loads.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The units by what they do; absent where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roles {
    pub(super) load: Option<String>,
    pub(super) pull: Option<String>,
}

/// Why the roles can't be told.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("cannot read the MachineConfig {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Several units could do one thing.
    #[error("{path}: {units:?} could each be the unit that {role}s; say which one with `units: {{{role}: NAME}}`")]
    Ambiguous {
        /// The MachineConfig's file.
        path: PathBuf,
        /// The candidates.
        units: Vec<String>,
        /// `load` or `pull`.
        role: &'static str,
    },
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct MachineConfig {
    spec: Spec,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Spec {
    config: Config,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Config {
    systemd: Systemd,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Systemd {
    units: Vec<Unit>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Unit {
    name: String,
    enabled: bool,
    contents: Option<String>,
}

impl Unit {
    /// A unit that is to be done before the network comes up loads.
    fn loads(&self) -> bool {
        ["-load-kernel-module.service", "-replace-kernel-module.service"].iter().any(|end| self.name.ends_with(end))
            || self.orders("Before=", &["network-pre.target", "NetworkManager.service"])
    }

    fn orders(&self, key: &str, targets: &[&str]) -> bool {
        self.contents
            .as_deref()
            .unwrap_or_default()
            .lines()
            .filter_map(|line| line.trim().strip_prefix(key))
            .any(|units| units.split_whitespace().any(|unit| targets.contains(&unit)))
    }

    /// Any other service that it starts pulls.
    fn pulls(&self) -> bool {
        self.name.ends_with("-pull-kernel-module-image.service") || !self.loads()
    }
}

/// Reads the roles that are not `said` from the units of a MachineConfig's text. A text that is no MachineConfig has
/// none: what is wrong with it is told by the merge.
pub(super) fn detect(path: &Path, text: &str, said: Roles) -> Result<Roles, Error> {
    let object = crate::mco::yaml::only_object(text).unwrap_or_default();
    let config: MachineConfig = serde_json::from_value(object).unwrap_or_default();
    let units = config.spec.config.systemd.units;
    let services: Vec<&Unit> = units
        .iter()
        .filter(|unit| unit.enabled && unit.contents.is_some() && unit.name.ends_with(".service"))
        .collect();
    let one = |role, said: Option<String>, wanted: fn(&Unit) -> bool| {
        if said.is_some() {
            return Ok(said);
        }
        let names: Vec<String> = services.iter().filter(|unit| wanted(unit)).map(|unit| unit.name.clone()).collect();
        match names.as_slice() {
            [] => Ok(None),
            [name] => Ok(Some(name.clone())),
            _ => Err(Error::Ambiguous { path: path.to_owned(), units: names, role }),
        }
    };
    Ok(Roles { load: one("load", said.load, Unit::loads)?, pull: one("pull", said.pull, Unit::pulls)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles(units: &str) -> Result<Roles, Error> {
        detect(Path::new("mc.yaml"), &format!("spec: {{config: {{systemd: {{units: [{units}]}}}}}}"), Roles::default())
    }

    #[test]
    fn roles_come_from_what_the_units_are_ordered_before() {
        let found = roles(
            "{name: a.service, enabled: true, contents: \"[Unit]\\nBefore=x.target network-pre.target\\n\"},
             {name: b.service, enabled: true, contents: \"[Unit]\\nAfter=network-online.target\\n\"},
             {name: crio-wipe.service, mask: true}",
        );
        let expected = Roles { load: Some("a.service".into()), pull: Some("b.service".into()) };
        assert_eq!(found.expect("roles"), expected);
    }

    #[test]
    fn a_unit_whose_ordering_was_dropped_is_still_known_by_its_name() {
        let found = roles(
            "{name: 99-x-load-kernel-module.service, enabled: true, contents: \"[Unit]\\n\"},
             {name: 99-x-pull-kernel-module-image.service, enabled: true, contents: \"[Unit]\\n\"}",
        );
        let name = |end: &str| Some(format!("99-x-{end}.service"));
        let expected = Roles { load: name("load-kernel-module"), pull: name("pull-kernel-module-image") };
        assert_eq!(found.expect("roles"), expected);
    }

    #[test]
    fn what_the_scenario_says_is_not_looked_for() {
        let units = "{name: a.service, enabled: true, contents: x}, {name: b.service, enabled: true, contents: x}";
        let text = format!("spec: {{config: {{systemd: {{units: [{units}]}}}}}}");
        let said = Roles { load: Some("a.service".into()), pull: Some("b.service".into()) };
        assert_eq!(detect(Path::new("mc.yaml"), &text, said.clone()).expect("roles"), said);
    }

    #[test]
    fn two_candidates_are_refused() {
        let error = roles(
            "{name: a.service, enabled: true, contents: \"[Unit]\\nBefore=network-pre.target\\n\"},
             {name: b.service, enabled: true, contents: \"[Unit]\\nBefore=network-pre.target\\n\"}",
        );
        assert!(matches!(error, Err(Error::Ambiguous { role: "load", .. })));
    }
}
