//! How the MCO's daemon (MCD) takes a running node from one config to another.
//!
//! The rules are those of `pkg/daemon/update.go` and `file_writers.go`, and of `pkg/controller/common/reconcile.go` for
//! what it refuses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::disruption::{After, Differences, Disruption};
use super::node_config::LINKS;
use super::{NodeConfig, NodeUnit, UNIT_MODE, UNITS};
use crate::process::quoted;
use crate::scenario::NodeDisruptionPolicy;

/// A change of a running node. The daemon drains the node where it must, runs [`script`](Self::script), and then what
/// [`end`](Self::end) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeChange {
    /// The config that is in force then.
    pub name: String,
    /// What differs.
    pub differences: Differences,
    /// What it does to the node besides.
    pub disruption: Disruption,
    /// Writes the new config to the node, in a shell.
    pub script: String,
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
    #[error("the MCO refuses to change a running node like that: {why}")]
    Unreconcilable {
        /// What can't be changed.
        why: String,
    },
}

/// The file whose presence makes the daemon skip its own checks.
const FORCE: &str = "/run/machine-config-daemon-force";
/// Which units Ignition enabled. The daemon removes it when it takes over (`IgnitionSystemdPresetFile` in `constants.go`), so
/// that `preset` gives a unit back its state from before all MachineConfigs.
const IGNITION_PRESETS: &str = "/etc/systemd/system-preset/20-ignition.preset";
/// Where it writes the SSH keys of user `core`.
const KEYS: &str = "/home/core/.ssh/authorized_keys.d/ignition";
/// As the daemon does it, but for the ordering behind ostree's own service.
const REBOOT: &str = "systemd-run --unit=machine-config-daemon-reboot --description='reboot for a new config' \
                      sh -c 'systemctl reboot'\n";

impl NodeChange {
    /// Whether the node is drained before anything is written.
    pub fn drains(&self) -> bool {
        self.disruption.drains
    }

    /// Whether it reboots at the end.
    pub fn reboots(&self) -> bool {
        self.disruption.reboot.is_some()
    }

    /// What is done where it does not reboot, in this order.
    pub fn after(&self) -> &[After] {
        &self.disruption.after
    }

    /// Ends the change in a shell, when all is written: asks for the reboot, or does what policies say in its place. A
    /// restart of a oneshot service takes as long as the service.
    pub fn end(&self) -> String {
        if self.reboots() {
            return REBOOT.to_owned();
        }
        let commands: Vec<String> = self.after().iter().map(After::command).collect();
        format!("set -e\n{}\n", commands.join("\n"))
    }
}

impl NodeConfig {
    /// How the daemon takes a running node from this config to `new`, where a cluster has these policies.
    ///
    /// In its order: all files; units that are new or changed; what is not in the new config any more; SSH keys; the
    /// name of the config that is in force. Nothing of that is started or reloaded.
    pub fn change_to(&self, new: &Self, policies: &NodeDisruptionPolicy) -> Result<NodeChange, ChangeError> {
        self.reconcile(new)?;
        let differences = self.differences(new);
        Ok(NodeChange {
            name: new.name.clone(),
            disruption: Disruption::of(&differences, policies),
            script: self.script_to(new),
            differences,
        })
    }

    /// Refuses what needs a new node (`isConfigReconcilable`).
    fn reconcile(&self, new: &Self) -> Result<(), ChangeError> {
        let refuse = |why: String| Err(ChangeError::Unreconcilable { why });
        let mut fixed = differing(&self.fixed, &new.fixed).into_iter();
        if let Some(name) = fixed.find(|name| *name != LINKS || new.fixed.contains_key(LINKS)) {
            return refuse(format!("its {name} differ"));
        }
        if self.users != new.users
            && let Some(user) = new.users.iter().find(|user| !is_reconcilable(user))
        {
            let name = user["name"].as_str().unwrap_or_default();
            return refuse(format!("of user {name:?} more than SSH keys and password of `core` is said"));
        }
        if let Some(path) = new.appended.first() {
            return refuse(format!("{path} is appended to"));
        }
        if new.files.contains_key(FORCE) {
            return refuse(format!("{FORCE} is not to be written by a MachineConfig"));
        }
        if self.system.fips != new.system.fips {
            return refuse("FIPS is switched on or off".to_owned());
        }
        Ok(())
    }

