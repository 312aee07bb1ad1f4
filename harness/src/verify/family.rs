//! The vendor family: what a driver has to stand, as scenarios about the vendor's own image, module and MachineConfig.

use serde_json::{Value, json};

/// What is under test, in the words of scenarios.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The image, as `from` of a scenario's image has it.
    pub image: String,
    /// The repository that the MachineConfig names.
    pub repository: String,
    /// The module, with underscores.
    pub module: String,
    /// The in-tree modules that must be gone, with underscores and in their order; the module's own name is not among them.
    pub in_tree: Vec<String>,
    /// The MachineConfig.
    pub machine_config: MachineConfig,
    /// The emulated network card that the module drives.
    pub card: Option<Card>,
    /// Whether the module is signed by anybody.
    pub signed: bool,
    /// Files with the certificates that the nodes are to trust for modules, relative to the scenarios.
    pub trusted_keys: Vec<String>,
    /// Kernels of the node image between which it is upgraded, counted from 1.
    pub upgrade: Option<(usize, usize)>,
}

/// A MachineConfig under test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineConfig {
    /// Made by the generator, from these parameters.
    Generated(Value),
    /// A file beside the scenarios' directory.
    File {
        /// The file, relative to the scenarios.
        path: String,
        /// The unit that loads, where that can be told.
        load_unit: Option<String>,
    },
}

/// A network card that QEMU emulates, and the in-tree driver that takes it on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Card {
    /// The model, in the words of scenarios.
    pub model: &'static str,
    /// Its in-tree driver.
    pub driver: &'static str,
    /// What an alias of a module that drives it begins with.
    alias: &'static str,
}

/// PCI ids of QEMU's models (`docs/specs/pci-ids.rst` and `hw/net/` there).
const CARDS: [Card; 4] = [
    Card { model: "e1000", driver: "e1000", alias: "pci:v00008086d0000100E" },
    Card { model: "e1000e", driver: "e1000e", alias: "pci:v00008086d000010D3" },
    Card { model: "igb", driver: "igb", alias: "pci:v00008086d000010C9" },
    Card { model: "virtio-net", driver: "virtio_net", alias: "virtio:d00000001" },
];

impl Card {
    /// The card that a module with these aliases drives.
    pub fn of(aliases: &[String]) -> Option<Self> {
        CARDS.into_iter().find(|card| aliases.iter().any(|alias| alias.starts_with(card.alias)))
    }
}

/// A scenario of the family.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it proves, in a person's words.
    pub proves: String,
    /// The scenario, as YAML has it.
    pub scenario: Value,
}

/// The name of the scenarios' family, and of their label.
pub const FAMILY: &str = "vendor";

/// The MachineConfig's name, where the generator makes it.
pub(super) const CONFIG: &str = "99-worker-driver-under-test";

impl Subject {
    /// All that fit this subject.
    pub fn family(&self) -> Vec<Member> {
        let generated = self.is_generated();
        let mut family = vec![self.loads(), self.power_cut(), self.images_collected(), self.reload()];
        family.push(self.registry_away());
        if generated && !self.signed {
            family.push(self.signed_only());
        }
        if self.signed && !self.trusted_keys.is_empty() {
            family.push(self.secure_boot());
        }
        family.extend(self.upgrade.map(|(from, to)| self.kernel_upgrade(from, to)));
        family
    }

    fn is_generated(&self) -> bool {
        matches!(self.machine_config, MachineConfig::Generated(_))
    }

    fn loads(&self) -> Member {
        let then_reboot = with(self.ready(), json!({ "then": "reboot" }));
        let boots = json!([self.pulls(), then_reboot, self.ready()]);
        let in_tree = self.instead();
        Member {
            name: "loads",
            proves: format!(
                "on a node's first boot the image is pulled; from the next boot on {} is loaded{in_tree}, before NetworkManager starts",
                self.module
            ),
            scenario: self
                .scenario("The image is pulled, the module is loaded, and a later boot loads it again.", boots),
        }
    }

    fn power_cut(&self) -> Member {
        let event = match self.in_tree.first() {
            Some(name) => json!({ "module": { "name": name, "is": "removed" } }),
            None => json!({ "unit": { "name": "load", "is": "starting" } }),
        };
        let boots = json!([self.pulls(), { "ends": "cut" }, with(self.loaded(false), json!({ "at-most": 2 }))]);
        let mut scenario = self.scenario("The power fails while the module is being loaded.", boots);
        scenario["happens"] = json!([{ "when": event, "boot": 2, "do": "power-cut" }]);
        Member {
            name: "power-cut",
            proves: "a power cut while it is being loaded is made good by itself".into(),
            scenario,
        }
    }

