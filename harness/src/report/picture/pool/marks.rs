//! What happened at one moment of a trial with several nodes.

use crate::checks::{Finding, Outcome};
use crate::report::clock::signed;
use crate::timeline::{Event, Timeline, What};

use super::super::marks::FINDINGS;
use super::super::{Mark, MarkKind};
use super::short;

pub(super) fn all(timeline: &Timeline, findings: &[Finding]) -> Vec<Mark> {
    let mut marks: Vec<Mark> = timeline.events.iter().filter_map(|event| of_event(event)).collect();
    let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Fail);
    let failed = failed.filter_map(|finding| {
        let event = timeline.numbered(finding.evidence.first()?.seq)?;
        Some(mark(event, MarkKind::Finding, format!("✗ {}", finding.check)))
    });
    marks.extend(failed.take(FINDINGS));
    marks.sort_by_key(|mark| mark.at_us);
    marks
}

fn mark(event: &Event, kind: MarkKind, text: String) -> Mark {
    Mark { node: event.node.clone(), boot: event.boot, at_us: signed(event.at_us), kind, text, seq: Some(event.seq) }
}

fn of_event(event: &Event) -> Option<Mark> {
    Some(match &event.what {
        What::Step(step) => {
            let number = step.index + 1;
            let text = match (step.ended, step.unfinished.as_slice()) {
                (false, _) => format!("step {number}: {}", step.text),
                (true, []) => format!("step {number} is done"),
                (true, all) => format!("step {number} ends without: {}", all.join("; ")),
            };
            mark(event, MarkKind::Step, text)
        }
        What::Rendered(one) => mark(event, MarkKind::Rendered, format!("{} gets {}", one.pool, short(&one.config))),
        // What the daemon does for the control plane is in its lane.
        What::Happened(one) if one.index.is_some() || one.failed.is_some() => {
            let failed = one.failed.as_ref().map(|why| format!(" failed: {why}")).unwrap_or_default();
            mark(event, MarkKind::Happened, format!("{}{failed}", one.action))
        }
        What::DeadlinePassed { waiting_for, after_s } => {
            mark(event, MarkKind::Finding, format!("no {waiting_for} within {after_s:.0} s"))
        }
        _ => return None,
    })
}
