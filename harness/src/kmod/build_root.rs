//! The root in which modules are compiled: a compiler, `make`, `depmod` and one kernel's headers, from the
//! packages of the node's distribution.
//!
//! The packages are only unpacked, never configured, so it takes no privileges; what compiling a module does not
//! need is left out on the way (about 185 MiB stay, in place of about 600 MiB of installed packages).
//!
//! What runs in it is for the host's processor, whatever the kernel is for: headers, and the compiler's target, are
//! those of the kernel.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, check_kernel_release, sandbox};
use crate::architecture::Architecture;
use crate::cache::{self, Cache, Fetched};

/// Debian packages that the host needs for this room.
pub const HOST_PACKAGES: &[&str] = &["mmdebstrap", "debian-archive-keyring", "util-linux"];

const SETUP_HOOK: &str = include_str!("setup-hook.sh");
const EXTRACT_HOOK: &str = include_str!("extract-hook.sh");
/// Free space that making it takes: the packages, and the tree that they unpack to.
const NEED_MIB: u64 = 400;
const CACHE_KIND: &str = "kmod-build-root";
/// Goes up when a build root of an older version can't be used any more.
const VERSION: &str = "1";

/// The root in an entry, and the programs for another processor beside it.
const ROOT: &str = "root";
const PROGRAMS: &str = "programs";

const PACKAGES: &[&str] =
    &["base-files", "bash", "coreutils", "dash", "diffutils", "findutils", "grep", "kmod", "make", "mawk", "sed"];
/// What [`super::Base`] has programs of.
const PROGRAM_PACKAGES: &[&str] = &["base-files", "coreutils", "dash", "findutils", "grep", "kmod", "sed"];
/// Documentation, and the parts of GCC and its friends for anything but compiling C for the kernel.
const LEFT_OUT: &[&str] = &[
    "/boot/*",
    "/usr/share/*",
    "/usr/bin/*lto-dump*",
    "/usr/bin/*gcov*",
    "/usr/bin/*gp-*",
    "/usr/bin/*gprofng*",
    "/usr/libexec/gcc*/*/lto1",
    "/usr/lib/systemd/*",
    "/usr/lib/*.a",
    "/usr/lib/*/lib*san.so*",
    "/usr/lib/*/libgprofng*",
];

/// Where a node's kernel and its headers come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// The suite, such as `trixie`.
    pub suite: String,
    /// The mirror, such as `http://deb.debian.org/debian`.
    pub mirror: String,
    /// The mirror of the security updates, which keeps more kernels than the main one.
    pub security_mirror: Option<String>,
    /// The kernel's processor.
    pub architecture: Architecture,
}

impl Distribution {
    /// Debian for a processor at `mirror`; where its path ends with `/debian`, the security updates are beside it, as on
    /// Debian's own servers.
    pub fn debian(architecture: Architecture, suite: impl Into<String>, mirror: impl Into<String>) -> Self {
        let (suite, mirror) = (suite.into(), mirror.into());
        let has_security = !["sid", "unstable", "experimental"].contains(&suite.as_str());
        let trimmed = mirror.trim_end_matches('/');
        let security_mirror = (has_security && trimmed.ends_with("/debian")).then(|| format!("{trimmed}-security"));
        Self { suite, mirror, security_mirror, architecture }
    }

    fn sources(&self) -> Vec<String> {
        let own = self.base();
        let backports = (own != self.suite).then(|| format!("deb {} {} main", self.mirror, self.suite));
        let main = format!("deb {} {own} main", self.mirror);
        let security = self.security_mirror.iter().map(|mirror| format!("deb {mirror} {own}-security main"));
        std::iter::once(main).chain(security).chain(backports).collect()
    }

    /// The suite whose packages the suite's own are meant for: a suite of backports is none by itself.
    fn base(&self) -> &str {
        self.suite.strip_suffix("-backports").unwrap_or(&self.suite)
    }

    fn check(&self) -> Result<(), Error> {
        check_word("suite", &self.suite)?;
        for mirror in std::iter::once(&self.mirror).chain(&self.security_mirror) {
            let plain = mirror.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'[');
            if !plain || url::Url::parse(mirror).is_err() {
                return Err(Error::Malformed {
                    what: "mirror",
                    value: mirror.clone(),
                    expected: "it is a URL such as http://deb.debian.org/debian",
                });
            }
        }
        Ok(())
    }
}

fn check_word(what: &'static str, value: &str) -> Result<(), Error> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if value.starts_with(|first: char| first.is_ascii_lowercase()) && value.bytes().all(fits) {
        return Ok(());
    }
    Err(Error::Malformed { what, value: value.to_owned(), expected: "it is lower-case letters, digits and hyphens" })
}

/// A complete build root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRoot {
    /// The root directory.
    pub path: PathBuf,
    /// The kernel whose headers are in it.
    pub kernel_release: String,
    /// The kernel's processor.
    pub architecture: Architecture,
    /// The tree with programs for that processor: the root itself, or one beside it.
    pub programs: PathBuf,
    /// Identifies what it was made from.
    pub key: String,
}

