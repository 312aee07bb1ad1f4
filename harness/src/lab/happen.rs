//! Waits for what the scenario's happenings wait for, and has them done.

use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use super::drive::is_settled;
use super::hands::Hands;
use crate::checks::resolve;
use crate::scenario::{After, Happening, ModuleMoment, Phase, Trigger, UnitMoment, UnitRef};
use crate::timeline::{Cursor, Event, Facts, JournalRecord, What, message_id};

/// All that happens in one trial.
pub(super) struct Happenings<'l> {
    hands: &'l Hands<'l>,
    /// How many were triggered and are not done yet.
    armed: watch::Sender<usize>,
}

impl<'l> Happenings<'l> {
    pub(super) fn new(hands: &'l Hands<'l>) -> Self {
        Self { hands, armed: watch::Sender::new(0) }
    }

    /// How many are under way.
    pub(super) fn armed(&self) -> watch::Receiver<usize> {
        self.armed.subscribe()
    }

    /// Waits and acts until all has happened.
    pub(super) async fn follow(&self, happens: &[Happening]) {
        join_all(happens.iter().enumerate().map(|(index, one)| self.one(index, one))).await;
    }

    async fn one(&self, index: usize, happening: &Happening) {
        let mut events = self.hands.bus.from_start();
        let facts = &self.hands.surroundings.plan().facts;
        let trigger = Watched::new(facts, &happening.when, happening.boot).wait(&mut events).await;
        self.armed.send_modify(|armed| *armed += 1);
        if let Some(after) = happening.after {
            // The scenario's own time, not a wait for anything.
            tokio::time::sleep(time_of(after, index).mul_f64(self.hands.factor)).await;
        }
        for action in happening.actions.iter() {
            if !self.hands.perform(action, Some(index), Some(trigger)).await {
                break;
            }
        }
        self.armed.send_modify(|armed| *armed -= 1);
    }
}

/// The same for the same seed and place in the scenario.
fn time_of(after: After, index: usize) -> Duration {
    match after {
        After::Fixed(time) => time.duration(),
        After::Random { up_to, seed } => {
            let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(index as u64));
            up_to.duration().mul_f64(random.f64())
        }
    }
}

/// What is waited for, and the boot up to which events were looked at.
pub(super) struct Watched<'w> {
    facts: &'w Facts,
    when: &'w Trigger,
    /// In which boot; none for any.
    wanted: Option<u32>,
    boot: u32,
}

impl<'w> Watched<'w> {
    pub(super) fn new(facts: &'w Facts, when: &'w Trigger, wanted: Option<u32>) -> Self {
        Self { facts, when, wanted, boot: 0 }
    }

    /// Gives the event's place in the timeline.
    pub(super) async fn wait(&mut self, events: &mut Cursor) -> u64 {
        loop {
            let event = events.next().await;
            if self.is_seen(&event) {
                return event.seq;
            }
        }
    }

    fn is_seen(&mut self, event: &Event) -> bool {
        let is_new_boot = event.boot > self.boot;
        self.boot = self.boot.max(event.boot);
        // What was recorded when a checkpoint was made is long over.
        if event.recorded || self.wanted.is_some_and(|boot| boot != event.boot) {
            return false;
        }
        match (self.when, &event.what) {
            (Trigger::Phase(Phase::PowerOn), _) => is_new_boot,
            (Trigger::Phase(Phase::Kernel), What::Console(console)) => console.is_kernel_banner(),
            (Trigger::Phase(Phase::RealRoot), What::Journal(record)) => is_of_real_root_manager(record),
            (Trigger::Phase(Phase::Settled), _) => is_settled(event),
            (Trigger::Unit(unit), What::Journal(record)) => {
                let wanted = match unit.is {
                    UnitMoment::Starting => message_id::UNIT_STARTING,
                    UnitMoment::Started => message_id::UNIT_STARTED,
                    UnitMoment::Failed => message_id::UNIT_FAILED,
                };
                is_of_real_root_manager(record)
                    && record.message_id() == wanted
                    && self.is_unit(&unit.name, record.field("UNIT"))
            }
            (Trigger::Journal(journal), What::Journal(record)) => {
                let by = journal
                    .unit
                    .as_ref()
                    .is_none_or(|unit| !record.is_from_systemd() && self.is_unit(unit, record.field("_SYSTEMD_UNIT")));
                !record.initramfs && by && journal.matches.regex().is_match(record.message())
            }
            (Trigger::Module(module), What::ModuleLoad(change)) => {
                module.is == ModuleMoment::Loaded && change.module == module.name.as_str()
            }
            (Trigger::Module(module), What::ModuleFree(change)) => {
                module.is == ModuleMoment::Removed && change.module == module.name.as_str()
            }
            (Trigger::Pulled(pulled), What::RegistryProgress(progress)) => {
                progress.repository == pulled.repository.as_str() && progress.percent == pulled.share.get()
            }
            _ => false,
        }
    }

