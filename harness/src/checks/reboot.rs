//! `boots.count`: how many boots there were, and why each ended.

use std::sync::LazyLock;

use regex::Regex;

use crate::scenario::{self, Ends, Role, Scenario};
use crate::text::number;
use crate::timeline::{self, Cause, Event, JournalRecord, Timeline, What, message_id};

use super::boot::{Boot, journal_line, resolve};
use super::{Evidence, Finding};

const CHECK: &str = "boots.count";

/// How a boot ended.
#[derive(Debug, Clone, PartialEq)]
pub struct BootEnd {
    /// The boot, from 1.
    pub boot: u32,
    /// Why it ended.
    pub cause: Cause,
    /// Whether the cause was not told by systemd, but follows from what ran at that time.
    pub inferred: bool,
    /// Where that is seen.
    pub evidence: Vec<Evidence>,
}

/// How each boot of a timeline ended, from the first.
pub fn boot_ends(timeline: &Timeline) -> Vec<BootEnd> {
    (1..=timeline.boots()).map(|number| boot_end(timeline, number, None)).collect()
}

/// How a boot ended; `by` is a unit that may have asked for it, besides those under test.
fn boot_end(timeline: &Timeline, number: u32, by: Option<&str>) -> BootEnd {
    let boot = Boot::new(timeline, number);
    let end = |cause, evidence: Vec<Evidence>| BootEnd { boot: number, cause, inferred: false, evidence };
    if let Some(panic) = boot.events.iter().find(|event| is_panic(event)) {
        return end(Cause::Panic, vec![Evidence::new(panic, "the kernel panicked")]);
    }
    // The reset is the first event of the boot that it begins.
    let Some(next) = timeline.of_boot(number + 1).next() else {
        return end(Cause::Running, vec![]);
    };
    // Where a checkpoint was made, the machine was paused instead of reset, and another one started.
    let paused = boot.events.iter().find(|event| matches!(&event.what, What::Qmp(qmp) if qmp.is_paused_at_reset()));
    let ended = paused.copied().unwrap_or(next);
    let reason = match &ended.what {
        What::Qmp(qmp) => qmp.reason(),
        _ => "",
    };
    let reset = Evidence::new(ended, format!("QEMU: reset ({reason})"));
    if reason.starts_with("host-") || matches!(ended.what, What::MachineStarted(_)) {
        return end(Cause::Harness, vec![reset]);
    }
    let BootEnd { cause, inferred, mut evidence, .. } = who_asked(&boot, by);
    evidence.push(reset);
    BootEnd { boot: number, cause, inferred, evidence }
}

fn is_panic(event: &Event) -> bool {
    match &event.what {
        What::Console(console) => timeline::is_panic(&console.line),
        What::Journal(record) => record.is_from_kernel() && timeline::is_panic(record.message()),
        What::Qmp(qmp) => qmp.event == "GUEST_PANICKED",
        _ => false,
    }
}

/// logind: the system shuts down (`SD_MESSAGE_SHUTDOWN`).
const SHUTDOWN: &str = "98268866d1d54a499c4e98921d93bc40";

/// Newer versions of systemd tell who asked, of logind (`Reboot requested from …`) and of the manager itself.
static ASKED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?i)reboot requested from client PID \d+(?: \('([^']*)'\))?(?: \(unit ([^)]+)\))?").ok()
});

/// Whether a record says that the system goes down.
pub fn is_shutdown(record: &JournalRecord) -> bool {
    record.message_id() == SHUTDOWN
        || (record.is_from_systemd() && record.field("UNIT") == "reboot.target")
        || (record.is_from_systemd() && record.message().starts_with("Shutting down"))
}

