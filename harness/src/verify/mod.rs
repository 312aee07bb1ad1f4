//! A verdict on a vendor's driver: what can be told by reading its image and its MachineConfig, then the vendor family of
//! scenarios in machines, then a report to hand on.
//!
//! Nothing of what the vendor ships is changed: the image is copied byte for byte into the trials' registry, and the
//! MachineConfig boots as it is.

mod directory;
mod family;
mod report;

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub use directory::files;
pub use family::{Card, FAMILY, MachineConfig, Member, Subject};
pub use report::{Claim, ConfigFacts, NodeVerdict, Overall, VERIFICATION_VERSION, Verification, describe};

use self::directory::{trusted_key, write};
use crate::inspect::{self, Inspection, KernelChoice, Limits};
use crate::kmod::TrustedKey;
use crate::lab::OtherConfig;
use crate::lint;
use crate::mco;
use crate::process;
use crate::report::{RunResults, TrialResult};
use crate::runner;
use crate::text::{number, printable};

/// What to verify, and on what.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image; a path in it is absolute.
    pub image: inspect::Source,
    /// The module, with underscores.
    pub module: String,
    /// The in-tree modules that are removed, in their order; none given is the module's own name.
    pub in_tree: Option<Vec<String>>,
    /// The directory of the firmware in the image.
    pub firmware: Option<String>,
    /// The MachineConfig; the generator makes one where none is given.
    pub machine_config: Option<PathBuf>,
    /// Certificates that the nodes trust for modules.
    pub trusted_keys: Vec<TrustedKey>,
    /// Node images, kernels, and how to run; its scenarios and filters do not count.
    pub run: runner::Options,
    /// Where the run's own words go; none for this program's standard output.
    pub quiet: bool,
}

/// Why nothing was verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image or a kernel can't be read.
    #[error(transparent)]
    Inspect(#[from] inspect::Error),
    /// The MachineConfig can't be read.
    #[error("cannot read the MachineConfig {}: {source}", path.display())]
    MachineConfig {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was given is no MachineConfig, or more than one.
    #[error("no machine is started: {problem}")]
    NoMachineConfig {
        /// What is wrong, and where.
        problem: String,
    },
    /// The results would lie among somebody's files.
    #[error(
        "no machine is started: {} was not written by this version of `day1 verify`, and all scenarios beside it would be run: name another directory with --results, or remove it",
        .0.display()
    )]
    Occupied(PathBuf),
    /// The generator refuses the parameters.
    #[error(transparent)]
    Generate(#[from] day1_generator::Error),
    /// A node image or kernel can't be had.
    #[error(transparent)]
    Images(#[from] runner::ImagesError),
    /// The trials could not be started.
    #[error(transparent)]
    Run(#[from] process::Error),
    /// The trials were refused, and `day1 run` has said why.
    #[error("the trials could not run (exit code {code}); what was said above tells why")]
    Refused {
        /// The exit code of `day1 run`.
        code: i32,
    },
    /// A file can't be written or read.
    #[error("cannot use {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Error {
    /// 2 for bad input, 3 for the harness's own side.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Inspect(error) if error.is_ours() => 3,
            Self::Inspect(_)
            | Self::MachineConfig { .. }
            | Self::NoMachineConfig { .. }
            | Self::Occupied(_)
            | Self::Generate(_) => 2,
            Self::Images(error) => error.exit_code(),
            Self::Refused { code } => u8::try_from(*code).unwrap_or(3),
            Self::File { source, .. }
                if matches!(source.kind(), ErrorKind::AlreadyExists | ErrorKind::NotADirectory) =>
            {
                2
            }
            Self::Run(_) | Self::File { .. } => 3,
        }
    }
}

/// A kernel of a node image, and what the image is for it.
struct Target {
    node: String,
    node_release: Option<String>,
    kernel: String,
    /// Counted from 1 among the node image's.
    number: usize,
    inspection: Inspection,
}

