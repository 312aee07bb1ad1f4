//! `evidence`: the harness checks what it recorded itself. It never fails a trial; it keeps it from passing.

use std::collections::{BTreeMap, BTreeSet};

use crate::timeline::{JournalRecord, Stream, Timeline, What};

use super::boot::Boot;
use super::{Evidence, Finding};

const CHECK: &str = "evidence";

/// What the harness's own evidence is worth.
pub(super) struct Worth {
    pub findings: Vec<Finding>,
    /// Whether the witnesses of the boots contradict each other, so that no event can be trusted to belong to
    /// its boot. A witness who says nothing contradicts nobody.
    pub contradictory: bool,
}

pub(super) fn worth(timeline: &Timeline) -> Worth {
    let mut worth = Worth { findings: vec![], contradictory: false };
    if timeline.facts().is_none() {
        worth.findings.push(Finding::inconclusive(CHECK, None, "the trial's facts were not recorded"));
    }
    if timeline.boots() == 0 {
        worth.findings.push(Finding::inconclusive(CHECK, None, "no boot was recorded"));
    }
    let mut boot_ids = BTreeSet::new();
    for number in 1..=timeline.boots() {
        let boot = Boot::new(timeline, number);
        let mut lacks = witnesses(&boot, &mut boot_ids, &mut worth.contradictory);
        lacks.extend(gaps(&boot));
        lacks.extend(ended_streams(timeline, &boot));
        worth.findings.extend(match lacks.is_empty() {
            false => lacks,
            true => vec![Finding::pass(
                CHECK,
                number,
                "start, console, boot id and journal agree, and the journal has no gap",
            )],
        });
    }
    worth
}

/// The three witnesses of a boot: QEMU's start or reset, the console's banner, and a boot id new in the trial.
fn witnesses(boot: &Boot<'_>, known: &mut BTreeSet<String>, contradictory: &mut bool) -> Vec<Finding> {
    let count = |is: fn(&What) -> bool| boot.events.iter().filter(|event| is(&event.what)).count();
    let starts = count(|what| matches!(what, What::MachineStarted(_)));
    let resets = count(|what| matches!(what, What::Qmp(qmp) if qmp.event == "RESET"));
    let banners = count(|what| matches!(what, What::Console(console) if is_banner(&console.line)));
    let ids: BTreeSet<&str> = boot.journal().map(|(_, record)| record.boot_id()).filter(|id| !id.is_empty()).collect();
    let mut findings = vec![];
    let mut lack = |message: String| findings.push(Finding::inconclusive(CHECK, boot.number, message));
    if banners == 0 {
        lack("the kernel's banner is missing on the console".to_owned());
    }
    if ids.is_empty() {
        lack("no boot id: the journal has no record of this boot".to_owned());
    }
    if starts == 0 && resets == 0 {
        lack("QEMU told of neither a start nor a reset".to_owned());
    }
    let old: Vec<&str> = ids.iter().copied().filter(|id| !known.insert((*id).to_owned())).collect();
    // QEMU sends two resets per reboot; with more, a boot was lost between them.
    if banners > 1 || ids.len() > 1 || starts > 1 || resets > 2 || !old.is_empty() {
        *contradictory = true;
        let again = if old.is_empty() { "" } else { ", one of them of an earlier boot" };
        lack(format!(
            "the witnesses contradict each other: {starts} starts, {resets} resets (two per reboot), {banners} banners, {} boot ids{again}",
            ids.len()
        ));
    }
    findings
}

/// Whether a console line is the first of a booting kernel.
fn is_banner(line: &str) -> bool {
    line.contains("] Linux version ")
}

/// Missing sequence numbers between a boot's first record and its last.
///
/// When journald moves what it holds in memory to /var it copies each record and gives the copy a new number;
/// a reader that has seen the original skips the copy. It tells how many there were, and so many numbers may
/// be missing.
fn gaps(boot: &Boot<'_>) -> Vec<Finding> {
    let mut numbers = BTreeMap::<&str, BTreeSet<u64>>::new();
    let (mut records, mut moved) = (0, 0);
    for (_, record) in boot.journal() {
        records += 1;
        moved += moved_to_var(record).unwrap_or(0);
        if let Some((series, number)) = place(record) {
            numbers.entry(series).or_default().insert(number);
        }
    }
    let numbered: usize = numbers.values().map(BTreeSet::len).sum();
    if records > 0 && numbered == 0 {
        return vec![Finding::inconclusive(
            CHECK,
            boot.number,
            "the journal's records carry no sequence numbers, so a gap would not show",
        )];
    }
    let spans = numbers.values().filter_map(|seen| Some((seen.last()? - seen.first()? + 1, seen.len() as u64)));
    let missing: u64 = spans.map(|(span, seen)| span - seen).sum();
    if missing <= moved {
        return vec![];
    }
    let message = format!("{} of the journal's sequence numbers are missing", missing - moved);
    vec![Finding::inconclusive(CHECK, boot.number, message)]
}

