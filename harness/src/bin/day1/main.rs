//! The command line.

#[macro_use]
mod out;

mod bench;
mod completions;
mod console;
mod doctor;
mod explain;
mod generate;
mod images;
mod inspect;
mod journal;
mod judge;
mod lint;
mod man;
mod merge;
mod new;
mod render;
mod report;
mod run;
mod shell;
#[cfg(test)]
mod tests;
mod trial;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::CompleteEnv;
use day1_harness::toolkit::Installation;
use day1_harness::{lab, report as results, runner, scenario, services, toolkit};

/// Proves in real virtual machines that an out-of-tree kernel module reaches a CoreOS node the Day-1 way.
///
/// Exit codes: 0 all passed; 1 a check failed; 2 bad usage or bad input; 3 the harness's own side failed or
/// evidence is missing; 130 interrupted.
#[derive(Parser)]
#[command(name = "day1", version)]
#[command(after_long_help = "\
Examples:
  day1 run pull-then-reboot --node debian-13
  day1 verify --image quay.io/vendor/driver --module nic --in-tree e1000
  day1 explain unit.before")]
struct Cli {
    /// Directory of the cache [default: ~/.cache/day1].
    #[arg(long, global = true, env = "DAY1_CACHE", value_name = "DIR")]
    cache: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Print the MachineConfig that loads a module the Day-1 way.
    Generate(generate::Generate),
    /// Check a driver image against a kernel, without a VM.
    Inspect(inspect::Inspect),
    /// Tell what is wrong with a MachineConfig, without starting a node.
    Lint(lint::Lint),
    /// Merge the MachineConfigs of a pool as the MCO does, and print what its nodes get.
    Merge(render::Merge),
    /// Run trials: boot VMs, follow them through their boots, judge what was seen.
    Run(run::Run),
    /// Verify a vendor's driver image and MachineConfig: read them, load them in real machines, and report.
    Verify(verify::Verify),
    /// Judge a recorded trial again.
    Judge(judge::Judge),
    /// Tell what a recorded run found.
    Report(report::Report),
    /// Open a root shell in a machine that a run keeps, or run a command there.
    ///
    /// A machine is there as long as its trial runs, and after it where `day1 run` had `--keep` or `--break-at`. The shell needs no
    /// network in the guest. Ctrl-] leaves it, and the machine stays; with input that is no terminal, the shell reads that to its end.
    Shell(shell::Shell),
    /// Let a node go on that was stopped with `day1 run --break-at`.
    Continue(shell::Continue),
    /// Let a machine go that a run keeps.
    ///
    /// The run ends when the last of its machines is let go.
    Release(shell::Release),
    /// Print the serial console of a trial.
    ///
    /// Control characters are left out, so that no node can change what a terminal shows.
    Console(console::Console),
    /// Read the recorded journal of a trial with journalctl and its options.
    ///
    /// The options are journalctl's own; a boot's number is the trial's, from 1.
    Journal(journal::JournalOf),
    /// Write a scenario to begin with, from a few flags or questions.
    New(new::New),
    /// Tell what a check or a rule is about, and what to do when it fails.
    Explain(explain::Explain),
    /// Print the scenario language as JSON Schema, for editors; or that of snoozes, or the shape of `results.json`.
    #[command(after_long_help = "\
An editor completes from it where a scenario begins with `# yaml-language-server: $schema=scenario.schema.json`.

Examples:
  day1 schema >scenario.schema.json
  day1 schema results
  day1 schema --markdown")]
    Schema {
        /// What it describes.
        #[arg(value_enum, default_value = "scenario")]
        of: Described,
        /// Print it as Markdown, as docs/scenario-reference.md has it.
        #[arg(long, conflicts_with = "of")]
        markdown: bool,
    },
    /// Measure what a trial costs against the plain boots that it contains.
    Bench(bench::Bench),
    /// List, get, build, import and remove node images.
    Images(images::Images),
    /// Tell what this host has and lacks.
    #[command(after_long_help = "Examples:\n  day1 doctor")]
    Doctor,
    /// Print the script with which a shell completes the arguments of this program.
    Completions(completions::Completions),
    /// Write the manual, a page for each command.
    Man(man::ManPages),
    /// Join standard input and output to a server of a trial; QEMU runs this for a guest's connection.
    #[command(name = lab::CONNECT_SUBCOMMAND, hide = true)]
    Connect {
        /// Name of the server's socket.
        socket: String,
    },
    /// Run a registry in a container until standard input ends.
    #[command(name = services::registry::HOLD_SUBCOMMAND, hide = true)]
    HoldRegistry {
        /// The image.
        image: String,
        /// The run that it is for.
        #[arg(long)]
        run: String,
    },
    /// Install what modules for a kernel are built with in a container, until standard input ends.
    #[command(name = toolkit::INSTALL_SUBCOMMAND, hide = true)]
    InstallToolkit {
        /// The container's image.
        image: String,
        /// The kernel's release.
        kernel: String,
        /// The address of its `kernel-devel`.
        url: String,
        /// The archive of the container's files.
        archive: PathBuf,
        /// What is installed beside it.
        packages: Vec<String>,
        /// The run that it is for.
        #[arg(long)]
        run: String,
    },
    /// Remove a run's temporary directory when standard input ends.
    #[command(name = runner::GUARD_SUBCOMMAND, hide = true)]
    GuardScratch {
        /// The directory.
        dir: PathBuf,
    },
}

