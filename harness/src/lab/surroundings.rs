//! What a node of a trial reaches, and the node's own shape.

use std::path::Path;
use std::sync::Arc;

use super::{CONNECT_SUBCOMMAND, Error, Plan, Workshop};
use crate::checks::resolve;
use crate::machine::{
    Acceleration, Begins, Delay, Disk, Forward, Instruments, Keeps, LanPort, Machine, Nic, Spec, instruments_config,
};
use crate::network::Socket;
use crate::node::NodeImage;
use crate::scenario::{self, Breakpoint, Percent, Seconds, Size, Trigger};
use crate::services::certs;
use crate::services::config_server::{ConfigServer, PoolConfig, pointer_config};
use crate::services::faults::{Effect, Fault};
use crate::services::gateway::{Behaviour, Gateway, Mark};
use crate::services::node_api::NodeApi;
use crate::services::proxy::Proxy;
use crate::services::registry::Registry;
use crate::services::{
    API_ADDRESS, API_PORT, Availability, CONFIG_SERVER_ADDRESS, CONFIG_SERVER_PORT, GATEWAY_ADDRESS, GATEWAY_NAME,
    GATEWAY_PORT, PROXY_ADDRESS, PROXY_PORT, push,
};
use crate::timeline::Bus;

/// What a trial runs on.
#[derive(Clone, Copy)]
pub struct Host<'h> {
    /// How its machines run.
    pub acceleration: &'h Acceleration,
    /// What all trials share.
    pub workshop: &'h Workshop,
    /// Hears what is made for the trial, a line for a person each.
    pub tell: &'h (dyn Fn(&str) + Sync),
    /// Where the run stops its nodes.
    pub break_at: Option<&'h Breakpoint>,
}

/// The servers of one trial, before its machine starts.
pub struct Surroundings<'p> {
    plan: &'p Plan,
    host: Host<'p>,
    bus: Bus,
    registry: Registry,
    gateway: Gateway,
    proxy: Option<Proxy>,
    config_server: ConfigServer,
    /// Of a node of several.
    api: Option<NodeApi>,
    lan: Option<Arc<Socket>>,
}

impl<'p> Surroundings<'p> {
    /// Starts them; the config server has no config yet.
    pub async fn new(plan: &'p Plan, host: &Host<'p>, bus: &Bus) -> Result<Self, Error> {
        let workshop = host.workshop;
        let registry = workshop.registry.start(&workshop.scratch).await?;
        for image in plan.images.iter().filter(|image| !image.tags.is_empty()) {
            push::push_layout(registry.base_url(), &image.layout, &image.repository, &image.tags).await?;
        }
        let gateway =
            Gateway::start(&workshop.authority, registry.base_url(), behaviour(plan, host.break_at), bus.clone())?;
        if !plan.scenario.spec.registry.reachable {
            gateway.set_availability(Availability::Down);
        }
        let proxy = proxy(plan, gateway.socket(), bus)?;
        let config_server = ConfigServer::start(&workshop.authority, bus.clone())?;
        config_server.set(&plan.pool, PoolConfig::NotReady)?;
        let api = plan.station.is_some().then(NodeApi::start).transpose().map_err(Error::ControlPlane)?;
        let host = *host;
        Ok(Self { plan, host, bus: bus.clone(), registry, gateway, proxy, config_server, api, lan: None })
    }

    /// Plugs the node's first card into a network with others.
    pub(super) fn plug(&mut self, socket: Arc<Socket>) {
        self.lan = Some(socket);
    }

    /// What of the control plane the node sees; only one of several sees any.
    pub(super) fn api(&self) -> Option<&NodeApi> {
        self.api.as_ref()
    }