/// Series and number of a record; before systemd 254 they are only in its cursor (`s=SERIES;i=NUMBER;…`).
fn place(record: &JournalRecord) -> Option<(&str, u64)> {
    if let Some(number) = record.seqnum() {
        return Some((record.field("__SEQNUM_ID"), number));
    }
    let mut parts = record.field("__CURSOR").split(';');
    let series = parts.next()?.strip_prefix("s=")?;
    let number = parts.next()?.strip_prefix("i=")?;
    Some((series, u64::from_str_radix(number, 16).ok()?))
}

/// journald's word that it moved so many records to /var.
fn moved_to_var(record: &JournalRecord) -> Option<u64> {
    let rest = record.message().strip_prefix("Time spent on flushing to ")?;
    let (_, entries) = rest.rsplit_once(" for ")?;
    (record.field("SYSLOG_IDENTIFIER") == "systemd-journald").then_some(())?;
    entries.split(' ').next()?.parse().ok()
}

/// Streams that ended while the node ran. The initramfs's ends with the initramfs, and all end with QEMU.
fn ended_streams(timeline: &Timeline, boot: &Boot<'_>) -> Vec<Finding> {
    let is_last = boot.number == timeline.boots();
    let all_seen = boot.events.iter().rev().find(|event| matches!(event.what, What::Snapshot(_)));
    let ended = boot.events.iter().filter_map(|event| match &event.what {
        What::StreamEnded(ended) if ended.stream != Stream::JournalInitramfs => Some((event, ended)),
        _ => None,
    });
    let early = ended.filter(|(event, _)| !(is_last && all_seen.is_some_and(|snapshot| snapshot.seq < event.seq)));
    let tell = early.map(|(event, ended)| {
        let message = format!("the stream of the {} broke off: {}", name(ended.stream), ended.reason);
        Finding::inconclusive(CHECK, boot.number, message).seen([Evidence::new(event, ended.reason.clone())])
    });
    tell.collect()
}

fn name(stream: Stream) -> &'static str {
    match stream {
        Stream::Console => "console",
        Stream::JournalInitramfs => "initramfs's journal",
        Stream::Journal => "journal",
        Stream::ModuleTrace => "kernel's trace of modules",
        Stream::Agent => "agent",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::Node;
    use crate::timeline::StreamEnded;

    type Spoil = fn(&mut Node);

    fn lacks(node: &Node) -> (Vec<String>, bool) {
        let worth = worth(&node.timeline());
        let lacking = worth.findings.iter().filter(|finding| finding.outcome != Outcome::Pass);
        (lacking.map(|finding| finding.message.clone()).collect(), worth.contradictory)
    }

    #[test]
    fn whole_evidence_passes_for_each_boot() {
        let worth = worth(&Node::pulled_and_loaded().timeline());
        assert_eq!(worth.findings.len(), 2);
        assert!(worth.findings.iter().all(|finding| finding.outcome == Outcome::Pass), "{:?}", worth.findings);
    }

    #[test]
    fn each_missing_witness_is_told() {
        let broken: [(Spoil, &str); 4] = [
            (|node| node.boot(2).remove_console(), "banner is missing"),
            (|node| node.boot(2).remove_journal(""), "no boot id"),
            (|node| node.boot(2).remove(|what| matches!(what, What::Qmp(_))), "neither a start nor a reset"),
            (|node| node.boot(2).remove_journal("loaded day1_nic"), "1 of the journal's sequence numbers"),
        ];
        for (break_it, wanted) in broken {
            let mut node = Node::pulled_and_loaded();
            break_it(&mut node);
            let (lacks, contradictory) = lacks(&node);
            assert!(lacks.iter().any(|lack| lack.contains(wanted)), "{wanted}: {lacks:?}");
            assert!(!contradictory, "{wanted}");
        }
    }

    #[test]
    fn contradictions_are_told() {
        let broken: [fn(&mut Node); 3] = [
            |node| node.boot(2).console("[    0.000000] Linux version 6.12.1 again"),
            |node| node.boot(2).resets("guest-reset"),
            |node| node.boot(2).boot_id("boot-1"),
        ];
        for (which, break_it) in broken.into_iter().enumerate() {
            let mut node = Node::pulled_and_loaded();
            break_it(&mut node);
            let (lacks, contradictory) = lacks(&node);
            assert!(contradictory && !lacks.is_empty(), "{which}: {lacks:?}");
        }
    }

    #[test]
    fn records_that_moved_to_var_are_no_gap() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_journal("loaded day1_nic");
        node.boot(2).flushed(1);
        assert_eq!(lacks(&node).0, Vec::<String>::new());
    }

    #[test]
    fn a_stream_that_breaks_off_is_told() {
        let ended = |stream| What::StreamEnded(StreamEnded { stream, reason: "end of file".into() });
        let mut node = Node::pulled_and_loaded();
        node.boot(1).push(ended(Stream::Journal));
        assert_eq!(lacks(&node).0, ["the stream of the journal broke off: end of file"]);
        let mut node = Node::pulled_and_loaded();
        node.boot(1).push(ended(Stream::JournalInitramfs));
        node.boot(2).push(ended(Stream::Console));
        assert_eq!(lacks(&node).0, Vec::<String>::new(), "after the last snapshot all is seen");
    }
}