    fn images_collected(&self) -> Member {
        let then = with(self.ready(), json!({ "then": ["collect-images", "reboot"] }));
        let boots = json!([self.pulls(), then, self.ready()]);
        Member {
            name: "images-collected",
            proves: "it is loaded also after kubelet has removed the node's unused images".into(),
            scenario: self.scenario("kubelet collects the node's images between two boots.", boots),
        }
    }

    fn registry_away(&self) -> Member {
        let mut expect = json!({
            "unit.result": { "unit": "pull", "result": "failed" },
            "module.absent": { "module": self.module },
        });
        self.in_tree_drives(&mut expect);
        let boots = json!([{ "ends": "ready", "expect": expect }]);
        let mut scenario = self.scenario("Nothing answers at the registry's address.", boots);
        scenario["registry"] = json!({ "reachable": false });
        if self.is_generated() {
            // So that the node settles soon.
            scenario["machine-configs"][0]["generate"]["pull_timeout"] = json!(60);
        }
        Member {
            name: "registry-away",
            proves: "where the registry can't be reached the node comes up without the module, and does not reboot"
                .into(),
            scenario,
        }
    }

    fn signed_only(&self) -> Member {
        let mut expect = json!({
            "unit.result": { "unit": "pull", "result": "failed" },
            "module.absent": { "module": self.module },
        });
        self.in_tree_drives(&mut expect);
        let boots = json!([{ "ends": "ready", "expect": expect }]);
        let mut scenario = self.scenario("The node has Secure Boot, and its kernel loads signed modules only.", boots);
        scenario["node"]["secure-boot"] = json!(true);
        Member {
            name: "signed-only",
            proves: "on a node with Secure Boot this unsigned module is refused and changes nothing".into(),
            scenario,
        }
    }

    fn secure_boot(&self) -> Member {
        let boots = json!([self.pulls(), self.ready()]);
        let mut scenario =
            self.scenario("The node has Secure Boot, and trusts the certificates that were given.", boots);
        scenario["node"]["secure-boot"] = json!(true);
        scenario["node"]["enrolled-certificates"] = json!(self.trusted_keys);
        Member {
            name: "secure-boot",
            proves: "on a node with Secure Boot that trusts the given certificates it is loaded".into(),
            scenario,
        }
    }

    fn reload(&self) -> Member {
        let mut ready = self.loaded(true);
        add(&mut ready["expect"]["unit.result"], json!({ "unit": RELOAD, "result": "success" }));
        // What counts would be its last start, long after the boot.
        ready["expect"].as_object_mut().map(|expect| expect.remove("unit.before"));
        let mut scenario =
            self.scenario("The module is taken out and loaded again, twice.", json!([self.pulls(), ready]));
        let load = match &self.machine_config {
            MachineConfig::Generated(_) => format!("{CONFIG}-load-kernel-module.service"),
            MachineConfig::File { load_unit, .. } => load_unit.clone().unwrap_or_default(),
        };
        let script = RELOAD_SCRIPT
            .replace("@MODULE@", &self.module)
            .replace("@IN_TREE@", &self.in_tree.join(" "))
            .replace("@LOAD@", &load);
        add(
            &mut scenario["node"]["files"],
            json!({ "path": "/usr/local/bin/day1-reload", "mode": "0755", "contents": script }),
        );
        let text = RELOAD_UNIT.replace("@MODULE@", &self.module).replace("@LOAD@", &load);
        add(&mut scenario["node"]["units"], unit(RELOAD, &text));
        Member {
            name: "reload",
            proves: "it can be taken out and loaded again, its use count goes to zero, and the kernel has nothing to complain of"
                .into(),
            scenario,
        }
    }

    fn kernel_upgrade(&self, from: usize, to: usize) -> Member {
        let then = with(self.ready(), json!({ "then": [{ "boot-kernel": to }, "reboot"] }));
        let mut last = self.ready();
        last["expect"]["kernel.running"] = json!({ "kernel": to });
        let boots = json!([self.pulls(), then, self.pulls(), last]);
        let mut scenario = self.scenario("The node gets another kernel, for which there is an image too.", boots);
        scenario["node"]["kernel"] = json!(from);
        scenario["registry"]["images"] = json!([self.image(Some(from)), self.image(Some(to))]);
        Member {
            name: "kernel-upgrade",
            proves: "after an upgrade of the kernel the image of the new one is pulled and loaded".into(),
            scenario,
        }
    }

