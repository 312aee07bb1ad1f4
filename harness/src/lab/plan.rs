//! From a scenario to a plan: everything resolved and verified before any machine starts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::disks;
use super::images;
use super::in_force::InForce;
use super::layer;
use super::on_disk;
use super::origin::Failures;
use super::plan_error::PlanError;
use super::pool::{self, PoolDraft, PoolPlan};
use super::surroundings;
use super::under_test::{self, UnderTest};
use super::worker::WorkerImage;
use crate::cache::{Cache, Fetched};
use crate::kmod;
use crate::machine::{Firmware, Instruments};
use crate::mco::{self, NodeChange, NodeConfig, Pool, Prerequisites, Rendered};
use crate::network::Station;
use crate::node::{Kernel, NodeImage};
use crate::scenario::{self, Action, Scenario, Start, WORKER};
use crate::services::certs::Authority;
use crate::services::registry;
use crate::services::{GATEWAY_ADDRESS, GATEWAY_NAME, PROXY_ADDRESS, PROXY_PORT};
use crate::timeline::{Facts, FileFact, NicFact};
use crate::toolkit::{DriverToolkit, Toolkits};

/// What all trials of a run share.
pub struct Workshop {
    /// The cache.
    pub cache: Cache,
    /// Certificates and pull credentials.
    pub authority: Authority,
    /// Directory with the node images' definitions and, below `kmods`, the modules' sources.
    pub vm_images: PathBuf,
    /// The `day1` program.
    pub day1: PathBuf,
    /// The run's temporary directory.
    pub scratch: PathBuf,
    /// Where each trial's registry comes from.
    pub registry: registry::Source,
    /// What modules for kernels that are not Debian's are built with.
    pub toolkits: Toolkits,
    /// What could not be made in this run.
    pub failures: Failures,
}

/// A trial with everything resolved.
pub struct Plan {
    /// What is to happen and to be true.
    pub scenario: Arc<Scenario>,
    /// Where the node begins.
    pub start: Start,
    /// What the node boots.
    pub node: NodeImage,
    /// The pool that the node is in.
    pub pool: String,
    /// What the pool's MachineConfigs become.
    pub rendered: Rendered,
    /// How the running node gets to the next config, in the order of the scenario.
    pub changes: Vec<NodeChange>,
    /// What its machine runs before the boot loader.
    pub firmware: Firmware,
    /// What the boot loader adds to the kernel's arguments, and which kernel it boots.
    pub boot_arguments: Vec<String>,
    /// What the registry holds.
    pub images: Vec<Image>,
    /// What the timeline begins with.
    pub facts: Facts,
    /// Its place in a network with other nodes, where it is one of several.
    pub station: Option<Station>,
    /// Its nodes, where it has several.
    pub members: Option<PoolPlan>,
}

/// An image for the registry.
#[derive(Debug, Clone)]
pub struct Image {
    /// Its OCI layout, in the cache.
    pub layout: PathBuf,
    /// Where it stands.
    pub repository: String,
    /// Its tags.
    pub tags: Vec<String>,
    /// The size of all that is pulled of it.
    pub bytes: u64,
}

/// A scenario whose input is known to be good, before anything is made for it.
pub struct Draft {
    /// What is to happen and to be true.
    pub scenario: Arc<Scenario>,
    pub(super) start: Start,
    pub(super) pool: String,
    pub(super) rendered: Rendered,
    pub(super) units: BTreeMap<String, String>,
    pub(super) files: Vec<FileFact>,
    pub(super) configs: Vec<NodeConfig>,
    pub(super) changes: Vec<NodeChange>,
    pub(super) workers: Vec<WorkerImage>,
    /// The kernel that the run chose.
    pub(super) kernel: Option<String>,
    /// Its nodes, where it has several.
    pub(super) members: Option<PoolDraft>,
}