/// What there is a schema of.
#[derive(Clone, Copy, ValueEnum)]
enum Described {
    /// A scenario's file.
    Scenario,
    /// The file of snoozes.
    Snoozes,
    /// A run's `results.json`.
    Results,
}

fn main() -> ExitCode {
    CompleteEnv::with_factory(Cli::command).var(completions::VARIABLE).complete();
    let cli = Cli::parse();
    match cli.command {
        Command::Generate(generate) => generate.perform(),
        Command::Inspect(inspect) => inspect.perform(cli.cache.as_deref()),
        Command::Run(run) => {
            log();
            run.perform(cli.cache)
        }
        Command::Bench(bench) => {
            log();
            bench.perform(cli.cache)
        }
        Command::Images(images) => images.perform(cli.cache),
        Command::Verify(verify) => verify.perform(cli.cache),
        Command::Judge(judge) => judge.perform(),
        Command::Report(report) => report.perform(),
        Command::Shell(shell) => shell.perform(),
        Command::Continue(command) => command.perform(),
        Command::Release(release) => release.perform(),
        Command::Console(console) => console.perform(),
        Command::Journal(journal) => journal.perform(),
        Command::Lint(lint) => lint.perform(),
        Command::Merge(merge) => merge.perform(),
        Command::New(new) => new.perform(),
        Command::Explain(explain) => explain.perform(),
        Command::Schema { markdown: true, .. } => out::print(&scenario::reference(), ExitCode::SUCCESS),
        Command::Schema { markdown: false, of } => out::print(&format!("{:#}\n", schema(of)), ExitCode::SUCCESS),
        Command::Completions(completions) => completions.perform(),
        Command::Man(man) => man.perform(Cli::command()),
        Command::Doctor => doctor::run(cli.cache.as_deref()),
        // Standard error is the guest's connection as well: not a word.
        Command::Connect { socket } => silently(services::socket::connect_stdio(&socket)),
        Command::HoldRegistry { image, run } => silently(services::registry::hold(&image, &run)),
        Command::InstallToolkit { image, kernel, url, archive, packages, run } => {
            let installation =
                Installation { image: &image, kernel: &kernel, url: &url, archive: &archive, packages: &packages };
            silently(toolkit::install(&installation, &run))
        }
        Command::GuardScratch { dir } => silently(runner::guard_scratch(&dir)),
    }
}

fn schema(of: Described) -> serde_json::Value {
    match of {
        Described::Scenario => scenario::schema(),
        Described::Snoozes => scenario::snoozes_schema(),
        Described::Results => results::results_schema(),
    }
}

/// What the servers say of themselves, on standard error; `DAY1_LOG=debug` gives more.
fn log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::Level::WARN.into())
        .with_env_var("DAY1_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| runner::Stderr).init();
}

fn silently(result: std::io::Result<()>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