    fn scenario(&self, description: &str, boots: Value) -> Value {
        let config = match &self.machine_config {
            MachineConfig::Generated(parameters) => json!({ "generate": parameters }),
            MachineConfig::File { path, .. } => json!({ "file": path }),
        };
        let mut node = json!({ "files": [], "units": [] });
        match self.card {
            Some(card) => {
                node["nics"] =
                    json!([{ "id": "primary", "model": "virtio-net" }, { "id": "test", "model": card.model }]);
            }
            // Without a card of theirs nothing loads the in-tree ones.
            None if !self.in_tree.is_empty() => {
                let text = IN_TREE_LOADED.replace("@IN_TREE@", &self.in_tree.join(" "));
                add(&mut node["units"], unit("day1-in-tree-drivers.service", &text));
            }
            None => {}
        }
        json!({
            "description": description,
            "labels": [FAMILY],
            "node": node,
            "registry": { "images": [self.image(None)] },
            "machine-configs": [config],
            "boots": boots,
        })
    }

    fn image(&self, kernel: Option<usize>) -> Value {
        let mut image = json!({ "repository": self.repository, "from": self.image });
        if let Some(kernel) = kernel {
            image["kernel"] = json!(kernel);
        }
        image
    }

    /// A first boot, which pulls and reboots.
    fn pulls(&self) -> Value {
        json!({ "ends": "reboot", "by": "pull", "expect": { "image.pulled": { "repository": self.repository } } })
    }

    /// A boot with the module, which asks nothing of the registry.
    fn ready(&self) -> Value {
        let mut boot = self.loaded(false);
        boot["expect"]["image.not-pulled"] = json!({});
        boot
    }

    fn loaded(&self, taken_out_later: bool) -> Value {
        let mut expect = json!({
            "unit.result": [{ "unit": "load", "result": "success" }, { "unit": "pull", "result": "success" }],
            "unit.before": [
                { "unit": "load", "before": "NetworkManager.service", "module": self.module },
                { "unit": "load", "before": "network-pre.target" },
            ],
        });
        if taken_out_later {
            expect["module.present"] =
                json!({ "module": self.module, "origin": "out-of-tree", "may-have-been-removed": true });
        } else {
            expect["module.replaced"] = json!({ "module": self.module, "in-tree": self.in_tree });
        }
        if self.card.is_some() {
            expect["nic.driver"] = json!({ "nic": "test", "driver": self.module });
        }
        json!({ "ends": "ready", "expect": expect })
    }

    /// The card's own driver stays where it is.
    fn in_tree_drives(&self, expect: &mut Value) {
        if let Some(card) = self.card.filter(|card| self.in_tree.iter().any(|name| name == card.driver)) {
            expect["module.present"] = json!({ "module": card.driver, "origin": "in-tree" });
            expect["nic.driver"] = json!({ "nic": "test", "driver": card.driver });
        }
    }

    fn instead(&self) -> String {
        if self.in_tree.is_empty() { String::new() } else { format!(" in the place of {}", self.in_tree.join(", ")) }
    }
}

fn with(mut value: Value, more: Value) -> Value {
    if let (Some(value), Value::Object(more)) = (value.as_object_mut(), more) {
        value.extend(more);
    }
    value
}

