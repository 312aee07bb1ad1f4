//! The root in which modules are compiled: a compiler, `make`, `depmod` and one kernel's headers, from the
//! packages of the node's distribution.
//!
//! The packages are only unpacked, never configured, so it takes no privileges; what compiling a module does not
//! need is left out on the way (about 185 MiB stay, in place of about 600 MiB of installed packages).

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, check_kernel_release, sandbox};
use crate::cache::{self, Cache};

/// Debian packages that the host needs for this room.
pub const HOST_PACKAGES: &[&str] = &["mmdebstrap", "debian-archive-keyring", "util-linux"];

const SETUP_HOOK: &str = include_str!("setup-hook.sh");
const EXTRACT_HOOK: &str = include_str!("extract-hook.sh");
/// Free space that making it takes: the packages, and the tree that they unpack to.
const NEED_MIB: u64 = 400;
/// Goes up when a build root of an older version can't be used any more.
const VERSION: &str = "1";

const PACKAGES: &[&str] = &[
    "base-files",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "gcc",
    "grep",
    "kmod",
    "make",
    "mawk",
    "sed",
];
/// Documentation, and the parts of GCC and its friends for anything but compiling C for the kernel.
const LEFT_OUT: &[&str] = &[
    "/boot/*",
    "/usr/share/*",
    "/usr/bin/*lto-dump*",
    "/usr/bin/*gcov*",
    "/usr/bin/*gp-*",
    "/usr/bin/*gprofng*",
    "/usr/libexec/gcc/*/lto1",
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
    /// Debian's name of the architecture, such as `amd64`.
    pub architecture: String,
}

impl Distribution {
    /// Debian for amd64 at `mirror`; where its path ends with `/debian`, the security updates are beside it, as on
    /// Debian's own servers.
    pub fn debian(suite: impl Into<String>, mirror: impl Into<String>) -> Self {
        let (suite, mirror) = (suite.into(), mirror.into());
        let has_security = !["sid", "unstable", "experimental"].contains(&suite.as_str());
        let trimmed = mirror.trim_end_matches('/');
        let security_mirror = (has_security && trimmed.ends_with("/debian")).then(|| format!("{trimmed}-security"));
        Self { suite, mirror, security_mirror, architecture: "amd64".to_owned() }
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
        check_word("architecture", &self.architecture)?;
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
    /// Identifies what it was made from.
    pub key: String,
}

impl BuildRoot {
    /// A command that runs the words added to it inside the root, with `work` at `/build`.
    pub(super) fn command(&self, work: &Path) -> Command {
        sandbox::inside(&self.path, work)
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
    let entry = cache.entry("kmod-build-root", &key, NEED_MIB, |partial| {
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
    Ok(BuildRoot { path: entry.join("root"), kernel_release: kernel_release.to_owned(), key })
}

fn key(distribution: &Distribution, kernel_release: &str) -> String {
    let sources = distribution.sources().join("\n");
    let words = [VERSION, SETUP_HOOK, EXTRACT_HOOK, &distribution.suite, &distribution.architecture, &sources];
    let lists = PACKAGES.iter().chain(LEFT_OUT).copied();
    cache::key(words.into_iter().chain([kernel_release]).chain(lists).map(str::as_bytes))
}

fn make(
    partial: &Path,
    distribution: &Distribution,
    kernel_release: &str,
    progress: &dyn Fn(&str),
) -> Result<(), crate::process::Error> {
    sandbox::require("mmdebstrap")?;
    let packages = format!("linux-headers-{kernel_release},{}", PACKAGES.join(","));
    let mut command = sandbox::isolated();
    command
        .arg("mmdebstrap")
        // Unpacking runs nothing from the packages, so no mode that changes the root is needed, nor its privileges.
        .args(["--mode=chrootless", "--skip=check/chrootless", "--variant=extract", "--format=directory"])
        .arg(format!("--architectures={}", distribution.architecture))
        .arg(format!("--include={packages}"))
        .arg("--aptopt=Acquire::Languages \"none\"")
        .args(LEFT_OUT.iter().map(|path| format!("--dpkgopt=path-exclude={path}")))
        .arg("--setup-hook=sh \"$DAY1_HOOKS/setup-hook.sh\" \"$1\"")
        .arg("--extract-hook=sh \"$DAY1_HOOKS/extract-hook.sh\" \"$1\"")
        .arg(distribution.base())
        .arg(partial.join("root"))
        .args(distribution.sources())
        .env("DAY1_HOOKS", partial)
        .env("DAY1_KERNEL_RELEASE", kernel_release)
        .env("DAY1_ARCHITECTURE", &distribution.architecture)
        // mmdebstrap's own files, so that a killed maker's are removed with the entry.
        .env("TMPDIR", partial);
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
        let stable = Distribution::debian("trixie", "http://deb.debian.org/debian/");
        assert_eq!(stable.security_mirror.as_deref(), Some("http://deb.debian.org/debian-security"));
        assert_eq!(stable.sources().len(), 2);
        let backports = Distribution::debian("trixie-backports", "http://deb.debian.org/debian");
        assert_eq!(
            backports.sources(),
            [
                "deb http://deb.debian.org/debian trixie main",
                "deb http://deb.debian.org/debian-security trixie-security main",
                "deb http://deb.debian.org/debian trixie-backports main",
            ]
        );
        assert_eq!(Distribution::debian("sid", "http://deb.debian.org/debian").security_mirror, None);
        assert_eq!(Distribution::debian("trixie", "http://mirror.example/d").security_mirror, None);
    }

    #[test]
    fn what_could_be_taken_for_an_option_or_a_script_is_refused() {
        let good = Distribution::debian("trixie", "http://deb.debian.org/debian");
        assert!(good.check().is_ok());
        assert!(Distribution { suite: "--help".into(), ..good.clone() }.check().is_err());
        assert!(Distribution { mirror: "http://x/ sid main".into(), ..good.clone() }.check().is_err());
        assert!(Distribution { mirror: "nonsense".into(), ..good.clone() }.check().is_err());
        assert!(Distribution { architecture: "amd64;".into(), ..good }.check().is_err());
    }

    #[test]
    fn another_kernel_or_mirror_is_another_root() {
        let debian = Distribution::debian("trixie", "http://deb.debian.org/debian");
        let key_of_one = key(&debian, "6.12.1-amd64");
        assert_eq!(key_of_one, key(&debian.clone(), "6.12.1-amd64"));
        assert_ne!(key_of_one, key(&debian, "6.12.2-amd64"));
        assert_ne!(key_of_one, key(&Distribution { security_mirror: None, ..debian }, "6.12.1-amd64"));
    }

    #[test]
    fn the_scripts_pass_shellcheck() {
        let Ok(_) = Command::new("shellcheck").arg("--version").output() else {
            eprintln!("skipped: shellcheck is not installed");
            return;
        };
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kmod");
        let mut command = Command::new("shellcheck");
        command.args(["enter.sh", "setup-hook.sh", "extract-hook.sh", "programs.sh"].map(|name| dir.join(name)));
        crate::process::output(&mut command).expect("clean scripts");
    }
}
