//! One clock for a whole trial: where a moment of a guest's clock stands on the trial's axis.

use std::collections::BTreeMap;

use crate::timeline::{Event, Timeline, What};

/// Maps each boot's CLOCK_MONOTONIC to the trial's time, in microseconds.
///
/// An event comes to the host a little after it happened, and some come late: the journal of a root is read only when
/// its stream begins. The event that came fastest tells best when the guest's clock began. Of those the kernel and the journal date
/// themselves; anybody may print a line that looks like the kernel's, so the console counts where nothing else does.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Clock {
    began: BTreeMap<u32, i64>,
    /// Events of a recording that have no guest's clock, by their numbers: the harness saw them at another time, so they stand
    /// where the last one stands that has it.
    recorded: BTreeMap<u64, i64>,
}

impl Clock {
    pub(super) fn of(timeline: &Timeline) -> Self {
        let mut began = BTreeMap::new();
        let mut by_console = BTreeMap::new();
        for event in &timeline.events {
            let Some(mono_us) = mono_us(event) else { continue };
            let zero = signed(event.at_us) - signed(mono_us);
            let of = if matches!(event.what, What::Console(_)) { &mut by_console } else { &mut began };
            of.entry(event.boot).and_modify(|known: &mut i64| *known = zero.min(*known)).or_insert(zero);
        }
        for (boot, zero) in by_console {
            began.entry(boot).or_insert(zero);
        }
        let mut clock = Self { began, recorded: BTreeMap::new() };
        let mut last = None;
        for event in timeline.events.iter().filter(|event| event.recorded) {
            match mono_us(event).and_then(|mono| clock.at(event.boot, mono)) {
                Some(at) => last = Some(at),
                None => {
                    clock.recorded.extend(last.map(|at| (event.seq, at)));
                }
            }
        }
        clock
    }

    /// When the harness saw each event, whatever the guest's clock says.
    pub(super) fn of_host() -> Self {
        Self { began: BTreeMap::new(), recorded: BTreeMap::new() }
    }

    /// When the guest's clock of a boot began; `None` where nothing tells.
    pub(super) fn zero_of(&self, boot: u32) -> Option<i64> {
        self.began.get(&boot).copied()
    }

    /// A moment of the guest's clock.
    pub(super) fn at(&self, boot: u32, mono_us: u64) -> Option<i64> {
        Some(self.zero_of(boot)? + signed(mono_us))
    }

    /// When an event happened: by the guest's clock where it has it, else when the harness saw it.
    pub(super) fn of_event(&self, event: &Event) -> i64 {
        let by_guest = mono_us(event).and_then(|mono| self.at(event.boot, mono));
        // What is printed with a time that is still to come is not the kernel's.
        let is_console = matches!(event.what, What::Console(_));
        let by_guest = by_guest.map(|at| if is_console { at.min(signed(event.at_us)) } else { at });
        by_guest.or_else(|| self.recorded.get(&event.seq).copied()).unwrap_or_else(|| signed(event.at_us))
    }
}

/// The guest's clock in an event.
fn mono_us(event: &Event) -> Option<u64> {
    match &event.what {
        What::Journal(record) => record.mono_us(),
        What::ModuleLoad(change) | What::ModuleFree(change) => Some(change.mono_us),
        What::Console(console) => printk_us(&console.line),
        _ => None,
    }
}

/// The time that the kernel puts before its lines: `[   12.345678] text`.
fn printk_us(line: &str) -> Option<u64> {
    let (time, _) = line.strip_prefix('[')?.split_once(']')?;
    let (seconds, micros) = time.trim_start().split_once('.')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(seconds) && is_number(micros) && micros.len() == 6).then_some(())?;
    seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)
}

/// Times are far below 2^63 µs; one that is not stands at the end of time.
pub(super) fn signed(us: u64) -> i64 {
    i64::try_from(us).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::timeline::{Console, ModuleEvent};

    #[test]
    fn the_event_that_came_fastest_tells_when_the_clock_began() {
        let console = |line: &str| What::Console(Console { line: line.into() });
        let load = |mono_us| What::ModuleLoad(ModuleEvent { mono_us, ..ModuleEvent::default() });
        let event = |seq, at_us, boot, what| Arc::new(Event { seq, at_us, boot, node: None, recorded: false, what });
        let timeline = Timeline::from(vec![
            event(0, 9_000_000, 1, load(2_000_000)),
            event(1, 9_100_000, 1, load(5_000_000)),
            event(2, 9_500_000, 1, console("no time")),
            event(3, 9_600_000, 1, console("[86400.000000] what another kernel said")),
            event(4, 30_100_000, 2, console("[    1.000000] hello")),
        ]);
        let clock = Clock::of(&timeline);
        assert_eq!(clock.zero_of(1), Some(4_100_000));
        assert_eq!(clock.of_event(&timeline.events[0]), 6_100_000, "not when it came");
        assert_eq!(clock.of_event(&timeline.events[2]), 9_500_000);
        assert_eq!(clock.of_event(&timeline.events[3]), 9_600_000);
        assert_eq!(clock.zero_of(2), Some(29_100_000), "there is nothing but a console");
        assert_eq!(clock.zero_of(3), None);
    }

    #[test]
    fn what_was_recorded_earlier_stands_beside_what_the_guest_said_then() {
        let load = What::ModuleLoad(ModuleEvent { mono_us: 2_000_000, ..ModuleEvent::default() });
        let late = What::ModuleLoad(ModuleEvent { mono_us: 9_000_000, ..ModuleEvent::default() });
        let note = What::Note { text: "x".into() };
        let event = |seq, at_us, what| Arc::new(Event { seq, at_us, boot: 1, node: None, recorded: true, what });
        let timeline = Timeline::from(vec![event(0, 10, load), event(1, 20, note), event(2, 30, late)]);
        let clock = Clock::of(&timeline);
        assert_eq!(clock.of_event(&timeline.events[1]), 30 - 7_000_000);
    }

    #[test]
    fn only_the_kernel_s_own_lines_have_a_time() {
        assert_eq!(printk_us("[   12.345678] text"), Some(12_345_678));
        for other in
            ["[  OK  ] Started x", "[1.5] x", "[   12.34567a] x", "12.345678] x", "[99999999999999999999.000000]"]
        {
            assert_eq!(printk_us(other), None, "{other}");
        }
    }
}
