//! Where a trial's time went, read from its timeline.

use serde::{Deserialize, Serialize};

use crate::timeline::{Event, Timeline, What, message_id};

/// A stretch of a boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    /// The boot, from 1.
    pub boot: u32,
    /// `firmware`, `kernel`, `initramfs`, `system`, `shutdown` or `after` (the harness's last look at the node).
    pub name: String,
    /// Its length in seconds of the host.
    pub seconds: f64,
}

/// The phases of every boot. A boot that ended early has fewer.
pub fn phases(timeline: &Timeline) -> Vec<Phase> {
    (1..=timeline.boots()).flat_map(|boot| phases_of(timeline, boot)).collect()
}

fn phases_of(timeline: &Timeline, boot: u32) -> Vec<Phase> {
    let events: Vec<&Event> = timeline.of_boot(boot).collect();
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return Vec::new() };
    let time_of =
        |wanted: &dyn Fn(&What) -> bool| events.iter().find(|event| wanted(&event.what)).map(|event| event.at_us);
    // The next boot's first event is the reset that ended this one.
    let end = timeline.events.iter().find(|event| event.boot == boot + 1).map_or(last.at_us, |event| event.at_us);
    let marks: [(&str, Option<u64>); 6] = [
        ("firmware", Some(first.at_us)),
        ("kernel", time_of(&|what| console_has(what, "Linux version "))),
        ("initramfs", time_of(&|what| console_has(what, "Run /init as init process"))),
        ("system", time_of(&|what| journal_says(what, "Switching root"))),
        ("after", time_of(&|what| journal_id(what, message_id::STARTUP_FINISHED) && !in_initramfs(what))),
        ("shutdown", time_of(&|what| journal_says(what, "Shutting down") || journal_says(what, "System is rebooting"))),
    ];
    let mut seen: Vec<(&str, u64)> = marks.into_iter().filter_map(|(name, at)| Some((name, at?))).collect();
    seen.sort_by_key(|(_, at)| *at);
    let ends: Vec<u64> = seen.iter().skip(1).map(|(_, at)| *at).chain([end]).collect();
    let length = |from: u64, to: u64| std::time::Duration::from_micros(to.saturating_sub(from)).as_secs_f64();
    seen.into_iter()
        .zip(ends)
        .map(|((name, from), to)| Phase { boot, name: name.to_owned(), seconds: length(from, to) })
        .collect()
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
    use crate::timeline::{Console, MachineStarted, Qmp};

    fn event(seq: u64, at_s: u64, boot: u32, what: What) -> Arc<Event> {
        Arc::new(Event { seq, at_us: at_s * 1_000_000, boot, recorded: false, what })
    }

    #[test]
    fn a_boot_is_split_where_its_marks_are() {
        let console = |line: &str| What::Console(Console { line: line.into() });
        let timeline = Timeline::from(vec![
            event(0, 1, 1, What::MachineStarted(MachineStarted::default())),
            event(1, 5, 1, console("[    0.000000] Linux version 6.12")),
            event(2, 7, 1, console("[    2.000000] Run /init as init process")),
            event(3, 20, 2, What::Qmp(Qmp { event: "RESET".into(), ..Qmp::default() })),
        ]);
        let found = phases(&timeline);
        let lengths: Vec<(&str, u32, f64)> = found.iter().map(|p| (p.name.as_str(), p.boot, p.seconds)).collect();
        let expected = [("firmware", 1, 4.0), ("kernel", 1, 2.0), ("initramfs", 1, 13.0), ("firmware", 2, 0.0)];
        assert_eq!(lengths, expected);
    }
}