impl Draft {
    /// Lets the node boot another kernel than the scenario would; refused where the node image does not have it.
    pub fn choose_kernel(&mut self, node: &NodeImage, release: &str) -> Result<(), PlanError> {
        let kernels = &node.facts.kernels;
        let index = kernels.iter().position(|kernel| kernel.release == release);
        let index = index.ok_or_else(|| PlanError::NoSuchKernel {
            kernel: release.to_owned(),
            node: node.name().to_owned(),
            known: kernels.iter().map(|kernel| kernel.release.as_str()).collect::<Vec<_>>().join(", "),
        })?;
        Arc::make_mut(&mut self.scenario).spec.node.kernel = index + 1;
        self.kernel = Some(release.to_owned());
        Ok(())
    }
}

/// Refuses a scenario whose MachineConfigs can't be used. `start` takes the place of the scenario's own where the
/// scenario can begin there.
pub fn draft(scenario: &Arc<Scenario>, start: Option<Start>, authority: &Authority) -> Result<Draft, PlanError> {
    if !scenario.spec.nodes.is_empty() {
        return draft_of_several(scenario, start, authority);
    }
    let configs = under_test::all(scenario)?;
    let pool = pool_of(scenario, &configs)?;
    let Rollout { rendered, configs: node_configs, changes } = rollout(scenario, &pool, &configs, authority)?;
    Ok(Draft {
        scenario: Arc::clone(scenario),
        start: start_of(scenario, start),
        rendered,
        configs: node_configs,
        changes,
        pool,
        units: under_test::units(&configs),
        workers: configs.iter().filter_map(|one| one.worker.clone()).collect(),
        kernel: None,
        files: configs.into_iter().flat_map(|one| one.files).collect(),
        members: None,
    })
}

/// The same of a scenario with several nodes. What it says of itself is the first one's.
fn draft_of_several(scenario: &Arc<Scenario>, start: Option<Start>, authority: &Authority) -> Result<Draft, PlanError> {
    let (members, configs) = pool::draft(scenario, start, authority)?;
    let first = members.members.first().map(|member| &member.draft);
    Ok(Draft {
        scenario: Arc::clone(scenario),
        start: first.map_or(Start::Cold, |draft| draft.start),
        pool: first.map(|draft| draft.pool.clone()).unwrap_or_default(),
        rendered: first
            .map(|draft| draft.rendered.clone())
            .ok_or_else(|| PlanError::Pools { place: place(scenario, &["nodes"]), pools: vec![] })?,
        configs: vec![],
        changes: vec![],
        units: under_test::units(&configs),
        workers: configs.iter().filter_map(|one| one.worker.clone()).collect(),
        kernel: None,
        files: configs.into_iter().flat_map(|one| one.files).collect(),
        members: Some(members),
    })
}

/// Refuses a draft that is about kernels which the node image does not have.
pub fn check_kernels(draft: &Draft, node: &NodeImage) -> Result<(), PlanError> {
    let (spec, key) = (&draft.scenario.spec, |key: &str| scenario::Path::default().key(key));
    let boots = spec.boots.iter().enumerate().map(|(index, boot)| (key("boots").index(index), boot));
    let mut named = vec![(node_kernel(), spec.node.kernel)];
    for (place, expect) in spec.expectations() {
        let place = place.key("kernel.running");
        named.extend(expect.kernel_running.iter().map(|running| (place.clone(), running.kernel)));
    }
    let happens = spec.happens.iter().enumerate();
    let actions = happens.map(|(index, one)| (key("happens").index(index).key("do"), &one.actions));
    for (place, actions) in actions.chain(boots.map(|(place, boot)| (place.key("then"), &boot.then))) {
        named.extend(actions.iter().filter_map(|action| match action {
            Action::BootKernel(number) => Some((place.clone(), *number)),
            _ => None,
        }));
    }
    let images = spec.registry.images.iter().enumerate();
    named.extend(images.filter_map(|(index, image)| Some((image_kernel(index), image.kernel?))));
    named.iter().try_for_each(|(place, number)| kernel(&draft.scenario, node, place, *number).map(|_| ()))
}

/// Where a scenario says which kernel the node boots first.
pub(super) fn node_kernel() -> scenario::Path {
    scenario::Path::default().key("node").key("kernel")
}

/// Where an image says for which kernel it is.
pub(super) fn image_kernel(index: usize) -> scenario::Path {
    scenario::Path::default().key("registry").key("images").index(index).key("kernel")
}

