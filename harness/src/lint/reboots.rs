//! Reboots that a unit asks for at boot.

use std::collections::BTreeSet;

use super::behaviour::Behaviour;
use super::config::Config;
use super::report::{Findings, Place};
use super::rules::{REBOOT_FIRSTBOOT, REBOOT_KUBELET, REBOOT_UNBOUNDED};
use super::script::Call;
use super::services::is_started_by_others;
use super::unit::{Setting, UnitFile};

pub(super) fn check(config: &Config, behaviours: &[Behaviour<'_>], findings: &mut Findings) {
    for behaviour in behaviours {
        let unit = behaviour.unit;
        let called = behaviour.first(Call::reboots).map(|(_, place)| place);
        let Some(place) = called.or_else(|| by_setting(&unit.file)) else { continue };
        // A timer or a person starts it at a time of their own.
        if !unit.starts_at_boot() || is_started_by_others(config, unit) {
            continue;
        }
        let file = &unit.file;
        let first_boot_only = file.last("Unit", "ConditionFirstBoot").is_some();
        if !first_boot_only && !remembers(behaviour) {
            let message = format!("{} reboots, and nothing remembers that it did", unit.name);
            findings.add(&REBOOT_UNBOUNDED, &place, message);
        }
        let before = |name: &str| file.names("Before", name);
        if !["kubelet-dependencies.target", "kubelet.service", "crio.service"].iter().any(|name| before(name)) {
            let message = format!("{} reboots, and kubelet does not wait for it", unit.name);
            findings.add(&REBOOT_KUBELET, &place, message);
        }
        let firstboot = "machine-config-daemon-firstboot.service";
        if !file.names("After", firstboot) && !before(firstboot) {
            let message = format!("{} reboots, unordered with {firstboot}", unit.name);
            findings.add(&REBOOT_FIRSTBOOT, &place, message);
        }
    }
}

/// Where a setting of a unit asks for a reboot (systemd.unit(5), FailureAction=, OnFailure=).
fn by_setting(file: &UnitFile) -> Option<Place> {
    const ACTIONS: [&str; 4] = ["FailureAction", "SuccessAction", "StartLimitAction", "JobTimeoutAction"];
    const STARTS: [&str; 6] = ["OnFailure", "OnSuccess", "Wants", "Requires", "BindsTo", "Upholds"];
    const UNITS: [&str; 4] = ["reboot.target", "kexec.target", "soft-reboot.target", "systemd-reboot.service"];
    let actions = ACTIONS.iter().flat_map(|key| file.last("Unit", key).or_else(|| file.last("Service", key)));
    let action = actions
        .into_iter()
        .find(|setting| ["reboot", "kexec", "soft-reboot"].iter().any(|action| setting.value.starts_with(action)));
    let starts = || STARTS.iter().flat_map(|key| file.words("Unit", key));
    let setting = action.or_else(|| starts().find(|(unit, _)| UNITS.contains(unit)).map(|(_, setting)| setting));
    setting.map(Setting::value_place)
}

/// Whether something is looked at that is also written: a counter or a marker.
fn remembers(behaviour: &Behaviour<'_>) -> bool {
    let resolved = |words: Vec<&str>| words.into_iter().map(|word| behaviour.resolve(word)).collect::<Vec<_>>();
    let volatile =
        |path: &String| ["/dev/", "/proc/", "/run/", "/tmp/", "/sys/"].iter().any(|dir| path.starts_with(dir));
    let written: BTreeSet<String> = behaviour.calls().flat_map(|(_, call)| resolved(call.writes())).collect();
    let written: BTreeSet<String> = written.into_iter().filter(|path| !volatile(path)).collect();
    let conditions = behaviour.unit.file.settings.iter().filter(|setting| setting.section == "Unit");
    let conditions = conditions.filter(|setting| setting.key.starts_with("ConditionPath"));
    let conditions = conditions.map(|setting| setting.value.trim_start_matches(['!', '|']).to_owned());
    let looked_at = behaviour.calls().flat_map(|(_, call)| resolved(call.looks_at()));
    looked_at.chain(conditions).any(|path| written.contains(&path))
}
