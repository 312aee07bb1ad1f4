//! `journal.clean`, `journal.says` and `journal.lacks`: what console and journal hold, and must not hold.

use std::sync::LazyLock;

use regex::Regex;

use crate::scenario::{JournalLacks, JournalSays, OptOut};
use crate::timeline::{Event, Timeline, What};

use super::boot::{Boot, console_line, journal_line};
use super::units::last_words;
use super::{Evidence, Finding};

const CLEAN: &str = "journal.clean";
const SAYS: &str = "journal.says";
const LACKS: &str = "journal.lacks";

/// Who must have said a bad pattern for it to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    /// The kernel, in the journal or on the console.
    Kernel,
    /// systemd's process 1, in the journal, or anybody on the console.
    System,
    /// Anybody in the journal.
    Journal,
}

/// Something that no healthy boot says.
#[derive(Debug, Clone, Copy)]
pub struct BadPattern {
    /// Its name, for `without: [{check: journal.clean/NAME, …}]`.
    pub name: &'static str,
    /// A regular expression.
    pub pattern: &'static str,
    /// Who says it.
    pub said_by: Where,
    /// Whether the boot can't come to a good end after it, so that waiting on is in vain.
    pub fatal: bool,
    /// What it means, for a person.
    pub meaning: &'static str,
}

const fn kernel(name: &'static str, pattern: &'static str, meaning: &'static str) -> BadPattern {
    BadPattern { name, pattern, said_by: Where::Kernel, fatal: false, meaning }
}

/// The bad patterns, in the order in which a line is held against them: it counts for the first it matches.
pub static BAD_PATTERNS: [BadPattern; 16] = [
    BadPattern {
        name: "panic",
        pattern: r"Kernel panic - not syncing",
        said_by: Where::Kernel,
        fatal: true,
        meaning: "the kernel panicked",
    },
    kernel("soft-lockup", r"soft lockup|hard LOCKUP", "a CPU was held by the kernel for too long"),
    kernel(
        "rcu-stall",
        r"rcu.* detected (expedited )?stalls?|rcu.* self-detected stall",
        "a CPU did not let the kernel go on",
    ),
    kernel(
        "oops",
        r"\bOops: |Unable to handle kernel|unable to handle page fault|kernel NULL pointer",
        "kernel code used a bad address",
    ),
    kernel("general-protection", r"general protection fault", "code did what the CPU forbids"),
    kernel(
        "bug",
        r"kernel BUG at|\bBUG: |list_(add|del) corruption|irq \d+: nobody cared",
        "the kernel found its own state impossible",
    ),
    kernel("refcount-leak", r"refcount_t: |unregister_netdevice: waiting for", "a driver counts its users wrongly"),
    kernel(
        "warning",
        r"\bWARNING: (CPU: \d+|possible |suspicious |inconsistent |\S+:\d+)|\bUBSAN: |NETDEV WATCHDOG: ",
        "kernel code warned of itself, with a trace",
    ),
    kernel("hung-task", r"blocked for more than \d+ seconds", "a task hangs in the kernel"),
    kernel("segfault", r"segfault at [0-9a-f]+ ip", "a program used a bad address"),
    BadPattern {
        name: "core-dump",
        pattern: r"^Process \d+ \(.+\) of user \d+ .*dumped core",
        said_by: Where::Journal,
        fatal: false,
        meaning: "a program crashed",
    },
    kernel(
        "out-of-memory",
        r"Out of memory: Killed|invoked oom-killer|Memory cgroup out of memory|page allocation failure",
        "memory ran out",
    ),
    // Of drives without a medium (fd0, sr0) it is no news.
    kernel(
        "io-error",
        r"I/O error(, dev| on dev(ice)?) ([^fs]|f[^d]|s[^r])|critical medium error",
        "a disk failed a request",
    ),
    kernel(
        "filesystem-error",
        r"EXT4-fs error|XFS .*(Corruption|Internal error|Shutting down filesystem)|Remounting filesystem read-only",
        "a file system is damaged",
    ),
    BadPattern {
        name: "ordering-cycle",
        pattern: r"Found ordering cycle|Ordering cycle found",
        said_by: Where::System,
        fatal: false,
        meaning: "units wait for each other in a circle, and systemd dropped one of them",
    },
    BadPattern {
        name: "emergency",
        pattern: r"(?i)entering emergency mode|you are in emergency mode|dracut emergency shell|(started|starting) emergency\.service",
        said_by: Where::System,
        fatal: true,
        meaning: "the boot gave up and offers a shell",
    },
];

