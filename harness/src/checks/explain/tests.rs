//! What is said of the checks is true.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Asked as Told;
use super::{ALL, BAD_PATTERNS, Explanation, explain, page, pattern};
use crate::checks::fixture::{LOAD, Node, PULL, expect, scenario};
use crate::checks::pool::fixture::{ONE, Pool, TWO, answers, changed, pod, pool_scenario};
use crate::checks::{Finding, Outcome, judge};
use crate::scenario::{BASE_CHECKS, Expectations, Scenario, StepExpectations};
use crate::timeline::{Asked, FileSeen, NodeState, PodState, What};

/// The good trial spoilt so that the check does not pass, and the boot whose `expect` has the check's line.
type Spoilt = (&'static str, usize, fn(&mut Node, &mut Scenario));

/// The good pool spoilt so that the check of a step does not pass: its id, what the step expects, and how.
type SpoiltPool = (&'static str, &'static str, fn(&mut Pool));

const SPOILT_POOLS: [SpoiltPool; 6] = [
    ("downtime", "{downtime: {none: true}}", |pool| pool.tell(111, TWO, answers(Asked::Service, false, 110))),
    ("pod.result", "{pod.result: {node: worker-1, pod: load, is: succeeded}}", |pool| {
        pool.tell(106, ONE, pod("load-nic-2", PodState::Pending));
    }),
    ("rollout.merged", "{rollout.merged: {worker: [50-worker, 99-worker-day1-nic]}}", |_| ()),
    ("rollout.order", "{}", |pool| pool.tell(150, TWO, changed(NodeState::Targeted))),
    ("rollout.states", "{rollout.states: {worker-2: updated}}", |pool| {
        pool.tell(150, TWO, changed(NodeState::NotReady));
    }),
    ("rollout.unavailable", "{}", |pool| pool.tell(111, TWO, answers(Asked::Service, false, 108))),
];

const SPOILT: [Spoilt; 26] = [
    ("boots.count", 2, |node, _| {
        let asked = format!("Reboot requested from client PID 640 ('systemctl') (unit {PULL})...");
        node.boot(2).systemd("", "", &asked, 24_000_000);
        node.add_boot();
    }),
    ("config.identical", 2, |node, _| node.facts().rendered_sha256 = "bb".into()),
    ("config.modes", 2, |node, _| node.facts().files[0].mode = 0o777),
    ("config.never-asked", 1, |node, _| {
        node.boot(1).remove(|what| matches!(what, What::ConfigServed(_)));
        node.boot(1).kernel("pci 0000:00:03.0: [8086:100e] type 00 class 0x020000 conventional PCI endpoint");
        node.boot(1).kernel("e1000 0000:00:03.0: enabling device (0000 -> 0003)");
    }),
    ("config.on-disk", 2, |node, _| {
        node.facts().configs[0].files.insert("/etc/gone".into(), "0644 aa".into());
    }),
    ("evidence", 2, |node, _| node.boot(1).remove_console()),
    ("file.state", 2, |node, _| {
        node.boot(2).push(What::File(FileSeen { path: "/etc/motd".into(), ..FileSeen::default() }));
    }),
    ("image.not-pulled", 1, |node, _| {
        node.boot(1).remove(|what| matches!(what, What::Registry(request) if request.subject == "ping"));
    }),
    ("image.pulled", 2, |_, _| ()),
    ("image.refused", 1, |_, _| ()),
    ("journal.clean", 2, |node, _| node.boot(2).console("[    9.1] I/O error, dev vdb, sector 0")),
    ("journal.lacks", 2, |node, _| node.boot(2).say(LOAD, "day1: error: vermagic is wrong")),
    ("journal.says", 2, |_, _| ()),
    ("kernel.locked-down", 2, |node, scenario| {
        scenario.spec.node.secure_boot = true;
        node.boot(2).kernel("Kernel is locked down from EFI Secure Boot; see man kernel_lockdown.7");
    }),
    ("kernel.running", 2, |node, _| {
        node.facts().kernels = vec!["6.12".into()];
        node.ready(2).snapshot.kernel_release = "6.12-rt".into();
    }),
    ("kernel.taint", 2, |node, _| node.ready(2).snapshot.tainted |= 1 << 9),
    ("module.absent", 2, |_, _| ()),
    ("module.present", 2, |_, _| ()),
    ("module.replaced", 2, |node, _| drop(node.ready(2).snapshot.modules.remove("day1_nic"))),
    ("nic.driver", 2, |node, _| {
        if let Some(link) = node.ready(2).snapshot.links.get_mut("ens4") {
            link.driver = "e1000".into();
        }
    }),
    ("node.leftovers", 2, |node, _| node.ready(2).snapshot.containers.push("worker".into())),
    ("node.ready", 2, |node, _| node.ready(2).unit(LOAD, |unit| unit.active_state = "failed".into())),
    ("scenario.happened", 2, |_, scenario| {
        scenario.spec.registry.faults = vec![expect("{on: blob, answer: 503}")];
    }),
    ("unit.before", 2, |node, _| node.ready(2).unit("network-pre.target", |unit| unit.after.clear())),
    ("unit.budget", 2, |node, _| {
        node.ready(2).unit(LOAD, |unit| unit.start_timeout_us = Some(crate::timeline::Unit::FOR_EVER));
    }),
    ("unit.result", 2, |node, _| {
        node.ready(2).unit(LOAD, |unit| (unit.active_state, unit.result) = ("failed".into(), "exit-code".into()));
    }),
];

/// What the check finds in its spoilt trial.
fn found((id, boot, spoil): &Spoilt) -> Vec<Finding> {
    let (mut node, mut scenario) = (Node::pulled_and_loaded(), scenario());
    scenario.spec.boots.iter_mut().for_each(|boot| boot.expect = Expectations::default());
    if let Some(Told::Key(line)) = explain(id).map(|check| check.asked) {
        scenario.spec.boots[boot - 1].expect = expect(line);
    }
    spoil(&mut node, &mut scenario);
    let findings = judge(&scenario, &node.timeline()).findings;
    findings.into_iter().filter(|finding| finding.check == *id && finding.outcome != Outcome::Pass).collect()
}

#[test]
fn each_example_is_what_the_check_says() {
    let of_one = SPOILT.iter().map(|spoilt| (spoilt.0, found(spoilt)));
    let of_pools = SPOILT_POOLS.iter().map(|(id, expect, spoil)| {
        let mut pool = Pool::rolled_out();
        spoil(&mut pool);
        let findings = judge(&pool_scenario(expect), &pool.timeline()).findings;
        (*id, findings.into_iter().filter(|finding| finding.check == *id && finding.outcome != Outcome::Pass).collect())
    });
    let found: BTreeMap<&str, Vec<Finding>> = of_one.chain(of_pools).collect();
    assert!(found.keys().eq(ALL.iter().map(|check| &check.id)), "one spoilt trial for each");
    let otherwise = |check: &Explanation| {
        let outcome = if check.fails.is_some() { Outcome::Fail } else { Outcome::Inconclusive };
        let found = &found[check.id];
        let said = found.iter().any(|finding| finding.message == check.example && finding.outcome == outcome);
        (!said).then_some((check.id, found))
    };
    assert_eq!(ALL.iter().filter_map(otherwise).collect::<Vec<_>>(), []);
}

#[test]
fn each_line_asks_for_the_check_and_each_base_check_is_told_as_one() {
    let base: BTreeSet<&str> = BASE_CHECKS.into_iter().filter(|id| *id != "evidence").collect();
    for check in &ALL {
        if let Told::Key(line) = check.asked {
            let asked: Expectations = expect(line);
            assert_eq!(asked.each().iter().map(|(_, one)| one.check()).collect::<Vec<_>>(), [check.id], "{line}");
        }
        if let Told::Step(line) = check.asked {
            let asked: StepExpectations = expect(line);
            assert_ne!(asked, StepExpectations::default(), "{line}");
        }
        assert_eq!(check.asked == Told::Base, base.contains(check.id), "{}", check.id);
    }
    let keys = crate::scenario::schema()["$defs"]["Expectations"]["properties"].clone();
    let keys: BTreeSet<&str> = keys.as_object().unwrap().keys().map(String::as_str).collect();
    let told = ALL.iter().filter(|check| matches!(check.asked, Told::Key(_))).map(|check| check.id);
    assert_eq!(told.collect::<BTreeSet<&str>>(), keys);
    let keys = crate::scenario::schema()["$defs"]["StepExpectations"]["properties"].clone();
    let keys: BTreeSet<&str> = keys.as_object().unwrap().keys().map(String::as_str).collect();
    let told = ALL.iter().filter(|check| matches!(check.asked, Told::Step(_))).map(|check| check.id);
    // What is expected of single nodes has the keys of a boot.
    assert_eq!(told.chain(["every-node", "of-node"]).collect::<BTreeSet<&str>>(), keys);
}

#[test]
fn patterns_are_found_by_the_ids_that_scenarios_write() {
    for bad in &BAD_PATTERNS {
        assert_eq!(pattern(&bad.id()).map(|found| found.name), Some(bad.name));
        assert_eq!(explain(&bad.id()).map(|check| check.id), Some("journal.clean"));
    }
    assert!(pattern("journal.clean/nothing").is_none() && explain("journal.clean/nothing").is_none());
}

#[test]
fn ids_stand_in_order_and_once() {
    assert!(ALL.windows(2).all(|pair| pair[0].id < pair[1].id));
}

#[test]
fn the_page_of_the_checks_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    let text = std::fs::read_to_string(path).expect("docs/checks.md");
    let checks = text.split_once("## The checks\n").expect("a heading `## The checks`").1;
    assert_eq!(checks, page(), "renew what follows `## The checks` with `day1 explain --markdown`");
}
