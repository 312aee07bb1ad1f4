//! What is wrong with MachineConfigs.

use std::io;
use std::path::PathBuf;

/// What is wrong with MachineConfigs.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file can't be read.
    #[error("cannot read the MachineConfig {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is not a MachineConfig.
    #[error("{origin}:{line}:{column}: {message}")]
    Invalid {
        /// File name, or what stands for it.
        origin: String,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The text holds none.
    #[error("{origin}: holds no MachineConfig; it needs a document with `kind: MachineConfig`")]
    Empty {
        /// File name, or what stands for it.
        origin: String,
    },
    /// The MCO would refuse this MachineConfig.
    #[error("MachineConfig {name} ({origin}): {problem}")]
    Refused {
        /// Its name.
        name: String,
        /// Where it comes from.
        origin: String,
        /// What is wrong and what would be right.
        problem: String,
    },
    /// No MachineConfig is for the pool.
    #[error(
        "no MachineConfig is for pool {pool}: none has the label machineconfiguration.openshift.io/role with {roles}"
    )]
    NoneForPool {
        /// The pool.
        pool: String,
        /// The roles that it selects.
        roles: String,
    },
    /// Two have the same name.
    #[error("two MachineConfigs are named {name} ({first} and {second}): a cluster holds one of a name")]
    SameName {
        /// The name.
        name: String,
        /// Where one comes from.
        first: String,
        /// Where the other comes from.
        second: String,
    },
    /// The MachineConfigs don't go together.
    #[error("cannot render pool {pool}: {problem}")]
    Render {
        /// The pool.
        pool: String,
        /// What is wrong.
        problem: String,
    },
}
