//! Sections, directives and values of units.

use super::config::{Config, Unit};
use super::directives::{directive, names, sections_of, sections_with};
use super::known::is_known;
use super::report::Findings;
use super::rules::{
    BAD_VALUE, DEPENDENCY_NAME, ENVIRONMENT, NEW_DIRECTIVE, SERVICE_REFUSED, UNKNOWN_DIRECTIVE, UNKNOWN_SECTION,
};
use super::unit::{Setting, boolean, command_words, seconds};
use crate::mco::is_unit_name;
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
    units(setting, directive.kind, findings);
    specifiers(unit, setting, findings);
    value(setting, directive.kind, findings);
}

/// Lists of units: what is no unit's name is dropped.
fn units(setting: &Setting, kind: &str, findings: &mut Findings) {
    let installs = ["WantedBy", "RequiredBy", "UpheldBy", "Also", "Alias"];
    let is_list = kind == "UNIT[...]" || (setting.section == "Install" && installs.contains(&setting.key.as_str()));
    if !is_list && kind != "UNIT" {
        return;
    }
    for word in setting.words().filter(|word| !word.contains('%') && !is_unit_name(word)) {
        let message = format!("{}={word}: this is no unit's name; systemd drops it", setting.key);
        let help = match word.split_once(',') {
            Some(_) => "Write blanks between the names, not commas.".to_owned(),
            None => match with_suffix(word) {
                Some(whole) => format!("Did you mean {whole}?"),
                None => DEPENDENCY_NAME.help.to_owned(),
            },
        };
        findings.add_with_help(&DEPENDENCY_NAME, &setting.value_place(), message, help);
    }
}

/// What a `%` may stand before in a unit of the system (systemd.unit(5)), old ones too.
const SPECIFIERS: &str = "aAbBcCdDEfgGhHiIjJlLmMnNopPqrRsStTuUvVwWyY%";

/// Specifiers that there are none of. A `%` before anything but a letter or digit is itself.
fn specifiers(unit: &Unit, setting: &Setting, findings: &mut Findings) {
    let key = setting.key.as_str();
    let is_command = setting.section == "Service" && key.starts_with("Exec") && !key.ends_with("Paths");
    if !is_command && key != "Environment" {
        return;
    }
    let mut chars = setting.value.chars();
    while let Some(c) = chars.next() {
        let Some(next) = (c == '%').then(|| chars.next()).flatten() else { continue };
        if next.is_ascii_alphanumeric() && !SPECIFIERS.contains(next) {
            // A line whose failure is ignored is ignored itself.
            let (rule, done) = match is_command && !setting.value.starts_with('-') {
                true => (&SERVICE_REFUSED, "refuses the unit"),
                false => (&BAD_VALUE, "ignores the line"),
            };
            let message = format!("{}: {key}= has `%{next}`, which is no specifier; systemd {done}", unit.name);
            let help = format!("Write `%%{next}` for the characters themselves.");
            findings.add_with_help(rule, &setting.value_place(), message, help);
            return;
        }
    }
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
        "PATH[...]" if !are_absolute(value) => {
            wrong("Write absolute paths.".to_owned());
        }
        "CONDITION" if is_of_path(key) && !value.trim_start_matches(['|', '!', ' ']).starts_with('/') => {
            wrong("Write an absolute path.".to_owned());
        }
        "MODE" if !key.ends_with("JobMode") && !is_mode(value) => {
            wrong("Write a mode in octal, such as 0022.".to_owned());
        }
        "SIGNAL" if !is_signal(value) => wrong("Write a signal of signal(7), such as SIGTERM.".to_owned()),
        "LIMIT" if key.starts_with("Limit") && !value.split(':').all(is_limit) => {
            wrong("Write a number, `infinity`, or two of them with a colon between.".to_owned());
        }
        "NICE" if !value.parse::<i8>().is_ok_and(|nice| (-20..=19).contains(&nice)) => {
            wrong("Write a number from -20 to 19.".to_owned());
        }
        "TIMER" if !is_timer(key, value) => {
            wrong("Write a time of systemd.time(7); `systemd-analyze calendar` tells what it means.".to_owned());
        }
        _ if DIRECTORIES.contains(&key)
            && setting.words().any(|path| path.starts_with('/') || path.split(['/', ':']).any(|part| part == "..")) =>
        {
            wrong("Write the path below the directory, without a slash in front.".to_owned());
        }
        "ENVIRON" => environment(setting, findings),
        _ => {}
    }
}

/// Whether each path of a list is absolute, behind its prefixes; paths may be quoted.
fn are_absolute(value: &str) -> bool {
    let words = command_words(value).unwrap_or_default();
    words.iter().all(|path| path.text.trim_start_matches(['-', '+', ':']).starts_with('/'))
}

/// Directives whose paths lie below /run, /var/lib and so on.
const DIRECTORIES: [&str; 5] =
    ["RuntimeDirectory", "StateDirectory", "CacheDirectory", "LogsDirectory", "ConfigurationDirectory"];

/// Whether a condition or assertion is about a path.
fn is_of_path(key: &str) -> bool {
    let about = key.trim_start_matches("Condition").trim_start_matches("Assert");
    about.starts_with("Path")
        || ["DirectoryNotEmpty", "FileNotEmpty", "FileIsExecutable", "NeedsUpdate"].contains(&about)
}

fn is_mode(value: &str) -> bool {
    u32::from_str_radix(value, 8).is_ok_and(|mode| mode <= 0o7777)
}

fn is_signal(value: &str) -> bool {
    const SIGNALS: [&str; 34] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
    ];
    let name = value.strip_prefix("SIG").unwrap_or(value);
    let is_real_time = ["RTMIN", "RTMAX"].iter().any(|prefix| {
        name.strip_prefix(prefix).is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix(['+', '-']).is_some_and(|number| number.parse::<u8>().is_ok())
        })
    });
    SIGNALS.contains(&name) || is_real_time || value.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number))
}

/// Numbers, sizes and time spans begin with a digit; niceness may have a sign.
fn is_limit(value: &str) -> bool {
    value == "infinity" || value.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit())
}

/// Whether a timer's time can be one; of calendars only those without any digit are looked at.
pub(super) fn is_timer(key: &str, value: &str) -> bool {
    const WORDS: [&str; 13] = [
        "minutely",
        "hourly",
        "daily",
        "weekly",
        "monthly",
        "quarterly",
        "semiannually",
        "yearly",
        "annually",
        "anually",
        "biannually",
        "bi-annually",
        "semi-annually",
    ];
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    match key {
        "OnCalendar" => {
            let first = value.split_whitespace().next().unwrap_or_default().to_lowercase();
            value.contains(|c: char| c.is_ascii_digit() || c == '*')
                || WORDS.contains(&first.as_str())
                || DAYS.iter().any(|day| first.starts_with(day))
        }
        _ => seconds(value).is_some(),
    }
}

/// The name that a word without a suffix was probably meant to be.
fn with_suffix(word: &str) -> Option<String> {
    let names = ["service", "target", "socket"].map(|suffix| format!("{word}.{suffix}"));
    names.into_iter().find(|name| is_known(name))
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
