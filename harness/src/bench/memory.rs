//! The memory that forks of one template take of the host.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Serialize;

use super::{Bench, tell};
use crate::lab::{self, Host, Surroundings};
use crate::machine::{Keeps, Machine};
use crate::runner;
use crate::scenario::{Scenario, Start};
use crate::timeline::{Bus, What, message_id};

/// A scenario whose first boot settles, after a pull.
const SCENARIO: &str = "image/wrong-vermagic.yaml";

/// The longest way from a fork to a settled node, at reference speed, for each node that runs beside it.
const DEADLINE: Duration = Duration::from_secs(240);

/// Nodes forked from one template that run at the same time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Forks {
    /// How many.
    pub count: usize,
    /// Memory of each guest, in MiB.
    pub guest_mib: u64,
    /// PSS of all their QEMUs together when the last one had its template's state, in MiB.
    pub restored_mib: f64,
    /// The same when all nodes had settled.
    pub settled_mib: f64,
    /// What the leases reckon with for them.
    pub predicted_mib: f64,
}

impl Bench<'_> {
    pub(super) fn forks(&self, count: usize) -> Result<Forks> {
        let path = self.options.scenarios.join(SCENARIO);
        let scenario = Scenario::load_one(&path).map_err(|mistakes| anyhow::anyhow!("{}", mistakes.plain()))?.into();
        let draft = lab::draft(&scenario, Some(Start::Template), &self.workshop.authority)?;
        let plan = lab::plan(&draft, &self.node, &self.workshop, &tell)?;
        let host = Host { acceleration: &self.acceleration, workshop: &self.workshop, tell: &tell, break_at: None };
        let origin = lab::origin(&plan, &host, std::future::pending::<()>)?;
        let guest_mib = scenario.spec.node.memory.as_mib();
        let factor = self.acceleration.deadline_factor() * f64::from(u32::try_from(count)?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        runtime.block_on(async {
            let mut nodes: Vec<(Surroundings<'_>, Machine)> = Vec::new();
            for _ in 0..count {
                let surroundings = Surroundings::new(&plan, &host, &Bus::new(None)).await?;
                let machine = surroundings.start(origin.begins(), Keeps::Nothing, None).await?;
                nodes.push((surroundings, machine));
            }
            let restored_mib = together(&nodes)?;
            for (_, machine) in &nodes {
                let settled = machine.wait_for("a settled node", DEADLINE.mul_f64(factor), |event| {
                    matches!(&event.what, What::Journal(record)
                        if !record.initramfs && record.message_id() == message_id::STARTUP_FINISHED)
                    .then_some(())
                });
                settled.await.context("a fork whose memory is measured must settle")?;
            }
            let settled_mib = together(&nodes)?;
            for (surroundings, machine) in nodes {
                machine.stop().await;
                surroundings.stop().await;
            }
            let predicted_mib = runner::host_memory_mib(guest_mib, count);
            Ok(Forks { count, guest_mib, restored_mib, settled_mib, predicted_mib })
        })
    }
}

fn together(nodes: &[(Surroundings<'_>, Machine)]) -> Result<f64> {
    let each: Result<Vec<f64>, _> = nodes.iter().map(|(_, machine)| machine.host_memory_mib()).collect();
    Ok(each?.into_iter().sum())
}
