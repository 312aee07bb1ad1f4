//! One boot of a timeline, as the checks look at it.

use crate::scenario::{Role, UnitRef};
use crate::timeline::{Console, Event, Facts, JournalRecord, ModuleEvent, Snapshot, Timeline, Unit, What, message_id};

use super::journal::is_kernels;
use super::{Evidence, bad_pattern};

/// One boot of a timeline.
pub(super) struct Boot<'t> {
    pub number: u32,
    pub facts: Option<&'t Facts>,
    pub events: Vec<&'t Event>,
    /// Guest's clock at switch-root; what happened before it happened in the initramfs.
    real_root_us: u64,
    /// The label of the snapshot that counts.
    look: &'t str,
}

/// A module's way in or out of the kernel.
#[derive(Clone, Copy)]
pub(super) struct ModuleChange<'t> {
    pub event: &'t Event,
    pub change: &'t ModuleEvent,
    pub loaded: bool,
}

impl<'t> Boot<'t> {
    pub fn new(timeline: &'t Timeline, number: u32) -> Self {
        let events: Vec<&Event> = timeline.of_boot(number).collect();
        let mut boot = Self { number, facts: timeline.facts(), events, real_root_us: 0, look: READY };
        // Said by the initramfs's systemd right before it hands over; through the kernel's log where the journal
        // is gone already, and then without process 1's own fields.
        let from_systemd =
            |record: &JournalRecord| record.is_from_systemd() || record.field("SYSLOG_IDENTIFIER") == "systemd";
        let handover = boot.journal().filter(|(_, record)| from_systemd(record));
        let handover = handover.filter(|(_, record)| record.message().starts_with("Switching root"));
        boot.real_root_us = handover.filter_map(|(_, record)| record.mono_us()).max().unwrap_or(0);
        boot
    }

    /// The boot as it was until an event, for which it was looked at under another label than the usual.
    pub fn looked_at(timeline: &'t Timeline, number: u32, label: &'t str, until: u64) -> Self {
        let mut boot = Self { look: label, ..Self::new(timeline, number) };
        boot.events.retain(|event| event.seq <= until);
        boot
    }

    /// When the initramfs ended, on the guest's clock.
    pub fn switched_root_us(&self) -> Option<u64> {
        (self.real_root_us > 0).then_some(self.real_root_us)
    }

