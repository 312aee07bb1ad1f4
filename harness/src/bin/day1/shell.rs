//! `day1 shell`, `day1 continue` and `day1 release`: the machine that a run keeps.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use day1_harness::door::visitor::{self, Raw};
use day1_harness::door::{self, Lodging, Node, Request};
use day1_harness::machine::{SessionEnd, Way};
use day1_harness::process::{pasted, this_program};
use day1_harness::recording;

use super::completions;

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 shell pull-then-reboot
  day1 shell target/day1-results/pull/pull-then-reboot@debian-13
  day1 shell pull-then-reboot -- journalctl -b -u NetworkManager
  echo lsmod | day1 shell pull-then-reboot")]
pub struct Shell {
    #[command(flatten)]
    machine: Machine,
    /// Come into a node whose trial goes on: that ends the trial, without a verdict.
    #[arg(long)]
    now: bool,
    /// Run this command of the guest's shell in the place of a shell; its exit status is this program's.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 continue pull-then-reboot")]
pub struct Continue {
    #[command(flatten)]
    machine: Machine,
}

#[derive(Args)]
#[command(after_long_help = "\
Examples:
  day1 release pull-then-reboot")]
pub struct Release {
    #[command(flatten)]
    machine: Machine,
}

#[derive(Args)]
struct Machine {
    /// The trial: its directory, RUN/TRIAL, or a part of its name, in `target/day1-results` [default: the only one there with a
    /// machine].
    #[arg(add = completions::kept())]
    trial: Option<PathBuf>,
}

impl Machine {
    fn find(&self) -> Result<PathBuf, String> {
        let found = recording::find(self.trial.as_deref().unwrap_or(Path::new("")), &|dir| door::is_open(dir));
        found.map_err(|error| error.to_string())
    }
}

impl Shell {
    pub fn perform(self) -> ExitCode {
        let Self { machine, now, command } = self;
        act(&machine, async |dir| enter(dir, command, now).await)
    }
}

impl Continue {
    pub fn perform(self) -> ExitCode {
        act(&self.machine, async |dir| {
            let lodging = door::ask(&mut door::come(dir)?, Request::Continue).await?;
            eprintln!("the node of {} goes on", lodging.trial);
            Ok(ExitCode::SUCCESS)
        })
    }
}

impl Release {
    pub fn perform(self) -> ExitCode {
        act(&self.machine, async |dir| {
            let mut connection = door::come(dir)?;
            let lodging = door::ask(&mut connection, Request::Release).await?;
            eprintln!("the machine of {} is let go", lodging.trial);
            Ok(ExitCode::SUCCESS)
        })
    }
}

fn act(machine: &Machine, action: impl AsyncFnOnce(&Path) -> Result<ExitCode, door::Error>) -> ExitCode {
    let dir = match machine.find() {
        Ok(dir) => dir,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start an event loop: {error}");
            return ExitCode::from(3);
        }
    };
    let outcome = runtime.block_on(action(&dir));
    // A read of standard input that nobody waits for any more would keep it.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        if let door::Error::Nobody { dir } = &error {
            let (day1, dir) = (this_program(), dir.display());
            eprintln!("what was recorded of it: `{day1} journal {dir}` and `{day1} console {dir}`");
            eprintln!("for a machine to come into, run the trial again with --keep");
        }
        match error {
            door::Error::Io { .. } | door::Error::Ended => ExitCode::from(3),
            _ => ExitCode::from(2),
        }
    })
}

async fn enter(dir: &Path, command: Vec<String>, now: bool) -> Result<ExitCode, door::Error> {
    let size = visitor::terminal().filter(|_| command.is_empty());
    let on_terminal = size.is_some();
    let way = match size {
        Some(size) => Way::Terminal { size, kind: std::env::var("TERM").unwrap_or_default() },
        // As ssh has it: the words are the guest's shell's.
        None if !command.is_empty() => Way::Command(command.join(" ")),
        None => Way::Command("exec bash -l".into()),
    };
    let mut connection = door::come(dir)?;
    if std::io::stderr().is_terminal() {
        let lodging = door::ask(&mut door::come(dir)?, Request::Look).await?;
        if let Node::Stopped { .. } = lodging.node {
            eprintln!("the node goes on from where it was stopped, and its services are made to stand still …");
        }
    }
    let lodging = door::ask(&mut connection, Request::Enter { way, now }).await?;
    if on_terminal {
        eprintln!("{}", greeting(&lodging));
    }
    let raw = on_terminal.then(Raw::take).transpose();
    let failed = |source| door::Error::Io { what: "pass on what is said at", dir: dir.to_owned(), source };
    let raw = raw.map_err(failed)?;
    let ended = visitor::stay(connection, on_terminal).await;
    drop(raw);
    let ended = ended.map_err(failed)?.map_err(door::Error::Refused)?;
    if on_terminal {
        let (day1, dir) = (this_program(), dir.display());
        match ended {
            SessionEnd::Cut => eprintln!("\nthe node was reset, or its machine has ended"),
            _ => {
                eprintln!("\nthe machine stays; `{day1} shell {dir}` comes in again, `{day1} release {dir}` lets it go")
            }
        }
    }
    Ok(match ended {
        SessionEnd::Exited(status) => ExitCode::from(u8::try_from(status & 0xff).unwrap_or(3)),
        SessionEnd::HungUp if on_terminal => ExitCode::SUCCESS,
        SessionEnd::HungUp => ExitCode::from(130),
        SessionEnd::Cut => {
            if !on_terminal {
                eprintln!("error: the node was reset, or its machine has ended, before the command did");
            }
            ExitCode::from(3)
        }
    })
}

fn greeting(lodging: &Lodging) -> String {
    let Lodging { trial, boot, node, .. } = lodging;
    let still = match node {
        Node::StandsStill { at } => format!(
            "\nit was stopped at {at}: its services stand still, but for the journal's; `{} continue {}` lets them go on",
            this_program(),
            pasted(trial)
        ),
        _ => String::new(),
    };
    format!("you are root in the node of {trial}, in boot {boot}; Ctrl-] leaves it{still}")
}