/// Resolves a draft on a node image. Modules that are not in the cache yet are built; `tell` hears of it.
pub fn plan(draft: &Draft, node: &NodeImage, workshop: &Workshop, tell: &dyn Fn(&str)) -> Result<Plan, PlanError> {
    let scenario = &draft.scenario;
    let boot_arguments = boot_arguments(scenario, node)?;
    let firmware = firmware(scenario, node, workshop)?;
    let (layered, layer) = layer::layered(scenario, node, workshop, tell)?;
    let images = images::all(scenario, &draft.workers, node, workshop, tell)?;
    let mut facts = Facts {
        trial: trial_name(scenario, node.name(), draft.kernel.as_deref()),
        scenario_sha256: scenario.document.sha256(),
        says_when_it_has_looked: true,
        instruments_in_config: surroundings::instruments(node) == Instruments::Config,
        node_image: node.name().to_owned(),
        kernel: draft.kernel.clone(),
        kernels: node.facts.kernels.iter().map(|kernel| kernel.release.clone()).collect(),
        rendered_sha256: draft.rendered.sha256.clone(),
        units: draft.units.clone(),
        files: draft.files.clone(),
        configs: draft.configs.iter().map(on_disk::fact).collect(),
        images: images.iter().map(|(_, fact)| fact.clone()).collect(),
        registry: workshop.registry.to_string(),
        nics: nics(scenario),
        pool: None,
        layer,
    };
    let images: Vec<Image> = images.into_iter().map(|(image, _)| image).collect();
    let of = |draft: &Draft, facts| Plan {
        scenario: Arc::clone(&draft.scenario),
        start: draft.start,
        node: layered.clone(),
        pool: draft.pool.clone(),
        rendered: draft.rendered.clone(),
        changes: draft.changes.clone(),
        firmware: firmware.clone(),
        boot_arguments: boot_arguments.clone(),
        images: images.clone(),
        facts,
        station: None,
        members: None,
    };
    let members = draft.members.as_ref().map(|members| pool::plan(members, scenario, &mut facts, of));
    Ok(Plan { members, ..of(draft, facts) })
}

/// What a plan of a draft on a node image takes from elsewhere, besides the node image.
pub fn fetched(
    draft: &Draft,
    node: &NodeImage,
    cache: &Cache,
    toolkit: Option<&DriverToolkit>,
) -> Result<Vec<Fetched>, PlanError> {
    images::fetched(&draft.scenario, &draft.workers, node, cache, toolkit)
}

/// The trial's name: the scenario's, the node image's, and the kernel's where the run chose one.
pub fn trial_name(scenario: &Scenario, node: &str, kernel: Option<&str>) -> String {
    let kernel = kernel.map(|kernel| format!(",{kernel}")).unwrap_or_default();
    format!("{}{kernel}", scenario.trial_name(node))
}

/// With the keys that the machine's owner has enrolled.
fn firmware(scenario: &Scenario, image: &NodeImage, workshop: &Workshop) -> Result<Firmware, PlanError> {
    let node = &scenario.spec.node;
    if !node.secure_boot {
        return Ok(Firmware::plain(image.disk.architecture)?);
    }
    let certificate = |name: &scenario::Id| -> Result<Vec<u8>, PlanError> {
        Ok(kmod::ModuleKey::ensure(&workshop.cache, name.as_str())?.certificate().to_vec())
    };
    let mut keys = node.enrolled_keys.iter().map(certificate).collect::<Result<Vec<_>, _>>()?;
    let beside = scenario.document.path.parent().unwrap_or(std::path::Path::new(""));
    for file in &node.enrolled_certificates {
        let key = kmod::TrustedKey::read(&beside.join(file)).map_err(|source| PlanError::Certificate {
            place: place(scenario, &["node", "enrolled-certificates"]),
            source,
        })?;
        keys.push(key.der().to_vec());
    }
    Ok(Firmware::uefi(image.disk.architecture.name(), true)?.with_owner_keys(keys))
}

pub(super) fn start_of(scenario: &Scenario, wanted: Option<Start>) -> Start {
    match wanted.unwrap_or(scenario.spec.start) {
        // What was enrolled in a machine's firmware is not part of a template.
        _ if scenario.spec.node.secure_boot => Start::Cold,
        Start::Pulled if !scenario.spec.has_first_boot_to_skip() => Start::Template,
        start => start,
    }
}

