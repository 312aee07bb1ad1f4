//! `day1 bench`: what a trial costs against the plain boots that it contains, measured side by side in one run.

mod floor;
mod memory;
mod report;
mod trials;

pub use floor::PlainBoots;
pub use memory::Forks;
pub use report::{Goal, HostFacts, Report, Target, median};
pub use trials::{Suite, TrialTime};

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::lab::{self, Failures, Workshop};
use crate::machine::{self, Acceleration};
use crate::node::{self, Catalogue, NodeImage};
use crate::process;
use crate::runner::{self, Scratch};
use crate::scenario::Start;
use crate::services::certs::Authority;
use crate::services::registry::Source;
use crate::toolkit::Toolkits;

/// The trial that is measured.
const TRIAL: &str = "pull/pull-then-reboot";

/// How many forks run side by side where their memory is measured.
const FORKS: [usize; 3] = [1, 2, 4];

/// What to measure, on what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The `day1` program.
    pub day1: PathBuf,
    /// Directory with the scenarios.
    pub scenarios: PathBuf,
    /// Directory with the node images' definitions.
    pub vm_images: PathBuf,
    /// The node image.
    pub node: String,
    /// The cache, if not at its usual place.
    pub cache: Option<PathBuf>,
    /// How often the plain boots and the trial are measured; their median counts.
    pub rounds: usize,
    /// Numbers of jobs that the whole suite is run with, beside one and as many as fit.
    pub jobs: Vec<usize>,
    /// What to measure.
    pub parts: Vec<Part>,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// A plain first boot and a plain second boot.
    Floor,
    /// The trial from each start.
    Trials,
    /// The memory of forks.
    Memory,
    /// The whole suite with one job and with more.
    Suite,
}

impl Part {
    /// All of them, in the order in which they are measured.
    pub const ALL: [Self; 4] = [Self::Floor, Self::Trials, Self::Memory, Self::Suite];

    fn as_str(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Trials => "trials",
            Self::Memory => "memory",
            Self::Suite => "suite",
        }
    }
}

impl std::str::FromStr for Part {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|part| part.as_str() == text);
        found.ok_or_else(|| format!("`{text}` is no part; the parts are floor, trials, memory, suite"))
    }
}

/// What the parts measure on.
struct Bench<'o> {
    options: &'o Options,
    workshop: Arc<Workshop>,
    node: NodeImage,
    acceleration: Acceleration,
}

fn tell(step: &str) {
    eprintln!("· {step}");
}

struct Steps;

impl node::Progress for Steps {
    fn step(&self, text: &str) {
        tell(text);
    }
}

/// Milliseconds that `day1 --help` takes, the median of ten.
fn help_ms(day1: &Path) -> Result<Option<f64>> {
    let once = || -> Result<f64> {
        let began = Instant::now();
        process::output(Command::new(day1).arg("--help"))?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    };
    Ok(report::median((0..10).map(|_| once()).collect::<Result<Vec<_>>>()?))
}

/// Measures. What runs is told on standard error.
pub fn run(options: &Options) -> Result<Report> {
    if options.rounds == 0 {
        bail!("no rounds, nothing to measure");
    }
    let wants = |part| options.parts.contains(&part);
    let cache = Cache::open(options.cache.as_deref())?;
    let catalogue = Catalogue::open(&options.vm_images, &cache)?;
    let definition = catalogue.get(&options.node)?;
    let architecture = definition.source.architecture();
    let qemu = machine::qemu_version(architecture)?;
    if let Some(why) = machine::why_no_fork(architecture, &qemu).filter(|_| wants(Part::Trials) || wants(Part::Memory))
    {
        bail!("trials and memory are measured with templates, and {why}: measure `--only floor,suite`");
    }
    let others = runner::machines_running(&cache)?;
    if others > 0 {
        bail!(
            "{others} machines of other runs are running on this host, and numbers beside them mean nothing: wait for their end"
        );
    }
    let disk = node::ensure(&cache, definition, &Steps)?;
    let scratch = Scratch::new(&options.day1).context("cannot make a temporary directory")?;
    let acceleration =
        machine::choose_acceleration(&cache, architecture, &disk.path, &disk.digest, scratch.dir(), &tell)?;
    let node = lab::survey(&cache, &disk, &acceleration, scratch.dir(), &tell)?;
    let workshop = Arc::new(Workshop {
        authority: Authority::open(&cache)?,
        vm_images: options.vm_images.clone(),
        day1: options.day1.clone(),
        scratch: scratch.dir().to_owned(),
        registry: Source::Embedded,
        toolkits: Toolkits::new(None, &options.day1),
        failures: Failures::default(),
        cache,
    });
    let help_ms = help_ms(&options.day1)?;
    let bench = Bench { options, workshop, node, acceleration };
    let mut report = Report::new(HostFacts::here(bench.node.name(), qemu, &bench.acceleration)?);
    report.help_ms = help_ms;
    if wants(Part::Trials) {
        // What is made once is not the trial's own time.
        for start in [Start::Template, Start::Pulled] {
            tell(&format!("making what a start from `{start}` needs"));
            bench.trial(start)?;
        }
    }
    // Side by side, so that what else this host does hits all of them.
    for round in 1..=options.rounds {
        if wants(Part::Floor) {
            tell(&format!("round {round} of {}: plain boots", options.rounds));
            report.floor.push(bench.plain_boots()?);
        }
        if wants(Part::Trials) {
            for start in [Start::Cold, Start::Template, Start::Pulled] {
                tell(&format!("round {round} of {}: {TRIAL} from `{start}`", options.rounds));
                let trial = bench.trial(start)?;
                if let Some(first) = report.trials.first() {
                    first.same_findings(&trial)?;
                }
                report.trials.push(trial);
            }
        }
    }
    if wants(Part::Memory) {
        for count in FORKS {
            tell(&format!("memory of {count} forks side by side"));
            report.memory.push(bench.forks(count)?);
        }
    }
    if wants(Part::Suite) {
        let jobs = [Some(1), None].into_iter().chain(options.jobs.iter().copied().map(Some));
        for jobs in jobs {
            tell(&format!(
                "the whole suite with {}",
                jobs.map_or_else(|| "as many jobs as fit".into(), |n| format!("{n} jobs"))
            ));
            report.suite.push(bench.suite(jobs)?);
        }
    }
    Ok(report)
}