fn who_asked(boot: &Boot<'_>, by: Option<&str>) -> BootEnd {
    let end = |cause, inferred, evidence| BootEnd { boot: boot.number, cause, inferred, evidence };
    let records = boot.real_root_journal();
    for (event, record) in &records {
        // Anybody may write such a line; only these two know.
        if !record.is_from_systemd() && record.field("_COMM") != "systemd-logind" {
            continue;
        }
        let Some(asked) = ASKED.as_ref().and_then(|asked| asked.captures(record.message())) else { continue };
        let evidence = vec![journal_line(event, record)];
        return match (asked.get(2), asked.get(1)) {
            (Some(unit), _) => end(Cause::Unit(unit.as_str().to_owned()), false, evidence),
            (None, Some(program)) => end(Cause::Guest(program.as_str().to_owned()), false, evidence),
            _ => end(Cause::Guest("an unnamed program".to_owned()), false, evidence),
        };
    }
    let shutdown = records.iter().find(|(_, record)| is_shutdown(record));
    let Some((event, record)) = shutdown else {
        return match went_past_systemd(boot) {
            Some(event) => end(
                Cause::Guest(PAST_SYSTEMD.to_owned()),
                false,
                vec![Evidence::new(event, "the kernel restarts, and systemd has not shut down")],
            ),
            None => end(Cause::Guest(NOBODY.to_owned()), false, vec![]),
        };
    };
    let evidence = vec![journal_line(event, record)];
    match starting_at(boot, record.mono_us(), by).as_slice() {
        [unit] => end(Cause::Unit((*unit).to_owned()), true, evidence),
        units @ [_, ..] => {
            end(Cause::Guest(format!("one of {}, which were all starting", units.join(", "))), true, evidence)
        }
        _ => end(Cause::Guest("a client of systemd-logind that its version does not name".to_owned()), false, evidence),
    }
}

/// What a reset that nothing in the guest speaks of is told as.
const NOBODY: &str = "nobody in its journal";

/// What a reboot that systemd had no part in is told as.
const PAST_SYSTEMD: &str = "something that went past systemd, so that nothing was stopped in order";

/// The kernel's last word, where the console shows that systemd's own last words did not come before it.
fn went_past_systemd<'t>(boot: &Boot<'t>) -> Option<&'t Event> {
    let console = |wanted: &str| {
        boot.events.iter().find(|event| matches!(&event.what, What::Console(console) if console.line.contains(wanted)))
    };
    if console("systemd-shutdown[1]").is_some() {
        return None;
    }
    console("reboot: Restarting system").copied()
}

/// The units, of those under test and `by`, whose start was under way at a moment: where systemd does not tell, only that
/// tells who asked.
fn starting_at<'t>(boot: &Boot<'t>, moment: Option<u64>, by: Option<&'t str>) -> Vec<&'t str> {
    let under_test = [Role::Pull, Role::Load].into_iter().flat_map(|role| boot.units_of(role));
    let units = under_test.chain(by.filter(|unit| !is_under_test(boot, unit)));
    let was_starting = |unit: &str| {
        let about = boot.about(unit);
        let mut before = about.iter().filter(|(_, record)| record.mono_us() <= moment);
        before.next_back().is_some_and(|(_, record)| record.message_id() == message_id::UNIT_STARTING)
    };
    units.filter(|unit| was_starting(unit)).collect()
}

