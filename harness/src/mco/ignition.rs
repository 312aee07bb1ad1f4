//! One Ignition config, parsed and checked, in a form that merges.

use std::collections::BTreeSet;
use std::fmt;

use ignition_config::{v3_0, v3_1, v3_2, v3_3, v3_4, v3_5};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A version of the Ignition spec that the MCO takes: 3.0 to 3.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SpecVersion(u8);

impl SpecVersion {
    /// 3.2.0, the oldest that is rendered: the oldest that every supported node reads.
    pub const OLDEST_RENDERED: Self = Self(2);
    /// The newest.
    pub(crate) const NEWEST: Self = Self(5);

    /// The versions that may be rendered and are older than `version`, oldest first.
    pub(super) fn rendered_before(version: Self) -> impl Iterator<Item = Self> {
        (Self::OLDEST_RENDERED.0..version.0).map(Self)
    }

    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let minor = text.strip_prefix("3.").and_then(|rest| rest.strip_suffix(".0")).and_then(|m| m.parse().ok());
        match minor {
            Some(minor) if minor <= Self::NEWEST.0 => Ok(Self(minor)),
            _ if text.starts_with("2.") => Err(format!(
                "Ignition spec {text} is not supported; convert the config to 3.2.0 (the MCO converts 2.2 itself, this harness does not)"
            )),
            _ => Err(format!("Ignition spec {text:?} is not one that the MCO takes: use 3.0.0 to 3.5.0, best 3.2.0")),
        }
    }
}

impl fmt::Display for SpecVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "3.{}.0", self.0)
    }
}

impl<'de> Deserialize<'de> for SpecVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// A type of `ignition-config` for one spec version.
pub(crate) trait Typed: DeserializeOwned + Serialize {}
impl<T: DeserializeOwned + Serialize> Typed for T {}

/// Something to do with the type of a spec version.
pub(crate) trait WithTyped {
    /// What comes out.
    type Output;
    /// Does it with the version's type.
    fn with<C: Typed>(self) -> Self::Output;
}

impl SpecVersion {
    /// Runs `action` with this version's type.
    pub(crate) fn dispatch<A: WithTyped>(self, action: A) -> A::Output {
        match self.0 {
            0 => action.with::<v3_0::Config>(),
            1 => action.with::<v3_1::Config>(),
            2 => action.with::<v3_2::Config>(),
            3 => action.with::<v3_3::Config>(),
            4 => action.with::<v3_4::Config>(),
            _ => action.with::<v3_5::Config>(),
        }
    }
}

/// An Ignition config: its version, and its content with unset keys left out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ignition {
    pub(super) version: SpecVersion,
    pub(super) config: Map<String, Value>,
}

impl Ignition {
    /// Takes a config of the version's type; keys that the spec doesn't have were dropped by the type, as the
    /// MCO drops them.
    pub(super) fn from_typed(version: SpecVersion, typed: &impl Serialize) -> Result<Self, String> {
        let mut value = serde_json::to_value(typed).map_err(|error| error.to_string())?;
        remove_unset(&mut value);
        let Value::Object(config) = value else { return Err("an Ignition config is a mapping".to_owned()) };
        let ignition = Self { version, config };
        ignition.check()?;
        Ok(ignition)
    }

    /// Ignition's and the MCO's own refusals, as far as types don't make them.
    fn check(&self) -> Result<(), String> {
        self.check_nodes()?;
        self.check_units()
    }

    fn check_nodes(&self) -> Result<(), String> {
        let mut paths = BTreeSet::new();
        for kind in ["files", "directories", "links"] {
            for node in items(self.config.get("storage"), kind) {
                let path = text(node, "path");
                if let Some(problem) = problem_of_path(path) {
                    return Err(format!("storage.{kind}: the path {path:?} {problem}"));
                }
                if !paths.insert(path) {
                    return Err(format!(
                        "storage: {path} is there twice; later files must be in a later MachineConfig"
                    ));
                }
                check_mode(kind, path, node)?;
                if kind == "files" {
                    check_contents(path, node)?;
                }
            }
        }
        Ok(())
    }

    fn check_units(&self) -> Result<(), String> {
        let mut names = BTreeSet::new();
        for unit in items(self.config.get("systemd"), "units") {
            let name = text(unit, "name");
            if !is_unit_name(name) {
                return Err(format!(
                    "systemd.units: {name:?} is no unit name; it ends in .service, .mount, .target, …"
                ));
            }
            if !names.insert(name) {
                return Err(format!("systemd.units: {name} is there twice"));
            }
            let mut dropins = BTreeSet::new();
            for dropin in items(Some(unit), "dropins") {
                let dropin = text(dropin, "name");
                if !dropin.ends_with(".conf") || dropin.contains('/') {
                    return Err(format!("{name}: the drop-in name {dropin:?} doesn't end in .conf"));
                }
                if !dropins.insert(dropin) {
                    return Err(format!("{name}: the drop-in {dropin} is there twice"));
                }
            }
        }
        Ok(())
    }
}