static COMPILED: LazyLock<Vec<(&'static BadPattern, Regex)>> = LazyLock::new(|| {
    // The patterns are literals; a test compiles each of them.
    BAD_PATTERNS.iter().filter_map(|bad| Some((bad, Regex::new(bad.pattern).ok()?))).collect()
});

/// The time that the kernel puts before what it says on the console.
static STAMP: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\[ *\d+\.\d+\]").ok());

/// Whether the kernel said a line of the console; anybody may write there.
pub(super) fn is_kernels(line: &str) -> bool {
    STAMP.as_ref().is_some_and(|stamp| stamp.is_match(line))
}

/// The bad pattern that an event shows, if any. Also for watching a machine while it runs.
pub fn bad_pattern(what: &What) -> Option<&'static BadPattern> {
    let (text, kernel, system, journal) = match what {
        What::Console(console) => (console.line.as_str(), is_kernels(&console.line), true, false),
        What::Journal(record) => (record.message(), record.is_from_kernel(), record.is_from_systemd(), true),
        _ => return None,
    };
    let counts = |bad: &BadPattern| match bad.said_by {
        Where::Kernel => kernel,
        Where::System => system,
        Where::Journal => journal,
    };
    // What the node was booted with is no news.
    if text.contains("Kernel command line: ") {
        return None;
    }
    COMPILED.iter().find(|(bad, regex)| counts(bad) && regex.is_match(text)).map(|(bad, _)| *bad)
}

/// No bad pattern in the console and the journal of a boot, but those that the scenario does without.
pub(super) fn clean(boot: &Boot<'_>, without: &[OptOut]) -> Vec<Finding> {
    let mut seen: Vec<(&BadPattern, Vec<&Event>)> = vec![];
    let (mut console, mut journal) = (0_usize, 0_usize);
    for event in &boot.events {
        match event.what {
            What::Console(_) => console += 1,
            What::Journal(_) => journal += 1,
            _ => continue,
        }
        let Some(bad) = bad_pattern(&event.what) else { continue };
        match seen.iter_mut().find(|(known, _)| known.name == bad.name) {
            Some((_, events)) => events.push(event),
            None => seen.push((bad, vec![event])),
        }
    }
    seen.retain(|(bad, _)| !without.iter().any(|one| one.check == format!("{CLEAN}/{}", bad.name)));
    if !seen.is_empty() {
        return seen.into_iter().map(|(bad, events)| dirty(boot, bad, &events)).collect();
    }
    if (console == 0 || journal == 0) && boot.cuts() == 0 {
        let message = "console or journal of this boot is empty, so nothing tells that it was clean";
        return vec![Finding::inconclusive(CLEAN, boot.number, message)];
    }
    let message = format!("no bad pattern in {journal} records and {console} console lines");
    vec![Finding::pass(CLEAN, boot.number, message)]
}

fn dirty(boot: &Boot<'_>, bad: &BadPattern, events: &[&Event]) -> Finding {
    let message = format!("{}: {} ({} lines)", bad.name, bad.meaning, events.len());
    let shown = events.iter().take(3).map(|event| match &event.what {
        What::Journal(record) => journal_line(event, record),
        What::Console(console) => console_line(event, console),
        _ => Evidence::new(event, ""),
    });
    let advice =
        format!("If this scenario means to provoke it: `without: [{{check: {CLEAN}/{}, reason: …}}]`.", bad.name);
    Finding::fail(CLEAN, boot.number, message).seen(shown).advise(advice)
}

/// One of a unit's own lines matches.
pub(super) fn says(boot: &Boot<'_>, expected: &JournalSays) -> Finding {
    let unit = match boot.resolve(&expected.unit) {
        Ok(unit) => unit,
        Err(why) => return Finding::inconclusive(SAYS, boot.number, why),
    };
    if boot.journal().next().is_none() {
        return Finding::inconclusive(SAYS, boot.number, "no journal of this boot was recorded");
    }
    let said = boot.said_by(&unit);
    if let Some((event, record)) = said.iter().find(|(_, record)| expected.matches.regex().is_match(record.message())) {
        return Finding::pass(SAYS, boot.number, format!("{unit} says why: {}", record.message()))
            .seen([journal_line(event, record)]);
    }
    let message = format!("none of the {} lines of {unit}'s own journal matches `{}`", said.len(), expected.matches);
    let finding = Finding::fail(SAYS, boot.number, message).seen(last_words(boot, &unit));
    finding.advise(
        "Whoever reads `journalctl -u` must find the reason there; output of a detached container does not come there.",
    )
}