    fn is_unit(&self, unit: &UnitRef, name: &str) -> bool {
        resolve(Some(self.facts), unit).is_ok_and(|unit| unit == name)
    }
}

fn is_of_real_root_manager(record: &JournalRecord) -> bool {
    !record.initramfs && record.is_from_systemd()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Seconds;
    use crate::timeline::{ModuleEvent, RegistryProgress};

    fn happening(text: &str) -> Happening {
        let value: serde_json::Value = serde_yaml::from_str(&format!("{{{text}, do: power-cut}}")).expect("YAML");
        serde_json::from_value(value).expect("a happening")
    }

    fn event(boot: u32, what: What) -> Event {
        Event { seq: 0, at_us: 0, boot, node: None, recorded: false, what }
    }

    fn seen(text: &str, events: &[Event]) -> Vec<bool> {
        let facts = Facts { units: [("pull".to_owned(), "p.service".to_owned())].into(), ..Facts::default() };
        let happening = happening(text);
        let mut watched = Watched::new(&facts, &happening.when, happening.boot);
        events.iter().map(|event| watched.is_seen(event)).collect()
    }

    fn record(fields: &[(&str, &str)]) -> What {
        let fields = fields.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        What::Journal(JournalRecord { initramfs: false, fields })
    }

    #[test]
    fn a_unit_is_known_by_its_role_and_only_systemd_tells_of_it() {
        let starting = [("MESSAGE_ID", message_id::UNIT_STARTING), ("UNIT", "p.service"), ("_PID", "1")];
        let of_systemd = [starting.as_slice(), &[("_TRANSPORT", "journal")]].concat();
        let events = [event(1, record(&starting)), event(1, record(&of_systemd)), event(2, record(&of_systemd))];
        assert_eq!(seen("when: {unit: {name: pull, is: starting}}", &events), [false, true, true]);
        assert_eq!(seen("when: {unit: {name: pull, is: starting}}, boot: 2", &events), [false, false, true]);
        assert_eq!(seen("when: {unit: {name: pull, is: failed}}", &events), [false; 3]);
        let said = [event(1, record(&[("_SYSTEMD_UNIT", "p.service"), ("MESSAGE", "attempt 2")]))];
        assert_eq!(seen("when: {journal: {unit: pull, matches: 'attempt \\d'}}", &said), [true]);
        assert_eq!(seen("when: {journal: {unit: q.service, matches: attempt}}", &said), [false]);
    }

    #[test]
    fn a_boot_powers_on_once_and_a_recorded_one_is_over() {
        let note = || What::Note { text: String::new() };
        let mut events = [event(1, note()), event(1, note()), event(2, note())];
        assert_eq!(seen("when: {phase: power-on}", &events), [true, false, true]);
        events[0].recorded = true;
        assert_eq!(seen("when: {phase: power-on}", &events), [false, false, true]);
    }

    #[test]
    fn modules_and_pulls_are_seen() {
        let change = ModuleEvent { module: "e1000".into(), ..ModuleEvent::default() };
        let events = [event(2, What::ModuleLoad(change.clone())), event(2, What::ModuleFree(change))];
        assert_eq!(seen("when: {module: {name: e1000, is: removed}}", &events), [false, true]);
        let progress = RegistryProgress { repository: "quay.io/a/b".into(), percent: 50 };
        let events = [event(1, What::RegistryProgress(progress))];
        assert_eq!(seen("when: {pulled: {repository: quay.io/a/b, share: 50%}}", &events), [true]);
        assert_eq!(seen("when: {pulled: {repository: quay.io/a/b, share: 51%}}", &events), [false]);
    }

    #[test]
    fn a_seed_gives_the_same_time_again_and_another_one_another() {
        let after = |seed| After::Random { up_to: Seconds::new(60), seed };
        assert_eq!(time_of(after(7), 0), time_of(after(7), 0));
        assert_ne!(time_of(after(7), 0), time_of(after(8), 0));
        assert_ne!(time_of(after(7), 0), time_of(after(7), 1));
        assert!((0..100).all(|seed| time_of(after(seed), 0) < Duration::from_secs(60)));
    }
}
