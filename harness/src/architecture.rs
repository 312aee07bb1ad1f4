//! A processor's architecture, and what everybody calls it.

use serde::{Deserialize, Serialize};

/// A processor's architecture, in the words of streams and of `uname -m`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// 64-bit x86.
    #[default]
    #[serde(rename = "x86_64")]
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    /// All that nodes can have.
    pub const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// `x86_64` or `aarch64`: QEMU's name too.
    pub fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Debian's name, which is that of containers too: `amd64` or `arm64`.
    pub fn debian_name(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    /// Kbuild's name: `x86` or `arm64`.
    pub fn kernel_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86",
            Self::Aarch64 => "arm64",
        }
    }

    /// What the names of GNU's tools for it begin with, such as `aarch64-linux-gnu`.
    pub fn gnu_name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64-linux-gnu",
            Self::Aarch64 => "aarch64-linux-gnu",
        }
    }

    /// One that runs nothing of this one's.
    pub fn other(self) -> Self {
        match self {
            Self::X86_64 => Self::Aarch64,
            Self::Aarch64 => Self::X86_64,
        }
    }

    /// Whether this host has such a processor.
    pub fn is_native(self) -> bool {
        self.name() == std::env::consts::ARCH
    }

    /// The host's, where nodes can have it.
    pub fn of_host() -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.is_native())
    }
}

impl std::fmt::Display for Architecture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
