//! `evidence`: the harness checks what it recorded itself. It never fails a trial; it keeps it from passing.

use std::collections::{BTreeMap, BTreeSet};

use crate::timeline::{Event, HandedOver, JournalRecord, LOOKED, Stream, Timeline, What};

use super::boot::{Boot, READY};
use super::{Evidence, Finding};

const CHECK: &str = "evidence";

/// What the harness's own evidence is worth.
pub(super) struct Worth {
    pub findings: Vec<Finding>,
    /// Whether the witnesses of the boots contradict each other, so that no event can be trusted to belong to
    /// its boot. A witness who says nothing contradicts nobody.
    pub contradictory: bool,
    /// The first boot in which the machine stood still before anything under test could have been the reason.
    pub stood_still: Option<u32>,
}

pub(super) fn worth(timeline: &Timeline) -> Worth {
    let mut worth = Worth { findings: vec![], contradictory: false, stood_still: None };
    if timeline.facts().is_none() {
        worth.findings.push(Finding::inconclusive(CHECK, None, "the trial's facts were not recorded"));
    }
    if timeline.boots() == 0 {
        worth.findings.push(Finding::inconclusive(CHECK, None, "no boot was recorded"));
    }
    let last = |is: fn(&What) -> bool| timeline.events.iter().rposition(|event| is(&event.what));
    let started = last(|what| matches!(what, What::MachineStarted(_)));
    let ended = last(|what| matches!(what, What::MachineExited(_) | What::HandedOver(_)));
    if timeline.boots() > 0 && ended <= started {
        let message = "the recording breaks off: the machine's end is missing";
        worth.findings.push(Finding::inconclusive(CHECK, None, message));
    }
    let mut boot_ids = BTreeSet::new();
    for number in 1..=timeline.boots() {
        let boot = Boot::new(timeline, number);
        let mut lacks = witnesses(&boot, &mut boot_ids, &mut worth.contradictory);
        lacks.extend(gaps(&boot));
        lacks.extend(ended_streams(timeline, &boot));
        lacks.extend(untraced(&boot));
        lacks.extend(without_the_last_word(timeline, &boot));
        if let Some(evidence) = boot.stood_still() {
            worth.stood_still.get_or_insert(number);
            lacks.push(still(number, evidence));
        }
        worth.findings.extend(match lacks.is_empty() {
            false => lacks,
            true => vec![Finding::pass(
                CHECK,
                number,
                match boot.cuts() {
                    0 => "start, console, boot id and journal agree, and the journal has no gap",
                    _ => "start, console, boot id and journal agree as far as they came before the power cut",
                },
            )],
        });
    }
    worth
}

/// Of a trial that did not come to its end, because a person wanted the node: all that there is to say.
pub(super) fn handed_over_early(timeline: &Timeline) -> Option<Finding> {
    let last = timeline.events.last()?;
    let What::HandedOver(HandedOver { early: Some(why) }) = &last.what else { return None };
    let message = format!("the trial ended before its time, so nothing was judged: {why}");
    Some(Finding::inconclusive(CHECK, last.boot, message).seen([Evidence::new(last, why)]))
}

fn still(number: u32, evidence: Evidence) -> Finding {
    let message =
        "the machine stood still: a CPU's timer did not fire, and no out-of-tree module had been in the kernel";
    Finding::inconclusive(CHECK, number, message).seen([evidence]).advise(
        "Run it again. An emulated machine (TCG) may do that on a busy host: fewer at a time (`--jobs 1`) if it comes back.",
    )
}

