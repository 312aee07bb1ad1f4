//! The MCO's daemon on a node: takes it to the config that it was told to have, and holds its disk against that.

use std::time::Duration;

use tokio::time::Instant;

use super::super::on_disk;
use super::control::Control;
use super::member::{Member, Written};
use super::plan::{PoolConfig, WORKLOAD};
use super::pods::{self, PodError};
use crate::mco::NodeChange;
use crate::timeline::{Happened, NodeState, What};

/// Why a node has not got its config.
pub(super) enum Trouble {
    /// The daemon could not give it that: the node is degraded.
    Degraded(String),
    /// Nobody heard of the node again in time. Once it is, the daemon goes on.
    Lost,
}

impl Control<'_> {
    /// Takes a node to the config that it was told to have, from wherever it was left.
    pub(super) async fn update(&self, member: &Member<'_>, deadline: Duration) {
        member.change(|record| record.degraded = false);
        match self.take_to_its_config(member, Instant::now() + deadline).await {
            Ok(()) => {}
            Err(Trouble::Lost) => member.change(|record| record.lost = true),
            Err(Trouble::Degraded(why)) => {
                member.change(|record| record.degraded = true);
                member.becomes(NodeState::Degraded, why);
            }
        }
    }

    async fn take_to_its_config(&self, member: &Member<'_>, until: Instant) -> Result<(), Trouble> {
        let (current, desired, written) = {
            let record = member.record.borrow();
            (record.current.clone(), record.desired.clone(), record.written.clone())
        };
        let (Some(before), Some(target)) = (self.plan().config(&current), self.plan().config(&desired)) else {
            return Ok(());
        };
        let written = match written.filter(|written| written.config == desired) {
            Some(written) => written,
            None => self.write(member, before, target, until).await?,
        };
        if let Some(old) = &written.leaves {
            let mut heard = member.api.heard();
            let another = heard.wait_for(|heard| heard.as_ref().is_some_and(|heard| heard.boot_id != *old));
            let came_back = tokio::select! {
                came = tokio::time::timeout_at(until, another) => came.is_ok_and(|came| came.is_ok()),
                () = member.ended() => false,
            };
            if !came_back {
                return Err(Trouble::Lost);
            }
        }
        self.verify(member, target, until).await
    }

    /// Drains the node where it must, writes the config, and has the node rebooted where it must.
    async fn write(
        &self,
        member: &Member<'_>,
        before: &PoolConfig,
        target: &PoolConfig,
        until: Instant,
    ) -> Result<Written, Trouble> {
        let change = before.config.change_to(&target.config, self.policies());
        let change = change.map_err(|error| Trouble::Degraded(error.to_string()))?;
        if change.drains() {
            member.change(|record| {
                record.cordoned = true;
                record.serves_in.clear();
            });
            member.becomes(NodeState::Cordoned, "nothing new is put on it");
            self.daemon_runs(member, "drain", &format!("systemctl stop {WORKLOAD}"), until).await?;
            member.becomes(NodeState::Drained, "");
        }
        let how = change.disruption.reboot.as_ref().map_or("without a reboot", |why| why.as_str());
        member.becomes(NodeState::Working, format!("{}: {how}", target.rendered.name));
        let boot = member.hands.bus.boot();
        let old_boot_id = member.record.borrow().boot_id.clone();
        let failed = self.run_change(member, &change, boot, until).await;
        let happened = Happened { action: "apply".into(), failed: failed.clone(), ..Happened::default() };
        member.hands.bus.push_in(boot, What::Happened(happened));
        if let Some(why) = failed {
            return Err(Trouble::Degraded(why));
        }
        if change.reboots() {
            member.becomes(NodeState::Rebooting, "");
        }
        let leaves = change.reboots().then_some(old_boot_id);
        let written = Written { config: target.rendered.name.clone(), leaves };
        member.change(|record| record.written = Some(written.clone()));
        Ok(written)
    }

    /// Why the change failed, where it did.
    async fn run_change(&self, member: &Member<'_>, change: &NodeChange, boot: u32, until: Instant) -> Option<String> {
        let script = format!("{}\n{}", change.script, change.end());
        // What policies restart may be a pull.
        let longest =
            if change.reboots() { self.pod_deadline() } else { until.saturating_duration_since(Instant::now()) };
        match pods::run(member, "machine-config-daemon", script, longest).await {
            // The end of one that reboots the node may be lost.
            Err(PodError::Rebooted) if change.reboots() => None,
            Err(PodError::Unknown) if change.reboots() && member.hands.bus.boot() > boot => None,
            Err(error) => Some(error.to_string()),
            Ok(_) => None,
        }
    }

    /// Compares what is on a node's disk with what must be there, as the daemon does whenever it begins; then the node may
    /// work again.
    async fn verify(&self, member: &Member<'_>, target: &PoolConfig, until: Instant) -> Result<(), Trouble> {
        let script = on_disk::script(&target.fact);
        let output = self.daemon_runs(member, "machine-config-daemon-verify", &script, until).await?;
        let seen = on_disk::read(&target.fact, &output)
            .ok_or_else(|| Trouble::Degraded(format!("its disk can't be told: {output}")))?;
        let file = target.fact.files.iter().find(|(path, file)| seen.files.get(*path) != Some(*file));
        let unit = target.fact.units.iter().find(|(name, state)| seen.units.get(*name) != Some(*state));
        let wrong = match (file, unit) {
            (Some((path, _)), _) => Some(format!("content mismatch for file {path:?}")),
            (None, Some((name, state))) => Some(format!("unit {name} is not {state}")),
            (None, None) => None,
        };
        if let Some(why) = wrong {
            return Err(Trouble::Degraded(why));
        }
        member.change(|record| record.current.clone_from(&target.rendered.name));
        member.becomes(NodeState::Done, target.rendered.name.clone());
        if !member.record.borrow().cordoned {
            return Ok(());
        }
        // The next node has its turn once the workload is back, as a disruption budget would have it. Where it can't be started
        // now, such as on a node that goes down again, `watch_workload` goes on with it.
        let boot = member.record.borrow().boot_id.clone();
        let started = self.daemon_runs(member, "workload", &format!("systemctl start {WORKLOAD}"), until).await;
        member.change(|record| {
            record.cordoned = false;
            if started.is_ok() {
                record.serves_in = boot;
            }
        });
        member.becomes(NodeState::Uncordoned, "");
        member.nudge.notify_one();
        Ok(())
    }

    /// Has the daemon do something that may be done twice. A daemon whose node reboots, or is not heard for a while, begins
    /// anew when it is.
    async fn daemon_runs(
        &self,
        member: &Member<'_>,
        name: &str,
        script: &str,
        until: Instant,
    ) -> Result<String, Trouble> {
        let mut heard = member.api.heard();
        loop {
            match pods::run(member, name, script.to_owned(), self.pod_deadline()).await {
                Ok(output) => return Ok(output),
                Err(error @ PodError::Failed { .. }) => return Err(Trouble::Degraded(format!("{name}: {error}"))),
                Err(PodError::Rebooted | PodError::NotTaken | PodError::Unknown) => {}
            }
            tokio::select! {
                // Time first: a kubelet that is heard and takes nothing is not waited for any longer either.
                biased;
                () = tokio::time::sleep_until(until) => return Err(Trouble::Lost),
                () = member.ended() => return Err(Trouble::Lost),
                _ = heard.changed() => {}
            }
        }
    }
}