/// Whether there were the boots that the scenario has, each ending as it must.
pub(super) fn count(scenario: &Scenario, timeline: &Timeline) -> Finding {
    let spec = &scenario.spec;
    let end = |number| {
        let by = spec.boot(number).and_then(|plan| plan.by.as_ref());
        let by = by.and_then(|unit| resolve(timeline.facts(), unit).ok());
        boot_end(timeline, number, by.as_deref())
    };
    let ends: Vec<BootEnd> = (1..=timeline.boots()).map(end).collect();
    for end in &ends {
        let Some(plan) = spec.boot(end.boot) else { break };
        if let Some(finding) = compare(timeline, plan, end) {
            return finding.seen(end.evidence.clone());
        }
    }
    let most = spec.most_boots();
    let planned = match spec.boots.len() {
        least if least as u64 == u64::from(most) => most.to_string(),
        least => format!("{least} to {most}"),
    };
    if let Some(extra) = ends.get(most as usize) {
        // The comparison above has shown that the boot before it settled and was not to end.
        let before = ends.get((most as usize).saturating_sub(1));
        let cause = before.map_or_else(|| "nothing".to_owned(), |end| tell(&end.cause));
        let message =
            format!("{} boots, expected: {planned}; boot {} followed because of {cause}", ends.len(), extra.boot);
        let finding = Finding::fail(CHECK, None, message).seen(before.into_iter().flat_map(|end| end.evidence.clone()));
        return finding.advise(
            "A reboot that nobody planned is a loop in the making: what decides about it, and what bounds it?",
        );
    }
    if ends.len() < spec.boots.len() {
        let message = format!("{} of {planned} boots were seen; the trial ended early", ends.len());
        return Finding::inconclusive(CHECK, None, message);
    }
    let causes: Vec<String> = ends.iter().map(|end| format!("{}: {}", end.boot, summary(end, spec))).collect();
    let message = format!("{} as expected ({})", number(ends.len(), "boot"), causes.join("; "));
    Finding::pass(CHECK, None, message).seen(ends.into_iter().flat_map(|end| end.evidence))
}

fn summary(end: &BootEnd, spec: &scenario::Spec) -> String {
    let by_the_trial = spec.boot(end.boot).is_some_and(scenario::Boot::is_ended_by_the_trial);
    match &end.cause {
        Cause::Running if spec.boot(end.boot).is_some_and(|boot| boot.ends == Ends::Never) => {
            "neither settled nor rebooted in its time".to_owned()
        }
        Cause::Running => "settled".to_owned(),
        Cause::Harness => "cut by the trial".to_owned(),
        _ if by_the_trial => "settled, then rebooted by the trial".to_owned(),
        Cause::Unit(unit) if end.inferred => format!("reboot by {unit}, which was starting then"),
        cause => format!("reboot by {}", tell(cause)),
    }
}

fn tell(cause: &Cause) -> String {
    match cause {
        Cause::Unit(unit) => unit.clone(),
        Cause::Guest(who) => who.clone(),
        Cause::Panic => "a kernel panic".to_owned(),
        Cause::Harness => "a reset from outside".to_owned(),
        Cause::Running => "nothing".to_owned(),
    }
}

/// What is wrong with the end of one boot; `None` if it is as planned.
fn compare(timeline: &Timeline, plan: &scenario::Boot, end: &BootEnd) -> Option<Finding> {
    let boot = Boot::new(timeline, end.boot);
    let number = end.boot;
    let fail = |message: String| Some(Finding::fail(CHECK, number, message));
    let unsure = |message: String| Some(Finding::inconclusive(CHECK, number, message));
    let is_last = number == timeline.boots();
    // Of several boots that may pass until the node settles, only the last is to.
    let may_end = plan.at_most.is_some() && !is_last;
    match (plan.ends, plan.is_ended_by_the_trial(), &end.cause) {
        (_, _, Cause::Panic) => fail(format!("boot {number} ended in a kernel panic")),
        (Ends::Reboot, _, Cause::Running) => did_not_reboot(&boot),
        (Ends::Reboot, _, Cause::Harness) => {
            unsure(format!("boot {number} was cut from outside before it rebooted by itself"))
        }
        (Ends::Reboot, _, cause) => wrong_cause(&boot, plan, cause),
        (Ends::Never, _, Cause::Running) => came_up(&boot),
        (Ends::Never, _, cause) => {
            fail(format!("boot {number} must not come to an end, but it was rebooted by {}", tell(cause)))
        }
        (Ends::Cut, _, Cause::Harness) => None,
        (Ends::Cut, _, cause) => unsure(match cause {
            Cause::Running => format!("boot {number} was not cut as the scenario wants it"),
            cause => format!("boot {number} was rebooted by {} before the scenario cut it", tell(cause)),
        }),
        (Ends::Ready, _, Cause::Running) if is_last => powered_off(&boot).or_else(|| match boot.settled() {
            Some(_) => None,
            // node.ready tells what keeps it.
            None => unsure(format!("boot {number} was not seen to settle")),
        }),
        _ if may_end => None,
        (Ends::Ready, false, Cause::Unit(_) | Cause::Guest(_)) => {
            fail(format!("boot {number} must settle and stay up, but it was rebooted by {}", tell(&end.cause)))
        }
        (Ends::Ready, false, Cause::Harness) => {
            unsure(format!("boot {number} was cut by the trial, and the scenario does not say `ends: cut`"))
        }
        (Ends::Ready, true, Cause::Unit(unit)) if is_under_test(&boot, unit) => {
            fail(format!("boot {number} must settle and stay up, but {unit} rebooted it"))
        }
        (Ends::Ready, true, _) if boot.settled().is_none() => {
            fail(format!("boot {number} was ended by {} before it settled", tell(&end.cause)))
        }
        (Ends::Ready, true, Cause::Unit(_) | Cause::Guest(_)) if !was_ended_by_the_trial(&boot, plan) => fail(format!(
            "boot {number} must stay up, but it was rebooted by {} before the trial did it",
            tell(&end.cause)
        )),
        _ => None,
    }
}