/// The three witnesses of a boot: QEMU's start or reset, the console's banner, and a boot id new in the trial.
fn witnesses(boot: &Boot<'_>, known: &mut BTreeSet<String>, contradictory: &mut bool) -> Vec<Finding> {
    let count = |is: fn(&What) -> bool| boot.events.iter().filter(|event| is(&event.what)).count();
    let starts = count(|what| matches!(what, What::MachineStarted(_)));
    let resets = count(|what| matches!(what, What::Qmp(qmp) if qmp.event == "RESET"));
    let banners = count(|what| matches!(what, What::Console(console) if console.is_kernel_banner()));
    let ids: BTreeSet<&str> = boot.journal().map(|(_, record)| record.boot_id()).filter(|id| !id.is_empty()).collect();
    let mut findings = vec![];
    let mut lack = |message: String| findings.push(Finding::inconclusive(CHECK, boot.number, message));
    // Of a boot that was cut, a witness may not have come to say anything.
    let cuts = boot.cuts();
    if banners == 0 && cuts == 0 {
        lack("the kernel's banner is missing on the console".to_owned());
    }
    if ids.is_empty() && cuts == 0 {
        lack("no boot id: the journal has no record of this boot".to_owned());
    }
    if starts == 0 && resets == 0 {
        lack("QEMU told of neither a start nor a reset".to_owned());
    }
    let old: Vec<&str> = ids.iter().copied().filter(|id| !known.insert((*id).to_owned())).collect();
    let unsigned = |event: &&&Event| matches!(&event.what, What::Snapshot(snapshot) if snapshot.boot_id.is_empty());
    if let Some(event) = boot.events.iter().find(unsigned) {
        lack(format!("the snapshot of event {} does not tell in which boot it was taken", event.seq));
    }
    let foreign = boot.events.iter().find(|event| {
        matches!(&event.what, What::Snapshot(snapshot)
            if !snapshot.boot_id.is_empty() && !ids.is_empty() && !ids.contains(snapshot.boot_id.as_str()))
    });
    if let Some(event) = foreign {
        *contradictory = true;
        lack(format!("the snapshot of event {} was taken in another boot than the journal's", event.seq));
    }
    // QEMU sends two resets per reboot or cut and none with a start; with more, a boot was lost between them.
    let too_many = resets > 2 * cuts + if starts > 0 { 0 } else { 2 };
    if banners > 1 || ids.len() > 1 || starts > 1 || too_many || !old.is_empty() {
        *contradictory = true;
        let again = if old.is_empty() { "" } else { ", one of them of an earlier boot" };
        lack(format!(
            "the witnesses contradict each other: {starts} starts, {resets} resets (two per reboot), {banners} banners, {} boot ids{again}",
            ids.len()
        ));
    }
    findings
}

/// Missing sequence numbers of a boot's records.
///
/// A boot's journal begins in memory, with number 1. When journald moves it to /var it copies each record, gives the
/// copy a number of the series on disk, and then tells how many there were. A reader that has seen the original skips
/// the copy, so those numbers may be missing, but only if as many records were seen before.
fn gaps(boot: &Boot<'_>) -> Vec<Finding> {
    let lack = |message: String| vec![Finding::inconclusive(CHECK, boot.number, message)];
    let mut series = BTreeMap::<&str, Series>::new();
    let mut moves = vec![];
    for (_, record) in boot.journal() {
        let Some((name, number)) = place(record) else { continue };
        let at = record.mono_us().unwrap_or(0);
        let one = series.entry(name).or_insert(Series { began_us: at, numbers: BTreeSet::new() });
        one.began_us = one.began_us.min(at);
        one.numbers.insert(number);
        if let Some(entries) = moved_to_var(record) {
            moves.push(Move { at_us: at, series: name, number, entries });
        }
    }
    if series.is_empty() {
        return match boot.journal().next() {
            Some(_) => lack("the journal's records carry no sequence numbers, so a gap would not show".to_owned()),
            None => vec![],
        };
    }
    let Some(first) = moves.iter().min_by_key(|one| one.at_us) else {
        if series.len() > 1 {
            let message = "the journal moved to another series of numbers, and journald's word of it is missing";
            return lack(message.to_owned());
        }
        return told(boot, series.values().map(|one| one.missing_from(1, &[])).sum());
    };
    let (mut seen, mut numbered, mut missing) = (0, first.entries, 0);
    for (name, one) in &series {
        if *name == first.series {
            seen += one.numbers.range(..first.number).count() as u64;
            missing += one.missing_from(first.number, &moves);
        } else if one.began_us <= first.at_us {
            seen += one.numbers.len() as u64;
            numbered = numbered.max(one.numbers.last().copied().unwrap_or(0));
        } else {
            missing += one.missing_from(one.numbers.first().copied().unwrap_or(0), &moves);
        }
    }
    told(boot, missing + numbered.saturating_sub(seen))
}

