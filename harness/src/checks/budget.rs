//! `unit.budget`: the units under test are done within their own timeouts, and have one.

use crate::scenario::Role;
use crate::timeline::{Event, Unit};

use super::boot::Boot;
use super::{Evidence, Finding, moment, span};

const CHECK: &str = "unit.budget";

/// One finding for each unit under test that ran.
pub(super) fn all(boot: &Boot<'_>) -> Vec<Finding> {
    let Some((event, snapshot)) = boot.snapshot() else {
        let message = "no snapshot of this boot: nothing tells how long the units took";
        return vec![Finding::inconclusive(CHECK, boot.number, message)];
    };
    let mut units: Vec<&str> = [Role::Load, Role::Pull].into_iter().flat_map(|role| boot.units_of(role)).collect();
    units.sort_unstable();
    let of_one = |name: &str| match snapshot.units.get(name) {
        Some(unit) if unit.inactive_exit_us > 0 => Some(of(boot, event, name, unit)),
        Some(_) => None,
        None => boot.first_start(name).map(|(_, started)| {
            let message = format!("{name} ran, and the snapshot does not tell how long");
            Finding::inconclusive(CHECK, boot.number, message).seen([Evidence::new(started, "its start")])
        }),
    };
    units.into_iter().filter_map(of_one).collect()
}

fn of(boot: &Boot<'_>, event: &Event, name: &str, unit: &Unit) -> Finding {
    let number = boot.number;
    let Some(most) = unit.start_timeout_us else {
        return Finding::inconclusive(CHECK, number, format!("the timeout of {name} was not recorded"));
    };
    if most == Unit::FOR_EVER {
        let message = format!("{name} has no timeout: it can hold up the boot for ever");
        return Finding::fail(CHECK, number, message)
            .seen([Evidence::new(event, "TimeoutStartSec=infinity, the default of Type=oneshot")])
            .advise("Add `TimeoutStartSec=`, longer than it takes on a slow day.");
    }
    if unit.result == "timeout" {
        let message = format!("{name} was ended by its timeout of {}", span(most));
        return Finding::fail(CHECK, number, message).seen([Evidence::new(event, "result timeout")]);
    }
    let ended = [unit.active_enter_us, unit.inactive_enter_us].into_iter().filter(|end| *end >= unit.inactive_exit_us);
    let Some(ended) = ended.min() else {
        return Finding::inconclusive(CHECK, number, format!("{name} was still starting when the node was looked at"));
    };
    let took = ended - unit.inactive_exit_us;
    let here = Evidence::new(event, format!("ended at {}", moment(ended)));
    // Each command of a unit has that time anew (systemd.service(5), `TimeoutStartSec=`).
    let bound = if took > most { "in commands of at most" } else { "of at most" };
    Finding::pass(CHECK, number, format!("{name} took {} {bound} {}", span(took), span(most))).seen([here])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::Outcome;
    use crate::checks::fixture::{LOAD, Node, boot_of};

    fn judged(change: impl FnOnce(&mut Unit)) -> Finding {
        let mut node = Node::pulled_and_loaded();
        node.ready(2).unit(LOAD, change);
        let timeline = node.timeline();
        let of_load = all(&boot_of(&timeline, 2)).into_iter().find(|finding| finding.message.contains(LOAD));
        of_load.expect("a finding about the load unit")
    }

    #[test]
    fn a_unit_must_have_a_timeout_and_keep_it() {
        let good = judged(|_| {});
        assert!(good.outcome == Outcome::Pass && good.message.contains("of at most"), "{good:?}");
        assert!(judged(|unit| unit.start_timeout_us = Some(Unit::FOR_EVER)).message.contains("no timeout"));
        assert_eq!(judged(|unit| unit.result = "timeout".into()).outcome, Outcome::Fail);
    }

    #[test]
    fn without_evidence_it_is_inconclusive() {
        assert_eq!(judged(|unit| unit.start_timeout_us = None).outcome, Outcome::Inconclusive);
        let running = |unit: &mut Unit| (unit.active_enter_us, unit.inactive_enter_us) = (0, 0);
        assert_eq!(judged(running).outcome, Outcome::Inconclusive);
        let mut node = Node::pulled_and_loaded();
        node.boot(2).remove_snapshot();
        let timeline = node.timeline();
        assert_eq!(all(&boot_of(&timeline, 2))[0].outcome, Outcome::Inconclusive);
    }
}
