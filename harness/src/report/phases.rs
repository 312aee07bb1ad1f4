//! Where a trial's time went, read from its timeline.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::clock::{Clock, signed};
use crate::checks::is_shutdown;
use crate::timeline::{Event, Timeline, What, message_id};

/// A stretch of a boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// The boot, from 1.
    pub boot: u32,
    /// `firmware`, `bootloader`, `kernel`, `initramfs`, `system`, `shutdown` or `after` (the harness's last look at the node).
    pub name: String,
    /// Its length in seconds, on the axis of the trial's picture. What a template or a recording did before the trial is none of
    /// its time.
    pub seconds: f64,
}

/// The phases of every boot. A boot that ended early has fewer. Of a trial with several nodes there are none: whose boot
/// took how long is in its picture.
pub fn phases(timeline: &Timeline) -> Vec<Phase> {
    if timeline.pool().is_some() {
        return Vec::new();
    }
    let clock = Clock::of(timeline);
    (1..=timeline.boots()).flat_map(|boot| phases_of(timeline, &clock, boot)).collect()
}

fn phases_of(timeline: &Timeline, clock: &Clock, boot: u32) -> Vec<Phase> {
    let of_boot = || timeline.of_boot(boot);
    let Some(last) = of_boot().map(|event| clock.of_event(event)).max() else { return Vec::new() };
    // The next boot's first event is the reset that ended this one.
    let end = timeline.of_boot(boot + 1).next().map_or(last, |event| clock.of_event(event));
    let since = of_boot().find(|event| !event.recorded).map_or(i64::MIN, |event| signed(event.at_us));
    let mut seen: Vec<(&str, i64)> =
        starts(timeline, boot).into_iter().map(|(name, event)| (name, clock.of_event(event).max(since))).collect();
    // None begins after one that follows it: what has no guest's clock is seen later than it happened.
    for index in (1..seen.len()).rev() {
        seen[index - 1].1 = seen[index - 1].1.min(seen[index].1);
    }
    let ends: Vec<i64> = seen.iter().skip(1).map(|(_, at)| *at).chain([end]).collect();
    let length = |from: i64, to: i64| Duration::from_micros(u64::try_from(to - from).unwrap_or(0)).as_secs_f64();
    seen.into_iter()
        .zip(ends)
        .map(|((name, from), to)| Phase { boot, name: name.to_owned(), seconds: length(from, to) })
        .collect()
}

pub(super) const FIRMWARE: &str = "firmware";
pub(super) const BOOTLOADER: &str = "bootloader";
pub(super) const KERNEL: &str = "kernel";
pub(super) const INITRAMFS: &str = "initramfs";
pub(super) const SYSTEM: &str = "system";
pub(super) const AFTER: &str = "after";
pub(super) const SHUTDOWN: &str = "shutdown";

/// The event with which each phase of a boot begins, of those that the boot came to.
pub(super) fn starts(timeline: &Timeline, boot: u32) -> Vec<(&'static str, &Event)> {
    let events: Vec<&Event> = timeline.of_boot(boot).collect();
    let first_of = |phase: &str| events.iter().find(|event| begins(&event.what) == Some(phase)).copied();
    let later = [BOOTLOADER, KERNEL, INITRAMFS, SYSTEM, AFTER, SHUTDOWN].map(|phase| (phase, first_of(phase)));
    let all = std::iter::once((FIRMWARE, events.first().copied())).chain(later);
    all.filter_map(|(name, event)| Some((name, event?))).collect()
}

/// The phase that begins with this, if one does; `firmware` begins with the boot.
pub fn begins(what: &What) -> Option<&'static str> {
    match what {
        // GRUB's word on the serial console: that it runs, or which entry of its menu it boots.
        _ if console_has(what, "GRUB ") || console_has(what, "Booting `") => Some(BOOTLOADER),
        _ if console_has(what, "Linux version ") => Some(KERNEL),
        _ if console_has(what, "Run /init as init process") => Some(INITRAMFS),
        _ if journal_says(what, "Switching root") => Some(SYSTEM),
        _ if journal_id(what, message_id::STARTUP_FINISHED) && !in_initramfs(what) => Some(AFTER),
        What::Journal(record) if !record.initramfs && is_shutdown(record) => Some(SHUTDOWN),
        _ => None,
    }
}