    /// Starts the machine; its config is served from when its clock is right.
    pub async fn start(&self, begins: Begins, keeps: Keeps, console_log: Option<&Path>) -> Result<Machine, Error> {
        let is_fork = matches!(begins, Begins::Forked(_));
        if !is_fork {
            self.serve_config()?;
        }
        let machine = self.start_without_config(begins, keeps, console_log).await?;
        if is_fork {
            self.serve_config()?;
        }
        Ok(machine)
    }

    /// Starts the machine; nothing is rendered for it.
    pub(super) async fn start_without_config(
        &self,
        begins: Begins,
        keeps: Keeps,
        console_log: Option<&Path>,
    ) -> Result<Machine, Error> {
        let sockets = Sockets {
            gateway: self.gateway.socket(),
            proxy: self.proxy.as_ref().map_or("", Proxy::socket),
            config_server: self.config_server.socket(),
            api: self.api.as_ref().map_or("", NodeApi::socket),
            lan: self.lan.as_ref(),
        };
        let spec = machine_spec(self.plan, &self.host, sockets, begins, keeps);
        Ok(Machine::start(&spec, &self.bus, console_log).await?)
    }

    /// What the surroundings are made for.
    pub(super) fn plan(&self) -> &Plan {
        self.plan
    }

    /// Takes the registry away from the node, or gives it back.
    pub(super) fn set_registry(&self, availability: Availability) {
        self.gateway.set_availability(availability);
    }

    fn serve_config(&self) -> Result<(), Error> {
        let config = PoolConfig::Ready(self.plan.rendered.ignition_json.clone().into());
        Ok(self.config_server.set(&self.plan.pool, config)?)
    }

    /// Waits until the node has read what the config server last answered.
    pub(super) async fn config_was_read(&self) {
        self.config_server.is_idle().await;
    }

    /// Waits until no request for the registry is under way.
    pub(super) async fn registry_is_idle(&self) {
        self.gateway.is_idle().await;
    }

    /// Waits until the registry ends by itself, and gives the reason.
    pub(super) async fn registry_ended(&self) -> String {
        self.registry.ended().await
    }

    /// Ends them; every request has its event when this returns.
    pub async fn stop(self) {
        if let Some(api) = self.api {
            api.stop().await;
        }
        self.gateway.stop().await;
        self.config_server.stop().await;
        self.registry.stop().await;
    }
}

/// How the scenario wants the gateway to behave.
fn behaviour(plan: &Plan, break_at: Option<&Breakpoint>) -> Behaviour {
    let registry = &plan.scenario.spec.registry;
    let faults = registry.faults.iter().map(|fault| Fault {
        subject: fault.on.subject(),
        repository: fault.repository.as_ref().map(ToString::to_string),
        skip: fault.skip,
        first: fault.first,
        effect: Effect {
            answer: fault.answer,
            delay: fault.delay.map(Seconds::duration),
            bytes_per_second: fault.rate.map(Size::bytes),
            cut_at_percent: fault.cut_at.map(Percent::get),
        },
    });
    let waited_for = plan.scenario.spec.happens.iter().map(|happening| &happening.when);
    let marks = waited_for.chain(break_at.map(|event| &event.when)).filter_map(|when| match when {
        Trigger::Pulled(pulled) => Some(Mark {
            repository: pulled.repository.to_string(),
            bytes: plan
                .images
                .iter()
                .filter(|one| one.repository == pulled.repository.as_str())
                .map(|one| one.bytes)
                .sum(),
            percent: pulled.share.get(),
        }),
        _ => None,
    });
    Behaviour {
        certificate: match registry.certificate {
            scenario::Certificate::Good => certs::Certificate::Good,
            scenario::Certificate::Recent => certs::Certificate::Recent,
            scenario::Certificate::Expired => certs::Certificate::Expired,
            scenario::Certificate::OtherName => certs::Certificate::OtherName,
            scenario::Certificate::UnknownAuthority => certs::Certificate::UnknownAuthority,
        },
        faults: faults.collect(),
        marks: marks.collect(),
    }
}

