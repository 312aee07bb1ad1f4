//! What building a node image needs of the host.

use std::path::Path;
use std::process::Command;

use crate::architecture::Architecture;
use crate::process;

/// Debian packages (12 or later) that building a node image needs on the host.
pub const HOST_PACKAGES: &[&str] = &[
    "mmdebstrap",
    "debian-archive-keyring",
    "e2fsprogs",
    "dosfstools",
    "mtools",
    "fdisk",
    "qemu-utils",
    "util-linux",
    "uidmap",
    "xz-utils",
    "zstd",
];

/// Programs, and the packages that bring them. `uidmap` is needed by ordinary users only.
const TOOLS: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("mke2fs", "e2fsprogs"),
    ("mkfs.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("sfdisk", "fdisk"),
    ("qemu-img", "qemu-utils"),
    ("unshare", "util-linux"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
];

/// The same, where the image is for another processor than the host's: its packages' programs run while it is built.
fn emulation(architecture: Architecture) -> [(&'static str, &'static str); 2] {
    let emulator = match architecture {
        Architecture::X86_64 => "qemu-x86_64-static",
        Architecture::Aarch64 => "qemu-aarch64-static",
    };
    [(ARCH_TEST, "arch-test"), (emulator, "qemu-user-static")]
}

/// Tells whether the host can run the programs of a processor.
const ARCH_TEST: &str = "arch-test";

/// Where system administration programs are; not in every user's `PATH`.
pub(super) const SEARCH_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The archive's keys.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What the host lacks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Programs are missing.
    #[error(
        "building a node image needs {}: apt-get install {}",
        list(.0, |tool| tool.program),
        list(.0, |tool| tool.package)
    )]
    Missing(Vec<MissingTool>),
    /// An ordinary user can't build.
    #[error(transparent)]
    Rootless(#[from] Rootless),
    /// Programs of another processor are not started.
    #[error(
        "building a node image for {0} runs its programs in qemu-user, and this host's kernel was not told to start them so \
         (`arch-test {debian}` fails): systemctl restart systemd-binfmt; or where there is no systemd, as root: \
         mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; \
         cat /usr/lib/binfmt.d/qemu-{0}.conf >/proc/sys/fs/binfmt_misc/register",
        debian = .0.debian_name()
    )]
    Foreign(Architecture),
}

/// A program that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingTool {
    /// The program (or file).
    pub program: &'static str,
    /// The Debian package that brings it.
    pub package: &'static str,
}

/// Why an ordinary user can't build an image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rootless {
    /// No ids to give to the image's files.
    #[error(
        "building a node image as {user} needs subordinate ids, and {file} has none for this user: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user} (as root), or build as root"
    )]
    NoIds {
        /// The user.
        user: String,
        /// The file without an entry for it.
        file: &'static str,
    },
    /// No namespace in which the user looks like root.
    #[error(
        "building a node image as {user} takes a user namespace, and this host lets its ordinary users make none: build as root (in a container, with CAP_SYS_ADMIN)"
    )]
    NoNamespaces {
        /// The user.
        user: String,
    },
}

fn list(tools: &[MissingTool], name: impl Fn(&MissingTool) -> &'static str) -> String {
    let mut names: Vec<_> = tools.iter().map(name).collect();
    names.dedup();
    names.join(" ")
}

/// Says what is missing for a build, before it begins. `Ok(true)`: the build must map user ids.
pub(super) fn check(architecture: Architecture) -> Result<bool, Error> {
    let rootless = !nix::unistd::geteuid().is_root();
    let mut missing: Vec<_> = TOOLS
        .iter()
        .chain(emulation(architecture).iter().filter(|_| !architecture.is_native()))
        .chain(rootless.then_some(&("newuidmap", "uidmap")))
        .filter(|(program, _)| !has(program))
        .map(|&(program, package)| MissingTool { program, package })
        .collect();
    if !Path::new(KEYRING).exists() {
        missing.push(MissingTool { program: KEYRING, package: "debian-archive-keyring" });
    }
    if !missing.is_empty() {
        return Err(Error::Missing(missing));
    }
    if !architecture.is_native() {
        let mut test = Command::new(ARCH_TEST);
        process::output(test.arg(architecture.debian_name())).map_err(|_| Error::Foreign(architecture))?;
    }
    if rootless {
        let uid = nix::unistd::getuid();
        let user = nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        for file in ["/etc/subuid", "/etc/subgid"] {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            if !grants(&text, &user, uid.as_raw()) {
                return Err(Rootless::NoIds { user, file }.into());
            }
        }
        // Before ids are mapped: where it is not allowed, the `unshare` that maps them leaves a process that waits for ever.
        if process::output(Command::new("unshare").args(["--user", "true"])).is_err() {
            return Err(Rootless::NoNamespaces { user }.into());
        }
    }
    Ok(rootless)
}

fn has(program: &str) -> bool {
    SEARCH_PATH.split(':').any(|dir| Path::new(dir).join(program).exists())
}

/// Whether `/etc/subuid`'s text gives a user the 65536 ids that a Debian system uses.
fn grants(text: &str, user: &str, uid: u32) -> bool {
    text.lines().any(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next();
        let count = fields.nth(1).and_then(|count| count.parse::<u64>().ok());
        name.is_some_and(|name| name == user || name == uid.to_string()) && count.is_some_and(|count| count >= 65536)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids_are_found_by_name_and_by_number() {
        assert!(grants("root:1:1\nann:100000:65536\n", "ann", 1000));
        assert!(grants("1000:100000:65536", "ann", 1000));
        assert!(!grants("ann:100000:1000", "ann", 1000), "too few");
        assert!(!grants("anna:100000:65536", "ann", 1000));
        assert!(!grants("", "ann", 1000));
    }

    #[test]
    fn every_tool_comes_from_a_listed_package() {
        for (program, package) in TOOLS {
            assert!(HOST_PACKAGES.contains(package), "{program} of {package}");
        }
    }

    #[test]
    fn a_missing_tool_is_told_with_its_package() {
        let error = Error::Missing(vec![MissingTool { program: "mcopy", package: "mtools" }]);
        assert_eq!(error.to_string(), "building a node image needs mcopy: apt-get install mtools");
    }

    #[test]
    fn a_host_that_starts_no_foreign_programs_is_told_what_to_do() {
        let told = Error::Foreign(Architecture::Aarch64).to_string();
        assert!(told.contains("arch-test arm64") && told.contains("binfmt.d/qemu-aarch64.conf"), "{told}");
    }
}
