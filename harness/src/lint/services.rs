//! What is wrong with services by themselves: command lines, enablement, time limits.

use super::behaviour::{Behaviour, execs};
use super::config::{Config, Contents, Unit};
use super::known::{followed, is_known_target, misspelt, needed_by_the_node};
use super::report::Findings;
use super::rules::{
    EXEC_LABEL, EXEC_PATH, EXEC_QUOTING, EXEC_UNKNOWN, FAILURE_IGNORED, MASKED, NO_INSTALL, NO_SHEBANG, NO_TIMEOUT,
    NOT_ENABLED, NOT_EXECUTABLE, SERVICE_REFUSED, SHELL_IN_EXEC, SHORT_TIMEOUT, UNIT_MISSPELT, UNKNOWN_TARGET,
};
use super::script::Status;
use super::unit::{Setting, boolean, command_words, seconds};
use super::unit_syntax::is_timer;

pub(super) fn check(config: &Config, behaviours: &[Behaviour<'_>], findings: &mut Findings) {
    for unit in &config.units {
        if unit.mask {
            if let Some(why) = needed_by_the_node(&unit.name) {
                findings.add(&MASKED, &unit.place, format!("{} is masked: {why}", unit.name));
            }
            continue;
        }
        quoting(unit, findings);
        enablement(config, unit, findings);
        named_units(config, unit, findings);
        if unit.is_service() && unit.has_contents {
            refused(unit, findings);
        }
        if unit.has_contents {
            mount_or_timer(unit, findings);
            checked_device(unit, findings);
        }
        if let Some((code, setting)) =
            unit.file.words("Service", "SuccessExitStatus").find(|(code, _)| is_failure(code))
        {
            let message = format!("{} succeeds although its command ends with {code}", unit.name);
            findings.add(&FAILURE_IGNORED, &setting.value_place(), message);
        }
    }
    for behaviour in behaviours {
        lines(config, behaviour, findings);
        timeouts(behaviour, findings);
    }
}

/// Directives whose values are split into words with quotes.
const QUOTED: [&str; 8] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecStop",
    "ExecStopPost",
    "Environment",
];

fn quoting(unit: &Unit, findings: &mut Findings) {
    let quoted = |setting: &&Setting| QUOTED.contains(&setting.key.as_str());
    for setting in unit.file.settings.iter().filter(quoted) {
        if command_words(&setting.value).is_none() {
            findings.add(&EXEC_QUOTING, &setting.value_place(), format!("the quotes of {}= do not match", setting.key));
        }
    }
}

fn enablement(config: &Config, unit: &Unit, findings: &mut Findings) {
    if !unit.has_contents {
        return;
    }
    let lists = ["WantedBy", "RequiredBy", "UpheldBy", "Also", "Alias"];
    let installs: Vec<(&str, &Setting)> = lists.iter().flat_map(|key| unit.file.words("Install", key)).collect();
    // Targets are commonly wanted by what the operating system or another MachineConfig brings.
    let is_target = unit.name.ends_with(".target");
    let needs_install = unit.enabled == Some(true) && !unit.linked;
    if needs_install && installs.is_empty() && !is_target && !is_started_by_others(config, unit) {
        findings.add(&NO_INSTALL, &unit.place, format!("{} is enabled, but has no [Install]", unit.name));
    }
    let is_template = unit.name.contains("@.") && unit.file.last("Install", "DefaultInstance").is_none();
    if needs_install && !installs.is_empty() && is_template {
        let message = format!("{} is enabled, but is a template without DefaultInstance=", unit.name);
        let help = "Add `DefaultInstance=` to [Install], or enable an instance such as `nic@0.service`.";
        findings.add_with_help(&NO_INSTALL, &unit.place, message, help);
    }
    if unit.enabled != Some(true) && !installs.is_empty() && !is_started_by_others(config, unit) {
        findings.add(&NOT_ENABLED, &unit.place, format!("{} is not enabled", unit.name));
    }
    for (target, setting) in installs {
        let is_target = target.ends_with(".target") && !target.contains(['%', '@']);
        if is_target && setting.key.ends_with("By") && !is_known_target(target) && config.unit(target).is_none() {
            let help = misspelt(target).map(|near| format!("Did you mean {near}?"));
            let help = help.unwrap_or_else(|| UNKNOWN_TARGET.help.to_owned());
            let message = format!("{} is started by {target}, which is not known", unit.name);
            findings.add_with_help(&UNKNOWN_TARGET, &setting.value_place(), message, help);
        }
    }
}