/// Where the scenario says what stands at these keys.
pub(super) fn place(scenario: &Scenario, keys: &[&str]) -> String {
    scenario.document.place(&keys.iter().fold(scenario::Path::default(), |path, key| path.key(key)))
}

fn pool_of(scenario: &Scenario, configs: &[UnderTest]) -> Result<String, PlanError> {
    let mut pools: Vec<String> = configs.iter().map(|one| one.config.role.clone()).collect();
    pools.sort();
    pools.dedup();
    // A custom pool has the workers' MachineConfigs too.
    let custom: Vec<&String> = pools.iter().filter(|pool| *pool != "worker").collect();
    match custom.as_slice() {
        [] => Ok("worker".into()),
        [pool] if *pool != "master" || pools.len() == 1 => Ok((*pool).clone()),
        _ => Err(PlanError::Pools { place: place(scenario, &["machine-configs"]), pools }),
    }
}

/// The configs that the node has one after the other.
struct Rollout {
    rendered: Rendered,
    configs: Vec<NodeConfig>,
    changes: Vec<NodeChange>,
}

/// Renders the first boot's config, and each that the scenario changes the running node to.
fn rollout(
    scenario: &Scenario,
    pool: &str,
    configs: &[UnderTest],
    authority: &Authority,
) -> Result<Rollout, PlanError> {
    let refuse = |source| PlanError::Change { place: place(scenario, &["boots"]), source };
    let of = |in_force: &[&UnderTest]| {
        let rendered = render(scenario, &Pool::new(pool), in_force, configs, authority)?;
        let node_config = NodeConfig::of(&rendered).map_err(refuse)?;
        Ok::<_, PlanError>((rendered, node_config))
    };
    let mut in_force = InForce::first(configs);
    let (rendered, first) = of(in_force.now())?;
    let (mut node_configs, mut changes) = (vec![first], vec![]);
    let then = scenario.spec.boots.iter().enumerate();
    for (index, action) in then.flat_map(|(index, boot)| boot.then.iter().map(move |action| (index, action))) {
        let (wanted, is_known) = match action {
            Action::Apply(wanted) => (wanted, in_force.apply(&wanted.machine_config)),
            Action::Withdraw(wanted) => (wanted, in_force.remove(&wanted.machine_config)),
            _ => continue,
        };
        let place = || scenario.document.place(&scenario::Path::default().key("boots").index(index).key("then"));
        if !is_known {
            return Err(PlanError::NoConfig { place: place(), name: wanted.machine_config.clone() });
        }
        let (_, next) = of(in_force.now())?;
        let change = node_configs.last().map(|before| before.change_to(&next, &scenario.spec.node_disruption_policy));
        let change = change.transpose().map_err(refuse)?;
        if let Some(change) = change.as_ref().filter(|change| change.reboots() != wanted.reboots) {
            return Err(PlanError::Reboots { place: place(), why: change.disruption.reboot.clone() });
        }
        changes.extend(change);
        node_configs.push(next);
    }
    Ok(Rollout { rendered, configs: node_configs, changes })
}

