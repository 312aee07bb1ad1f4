//! Timelines for the tests of checks: a good trial of pull-then-reboot, and ways to spoil it.

use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use crate::scenario::Scenario;
use crate::timeline::{
    ConfigFact, ConfigServed, Console, Event, Facts, FileFact, ImageFact, JournalRecord, Link, MachineExited,
    MachineStarted, Module, ModuleEvent, NicFact, OnDisk, PciDevice, Qmp, RegistryRequest, Snapshot, Timeline, Unit,
    What, message_id,
};

use super::boot::Boot;

pub const LOAD: &str = "99-worker-day1-nic-load-kernel-module.service";
pub const PULL: &str = "99-worker-day1-nic-pull-kernel-module-image.service";
pub const NM: &str = "NetworkManager.service";

/// The project's own scenario that the good trial follows.
pub fn scenario() -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/pull/pull-then-reboot.yaml");
    Scenario::load_one(&path).unwrap()
}

/// An expectation out of its YAML.
pub fn expect<T: DeserializeOwned>(text: &str) -> T {
    // Through JSON's form: this YAML reader wants tags for enums.
    serde_json::from_value(serde_yaml::from_str(text).unwrap()).unwrap()
}

pub(super) fn boot_of(timeline: &Timeline, number: u32) -> Boot<'_> {
    Boot::new(timeline, number)
}

/// A recorded trial, still to be spoilt.
pub struct Node {
    facts: Option<Facts>,
    boots: Vec<Recorded>,
    end: Option<What>,
}

/// What was recorded of one boot.
pub struct Recorded {
    events: Vec<What>,
    id: String,
    seqnum: u64,
}

impl Node {
    /// Boot 1 pulls and reboots, boot 2 loads before NetworkManager.
    pub fn pulled_and_loaded() -> Self {
        let end = What::MachineExited(MachineExited { expected: true, ..MachineExited::default() });
        let mut node = Self { facts: Some(facts()), boots: vec![], end: Some(end) };
        node.boots.push(first_boot());
        node.boots.push(second_boot());
        node
    }

    pub fn facts(&mut self) -> &mut Facts {
        self.facts.as_mut().unwrap()
    }

    pub fn boot(&mut self, number: usize) -> &mut Recorded {
        &mut self.boots[number - 1]
    }

    /// The snapshot of a settled boot.
    pub fn ready(&mut self, number: usize) -> Ready<'_> {
        let snapshot = self.boot(number).events.iter_mut().find_map(|what| match what {
            What::Snapshot(snapshot) => Some(snapshot.as_mut()),
            _ => None,
        });
        Ready { snapshot: snapshot.unwrap() }
    }

    pub fn add_boot(&mut self) {
        let mut boot = second_boot();
        boot.boot_id("boot-3");
        self.boots.push(boot);
    }

    /// As where the first boot is a checkpoint's: the machine was paused at its reset, and another one started.
    pub fn begins_with_a_checkpoint(&mut self) {
        self.boot(1).qmp("SHUTDOWN", "guest-reset");
        let second = self.boot(2);
        second.remove(|what| matches!(what, What::Qmp(_)));
        second.push(What::MachineStarted(MachineStarted { start: "pulled".into(), ..MachineStarted::default() }));
        second.events.rotate_right(1);
    }

    pub fn drop_boots_after(&mut self, number: usize) {
        self.boots.truncate(number);
    }

    pub fn remove(&mut self, which: impl Fn(&What) -> bool) {
        if self.facts.as_ref().is_some_and(|facts| which(&What::Facts(facts.clone()))) {
            self.facts = None;
        }
        self.end = self.end.take().filter(|end| !which(end));
        self.boots.iter_mut().for_each(|boot| boot.remove(&which));
    }

    pub fn timeline(&self) -> Timeline {
        let facts = self.facts.iter().map(|facts| (0, What::Facts(facts.clone())));
        let boots = self
            .boots
            .iter()
            .zip(1..)
            .flat_map(|(boot, number)| boot.events.iter().map(move |what| (number, what.clone())));
        // A machine that ended by itself was not ended by the harness.
        let by_itself = |what: &What| {
            matches!(what, What::MachineExited(_))
                || matches!(what, What::Qmp(qmp) if qmp.event == "SHUTDOWN" && !qmp.is_paused_at_reset())
        };
        let ended = self.boots.iter().any(|boot| boot.events.iter().any(by_itself));
        let last = self.boots.len().try_into().unwrap();
        let end = self.end.iter().filter(|_| !ended).map(|end| (last, end.clone()));
        let events = facts.chain(boots).chain(end).zip(0..).map(|((boot, what), seq)| {
            Arc::new(Event { seq, at_us: seq * 1000, boot, node: None, recorded: false, what })
        });
        Timeline::from(events.collect::<Vec<_>>())
    }
}

