//! Pictures of the checks' own timelines.

use super::*;
use crate::checks::fixture::{LOAD, Node, PULL, scenario};
use crate::checks::judge;

fn picture(node: &Node) -> Picture {
    let timeline = node.timeline();
    let findings = judge(&scenario(), &timeline).findings;
    Picture::of(&timeline, Some(&scenario()), &findings)
}

fn marks(picture: &Picture) -> Vec<(u32, MarkKind)> {
    picture.marks.iter().map(|mark| (mark.boot, mark.kind)).collect()
}

fn lane<'p>(picture: &'p Picture, of: &str) -> &'p Lane {
    picture.lanes.iter().find(|lane| lane.of == of).unwrap_or_else(|| panic!("no lane {of}: {picture:#?}"))
}

#[test]
fn a_good_trial_shows_its_pull_its_reboot_and_its_swap_before_the_network() {
    let picture = picture(&Node::pulled_and_loaded());
    assert_eq!(picture.boots.len(), 2);
    let kinds = marks(&picture);
    for wanted in [
        (1, MarkKind::Pull),
        (1, MarkKind::Reboot),
        (2, MarkKind::Unload),
        (2, MarkKind::Load),
        (2, MarkKind::NetworkManager),
    ] {
        assert!(kinds.contains(&wanted), "{wanted:?} in {kinds:?}");
    }
    let at = |kind| picture.marks.iter().rev().find(|mark| mark.kind == kind).map(|mark| mark.at_us);
    assert!(at(MarkKind::Unload) < at(MarkKind::Load) && at(MarkKind::Load) < at(MarkKind::NetworkManager));
    assert!(picture.orders.iter().all(|order| order.boot == 2 && order.guaranteed), "{:?}", picture.orders);
    assert_eq!(lane(&picture, LOAD).name, "load");
    assert_eq!(lane(&picture, PULL).name, "pull");
    assert_eq!(lane(&picture, "day1_nic").spans[0].state, State::OutOfTree);
    assert_eq!(lane(&picture, "e1000").spans.last().map(|span| span.state), Some(State::InTree));
}

#[test]
fn a_module_that_is_not_loaded_has_no_lane_and_no_mark() {
    let mut node = Node::pulled_and_loaded();
    node.remove(|what| matches!(what, What::ModuleLoad(change) if change.module == "day1_nic"));
    let picture = picture(&node);
    assert!(!picture.lanes.iter().any(|lane| lane.of == "day1_nic"));
    assert!(!marks(&picture).iter().any(|(_, kind)| *kind == MarkKind::Load));
}

#[test]
fn an_order_by_luck_and_a_failed_check_are_marked() {
    let mut node = Node::pulled_and_loaded();
    node.ready(2).unit("network-pre.target", |unit| unit.after.retain(|after| after != LOAD));
    let picture = picture(&node);
    assert!(picture.orders.iter().any(|order| !order.guaranteed), "{:?}", picture.orders);
    assert!(picture.marks.iter().any(|mark| mark.kind == MarkKind::Finding && mark.text == "✗ unit.before"));
    assert!(drawing(&picture).into_string().contains("order luck"));
}

#[test]
fn a_trial_without_a_machine_has_an_empty_picture() {
    let picture = Picture::of(&Timeline::default(), None, &[]);
    assert_eq!(picture.extent(), None);
    assert!(text(&picture, 80).contains("never started"));
    assert!(drawing(&picture).into_string().contains("never started"));
}

#[test]
fn letters_keep_to_the_width() {
    let picture = picture(&Node::pulled_and_loaded());
    let text = text(&picture, 72);
    for line in text.lines() {
        assert!(line.chars().count() <= 72, "{line}");
    }
    assert!(text.contains("load day1_nic") && text.contains("│boot 2"), "{text}");
}

#[test]
fn what_a_guest_says_is_obeyed_by_nobody_who_reads_the_picture() {
    let mut picture = picture(&Node::pulled_and_loaded());
    picture.marks[0].text = "\u{1b}]0;title\u{7}\u{1b}[31mred \u{ffff}".into();
    let svg = standalone(&picture).expect("a picture");
    let bad = |c: char| c.is_control() && c != '\n';
    assert!(!svg.contains(bad) && !svg.contains('\u{ffff}'));
    assert!(!text(&picture, 100).contains(bad));
    picture.boots.clear();
    assert_eq!((text(&picture, 100), standalone(&picture)), (format!("{NOTHING}\n"), None));
}

#[test]
fn a_drawing_of_its_own_has_its_colours_and_names_nothing_outside_of_it() {
    let svg = standalone(&picture(&Node::pulled_and_loaded())).expect("a picture");
    assert!(svg.starts_with("<?xml") && svg.contains("prefers-color-scheme: dark"), "{svg}");
    let addresses = svg.matches("http").count();
    assert_eq!(addresses, svg.matches("http://www.w3.org/2000/svg").count(), "{svg}");
}