/// None of the boot's lines matches.
pub(super) fn lacks(timeline: &Timeline, boot: &Boot<'_>, expected: &JournalLacks) -> Finding {
    let unit = match expected.unit.as_ref().map(|unit| boot.resolve(unit)).transpose() {
        Ok(unit) => unit,
        Err(why) => return Finding::inconclusive(LACKS, boot.number, why),
    };
    let records = match &unit {
        Some(unit) => boot.said_by(unit),
        None => boot.journal().collect(),
    };
    let who = unit.as_deref().unwrap_or("the journal");
    if let Some((event, record)) =
        records.iter().find(|(_, record)| expected.matches.regex().is_match(record.message()))
    {
        let message = format!("{who} says what it must not (`{}`): {}", expected.matches, record.message());
        return Finding::fail(LACKS, boot.number, message).seen([journal_line(event, record)]);
    }
    if boot.journal().next().is_none() || !boot.was_followed_to_its_end(timeline) {
        let message = format!("{who} does not match `{}` so far, but the recording is not whole", expected.matches);
        return Finding::inconclusive(LACKS, boot.number, message);
    }
    let message = format!("none of {} lines of {who} matches `{}`", records.len(), expected.matches);
    Finding::pass(LACKS, boot.number, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{LOAD, Node, boot_of, expect};
    use crate::scenario::JOURNAL_PATTERNS;

    fn cleaned(node: &Node, without: &[OptOut]) -> Vec<Finding> {
        let timeline = node.timeline();
        clean(&boot_of(&timeline, 2), without)
    }

    #[test]
    fn scenarios_know_exactly_the_patterns_that_there_are() {
        let mut known: Vec<&str> = JOURNAL_PATTERNS.to_vec();
        let mut there: Vec<&str> = BAD_PATTERNS.iter().map(|bad| bad.name).collect();
        known.sort_unstable();
        there.sort_unstable();
        assert_eq!(known, there);
        assert_eq!(COMPILED.len(), BAD_PATTERNS.len(), "a pattern does not compile");
    }

    #[test]
    fn each_pattern_catches_what_it_names() {
        let lines = [
            ("panic", "[    1.0] Kernel panic - not syncing: Attempted to kill init!"),
            ("soft-lockup", "[   60.1] watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [modprobe:401]"),
            ("rcu-stall", "[   60.1] rcu: INFO: rcu_preempt self-detected stall on CPU"),
            ("oops", "[    9.1] Oops: 0002 [#1] PREEMPT SMP NOPTI"),
            ("oops", "[    9.1] BUG: kernel NULL pointer dereference, address: 0000000000000000"),
            ("general-protection", "[    9.1] general protection fault, probably for non-canonical address"),
            ("bug", "[    9.1] kernel BUG at mm/slub.c:500!"),
            ("bug", "[    9.1] list_add corruption. prev->next should be next"),
            ("warning", "[    9.1] NETDEV WATCHDOG: ens4 (day1_nic): transmit queue 0 timed out 5000 ms"),
            ("refcount-leak", "[    9.1] unregister_netdevice: waiting for eth0 to become free. Usage count = 2"),
            ("warning", "[    9.1] WARNING: CPU: 0 PID: 401 at drivers/net/x.c:12 probe+0x1/0x2 [day1_nic]"),
            ("hung-task", "[  240.1] INFO: task modprobe:401 blocked for more than 120 seconds."),
            ("segfault", "[    9.1] podman[77]: segfault at 0 ip 00007f sp 00007f error 4"),
            ("out-of-memory", "[    9.1] Out of memory: Killed process 77 (podman)"),
            ("io-error", "[    9.1] I/O error, dev vdb, sector 0 op 0x0:(READ)"),
            ("io-error", "[    9.1] Buffer I/O error on dev sda1, logical block 0"),
            ("filesystem-error", "[    9.1] EXT4-fs error (device vdb): ext4_lookup:1855"),
            ("ordering-cycle", "[    9.1] systemd[1]: basic.target: Found ordering cycle on load.service/start"),
            ("emergency", "You are in emergency mode. After logging in, type \"journalctl -xb\""),
        ];
        for (name, line) in lines {
            let what = What::Console(crate::timeline::Console { line: line.into() });
            assert_eq!(bad_pattern(&what).map(|bad| bad.name), Some(name), "{line}");
        }
    }

    #[test]
    fn healthy_lines_are_clean() {
        let lines = [
            "[    2.1] day1_nic: loading out-of-tree module taints kernel.",
            "[    0.0] Kernel command line: panic=10 oops=panic",
            "[    0.1] rcu: \tRCU restricting CPUs from NR_CPUS=8192 to nr_cpu_ids=2.",
            "[    5.0] systemd[1]: Reached target network-pre.target",
            "[    1.0] ACPI BIOS Warning (bug): Incorrect checksum",
            "[    0.0] Kernel command line: note=\"soft lockup\"",
            "[    9.1] I/O error, dev fd0, sector 0 op 0x0:(READ)",
            "[  OK  ] Finished report.service - Report BUG: statistics.",
        ];
        for line in lines {
            let what = What::Console(crate::timeline::Console { line: line.into() });
            assert_eq!(bad_pattern(&what).map(|bad| bad.name), None, "{line}");
        }
    }

    #[test]
    fn a_program_that_speaks_of_bugs_is_no_kernel() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).say("podman.service", "BUG: this is only my way of speaking; Kernel panic - not syncing");
        assert_eq!(cleaned(&node, &[])[0].outcome, Outcome::Pass);
    }

    #[test]
    fn a_bad_line_fails_unless_the_scenario_does_without() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).console("[    9.1] I/O error, dev vdb, sector 0");
        let found = cleaned(&node, &[]);
        assert!(found[0].outcome == Outcome::Fail && found[0].message.starts_with("io-error"), "{found:?}");
        let without =
            [OptOut { check: "journal.clean/io-error".into(), reason: "the disk is broken on purpose".into() }];
        assert_eq!(cleaned(&node, &without)[0].outcome, Outcome::Pass);
    }

    #[test]
    fn a_crash_is_told_and_talk_of_one_is_not() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).say("report.service", "nothing dumped core today");
        assert_eq!(cleaned(&node, &[])[0].outcome, Outcome::Pass);
        node.boot(2).say("systemd-coredump@0.service", "Process 77 (podman) of user 0 dumped core.");
        assert!(cleaned(&node, &[])[0].message.starts_with("core-dump"));
    }

    #[test]
    fn an_empty_console_proves_nothing() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_console();
        assert_eq!(cleaned(&node, &[])[0].outcome, Outcome::Inconclusive);
    }

    #[test]
    fn the_reason_must_stand_in_the_units_own_journal() {
        let judged = |node: &Node, text| {
            let timeline = node.timeline();
            says(&boot_of(&timeline, 2), &expect(text))
        };
        let mut node = Node::pulled_and_loaded();
        assert_eq!(judged(&node, "{unit: load, matches: 'loaded day1_nic'}").outcome, Outcome::Pass);
        let elsewhere = "{unit: load, matches: vermagic}";
        node.boot(2).say("other.service", "vermagic is wrong");
        node.boot(2).systemd(LOAD, "", "vermagic is in this unit's description", 3_000_000);
        assert_eq!(judged(&node, elsewhere).outcome, Outcome::Fail);
        node.boot(2).say(LOAD, "day1: error: vermagic is wrong");
        assert_eq!(judged(&node, elsewhere).outcome, Outcome::Pass);
        node.boot(2).remove_journal("");
        assert_eq!(judged(&node, elsewhere).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn what_must_not_be_said_is_looked_for_everywhere_or_with_one_unit() {
        let judged = |node: &Node, text| {
            let timeline = node.timeline();
            lacks(&timeline, &boot_of(&timeline, 2), &expect(text))
        };
        let mut node = Node::pulled_and_loaded();
        let (anywhere, by_load) = ("{matches: vermagic}", "{unit: load, matches: vermagic}");
        assert_eq!(judged(&node, anywhere).outcome, Outcome::Pass);
        node.boot(2).say("other.service", "vermagic is wrong");
        assert_eq!(judged(&node, anywhere).outcome, Outcome::Fail);
        assert_eq!(judged(&node, by_load).outcome, Outcome::Pass);
        node.boot(2).say(LOAD, "vermagic is wrong");
        assert_eq!(judged(&node, by_load).outcome, Outcome::Fail);
        node.boot(2).remove_journal("");
        assert_eq!(judged(&node, anywhere).outcome, Outcome::Inconclusive);
    }
}
