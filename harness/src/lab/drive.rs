//! Drives a running node through its planned boots.

use std::time::Duration;

use tokio::sync::watch;

use super::hands::{Hands, REBOOT};
use crate::checks::{bad_pattern, is_shutdown};
use crate::machine::{WaitError, wait};
use crate::scenario::{Action, Boot, Ends, Spec};
use crate::timeline::{Cursor, Event, LOOKED, Snapshot, What, message_id};

/// A loop of reboots is followed this many boots past the plan: enough to call it a loop.
const BOOTS_PAST_THE_PLAN: u32 = 2;

/// The longest that an unplanned boot is followed, at reference speed.
const PAST_THE_PLAN: Duration = Duration::from_secs(180);

/// Times at reference speed, before they are stretched to the host's.
const SNAPSHOT: Duration = Duration::from_secs(60);
/// How long a job that began after the start-up may take.
const JOB: Duration = Duration::from_secs(20);
/// How often a node is looked at until it has no jobs.
const LOOKS: u32 = 3;
/// How long the streams may take for what was said.
const LAST_WORD: Duration = Duration::from_secs(20);
/// A unit may ask for a reboot and end at once, so that systemd finishes its start-up while the reboot is on
/// its way.
const REBOOT_ON_ITS_WAY: Duration = Duration::from_secs(20);

/// How a boot came to its end.
enum End {
    /// The machine was reset: the next boot has begun.
    Reset,
    /// systemd has no more jobs.
    Settled,
    /// Something was said after which no boot comes to a good end.
    Hopeless(&'static str),
}

/// Waits, looks and acts, boot after boot. What happens is in the timeline; what it means is for the checks.
pub(super) struct Driver<'m> {
    hands: &'m Hands<'m>,
    events: Cursor,
    /// How many happenings are under way.
    armed: watch::Receiver<usize>,
    /// Of a node of several: who wants to know how far it is. Then others begin its boots.
    seen: Option<&'m watch::Sender<Seen>>,
}

/// How far a node of several has been followed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The last boot that settled and was looked at.
    pub(super) looked: u32,
    /// Whether it is followed no more.
    pub(super) is_over: bool,
}

impl<'m> Driver<'m> {
    pub(super) fn new(hands: &'m Hands<'m>, armed: watch::Receiver<usize>) -> Self {
        Self { hands, events: hands.bus.from_start(), armed, seen: None }
    }

    /// Of a node whose boots others begin.
    pub(super) fn of_member(
        hands: &'m Hands<'m>,
        armed: watch::Receiver<usize>,
        seen: &'m watch::Sender<Seen>,
    ) -> Self {
        Self { seen: Some(seen), ..Self::new(hands, armed) }
    }

    /// Follows the node from one of its boots until the plan is done, or until it can't be done any more.
    pub(super) async fn follow(&mut self, spec: &Spec, from: u32) {
        for number in from..=spec.most_boots() + BOOTS_PAST_THE_PLAN {
            if !self.boot(number, spec).await {
                return;
            }
        }
    }

