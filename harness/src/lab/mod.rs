//! A trial end to end: assemble, drive the node through its boots, collect.

mod brought;
mod checkpoint;
mod disks;
mod drive;
mod hands;
mod happen;
mod images;
mod in_force;
mod layer;
mod on_disk;
mod origin;
mod other_config;
mod plan;
mod plan_error;
mod pool;
mod roles;
mod surroundings;
mod survey;
mod under_test;
mod visit;
mod worker;

pub use brought::Error as ImageError;
pub use checkpoint::Checkpoint;
pub use origin::{Failures, Origin, origin};
pub use other_config::OtherConfig;
pub use plan::{Draft, Image, Plan, Workshop, check_kernels, draft, fetched, plan, trial_name};
pub use plan_error::PlanError;
pub use pool::{MemberPlan, PoolConfig, PoolPlan, Stage};
pub use roles::Error as RolesError;
pub use surroundings::{Host, Surroundings};
pub use survey::survey;

use std::path::Path;
use std::sync::Arc;

use drive::Driver;
use hands::{Hands, RESET};
use happen::{Happenings, Watched};
use visit::Visit;

use crate::cache;
use crate::door;
use crate::machine::{self, Keeps, WaitError};
use crate::node;
use crate::scenario::Breakpoint;
use crate::services::{config_server, gateway, push, registry};
use crate::timeline::{Bus, Event, HandedOver, Timeline, What, Writer};

/// The hidden subcommand of `day1` that a guest's connection runs.
pub const CONNECT_SUBCOMMAND: &str = "connect";