fn told(boot: &Boot<'_>, missing: u64) -> Vec<Finding> {
    if missing == 0 {
        return vec![];
    }
    let message = format!("{missing} of the journal's sequence numbers are missing");
    vec![Finding::inconclusive(CHECK, boot.number, message)]
}

/// Records that count with one series of numbers.
struct Series {
    began_us: u64,
    numbers: BTreeSet<u64>,
}

impl Series {
    /// How many numbers are missing from `first` on, but those of copies.
    fn missing_from(&self, first: u64, moves: &[Move<'_>]) -> u64 {
        let is_copy = |number: &u64| {
            moves.iter().any(|one| {
                self.numbers.contains(&one.number)
                    && (one.number.saturating_sub(one.entries)..one.number).contains(number)
            })
        };
        let mut missing = 0;
        let mut next = first;
        for &number in self.numbers.range(first..) {
            missing += (next..number).filter(|number| !is_copy(number)).count() as u64;
            next = number + 1;
        }
        missing
    }
}

/// journald's word that it moved records to /var.
struct Move<'t> {
    at_us: u64,
    series: &'t str,
    number: u64,
    entries: u64,
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

/// Console or journal of a settled node without the harness's last word: what came before it may be missing, too.
fn without_the_last_word(timeline: &Timeline, boot: &Boot<'_>) -> Option<Finding> {
    let says_it = boot.facts.is_some_and(|facts| facts.says_when_it_has_looked);
    let looked = boot.snapshot().is_some_and(|(_, snapshot)| snapshot.label == READY);
    // A node that went down by itself meanwhile may not have come to it.
    let by_the_trial = |event: &&Event| matches!(&event.what, What::Happened(happened) if happened.index.is_none());
    let stayed = boot.number == timeline.boots() || boot.events.iter().any(by_the_trial);
    if !says_it || !looked || !stayed {
        return None;
    }
    let said = |is: fn(&What) -> bool| boot.events.iter().any(|event| is(&event.what));
    let streams = [
        ("console", said(|what| matches!(what, What::Console(console) if console.line.contains(LOOKED)))),
        ("journal", said(|what| matches!(what, What::Journal(record) if record.message().contains(LOOKED)))),
    ];
    let silent: Vec<&str> = streams.into_iter().filter(|(_, said)| !said).map(|(name, _)| name).collect();
    if silent.is_empty() {
        return None;
    }
    let message =
        format!("the end of the {} is missing: `{LOOKED}` did not come out of it", silent.join(" and of the "));
    Some(Finding::inconclusive(CHECK, boot.number, message))
}

/// What the kernel's trace does not tell, by the modules that a snapshot shows: it put them in, and never took them out.
fn untraced(boot: &Boot<'_>) -> Option<Finding> {
    let (event, snapshot) = boot.snapshot()?;
    let mut inside = BTreeSet::new();
    for change in boot.module_changes().iter().filter(|change| change.change.mono_us < snapshot.mono_us) {
        let name = change.change.module.as_str();
        if change.loaded {
            inside.insert(name)
        } else {
            inside.remove(name)
        };
    }
    let gone: Vec<&str> = inside.into_iter().filter(|name| !snapshot.modules.contains_key(*name)).collect();
    if gone.is_empty() {
        return None;
    }
    let message = format!("the kernel's trace of modules has a hole: it does not tell when {} went", gone.join(", "));
    Some(Finding::inconclusive(CHECK, boot.number, message).seen([Evidence::new(event, "/sys/module")]))
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
    use crate::timeline::{MachineExited, StreamEnded};

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
    fn a_checkpoint_s_recording_is_evidence_and_its_machine_s_end_is_not_the_trial_s() {
        let mut node = Node::pulled_and_loaded();
        node.begins_with_a_checkpoint();
        assert_eq!(lacks(&node), (vec![], false));
        node.remove(|what| matches!(what, What::MachineExited(_)));
        node.boot(1).push(What::MachineExited(MachineExited { expected: true, ..MachineExited::default() }));
        assert!(lacks(&node).0[0].contains("the machine's end is missing"), "{:?}", lacks(&node));
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
    fn a_hole_in_the_trace_of_modules_is_told() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove(|what| matches!(what, What::ModuleFree(_)));
        let (lacks, _) = lacks(&node);
        assert!(lacks.iter().any(|lack| lack.contains("when e1000 went")), "{lacks:?}");
    }

    #[test]
    fn a_settled_node_s_last_word_must_have_come() {
        let mut node = Node::pulled_and_loaded();
        node.facts().says_when_it_has_looked = true;
        let (told, _) = lacks(&node);
        assert!(told.iter().any(|lack| lack.contains("end of the console and of the journal is missing")), "{told:?}");
        node.boot(2).console(&format!("[   30.1] day1: {LOOKED}"));
        let (told, _) = lacks(&node);
        assert!(told.iter().any(|lack| lack.contains("end of the journal is missing")), "{told:?}");
        node.boot(2).say("", LOOKED);
        assert_eq!(lacks(&node).0, Vec::<String>::new());
    }

    #[test]
    fn contradictions_are_told() {
        let broken: [fn(&mut Node); 5] = [
            |node| node.boot(1).qmp("RESET", "guest-reset"),
            |node| node.ready(2).snapshot.boot_id = "boot-1".into(),
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
        node.boot(2).flushed();
        assert_eq!(lacks(&node).0, Vec::<String>::new());
        for lost in ["Switching root", "loaded day1_nic", "Time spent on flushing"] {
            let mut node = Node::pulled_and_loaded();
            node.boot(2).flushed();
            node.boot(2).say("podman.service", "one more");
            node.boot(2).remove_journal(lost);
            assert_eq!(lacks(&node).0.len(), 1, "{lost}");
        }
    }

    #[test]
    fn a_journal_without_its_beginning_is_told() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_journal("Switching root");
        assert_eq!(lacks(&node).0, ["1 of the journal's sequence numbers are missing"]);
    }

    #[test]
    fn a_recording_without_its_end_is_told() {
        let mut node = Node::pulled_and_loaded();
        node.remove(|what| matches!(what, What::MachineExited(_)));
        assert_eq!(lacks(&node).0, ["the recording breaks off: the machine's end is missing"]);
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

    #[test]
    fn a_boot_that_was_cut_early_has_fewer_witnesses() {
        use crate::timeline::Happened;
        let judged = |cut: bool| {
            let mut node = Node::pulled_and_loaded();
            node.boot(1).remove_console();
            node.boot(1).remove_journal("");
            // In the firmware: the machine was reset, and it is the same boot.
            node.boot(1).qmp("RESET", "host-qmp-system-reset");
            node.boot(1).qmp("RESET", "host-qmp-system-reset");
            if cut {
                node.boot(1).push(What::Happened(Happened { action: "power-cut".into(), ..Happened::default() }));
            }
            worth(&node.timeline())
        };
        let told = judged(true);
        assert!(
            !told.contradictory && told.findings.iter().all(|finding| finding.outcome == Outcome::Pass),
            "{:?}",
            told.findings
        );
        assert!(told.findings[0].message.contains("before the power cut"));
        assert!(judged(false).contradictory);
    }
}
