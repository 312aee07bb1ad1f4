//! The command line.

mod bench;
mod doctor;
mod generate;
mod images;
mod inspect;
mod judge;
mod lint;
mod report;
mod run;
mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use day1_harness::toolkit::Installation;
use day1_harness::{lab, runner, services, toolkit};

/// Proves in real virtual machines that an out-of-tree kernel module reaches a CoreOS node the Day-1 way.
///
/// Exit codes: 0 all passed; 1 a check failed; 2 bad usage or bad input; 3 the harness's own side failed or
/// evidence is missing; 130 interrupted.
#[derive(Parser)]
#[command(name = "day1", version)]
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
    /// Run trials: boot VMs, follow them through their boots, judge what was seen.
    Run(run::Run),
    /// Verify a vendor's driver image and MachineConfig: read them, load them in real machines, and report.
    Verify(verify::Verify),
    /// Judge a recorded trial again.
    Judge(judge::Judge),
    /// Tell what a recorded run found.
    Report(report::Report),
    /// Print the scenario language as JSON Schema, for editors.
    ///
    /// Example: `day1 schema >scenario.schema.json`, and `# yaml-language-server: $schema=…` in a scenario.
    Schema,
    /// Measure what a trial costs against the plain boots that it contains.
    Bench(bench::Bench),
    /// List, get, build, import and remove node images.
    Images(images::Images),
    /// Tell what this host has and lacks.
    Doctor,
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

fn main() -> ExitCode {
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
        Command::Lint(lint) => lint.perform(),
        Command::Schema => print_schema(),
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

fn print_schema() -> ExitCode {
    use std::io::Write;
    // To a pipe that closes early, for one, nothing more can be said.
    match writeln!(std::io::stdout(), "{:#}", day1_harness::scenario::schema()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: cannot write the schema: {error}");
            ExitCode::from(3)
        }
    }
}

/// What the servers say of themselves, on standard error; `DAY1_LOG=debug` gives more.
fn log() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing::Level::WARN.into())
        .with_env_var("DAY1_LOG")
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}

fn silently(result: std::io::Result<()>) -> ExitCode {
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(3) }
}