/// Renders the MachineConfigs in force; the node's base knows the repositories of all.
pub(super) fn render(
    scenario: &Scenario,
    pool: &Pool,
    in_force: &[&UnderTest],
    configs: &[UnderTest],
    authority: &Authority,
) -> Result<Rendered, PlanError> {
    let refuse = |source| PlanError::Mco { place: place(scenario, &["node"]), source: Box::new(source) };
    let node = &scenario.spec.node;
    let mut repositories: Vec<String> =
        scenario.spec.registry.images.iter().map(|image| image.repository.to_string()).collect();
    repositories.extend(configs.iter().flat_map(|one| {
        one.repository.clone().into_iter().chain(one.worker.iter().map(|worker| worker.repository.clone()))
    }));
    repositories.sort();
    repositories.dedup();
    let (mut files, mut units) = if scenario.spec.nodes.is_empty() { Default::default() } else { pool::base() };
    let own = node.files.iter().map(|file| mco::File {
        path: file.path.to_string(),
        mode: file.mode.bits(),
        contents: file.contents.clone().into_bytes(),
    });
    files.extend(own);
    let own = node.units.iter().map(|unit| mco::Unit {
        name: unit.name.to_string(),
        contents: unit.contents.clone(),
        enabled: Some(unit.enabled),
        mask: unit.masked,
        dropins: unit.dropins.clone().into_iter().collect(),
    });
    units.extend(own);
    let registry = if scenario.spec.registry.by_name { GATEWAY_NAME } else { GATEWAY_ADDRESS };
    // Of a custom pool the workers' MachineConfigs come first, so that the base does.
    let base = if pool.name() == MASTER { MASTER } else { WORKER };
    let prerequisites = Prerequisites {
        role: base,
        registry,
        ca_pem: authority.ca_pem(),
        pull_secret: match scenario.spec.registry.pull_secret {
            scenario::PullSecret::Good => mco::PullSecret::Auth(authority.credentials().basic()),
            scenario::PullSecret::Wrong => mco::PullSecret::Auth(authority.wrong_credentials().basic()),
            scenario::PullSecret::Missing => mco::PullSecret::OfOthers,
            scenario::PullSecret::NoFile => mco::PullSecret::NoFile,
        },
        proxy: match scenario.spec.registry.proxy {
            scenario::Proxy::None => mco::ProxyEnv::None,
            scenario::Proxy::Required => {
                mco::ProxyEnv::Url { url: proxy_url(), no_proxy: ".cluster.local,.svc".into() }
            }
            scenario::Proxy::Bypassed => mco::ProxyEnv::Url { url: proxy_url(), no_proxy: registry.into() },
            scenario::Proxy::NoFile => mco::ProxyEnv::NoFile,
        },
        repositories: &repositories,
        files: &files,
        units: &units,
    };
    let mut all = vec![prerequisites.machine_config().map_err(refuse)?];
    all.extend(disks::machine_config(base, &node.disks).map_err(refuse)?);
    all.extend(in_force.iter().map(|one| one.config.clone()));
    mco::render(pool, &all).map_err(refuse)
}

const MASTER: &str = "master";

fn proxy_url() -> String {
    format!("http://{PROXY_ADDRESS}:{PROXY_PORT}")
}

/// Fixed addresses, so that a rendered config may name them.
pub(super) fn nics(scenario: &Scenario) -> Vec<NicFact> {
    let nics = scenario.spec.node.nics.iter().enumerate();
    nics.map(|(index, nic)| NicFact {
        id: nic.id.to_string(),
        model: nic.model.as_str().to_owned(),
        mac: format!("52:54:00:d1:00:{:02x}", index + 1),
        network: nic.network.as_ref().map(ToString::to_string),
    })
    .collect()
}

/// As the stand-in's boot loader reads it from the machine's firmware. The image's own choice is not repeated.
fn boot_arguments(scenario: &Scenario, node: &NodeImage) -> Result<Vec<String>, PlanError> {
    let shape = &scenario.spec.node;
    let kernel = kernel(scenario, node, &node_kernel(), shape.kernel)?;
    let chosen = (shape.kernel != 1).then(|| format!("day1-kernel={}", kernel.release));
    let arguments: Vec<String> =
        chosen.into_iter().chain(shape.kernel_arguments.iter().map(ToString::to_string)).collect();
    if !arguments.is_empty() && !node.facts.takes_boot_arguments {
        let place = scenario.document.place(&scenario::Path::default().key("node"));
        return Err(PlanError::NoBootArguments { place, node: node.name().to_owned() });
    }
    Ok(arguments)
}

/// One of the node image's kernels, counted from 1, which the scenario names at this place.
pub(super) fn kernel<'n>(
    scenario: &Scenario,
    node: &'n NodeImage,
    place: &scenario::Path,
    number: usize,
) -> Result<&'n Kernel, PlanError> {
    number.checked_sub(1).and_then(|index| node.facts.kernels.get(index)).ok_or_else(|| PlanError::NoKernel {
        place: scenario.document.place(place),
        kernel: number,
        node: node.name().to_owned(),
        known: node.facts.kernels.iter().map(|one| one.release.as_str()).collect::<Vec<_>>().join(", "),
    })
}
