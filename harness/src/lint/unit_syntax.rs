//! Sections, directives and values of units.

use super::config::{Config, Unit};
use super::directives::{directive, names, sections_of, sections_with};
use super::report::Findings;
use super::rules::{BAD_VALUE, ENVIRONMENT, NEW_DIRECTIVE, UNKNOWN_DIRECTIVE, UNKNOWN_SECTION};
use super::unit::{Setting, boolean, command_words, seconds};
use crate::scenario::nearest;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    for unit in &config.units {
        sections(unit, findings);
        for setting in &unit.file.settings {
            directives(unit, setting, findings);
        }
    }
}

fn sections(unit: &Unit, findings: &mut Findings) {
    let known = sections_of(&unit.name);
    for section in &unit.file.sections {
        if known.contains(&section.name.as_str()) || section.name.starts_with("X-") {
            continue;
        }
        let help = match nearest(&section.name, known.iter().copied()) {
            Some(near) => format!("Did you mean [{near}]?"),
            None => format!("{} may have [{}].", unit.name, known.join("], [")),
        };
        let message = format!("{} has no section [{}]; systemd ignores it", unit.name, section.name);
        findings.add_with_help(&UNKNOWN_SECTION, &section.place, message, help);
    }
}

fn directives(unit: &Unit, setting: &Setting, findings: &mut Findings) {
    let (section, key) = (setting.section.as_str(), setting.key.as_str());
    let known = sections_of(&unit.name);
    // Of a section that isn't known nothing is known.
    if !known.contains(&section) || key.starts_with("X-") {
        return;
    }
    let Some(directive) = directive(section, key) else {
        let help = match (sections_with(key, &known), nearest(key, names(section))) {
            (Some(other), _) => format!("Move it to [{other}]."),
            (None, Some(near)) => format!("Did you mean {near}=?"),
            (None, None) => UNKNOWN_DIRECTIVE.help.to_owned(),
        };
        let message = format!("[{section}] has no directive {key}=; systemd ignores it");
        findings.add_with_help(&UNKNOWN_DIRECTIVE, &setting.place, message, help);
        return;
    };
    if directive.new {
        findings.add(&NEW_DIRECTIVE, &setting.place, format!("systemd 252 (RHEL 9) does not know {key}="));
    }
    value(setting, directive.kind, findings);
}

/// Words that a directive takes (systemd.service(5), systemd.kill(5), systemd.unit(5)).
const WORDS: [(&str, &str, &[&str]); 9] = [
    ("Service", "Type", &["simple", "exec", "forking", "oneshot", "dbus", "notify", "notify-reload", "idle"]),
    ("Service", "Restart", &["no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"]),
    ("Service", "KillMode", &["control-group", "mixed", "process", "none"]),
    ("Service", "NotifyAccess", &["none", "main", "exec", "all"]),
    ("Service", "ExitType", &["main", "cgroup"]),
    ("Service", "RestartMode", &["normal", "direct", "debug"]),
    ("Service", "OOMPolicy", &["continue", "stop", "kill"]),
    ("Service", "TimeoutStartFailureMode", &["terminate", "abort", "kill"]),
    ("Unit", "CollectMode", &["inactive", "inactive-or-failed"]),
];

fn value(setting: &Setting, kind: &str, findings: &mut Findings) {
    let (section, key, value) = (setting.section.as_str(), setting.key.as_str(), setting.value.as_str());
    // Specifiers can stand for anything; an empty value is the default.
    if value.is_empty() || value.contains('%') {
        return;
    }
    let mut wrong = |help: String| {
        let message = format!("{key}={value} is not valid; systemd ignores it");
        findings.add_with_help(&BAD_VALUE, &setting.value_place(), message, help);
    };
    if let Some((.., words)) = WORDS.iter().find(|(s, k, _)| *s == section && *k == key) {
        if !words.contains(&value) {
            let near = nearest(value, words.iter().copied());
            let near = near.map(|near| format!("Did you mean {near}? ")).unwrap_or_default();
            wrong(format!("{near}Known are {}.", words.join(", ")));
        }
        return;
    }
    let is_time = kind == "SECONDS" || ["TimeoutStopSec", "JobTimeoutSec", "JobRunningTimeoutSec"].contains(&key);
    match kind {
        "BOOLEAN" if boolean(value).is_none() => wrong("Write yes or no.".to_owned()),
        _ if is_time && seconds(value).is_none() => {
            wrong("Write a time span, such as 90, 5min or infinity.".to_owned())
        }
        "UNSIGNED" if value.parse::<u64>().is_err() => wrong("Write a whole number.".to_owned()),
        "PATH" if section != "Swap" && !value.starts_with(['/', '-', '~', '+', ':', '!']) => {
            wrong("Write an absolute path.".to_owned())
        }
        _ if key == "WorkingDirectory" && !value.starts_with(['/', '~', '-']) => {
            wrong("Write an absolute path; systemd refuses the whole unit otherwise.".to_owned());
        }
        "FILE" if !value.starts_with(['/', '-']) => wrong("Write an absolute path.".to_owned()),
        "PATH[...]" if key.ends_with("MountsFor") && setting.words().any(|path| !path.starts_with('/')) => {
            wrong("Write absolute paths.".to_owned());
        }
        "ENVIRON" => environment(setting, findings),
        _ => {}
    }
}

fn environment(setting: &Setting, findings: &mut Findings) {
    // Quotes that do not match are told for every kind of line at once.
    for word in command_words(&setting.value).unwrap_or_default() {
        let name = word.text.split_once('=').map(|(name, _)| name);
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if !name.is_some_and(is_name) {
            findings.add(&ENVIRONMENT, &setting.value_place(), format!("`{}` is no assignment", word.text));
        }
    }
}
