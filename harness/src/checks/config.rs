//! `config.identical`: the node was served the rendered config, byte for byte; `config.never-asked`: it did not come to ask
//! for it; `config.modes`: nobody but root can change what it puts there; `config.on-disk`: what it puts there is there.

use crate::scenario::ConfigNeverAsked;
use crate::timeline::{Differs, Timeline, What};

use super::boot::Boot;
use super::obstacle::obstacle;
use super::{Evidence, Finding};

const CHECK: &str = "config.identical";
const NEVER_ASKED: &str = "config.never-asked";
const MODES: &str = "config.modes";
const ON_DISK: &str = "config.on-disk";

pub(super) fn identical(timeline: &Timeline) -> Finding {
    let rendered = timeline.facts().map(|facts| facts.rendered_sha256.as_str()).unwrap_or_default();
    if rendered.is_empty() {
        return Finding::inconclusive(CHECK, None, "the sha256 of the rendered config is not recorded");
    }
    let served = timeline.events.iter().filter_map(|event| match &event.what {
        What::ConfigServed(config) if config.status == 200 => Some((event, config)),
        _ => None,
    });
    let served: Vec<_> = served.collect();
    if let Some((event, other)) = served.iter().find(|(_, config)| config.sha256 != rendered) {
        let message = format!("the node was served another config than the rendered one: sha256 {}", other.sha256);
        return Finding::fail(CHECK, event.boot, message).seen([Evidence::new(event, format!("rendered: {rendered}"))]);
    }
    match served.first() {
        None => {
            let message = "no config was served to the node";
            let Some(obstacle) = obstacle(&Boot::new(timeline, 1)) else {
                return Finding::inconclusive(CHECK, None, message);
            };
            let message = format!("{message}: {obstacle}");
            obstacle.told_by(Finding::inconclusive(CHECK, None, message))
        }
        Some((event, config)) => {
            let beside = if timeline.facts().is_some_and(|facts| facts.instruments_in_config) {
                "; Ignition merged the harness's instruments beside it"
            } else {
                ""
            };
            let size = config.bytes;
            let message = format!("the node was served the rendered config, byte for byte ({size} bytes){beside}");
            Finding::pass(CHECK, event.boot, message).seen([Evidence::new(event, format!("sha256 {rendered}"))])
        }
    }
}

/// The node did not ask for its config, for the reason that the scenario expects.
pub(super) fn never_asked(timeline: &Timeline, boot: &Boot<'_>, expected: &ConfigNeverAsked) -> Finding {
    let number = boot.number;
    let asked = boot.events.iter().find_map(|event| match &event.what {
        What::ConfigServed(config) => Some((event, config)),
        _ => None,
    });
    if let Some((event, config)) = asked {
        let request = format!("GET {} was answered with {}", config.path, config.status);
        return Finding::fail(NEVER_ASKED, number, "the node asked for its config")
            .seen([Evidence::new(event, request)]);
    }
    if !boot.was_followed_to_its_end(timeline) {
        let message = "the recording ends before the boot does, so that the node may have been about to ask";
        return Finding::inconclusive(NEVER_ASKED, number, message);
    }
    let Some(obstacle) = obstacle(boot) else {
        let message = "the config server was never asked, and the kernel's words about its network cards are missing";
        return Finding::inconclusive(NEVER_ASKED, number, message);
    };
    let message = format!("the config server was never asked: {obstacle}");
    match obstacle.is(expected.because) {
        true => obstacle.told_by(Finding::pass(NEVER_ASKED, number, message)),
        false => obstacle.told_by(Finding::fail(NEVER_ASKED, number, message)),
    }
}

/// No file of the MachineConfigs under test can be written by others than its owner; nothing for those without files.
pub(super) fn modes(timeline: &Timeline) -> Option<Finding> {
    const OTHERS_WRITE: u32 = 0o022;
    let files = &timeline.facts()?.files;
    if files.is_empty() {
        return None;
    }
    let open = files.iter().filter(|file| file.mode & OTHERS_WRITE != 0);
    let open: Vec<String> = open.map(|file| format!("{} ({:04o})", file.path, file.mode)).collect();
    if open.is_empty() {
        let message = format!("nobody but root can change the {} files of the MachineConfigs under test", files.len());
        return Some(Finding::pass(MODES, None, message));
    }
    let message = format!("everybody on the node can change {}", open.join(", "));
    let advice = "What root runs at each boot must be root's alone: 0755 for a script, which is 493 where JSON wants it decimal.";
    Some(Finding::fail(MODES, None, message).advise(advice))
}

