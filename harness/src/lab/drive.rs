//! Drives a running node through its planned boots.

use std::time::Duration;

use crate::checks::bad_pattern;
use crate::machine::{Machine, WaitError, wait};
use crate::scenario::{Boot, Ends, Then};
use crate::timeline::{Bus, Cursor, Event, What, message_id};

/// A loop of reboots is followed this many boots past the plan: enough to call it a loop.
const BOOTS_PAST_THE_PLAN: usize = 2;

/// The longest that an unplanned boot is followed, at reference speed.
const PAST_THE_PLAN: Duration = Duration::from_secs(180);

/// Times at reference speed, before they are stretched to the host's.
const SNAPSHOT: Duration = Duration::from_secs(60);
const SCRIPT: Duration = Duration::from_secs(30);
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
    machine: &'m Machine,
    bus: &'m Bus,
    events: Cursor,
    factor: f64,
}

impl<'m> Driver<'m> {
    pub(super) fn new(machine: &'m Machine, bus: &'m Bus, factor: f64) -> Self {
        Self { machine, bus, events: bus.from_start(), factor }
    }

    /// Follows the node from one of its boots until the plan is done, or until it can't be done any more.
    pub(super) async fn follow(&mut self, boots: &[Boot], from: usize) {
        for number in from..=boots.len() + BOOTS_PAST_THE_PLAN {
            let planned = boots.get(number - 1);
            if !self.boot(number, planned, boots.len()).await {
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
    async fn boot(&mut self, number: usize, planned: Option<&Boot>, count: usize) -> bool {
        let deadline = planned.map_or(PAST_THE_PLAN, |boot| boot.deadline().duration());
        let must_reboot = planned.is_some_and(|boot| boot.ends == Ends::Reboot);
        match self.end_of(number, must_reboot, deadline).await {
            Ok(End::Reset) => true,
            Ok(End::Settled) => {
                self.look("ready").await;
                match planned.and_then(|boot| boot.then) {
                    Some(Then::Reboot) => self.reboot(number).await,
                    // A node that settled where it had to reboot, or before the last planned boot, goes nowhere.
                    None => false,
                }
            }
            Ok(End::Hopeless(meaning)) => {
                self.bus.push(What::Note { text: format!("boot {number} is not waited for any longer: {meaning}") });
                false
            }
            Err(error) => {
                self.give_up(&error, number, count).await;
                false
            }
        }
    }

    async fn end_of(&mut self, number: usize, must_reboot: bool, deadline: Duration) -> Result<End, WaitError> {
        let what = format!("end of boot {number}");
        let deadline = self.stretched(deadline);
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
            let grace = self.stretched(REBOOT_ON_ITS_WAY);
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

    /// Reboots a settled node as a person would.
    async fn reboot(&mut self, number: usize) -> bool {
        if let Err(error) = self.machine.run("systemctl --no-block reboot", self.stretched(SCRIPT)).await {
            self.bus.push(What::Note { text: format!("the harness could not ask for a reboot: {error}") });
            return false;
        }
        let deadline = self.stretched(Duration::from_secs(120));
        match wait(&mut self.events, "reboot that was asked for", deadline, |event| {
            begins_after(event, number).then_some(())
        })
        .await
        {
            Ok(()) => true,
            Err(error) => {
                self.give_up(&error, number, number).await;
                false
            }
        }
    }

    /// The node's state; a failure to read it is in the timeline, and the checks say what is missing for it.
    async fn look(&self, label: &str) {
        let _ = self.machine.snapshot(label, self.stretched(SNAPSHOT)).await;
    }

    async fn give_up(&self, error: &WaitError, number: usize, count: usize) {
        match error {
            WaitError::Deadline { what, after_s } => {
                self.bus.push(What::DeadlinePassed { waiting_for: what.clone(), after_s: *after_s });
                // What hangs is best seen while it hangs.
                self.look("deadline").await;
            }
            WaitError::MachineExited { .. } | WaitError::Panic { .. } => {
                self.bus.push(What::Note { text: format!("boot {number} of {count}: {error}") });
            }
        }
    }

    fn stretched(&self, at_reference: Duration) -> Duration {
        at_reference.mul_f64(self.factor)
    }
}

/// The next boot has begun, or would have: where a checkpoint is made, the machine is paused there.
fn ends_in_reset(event: &Event, number: usize) -> bool {
    let is_paused = matches!(&event.what, What::Qmp(qmp) if qmp.is_paused_at_reset());
    begins_after(event, number) || (in_boot(event, number) && is_paused)
}

fn begins_after(event: &Event, number: usize) -> bool {
    event.boot as usize > number
}

fn in_boot(event: &Event, number: usize) -> bool {
    event.boot as usize == number
}

/// systemd has started everything that it was asked to start, in the real root.
fn is_settled(event: &Event) -> bool {
    matches!(&event.what, What::Journal(record)
        if !record.initramfs && record.is_from_systemd() && record.message_id() == message_id::STARTUP_FINISHED)
}