/// Verifies; what is seen stands in the directory of the run's results. Blocks for minutes. `tell` hears of its steps.
pub fn verify(request: &Request, tell: &dyn Fn(&str)) -> Result<Verification, Error> {
    let started = time::OffsetDateTime::now_utc().truncate_to_second();
    let started = started.format(&time::format_description::well_known::Rfc3339).unwrap_or_default();
    let dir = &request.run.results;
    fs::create_dir_all(dir).map_err(file(dir))?;
    let config = Config::of(request)?;
    let lint = config.lint();
    config.is_one(&lint)?;
    let targets = targets(request, tell)?;
    let aliases: Vec<String> = targets.iter().flat_map(|target| aliases(&target.inspection, &request.module)).collect();
    let subject = subject(request, &config, &targets, Card::of(&aliases));
    let family = subject.family();
    write(dir, &config.text, &request.trusted_keys, &family)?;
    let good: Vec<&Target> = targets.iter().filter(|target| target.inspection.is_good()).collect();
    let mut left_out = BTreeMap::new();
    let results = if good.is_empty() {
        tell("no machine is started: what was found by reading the image is enough for a verdict");
        BTreeMap::new()
    } else {
        tell(&format!("{} on {}", number(family.len(), "scenario"), number(good.len(), "kernel")));
        match run(request, &good) {
            // What no node takes is what was found by reading it.
            Err(Error::Refused { code: 2 }) if lint.has_errors() => {
                left_out.insert("machines", "anything in a machine: the MachineConfig was refused".to_owned());
                BTreeMap::new()
            }
            results => results?,
        }
    };
    if subject.upgrade.is_none() {
        left_out.insert(
            "upgrade",
            "an upgrade of the kernel: it takes two kernels of one node image (--kernel twice)".to_owned(),
        );
    }
    if request.machine_config.is_some() && !subject.signed {
        left_out.insert("signed", "a kernel that loads signed modules only".to_owned());
    }
    if subject.signed && subject.trusted_keys.is_empty() {
        left_out.insert(
            "secure-boot",
            "a node with Secure Boot: it takes the certificate that the nodes are to trust (--trusted-key)".to_owned(),
        );
    }
    let with_kernel = !request.run.kernels.is_empty();
    let nodes: Vec<NodeVerdict> =
        targets.into_iter().map(|target| target.verdict(&family, &results, with_kernel)).collect();
    let mut verification = Verification {
        version: VERIFICATION_VERSION,
        day1: env!("CARGO_PKG_VERSION").to_owned(),
        started,
        verdict: Overall::Unclear,
        image: request.image.to_string(),
        module: request.module.clone(),
        in_tree: subject.in_tree.clone(),
        machine_config: config.facts,
        not_tested: report::not_tested(&nodes, subject.card.is_some(), &left_out),
        lint,
        nodes,
    };
    verification.judge();
    let json = serde_json::to_vec_pretty(&verification).map_err(std::io::Error::from);
    for (name, bytes) in [(files::REPORT, Ok(describe(&verification).into_bytes())), (files::REPORT_JSON, json)] {
        let path = dir.join(name);
        bytes.and_then(|bytes| fs::write(&path, bytes)).map_err(file(&path))?;
    }
    Ok(verification)
}

fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |source| Error::File { path, source }
}

/// The MachineConfig under test.
struct Config {
    text: String,
    facts: ConfigFacts,
    other: Option<OtherConfig>,
}

impl Config {
    fn of(request: &Request) -> Result<Self, Error> {
        let (text, other) = match &request.machine_config {
            Some(path) => {
                let failed = |source| Error::MachineConfig { path: path.clone(), source };
                let other = OtherConfig::read(path).map_err(failed)?;
                (other.text().to_owned(), Some(other))
            }
            None => {
                let parameters = parameters(request, &repository(request, None));
                let config: day1_generator::Day1Config = serde_json::from_value(parameters)
                    .map_err(|error| Error::File { path: "the generator's parameters".into(), source: error.into() })?;
                (config.to_machine_config()?, None)
            }
        };
        let facts = ConfigFacts {
            file: request.machine_config.as_ref().map(|path| path.display().to_string()),
            sha256: hex::encode(Sha256::digest(&text)),
        };
        Ok(Self { text, facts, other })
    }

    fn lint(&self) -> lint::Report {
        let name = self.facts.file.as_deref().unwrap_or(files::MACHINE_CONFIG);
        lint::lint(&[lint::Source { name: name.to_owned(), text: self.text.clone() }])
    }

