//! `day1 run`: trials from a checkout.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;
use day1_harness::runner::{self, Keep, Options, Partition, Shaking};
use day1_harness::scenario::{Breakpoint, Start};
use day1_harness::services::registry::Backend;
use day1_harness::toolkit::DriverToolkit;
use libtest_mimic::Arguments;

use crate::completions;

use super::out::print;

/// What is listed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Listing {
    Trials,
    Artifacts,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Args)]
#[command(after_long_help = "\
Without a filter, a label or `--all`, trials with the label `nightly` are left out.

Examples:
  day1 run
  day1 run pull-then-reboot
  day1 run --all --list
  day1 run --label smoke --node debian-13")]
pub struct Run {
    /// Run only trials whose name contains one of these.
    #[arg(add = ArgValueCandidates::new(completions::trials))]
    filters: Vec<String>,
    /// List the trials instead of running them; or, with `=artifacts`, what they take from elsewhere: node images, and what
    /// modules are built with.
    #[arg(long, value_enum, num_args = 0..=1, require_equals = true, default_missing_value = "trials", value_name = "WHAT")]
    list: Option<Listing>,
    /// How to list: as text, or as JSON. The trials' JSON is the plan of the run, in all its parts, for
    /// `day1 report merge --plan`.
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "list")]
    format: Format,
    /// Make all that the trials need, and start none: a run of them then needs no network.
    #[arg(long, conflicts_with_all = ["list", "shake"])]
    no_run: bool,
    /// Run on this node image (may be given several times) [default: `fedora-coreos-stable` where it is cached or can be
    /// reached and modules for it can be built, else `debian-13`; the first line of output tells].
    #[arg(long, value_name = "IMAGE", add = ArgValueCandidates::new(completions::nodes))]
    node: Vec<String>,
    /// Boot this kernel of the node image, by its release, by its place such as `2`, or `all`, each in trials of its own (may be given
    /// several times). Scenarios about several kernels run once, with their own choice, where the image's first is chosen.
    #[arg(long, value_name = "RELEASE")]
    kernel: Vec<String>,
    /// Run only scenarios with this label, such as `smoke`.
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
    /// Run all trials, also those with the label `nightly`.
    #[arg(long)]
    all: bool,
    /// Run the mutants in the place of the scenarios: changed MachineConfigs, each of which must be caught or pass.
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "DIR")]
    mutants: Option<Option<PathBuf>>,
    /// Put this MachineConfig under test, as it is, in the place of the one that each scenario generates: it loads the
    /// scenarios' module (`day1_nic`, in place of `e1000`) its own way, from whatever repository it names. To test a
    /// driver of your own, with its own module: `day1 verify`.
    #[arg(long, value_name = "FILE", conflicts_with = "mutants")]
    machine_config: Option<PathBuf>,
    /// Run one trial N times, each time with other units held up, and look for an order that breaks it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), conflicts_with_all = ["list", "mutants"])]
    shake: Option<u64>,
    /// The first seed of `--shake`; the same seed holds up the same units.
    #[arg(long, value_name = "SEED", default_value_t = 1, requires = "shake")]
    seed: u64,
    /// Run a trial that does not pass again, up to N times. One that passes then is flaky, which is no pass: every attempt
    /// is kept, and the run ends with 1 (3, where only the harness's own side had failed).
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with_all = ["mutants", "shake", "keep", "break_at"])]
    retries: u32,
    /// Take flaky trials for good ones: they are told as flaky, and don't change how the run ends.
    #[arg(long)]
    flaky_ok: bool,
    /// The file that says which trials are known to fail, why, and until when [default: `snoozes.yaml` among the scenarios,
    /// if it is there]. `day1 schema snoozes` prints its language.
    #[arg(long, value_name = "FILE")]
    snoozes: Option<PathBuf>,
    /// How many trials at once, if the host's memory allows [default: as many as its cores carry].
    #[arg(long, value_name = "N", env = "DAY1_JOBS", value_parser = at_least_one)]
    jobs: Option<usize>,
    /// Run only the K-th of N parts of what is selected otherwise: `hash:1/4` by the trials' names, `slice:1/4` in turn.
    /// `day1 report merge` joins the results.
    #[arg(long, value_name = "hash:K/N|slice:K/N")]
    partition: Option<Partition>,
    /// Where nodes begin, in the place of what scenarios say: `cold`, `template` or `pulled`. A scenario without a
    /// first boot that reboots begins with the template in the place of `pulled`.
    #[arg(long, value_name = "START")]
    start: Option<Start>,
    /// The registry behind the gateway: `embedded`, `container` or `container=IMAGE`. A container needs Docker or
    /// podman's service on this host; IMAGE is a registry that listens on port 5000, docker.io/library/registry:3 unless
    /// another one is named.
    #[arg(long, value_name = "REGISTRY", default_value = "embedded")]
    registry: Backend,
    /// What modules for a CoreOS kernel are built with: an image such as OpenShift's Driver Toolkit of the node's release, in
    /// a registry, or in a file that `podman save` wrote [default: for Fedora's kernels, a container of that Fedora].
    #[arg(long, value_name = "IMAGE|FILE.tar", env = "DAY1_DRIVER_TOOLKIT")]
    driver_toolkit: Option<DriverToolkit>,
    /// Keep the machines of failed trials, or of `always` all, when the run is over, until Ctrl-C or `day1 release`: `day1 shell`
    /// gives a root shell in them, and the trial's result says the command. Other trials go on meanwhile, as long as the host
    /// has the memory.
    #[arg(long, value_name = "WHICH", num_args = 0..=1, require_equals = true, default_missing_value = "failed", conflicts_with_all = ["shake", "list"])]
    keep: Option<Keep>,
    /// Stop each node at this event, keep it, and judge nothing; `day1 shell` comes in there. The event is what a scenario's
    /// `when` takes, such as 'module: {name: e1000, is: removed}', 'unit: {name: load, is: failed}' or 'phase: settled'.
    #[arg(long, value_name = "EVENT", conflicts_with_all = ["shake", "list"])]
    break_at: Option<Breakpoint>,
    /// The boot in which `--break-at` counts, from 1 [default: the first in which the event is seen].
    #[arg(long, value_name = "N", requires = "break_at", value_parser = clap::value_parser!(u32).range(1..))]
    break_boot: Option<u32>,
    /// Where the results go.
    #[arg(long, value_name = "DIR", default_value = "target/day1-results")]
    results: PathBuf,
    /// Directory with the scenarios [default: `scenarios`, here or above].
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    /// Directory with the node images' definitions [default: `vm-images`, here or above].
    #[arg(long, value_name = "DIR")]
    vm_images: Option<PathBuf>,
}