impl BuildRoot {
    /// One whose programs are those of the kernel's processor, which is the host's.
    pub(crate) fn of_one_tree(path: PathBuf, architecture: Architecture, kernel_release: &str, key: String) -> Self {
        Self { programs: path.clone(), path, kernel_release: kernel_release.to_owned(), architecture, key }
    }

    /// A command that runs the words added to it inside the root, with `work` at `/build`.
    pub(super) fn command(&self, work: &Path) -> Command {
        sandbox::inside(&self.path, work)
    }

    /// What the names of the tools that read and write the kernel's binaries begin with: nothing, where they are the
    /// host's own.
    pub(super) fn tool_prefix(&self) -> String {
        if self.architecture.is_native() { String::new() } else { format!("{}-", self.architecture.gnu_name()) }
    }
}

/// The build root for a kernel; made from the distribution's packages where the cache has none (about 25 s).
pub fn ensure_build_root(
    cache: &Cache,
    distribution: &Distribution,
    kernel_release: &str,
    progress: &dyn Fn(&str),
) -> Result<BuildRoot, Error> {
    check_kernel_release(kernel_release)?;
    distribution.check()?;
    let key = key(distribution, kernel_release);
    let entry = cache.entry(CACHE_KIND, &key, NEED_MIB, |partial| {
        progress(&format!("making a root to build modules for kernel {kernel_release}"));
        for (name, text) in [("setup-hook.sh", SETUP_HOOK), ("extract-hook.sh", EXTRACT_HOOK)] {
            let path = partial.join(name);
            std::fs::write(&path, text).map_err(Error::io("write", path))?;
        }
        make(partial, distribution, kernel_release, progress).map_err(|source| Error::BuildRoot {
            kernel_release: kernel_release.to_owned(),
            suite: distribution.suite.clone(),
            mirror: distribution.mirror.clone(),
            source: Box::new(source),
        })
    })?;
    let architecture = distribution.architecture;
    let programs = entry.join(if architecture.is_native() { ROOT } else { PROGRAMS });
    Ok(BuildRoot { path: entry.join(ROOT), kernel_release: kernel_release.to_owned(), architecture, programs, key })
}

/// What the build root for a kernel is made of, and what the cache has of it.
pub fn fetched(cache: &Cache, distribution: &Distribution, kernel_release: &str) -> Fetched {
    let key = key(distribution, kernel_release);
    Fetched {
        from: distribution.sources(),
        packages: packages(distribution, kernel_release),
        ..Fetched::entry(cache, "build-root", kernel_release, (CACHE_KIND, &key))
    }
}

/// The packages that are unpacked, besides those that they depend on.
fn packages(distribution: &Distribution, kernel_release: &str) -> Vec<String> {
    let headers = format!("linux-headers-{kernel_release}:{}", distribution.architecture.debian_name());
    let own = PACKAGES.iter().map(|package| (*package).to_owned());
    [headers, compiler(distribution.architecture)].into_iter().chain(own).collect()
}

fn key(distribution: &Distribution, kernel_release: &str) -> String {
    let sources = distribution.sources().join("\n");
    let architectures = architectures(distribution.architecture);
    let words = [VERSION, SETUP_HOOK, EXTRACT_HOOK, &distribution.suite, &architectures, &sources];
    let lists = PACKAGES.iter().chain(PROGRAM_PACKAGES).chain(LEFT_OUT).copied();
    cache::key(words.into_iter().chain([kernel_release]).chain(lists).map(str::as_bytes))
}

/// Those that packages are taken from, in Debian's words: that of the host, for what runs in the root, and the kernel's.
fn architectures(kernel: Architecture) -> String {
    match Architecture::of_host() {
        Some(host) if host != kernel => format!("{},{}", host.debian_name(), kernel.debian_name()),
        _ => kernel.debian_name().to_owned(),
    }
}

fn compiler(kernel: Architecture) -> String {
    if kernel.is_native() { "gcc".to_owned() } else { format!("gcc-{}", kernel.gnu_name()) }
}

fn make(
    partial: &Path,
    distribution: &Distribution,
    kernel_release: &str,
    progress: &dyn Fn(&str),
) -> Result<(), crate::process::Error> {
    sandbox::require("mmdebstrap")?;
    let architecture = distribution.architecture.debian_name();
    let packages = packages(distribution, kernel_release).join(",");
    let mut root = unpack(distribution, &architectures(distribution.architecture), &packages, &partial.join(ROOT));
    root.args(["setup", "extract"].map(|hook| format!("--{hook}-hook=sh \"$DAY1_HOOKS/{hook}-hook.sh\" \"$1\"")))
        .env("DAY1_HOOKS", partial)
        .env("DAY1_KERNEL_RELEASE", kernel_release)
        .env("DAY1_ARCHITECTURE", architecture)
        // mmdebstrap's own files, so that a killed maker's are removed with the entry.
        .env("TMPDIR", partial);
    run(root, progress)?;
    if !distribution.architecture.is_native() {
        let mut programs = unpack(distribution, architecture, &PROGRAM_PACKAGES.join(","), &partial.join(PROGRAMS));
        programs.env("TMPDIR", partial);
        run(programs, progress)?;
    }
    Ok(())
}

