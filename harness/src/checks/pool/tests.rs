//! Each check of a pool with a timeline that fails it.

use super::fixture::{ENDS, ONE, Pool, TWO, answers, changed, done, pod, pool_scenario};
use crate::checks::{Finding, Judgement, Outcome, Verdict, judge};
use crate::timeline::{Asked, ModuleEvent, NodeState, PodState, Snapshot, What};

fn judged(pool: &Pool, expect: &str) -> Judgement {
    judge(&pool_scenario(expect), &pool.timeline())
}

fn of<'j>(judgement: &'j Judgement, check: &str) -> Vec<&'j Finding> {
    judgement.findings.iter().filter(|finding| finding.check == check).collect()
}

/// The one finding of a check.
fn one(pool: &Pool, expect: &str, check: &str) -> (Outcome, String) {
    let judgement = judged(pool, expect);
    match of(&judgement, check).as_slice() {
        [finding] => (finding.outcome, finding.message.clone()),
        all => panic!("{all:?}"),
    }
}

fn fails(pool: &Pool, expect: &str, check: &str, says: &str) {
    let (outcome, message) = one(pool, expect, check);
    assert!(outcome == Outcome::Fail && message.contains(says), "{outcome:?}: {message}");
}

#[test]
fn a_good_rollout_passes_and_each_node_is_judged_as_if_it_stood_alone() {
    let expect = "{rollout.states: {worker-1: updated, worker-2: untouched}, downtime: {none: true}, \
                  rollout.merged: {worker: [99-worker-day1-nic]}, pod.result: {node: worker-1, pod: load, is: succeeded}}";
    let judgement = judged(&Pool::rolled_out(), expect);
    let telling: Vec<_> = judgement.findings.iter().filter(|finding| finding.outcome != Outcome::Pass).collect();
    assert_eq!(judgement.verdict, Verdict::Pass, "{telling:#?}");
    let nodes: Vec<_> = of(&judgement, "module.replaced").iter().map(|finding| finding.node.clone()).collect();
    assert_eq!(nodes, [Some("worker-1".to_owned()), Some("worker-2".to_owned())]);
}

#[test]
fn one_node_s_failure_is_the_trial_s_and_names_the_node() {
    let mut pool = Pool::rolled_out();
    pool.nodes[1].ready(2).snapshot.modules.remove("day1_nic");
    let judgement = judged(&pool, "{}");
    assert_eq!(judgement.verdict, Verdict::Fail);
    let failed: Vec<_> = judgement.findings.iter().filter(|finding| finding.outcome == Outcome::Fail).collect();
    assert!(failed.iter().all(|finding| finding.node.as_deref() == Some("worker-2")), "{failed:?}");
}

#[test]
fn a_turn_that_was_not_planned_fails_and_so_does_one_that_never_came() {
    let mut pool = Pool::rolled_out();
    pool.tell(150, TWO, changed(NodeState::Targeted));
    fails(&pool, "{}", "rollout.order", "worker-1, worker-2, and it was to be that of worker-1");
    let mut pool = Pool::rolled_out();
    pool.forget(|what| *what == changed(NodeState::Targeted));
    fails(&pool, "{}", "rollout.order", "their turn had nobody");
}

#[test]
fn a_node_that_reboots_undrained_fails() {
    let order = |spoil: fn(&mut Pool)| {
        let mut pool = Pool::rolled_out();
        spoil(&mut pool);
        let mut scenario = pool_scenario("{}");
        let boots = scenario.spec.boots.clone();
        scenario.spec.steps[0].rollout.as_mut().expect("a rollout").boots = boots;
        let judgement = judge(&scenario, &pool.timeline());
        of(&judgement, "rollout.order").iter().map(|one| (one.outcome, one.message.clone())).collect::<Vec<_>>()
    };
    assert_eq!(order(|_| ()).iter().map(|one| one.0).collect::<Vec<_>>(), [Outcome::Pass]);
    let spoilt: [fn(&mut Pool); 3] = [
        |pool| pool.forget(|what| *what == changed(NodeState::Drained)),
        |pool| pool.forget(|what| *what == changed(NodeState::Cordoned)),
        |pool| {
            pool.forget(|what| *what == changed(NodeState::Drained));
            pool.tell(109, ONE, changed(NodeState::Drained));
        },
    ];
    for spoil in spoilt {
        let told = order(spoil);
        assert!(
            told.iter().any(|(outcome, message)| *outcome == Outcome::Fail
                && message.contains("worker-1 was changed before it was drained")),
            "{told:?}"
        );
    }
}

