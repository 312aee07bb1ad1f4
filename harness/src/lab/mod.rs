//! A trial end to end: assemble, drive the node through its boots, collect.

mod disks;
mod drive;
mod plan;
mod roles;

pub use plan::{Image, Plan, PlanError, Workshop, check, plan};
pub use roles::Error as RolesError;

use std::path::Path;

use crate::machine::{self, Acceleration, Disk, Forward, Machine, Nic, Spec};
use crate::services::config_server::{self, ConfigServer, PoolConfig, pointer_config};
use crate::services::gateway::{self, Gateway};
use crate::services::registry::{self, Registry};
use crate::services::{Availability, CONFIG_SERVER_ADDRESS, CONFIG_SERVER_PORT, GATEWAY_ADDRESS, GATEWAY_PORT, push};
use crate::timeline::{Bus, Timeline, What, Writer};

/// The hidden subcommand of `day1` that a guest's connection runs.
pub const CONNECT_SUBCOMMAND: &str = "connect";

/// What a trial leaves in its directory.
pub mod files {
    /// The timeline.
    pub const TIMELINE: &str = "timeline.jsonl";
    /// Every byte of the serial console.
    pub const CONSOLE: &str = "console.log";
    /// The rendered config, as it was served.
    pub const RENDERED: &str = "rendered.ign";
    /// The scenario, as it was when it ran.
    pub const SCENARIO: &str = "scenario.yaml";
    /// Verdict and findings.
    pub const RESULT: &str = "result.json";
}

/// The harness's own side broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the trial's directory can't be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The machine failed.
    #[error(transparent)]
    Machine(#[from] machine::Error),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// The gateway failed.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    /// The config server failed.
    #[error(transparent)]
    ConfigServer(#[from] config_server::Error),
    /// An image could not be pushed.
    #[error(transparent)]
    Push(#[from] push::Error),
    /// A person ended the run.
    #[error("interrupted")]
    Interrupted,
}

/// Runs a plan on a node of its own; what was seen is in `dir` and in the timeline that it gives back.
///
/// Call it on a thread that lives until it returns: the machine dies with the thread. `watch` gets the bus
/// before anything happens; when `interrupted` ends, the trial does.
pub async fn run(
    plan: &Plan,
    acceleration: &Acceleration,
    workshop: &Workshop,
    dir: &Path,
    watch: impl FnOnce(&Bus),
    interrupted: impl Future<Output = ()>,
) -> Result<Timeline, Error> {
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        std::fs::write(&path, bytes).map_err(|source| Error::Write { path, source })
    };
    write(files::RENDERED, &plan.rendered.ignition_json)?;
    write(files::SCENARIO, plan.scenario.document.text.as_bytes())?;
    let timeline = dir.join(files::TIMELINE);
    let writer = Writer::create(&timeline).map_err(|source| Error::Write { path: timeline.clone(), source })?;
    let bus = Bus::new(Some(writer));
    watch(&bus);
    let outcome = tokio::select! {
        outcome = in_the_lab(plan, acceleration, workshop, dir, &bus) => outcome,
        () = interrupted => Err(Error::Interrupted),
    };
    bus.finish().map_err(|source| Error::Write { path: timeline, source })?;
    outcome?;
    Ok(Timeline::from(bus.events()))
}

async fn in_the_lab(
    plan: &Plan,
    acceleration: &Acceleration,
    workshop: &Workshop,
    dir: &Path,
    bus: &Bus,
) -> Result<(), Error> {
    let storage = workshop.scratch.join(format!("registry-{}", plan.facts.trial.replace(['/', '@'], "-")));
    let registry = Registry::start(&storage).await?;
    for image in plan.images.iter().filter(|image| !image.tags.is_empty()) {
        push::push_layout(registry.base_url(), &image.layout, &image.repository, &image.tags).await?;
    }
    let gateway = Gateway::start(&workshop.authority, registry.base_url(), bus.clone())?;
    if !plan.scenario.spec.registry.reachable {
        gateway.set_availability(Availability::Down);
    }
    let config_server = ConfigServer::start(&workshop.authority, bus.clone())?;
    config_server.set(&plan.pool, PoolConfig::Ready(plan.rendered.ignition_json.clone().into()))?;

    bus.push(What::Facts(plan.facts.clone()));
    let spec = machine_spec(plan, acceleration, workshop, gateway.socket(), config_server.socket());
    let machine = Machine::start(&spec, bus, Some(&dir.join(files::CONSOLE))).await?;
    drive::Driver::new(&machine, bus, acceleration.deadline_factor()).follow(&plan.scenario.spec.boots).await;
    machine.stop().await;
    gateway.stop().await;
    config_server.stop().await;
    registry.stop().await;
    Ok(())
}

fn machine_spec(
    plan: &Plan,
    acceleration: &Acceleration,
    workshop: &Workshop,
    gateway: &str,
    config_server: &str,
) -> Spec {
    let node = &plan.scenario.spec.node;
    let forward = |address: &str, port: u16, socket: &str| Forward {
        guest: format!("{address}:{port}"),
        command: vec![workshop.day1.display().to_string(), CONNECT_SUBCOMMAND.into(), socket.into()],
    };
    let disk = |disk: &crate::scenario::Disk| Disk {
        serial: disk.id.to_string(),
        size_mib: disk.size.as_mib(),
        iops: disk.throttle.as_ref().and_then(|throttle| throttle.iops).map(u64::from),
        bytes_per_second: disk
            .throttle
            .as_ref()
            .and_then(|throttle| throttle.bytes_per_second)
            .map(|size| size.bytes()),
    };
    Spec {
        name: plan.facts.trial.clone(),
        cpus: node.cpus,
        memory_mib: node.memory.as_mib(),
        accel: acceleration.accel,
        image: plan.node.disk.clone(),
        disks: node.disks.iter().map(disk).collect(),
        nics: plan.facts.nics.iter().map(|nic| Nic { model: nic.model.clone(), mac: nic.mac.clone() }).collect(),
        forwards: vec![
            forward(GATEWAY_ADDRESS, GATEWAY_PORT, gateway),
            forward(CONFIG_SERVER_ADDRESS, CONFIG_SERVER_PORT, config_server),
        ],
        ignition: Some(pointer_config(&workshop.authority, &plan.pool)),
        instruments: true,
        scratch: workshop.scratch.clone(),
    }
}
