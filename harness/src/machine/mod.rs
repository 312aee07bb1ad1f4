//! One QEMU machine: its command line, its protocol, its console and streams, its end.

mod accel;
mod agent;
mod command;
mod console;
mod delay;
mod firmware;
mod instruments;
mod owner;
mod program;
mod qmp;
mod session;
mod streams;
mod template;
mod variables;

pub use accel::{Accel, Acceleration, choose as choose_acceleration};
pub(crate) use command::disk_name;
pub use command::{Begins, Disk, Forward, Keeps, LanPort, Nic, Spec};
pub(crate) use console::{lines as console_lines, text as console_text};
pub use delay::Delay;
pub use firmware::{Firmware, FirmwareError, Uefi};
pub use instruments::{Instruments, config as instruments_config};
pub use owner::{Machine, WaitError, wait};
pub use program::{qemu_version, why_no_fork};
pub use session::{Said, SessionEnd, Size, Told, Way};
pub use template::Template;
pub use variables::BadVariables;

use std::io;

/// What went wrong with a machine on the harness's side.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// QEMU could not be started.
    #[error("cannot start {program}: {source}; on Debian `apt-get install {package}` brings it")]
    Start {
        /// The program.
        program: &'static str,
        /// Debian's package.
        package: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// QEMU ended before its protocol answered.
    #[error("QEMU ended before it answered ({status}): {stderr}\nits command line: {command}")]
    EndedEarly {
        /// Exit status or signal.
        status: String,
        /// What it printed.
        stderr: String,
        /// Its command line.
        command: String,
    },
    /// QEMU's protocol failed.
    #[error("QEMU's machine protocol failed at {what}: {message}")]
    Qmp {
        /// What was asked.
        what: &'static str,
        /// What came back.
        message: String,
    },
    /// A file operation failed.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried, on what.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// A machine could not be paused for others, or one could not go on from it.
    #[error("cannot {what}: {why}")]
    Fork {
        /// What was tried, on what.
        what: String,
        /// What happened.
        why: String,
    },
    /// The host's firmware can't be used.
    #[error(transparent)]
    Firmware(#[from] FirmwareError),
    /// A program of the host failed.
    #[error(transparent)]
    Program(#[from] crate::process::Error),
    /// As many are in the guest as its serial bus has ports for.
    #[error(
        "cannot let one more into the node: its serial bus has {ports} ports for shells (one each) and commands (three each), and they are taken; end one of them first"
    )]
    Crowded {
        /// The ports for all of them.
        ports: u32,
    },
    /// The agent in the guest answered something that is no snapshot.
    #[error("the agent in the guest answered {what}")]
    Agent {
        /// What was wrong with it.
        what: String,
    },
}

impl Error {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}