fn console_has(what: &What, text: &str) -> bool {
    matches!(what, What::Console(console) if console.line.contains(text))
}

fn journal_says(what: &What, text: &str) -> bool {
    matches!(what, What::Journal(record) if record.is_from_systemd() && record.message().contains(text))
}

fn journal_id(what: &What, id: &str) -> bool {
    matches!(what, What::Journal(record) if record.message_id() == id)
}

fn in_initramfs(what: &What) -> bool {
    matches!(what, What::Journal(record) if record.initramfs)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::timeline::{Console, JournalRecord, MachineStarted, ModuleEvent, Qmp};

    #[test]
    fn what_a_template_did_is_none_of_the_trial_s_time() {
        let console = |line: &str| What::Console(Console { line: line.into() });
        let at = |seq, at_us, what| Arc::new(Event { seq, at_us, boot: 1, node: None, recorded: false, what });
        // The copies of what the template said come at once, 20 s after its kernel began.
        let timeline = Timeline::from(vec![
            at(0, 100_000, What::MachineStarted(MachineStarted::default())),
            at(1, 101_000, console("  Booting `node'")),
            at(2, 101_001, console("[    0.000000] Linux version 6.12")),
            at(3, 101_002, console("[    5.000000] Run /init as init process")),
            at(4, 101_003, console("[   20.000000] the last one")),
            at(5, 8_100_000, console("[   28.000000] later")),
        ]);
        let found = phases(&timeline);
        let lengths: Vec<(&str, f64)> = found.iter().map(|p| (p.name.as_str(), p.seconds)).collect();
        assert_eq!(lengths, [("firmware", 0.0), ("bootloader", 0.0), ("kernel", 0.0), ("initramfs", 8.0)]);
    }

    fn event(seq: u64, at_s: u64, boot: u32, what: What) -> Arc<Event> {
        Arc::new(Event { seq, at_us: at_s * 1_000_000, boot, node: None, recorded: false, what })
    }

    #[test]
    fn a_boot_is_split_where_its_marks_are() {
        let console = |line: &str| What::Console(Console { line: line.into() });
        // Stopping begins 15 s after the kernel, though the journal's record comes at 21 s.
        let fields = [
            ("MESSAGE", "Shutting down."),
            ("_PID", "1"),
            ("_TRANSPORT", "journal"),
            ("__MONOTONIC_TIMESTAMP", "15000000"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let journal = What::Journal(JournalRecord { initramfs: false, fields });
        let timeline = Timeline::from(vec![
            event(0, 1, 1, What::MachineStarted(MachineStarted::default())),
            event(1, 3, 1, console("  Booting `node'")),
            event(2, 5, 1, console("[    0.000000] Linux version 6.12")),
            event(3, 7, 1, console("[    2.000000] Run /init as init process")),
            event(4, 8, 1, What::ModuleLoad(ModuleEvent { mono_us: 3_000_000, ..ModuleEvent::default() })),
            event(5, 21, 1, journal),
            event(6, 25, 2, What::Qmp(Qmp { event: "RESET".into(), ..Qmp::default() })),
        ]);
        let found = phases(&timeline);
        let lengths: Vec<(&str, u32, f64)> = found.iter().map(|p| (p.name.as_str(), p.boot, p.seconds)).collect();
        let expected = [
            ("firmware", 1, 2.0),
            ("bootloader", 1, 2.0),
            ("kernel", 1, 2.0),
            ("initramfs", 1, 13.0),
            ("shutdown", 1, 5.0),
            ("firmware", 2, 0.0),
        ];
        assert_eq!(lengths, expected);
    }
}
