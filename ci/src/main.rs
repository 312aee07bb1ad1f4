//! The project's own commands: `cargo xtask e2e`, `cargo xtask test`, `cargo xtask ci`.

mod book;
mod command;
mod dist;
mod host;
mod matrix;
#[cfg(test)]
mod pages;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

use command::{cargo, run};

/// Sets up what this host lacks, then runs.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the trials: real VMs boot, pull, reboot and load.
    E2e(E2e),
    /// Run everything that needs no VM, and the smoke trials.
    Test(E2e),
    /// Run changed MachineConfigs, in real VMs: each faulty one must be caught, each harmless one must pass.
    Mutants(E2e),
    /// Make an image of a real registry from Debian's packages, for `day1 run --registry container=IMAGE`.
    RegistryImage,
    /// Build the pages in `docs` as a book, into `target/book`.
    Book,
    /// Make the archive of a release, and with `--deb` the Debian package, in `target/dist`.
    Dist {
        /// Make the Debian package too, by cargo-deb.
        #[arg(long)]
        deb: bool,
    },
    /// Make a container image of the harness, with the `day1` of this checkout.
    Container {
        /// The image's tag.
        #[arg(default_value = "day1/harness:dev")]
        tag: String,
    },
    /// Make the nightly workflow and the Kubernetes Job of vm-images/ and ci/matrix.yaml.
    CiMatrix {
        /// Write nothing: fail if a file is not what would be made, or not as its schema wants it.
        #[arg(long)]
        check: bool,
    },
    /// Run what CI runs.
    Ci,
}

#[derive(Args)]
#[command(disable_help_flag = true)]
struct E2e {
    /// Arguments of `day1 run`, such as `pull-then-reboot`, `--list`, `--jobs 2` or `--help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    match perform(Cli::parse().task) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(3)
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::E2e(options) => {
            host::prepare()?;
            e2e(&options.arguments)
        }
        Task::Mutants(options) => {
            host::prepare()?;
            e2e(&[vec!["--mutants".into()], options.arguments].concat())
        }
        Task::Test(options) => {
            host::prepare()?;
            without_vm()?;
            e2e(&[vec!["--label".into(), "smoke".into()], options.arguments].concat())
        }
        Task::RegistryImage => {
            host::prepare()?;
            registry_image()?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Book => {
            book::build()?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Dist { deb } => {
            dist::make(deb)?;
            Ok(ExitCode::SUCCESS)
        }
        Task::Container { tag } => {
            host::prepare()?;
            build_day1()?;
            let build = root().join("ci/container/build.sh");
            run(Command::new(build).arg(day1()?).arg(tag))?;
            Ok(ExitCode::SUCCESS)
        }
        Task::CiMatrix { check } => {
            matrix::generate(root(), check)?;
            if check {
                matrix::validate(root())?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Ci => ci(),
    }
}

/// The repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The tests of programs that need no VM.
const TESTS: [&str; 10] =
    ["machine_config", "book", "command_line", "images", "inspect", "lint", "registry", "report", "shards", "shell"];

/// Every test but the trials.
fn without_vm() -> Result<()> {
    let tests = TESTS.map(|test| format!("--test={test}"));
    run(cargo().args(["test", "--workspace", "--quiet", "--lib", "--bins"]).args(tests))
}

/// Through the `day1` program, whose exit codes tell a failed check from a failure of the harness.
fn e2e(arguments: &[OsString]) -> Result<ExitCode> {
    build_day1()?;
    let day1 = day1()?;
    let status = Command::new(&day1).arg("run").args(arguments).status();
    let status = status.with_context(|| format!("cannot start {}", day1.display()))?;
    Ok(ExitCode::from(u8::try_from(status.code().unwrap_or(3)).unwrap_or(3)))
}

fn build_day1() -> Result<()> {
    // With the features of dependencies that the tests have: without a test among the targets, cargo would build half of
    // them a second time.
    run(cargo().args(["build", "--workspace", "--bin", "day1", "--test", "e2e"]))
}

/// Cargo puts it beside this program; to ask cargo again would cost as much as listing the trials ten times.
fn day1() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("day1"))
}

fn ci() -> Result<ExitCode> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    host::prepare()?;
    matrix::generate(root(), true)?;
    matrix::validate(root())?;
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--quiet", "--", "--deny", "warnings"]))?;
    in_a_browser()?;
    book::build()?;
    // A person's way into a running node.
    run(cargo().args(["test", "--workspace", "--test=shell", "--quiet", "--", "--ignored"]))?;
    // Their exit codes tell a failed check from a failure of the harness; so does this one's.
    for task in [cargo().args(["xtask", "test"]).args(NODE), without_engines().args(["xtask", "e2e"]).args(NODE)] {
        let code = task.status()?.code().unwrap_or(3);
        if code != 0 {
            return Ok(ExitCode::from(u8::try_from(code).unwrap_or(3)));
        }
    }
    with_an_engine()
}

/// The report, in a real browser.
fn in_a_browser() -> Result<()> {
    host::bring_browser()?;
    run(cargo().args(["test", "--workspace", "--quiet", "--lib", "--", "--ignored", "html::browser"]))
}

/// What CI runs on, whatever else can be had: its verdicts are those of the same node each time.
const NODE: [&str; 2] = ["--node", "debian-13"];

/// The image that `ci/registry-image/build.sh` makes.
const REGISTRY_IMAGE: &str = "day1/registry:debian";

/// Makes the image of a real registry, unless it is there.
fn registry_image() -> Result<()> {
    run(Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("registry-image/build.sh")).arg(REGISTRY_IMAGE))
}

/// What only a host with a container engine can show: a real registry in the place of the embedded one.
fn with_an_engine() -> Result<ExitCode> {
    let engine = Command::new("docker").args(["version", "--format", "{{.Server.Version}}"]).output();
    match engine {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            eprintln!("SKIPPED: registries in containers, for no engine answers: {reason}");
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => {
            eprintln!("SKIPPED: registries in containers, for there is no docker: {error}");
            return Ok(ExitCode::SUCCESS);
        }
    }
    registry_image()?;
    run(cargo().args(["test", "--workspace", "--test=registry", "--test=toolkit", "--quiet", "--", "--ignored"]))?;
    let words = ["--registry", &format!("container={REGISTRY_IMAGE}"), "--results", "target/day1-results-container"];
    e2e(&[words.as_slice(), &NODE, &["pull/pull-then-reboot@"]]
        .concat()
        .into_iter()
        .map(OsString::from)
        .collect::<Vec<_>>())
}

/// Hides the sockets of container engines, then becomes the command that follows.
const HIDE_ENGINES: &str = r#"
for socket in /run/docker.sock /run/podman/podman.sock /run/containerd/containerd.sock; do
    [ ! -S "$socket" ] || mount --bind /dev/null "$socket" || exit
done
exec "$@""#;

/// Cargo where no container engine can be reached: the default needs none, and the trials prove it.
fn without_engines() -> Command {
    let nowhere = "unix:///nonexistent/container-engine.sock";
    let mut command = if host::is_root() {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "--", "sh", "-c", HIDE_ENGINES, "sh"]);
        command.arg(cargo().get_program());
        command
    } else {
        cargo()
    };
    command.env("DOCKER_HOST", nowhere).env("CONTAINER_HOST", nowhere);
    command
}