/// A snapshot to be spoilt.
pub struct Ready<'n> {
    pub snapshot: &'n mut Snapshot,
}

impl Ready<'_> {
    pub fn unit(self, name: &str, change: impl FnOnce(&mut Unit)) {
        change(self.snapshot.units.entry(name.to_owned()).or_default());
    }

    pub fn module(self, name: &str, change: impl FnOnce(&mut Module)) {
        change(self.snapshot.modules.entry(name.to_owned()).or_default());
    }
}

impl Recorded {
    fn new(id: &str) -> Self {
        let mut boot = Self { events: vec![], id: id.to_owned(), seqnum: 1 };
        if id == "boot-1" {
            boot.push(What::MachineStarted(MachineStarted::default()));
        } else {
            boot.qmp("RESET", "guest-reset");
            boot.qmp("RESET", "guest-reset");
        }
        boot.console("[    0.000000] Linux version 6.12.41+deb13-amd64 (gcc-14)");
        boot.systemd("", "", "Switching root.", 500_000);
        boot
    }

    pub fn push(&mut self, what: What) {
        self.events.push(what);
    }

    pub fn console(&mut self, line: &str) {
        self.push(What::Console(Console { line: line.to_owned() }));
    }

    pub fn qmp(&mut self, event: &str, reason: &str) {
        let data = serde_json::json!({"guest": reason.starts_with("guest"), "reason": reason});
        self.push(What::Qmp(Qmp { event: event.to_owned(), data }));
    }

    /// Two resets at the head of this boot, beside those that are there if the reason is theirs, else in their place.
    pub fn resets(&mut self, reason: &str) {
        if reason != "guest-reset" {
            self.remove(|what| matches!(what, What::Qmp(_)));
        }
        self.qmp("RESET", reason);
        self.events.rotate_right(1);
    }

    fn record(&mut self, fields: &[(&str, &str)], mono_us: u64) {
        let mut all: std::collections::BTreeMap<String, String> =
            fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.insert("_BOOT_ID".into(), self.id.clone());
        all.insert("__SEQNUM".into(), self.seqnum.to_string());
        all.insert("__SEQNUM_ID".into(), "series".into());
        all.insert("__MONOTONIC_TIMESTAMP".into(), mono_us.to_string());
        self.seqnum += 1;
        self.push(What::Journal(JournalRecord { initramfs: false, fields: all }));
    }

    /// Process 1 says something, about a unit where one is named.
    pub fn systemd(&mut self, unit: &str, id: &str, message: &str, mono_us: u64) {
        let fields = [("_PID", "1"), ("_TRANSPORT", "journal"), ("SYSLOG_IDENTIFIER", "systemd"), ("MESSAGE", message)];
        let about = [("UNIT", unit), ("MESSAGE_ID", id)].into_iter().filter(|(_, value)| !value.is_empty());
        self.record(&fields.into_iter().chain(about).collect::<Vec<_>>(), mono_us);
    }

    pub fn starting(&mut self, unit: &str, mono_us: u64) {
        self.systemd(unit, message_id::UNIT_STARTING, &format!("Starting {unit}..."), mono_us);
    }

    /// A unit's own process says something.
    pub fn say(&mut self, unit: &str, message: &str) {
        let fields = [
            ("_PID", "321"),
            ("_TRANSPORT", "stdout"),
            ("_SYSTEMD_UNIT", unit),
            ("SYSLOG_IDENTIFIER", "bash"),
            ("MESSAGE", message),
        ];
        self.record(&fields, 2_000_000);
    }

    /// The kernel says something.
    pub fn kernel(&mut self, message: &str) {
        self.record(&[("_TRANSPORT", "kernel"), ("SYSLOG_IDENTIFIER", "kernel"), ("MESSAGE", message)], 1);
    }

    /// journald says that it moved all records to /var; each copy took a number.
    pub fn flushed(&mut self) {
        let entries = self.seqnum - 1;
        self.seqnum += entries;
        let message = format!("Time spent on flushing to /var/log/journal/x is 9.155ms for {entries} entries.");
        let fields = [
            ("_PID", "99"),
            ("_TRANSPORT", "driver"),
            ("SYSLOG_IDENTIFIER", "systemd-journald"),
            ("MESSAGE", message.as_str()),
        ];
        self.record(&fields, 1_000_000);
    }