/// Whether the trial did what was to end the boot.
fn was_ended_by_the_trial(boot: &Boot<'_>, plan: &scenario::Boot) -> bool {
    let ending: Vec<&str> =
        plan.then.iter().filter(|action| action.ends_the_boot()).map(scenario::Action::name).collect();
    boot.events.iter().any(|event| {
        matches!(&event.what, What::Happened(happened)
            if happened.index.is_none() && happened.failed.is_none() && ending.contains(&happened.action.as_str()))
    })
}

fn is_under_test(boot: &Boot<'_>, unit: &str) -> bool {
    [Role::Pull, Role::Load].into_iter().any(|role| boot.units_of(role).contains(&unit))
}

fn did_not_reboot(boot: &Boot<'_>) -> Option<Finding> {
    let number = boot.number;
    if let Some(finding) = powered_off(boot) {
        return Some(finding);
    }
    let settled = boot.settled();
    let deadline = boot.events.iter().find(|event| matches!(event.what, What::DeadlinePassed { .. }));
    Some(match (settled, deadline) {
        (Some(event), _) => {
            Finding::fail(CHECK, number, format!("boot {number} settled, but it must end in a reboot of its own"))
                .seen([Evidence::new(event, "the boot settled")])
                .advise("What must ask for the reboot did not, or has not come to it: look at the unit's own journal.")
        }
        (None, Some(event)) => {
            Finding::fail(CHECK, number, format!("boot {number} neither settled nor rebooted in its time"))
                .seen([Evidence::new(event, "the deadline passed")])
        }
        (None, None) => {
            Finding::inconclusive(CHECK, number, format!("boot {number} was neither seen to settle nor to reboot"))
        }
    })
}

/// What is wrong with a boot that must neither settle nor reboot, and has not rebooted.
fn came_up(boot: &Boot<'_>) -> Option<Finding> {
    let number = boot.number;
    if let Some(finding) = powered_off(boot) {
        return Some(finding);
    }
    if let Some(event) = boot.settled() {
        let finding = Finding::fail(CHECK, number, format!("boot {number} settled, but it must not come up"));
        return Some(finding.seen([Evidence::new(event, "the boot settled")]));
    }
    let waited = boot.events.iter().any(|event| matches!(event.what, What::DeadlinePassed { .. }));
    (!waited)
        .then(|| Finding::inconclusive(CHECK, number, format!("boot {number} was not waited for until its deadline")))
}

pub(super) fn powered_off(boot: &Boot<'_>) -> Option<Finding> {
    let event = boot.events.iter().find(|event| guest_shutdown(event))?;
    let message = format!("boot {} ended: the node switched itself off", boot.number);
    Some(Finding::fail(CHECK, boot.number, message).seen([Evidence::new(event, "QEMU: shutdown (guest-shutdown)")]))
}