    /// Refuses what no scenario can take for its MachineConfig; what is wrong within one is a part of the verdict.
    fn is_one(&self, lint: &lint::Report) -> Result<(), Error> {
        let told = |finding: &lint::Finding| {
            let place = &finding.place;
            format!("{}:{}:{}: {}", place.file, place.line, place.column, printable(&finding.message))
        };
        let shape = lint.findings.iter().filter(|finding| SHAPE.contains(&finding.rule.as_str())).map(told);
        let shape: Vec<String> = shape.collect();
        let name = self.facts.file.as_deref().unwrap_or(files::MACHINE_CONFIG);
        let problem = match mco::MachineConfig::parse(&self.text, name) {
            _ if !shape.is_empty() => shape.join("; "),
            Err(error) if !lint.has_errors() => printable(&error.to_string()),
            Ok(configs) if configs.len() != 1 => {
                format!("{name} has {}, and one is put under test", number(configs.len(), "MachineConfig"))
            }
            _ => return Ok(()),
        };
        Err(Error::NoMachineConfig { problem })
    }
}

/// The rules of `day1 lint` which say that a file holds no MachineConfig.
const SHAPE: [&str; 2] = ["syntax", "nothing-to-check"];

/// The repository that the node pulls from.
fn repository(request: &Request, other: Option<&OtherConfig>) -> String {
    let named = other.and_then(|other| other.repository().map(str::to_owned));
    named.unwrap_or_else(|| match &request.image {
        inspect::Source::Registry { repository, .. } => repository.clone(),
        _ => format!("driver.day1.test/{}", request.module.replace('_', "-")),
    })
}

/// The generator's parameters.
fn parameters(request: &Request, repository: &str) -> Value {
    let mut parameters = json!({
        "machine_config_name": family::CONFIG,
        "machine_config_pool_ref": "worker",
        "kernel_module_image": repository,
        "kernel_module_name": request.module,
    });
    if let Some(remove) = &request.in_tree {
        parameters["in_tree_modules_to_remove"] = json!(remove);
    }
    if let Some(firmware) = &request.firmware {
        parameters["firmware_files_path"] = json!(firmware);
    }
    parameters
}

fn subject(request: &Request, config: &Config, targets: &[Target], card: Option<Card>) -> Subject {
    let own = request.module.clone();
    let remove = request.in_tree.iter().flatten();
    let in_tree = remove.filter(|name| **name != own).cloned().collect();
    let repository = repository(request, config.other.as_ref());
    let machine_config = match &config.other {
        None => MachineConfig::Generated(parameters(request, &repository)),
        Some(other) => MachineConfig::File {
            path: format!("../{}", files::MACHINE_CONFIG),
            load_unit: other.load_unit().map(str::to_owned),
        },
    };
    let same_node = targets.windows(2).all(|pair| pair[0].node == pair[1].node);
    let good: Vec<usize> =
        targets.iter().filter(|target| target.inspection.is_good()).map(|target| target.number).collect();
    let signed = targets
        .iter()
        .all(|target| target.inspection.modules.iter().any(|module| module.name == own && module.signer.is_some()));
    Subject {
        image: request.image.to_string(),
        repository,
        module: own,
        in_tree,
        machine_config,
        card,
        signed: signed && !targets.is_empty(),
        trusted_keys: (1..=request.trusted_keys.len()).map(|number| format!("../{}", trusted_key(number))).collect(),
        upgrade: match good.as_slice() {
            [from, to, ..] if same_node => Some((*from, *to)),
            _ => None,
        },
    }
}

fn aliases(inspection: &Inspection, module: &str) -> Vec<String> {
    let own = inspection.modules.iter().filter(|one| one.name == module);
    own.flat_map(|one| one.aliases.iter().cloned()).collect()
}