pub use crate::timeline::files;

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
    /// The registry's container ended while the node needed it.
    #[error("the registry was lost in the middle of the trial: {why}")]
    RegistryEnded {
        /// What became of it.
        why: String,
    },
    /// The gateway failed.
    #[error(transparent)]
    Gateway(#[from] gateway::Error),
    /// The network of several nodes failed.
    #[error("cannot plug {node} into the trial's network: {source}")]
    Network {
        /// The node.
        node: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The control plane of several nodes failed.
    #[error("cannot listen on an abstract unix socket for the control plane: {0}")]
    ControlPlane(std::io::Error),
    /// The proxy failed.
    #[error("cannot listen on an abstract unix socket for the proxy: {0}")]
    Proxy(std::io::Error),
    /// The config server failed.
    #[error(transparent)]
    ConfigServer(#[from] config_server::Error),
    /// An image could not be pushed.
    #[error(transparent)]
    Push(#[from] push::Error),
    /// No machine could be paused where it asks for its config.
    #[error("cannot make a template of {image}: {source}{}; `--start cold` does without", last_words(last_line))]
    Template {
        /// The node image.
        image: String,
        /// Why.
        source: WaitError,
        /// What the console said last.
        last_line: String,
    },
    /// The same, for another trial of the run.
    #[error("{why} (seen with an earlier trial of this run)")]
    FailedBefore {
        /// What the earlier trial was told.
        why: String,
    },
    /// The first boot did not come to its reboot.
    #[error("no checkpoint: {why}")]
    NoCheckpoint {
        /// What happened instead.
        why: String,
    },
    /// No event loop.
    #[error("cannot start an event loop: {0}")]
    Loop(std::io::Error),
    /// A recorded checkpoint can't be read.
    #[error(transparent)]
    Recording(#[from] crate::timeline::ReadError),
    /// A program of the host failed.
    #[error(transparent)]
    Program(#[from] crate::process::Error),
    /// The node image did not tell what is in it.
    #[error("cannot find out what is in node image {image}: {why}{}", last_words(last_line))]
    Survey {
        /// The node image.
        image: String,
        /// Why.
        why: String,
        /// What the console said last.
        last_line: String,
    },
    /// The node image is not there any more.
    #[error(transparent)]
    Node(#[from] node::Error),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// A person ended the run.
    #[error("interrupted")]
    Interrupted,
}

fn last_words(line: &str) -> String {
    if line.is_empty() { "; the console stayed silent".into() } else { format!("; its console said last: {line}") }
}

/// Decides about a machine that still runs when its trial is over.
pub trait Keeper {
    /// Whether it is kept for a person, by what was seen.
    fn keeps(&self, timeline: &Timeline) -> bool;
    /// It is kept, and this is the trial's whole timeline.
    fn kept(&self, timeline: Timeline);
}

/// Runs a plan on a node of its own, from `origin`; what was seen is in `dir` and in the timeline that it gives
/// back, or that the keeper got of a machine which was kept. Then it returns when that machine has been let go.
///
/// Call it on a thread that lives until it returns: the machine dies with the thread. `watch` gets the bus
/// before anything happens; when `interrupted` ends, the trial does.
pub async fn run(
    plan: &Plan,
    origin: &Origin,
    host: &Host<'_>,
    dir: &Path,
    keeper: &impl Keeper,
    watch: impl FnOnce(&Bus),
    interrupted: impl Future<Output = ()>,
) -> Result<Option<Timeline>, Error> {
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
    let course = async {
        match &plan.members {
            Some(pool) => pool::run(plan, pool, origin, host, dir, &bus).await.map(|()| End::Ended),
            None => in_the_lab(plan, origin, host, dir, keeper, &bus).await,
        }
    };
    let outcome = tokio::select! {
        outcome = course => outcome,
        () = interrupted => Err(Error::Interrupted),
    };
    bus.finish().map_err(|source| Error::Write { path: timeline, source })?;
    Ok(match outcome? {
        End::Ended => Some(Timeline::from(bus.events())),
        End::LetGo => None,
    })
}

/// How a machine ended.
enum End {
    /// With its trial.
    Ended,
    /// After it was kept.
    LetGo,
}

async fn in_the_lab(
    plan: &Plan,
    origin: &Origin,
    host: &Host<'_>,
    dir: &Path,
    keeper: &impl Keeper,
    bus: &Bus,
) -> Result<End, Error> {
    let surroundings = Surroundings::new(plan, host, bus).await?;
    bus.push(What::Facts(plan.facts.clone()));
    let console = dir.join(files::CONSOLE);
    let first_boot = match origin {
        Origin::Pulled(checkpoint) => {
            checkpoint.replay(bus, &console)?;
            2
        }
        Origin::Cold | Origin::Template(_) | Origin::OfMembers(_) => 1,
    };
    let machine = surroundings.start(origin.begins(), Keeps::Nothing, Some(&console)).await?;
    let hands =
        Hands { machine: &machine, surroundings: &surroundings, bus, factor: host.acceleration.deadline_factor() };
    let visit = Visit::new(&hands, dir);
    let whole = async {
        let early = course(&hands, &visit, host.break_at, first_boot).await?;
        if early.is_some() || (machine.is_running() && keeper.keeps(&provisional(bus))) {
            let written = |source| Error::Write { path: dir.join(files::TIMELINE), source };
            keeper.kept(Timeline::from(hand_over(&hands, &visit, early).await.map_err(written)?));
            visit.hold().await;
            return Ok(End::LetGo);
        }
        Ok(End::Ended)
    };
    let outcome = tokio::select! {
        outcome = whole => outcome,
        never = visit.serve() => match never {},
    };
    drop(visit);
    machine.stop().await;
    surroundings.stop().await;
    outcome
}

/// A trial that ended before its time.
struct Early {
    why: String,
    node: door::Node,
}

/// The trial, from its machine's start to its end; tells why, where that came before its time.
async fn course(
    hands: &Hands<'_>,
    visit: &Visit<'_>,
    break_at: Option<&Breakpoint>,
    first_boot: u32,
) -> Result<Option<Early>, Error> {
    let plan = hands.surroundings.plan();
    let happenings = Happenings::new(hands);
    let spec = &plan.scenario.spec;
    let mut driver = Driver::new(hands, happenings.armed());
    // What happens goes on until the trial is over, and is given up then.
    let happen = async {
        happenings.follow(&spec.happens).await;
        std::future::pending::<()>().await;
    };
    let broken = async {
        match break_at {
            Some(event) => {
                Watched::new(&plan.facts, &event.when, event.boot).wait(&mut hands.bus.from_start()).await;
                event
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        // Of what comes at once, the stop: what it is to show may be gone a moment later.
        biased;
        event = broken => {
            hands.machine.pause().await?;
            let why = format!("the node was stopped in boot {} at {event}, as --break-at wants it", hands.bus.boot());
            Ok(Some(Early { why, node: door::Node::Stopped { at: event.to_string() } }))
        }
        why = visit.wanted() => Ok(Some(Early { why, node: door::Node::Kept })),
        () = driver.follow(spec, first_boot) => Ok(None),
        () = happen => Ok(None),
        // What the node made of that is no fault of its own.
        why = hands.surroundings.registry_ended() => Err(Error::RegistryEnded { why }),
    }
}

/// What was seen so far, as it would be if the machine were kept now.
fn provisional(bus: &Bus) -> Timeline {
    let mut events = bus.events();
    let next = Event {
        seq: events.len() as u64,
        at_us: events.last().map_or(0, |event| event.at_us),
        boot: bus.boot(),
        node: None,
        recorded: false,
        what: What::HandedOver(HandedOver::default()),
    };
    events.push(Arc::new(next));
    Timeline::from(events)
}

/// Ends the recording of a machine that runs on.
async fn hand_over(hands: &Hands<'_>, visit: &Visit<'_>, early: Option<Early>) -> std::io::Result<Vec<Arc<Event>>> {
    if early.is_none() {
        // What is on its way has its event then; what takes longer has none.
        let _ = tokio::time::timeout(hands.stretched(RESET), hands.surroundings.registry_is_idle()).await;
    }
    let (why, node) = early.map_or((None, door::Node::Kept), |early| (Some(early.why), early.node));
    let events = hands.bus.hand_over(HandedOver { early: why })?;
    visit.is_now(node);
    Ok(events)
}