#[test]
fn a_node_that_serves_on_when_it_is_told_to_be_drained_fails() {
    let mut pool = Pool::rolled_out();
    pool.forget(|what| *what == answers(Asked::Service, false, 102));
    let judgement = judged(&pool, "{}");
    let told: Vec<_> = of(&judgement, "rollout.order").iter().map(|one| (one.outcome, one.message.as_str())).collect();
    assert!(
        matches!(told[..], [(Outcome::Pass, _), (Outcome::Fail, message)] if message.contains("told to be drained, and served on")),
        "{told:?}"
    );
}

#[test]
fn two_away_at_once_where_one_may_be_fail() {
    let mut pool = Pool::rolled_out();
    pool.tell(111, TWO, answers(Asked::Service, false, 108));
    fails(&pool, "{}", "rollout.unavailable", "worker-1, worker-2 of worker were away at once for 4.0 s");
    let mut pool = Pool::rolled_out();
    pool.tell(120, TWO, answers(Asked::Service, false, 120));
    assert_eq!(one(&pool, "{}", "rollout.unavailable").0, Outcome::Pass);
    let mut pool = Pool::rolled_out();
    pool.forget(|what| matches!(what, What::Answering(_)));
    assert_eq!(one(&pool, "{}", "rollout.unavailable").0, Outcome::Inconclusive);
    // A label took it to another pool before.
    let mut pool = Pool::rolled_out();
    pool.tell(111, TWO, answers(Asked::Service, false, 108));
    let mut scenario = pool_scenario("{}");
    let actions = "[{label: {node: worker-2, roles: [worker, infra]}}, {apply: 99-worker-day1-nic}]";
    scenario.spec.steps[0].actions = crate::checks::fixture::expect(actions);
    let judgement = judge(&scenario, &pool.timeline());
    let of_pools: Vec<_> = of(&judgement, "rollout.unavailable").iter().map(|one| one.outcome).collect();
    assert_eq!(of_pools, [Outcome::Pass, Outcome::Pass]);
}

#[test]
fn a_node_is_what_was_told_of_it_last() {
    let state =
        |pool: &Pool, wanted: &str| one(pool, &format!("{{rollout.states: {{worker-1: {wanted}}}}}"), "rollout.states");
    let good = Pool::rolled_out();
    assert_eq!(state(&good, "updated").0, Outcome::Pass);
    assert!(state(&good, "untouched").1.contains("worker-1 is updated, and was to be untouched"));
    let mut degraded = Pool::rolled_out();
    degraded.tell(114, ONE, changed(NodeState::Degraded));
    assert_eq!(state(&degraded, "degraded").0, Outcome::Pass);
    // It got another config since.
    degraded.tell(115, ONE, done("rendered-worker-2"));
    degraded.tell(116, ONE, changed(NodeState::Uncordoned));
    assert_eq!((state(&degraded, "updated").0, state(&degraded, "degraded").0), (Outcome::Pass, Outcome::Fail));
    // Another config than its pool's, or one that does not serve.
    let mut other = Pool::rolled_out();
    other.forget(|what| *what == done("rendered-worker-2"));
    other.tell(110, ONE, done("rendered-worker-1"));
    assert!(
        state(&other, "updated").1.contains("worker-1 is updated, and has rendered-worker-1, not rendered-worker-2")
    );
    let mut idle = Pool::rolled_out();
    idle.forget(|what| *what == answers(Asked::Service, true, 112));
    assert!(state(&idle, "updated").1.contains("worker-1 is updated, and does not serve"));
    // Told to have another config, and not heard of since.
    let mut lost = Pool::rolled_out();
    lost.tell(114, ONE, changed(NodeState::Degraded));
    lost.tell(115, ONE, changed(NodeState::Targeted));
    lost.tell(116, ONE, changed(NodeState::NotReady));
    assert_eq!((state(&lost, "not-ready").0, state(&lost, "degraded").0), (Outcome::Pass, Outcome::Fail));
    let mut silent = Pool::rolled_out();
    silent.tell(114, ONE, changed(NodeState::NotReady));
    assert_eq!((state(&silent, "not-ready").0, state(&silent, "updated").0), (Outcome::Pass, Outcome::Fail));
    // Done, and never given back.
    let mut unfinished = Pool::rolled_out();
    unfinished.forget(|what| *what == changed(NodeState::Uncordoned));
    assert_eq!(state(&unfinished, "updated").0, Outcome::Inconclusive);
    let mut unknown = Pool::rolled_out();
    unknown.forget(|what| *what == changed(NodeState::Ready));
    assert_eq!(state(&unknown, "updated").0, Outcome::Inconclusive);
}