/// What the config in force puts on the node is on its disk, as the MCO's daemon looks at it after each boot.
pub(super) fn on_disk(timeline: &Timeline, boot: &Boot<'_>) -> Finding {
    let number = boot.number;
    let seen = boot.events.iter().rev().find_map(|event| match &event.what {
        What::OnDisk(seen) => Some((*event, seen)),
        _ => None,
    });
    // The node may get another one in the middle of a boot.
    let before = seen.map_or(0, |(seen, _)| seen.seq);
    let changes = timeline.events.iter().filter(|event| event.seq < before);
    let changes = changes.filter(|event| matches!(&event.what, What::Happened(happened) if happened.changes_config()));
    let config = boot.facts.and_then(|facts| facts.configs.get(changes.count()));
    // A config without a file is none.
    let config = config.filter(|config| !config.files.is_empty());
    let (Some(config), Some((event, seen))) = (config, seen) else {
        let message = "what of the node's config is on its disk was not looked at in this boot";
        return Finding::inconclusive(ON_DISK, number, message);
    };
    let told = |one: &Differs<'_>| {
        let found = one.found.unwrap_or("not there");
        Evidence::new(event, format!("{} {}: {found}, expected: {}", one.what, one.name, one.expected))
    };
    let wrong: Vec<Evidence> = config.differences(seen).iter().map(told).collect();
    if wrong.is_empty() {
        let message = format!(
            "{} files and {} units are on disk as {} has them",
            config.files.len(),
            config.units.len(),
            config.name
        );
        return Finding::pass(ON_DISK, number, message).seen([Evidence::new(event, "modes, sums and enablement")]);
    }
    let message = format!("{} of the config's files and units are not as it has them", wrong.len());
    Finding::fail(ON_DISK, number, message)
        .seen(wrong)
        .advise("The MCO's daemon would report the node as Degraded: who changes what a MachineConfig has written?")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{Node, boot_of, expect};
    use crate::timeline::ConfigServed;

    #[test]
    fn other_bytes_fail_and_none_prove_nothing() {
        let mut node = Node::pulled_and_loaded();
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Pass);
        node.facts().rendered_sha256 = "other".into();
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Fail);
        node.facts().rendered_sha256.clear();
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove(|what| matches!(what, What::ConfigServed(_)));
        assert_eq!(identical(&node.timeline()).outcome, Outcome::Inconclusive);
    }

    const CARD: &str = "pci 0000:00:03.0: [8086:100e] type 00 class 0x020000 conventional PCI endpoint";

    /// A node whose config server was never asked, and whose kernel says these lines.
    fn unasked(kernel: &[&str]) -> Node {
        let mut node = Node::pulled_and_loaded();
        node.boot(1).remove(|what| matches!(what, What::ConfigServed(_)));
        kernel.iter().for_each(|line| node.boot(1).kernel(line));
        node
    }

    fn judged(node: &Node, because: &str) -> Finding {
        let timeline = node.timeline();
        never_asked(&timeline, &boot_of(&timeline, 1), &expect(&format!("{{because: {because}}}")))
    }

    #[test]
    fn a_node_without_a_driver_never_asks_and_the_reason_is_told() {
        let finding = judged(&unasked(&[CARD]), "no-driver");
        assert_eq!(finding.outcome, Outcome::Pass, "{finding:?}");
        let told = "the config server was never asked: no driver for the only network card (PCI 8086:100e)";
        assert_eq!(finding.message, told);
        assert!(finding.evidence[0].text.contains(CARD), "{finding:?}");
        let other = "pci 0000:00:04.0: [1af4:1000] type 00 class 0x020000";
        let finding = judged(&unasked(&[CARD, other]), "no-driver");
        assert!(finding.message.ends_with("any of the 2 network cards (PCI 8086:100e, 1af4:1000)"), "{finding:?}");
        let bridge = "pci 0000:00:01.0: [8086:7000] type 00 class 0x060100 conventional PCI endpoint";
        assert_eq!(judged(&unasked(&[bridge]), "no-card").outcome, Outcome::Pass);
        let told = identical(&unasked(&[CARD]).timeline());
        assert!(told.outcome == Outcome::Inconclusive && told.message.contains("no driver for the only"), "{told:?}");
    }

    #[test]
    fn a_node_that_asked_or_has_another_reason_fails_and_without_evidence_nothing_is_known() {
        let mut asked = unasked(&[CARD]);
        asked.boot(1).push(What::ConfigServed(ConfigServed { status: 503, ..ConfigServed::default() }));
        assert!(judged(&asked, "no-driver").message.contains("asked for its config"));
        assert_eq!(judged(&asked, "no-driver").outcome, Outcome::Fail);
        let driven = unasked(&[CARD, "e1000 0000:00:03.0 eth0: Intel(R) PRO/1000 Network Connection"]);
        let finding = judged(&driven, "no-driver");
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("e1000 0000:00:03.0"), "{finding:?}");
        assert_eq!(judged(&unasked(&[CARD]), "no-card").outcome, Outcome::Fail);
        // Of the bus's own words, none is a driver's.
        let own =
            unasked(&[CARD, "pci 0000:00:03.0: BAR 0 [mem 0xfeb80000-0xfeb9ffff]", "PCI: 0000:00:03.0 has no IRQ"]);
        assert_eq!(judged(&own, "no-driver").outcome, Outcome::Pass);
        assert_eq!(judged(&unasked(&[]), "no-driver").outcome, Outcome::Inconclusive);
        let mut broken_off = unasked(&[CARD]);
        broken_off.drop_boots_after(1);
        assert_eq!(judged(&broken_off, "no-driver").outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_file_that_others_can_write_fails() {
        let mut node = Node::pulled_and_loaded();
        let judged = |node: &Node| modes(&node.timeline());
        assert_eq!(judged(&node).expect("a finding").outcome, Outcome::Pass);
        node.facts().files[0].mode = 0o777;
        let finding = judged(&node).expect("a finding");
        assert!(finding.outcome == Outcome::Fail && finding.message.contains("load.sh (0777)"), "{finding:?}");
        node.facts().files.clear();
        assert_eq!(judged(&node), None);
    }

    #[test]
    fn what_is_on_disk_is_held_against_the_config_in_force() {
        use crate::timeline::Happened;
        let judged = |node: &Node| {
            let timeline = node.timeline();
            on_disk(&timeline, &boot_of(&timeline, 2))
        };
        let mut node = Node::pulled_and_loaded();
        assert_eq!(judged(&node).outcome, Outcome::Pass);
        node.facts().configs[0].files.insert("/etc/x".into(), "0644 abc".into());
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Fail && finding.evidence[0].text.contains("/etc/x"), "{finding:?}");
        // After a change another config counts; of one that failed, the old one.
        let good = Node::pulled_and_loaded().facts().configs[0].clone();
        node.facts().configs.push(good);
        let change = |failed| What::Happened(Happened { action: "apply".into(), failed, ..Happened::default() });
        node.boot(1).push(change(Some("no".into())));
        assert_eq!(judged(&node).outcome, Outcome::Fail);
        node.boot(1).push(change(None));
        assert_eq!(judged(&node).outcome, Outcome::Pass);
        node.boot(2).remove(|what| matches!(what, What::OnDisk(_)));
        assert_eq!(judged(&node).outcome, Outcome::Inconclusive);
    }

    #[test]
    fn a_config_that_comes_in_the_middle_of_a_boot_is_looked_for_after_it() {
        use crate::checks::fixture::boot_of;
        use crate::timeline::{Happened, OnDisk};
        let judged = |node: &Node| {
            let timeline = node.timeline();
            on_disk(&timeline, &boot_of(&timeline, 2))
        };
        let mut node = Node::pulled_and_loaded();
        let mut next = node.facts().configs[0].clone();
        next.name = "rendered-worker-next".into();
        next.files.insert("/usr/local/bin/load.sh".into(), "0755 a5a5".into());
        node.facts().configs.push(next.clone());
        assert_eq!(judged(&node).outcome, Outcome::Pass);
        node.boot(2).push(What::Happened(Happened { action: "apply".into(), ..Happened::default() }));
        assert_eq!(judged(&node).outcome, Outcome::Pass, "what was seen before it was the old one");
        node.boot(2).push(What::OnDisk(OnDisk { files: next.files.clone(), units: next.units.clone() }));
        let finding = judged(&node);
        assert!(finding.outcome == Outcome::Pass && finding.message.contains("rendered-worker-next"), "{finding:?}");
        let old = node.facts().configs[0].files.clone();
        node.boot(2).push(What::OnDisk(OnDisk { files: old, units: next.units }));
        assert_eq!(judged(&node).outcome, Outcome::Fail);
    }
}
