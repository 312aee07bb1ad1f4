//! Pictures of the checks' own timelines of two nodes.

use super::super::{LaneKind, MarkKind, Span, State, drawing, standalone, text};
use super::*;
use crate::checks::judge;
use crate::checks::pool::fixture::{ONE, Pool, TWO, answers, changed, pod, pool_scenario};
use crate::timeline::{Asked, NodeState, PodState};

fn picture(pool: &Pool) -> Picture {
    let (scenario, timeline) = (pool_scenario("{}"), pool.timeline());
    let findings = judge(&scenario, &timeline).findings;
    Picture::of(&timeline, Some(&scenario), &findings)
}

fn lane<'p>(picture: &'p Picture, group: &str, name: &str) -> &'p Lane {
    let mut lanes = picture.lanes.iter();
    let found = lanes.find(|lane| lane.group.as_deref() == Some(group) && lane.name == name);
    found.unwrap_or_else(|| panic!("no lane {name} of {group}: {picture:#?}"))
}

/// States and labels, with begin and end in seconds.
fn spans(lane: &Lane) -> Vec<(State, &str, i64, i64)> {
    let second = |us: i64| us / 1_000_000;
    let told = |span: &Span| (span.state, second(span.from_us), second(span.to_us));
    lane.spans
        .iter()
        .map(|span| (span, told(span)))
        .map(|(span, (state, from, to))| (state, span.label.as_str(), from, to))
        .collect()
}

fn says<'p>(picture: &'p Picture, group: &str) -> &'p str {
    picture.groups.iter().find(|one| one.name == group).map_or("", |one| one.says.as_str())
}

#[test]
fn a_rollout_shows_who_served_when_and_how_long_each_node_did_not() {
    let picture = picture(&Pool::rolled_out());
    let groups: Vec<&str> = picture.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(groups, [CLUSTER, "worker-1", "worker-2"]);
    assert_eq!(says(&picture, "worker-1"), "did not serve for 10.0 s");
    assert_eq!((says(&picture, "worker-2"), says(&picture, CLUSTER)), ("served all the time", "served all the time"));
    assert_eq!(picture.steps, [(100_000_000, 200_000_000)]);
    let workload = spans(lane(&picture, "worker-1", "workload"));
    assert_eq!(workload, [(State::Up, "", 60, 102), (State::Silent, "10.0 s", 102, 112), (State::Up, "", 112, 200)]);
    let all = spans(lane(&picture, CLUSTER, "nodes that serve"));
    assert_eq!(all, [(State::Up, "", 60, 102), (State::Partly, "1 of 2", 102, 112), (State::Up, "", 112, 200)]);
    let told = spans(lane(&picture, "worker-1", "control plane"));
    let states: Vec<(&str, i64)> = told.iter().map(|(_, label, from, _)| (*label, *from)).collect();
    assert_eq!(states, [("", 50), ("cordoned", 101), ("drained", 103), ("working", 104), ("done", 110), ("done", 113)]);
    let marks: Vec<(MarkKind, &str)> = picture.marks.iter().map(|mark| (mark.kind, mark.text.as_str())).collect();
    assert_eq!(
        marks,
        [
            (MarkKind::Step, "step 1: apply 99-worker-day1-nic"),
            (MarkKind::Rendered, "worker gets rendered-worker-2"),
            (MarkKind::Step, "step 1 is done"),
        ]
    );
    let boots = lane(&picture, "worker-2", "boots");
    assert!(boots.spans.iter().any(|span| span.boot == 2 && span.label == "boot 2"), "{boots:#?}");
    assert_eq!(spans(lane(&picture, "worker-1", "day1_nic"))[0].0, State::OutOfTree);
}