impl Run {
    pub fn perform(self, cache: Option<PathBuf>) -> ExitCode {
        let found = (|| {
            Ok::<_, String>((
                self.scenarios.clone().map_or_else(|| find_above("scenarios"), Ok)?,
                self.vm_images.clone().map_or_else(|| find_above("vm-images"), Ok)?,
                self.mutants.clone().map(|dir| dir.map_or_else(|| find_above("mutants"), Ok)).transpose()?,
                std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?,
            ))
        })();
        let (scenarios, vm_images, mutants, day1) = match found {
            Ok(found) => found,
            Err(message) => {
                eprintln!("error: {message}");
                return ExitCode::from(2);
            }
        };
        let nodes = runner::nodes(self.node, &vm_images, cache.as_deref(), self.driver_toolkit.as_ref());
        let options = Options {
            scenarios,
            vm_images,
            nodes,
            kernels: self.kernel,
            filters: self.filters,
            label: self.label,
            all: self.all,
            mutants,
            machine_config: self.machine_config,
            partition: self.partition,
            start: self.start,
            keep: self.keep.unwrap_or_default(),
            break_at: self.break_at.map(|event| match self.break_boot {
                Some(boot) => event.in_boot(boot),
                None => event,
            }),
            jobs: self.jobs,
            retries: self.retries,
            flaky_ok: self.flaky_ok,
            snoozes: self.snoozes,
            registry: self.registry,
            driver_toolkit: self.driver_toolkit,
            results: self.results,
            cache,
            day1,
        };
        if let Some(times) = self.shake {
            return ExitCode::from(runner::shake(&options, Shaking { times, seed: self.seed }));
        }
        match (self.list, self.format) {
            _ if self.no_run => return ExitCode::from(runner::make(&options)),
            (Some(Listing::Trials), Format::Json) => return told(runner::plan_of(&options).map(|plan| as_json(&plan))),
            (Some(Listing::Artifacts), Format::Json) => {
                return told(runner::artifacts(&options).map(|all| as_json(&all)));
            }
            (Some(Listing::Artifacts), Format::Text) => {
                return told(runner::artifacts(&options).map(|all| all.to_string()));
            }
            (Some(Listing::Trials), Format::Text) | (None, _) => {}
        }
        // What libtest would tell of them, the trials tell themselves, and in peace with a pipe that closes early.
        let logfile = self.list.is_none().then(|| "/dev/null".into());
        let arguments = Arguments { list: self.list.is_some(), logfile, ..Arguments::default() };
        ExitCode::from(runner::run(&options, &arguments))
    }
}

fn as_json(value: &impl serde::Serialize) -> String {
    // Strings and numbers have a JSON form.
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn told(text: Result<String, runner::ImagesError>) -> ExitCode {
    match text {
        Ok(text) => print(&format!("{text}\n"), ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|jobs| *jobs > 0).ok_or_else(|| "a number of jobs is 1 or more".into())
}

/// A directory of the repository, looked for here and above, and where a package or `DAY1_DATA` has it.
pub fn find_above(name: &str) -> Result<PathBuf, String> {
    let here = std::env::current_dir().map_err(|error| format!("cannot tell the current directory: {error}"))?;
    let above = here.ancestors().map(Path::to_owned);
    let given = std::env::var_os("DAY1_DATA").map(PathBuf::from);
    let beside = std::env::current_exe().ok().and_then(|day1| Some(day1.parent()?.parent()?.join("share/day1")));
    above.chain(given).chain(beside).map(|dir| dir.join(name)).find(|dir| dir.is_dir()).ok_or_else(|| {
        format!(
            "no directory `{name}` in {} or above, nor where DAY1_DATA or a package has it: go into the repository, or say --{name} DIR",
            here.display()
        )
    })
}