    fn differences(&self, new: &Self) -> Differences {
        let (old_system, new_system) = (&self.system, &new.system);
        let system = [
            ("kernelArguments", old_system.kernel_arguments != new_system.kernel_arguments),
            ("kernelType", old_system.kernel_type != new_system.kernel_type),
            ("extensions", old_system.extensions != new_system.extensions),
            ("osImageURL", old_system.os_image_url != new_system.os_image_url),
        ];
        Differences {
            files: differing(&self.files, &new.files),
            units: differing(&self.units, &new.units),
            ssh: self.users != new.users,
            system: system.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect(),
        }
    }

    fn script_to(&self, new: &Self) -> String {
        let mut script = String::from(
            "set -e\n\
             write() { mkdir -p \"${2%/*}\"; base64 -d >\"$2.mcd\"; chmod \"$1\" \"$2.mcd\"; mv \"$2.mcd\" \"$2\"; }\n",
        );
        line(&mut script, &format!("rm -f {IGNITION_PRESETS}"));
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
        if self.users != new.users {
            users_script(&new.users, &mut script);
        }
        write(&mut script, "/etc/machine-config-daemon/currentconfig", 0o600, new.name.as_bytes());
        line(&mut script, "sync");
        script
    }
}

/// The keys of what is only in one map, or differs.
fn differing<K: Ord + Clone, T: PartialEq>(old: &BTreeMap<K, T>, new: &BTreeMap<K, T>) -> Vec<K> {
    let all: BTreeSet<&K> = old.keys().chain(new.keys()).collect();
    all.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
}

/// Whether only SSH keys and password are said of user `core` (`verifyUserFields`).
fn is_reconcilable(user: &Value) -> bool {
    let said: Vec<&String> = user.as_object().into_iter().flat_map(|user| user.keys()).collect();
    user["name"] == "core"
        && said.len() > 1
        && said.iter().all(|key| ["name", "sshAuthorizedKeys", "passwordHash"].contains(&key.as_str()))
}

