//! `day1 doctor`: what this host has, what it lacks, and the command that brings it.

use std::process::{Command, ExitCode};

use day1_harness::cache::Cache;
use day1_harness::containers::{Engine, EngineError};

/// The same list that `cargo xtask` installs from.
const TOOLS: &str = include_str!("../../../../ci/host-tools.txt");

/// Free space that a first run takes: node image, build root, headroom for overlays.
const NEED_MIB: u64 = 6 * 1024;

pub fn run(cache: Option<&std::path::Path>) -> ExitCode {
    let mut report = Report { failed: false };
    let mut missing: Vec<&str> = Vec::new();
    // Root maps no ids.
    let needed = |package: &str| package != "uidmap" || !nix::unistd::geteuid().is_root();
    for (program, package, purpose) in tools().filter(|(_, package, _)| needed(package)) {
        let found = on_path(program);
        report.line(found, program, purpose);
        if !found && !missing.contains(&package) {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        say!("    → apt-get install --no-install-recommends {}", missing.join(" "));
    }
    qemu(&mut report);
    kvm();
    user_namespaces();
    container_engine();
    cache_space(&mut report, cache);
    say!(
        "  · cores {}, memory {} MiB free",
        std::thread::available_parallelism().map_or(1, usize::from),
        memory_mib("MemAvailable:").map_or_else(|| "unknown".into(), |mib| mib.to_string())
    );
    if report.failed {
        say!("something is missing; `cargo xtask e2e` installs packages by itself where it may");
        ExitCode::from(3)
    } else {
        say!("this host can run trials");
        ExitCode::SUCCESS
    }
}

struct Report {
    failed: bool,
}

impl Report {
    fn line(&mut self, good: bool, what: &str, detail: &str) {
        say!("  {} {what:<20} {detail}", if good { '✓' } else { '✗' });
        self.failed |= !good;
    }
}

fn tools() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    TOOLS.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (program, rest) = line.split_once(char::is_whitespace)?;
        let (package, purpose) = rest.trim_start().split_once(char::is_whitespace)?;
        Some((program, package, purpose.trim_start()))
    })
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(Into::into)).any(|dir| dir.join(program).is_file())
}

fn qemu(report: &mut Report) {
    let Ok(output) = Command::new("qemu-system-x86_64").arg("--version").output() else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    let version = text.split_whitespace().nth(3).unwrap_or("unknown");
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).unwrap_or(0);
    report.line(
        major >= 7,
        "QEMU",
        &format!("{version}{}", if major < 10 { " (10 is a third faster without KVM)" } else { "" }),
    );
}

fn kvm() {
    match std::fs::File::options().read(true).write(true).open("/dev/kvm") {
        Ok(_) => say!("  · KVM: /dev/kvm opens; a run believes it only after it has booted the node's own kernel"),
        Err(error) => say!("  · KVM: no ({error}); machines run without it, some five times slower"),
    }
}

fn user_namespaces() {
    if nix::unistd::geteuid().is_root() {
        say!("  · builds run as root");
        return;
    }
    let unshare = |options: &[&str]| Command::new("unshare").args(options).arg("true").output();
    // Asked first: where none is allowed, what `unshare` starts to map ids would wait for ever.
    let works = unshare(&["--user"]).ok().filter(|output| output.status.success());
    match works.and_then(|_| unshare(&["--user", "--map-root-user", "--map-auto"]).ok()) {
        Some(output) if output.status.success() => say!("  · builds run without root, in user namespaces"),
        _ => say!(
            "  · builds without root need user namespaces and entries in /etc/subuid and /etc/subgid (package uidmap)"
        ),
    }
}

fn container_engine() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.map(|runtime| runtime.block_on(Engine::find())) {
        Ok(Ok(engine)) => {
            say!("  · container engine: {engine}, for modules of Fedora CoreOS and `--registry container`")
        }
        Ok(Err(EngineError::NoneAnswers { tried })) => {
            say!(
                "  · container engine: none, which only modules of Fedora CoreOS and `--registry container` need ({tried})"
            );
        }
        Ok(Err(error)) => say!(
            "  · container engine: none, which only modules of Fedora CoreOS and `--registry container` need: {error}"
        ),
        Err(error) => say!("  · container engine: not asked for, there is no event loop: {error}"),
    }
}

fn cache_space(report: &mut Report, explicit: Option<&std::path::Path>) {
    let cache = match Cache::open(explicit) {
        Ok(cache) => cache,
        Err(error) => return report.line(false, "cache", &error.to_string()),
    };
    let Ok(stat) = nix::sys::statvfs::statvfs(cache.root()) else {
        return report.line(false, "cache", &format!("the free space of {} can't be read", cache.root().display()));
    };
    let free = stat.blocks_available() * stat.fragment_size() / (1024 * 1024);
    report.line(
        free >= NEED_MIB,
        "cache",
        &format!("{}, {free} MiB free of {NEED_MIB} wanted", cache.root().display()),
    );
}

fn memory_mib(field: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
