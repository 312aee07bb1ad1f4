//! The MCO's daemon on a node: takes it to the config that it was told to have, and holds its disk against that.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::super::on_disk;
use super::control::Control;
use super::member::{Member, Written};
use super::plan::{PoolConfig, WORKLOAD};
use super::pods::{self, PodError};
use crate::mco::NodeChange;
use crate::services::node_api::Heard;
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

    /// Holds the node's disk against the config that it has, drains it where it must, writes the next config, and has the node
    /// rebooted where it must.
    async fn write(
        &self,
        member: &Member<'_>,
        before: &PoolConfig,
        target: &PoolConfig,
        until: Instant,
    ) -> Result<Written, Trouble> {
        let change = before.config.change_to(&target.config, self.policies());
        let change = change.map_err(|error| Trouble::Degraded(error.to_string()))?;
        self.holds(member, "machine-config-daemon-preflight", before, until).await?;
        if change.drains() {
            member.change(|record| {
                record.cordoned = true;
                record.serves_in.clear();
            });
            member.becomes(NodeState::Cordoned, "nothing new is put on it");
            self.daemon_runs(member, "drain", &format!("systemctl stop {WORKLOAD}"), until).await?;
            self.is_seen_to_serve(member, false, self.pod_within(until)).await;
            member.becomes(NodeState::Drained, "");
        }
        let how = change.disruption.reboot.as_ref().map_or("without a reboot", |why| why.as_str());
        member.becomes(NodeState::Working, format!("{}: {how}", target.rendered.name));
        let boot = member.hands.bus.boot();
        let old_boot_id = member.record.borrow().boot_id.clone();
        let written = self.run_change(member, &change, until).await;
        let failed = written.as_ref().err().map(|trouble| match trouble {
            Trouble::Degraded(why) => why.clone(),
            Trouble::Lost => "nobody heard of its end".to_owned(),
        });
        let happened = Happened { action: "apply".into(), failed, ..Happened::default() };
        member.hands.bus.push_in(boot, What::Happened(happened));
        written?;
        if change.reboots() {
            member.becomes(NodeState::Rebooting, "");
        }
        let leaves = change.reboots().then_some(old_boot_id);
        let written = Written { config: target.rendered.name.clone(), leaves };
        member.change(|record| record.written = Some(written.clone()));
        Ok(written)
    }

    /// Writes, and does what is to be done then.
    async fn run_change(&self, member: &Member<'_>, change: &NodeChange, until: Instant) -> Result<(), Trouble> {
        const POD: &str = "machine-config-daemon";
        let script = format!("{}\n{}", change.script, change.end());
        if !change.reboots() {
            return self.daemon_runs(member, POD, &script, until).await.map(drop);
        }
        let mut heard = member.api.heard();
        loop {
            match pods::run(member, POD, script.clone(), self.pod_within(until)).await {
                Err(error @ PodError::Failed { .. }) => return Err(Trouble::Degraded(error.to_string())),
                // The end of one that reboots the node may be lost; the disk tells after the reboot.
                Ok(_) | Err(PodError::Rebooted | PodError::Unknown) => return Ok(()),
                Err(PodError::NotTaken) => heard_again(member, &mut heard, until).await?,
            }
        }
    }

    /// Compares what is on a node's disk with what must be there, as the daemon does whenever it begins; then the node may
    /// work again.
    async fn verify(&self, member: &Member<'_>, target: &PoolConfig, until: Instant) -> Result<(), Trouble> {
        self.holds(member, "machine-config-daemon-verify", target, until).await?;
        member.change(|record| record.current.clone_from(&target.rendered.name));
        member.becomes(NodeState::Done, target.rendered.name.clone());
        if !member.record.borrow().cordoned {
            return Ok(());
        }
        // The next node has its turn once the workload is seen to serve again, as a disruption budget would have it. Where it
        // can't be started now, such as on a node that goes down again, `watch_workload` goes on with it.
        let boot = member.record.borrow().boot_id.clone();
        let started = self.daemon_runs(member, "workload", &format!("systemctl start {WORKLOAD}"), until).await;
        if started.is_ok() {
            let mut heard = member.api.heard();
            let in_another = heard.wait_for(|heard| heard.as_ref().is_some_and(|heard| heard.boot_id != boot));
            tokio::select! {
                () = self.is_seen_to_serve(member, true, self.pod_within(until)) => {}
                _ = in_another => {}
            }
        }
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

    /// Holds a node's disk against a config.
    async fn holds(&self, member: &Member<'_>, pod: &str, config: &PoolConfig, until: Instant) -> Result<(), Trouble> {
        let output = self.daemon_runs(member, pod, &on_disk::script(&config.fact), until).await?;
        let seen = on_disk::read(&config.fact, &output)
            .ok_or_else(|| Trouble::Degraded(format!("its disk can't be told: {output}")))?;
        match config.fact.differences(&seen).first() {
            None => Ok(()),
            Some(one) if one.what == "file" => {
                Err(Trouble::Degraded(format!("content mismatch for file {:?} of {}", one.name, config.rendered.name)))
            }
            Some(one) => {
                let found = one.found.unwrap_or("not there");
                Err(Trouble::Degraded(format!("unit {} is {found}, and not {}", one.name, one.expected)))
            }
        }
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
            match pods::run(member, name, script.to_owned(), self.pod_within(until)).await {
                Ok(output) => return Ok(output),
                Err(error @ PodError::Failed { .. }) => return Err(Trouble::Degraded(format!("{name}: {error}"))),
                Err(PodError::Rebooted | PodError::NotTaken | PodError::Unknown) => {
                    heard_again(member, &mut heard, until).await?;
                }
            }
        }
    }

    /// What a small script on a node may take, of the time that is left.
    fn pod_within(&self, until: Instant) -> Duration {
        self.pod_deadline().min(until.saturating_duration_since(Instant::now()))
    }
}

/// Waits until a node's kubelet is heard.
async fn heard_again(
    member: &Member<'_>,
    heard: &mut watch::Receiver<Option<Heard>>,
    until: Instant,
) -> Result<(), Trouble> {
    tokio::select! {
        // Time first: a kubelet that is heard and takes nothing is not waited for any longer either.
        biased;
        () = tokio::time::sleep_until(until) => Err(Trouble::Lost),
        () = member.ended() => Err(Trouble::Lost),
        _ = heard.changed() => Ok(()),
    }
}