/// Whether the guest switched the machine off.
pub(super) fn guest_shutdown(event: &Event) -> bool {
    let What::Qmp(qmp) = &event.what else { return false };
    qmp.event == "SHUTDOWN" && qmp.reason() == "guest-shutdown"
}

fn wrong_cause(boot: &Boot<'_>, plan: &scenario::Boot, cause: &Cause) -> Option<Finding> {
    let number = boot.number;
    let Some(by) = &plan.by else {
        return match cause {
            Cause::Guest(who) if who == PAST_SYSTEMD => {
                Some(Finding::fail(CHECK, number, format!("boot {number} was rebooted by {who}")))
            }
            Cause::Guest(who) if who == NOBODY => {
                let message = format!("boot {number} ended in a reset, and nothing tells who asked for it");
                Some(Finding::inconclusive(CHECK, number, message))
            }
            _ => None,
        };
    };
    match (resolve(boot.facts, by), cause) {
        (Err(why), _) => Some(Finding::inconclusive(CHECK, number, why)),
        (Ok(wanted), Cause::Unit(unit)) if *unit == wanted => None,
        (Ok(wanted), Cause::Unit(unit)) => {
            Some(Finding::fail(CHECK, number, format!("boot {number} was rebooted by {unit}, expected: {wanted}")))
        }
        (Ok(wanted), Cause::Guest(who)) if who == PAST_SYSTEMD => {
            Some(Finding::fail(CHECK, number, format!("boot {number} was rebooted by {who}; expected: {wanted}")))
        }
        (Ok(wanted), other) => {
            let message = format!(
                "boot {number} was rebooted, but whether {wanted} asked for it can't be told: it was {}",
                tell(other)
            );
            Some(Finding::inconclusive(CHECK, number, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, PULL, expect, scenario};
    use crate::timeline::Happened;

    fn judged(node: &Node) -> Finding {
        count(&scenario(), &node.timeline())
    }

    #[test]
    fn two_boots_with_their_causes_pass() {
        let finding = judged(&Node::pulled_and_loaded());
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        assert_eq!(finding.message, format!("2 boots as expected (1: reboot by {PULL}; 2: settled)"));
        let ends = boot_ends(&Node::pulled_and_loaded().timeline());
        assert_eq!(ends[0].cause, Cause::Unit(PULL.into()));
        assert!(!ends[0].inferred);
    }

    #[test]
    fn an_older_systemd_does_not_say_who_but_one_unit_was_starting() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove_journal("requested from client");
        let ends = boot_ends(&node.timeline());
        assert_eq!((&ends[0].cause, ends[0].inferred), (&Cause::Unit(PULL.into()), true), "{ends:?}");
        assert_eq!(judged(&node).outcome, Outcome::Pass);
        node.boot(1).remove_journal("Starting");
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn another_units_reboot_fails() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove_journal("requested from client");
        node.boot(1).systemd(
            "",
            "",
            "Reboot requested from client PID 9 ('systemctl') (unit other.service)...",
            20_000_000,
        );
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("other.service"), "{finding:?}");
    }

    #[test]
    fn a_unit_of_the_node_s_own_that_was_starting_is_known_by_the_scenario() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove_journal("requested from client");
        node.boot(1).remove_journal("Starting");
        node.boot(1).starting("firstboot.service", 10_000_000);
        let mut scenario = scenario();
        assert_eq!(count(&scenario, &node.timeline()).outcome, Outcome::Inconclusive);
        scenario.spec.boots[0].by = Some(expect("firstboot.service"));
        let finding = count(&scenario, &node.timeline());
        assert!(finding.outcome == Outcome::Pass && finding.message.contains("firstboot.service"), "{finding:?}");
    }

    #[test]
    fn a_reboot_past_systemd_fails() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove(|what| matches!(what, What::Journal(record) if is_shutdown(record) || record.message().contains("requested from client")));
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
        node.boot(1).console("[   21.0] reboot: Restarting system");
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("past systemd"), "{finding:?}");
        node.boot(1).console("[   21.0] systemd-shutdown[1]: Rebooting.");
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_settled_node_that_reboots_before_the_trial_does_fails() {
        let mut node = Node::pulled_and_loaded();
        node.add_boot();
        let mut scenario = scenario();
        scenario.spec.boots.push(scenario.spec.boots[1].clone());
        scenario.spec.boots[1].then = expect("[reboot]");
        let finding = count(&scenario, &node.timeline());
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("before the trial did it"), "{finding:?}");
        node.boot(2).push(What::Happened(Happened { action: "reboot".into(), ..Happened::default() }));
        let finding = count(&scenario, &node.timeline());
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
    }

    #[test]
    fn a_third_boot_fails() {
        let mut node = Node::pulled_and_loaded();
        node.add_boot();
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("must settle and stay up"), "{finding:?}");
    }

    #[test]
    fn a_boot_that_settles_instead_of_rebooting_fails() {
        let mut node = Node::pulled_and_loaded();
        node.drop_boots_after(1);
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
        node.boot(1).systemd("", message_id::STARTUP_FINISHED, "Startup finished", 22_000_000);
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("must end in a reboot"), "{finding:?}");
    }

    #[test]
    fn a_hang_fails_by_its_deadline() {
        let mut node = Node::pulled_and_loaded();
        node.drop_boots_after(1);
        node.boot(1).push(What::DeadlinePassed { waiting_for: "the reboot".into(), after_s: 300.0 });
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("in its time"), "{finding:?}");
    }

    #[test]
    fn a_boot_that_must_not_come_up_passes_by_its_deadline_only() {
        let mut scenario = scenario();
        scenario.spec.boots.truncate(1);
        (scenario.spec.boots[0].ends, scenario.spec.boots[0].by) = (Ends::Never, None);
        let judged = |node: &Node| count(&scenario, &node.timeline());
        assert!(judged(&Node::pulled_and_loaded()).message.contains("must not come to an end"));
        let mut node = Node::pulled_and_loaded();
        node.drop_boots_after(1);
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
        node.boot(1).push(What::DeadlinePassed { waiting_for: "end of boot 1".into(), after_s: 120.0 });
        let finding = judged(&node);
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        assert_eq!(finding.message, "1 boot as expected (1: neither settled nor rebooted in its time)");
        node.boot(1).systemd("", message_id::STARTUP_FINISHED, "Startup finished", 22_000_000);
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("must not come up"), "{finding:?}");
    }

    #[test]
    fn a_panic_is_no_reboot() {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).console("[   21.0] Kernel panic - not syncing: VFS: Unable to mount root fs");
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("panic"), "{finding:?}");
    }

    #[test]
    fn a_checkpoint_s_boot_ended_as_its_recording_says() {
        let mut node = Node::pulled_and_loaded();
        node.begins_with_a_checkpoint();
        let finding = judged(&node);
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        assert_eq!(finding.message, judged(&Node::pulled_and_loaded()).message);
        node.boot(1).remove_journal("requested from client");
        node.boot(1).remove_journal("Starting");
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_second_machine_without_a_checkpoint_proves_nothing() {
        let mut node = Node::pulled_and_loaded();
        node.begins_with_a_checkpoint();
        node.boot(1).remove(|what| matches!(what, What::Qmp(qmp) if qmp.is_paused_at_reset()));
        assert_eq!(boot_ends(&node.timeline())[0].cause, Cause::Harness);
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_reset_from_outside_proves_nothing() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).resets("host-qmp-system-reset");
        assert_eq!(boot_ends(&node.timeline())[0].cause, Cause::Harness);
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_node_that_switches_itself_off_fails() {
        let mut node = Node::pulled_and_loaded();
        node.boot(2).qmp("SHUTDOWN", "guest-shutdown");
        assert!(judged(&node).message.contains("switched itself off"));
    }
}