    pub fn journal(&self) -> impl Iterator<Item = (&'t Event, &'t JournalRecord)> + '_ {
        self.events.iter().filter_map(|event| match &event.what {
            What::Journal(record) => Some((*event, record)),
            _ => None,
        })
    }

    /// Records of the real root in the order of the guest's clock.
    pub fn real_root_journal(&self) -> Vec<(&'t Event, &'t JournalRecord)> {
        let mut records: Vec<_> = self.journal().filter(|(_, record)| self.is_of_real_root(record)).collect();
        records.sort_by_key(|(_, record)| record.mono_us());
        records
    }

    fn is_of_real_root(&self, record: &JournalRecord) -> bool {
        record.mono_us().is_none_or(|mono| mono > self.real_root_us) && !record.initramfs
    }

    /// What systemd itself said about a unit in the real root, oldest first.
    pub fn about(&self, unit: &str) -> Vec<(&'t Event, &'t JournalRecord)> {
        let mut records = self.real_root_journal();
        records.retain(|(_, record)| record.is_from_systemd() && record.field("UNIT") == unit);
        records
    }

    /// What a unit's own processes said, oldest first.
    pub fn said_by(&self, unit: &str) -> Vec<(&'t Event, &'t JournalRecord)> {
        let mut records = self.real_root_journal();
        records.retain(|(_, record)| !record.is_from_systemd() && record.field("_SYSTEMD_UNIT") == unit);
        records
    }

    /// The snapshot of the settled node, or that under the label that counts; else the last one that was taken.
    pub fn snapshot(&self) -> Option<(&'t Event, &'t Snapshot)> {
        let snapshots = || {
            self.events.iter().rev().filter_map(|event| match &event.what {
                What::Snapshot(snapshot) => Some((*event, snapshot.as_ref())),
                _ => None,
            })
        };
        snapshots().find(|(_, snapshot)| snapshot.label == self.look).or_else(|| snapshots().next())
    }

    /// Whether the node settled: systemd said so, or the harness saw it.
    pub fn settled(&self) -> Option<&'t Event> {
        let by_snapshot =
            self.events.iter().find(|event| matches!(&event.what, What::Snapshot(snapshot) if snapshot.label == READY));
        self.startup_finished().or(by_snapshot.copied())
    }

    /// How many times the trial cut the node's power in this boot. A cut before the kernel began leaves it the same boot.
    pub fn cuts(&self) -> usize {
        let is_cut = |event: &&&Event| matches!(&event.what, What::Happened(happened) if happened.action == POWER_CUT && happened.failed.is_none());
        self.events.iter().filter(is_cut).count()
    }

    /// Whether the boot was followed to an end: it settled, its deadline passed, it became hopeless, or another
    /// boot followed. What did not happen in a boot that was not, may have been about to.
    pub fn was_followed_to_its_end(&self, timeline: &Timeline) -> bool {
        let gave_up = |event: &&Event| {
            matches!(event.what, What::DeadlinePassed { .. }) || bad_pattern(&event.what).is_some_and(|bad| bad.fatal)
        };
        timeline.boots() > self.number || self.settled().is_some() || self.events.iter().any(gave_up)
    }

    /// The kernel's word that a CPU's timer did not fire, while no module from outside its tree had been in it: the
    /// machine stood still, whatever is under test. Seen under TCG on busy hosts, from the second CPU's start on.
    pub fn stood_still(&self) -> Option<Evidence> {
        let mut untainted = false;
        for event in &self.events {
            let What::Console(console) = &event.what else { continue };
            let line = console.line.as_str();
            if !is_kernels(line) {
                continue;
            }
            if line.contains("Tainted: ") || line.contains("taints kernel") {
                return None;
            }
            untainted |= line.contains("Not tainted ");
            if untainted && line.contains("Possible timer handling issue on cpu=") {
                return Some(console_line(event, console));
            }
        }
        None
    }

    /// systemd's word that the real root's start-up is finished.
    pub fn startup_finished(&self) -> Option<&'t Event> {
        let records = self.real_root_journal().into_iter();
        let mut finished =
            records.filter(|(_, r)| r.is_from_systemd() && r.message_id() == message_id::STARTUP_FINISHED);
        finished.next().map(|(event, _)| event)
    }

    pub fn unit(&self, name: &str) -> Option<(&'t Event, &'t Unit)> {
        let (event, snapshot) = self.snapshot()?;
        snapshot.units.get(name).map(|unit| (event, unit))
    }

    /// When a unit first left the inactive state in the real root, on the guest's clock, and where that is seen.
    pub fn first_start(&self, unit: &str) -> Option<(u64, &'t Event)> {
        let from_snapshot = self.unit(unit).and_then(|(event, unit)| {
            let times = [unit.inactive_exit_us, unit.active_enter_us];
            times.into_iter().filter(|time| *time > 0).min().map(|time| (time, event))
        });
        let about = self.about(unit);
        let mut starting = about.iter().filter(|(_, record)| record.message_id() == message_id::UNIT_STARTING);
        let from_journal = starting.next().and_then(|(event, record)| Some((record.mono_us()?, *event)));
        [from_snapshot, from_journal].into_iter().flatten().min_by_key(|(time, _)| *time)
    }

    /// Every change of modules in the order of the guest's clock.
    pub fn module_changes(&self) -> Vec<ModuleChange<'t>> {
        let changes = self.events.iter().filter_map(|event| match &event.what {
            What::ModuleLoad(change) => Some(ModuleChange { event, change, loaded: true }),
            What::ModuleFree(change) => Some(ModuleChange { event, change, loaded: false }),
            _ => None,
        });
        let mut changes: Vec<_> = changes.collect();
        changes.sort_by_key(|change| change.change.mono_us);
        changes
    }

    /// A unit's name; or why it can't be told.
    pub fn resolve(&self, unit: &UnitRef) -> Result<String, String> {
        resolve(self.facts, unit)
    }

    /// The units of one role under test.
    pub fn units_of(&self, role: Role) -> Vec<&'t str> {
        let units = self.facts.into_iter().flat_map(|facts| &facts.units);
        units.filter(|(key, _)| role_of(key) == role.as_str()).map(|(_, unit)| unit.as_str()).collect()
    }
}

/// What cuts the power, as the timeline has it.
const POWER_CUT: &str = "power-cut";

/// The label of the snapshot that is taken when a boot settled.
pub(super) const READY: &str = "ready";

/// The label of the snapshot that is taken of each node when a step has come to its end; its index counts from 0.
pub fn step_label(index: usize) -> String {
    format!("step {}", index + 1)
}

fn role_of(key: &str) -> &str {
    key.split('/').next().unwrap_or(key)
}

/// The name of a unit that a scenario speaks of, by the trial's facts; or why it can't be told.
pub fn resolve(facts: Option<&Facts>, unit: &UnitRef) -> Result<String, String> {
    let (role, machine_config) = match unit {
        UnitRef::Name(name) => return Ok(name.as_str().to_owned()),
        UnitRef::Role { role, machine_config } => (role.as_str(), machine_config),
    };
    let units = &facts.ok_or("the trial's facts were not recorded")?.units;
    let named = machine_config.as_ref().and_then(|name| units.get(&format!("{role}/{name}")));
    // Where one MachineConfig is under test, its name may be said or not.
    let found = named.or_else(|| units.get(role)).or_else(|| {
        let mut same = units.iter().filter(|(key, _)| role_of(key) == role);
        same.next().filter(|_| same.next().is_none() && machine_config.is_none()).map(|(_, unit)| unit)
    });
    found.cloned().ok_or_else(|| format!("no unit under test has the role `{unit}`"))
}

/// A journal record as evidence.
pub(super) fn journal_line(event: &Event, record: &JournalRecord) -> Evidence {
    let who = match record.field("SYSLOG_IDENTIFIER") {
        "" => record.field("_COMM"),
        who => who,
    };
    Evidence::new(event, format!("{who}: {}", record.message()))
}

/// A line of the console as evidence.
pub(super) fn console_line(event: &Event, console: &Console) -> Evidence {
    Evidence::new(event, format!("console: {}", console.line))
}