    /// Follows the first boot to its reboot, or tells why there is none.
    pub(super) async fn first_boot(&mut self, planned: Option<&Boot>) -> Result<(), String> {
        let deadline = planned.map_or(PAST_THE_PLAN, |boot| boot.deadline().duration());
        match self.end_of(1, true, deadline).await {
            Ok(End::Reset) => Ok(()),
            Ok(End::Settled) => Err("its first boot settled without a reboot".to_owned()),
            Ok(End::Hopeless(meaning)) => Err(meaning.to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// One boot; tells whether another one follows.
    async fn boot(&mut self, number: u32, spec: &Spec) -> bool {
        let planned = spec.boot(number);
        let deadline = planned.map_or(PAST_THE_PLAN, |boot| boot.deadline().duration());
        let must_reboot = planned.is_some_and(|boot| boot.ends == Ends::Reboot);
        match self.end_of(number, must_reboot, deadline).await {
            Ok(End::Reset) => true,
            Ok(End::Settled) => self.settled(number, spec).await,
            Ok(End::Hopeless(meaning)) => {
                self.hands
                    .bus
                    .push(What::Note { text: format!("boot {number} is not waited for any longer: {meaning}") });
                false
            }
            Err(error) => {
                self.give_up(&error, number, spec.most_boots()).await;
                false
            }
        }
    }

    /// Looks at a settled node, waits for what is about to happen to it, and does what is to be done then.
    async fn settled(&mut self, number: u32, spec: &Spec) -> bool {
        let planned = spec.boot(number);
        let paths = paths_to_look_at(spec, number);
        let looked = async {
            self.look_at_an_idle_node().await;
            self.hands.look_at_config().await;
            if !paths.is_empty() {
                self.hands.look_at(&paths).await;
            }
            self.say_that_it_has_looked().await;
        };
        // A node that is cut meanwhile does not answer.
        let mut events = self.hands.bus.from_start();
        tokio::select! {
            () = looked => {}
            () = reset(&mut events, number) => return true,
        }
        // The sender lives as long as the trial.
        let _ = self.armed.wait_for(|armed| *armed == 0).await;
        if self.hands.bus.boot() > number || self.is_going_down(number).await {
            return true;
        }
        if let Some(seen) = self.seen {
            seen.send_modify(|seen| seen.looked = number);
            let (mut next, mut end) = (self.hands.bus.from_start(), self.hands.bus.from_start());
            return tokio::select! {
                () = reset(&mut next, number) => true,
                () = ended(&mut end) => false,
            };
        }
        for action in planned.into_iter().flat_map(|boot| boot.then.iter()) {
            if !self.hands.perform(action, None, None).await {
                return false;
            }
            if let Action::Apply(_) | Action::Withdraw(_) = action
                && !action.ends_the_boot()
            {
                self.hands.look_at_config().await;
                self.say_that_it_has_looked().await;
            }
        }
        // A node that settled where it had to reboot, or before the last planned boot, goes nowhere.
        planned.is_some_and(Boot::is_ended_by_the_trial)
    }

    /// Whether somebody has asked for a reboot of a node that settled all the same; waits for it then.
    async fn is_going_down(&mut self, number: u32) -> bool {
        if !self.hands.bus.events().iter().any(|event| in_boot(event, number) && asks_for_reboot(event)) {
            return false;
        }
        let deadline = self.hands.stretched(REBOOT);
        let reset = |event: &Event| begins_after(event, number).then_some(());
        wait(&mut self.events, "reboot that was asked for", deadline, reset).await.is_ok()
    }

    async fn end_of(&mut self, number: u32, must_reboot: bool, deadline: Duration) -> Result<End, WaitError> {
        let what = format!("end of boot {number}");
        let deadline = self.hands.stretched(deadline);
        let end = wait(&mut self.events, &what, deadline, |event| {
            if ends_in_reset(event, number) {
                Some(End::Reset)
            } else if !in_boot(event, number) {
                None
            } else if let Some(pattern) = bad_pattern(&event.what).filter(|pattern| pattern.fatal) {
                Some(End::Hopeless(pattern.meaning))
            } else {
                is_settled(event).then_some(End::Settled)
            }
        })
        .await?;
        if let End::Settled = end
            && must_reboot
        {
            let grace = self.hands.stretched(REBOOT_ON_ITS_WAY);
            let reset =
                wait(&mut self.events, "reboot", grace, |event| ends_in_reset(event, number).then_some(())).await;
            return match reset {
                Ok(()) => Ok(End::Reset),
                Err(WaitError::Deadline { .. }) => Ok(End::Settled),
                Err(error) => Err(error),
            };
        }
        Ok(end)
    }

    /// The state of a node whose jobs are done. One that began since the start-up finished, such as that of a service
    /// which D-Bus starts, is not stuck: the node is looked at again when it is done.
    async fn look_at_an_idle_node(&self) {
        for _ in 1..LOOKS {
            // It may end while the look goes on.
            let mut events = self.hands.bus.from_now();
            let Some(snapshot) = self.look("ready").await else { return };
            let mut queued = snapshot.units;
            queued.retain(|_, unit| !unit.job.is_empty());
            if queued.is_empty() {
                return;
            }
            let done = |event: &Event| {
                queued.remove(unit_of_ended_job(event)?);
                queued.is_empty().then_some(())
            };
            // A stuck job's wait ends with its deadline, and the next look shows it.
            let _ = wait(&mut events, "end of the queued jobs", self.hands.stretched(JOB), done).await;
        }
        self.look("ready").await;
    }

    /// Waits until all that the node has said is here; evidence lacks it where it does not come.
    async fn say_that_it_has_looked(&self) {
        let mut events = self.hands.bus.from_now();
        // An error's priority is shown on consoles that are asked to be quiet.
        let script = format!("echo '<3>day1: {LOOKED}' >/dev/kmsg");
        if self.hands.machine.query(&script, self.hands.stretched(SNAPSHOT)).await.is_err() {
            return;
        }
        let (mut on_console, mut in_journal) = (false, false);
        let said = |event: &Event| {
            match &event.what {
                What::Console(console) => on_console |= console.line.contains(LOOKED),
                What::Journal(record) => in_journal |= record.message().contains(LOOKED),
                _ => {}
            }
            (on_console && in_journal).then_some(())
        };
        let _ = wait(&mut events, "last word of console and journal", self.hands.stretched(LAST_WORD), said).await;
    }

    /// The node's state; a failure to read it is in the timeline, and the checks say what is missing for it.
    async fn look(&self, label: &str) -> Option<Snapshot> {
        self.hands.machine.snapshot(label, self.hands.stretched(SNAPSHOT)).await.ok()
    }

    async fn give_up(&self, error: &WaitError, number: u32, count: u32) {
        match error {
            WaitError::Deadline { what, after_s } => {
                self.hands.bus.push(What::DeadlinePassed { waiting_for: what.clone(), after_s: *after_s });
                // What hangs is best seen while it hangs; nobody is there to look before the real root.
                let in_real_root = |event: &Event| matches!(&event.what, What::Journal(record) if !record.initramfs);
                if self.hands.bus.events().iter().any(|event| in_boot(event, number) && in_real_root(event)) {
                    self.look("deadline").await;
                }
            }
            WaitError::MachineExited { .. } | WaitError::Panic { .. } => {
                self.hands.bus.push(What::Note { text: format!("boot {number} of {count}: {error}") });
            }
        }
    }
}

/// The next boot has begun, or would have: where a checkpoint is made, the machine is paused there.
fn ends_in_reset(event: &Event, number: u32) -> bool {
    let is_paused = matches!(&event.what, What::Qmp(qmp) if qmp.is_paused_at_reset());
    begins_after(event, number) || (in_boot(event, number) && is_paused)
}

fn begins_after(event: &Event, number: u32) -> bool {
    event.boot > number
}

fn in_boot(event: &Event, number: u32) -> bool {
    event.boot == number
}

/// Waits for the end of a boot.
async fn reset(events: &mut Cursor, number: u32) {
    while !begins_after(&*events.next().await, number) {}
}

/// Waits for the machine's end.
pub(super) async fn ended(events: &mut Cursor) {
    while !matches!(events.next().await.what, What::MachineExited(_)) {}
}

/// The unit whose job systemd says to be done, however it ended.
fn unit_of_ended_job(event: &Event) -> Option<&str> {
    match &event.what {
        What::Journal(record) if record.is_from_systemd() && !record.field("JOB_RESULT").is_empty() => {
            Some(record.field("UNIT"))
        }
        _ => None,
    }
}

/// The node is on its way to a reboot.
fn asks_for_reboot(event: &Event) -> bool {
    matches!(&event.what, What::Journal(record) if !record.initramfs && is_shutdown(record))
}

/// The files that checks of a boot want to see.
fn paths_to_look_at(spec: &Spec, number: u32) -> Vec<&str> {
    let expected = spec.boot(number).map(|boot| &boot.expect).into_iter().chain([&spec.every_boot]);
    let mut paths: Vec<&str> =
        expected.flat_map(|expect| expect.file_state.iter()).map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    paths
}

/// systemd has started everything that it was asked to start, in the real root.
pub(super) fn is_settled(event: &Event) -> bool {
    matches!(&event.what, What::Journal(record)
        if !record.initramfs && record.is_from_systemd() && record.message_id() == message_id::STARTUP_FINISHED)
}
