//! The node's config as it must be on its disk, and a look at what is there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use crate::mco::{NodeConfig, UNIT_MODE, UNITS};
use crate::process::quoted;
use crate::timeline::{ConfigFact, OnDisk};

/// What a config puts on a node.
pub(super) fn fact(config: &NodeConfig) -> ConfigFact {
    let line = |mode: u32, contents: &[u8]| format!("{mode:04o} {}", hex::encode(Sha256::digest(contents)));
    let mut files: BTreeMap<String, String> =
        config.files.iter().map(|(path, file)| (path.clone(), line(file.mode, &file.contents))).collect();
    let mut units = BTreeMap::new();
    for (name, unit) in &config.units {
        let path = format!("{UNITS}/{name}");
        for (dropin, text) in &unit.dropins {
            files.insert(format!("{path}.d/{dropin}"), line(UNIT_MODE, text.as_bytes()));
        }
        // What masked units hold is not looked at, by the MCO neither.
        if unit.mask {
            units.insert(name.clone(), "masked".to_owned());
            continue;
        }
        if let Some(text) = &unit.contents {
            files.insert(path, line(UNIT_MODE, text.as_bytes()));
        }
        if let Some(enabled) = unit.enabled {
            units.insert(name.clone(), if enabled { "enabled" } else { "disabled" }.to_owned());
        }
    }
    ConfigFact { name: config.name.clone(), files, units }
}

/// Prints mode and sum of each file that is there, and what systemd says of each unit.
pub(super) fn script(config: &ConfigFact) -> String {
    let mut script =
        String::from("look() { [ ! -f \"$1\" ] || echo \"$(stat -L -c %04a \"$1\") $(sha256sum <\"$1\")\"\" $1\"; }\n");
    for path in config.files.keys() {
        // Writing to a string does not fail.
        let _ = writeln!(script, "look {}", quoted(path));
    }
    if !config.units.is_empty() {
        let names = config.units.keys().map(|name| quoted(name)).collect::<Vec<_>>().join(" ");
        // It fails where one of them is not enabled, and says what each is, one to a line.
        let _ = writeln!(script, "echo @@\nsystemctl is-enabled {names} || true");
    }
    script
}

/// Reads what [`script`] printed; `None` if systemd has not spoken of each unit, so that nothing tells whose word is whose.
pub(super) fn read(config: &ConfigFact, text: &str) -> Option<OnDisk> {
    let (files, units) = text.split_once("@@\n").unwrap_or((text, ""));
    let file = |line: &str| {
        // MODE SUM  - PATH
        let (mode, rest) = line.split_once(' ')?;
        let (sum, rest) = rest.split_once(' ')?;
        let path = rest.trim_start().strip_prefix("- ")?;
        Some((path.to_owned(), format!("{mode} {sum}")))
    };
    let files = files.lines().filter_map(file).collect();
    let units: Vec<&str> = units.lines().collect();
    (units.len() == config.units.len()).then(|| OnDisk {
        files,
        units: config.units.keys().cloned().zip(units.into_iter().map(str::to_owned)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::mco::{NodeFile, NodeUnit};

    #[test]
    fn what_is_on_disk_is_told_as_what_must_be() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("it's one").display().to_string();
        std::fs::write(&path, "text").expect("written");
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o640);
        std::fs::set_permissions(&path, mode).expect("changed");
        let mut config = NodeConfig::default();
        config.files.insert(path, NodeFile { mode: 0o640, contents: b"text".to_vec() });
        config.files.insert("/no/such/file".into(), NodeFile { mode: 0o644, contents: vec![] });
        let mut expected = fact(&config);
        let output = Command::new("sh").arg("-c").arg(script(&expected)).output().expect("sh runs");
        let seen = read(&expected, &String::from_utf8_lossy(&output.stdout)).expect("whole");
        expected.files.remove("/no/such/file");
        assert_eq!(seen.files, expected.files);
    }

    #[test]
    fn units_are_files_and_what_systemd_says_of_them() {
        let mut config = NodeConfig::default();
        let unit = NodeUnit { contents: Some("[Unit]\n".into()), enabled: Some(true), ..NodeUnit::default() };
        config.units.insert("a.service".into(), unit);
        config.units.insert("b.service".into(), NodeUnit { mask: true, ..NodeUnit::default() });
        let fact = fact(&config);
        assert!(fact.files["/etc/systemd/system/a.service"].starts_with("0644 "));
        assert_eq!(fact.units.values().collect::<Vec<_>>(), ["enabled", "masked"]);
        let seen = read(&fact, "0644 abc  - /etc/systemd/system/a.service\n@@\nenabled\nmasked\n").expect("whole");
        assert_eq!(seen.units, fact.units);
        assert_eq!(read(&fact, "@@\nenabled\n"), None);
        assert_eq!(seen.files["/etc/systemd/system/a.service"], "0644 abc");
    }
}