/// The proxy, where the scenario has one.
fn proxy(plan: &Plan, gateway: &str, bus: &Bus) -> Result<Option<Proxy>, Error> {
    let hosts = match plan.scenario.spec.registry.proxy {
        scenario::Proxy::None | scenario::Proxy::NoFile => return Ok(None),
        scenario::Proxy::Required => {
            [GATEWAY_ADDRESS, GATEWAY_NAME].map(|host| format!("{host}:{GATEWAY_PORT}")).into()
        }
        // It is there, and not for the registry.
        scenario::Proxy::Bypassed => vec![],
    };
    Ok(Some(Proxy::start(hosts, gateway, bus.clone()).map_err(Error::Proxy)?))
}

/// The abstract sockets of the servers.
#[derive(Clone, Copy, Default)]
pub(super) struct Sockets<'s> {
    gateway: &'s str,
    proxy: &'s str,
    config_server: &'s str,
    api: &'s str,
    lan: Option<&'s Arc<Socket>>,
}

/// How the instruments come into the node.
pub(super) fn instruments(node: &NodeImage) -> Instruments {
    node.facts.versions.get("systemd").map_or(Instruments::Credentials, |version| Instruments::for_systemd(version))
}

/// The node's machine.
pub(super) fn machine_spec(plan: &Plan, host: &Host<'_>, sockets: Sockets<'_>, begins: Begins, keeps: Keeps) -> Spec {
    let workshop = host.workshop;
    let (node, proxy) = (&plan.scenario.spec.node, plan.scenario.spec.registry.proxy);
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
    // Where the proxy is the only way, nothing is at the registry's own address.
    let direct = proxy != scenario::Proxy::Required;
    let forwards = [
        direct.then(|| forward(GATEWAY_ADDRESS, GATEWAY_PORT, sockets.gateway)),
        matches!(proxy, scenario::Proxy::Required | scenario::Proxy::Bypassed)
            .then(|| forward(PROXY_ADDRESS, PROXY_PORT, sockets.proxy)),
        Some(forward(CONFIG_SERVER_ADDRESS, CONFIG_SERVER_PORT, sockets.config_server)),
        plan.station.as_ref().map(|_| forward(API_ADDRESS, API_PORT, sockets.api)),
    ];
    let forwards = forwards.into_iter().flatten().collect();
    let delays = plan.scenario.spec.delays.iter().filter_map(|delay| {
        // A role that no MachineConfig has was refused when the trial was planned.
        let unit = resolve(Some(&plan.facts), &delay.unit).ok()?;
        let after = delay.after.as_ref().map(ToString::to_string);
        Some(Delay { unit, by: delay.by.duration(), after })
    });
    let delays: Vec<Delay> = delays.collect();
    let instruments = instruments(&plan.node);
    let config = (instruments == Instruments::Config).then(|| instruments_config(&delays));
    Spec {
        delays,
        name: plan.facts.trial.clone(),
        cpus: node.cpus,
        memory_mib: node.memory.as_mib(),
        architecture: plan.node.disk.architecture,
        accel: host.acceleration.accel,
        firmware: plan.firmware.clone(),
        image: plan.node.disk.path.clone(),
        begins,
        keeps,
        disks: node.disks.iter().map(disk).collect(),
        nics: plan
            .facts
            .nics
            .iter()
            .enumerate()
            .map(|(index, nic)| Nic {
                model: nic.model.clone(),
                mac: nic.mac.clone(),
                network: nic.network.clone(),
                lan: plan.station.as_ref().filter(|_| index == 0).map(|station| LanPort {
                    hostname: station.name.clone(),
                    address: station.address,
                    socket: sockets.lan.cloned(),
                }),
            })
            .collect(),
        forwards,
        boot_arguments: plan.boot_arguments.clone(),
        ignition: Some(pointer_config(&workshop.authority, &plan.pool, config.as_ref())),
        instruments,
        scratch: workshop.scratch.clone(),
    }
}