    pub fn boot_id(&mut self, id: &str) {
        id.clone_into(&mut self.id);
        for what in &mut self.events {
            match what {
                What::Journal(record) => drop(record.fields.insert("_BOOT_ID".into(), id.to_owned())),
                What::Snapshot(snapshot) => id.clone_into(&mut snapshot.boot_id),
                _ => {}
            }
        }
    }

    pub fn request(&mut self, subject: &str, reference: &str, change: impl FnOnce(&mut RegistryRequest)) {
        let repository = if subject == "ping" { "" } else { "quay.io/day1/day1-nic" };
        let mut request = RegistryRequest {
            method: "GET".into(),
            path: format!("/v2/day1/day1-nic/{subject}s/{reference}"),
            repository: repository.into(),
            subject: subject.into(),
            reference: reference.into(),
            status: 200,
            bytes: 4096,
            complete: true,
            ..RegistryRequest::default()
        };
        change(&mut request);
        self.push(What::Registry(request));
    }

    pub fn requests(&mut self, change: impl Fn(&mut RegistryRequest)) {
        for what in &mut self.events {
            if let What::Registry(request) = what {
                change(request);
            }
        }
    }

    pub fn modules(&mut self, change: impl Fn(&mut ModuleEvent)) {
        for what in &mut self.events {
            if let What::ModuleLoad(event) | What::ModuleFree(event) = what {
                change(event);
            }
        }
    }

    fn loads(&mut self, module: &str, taints: &str, mono_us: u64) {
        let (module, taints, comm) = (module.into(), taints.into(), "modprobe".into());
        self.push(What::ModuleLoad(ModuleEvent { module, taints, mono_us, comm, pid: 0 }));
    }

    pub fn remove(&mut self, which: impl Fn(&What) -> bool) {
        self.events.retain(|what| !which(what));
    }

    pub fn remove_snapshot(&mut self) {
        self.remove(|what| matches!(what, What::Snapshot(_)));
    }

    pub fn remove_modules(&mut self) {
        self.remove(|what| matches!(what, What::ModuleLoad(_) | What::ModuleFree(_)));
    }

    pub fn remove_requests(&mut self) {
        self.remove(|what| matches!(what, What::Registry(_)));
    }

    pub fn remove_console(&mut self) {
        self.remove(|what| matches!(what, What::Console(_)));
    }

    pub fn remove_journal(&mut self, containing: &str) {
        self.remove(|what| matches!(what, What::Journal(record) if record.message().contains(containing)));
    }
}

fn facts() -> Facts {
    let nic = |id: &str, model: &str, mac: &str| NicFact {
        id: id.into(),
        model: model.into(),
        mac: mac.into(),
        network: None,
    };
    Facts {
        trial: "pull/pull-then-reboot@debian-13".into(),
        scenario_sha256: String::new(),
        says_when_it_has_looked: false,
        instruments_in_config: false,
        node_image: "debian-13".into(),
        kernels: vec!["6.12.41+deb13-amd64".into()],
        kernel: None,
        rendered_sha256: "aa".into(),
        units: [("load".to_owned(), LOAD.to_owned()), ("pull".to_owned(), PULL.to_owned())].into(),
        files: vec![FileFact { path: "/usr/local/bin/load.sh".into(), mode: 0o755 }],
        configs: vec![ConfigFact { name: "rendered-worker-1".into(), files: on_disk().files, units: on_disk().units }],
        images: vec![ImageFact {
            repository: "quay.io/day1/day1-nic".into(),
            tags: vec!["6.12.41_deb13-amd64".into()],
            digest: "sha256:manifest".into(),
            modules: [("day1_nic".to_owned(), "5C5E".to_owned())].into(),
        }],
        registry: "embedded".into(),
        pool: None,
        nics: vec![nic("primary", "virtio-net", "52:54:00:00:00:01"), nic("test", "e1000", "52:54:00:00:00:02")],
        layer: None,
    }
}