#[test]
fn the_cluster_is_down_when_nobody_serves_and_what_is_silent_before_the_first_step_is_no_downtime() {
    let mut pool = Pool::rolled_out();
    pool.tell(61, TWO, answers(Asked::Ping, false, 61));
    pool.tell(62, TWO, answers(Asked::Ping, true, 62));
    pool.tell(111, TWO, answers(Asked::Service, false, 110));
    let picture = picture(&pool);
    assert_eq!(says(&picture, CLUSTER), "nobody served for 2.0 s");
    assert_eq!(says(&picture, "worker-2"), "did not serve for 90.0 s");
    let states: Vec<State> = spans(lane(&picture, "worker-2", "ping")).iter().map(|(state, ..)| *state).collect();
    assert_eq!(states, [State::Up, State::Waiting, State::Up]);
    let all = spans(lane(&picture, CLUSTER, "nodes that serve"));
    assert!(all.contains(&(State::Silent, "2.0 s", 110, 112)), "{all:?}");
}

#[test]
fn a_node_that_is_lost_is_not_ready_whatever_the_daemon_does_and_a_pod_that_never_ends_goes_on() {
    let mut pool = Pool::rolled_out();
    pool.tell(120, TWO, changed(NodeState::Degraded));
    pool.tell(130, TWO, changed(NodeState::NotReady));
    pool.tell(140, TWO, changed(NodeState::Ready));
    pool.tell(150, TWO, pod("unload-nic-1", PodState::Pending));
    pool.tell(160, TWO, pod("unload-nic-1", PodState::Scheduled));
    pool.tell(161, TWO, pod("machine-config-daemon", PodState::Scheduled));
    pool.tell(106, ONE, changed(NodeState::NotReady));
    pool.tell(109, ONE, changed(NodeState::Ready));
    let picture = picture(&pool);
    let told = spans(lane(&picture, "worker-2", "control plane"));
    let labels: Vec<&str> = told.iter().map(|(_, label, ..)| *label).collect();
    assert_eq!(labels, ["", "degraded", "degraded, not ready", "degraded"]);
    let told = spans(lane(&picture, "worker-1", "control plane"));
    assert!(told.contains(&(State::NotReady, "not ready", 106, 109)), "{told:?}");
    assert!(told.contains(&(State::Working, "working", 109, 110)), "{told:?}");
    let pods = spans(lane(&picture, "worker-2", "Day-2 pods"));
    assert_eq!(pods, [(State::Waiting, "unload-nic-1", 150, 160), (State::Working, "unload-nic-1", 160, 200)]);
    assert!(lane(&picture, "worker-1", "Day-2 pods").kind == LaneKind::Pods);
}

#[test]
fn drawing_and_letters_name_the_nodes_and_what_each_was_down() {
    let mut pool = Pool::rolled_out();
    pool.tell(111, TWO, answers(Asked::Service, false, 110));
    let picture = picture(&pool);
    let letters = text(&picture, 72);
    for line in letters.lines() {
        assert!(line.chars().count() <= 72, "{line}");
    }
    for wanted in [
        "cluster                    nobody served for 2.0 s\n",
        "worker-1                   did not serve for 10.0 s\n",
        "  control plane",
        "│step 1",
        " 100.000 s  cluster  step 1: apply 99-worker-day1-nic\n",
    ] {
        assert!(letters.contains(wanted), "{wanted:?} in {letters}");
    }
    let svg = standalone(&picture).expect("a picture");
    assert!(svg.contains(STYLE) && svg.contains("<title>The nodes of pool/rollout@debian-13</title>"), "{svg}");
    assert!(svg.contains("worker-2: did not serve for 90.0 s. "), "who can't see it hears it: {svg}");
    assert!(
        svg.contains("<text class=\"inner\"") && svg.contains("class=\"ground\"") && svg.contains("class=\"silent\"")
    );
    assert!(svg.contains(">load-nic-2</text>"), "the pod was too short to hold its name: {svg}");
    assert!(!drawing(&picture).into_string().contains("Close-up"));
    assert_eq!(svg.matches("http").count(), svg.matches("http://www.w3.org/2000/svg").count());
}

#[test]
fn of_a_rendered_config_s_hash_as_much_is_said_as_tells_it_from_another() {
    assert_eq!(short("rendered-worker-cc6ca822864ce100009404217e6de720"), "rendered-worker-cc6ca");
    assert_eq!(short("rendered-worker-2"), "rendered-worker-2");
    assert_eq!(short("its kubelet is silent for 28 s"), "its kubelet is silent for 28 s");
}