#[test]
fn a_pool_of_other_machine_configs_or_in_another_order_fails() {
    let expect = "{rollout.merged: {worker: [50-worker, 99-worker-day1-nic]}}";
    fails(
        &Pool::rolled_out(),
        expect,
        "rollout.merged",
        "is merged of 99-worker-day1-nic, and was to be of 50-worker,",
    );
    let mut pool = Pool::rolled_out();
    pool.forget(|what| matches!(what, What::Rendered(_)));
    assert_eq!(one(&pool, expect, "rollout.merged").0, Outcome::Inconclusive);
}

#[test]
fn downtime_is_the_sum_of_the_silences_and_the_cluster_s_is_what_they_have_in_common() {
    let mut pool = Pool::rolled_out();
    let downtime = |pool: &Pool, wanted: &str| one(pool, &format!("{{downtime: {{{wanted}}}}}"), "downtime");
    assert_eq!(downtime(&pool, "none: true").0, Outcome::Pass);
    assert_eq!(downtime(&pool, "of: worker-1, at-most: 10s, at-least: 10s").0, Outcome::Pass);
    assert!(
        downtime(&pool, "of: worker-1, at-most: 9s").1.contains("for 10.0 s, and it was to be so for 9.0 s at most")
    );
    assert_eq!(downtime(&pool, "of: worker-1, at-least: 11s").0, Outcome::Fail);
    assert_eq!(downtime(&pool, "of: worker-1, asked: ping, none: true").0, Outcome::Pass);
    // Silent to the end, and from before the answer of the other one.
    pool.tell(111, TWO, answers(Asked::Service, false, 110));
    assert!(
        downtime(&pool, "none: true").1.contains("the cluster did not serve for 2.0 s, and it was to be so at no time")
    );
    assert_eq!(downtime(&pool, "of: worker-2, at-least: 90s, at-most: 90s").0, Outcome::Pass);
    pool.forget(|what| matches!(what, What::Answering(_)));
    assert_eq!(downtime(&pool, "none: true").0, Outcome::Inconclusive);
}

#[test]
fn an_observer_that_was_held_up_proves_nothing() {
    let mut pool = Pool::rolled_out();
    for (.., what) in &mut pool.told {
        if let What::Step(step) = what {
            step.asked.insert("worker-2".into(), 0);
        }
    }
    assert_eq!(one(&pool, "{}", "rollout.unavailable").0, Outcome::Inconclusive);
    assert_eq!(one(&pool, "{downtime: {none: true}}", "downtime").0, Outcome::Inconclusive);
    assert_eq!(one(&pool, "{downtime: {of: worker-1, at-least: 10s}}", "downtime").0, Outcome::Pass);
}

#[test]
fn a_pod_ended_as_its_last_word_says() {
    let result = |pool: &Pool, is: &str| {
        one(pool, &format!("{{pod.result: {{node: worker-1, pod: load, is: {is}}}}}"), "pod.result").0
    };
    for (state, is) in [(PodState::Pending, "pending"), (PodState::Scheduled, "unknown"), (PodState::Failed, "failed")]
    {
        let mut pool = Pool::rolled_out();
        pool.tell(106, ONE, pod("load-nic-2", state));
        assert_eq!((result(&pool, is), result(&pool, "succeeded")), (Outcome::Pass, Outcome::Fail), "{is}");
    }
    let judgement = judged(&Pool::rolled_out(), "{pod.result: {pod: unload, is: never}}");
    assert!(of(&judgement, "pod.result").iter().all(|finding| finding.outcome == Outcome::Pass));
}