fn first_boot() -> Recorded {
    let mut boot = Recorded::new("boot-1");
    boot.push(What::ConfigServed(ConfigServed {
        status: 200,
        sha256: "aa".into(),
        bytes: 9000,
        ..ConfigServed::default()
    }));
    boot.loads("e1000", "", 1_200_000);
    boot.starting(LOAD, 2_000_000);
    boot.systemd(LOAD, message_id::UNIT_SKIPPED, "load: Skipped due to 'exec-condition'.", 2_100_000);
    let skipped = "Condition check resulted in load being skipped.";
    boot.systemd(LOAD, message_id::UNIT_STARTED, skipped, 2_101_000);
    boot.starting(PULL, 9_000_000);
    boot.request("ping", "", |_| {});
    boot.request("manifest", "6.12.41_deb13-amd64", |_| {});
    boot.request("blob", "sha256:config", |_| {});
    boot.request("blob", "sha256:layer", |_| {});
    boot.systemd("", "", &format!("Reboot requested from client PID 640 ('systemctl') (unit {PULL})..."), 20_000_000);
    boot.systemd("", SHUTDOWN, "The system will reboot now!", 20_100_000);
    boot
}

/// What logind says when the system goes down.
const SHUTDOWN: &str = "98268866d1d54a499c4e98921d93bc40";

fn second_boot() -> Recorded {
    let mut boot = Recorded::new("boot-2");
    boot.loads("e1000", "", 1_200_000);
    boot.starting(LOAD, 1_500_000);
    let out =
        ModuleEvent { module: "e1000".into(), mono_us: 2_440_000, comm: "modprobe".into(), ..ModuleEvent::default() };
    boot.push(What::ModuleFree(out));
    boot.loads("day1_nic", "OE", 2_450_000);
    boot.say(LOAD, "day1: loaded day1_nic (srcversion 5C5E) in place of e1000");
    boot.systemd(LOAD, message_id::UNIT_STARTED, "Finished load.", 2_481_000);
    boot.starting(NM, 2_503_000);
    boot.systemd("", message_id::STARTUP_FINISHED, "Startup finished in 2s (kernel) + 20s (userspace)", 22_000_000);
    boot.push(What::Snapshot(Box::new(snapshot())));
    boot.push(What::OnDisk(on_disk()));
    boot
}

fn on_disk() -> OnDisk {
    let one = |name: &str, is: &str| [(name.to_owned(), is.to_owned())].into();
    OnDisk { files: one("/usr/local/bin/load.sh", "0755 5a5a"), units: one(LOAD, "enabled") }
}

fn snapshot() -> Snapshot {
    let in_tree = Module { state: "live".into(), srcversion: "1111".into(), refcnt: Some(0), ..Module::default() };
    let vendor = Module { srcversion: "5C5E".into(), taint: "OE".into(), ..in_tree.clone() };
    let link = |mac: &str, driver: &str, pci: &str| Link {
        mac: mac.into(),
        driver: driver.into(),
        pci: pci.into(),
        ..Link::default()
    };
    let pci = |id: &str, driver: &str| PciDevice { id: id.into(), driver: driver.into() };
    Snapshot {
        label: "ready".into(),
        mono_us: 23_000_000,
        boot_id: "boot-2".into(),
        tainted: 1 << 12 | 1 << 13,
        mounts: vec!["/".into()],
        modules: [("virtio_net".to_owned(), in_tree), ("day1_nic".to_owned(), vendor)].into(),
        links: [
            ("ens3".to_owned(), link("52:54:00:00:00:01", "virtio_net", "0000:00:03.0")),
            ("ens4".to_owned(), link("52:54:00:00:00:02", "day1_nic", "0000:00:04.0")),
        ]
        .into(),
        pci: [
            ("0000:00:03.0".to_owned(), pci("1af4:1000", "virtio-pci")),
            ("0000:00:04.0".to_owned(), pci("8086:100e", "day1_nic")),
        ]
        .into(),
        units: units(),
        ..Snapshot::default()
    }
}

fn units() -> std::collections::BTreeMap<String, Unit> {
    let unit = |start: u64, active: u64, after: &[&str]| Unit {
        load_state: "loaded".into(),
        active_state: "active".into(),
        sub_state: "exited".into(),
        result: "success".into(),
        inactive_exit_us: start,
        active_enter_us: active,
        start_timeout_us: Some(120_000_000),
        after: after.iter().map(|one| (*one).to_owned()).collect(),
        ..Unit::default()
    };
    [
        (LOAD, unit(1_499_000, 2_480_000, &["local-fs.target"])),
        ("network-pre.target", unit(2_490_000, 2_490_000, &[LOAD])),
        (NM, unit(2_502_000, 2_900_000, &["network-pre.target", "dbus.service"])),
        ("local-fs.target", unit(1_000_000, 1_000_000, &[])),
        (PULL, unit(9_000_000, 9_500_000, &["network-online.target", LOAD])),
    ]
    .into_iter()
    .map(|(name, unit)| (name.to_owned(), unit))
    .collect()
}