/// Each kernel on each node image that is asked for, and what the image is for it.
fn targets(request: &Request, tell: &dyn Fn(&str)) -> Result<Vec<Target>, Error> {
    let mut targets = Vec::new();
    for (image, kernels) in runner::images(&request.run)? {
        for kernel in kernels {
            tell(&format!("reading {} for kernel {kernel} of {}", request.image, image.name()));
            let inspection = inspect::inspect(&inspect::Request {
                image: request.image.clone(),
                kernel: KernelChoice::Directory(image.kernel_dir(&kernel)),
                module: Some(request.module.clone()),
                in_tree: request.in_tree.clone(),
                firmware: request.firmware.clone(),
                architecture: Some(image.disk.architecture.debian_name().to_owned()),
                trusted_keys: request.trusted_keys.clone(),
                insecure: false,
                limits: Limits::default(),
            })?;
            let number = image.facts.kernels.iter().position(|one| one.release == kernel).map_or(1, |index| index + 1);
            targets.push(Target {
                node: image.name().to_owned(),
                node_release: image.disk.release.clone(),
                kernel,
                number,
                inspection,
            });
        }
    }
    Ok(targets)
}

/// Runs the family by `day1 run`, whose own words then don't mix with the report's.
fn run(request: &Request, targets: &[&Target]) -> Result<BTreeMap<String, TrialResult>, Error> {
    let options = &request.run;
    let mut command = Command::new(&options.day1);
    command.args(["run", "--all", "--scenarios"]).arg(options.results.join(files::SCENARIOS));
    command.arg("--vm-images").arg(&options.vm_images).arg("--results").arg(&options.results);
    command.arg("--registry").arg(options.registry.to_string());
    if let Some(toolkit) = &options.driver_toolkit {
        command.arg("--driver-toolkit").arg(toolkit.to_string());
    }
    let mut nodes: Vec<&str> = targets.iter().map(|target| target.node.as_str()).collect();
    nodes.dedup();
    for node in nodes {
        command.args(["--node", node]);
    }
    if !options.kernels.is_empty() {
        let mut kernels: Vec<&str> = targets.iter().map(|target| target.kernel.as_str()).collect();
        kernels.sort_unstable();
        kernels.dedup();
        for kernel in kernels {
            command.args(["--kernel", kernel]);
        }
    }
    if let Some(jobs) = options.jobs {
        command.arg("--jobs").arg(jobs.to_string());
    }
    if let Some(cache) = &options.cache {
        command.arg("--cache").arg(cache);
    }
    if let Some(start) = options.start {
        command.args(["--start", start.as_str()]);
    }
    if request.quiet {
        command.stdout(Stdio::null());
    }
    let results = options.results.join("results.json");
    // What an earlier run left must not pass for this one's.
    let _ = fs::remove_file(&results);
    let start = |source| process::Error::Start { program: options.day1.display().to_string(), source };
    let status = process::die_with_parent(&mut command).status().map_err(start)?;
    let text = match fs::read(&results) {
        Ok(text) => text,
        Err(_) => return Err(Error::Refused { code: status.code().unwrap_or(3) }),
    };
    let read: RunResults =
        serde_json::from_slice(&text).map_err(|error| file(&results)(std::io::Error::from(error)))?;
    Ok(read.trials.into_iter().map(|trial| (trial.trial.clone(), trial)).collect())
}

impl Target {
    fn verdict(self, family: &[Member], results: &BTreeMap<String, TrialResult>, with_kernel: bool) -> NodeVerdict {
        let claims = family.iter().filter(|_| self.inspection.is_good()).filter_map(|member| {
            let at = format!("{FAMILY}/{}@{}", member.name, self.node);
            // A scenario about several kernels is run once.
            let own = format!("{at},{}", self.kernel);
            let trial = if with_kernel && results.contains_key(&own) { own } else { at };
            let result = results.get(&trial);
            // That one is told with the kernel that it ends with.
            let elsewhere = member.name == "kernel-upgrade"
                && member.scenario["boots"][3]["expect"]["kernel.running"]["kernel"] != self.number;
            (!elsewhere).then(|| Claim::of(&member.proves, &trial, result))
        });
        let claims: Vec<Claim> = claims.collect();
        let own = results.iter().filter(|(trial, _)| claims.iter().any(|claim| claim.trial == **trial));
        let modes = Claim::of_modes(own);
        NodeVerdict {
            claims: claims.into_iter().chain(modes).collect(),
            node: self.node.clone(),
            node_release: self.node_release.clone(),
            kernel: self.kernel.clone(),
            inspection: self.inspection,
        }
    }
}
