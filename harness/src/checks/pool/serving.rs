//! When a node served and when it did not, as the network's observer saw it.

use crate::timeline::{Asked, Timeline, What};

/// A span of the timeline's clock, in microseconds, and the event that tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_us: u64,
    pub(super) to_us: u64,
    pub(super) seq: u64,
}

impl Span {
    pub(super) fn length_us(&self) -> u64 {
        self.to_us.saturating_sub(self.from_us)
    }

    /// What both have in common.
    fn and(&self, other: &Self) -> Option<Self> {
        let (from_us, to_us) = (self.from_us.max(other.from_us), self.to_us.min(other.to_us));
        (from_us < to_us).then_some(Self { from_us, to_us, seq: self.seq.max(other.seq) })
    }
}

/// A stretch of the timeline's clock with one answer, in microseconds, and the event that tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins.
    pub from_us: u64,
    /// Where it ends; the last one does not.
    pub to_us: u64,
    /// Whether the node answers.
    pub answers: bool,
    /// The event's number.
    pub seq: u64,
}

/// What a node answered to what it is asked, over the whole trial.
pub fn stretches(timeline: &Timeline, node: &str, asked: Asked) -> Vec<Stretch> {
    let of_node = timeline.events.iter().filter(|event| event.node.as_deref() == Some(node));
    let told = of_node.filter_map(|event| match &event.what {
        What::Answering(one) if one.asked == asked => Some((one.since_us, one.answers, event.seq)),
        _ => None,
    });
    let mut stretches: Vec<Stretch> = vec![];
    for (from_us, answers, seq) in told {
        if let Some(last) = stretches.last_mut() {
            if last.answers == answers {
                continue;
            }
            last.to_us = from_us;
        }
        stretches.push(Stretch { from_us, to_us: u64::MAX, answers, seq });
    }
    stretches
}

/// When a node did not answer what it is asked, within a span; none where nobody asked it before.
pub(super) fn silences(timeline: &Timeline, node: &str, asked: Asked, within: Span) -> Option<Vec<Span>> {
    let stretches = stretches(timeline, node, asked);
    let is_known = stretches.iter().any(|one| one.from_us <= within.from_us);
    let silent = stretches.iter().filter(|one| !one.answers);
    let cut = silent
        .filter_map(|&Stretch { from_us, to_us, seq, .. }| Span { from_us, to_us, seq }.and(&Span { seq, ..within }));
    is_known.then(|| cut.collect())
}

/// What all of them have in common.
pub(super) fn common(lists: &[Vec<Span>]) -> Vec<Span> {
    let Some((first, rest)) = lists.split_first() else { return vec![] };
    rest.iter().fold(first.clone(), |common, list| {
        common.iter().flat_map(|one| list.iter().filter_map(move |other| one.and(other))).collect()
    })
}

/// The most of the lists that have a span at one moment, and that moment's first: which of them, and since when.
pub(super) fn most_at_once(lists: &[Vec<Span>]) -> (Vec<usize>, Option<Span>) {
    let mut most: (Vec<usize>, Option<Span>) = (vec![], None);
    // Where the number is highest, one of them begins.
    for begins in lists.iter().flatten() {
        let at = begins.from_us;
        let covers = |list: &Vec<Span>| list.iter().find(|span| span.from_us <= at && at < span.to_us).copied();
        let which: Vec<(usize, Span)> =
            lists.iter().enumerate().filter_map(|(index, list)| Some((index, covers(list)?))).collect();
        if which.len() > most.0.len() {
            let together = which.iter().skip(1).try_fold(which[0].1, |common, (_, span)| common.and(span));
            most = (which.into_iter().map(|(index, _)| index).collect(), together);
        }
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(from_us: u64, to_us: u64) -> Span {
        Span { from_us, to_us, seq: 0 }
    }

    #[test]
    fn what_is_common_is_when_all_are_silent() {
        let lists = [vec![span(0, 10), span(20, 30)], vec![span(5, 25)]];
        assert_eq!(common(&lists), [span(5, 10), span(20, 25)]);
        assert_eq!(common(&[vec![span(0, 10)], vec![]]), []);
        assert_eq!(common(&[]), []);
    }

    #[test]
    fn the_most_at_once_are_named() {
        let lists = [vec![span(0, 10)], vec![span(5, 25)], vec![span(24, 40)]];
        let (which, when) = most_at_once(&lists);
        assert_eq!((which, when.map(|span| (span.from_us, span.to_us))), (vec![0, 1], Some((5, 10))));
        assert_eq!(most_at_once(&[vec![], vec![]]), (vec![], None));
    }
}
