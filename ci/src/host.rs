//! Brings what the host lacks, from the distribution's packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::run;

const TOOLS: &str = include_str!("../host-tools.txt");

/// Installs the packages of the programs that are missing, as root or with sudo; otherwise says which one
/// command a person has to run.
pub fn prepare() -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.iter().copied().collect::<Vec<_>>().join(" ");
    let by_hand = format!("apt-get install --no-install-recommends {list}");
    if !on_path("apt-get") {
        bail!(
            "this host lacks {list}, and has no apt-get to install them with: install what brings these programs, then try again"
        );
    }
    let Some(prefix) = root_prefix() else {
        bail!(
            "this host lacks {list}, and neither root nor a sudo without a password is at hand. Run this, then try again:\n\n    sudo {by_hand}\n"
        );
    };
    eprintln!("installing what this host lacks: {list}");
    if let Some(suite) = backports().filter(|_| missing.contains("qemu-system-x86")) {
        // QEMU 10 boots a node in two thirds of the time that bookworm's 7.2 takes.
        if let Err(error) = install_from_backports(prefix, suite) {
            eprintln!("no newer QEMU from {suite} ({error:#}); taking the release's own, which is slower");
        }
    }
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    run(apt(prefix).arg("update"))?;
    run(apt(prefix).args(["install", "--yes", "--no-install-recommends"]).args(&missing))?;
    let still = missing_packages();
    if !still.is_empty() {
        bail!("after the installation the programs of {still:?} are still not on the PATH");
    }
    Ok(())
}

/// Brings the browser that the report is tested in, where it can be had.
pub fn bring_browser() -> Result<()> {
    if on_path("chromedriver") {
        return Ok(());
    }
    let packages = ["chromium", "chromium-driver"];
    let Some(prefix) = root_prefix() else {
        bail!("this host lacks {0}: run `sudo apt-get install {0}`, then try again", packages.join(" "));
    };
    run(apt(prefix).arg("update"))?;
    run(apt(prefix).args(["install", "--yes", "--no-install-recommends"]).args(packages))
}

fn missing_packages() -> BTreeSet<&'static str> {
    tools()
        .filter(|(program, package)| is_needed(package, is_root()) && !on_path(program))
        .map(|(_, package)| package)
        .collect()
}

/// Root maps no ids.
fn is_needed(package: &str, as_root: bool) -> bool {
    package != "uidmap" || !as_root
}

/// Programs, each with its package.
pub fn tools() -> impl Iterator<Item = (&'static str, &'static str)> {
    TOOLS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    })
}

/// Looked for where root's programs are as well: a user's PATH often lacks those directories.
fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into)).any(|dir| dir.join(program).is_file())
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    succeeds("id", &["-u"]).is_some_and(|user| user.trim_ascii() == b"0")
}

/// Words that make a command run as root; none if there is no way without asking.
fn root_prefix() -> Option<&'static [&'static str]> {
    if is_root() { Some(&[]) } else { succeeds("sudo", &["-n", "true"]).map(|_| &["sudo", "-n"] as &[&str]) }
}

/// What a command prints, if it succeeds.
fn succeeds(program: &str, words: &[&str]) -> Option<Vec<u8>> {
    let output = Command::new(program).args(words).output().ok()?;
    output.status.success().then_some(output.stdout)
}

fn apt(prefix: &[&str]) -> Command {
    let words: Vec<&str> =
        prefix.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// The backports suite of a Debian release whose own QEMU is old.
fn backports() -> Option<&'static str> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    release.lines().any(|line| line == "VERSION_CODENAME=bookworm").then_some("bookworm-backports")
}

/// With lists and sources of its own, so that the host's sources stay as they are.
fn install_from_backports(prefix: &[&str], suite: &str) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("day1-apt-").tempdir().context("cannot make a temporary directory")?;
    let sources = dir.path().join("sources");
    fs::create_dir(&sources)?;
    fs::create_dir_all(dir.path().join("lists/partial"))?;
    // apt drops its privileges to fetch, and must still reach the directory.
    fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    let release = suite.trim_end_matches("-backports");
    fs::write(
        sources.join("backports.sources"),
        format!(
            "Types: deb\nURIs: http://deb.debian.org/debian\nSuites: {release} {release}-updates {suite}\n\
             Components: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
        ),
    )?;
    let with_sources = |command: &mut Command, path: &Path| {
        command
            .arg("-oDir::Etc::sourcelist=/dev/null")
            .arg(format!("-oDir::Etc::sourceparts={}", path.join("sources").display()))
            .arg(format!("-oDir::State::lists={}", path.join("lists").display()));
    };
    let mut update = apt(prefix);
    with_sources(&mut update, dir.path());
    run(update.args(["update", "--error-on=any"]))?;
    let mut install = apt(prefix);
    with_sources(&mut install, dir.path());
    run(install.args([
        "install",
        "--yes",
        "--no-install-recommends",
        "--target-release",
        suite,
        "qemu-system-x86",
        "qemu-utils",
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_user_gets_what_maps_ids() {
        let of = |as_root| {
            tools().filter(|(_, package)| is_needed(package, as_root)).any(|(program, _)| program == "newuidmap")
        };
        assert!(of(false) && !of(true));
    }

    #[test]
    fn each_tool_names_its_package() {
        let packages: BTreeSet<_> = tools().collect();
        assert!(packages.contains(&("qemu-img", "qemu-utils")));
        assert_eq!(tools().count(), TOOLS.lines().filter(|line| !line.starts_with('#')).count());
    }
}
