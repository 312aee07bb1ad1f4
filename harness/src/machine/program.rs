//! QEMU's program for a node's processor, and what its version can do.

use std::process::Command;

use super::Error;
use crate::architecture::Architecture;
use crate::process;

/// The program, and Debian's package of it.
pub(super) fn of(architecture: Architecture) -> (&'static str, &'static str) {
    match architecture {
        Architecture::X86_64 => ("qemu-system-x86_64", "qemu-system-x86"),
        Architecture::Aarch64 => ("qemu-system-aarch64", "qemu-system-arm"),
    }
}

/// QEMU's own version line, with the distribution's.
pub fn qemu_version(architecture: Architecture) -> Result<String, Error> {
    let (program, package) = of(architecture);
    let output = process::output(Command::new(program).arg("--version")).map_err(|error| match error {
        process::Error::Start { source, .. } => Error::Start { program, package, source },
        other => other.into(),
    })?;
    Ok(String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned())
}

/// Why machines can't be forked: a QEMU with this version line, or this processor's machine, can't do it.
///
/// Migration to a file came with 8.2 (`file` of `MigrationAddressType` in QEMU's `qapi/migration.json`); a line that can't
/// be read is believed to have it. Forks must not have the same random numbers: the device that tells the guest so, vmgenid,
/// is a PC's only.
pub fn why_no_fork(architecture: Architecture, version: &str) -> Option<String> {
    if architecture != Architecture::X86_64 {
        return Some(format!("a forked {architecture} guest would not notice it: its machine has no generation id"));
    }
    let number = version.split_whitespace().find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    let mut parts = number.unwrap_or_default().split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < (8, 2) => {
            Some(format!("a template needs QEMU 8.2 or newer, and this is {version}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_qemu_does_not_fork() {
        let forks = |version| why_no_fork(Architecture::X86_64, version).is_none();
        assert!(!forks("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)"));
        assert!(!forks("QEMU emulator version 8.1.0"));
        assert!(forks("QEMU emulator version 8.2.0"));
        assert!(forks("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)"));
        assert!(forks("something else"));
    }

    #[test]
    fn a_guest_that_would_not_notice_it_is_not_forked() {
        let why = why_no_fork(Architecture::Aarch64, "QEMU emulator version 10.0.2").expect("a reason");
        assert!(why.contains("aarch64") && why.contains("generation id"), "{why}");
    }
}