fn users_script(users: &[Value], script: &mut String) {
    let keys = users.iter().flat_map(|user| user["sshAuthorizedKeys"].as_array().into_iter().flatten());
    let text: String = keys.filter_map(Value::as_str).map(|key| format!("{key}\n")).collect();
    write(script, KEYS, 0o600, text.as_bytes());
    line(script, "chown -R core: /home/core/.ssh");
    for hash in users.iter().filter_map(|user| user["passwordHash"].as_str()) {
        line(script, &format!("usermod -p {} core", quoted(hash)));
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

#[cfg(test)]
mod tests {
    use super::super::{MachineConfig, Pool, render};
    use super::*;

    fn machine_config(name: &str, spec: &str) -> MachineConfig {
        let text = format!(
            "apiVersion: machineconfiguration.openshift.io/v1\n\
             kind: MachineConfig\n\
             metadata: {{name: {name}, labels: {{machineconfiguration.openshift.io/role: worker}}}}\n\
             spec: {spec}\n"
        );
        MachineConfig::parse(&text, name).unwrap_or_else(|error| panic!("{error}")).remove(0)
    }

    fn config(name: &str, files: &str, units: &str) -> MachineConfig {
        let config =
            format!("{{ignition: {{version: 3.2.0}}, storage: {{files: [{files}]}}, systemd: {{units: [{units}]}}}}");
        machine_config(name, &format!("{{config: {config}}}"))
    }

    fn of(configs: &[MachineConfig]) -> NodeConfig {
        NodeConfig::of(&render(&Pool::new("worker"), configs).expect("rendered")).expect("read")
    }

    fn with(config: &str) -> NodeConfig {
        of(&[base(), machine_config("50-other", &format!("{{config: {{ignition: {{version: 3.3.0}}, {config}}}}}"))])
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

    fn changed(before: &NodeConfig, after: &NodeConfig) -> NodeChange {
        before.change_to(after, &NodeDisruptionPolicy::default()).expect("a change")
    }

    fn refused(before: &NodeConfig, after: &NodeConfig) -> String {
        let error = before.change_to(after, &NodeDisruptionPolicy::default()).expect_err("refused").to_string();
        error.strip_prefix("the MCO refuses to change a running node like that: ").expect("why").to_owned()
    }

    #[test]
    fn a_config_is_written_and_removed_in_the_daemons_order() {
        let (before, after) = (of(&[base()]), of(&[base(), driver()]));
        let change = changed(&before, &after);
        let at =
            |text: &str| change.script.find(text).unwrap_or_else(|| panic!("{text:?} is not in {}", change.script));
        // All files every time, then the units.
        assert!(at("write 644 '/etc/base'") < at("write 755 '/usr/local/bin/x'"));
        assert!(at("/usr/local/bin/x") < at("write 644 '/etc/systemd/system/x.service'"));
        assert!(at("systemctl disable 'x.service' || true; systemctl enable 'x.service'") < at("currentconfig"));
        assert!(at("ln -s /dev/null '/etc/systemd/system/y.service'") < at("currentconfig"));
        assert!(!change.script.contains("reboot") && change.end().contains("systemctl reboot"));
        assert!(change.reboots() && change.drains() && change.name == after.name);
        let change = changed(&after, &before);
        let at =
            |text: &str| change.script.find(text).unwrap_or_else(|| panic!("{text:?} is not in {}", change.script));
        assert!(at("rm -f /etc/systemd/system-preset/20-ignition.preset") < at("systemctl preset 'x.service'"));
        assert!(at("systemctl preset 'x.service'") < at("rm -f '/etc/systemd/system/x.service'"));
        assert!(at("rm -f '/usr/local/bin/x'") < at("rm -f '/etc/systemd/system/y.service'"));
    }

    #[test]
    fn an_unchanged_unit_is_left_alone() {
        let other = config("99-other", "{path: /etc/other, contents: {source: 'data:,x'}}", "");
        let change = changed(&of(&[driver()]), &of(&[driver(), other]));
        assert!(change.script.contains("'/usr/local/bin/x'") && !change.script.contains("x.service"), "{change:?}");
        assert_eq!((change.differences.files, change.differences.units), (vec!["/etc/other".to_owned()], vec![]));
    }

    #[test]
    fn what_is_changed_added_or_removed_differs() {
        let (before, after) = (of(&[base()]), of(&[base(), driver()]));
        let expected = Differences {
            files: vec!["/usr/local/bin/x".into()],
            units: vec!["x.service".into(), "y.service".into()],
            ..Differences::default()
        };
        assert_eq!(changed(&before, &after).differences, expected);
        assert_eq!(changed(&after, &before).differences, expected);
        let mode = config("99-mode", "{path: /etc/base, mode: 384}", "");
        assert_eq!(changed(&before, &of(&[base(), mode])).differences.files, ["/etc/base"]);
        let disabled = config("99-z", "", "{name: x.service, enabled: false}");
        assert_eq!(changed(&after, &of(&[base(), driver(), disabled])).differences.units, ["x.service"]);
        assert_eq!(changed(&after, &after).disruption, Disruption::default());
    }

    #[test]
    fn policies_spare_the_reboot_unless_something_else_goes_with_it() {
        let policies: NodeDisruptionPolicy = serde_yaml::from_str(
            "files: [{path: /etc/image, actions: [{type: Restart, restart: {serviceName: pull.service}}]}]",
        )
        .expect("policies");
        let image =
            |text: &str| config("50-image", &format!("{{path: /etc/image, contents: {{source: 'data:,{text}'}}}}"), "");
        let before = of(&[base(), image("one")]);
        let change = before.change_to(&of(&[base(), image("two")]), &policies).expect("a change");
        assert_eq!((change.reboots(), change.drains()), (false, false));
        assert_eq!(change.after(), [After::Restart("pull.service".into())]);
        assert_eq!(change.end(), "set -e\nsystemctl restart 'pull.service'\n");
        // Removed as well as changed, and added again.
        let without = of(&[base()]);
        assert!(!before.change_to(&without, &policies).expect("a change").reboots());
        assert!(!without.change_to(&before, &policies).expect("a change").reboots());
        let more = before.change_to(&of(&[base(), image("two"), driver()]), &policies).expect("a change");
        assert_eq!(more.disruption.reboot.as_deref(), Some("file /usr/local/bin/x has no node disruption policy"));
        let kernel = machine_config("60-kernel", "{kernelArguments: [quiet]}");
        let more = before.change_to(&of(&[base(), image("two"), kernel]), &policies).expect("a change");
        assert_eq!(more.disruption.reboot.as_deref(), Some("kernelArguments differs"));
    }

    #[test]
    fn what_of_the_system_differs_is_told() {
        let system =
            |spec: &str| changed(&of(&[base()]), &of(&[base(), machine_config("60-x", spec)])).differences.system;
        assert_eq!(system("{kernelArguments: [quiet]}"), ["kernelArguments"]);
        assert_eq!(system("{kernelType: realtime, extensions: [usbguard]}"), ["kernelType", "extensions"]);
        assert_eq!(system("{osImageURL: 'q/os:1'}"), ["osImageURL"]);
        assert_eq!(system("{kernelType: default}"), Vec::<&str>::new());
    }

    #[test]
    fn what_only_the_first_boot_can_make_is_refused() {
        let plain = of(&[base()]);
        let disks = with("storage: {disks: [{device: /dev/vdb, wipeTable: true}]}");
        assert_eq!(refused(&plain, &disks), "its disks differ");
        assert_eq!(refused(&disks, &plain), "its disks differ");
        assert_eq!(refused(&plain, &with("storage: {directories: [{path: /d}]}")), "its directories differ");
        let links = with("storage: {links: [{path: /l, target: /x}]}");
        assert_eq!(refused(&plain, &links), "its links differ");
        assert!(links.change_to(&plain, &NodeDisruptionPolicy::default()).is_ok(), "a link may be taken away");
        let arguments = with("kernelArguments: {shouldExist: [quiet]}");
        assert_eq!(refused(&plain, &arguments), "its Ignition's own kernel arguments differ");
        let appended = with("storage: {files: [{path: /a, overwrite: false, append: [{source: 'data:,x'}]}]}");
        assert_eq!(refused(&plain, &appended), "/a is appended to");
        assert_eq!(refused(&appended, &appended), "/a is appended to");
        let force = with("storage: {files: [{path: /run/machine-config-daemon-force, contents: {source: 'data:,'}}]}");
        assert!(refused(&plain, &force).starts_with("/run/machine-config-daemon-force"));
        let fips = of(&[base(), machine_config("60-x", "{fips: true}")]);
        assert_eq!(refused(&plain, &fips), "FIPS is switched on or off");
    }

    #[test]
    fn of_users_only_core_s_keys_and_password_change() {
        let user = |user: &str| with(&format!("passwd: {{users: [{user}]}}"));
        let plain = of(&[base()]);
        let keys = user("{name: core, sshAuthorizedKeys: [one, two]}");
        let change = changed(&plain, &keys);
        assert!(change.differences.ssh && !change.reboots() && change.after().is_empty(), "{change:?}");
        assert!(change.script.contains("write 600 '/home/core/.ssh/authorized_keys.d/ignition'"), "{change:?}");
        assert!(!changed(&keys, &keys).script.contains("authorized_keys"));
        assert!(changed(&plain, &user("{name: core, passwordHash: x}")).script.contains("usermod -p 'x' core"));
        for other in [
            "{name: alice, sshAuthorizedKeys: [one]}",
            "{name: core, uid: 5, sshAuthorizedKeys: [one]}",
            "{name: core}",
        ] {
            assert!(refused(&plain, &user(other)).contains("more than SSH keys and password of `core`"), "{other}");
        }
        assert_eq!(refused(&plain, &with("passwd: {groups: [{name: g}]}")), "its groups differ");
    }
}