/// A command that unpacks packages, and what they depend on, into a new directory; options may follow.
fn unpack(distribution: &Distribution, architectures: &str, packages: &str, into: &Path) -> Command {
    let mut command = sandbox::isolated();
    command
        .arg("mmdebstrap")
        // Unpacking runs nothing from the packages, so no mode that changes the root is needed, nor its privileges.
        .args(["--mode=chrootless", "--skip=check/chrootless", "--variant=extract", "--format=directory"])
        .arg(format!("--architectures={architectures}"))
        .arg(format!("--include={packages}"))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg(distribution.base())
        .arg(into)
        .args(distribution.sources());
    command
}

fn run(command: Command, progress: &dyn Fn(&str)) -> Result<(), crate::process::Error> {
    sandbox::run(command, &mut |line| {
        if let Some(step) = line.strip_prefix("I: ").filter(|step| step.ends_with("...") && !step.starts_with("main()"))
        {
            progress(step.trim_end_matches('.'));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_security_mirror_is_beside_debians_own() {
        let stable = Distribution::debian(Architecture::X86_64, "trixie", "http://deb.debian.org/debian/");
        assert_eq!(stable.security_mirror.as_deref(), Some("http://deb.debian.org/debian-security"));
        assert_eq!(stable.sources().len(), 2);
        let backports = Distribution::debian(Architecture::X86_64, "trixie-backports", "http://deb.debian.org/debian");
        assert_eq!(
            backports.sources(),
            [
                "deb http://deb.debian.org/debian trixie main",
                "deb http://deb.debian.org/debian-security trixie-security main",
                "deb http://deb.debian.org/debian trixie-backports main",
            ]
        );
        assert_eq!(
            Distribution::debian(Architecture::X86_64, "sid", "http://deb.debian.org/debian").security_mirror,
            None
        );
        assert_eq!(
            Distribution::debian(Architecture::X86_64, "trixie", "http://mirror.example/d").security_mirror,
            None
        );
    }

    #[test]
    fn what_could_be_taken_for_an_option_or_a_script_is_refused() {
        let good = Distribution::debian(Architecture::X86_64, "trixie", "http://deb.debian.org/debian");
        assert!(good.check().is_ok());
        assert!(Distribution { suite: "--help".into(), ..good.clone() }.check().is_err());
        assert!(Distribution { mirror: "http://x/ sid main".into(), ..good.clone() }.check().is_err());
        assert!(Distribution { mirror: "nonsense".into(), ..good }.check().is_err());
    }

    #[test]
    fn another_kernel_or_mirror_is_another_root() {
        let debian = Distribution::debian(Architecture::X86_64, "trixie", "http://deb.debian.org/debian");
        let key_of_one = key(&debian, "6.12.1-amd64");
        assert_eq!(key_of_one, key(&debian.clone(), "6.12.1-amd64"));
        assert_ne!(key_of_one, key(&debian, "6.12.2-amd64"));
        let arm = Distribution { architecture: Architecture::Aarch64, ..debian.clone() };
        assert_ne!(key_of_one, key(&arm, "6.12.1-amd64"));
        assert_ne!(key_of_one, key(&Distribution { security_mirror: None, ..debian }, "6.12.1-amd64"));
    }

    #[test]
    fn what_runs_in_the_root_is_for_the_host() {
        let host = Architecture::of_host().expect("tests run where nodes can");
        let other = Architecture::ALL.into_iter().find(|one| *one != host).expect("another one");
        assert_eq!((architectures(host).as_str(), compiler(host).as_str()), (host.debian_name(), "gcc"));
        assert_eq!(architectures(other), format!("{},{}", host.debian_name(), other.debian_name()));
        assert_eq!(compiler(other), format!("gcc-{}", other.gnu_name()));
        let root = |architecture| BuildRoot {
            path: "/nowhere".into(),
            kernel_release: "6.1.0".into(),
            architecture,
            programs: "/nowhere".into(),
            key: "key".into(),
        };
        assert_eq!(
            (root(host).tool_prefix().as_str(), root(other).tool_prefix()),
            ("", format!("{}-", other.gnu_name()))
        );
    }

    #[test]
    fn the_scripts_pass_shellcheck() {
        let Ok(_) = Command::new("shellcheck").arg("--version").output() else {
            eprintln!("skipped: shellcheck is not installed");
            return;
        };
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kmod");
        let mut command = Command::new("shellcheck");
        command.args(["enter.sh", "setup-hook.sh", "extract-hook.sh"].map(|name| dir.join(name)));
        crate::process::output(&mut command).expect("clean scripts");
    }
}