fn check_mode(kind: &str, path: &str, node: &Value) -> Result<(), String> {
    match node.get("mode").and_then(Value::as_i64) {
        // The MCO takes no setuid, setgid and sticky bits: helpers.go, validation of file modes.
        Some(mode @ (..0 | 0o1000..)) => Err(format!(
            "storage.{kind}: {path} has mode {mode} (octal {mode:o}); the MCO refuses what is above 511 (octal 0777); note that JSON and Ignition modes are decimal"
        )),
        _ => Ok(()),
    }
}

fn check_contents(path: &str, node: &Value) -> Result<(), String> {
    let has_source = node.pointer("/contents/source").is_some();
    if node.get("overwrite") == Some(&Value::Bool(true)) && !has_source {
        return Err(format!(
            "storage.files: overwrite is true for {path}, which has no contents.source; Ignition refuses that (`data:,` is an empty file)"
        ));
    }
    let appended = items(Some(node), "append");
    for resource in node.get("contents").into_iter().chain(appended) {
        let source = text(resource, "source");
        let schemes = ["data:", "http://", "https://", "s3://", "gs://", "tftp://", "arn:"];
        if !source.is_empty() && !schemes.iter().any(|scheme| source.starts_with(scheme)) {
            let shown: String = source.chars().take(40).collect();
            return Err(format!(
                "storage.files: {path}: the source {shown:?} is no URL; inline text is `data:,` and the text URL-encoded"
            ));
        }
    }
    Ok(())
}

/// What Ignition refuses in a path (`ErrPathRelative`, `ErrDirtyPath`), as the end of a sentence.
pub(crate) fn problem_of_path(path: &str) -> Option<&'static str> {
    let Some(rest) = path.strip_prefix('/') else { return Some("is not an absolute path") };
    let dirty = !rest.is_empty() && rest.split('/').any(|part| ["", ".", ".."].contains(&part));
    dirty.then_some("is not fully simplified: it has `..`, `.`, `//` or a slash at its end")
}

pub(crate) fn is_unit_name(name: &str) -> bool {
    const SUFFIXES: [&str; 11] =
        ["service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"];
    let allowed = |c: char| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c);
    name.len() <= 255
        && name.chars().all(allowed)
        && name.rsplit_once('.').is_some_and(|(stem, suffix)| !stem.is_empty() && SUFFIXES.contains(&suffix))
}

/// The items of a list in an object; none if it isn't there.
pub(super) fn items<'a>(object: Option<&'a Value>, list: &str) -> impl Iterator<Item = &'a Value> {
    object.and_then(|object| object.get(list)).and_then(Value::as_array).into_iter().flatten()
}

/// A text in an object; empty if it isn't there.
pub(super) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// Leaves out what is null: in Ignition it means the same, and the types write every unset key.
fn remove_unset(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_unset);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_unset),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(config: Value) -> Result<(), String> {
        let Value::Object(config) = config else { panic!("an object") };
        Ignition { version: SpecVersion(2), config }.check()
    }

    #[test]
    fn versions_of_spec_3_up_to_5_are_taken() {
        for good in ["3.0.0", "3.2.0", "3.5.0"] {
            assert_eq!(SpecVersion::parse(good).expect("taken").to_string(), good);
        }
        for bad in ["3.6.0", "3.2", "2.2.0", "3.6.0-experimental", "x"] {
            assert!(SpecVersion::parse(bad).is_err(), "{bad}");
        }
        assert!(SpecVersion::parse("2.2.0").expect_err("refused").contains("convert"));
    }

    #[test]
    fn what_the_mco_refuses_is_refused() {
        let file = |file: Value| check(json!({ "storage": { "files": [file] } }));
        assert_eq!(file(json!({ "path": "/a", "mode": 511 })), Ok(()));
        assert!(file(json!({ "path": "/a", "mode": 755 })).expect_err("refused").contains("octal 1363"));
        assert!(file(json!({ "path": "a" })).is_err());
        for dirty in ["/a/../b", "/a//b", "/a/", "/./a"] {
            assert!(file(json!({ "path": dirty })).expect_err("refused").contains("fully simplified"), "{dirty}");
        }
        assert!(file(json!({ "path": "/a", "overwrite": true })).expect_err("refused").contains("no contents.source"));
        assert_eq!(file(json!({ "path": "/a", "overwrite": true, "contents": { "source": "" } })), Ok(()));
        assert!(file(json!({ "path": "/a", "contents": { "source": "text" } })).is_err());
        let twice = json!({ "storage": { "files": [{ "path": "/a" }], "links": [{ "path": "/a", "target": "b" }] } });
        assert!(check(twice).is_err());
    }

    #[test]
    fn units_need_unit_names_once_each() {
        let units = |units: Value| check(json!({ "systemd": { "units": units } }));
        assert_eq!(units(json!([{ "name": "a@.service" }, { "name": "dev-sd\\x2da.mount" }])), Ok(()));
        assert!(units(json!([{ "name": "a" }])).is_err());
        assert!(units(json!([{ "name": ".service" }])).is_err());
        assert!(units(json!([{ "name": "a/b.service" }])).is_err());
        assert!(units(json!([{ "name": "a.service" }, { "name": "a.service" }])).is_err());
        assert!(units(json!([{ "name": "a.service", "dropins": [{ "name": "x" }] }])).is_err());
    }
}