/// Whether another unit of the config starts this one.
pub(super) fn is_started_by_others(config: &Config, unit: &Unit) -> bool {
    let stem = unit.name.rsplit_once('.').map_or("", |(stem, _)| stem);
    config.units.iter().filter(|other| other.name != unit.name).any(|other| {
        let keys = ["Wants", "Requires", "BindsTo", "Upholds", "OnFailure", "OnSuccess"];
        let is_this = |word: &str| word == unit.name || is_instance(word, &unit.name);
        let named = keys.iter().any(|key| other.file.words("Unit", key).any(|(word, _)| is_this(word)));
        let also = other.file.words("Install", "Also").any(|(word, _)| word == unit.name);
        let triggers = ["timer", "path", "socket"].iter().any(|kind| {
            let own = other.file.value(&capitalised(kind), if *kind == "socket" { "Service" } else { "Unit" });
            other.name.ends_with(&format!(".{kind}"))
                && own.map_or(other.name == format!("{stem}.{kind}"), |own| own == unit.name)
        });
        let instance = other.enabled == Some(true) && is_instance(&other.name, &unit.name);
        named || also || triggers || instance
    })
}

/// Whether `nic@0.service` is one of `nic@.service`.
pub(super) fn is_instance(name: &str, template: &str) -> bool {
    let parts = |name: &str| -> Option<(String, String)> {
        let (stem, rest) = name.split_once('@')?;
        Some((stem.to_owned(), rest.rsplit_once('.')?.1.to_owned()))
    };
    template.contains("@.") && parts(name).is_some() && parts(name) == parts(template)
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// Units named in [Unit] that nobody has and that look like a well-known one.
fn named_units(config: &Config, unit: &Unit, findings: &mut Findings) {
    for key in ["Wants", "Requires", "Requisite", "BindsTo", "PartOf", "Before", "After", "Conflicts"] {
        for (name, setting) in unit.file.words("Unit", key) {
            if !name.contains(['%', '@'])
                && config.unit(name).is_none()
                && let Some(near) = misspelt(name)
            {
                let message = format!("{key}={name}: there is no such unit");
                findings.add_with_help(
                    &UNIT_MISSPELT,
                    &setting.value_place(),
                    message,
                    format!("Did you mean {near}?"),
                );
            }
        }
    }
}

/// The status with which nearly every program says that it failed.
fn is_failure(code: &str) -> bool {
    ["1", "FAILURE"].contains(&code)
}

/// What `mount_verify` and `timer_verify` of systemd refuse.
fn mount_or_timer(unit: &Unit, findings: &mut Findings) {
    let file = &unit.file;
    let mut refuse = |place: &super::report::Place, message: String| {
        findings.add(&SERVICE_REFUSED, place, format!("{}: {message}", unit.name));
    };
    if unit.name.ends_with(".mount") {
        match file.last("Mount", "Where") {
            Some(place) if !place.value.contains('%') && unit_of_mount(&place.value) != unit.name => {
                let name = unit_of_mount(&place.value);
                refuse(&place.value_place(), format!("Where={} belongs into {name}", place.value));
            }
            _ if file.last("Mount", "What").is_none() => refuse(&unit.place, "it has no What=".to_owned()),
            _ => {}
        }
    }
    if unit.name.ends_with(".timer") {
        let times = file.settings.iter().filter(|setting| setting.section == "Timer" && setting.key.starts_with("On"));
        let times: Vec<&Setting> = times.collect();
        // An empty one takes all before it away, those of other keys too.
        let first = times.iter().rposition(|setting| setting.value.is_empty()).map_or(0, |empty| empty + 1);
        let is_one = |setting: &&&Setting| match setting.key.as_str() {
            "OnClockChange" | "OnTimezoneChange" => boolean(&setting.value) == Some(true),
            key => setting.value.contains('%') || is_timer(key, &setting.value),
        };
        if !times[first..].iter().any(|setting| is_one(&setting)) {
            refuse(&unit.place, "it has no time at which it elapses, such as OnBootSec= or OnCalendar=".to_owned());
        }
    }
}

/// `systemd-fsck@….service` waits for the device in its name, and a mount that requires one of no device fails.
fn checked_device(unit: &Unit, findings: &mut Findings) {
    let Some(device) = unit.file.value("Mount", "What").filter(|what| what.starts_with("/dev/") && !what.contains('%'))
    else {
        return;
    };
    let right = format!("systemd-fsck@{}.service", escaped(device));
    for key in ["Requires", "BindsTo", "Wants", "After"] {
        for (name, setting) in unit.file.words("Unit", key) {
            if name.starts_with("systemd-fsck@") && !name.contains('%') && name != right {
                let message = format!("{key}={name} checks another device than What={device}");
                let help = format!("Write {right} (`systemd-escape --path {device}`).");
                findings.add_with_help(&UNIT_MISSPELT, &setting.value_place(), message, help);
            }
        }
    }
}

/// The name of the unit that mounts a path.
fn unit_of_mount(path: &str) -> String {
    escaped(path) + ".mount"
}

/// A path as units are named after it (`systemd-escape --path`).
fn escaped(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    let mut name = String::new();
    for byte in parts.join("/").bytes() {
        match byte {
            b'/' => name.push('-'),
            b'.' if name.is_empty() => name += "\\x2e",
            byte if byte.is_ascii_alphanumeric() || b":_.".contains(&byte) => name.push(char::from(byte)),
            byte => name += &format!("\\x{byte:02x}"),
        }
    }
    if name.is_empty() {
        name.push('-');
    }
    name
}

/// What `service_verify` of systemd refuses.
fn refused(unit: &Unit, findings: &mut Findings) {
    let file = &unit.file;
    let starts = execs(unit).iter().filter(|exec| exec.setting.key == "ExecStart").count();
    // A line whose quotes do not match was told already.
    if starts == 0 && file.last("Service", "ExecStart").is_some() {
        return;
    }
    let kind = file.service_type();
    let mut refuse = |setting: Option<&Setting>, message: &str| {
        let place = setting.map_or_else(|| unit.place.clone(), |setting| setting.place.clone());
        findings.add(&SERVICE_REFUSED, &place, format!("{}: {message}", unit.name));
    };
    let ends = file.last("Service", "ExecStop").is_some() || file.last("Unit", "SuccessAction").is_some();
    if starts == 0 && !ends {
        refuse(None, "it has no ExecStart=");
    } else if starts == 0 && file.last("Unit", "SuccessAction").is_none() && !file.remains() {
        refuse(None, "it has no ExecStart=, which needs RemainAfterExit=yes");
    } else if starts == 0 && kind != "oneshot" {
        refuse(None, "it has no ExecStart=, which only Type=oneshot may do without");
    } else if starts > 1 && kind != "oneshot" {
        refuse(file.last("Service", "ExecStart"), "more than one ExecStart= needs Type=oneshot");
    }
    let restart = file.last("Service", "Restart").filter(|_| kind == "oneshot");
    if let Some(restart) = restart.filter(|restart| ["always", "on-success"].contains(&restart.value.as_str())) {
        refuse(Some(restart), &format!("Restart={} does not go with Type=oneshot", restart.value));
    }
    if kind == "dbus" && file.last("Service", "BusName").is_none() {
        refuse(file.last("Service", "Type"), "Type=dbus needs BusName=");
    }
}

fn lines(config: &Config, behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let unit = behaviour.unit;
    for exec in &behaviour.execs {
        let place = exec.setting.value_place();
        let program = exec.program();
        if program.contains('/') && !program.starts_with(['/', '%', '$']) {
            findings.add(&EXEC_PATH, &place, format!("`{program}` is no absolute path"));
        }
        if !exec.is_shell() {
            let operators = ["|", "||", "&&", ">", ">>", "<", "2>&1", "&", "2>", "2>/dev/null", ">/dev/null"];
            let operator = exec.words.iter().skip(1).filter(|word| !word.quoted).find(|word| {
                operators.contains(&word.text.as_str()) || word.text.starts_with("$(") || word.text.starts_with('`')
            });
            if let Some(operator) = operator {
                let message = format!("`{}` is handed to {program} as an argument: no shell reads it", operator.text);
                findings.add(&SHELL_IN_EXEC, &place, message);
            }
        }
        if exec.ignored && exec.setting.key == "ExecStart" {
            let message = format!("{} succeeds whatever `{program}` ends with", unit.name);
            findings.add(&FAILURE_IGNORED, &place, message);
        }
        executed(config, program, &exec.setting.value_place(), unit, findings);
    }
    for (script, call) in behaviour.calls() {
        if call.status == Status::Ignored && call.matters() && !script.path.is_empty() {
            let message = format!("a failure of `{}` is thrown away", call.title());
            findings.add(&FAILURE_IGNORED, &script.place(call), message);
        }
    }
}

/// Directories of data, whose label is no program's, with links followed. All of /var is but the two that hold programs.
const DATA: [&str; 2] = ["/var/", "/tmp/"];

/// Those two.
const PROGRAMS: [&str; 2] = ["/var/usrlocal/", "/var/opt/"];

/// Directories where only configs and administrators put programs.
const BY_CONFIG: [&str; 6] = ["/usr/local/", "/etc/", "/opt/", "/var/", "/root/", "/home/"];

fn executed(config: &Config, program: &str, place: &super::report::Place, unit: &Unit, findings: &mut Findings) {
    let real = followed(program);
    let by_either_name = config.file(program).or_else(|| config.files.iter().find(|file| followed(&file.path) == real));
    let Some(file) = by_either_name else {
        if BY_CONFIG.iter().any(|dir| program.starts_with(dir)) && !program.contains(['%', '$']) {
            findings.add(
                &EXEC_UNKNOWN,
                place,
                format!("{} executes {program}, which is not in this config", unit.name),
            );
        }
        return;
    };
    let mode = file.mode.as_ref().map_or(0o644, |mode| mode.value);
    if mode & 0o111 == 0 && (0..=0o777).contains(&mode) {
        let place = file.mode.as_ref().map_or(&file.place, |mode| &mode.place);
        let message = format!("{} executes {program}, whose mode is {mode:04o}", unit.name);
        findings.add(&NOT_EXECUTABLE, place, message);
    }
    let is_below = |dir: &&str| real.starts_with(*dir);
    if DATA.iter().any(is_below) && !PROGRAMS.iter().any(is_below) {
        findings.add(&EXEC_LABEL, place, format!("{} executes {program}, which lies among data", unit.name));
    }
    let is_appended = || config.found.node(&file.at.key("append")).is_some_and(|node| !node.items().is_empty());
    let is_empty = match &file.contents {
        Contents::Absent => !is_appended(),
        contents => contents.bytes().is_some_and(<[u8]>::is_empty),
    };
    if is_empty {
        findings.add(&NO_SHEBANG, &file.place, format!("{} executes {program}, which is empty", unit.name));
    } else if let Some(text) = file.contents.text()
        && !text.text.starts_with("#!")
    {
        findings.add(&NO_SHEBANG, &text.place(1, 1), format!("{} executes {program}, which has no `#!`", unit.name));
    }
}

/// What the whole boot waits for.
pub(super) const HOLDS_UP: [&str; 12] = [
    "network-pre.target",
    "NetworkManager.service",
    "network.target",
    "network-online.target",
    "sysinit.target",
    "basic.target",
    "local-fs.target",
    "sockets.target",
    "sshd.service",
    "kubelet.service",
    "kubelet-dependencies.target",
    "crio.service",
];

/// Those of them that a service comes after by default.
const BASIC: [&str; 4] = ["sysinit.target", "basic.target", "local-fs.target", "sockets.target"];

fn timeouts(behaviour: &Behaviour<'_>, findings: &mut Findings) {
    let file = &behaviour.unit.file;
    let name = &behaviour.unit.name;
    let mut setting = file.settings.iter().filter(|setting| {
        setting.section == "Service" && ["TimeoutStartSec", "TimeoutSec"].contains(&setting.key.as_str())
    });
    let setting = setting.next_back();
    let limit = setting.and_then(|setting| seconds(&setting.value)).filter(|limit| *limit > 0.0 && limit.is_finite());
    // A target waits for all that it wants, unless that comes after it.
    let wanted_by = ["WantedBy", "RequiredBy"].iter().flat_map(|key| file.words("Install", key));
    let is_before = |word: &str| BASIC.contains(&word) || file.names("After", word) || file.is_early();
    let wanted_by =
        wanted_by.filter(|(word, _)| behaviour.unit.starts_at_boot() && word.ends_with(".target") && !is_before(word));
    let held = file.words("Unit", "Before").chain(wanted_by).find(|(word, _)| HOLDS_UP.contains(word));
    // Of a drop-in alone, neither the type nor the limit is known.
    let held = held.filter(|_| behaviour.unit.has_contents);
    if let (None, "oneshot", Some((held, before))) = (limit, file.service_type(), held) {
        let message = format!("{held} waits for {name} without a time limit");
        findings.add(&NO_TIMEOUT, &before.value_place(), message);
    }
    let (Some(limit), Some(setting)) = (limit, setting) else { return };
    let pulls = behaviour.first(super::script::Call::needs_network).map(|(call, _)| call.title());
    let runs = behaviour.first(super::script::Call::runs_containers).map(|(call, _)| call.title());
    let too_short = match (&pulls, &runs) {
        (Some(pull), _) if limit < 300.0 && pull.contains("pull") => Some((pull, 300)),
        (_, Some(run)) if limit < 90.0 => Some((run, 90)),
        _ => None,
    };
    if let Some((what, enough)) = too_short {
        let message = format!("{name} gets {limit} s for `{what}`; give it at least {enough} s");
        findings.add(&SHORT_TIMEOUT, &setting.value_place(), message);
    }
}
