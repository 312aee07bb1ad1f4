//! Orderings that hold by luck, or not at all.

use super::behaviour::Behaviour;
use super::config::{Config, Unit};
use super::known::{followed, is_early, is_surely_after_local_fs};
use super::report::Findings;
use super::rules::{
    DBUS_ORDER, MOUNT_DEPENDENCY, NETWORK_ONLINE, NOT_ORDERED, NOT_REMAINING, ORDER_VOID, PASSIVE_TARGET,
    PRIVATE_MOUNTS, PRIVATE_TMP_ORDER, REQUIRES_WITHOUT_AFTER, TYPE_SIMPLE, UDEV_ORDER,
};
use super::services::{HOLDS_UP, is_started_by_others};
use super::unit::{UnitFile, boolean};

const NETWORK: &str = "network-online.target";

pub(super) fn check(config: &Config, behaviours: &[Behaviour<'_>], findings: &mut Findings) {
    for unit in config.units.iter().filter(|unit| !unit.mask) {
        network_online(unit, findings);
        passive_targets(unit, findings);
        others_of_the_config(config, unit, findings);
    }
    for behaviour in behaviours {
        if behaviour.unit.has_contents {
            type_simple(behaviour, findings);
        }
        if behaviour.unit.file.is_early() && behaviour.unit.has_contents {
            early(behaviour, findings);
        }
        private_mounts(behaviour, findings);
    }
}

fn network_online(unit: &Unit, findings: &mut Findings) {
    let file = &unit.file;
    // A drop-in for somebody else's unit need not say again what that unit says.
    if !unit.has_contents {
        return;
    }
    let wanted = file.pulls_in(NETWORK);
    if let Some((_, setting)) = file.words("Unit", "After").find(|(word, _)| *word == NETWORK)
        && !wanted
    {
        let message = format!("{} comes after {NETWORK}, but does not want it", unit.name);
        findings.add(&NETWORK_ONLINE, &setting.value_place(), message);
    }
    // A target waits for what it wants (systemd.target(5), Default Dependencies).
    let waits = unit.name.ends_with(".target") && !file.is_early();
    if wanted && !waits && !file.names("After", NETWORK) {
        let wants = ["Wants", "Requires", "BindsTo", "Upholds"].iter().flat_map(|key| file.words("Unit", key));
        if let Some((_, setting)) = wants.into_iter().find(|(word, _)| *word == NETWORK) {
            let message = format!("{} wants {NETWORK}, but does not wait for it", unit.name);
            findings.add(&NETWORK_ONLINE, &setting.value_place(), message);
        }
    }
}

/// Targets that are started only by those who want to come before them (systemd.special(7)).
const PASSIVE: [&str; 7] = [
    "network-pre.target",
    "local-fs-pre.target",
    "remote-fs-pre.target",
    "cryptsetup-pre.target",
    "veritysetup-pre.target",
    "getty-pre.target",
    "first-boot-complete.target",
];

fn passive_targets(unit: &Unit, findings: &mut Findings) {
    for (target, setting) in unit.file.words("Unit", "Before") {
        if PASSIVE.contains(&target) && !unit.file.pulls_in(target) {
            let message = format!("{} comes before {target}, but does not want it", unit.name);
            let help = format!("Add `Wants={target}`.");
            findings.add_with_help(&PASSIVE_TARGET, &setting.value_place(), message, help);
        }
    }
}

fn others_of_the_config(config: &Config, unit: &Unit, findings: &mut Findings) {
    let file = &unit.file;
    for key in ["After", "Before"] {
        for (name, setting) in file.words("Unit", key) {
            let Some(other) = config.unit(name) else { continue };
            let nobody = other.has_contents && other.enabled != Some(true) && !is_started_by_others(config, other);
            if other.mask || nobody {
                let why = if other.mask { "is masked" } else { "nothing starts" };
                findings.add(&ORDER_VOID, &setting.value_place(), format!("{key}={name}, which {why}"));
            }
        }
    }
    for key in ["Requires", "BindsTo", "Requisite"] {
        for (name, setting) in file.words("Unit", key) {
            let Some(other) = config.unit(name).filter(|other| other.has_contents) else { continue };
            // A socket, path or timer of the same name has its order from what it is.
            let stem = |name: &str| name.rsplit_once('.').map(|(stem, _)| stem.to_owned());
            let is_twin = stem(name) == stem(&unit.name);
            if !is_twin && !file.names("After", name) && !other.file.names("Before", &unit.name) {
                let message = format!("{} has {key}={name} without After={name}", unit.name);
                findings.add(&REQUIRES_WITHOUT_AFTER, &setting.value_place(), message);
            }
            if key != "Requires"
                && other.is_service()
                && other.file.service_type() == "oneshot"
                && !other.file.remains()
            {
                let message = format!("{} has {key}={name}, which is inactive when its command ends", unit.name);
                findings.add(&NOT_REMAINING, &setting.value_place(), message);
            }
        }
    }
}

/// What a short task is put before because it has to be done then. Daemons of Type=simple go before others, too, and
/// only mean to be started.
const DONE_BEFORE: [&str; 4] =
    ["network-pre.target", "NetworkManager.service", "kubelet-dependencies.target", "sysinit.target"];

fn type_simple(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let unit = behaviour.unit;
    let file = &unit.file;
    // No daemon does this; what is done before it starts, or when it ends, is another matter.
    let only_starts =
        ["ExecStartPre", "ExecStop", "ExecStopPost"].iter().all(|key| file.last("Service", key).is_none());
    let swaps = |call: &super::script::Call| call.swaps_modules() && !call.runs_containers();
    let is_task = only_starts && behaviour.first(swaps).is_some();
    let restarts = file.value("Service", "Restart").is_some_and(|restart| restart == "always");
    if restarts || !["simple", "exec"].contains(&file.service_type()) {
        return;
    }
    let waits = |word: &str| DONE_BEFORE.contains(&word) || (is_task && HOLDS_UP.contains(&word));
    if let Some((target, setting)) = file.words("Unit", "Before").find(|(word, _)| waits(word)) {
        let message = format!("{target} does not wait until {} is done, as its Type= is simple", unit.name);
        findings.add(&TYPE_SIMPLE, &setting.value_place(), message);
    }
}

/// Whether a unit runs only when the node goes down.
fn is_of_shutdown(file: &UnitFile) -> bool {
    const DOWN: [&str; 7] = [
        "shutdown.target",
        "reboot.target",
        "halt.target",
        "poweroff.target",
        "kexec.target",
        "soft-reboot.target",
        "final.target",
    ];
    let mut started_by = ["WantedBy", "RequiredBy"].iter().flat_map(|key| file.words("Install", key)).peekable();
    started_by.peek().is_some() && started_by.all(|(target, _)| DOWN.contains(&target))
}

/// Whether an early unit surely starts when all local file systems are there.
fn is_after_local_fs(file: &UnitFile) -> bool {
    file.words("Unit", "After")
        .any(|(name, _)| is_surely_after_local_fs(name) || (file.pulls_in(name) && !is_early(name)))
}

fn early(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let unit = behaviour.unit;
    let file = &unit.file;
    let Some(setting) = file.last("Unit", "DefaultDependencies") else { return };
    let place = setting.place.clone();
    let after_local_fs = is_after_local_fs(file);
    let waits_for_mounts =
        ["RequiresMountsFor", "WantsMountsFor"].iter().any(|key| file.words("Unit", key).next().is_some());
    // A mount, a slice or a socket of one's own has its order from what it is.
    if !unit.is_service() || is_of_shutdown(file) {
        return;
    }
    let private_tmp = file.last("Service", "PrivateTmp").filter(|setting| boolean(&setting.value) == Some(true));
    if let Some(private) = private_tmp.filter(|_| !after_local_fs) {
        let message = format!("{} comes after the file systems only because of PrivateTmp=", unit.name);
        findings.add(&PRIVATE_TMP_ORDER, &private.place, message);
    } else if file.words("Unit", "After").next().is_none() && !waits_for_mounts && !after_local_fs {
        findings.add(&NOT_ORDERED, &place, format!("{} waits for nothing at all", unit.name));
    }
    if !after_local_fs && private_tmp.is_none() {
        mounts(behaviour, &place, findings);
    }
    let after = |names: &[&str]| file.words("Unit", "After").any(|(word, _)| names.contains(&word));
    let after_sysinit =
        after(&["sysinit.target", "basic.target", "multi-user.target", "NetworkManager.service", "network.target"])
            || (after(&[NETWORK]) && file.pulls_in(NETWORK));
    if !after_sysinit {
        let udev = ["systemd-udev-trigger.service", "systemd-udev-settle.service", "systemd-modules-load.service"];
        if let Some((call, swaps)) = behaviour.first(super::script::Call::swaps_modules)
            && !after(&udev)
        {
            let message = format!("{} runs `{}` and is not ordered with udev", unit.name, call.title());
            findings.add(&UDEV_ORDER, &swaps, message);
        }
        let own_cgroups = |call: &super::script::Call| {
            call.words.iter().any(|word| word.contains("cgroupfs") || word == "--cgroups=disabled")
        };
        if let Some((call, runs)) = behaviour.first(|call| call.runs_containers() && !own_cgroups(call))
            && !after(&["dbus.socket", "dbus.service", "dbus-broker.service"])
        {
            let message = format!("{} runs `{}` and is not ordered after D-Bus", unit.name, call.title());
            findings.add(&DBUS_ORDER, &runs, message);
        }
    }
}

fn mounts(behaviour: &Behaviour<'_>, place: &super::report::Place, findings: &mut Findings) {
    let file = &behaviour.unit.file;
    let waits = ["RequiresMountsFor", "WantsMountsFor"];
    let covered: Vec<&str> = waits.iter().flat_map(|key| file.words("Unit", key)).map(|(path, _)| path).collect();
    let is_covered = |path: &str| {
        let dir = path.rsplit_once('/').map_or("", |(dir, _)| dir);
        covered.iter().any(|waited| path.starts_with(waited) || waited.starts_with(dir) && !dir.is_empty())
    };
    let lines = behaviour.execs.iter().flat_map(|exec| exec.words.iter().map(|word| word.text.clone()));
    let called = behaviour.calls().flat_map(|(_, call)| {
        call.words.iter().chain(call.redirects.iter().map(|(_, word)| word)).map(|word| behaviour.resolve(word))
    });
    let mut missing: Vec<String> = lines
        .chain(called)
        .map(|path| followed(path.split([':', ' ', '\n', ';']).next().unwrap_or_default()))
        .filter(|path| path.starts_with("/var/") && !is_covered(path))
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if !missing.is_empty() {
        let shown = missing.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
        let more = if missing.len() > 3 { format!(" and {} more", missing.len() - 3) } else { String::new() };
        let message = format!("{} uses {shown}{more} and does not wait for their mounts", behaviour.unit.name);
        findings.add(&MOUNT_DEPENDENCY, place, message);
    }
}

fn private_mounts(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    const PRIVATE: [&str; 6] =
        ["PrivateTmp", "PrivateMounts", "PrivateDevices", "ProtectSystem", "ProtectHome", "MountFlags"];
    let file = &behaviour.unit.file;
    let Some((call, _)) = behaviour.first(super::script::Call::runs_containers) else { return };
    let private = PRIVATE.iter().filter_map(|key| file.last("Service", key));
    if let Some(setting) = private.into_iter().find(|setting| boolean(&setting.value) != Some(false)) {
        let message = format!("{}= gives `{}` mounts that the host does not see", setting.key, call.title());
        findings.add(&PRIVATE_MOUNTS, &setting.place, message);
    }
}