fn add(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

fn unit(name: &str, contents: &str) -> Value {
    json!({ "name": name, "contents": contents })
}

const IN_TREE_LOADED: &str = include_str!("guest/in-tree-drivers.service");
const RELOAD: &str = "day1-reload.service";
const RELOAD_UNIT: &str = include_str!("guest/reload.service");
const RELOAD_SCRIPT: &str = include_str!("guest/reload.sh");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scenario::Scenario;

    fn subject() -> Subject {
        Subject {
            image: "oci:/images/driver".into(),
            repository: "quay.io/vendor/driver".into(),
            module: "nic".into(),
            in_tree: vec!["e1000".into()],
            machine_config: MachineConfig::Generated(json!({
                "machine_config_name": CONFIG,
                "machine_config_pool_ref": "worker",
                "kernel_module_image": "quay.io/vendor/driver",
                "kernel_module_name": "nic",
                "in_tree_modules_to_remove": ["e1000", "nic"],
                "firmware_files_path": "/firmware",
            })),
            card: Card::of(&["pci:v00008086d0000100Esv*sd*bc*sc*i*".into()]),
            signed: false,
            trusted_keys: vec!["../trusted-1.der".into()],
            upgrade: Some((1, 3)),
        }
    }

    fn names(subject: &Subject) -> Vec<&'static str> {
        subject.family().iter().map(|member| member.name).collect()
    }

    fn parsed(member: &Member) -> Scenario {
        let text = serde_yaml::to_string(&member.scenario).expect("YAML");
        let path = format!("{FAMILY}/{}.yaml", member.name);
        let rows = Scenario::parse(Path::new(&path), text.clone());
        rows.unwrap_or_else(|mistakes| panic!("{}\n{text}", mistakes.plain())).remove(0)
    }

    #[test]
    fn every_member_is_a_good_scenario_whatever_the_subject_is() {
        let file = MachineConfig::File { path: "../machine-config.yaml".into(), load_unit: Some("x.service".into()) };
        let subjects = [
            subject(),
            Subject { card: None, ..subject() },
            Subject { in_tree: vec![], card: None, ..subject() },
            Subject { machine_config: file, ..subject() },
            Subject { signed: true, upgrade: None, ..subject() },
        ];
        for subject in &subjects {
            for member in subject.family() {
                let scenario = parsed(&member);
                assert!(scenario.has_label(FAMILY), "{}", member.name);
                assert!(!member.proves.is_empty());
            }
        }
    }

    #[test]
    fn what_does_not_fit_the_subject_is_left_out() {
        assert!(names(&subject()).contains(&"signed-only") && names(&subject()).contains(&"kernel-upgrade"));
        let other = Subject { signed: true, upgrade: None, ..subject() };
        assert!(!names(&other).contains(&"signed-only") && !names(&other).contains(&"kernel-upgrade"));
        assert!(names(&other).contains(&"secure-boot") && !names(&subject()).contains(&"secure-boot"));
        assert!(!names(&Subject { trusted_keys: vec![], ..other }).contains(&"secure-boot"));
    }

    #[test]
    fn the_module_s_own_card_is_in_the_machine_and_no_other_one_counts() {
        let boots = |subject: &Subject| parsed(&subject.family()[0]).spec.boots;
        assert_eq!(boots(&subject())[1].expect.nic_driver[0].driver.as_str(), "nic");
        assert!(boots(&Subject { card: None, ..subject() })[1].expect.nic_driver.is_empty());
        assert_eq!(Card::of(&["pci:v00008086d00001572sv*sd*bc*sc*i*".into()]), None);
        assert_eq!(Card::of(&["x".into(), "virtio:d00000001v*".into()]).map(|card| card.model), Some("virtio-net"));
    }

    #[test]
    fn a_unit_that_is_started_again_on_a_running_node_is_not_held_against_the_boot_s_order() {
        let family = subject().family();
        let ordered: Vec<&str> = family
            .iter()
            .filter(|member| parsed(member).spec.boots.iter().any(|boot| !boot.expect.unit_before.is_empty()))
            .map(|member| member.name)
            .collect();
        assert_eq!(ordered, ["loads", "power-cut", "images-collected", "kernel-upgrade"]);
    }

    #[test]
    fn without_a_card_the_in_tree_drivers_are_loaded_beforehand() {
        let member = &Subject { card: None, ..subject() }.family()[0];
        let units = &parsed(member).spec.node.units;
        assert!(units[0].contents.as_ref().is_some_and(|text| text.contains("modprobe -a e1000")));
        assert!(parsed(&subject().family()[0]).spec.node.units.is_empty());
    }

    #[test]
    fn the_scripts_pass_shellcheck() {
        if std::process::Command::new("shellcheck").arg("--version").output().is_err() {
            eprintln!("skipped: shellcheck is not installed");
            return;
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("reload.sh");
        let script =
            RELOAD_SCRIPT.replace("@MODULE@", "nic").replace("@IN_TREE@", "e1000 x").replace("@LOAD@", "l.service");
        std::fs::write(&path, script).expect("written");
        crate::process::output(std::process::Command::new("shellcheck").arg(&path)).expect("a clean script");
    }
}