/// Both nodes are looked at when the step ends; only the first has `day1_aux`.
fn look_at_both(pool: &mut Pool) {
    for (node, name) in [ONE, TWO].into_iter().zip(0..) {
        let mut snapshot: Snapshot = pool.nodes[name].ready(2).snapshot.clone();
        snapshot.label = "step 1".into();
        if node == ONE {
            snapshot.modules.insert("day1_aux".into(), crate::timeline::Module::default());
        }
        pool.tell(ENDS - 1, node, What::Snapshot(Box::new(snapshot)));
    }
}

#[test]
fn what_a_node_is_when_a_step_ends_is_read_from_the_look_that_was_taken_then() {
    let expect = "{every-node: {module.present: {module: day1_aux, may-have-been-removed: true}}}";
    let mut pool = Pool::rolled_out();
    let judgement = judged(&pool, expect);
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    look_at_both(&mut pool);
    let judgement = judged(&pool, expect);
    let outcomes: Vec<_> = of(&judgement, "module.present").iter().map(|one| (one.node.clone(), one.outcome)).collect();
    assert!(outcomes.contains(&(Some("worker-2".into()), Outcome::Fail)), "{outcomes:?}");
    assert!(!outcomes.contains(&(Some("worker-1".into()), Outcome::Fail)), "{outcomes:?}");
    // What comes after the step is another step's matter.
    let held = "{of-node: {worker-1: {module.present: {module: day1_aux}}}}";
    let swapped = |at_s: u64| {
        let mut pool = Pool::rolled_out();
        look_at_both(&mut pool);
        let change = ModuleEvent { module: "day1_aux".into(), mono_us: 90_000_000, ..ModuleEvent::default() };
        pool.tell(at_s, ONE, What::ModuleFree(change));
        one(&pool, held, "module.present").0
    };
    assert_eq!((swapped(ENDS + 1), swapped(ENDS - 1)), (Outcome::Pass, Outcome::Fail));
}

#[test]
fn what_day_2_management_does_to_modules_is_no_late_swap_and_what_others_do_is() {
    let taken_out = || {
        let change = ModuleEvent { module: "day1_nic".into(), mono_us: 90_000_000, ..ModuleEvent::default() };
        What::ModuleFree(change)
    };
    let verdict = |node, until: u64| {
        let mut pool = Pool::rolled_out();
        pool.tell(149, node, pod("unload-nic-1", PodState::Scheduled));
        pool.tell(150, TWO, taken_out());
        pool.tell(until, node, pod("unload-nic-1", PodState::Succeeded));
        judge(&pool_scenario("{}"), &pool.timeline()).verdict
    };
    assert_eq!(verdict(TWO, 151), Verdict::Pass);
    // Another node's pod, or one that was long done.
    assert_eq!(verdict(ONE, 151), Verdict::Fail);
    let mut pool = Pool::rolled_out();
    pool.tell(120, TWO, pod("unload-nic-1", PodState::Scheduled));
    pool.tell(121, TWO, pod("unload-nic-1", PodState::Succeeded));
    pool.tell(150, TWO, taken_out());
    assert_eq!(judge(&pool_scenario("{}"), &pool.timeline()).verdict, Verdict::Fail);
}

#[test]
fn of_several_pods_each_is_judged() {
    let mut pool = Pool::rolled_out();
    pool.tell(104, ONE, pod("load-other", PodState::Failed));
    let judgement = judged(&pool, "{pod.result: {node: worker-1, pod: load, is: succeeded}}");
    let outcomes: Vec<_> = of(&judgement, "pod.result").iter().map(|finding| finding.outcome).collect();
    assert_eq!(outcomes, [Outcome::Pass, Outcome::Fail]);
}

#[test]
fn a_step_that_never_came_proves_nothing() {
    let mut pool = Pool::rolled_out();
    pool.forget(|what| matches!(what, What::Step(step) if step.ended));
    let judgement = judged(&pool, "{}");
    assert_eq!(judgement.verdict, Verdict::Inconclusive);
    assert!(of(&judgement, "rollout.states")[0].message.contains("step 1 has no end"));
}
