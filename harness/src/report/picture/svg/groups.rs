//! What only a drawing of several nodes has: their names, how long they were down, and the ground of the steps.

use maud::{Markup, html};

use super::{
    AXIS, BAR, GUTTER, LANE, Lane, NAME, Panel, RIGHT, Span, State, WIDTH, class, count, length, n, rect, short, time,
};
use crate::report::picture::{Group, LaneKind};

/// Room for a group's name.
const HEADER: f64 = 24.0;
/// Room for what the colours stand for.
const LEGEND: f64 = 22.0;

/// What the colours stand for.
const COLOURS: [(State, &str); 9] = [
    (State::Up, "answers"),
    (State::Ready, "Ready"),
    (State::Cordoned, "cordoned, some serve"),
    (State::Working, "comes up, works"),
    (State::Rebooting, "goes down, reboots"),
    (State::NotReady, "firmware, not ready"),
    (State::Silent, "down, degraded, failed"),
    (State::InTree, "in-tree driver"),
    (State::Waiting, "not yet"),
];

impl Panel<'_> {
    /// How many groups begin with one of the lanes.
    fn groups_of(lanes: &[&Lane]) -> usize {
        let begins = |index: usize| {
            let group = lanes[index].group.as_deref();
            group.is_some() && (index == 0 || lanes[index - 1].group.as_deref() != group)
        };
        (0..lanes.len()).filter(|index| begins(*index)).count()
    }

    /// The room that the names of groups take above a lane, and above the end of all lanes.
    pub(super) fn headers(&self, lanes: &[&Lane], index: usize) -> f64 {
        count(Self::groups_of(&lanes[..lanes.len().min(index + 1)])) * HEADER
    }

    /// Where a node's lanes end: what concerns nobody else does not go on.
    pub(super) fn bottom_of(&self, node: Option<&str>) -> f64 {
        let lanes = self.lanes();
        let last = lanes.iter().rposition(|lane| node.is_some() && lane.group.as_deref() == node);
        last.map_or_else(|| self.lanes_bottom(), |index| self.lane_y(&lanes, index) + LANE)
    }

    /// Whether the name of a pod that has ended finds room behind it: most end too soon to hold it.
    pub(super) fn has_room_beside(&self, lane: &Lane, span: &Span) -> bool {
        let is_end = lane.kind == LaneKind::Pods && matches!(span.state, State::Succeeded | State::Failed);
        let next = lane.spans.iter().map(|other| other.from_us).filter(|from| *from > span.to_us).min();
        let until = next.map_or(WIDTH, |next| self.x(next));
        is_end && self.x(span.to_us) + 8.0 + length(span.label.chars().count()) < until
    }

    /// The steps, each on ground of its own.
    pub(super) fn grounds(&self) -> Markup {
        let (top, bottom) = (self.lanes_top(), self.lanes_bottom());
        html! {
            @for (from, to) in &self.picture.steps {
                (rect("ground", self.x(*from), top, self.x(*to) - self.x(*from), bottom - top))
            }
        }
    }

    /// The name of each group, and how long it was down.
    pub(super) fn names_of_groups(&self, lanes: &[&Lane]) -> Markup {
        let first = |group: &Group| lanes.iter().position(|lane| lane.group.as_deref() == Some(group.name.as_str()));
        let all = self.picture.groups.iter().filter_map(|group| Some((group, self.lane_y(lanes, first(group)?) - 6.0)));
        html! {
            @for (group, y) in all {
                line class="rule" x1="4" x2=(n(WIDTH - RIGHT)) y1=(n(y - HEADER + 8.0)) y2=(n(y - HEADER + 8.0)) {}
                text class="group" x="4" y=(n(y)) { (short(&group.name, NAME)) }
                text class="faint says" x=(n(GUTTER)) y=(n(y)) { (group.says) }
            }
            @if !self.picture.groups.is_empty() { (self.legend()) }
        }
    }

    pub(super) fn legend_height(&self) -> f64 {
        if self.picture.groups.is_empty() { 0.0 } else { LEGEND }
    }

    fn legend(&self) -> Markup {
        let y = self.lanes_bottom() + AXIS;
        let mut x = 4.0;
        let places = COLOURS.map(|(state, words)| {
            let place = x;
            x += 18.0 + length(words.chars().count()) + 14.0;
            (place, state, words)
        });
        html! {
            @for (x, state, words) in places {
                (rect(class(state), x, y + 4.0, BAR, BAR))
                text class="faint" x=(n(x + 18.0)) y=(n(y + 14.0)) { (words) }
            }
        }
    }
}

/// What is as it should be is drawn thinner, so that what is not meets the eye.
pub(super) fn is_usual(state: State) -> bool {
    matches!(state, State::Up | State::Ready | State::Waiting | State::Settled)
}

/// What is written where there is no room for all of it: of a boot its number, of a silence its full seconds.
pub(super) fn shorter(lane: &Lane, span: &Span) -> Option<String> {
    match lane.kind {
        LaneKind::Boots => Some(span.label.rsplit(' ').next()?.to_owned()),
        LaneKind::Answers if span.state == State::Silent => Some(time(span.to_us - span.from_us, 1_000_000)),
        _ => None,
    }
}
