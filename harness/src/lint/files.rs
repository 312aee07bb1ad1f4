//! What is wrong with files: paths, modes, contents, and the scripts that units execute.

use sha2::{Digest as _, Sha256, Sha512};

use super::config::{Config, Contents, File};
use super::report::Findings;
use super::rules::{
    CARRIAGE_RETURN, FILE_IS_UNIT, HASH, IGNITION, MODE_DECIMAL, MODE_REFUSED, OVERWRITE, READ_ONLY_PATH,
    VOLATILE_PATH, WORLD_WRITABLE,
};
use crate::scenario::Node;

pub(super) fn check(config: &Config, findings: &mut Findings) {
    for file in &config.files {
        path(file, findings);
        mode(file, findings);
        overwrite(config, file, findings);
        hash(config, file, findings);
        is_unit(config, file, findings);
        if let Some(text) = file.contents.text()
            && text.text.starts_with("#!")
            && text.text.contains("\r\n")
        {
            let message = format!("the lines of {} end in CR LF", file.path);
            findings.add(&CARRIAGE_RETURN, &text.place(1, 1), message);
        }
    }
}

fn path(file: &File, findings: &mut Findings) {
    let below = |dirs: &[&str]| dirs.iter().any(|dir| file.path.starts_with(&format!("/{dir}/")));
    if below(&["bin", "sbin", "lib", "lib64"]) || (below(&["usr"]) && !below(&["usr/local"])) {
        findings.add(&READ_ONLY_PATH, &file.place, format!("{} is in the read-only part of CoreOS", file.path));
    } else if !is_below_the_root(&file.path) {
        let message =
            format!("{} needs a new directory in /, or lies in / itself, which CoreOS can't write", file.path);
        findings.add(&READ_ONLY_PATH, &file.place, message);
    } else if below(&["run", "tmp", "dev", "proc", "sys"]) {
        findings.add(&VOLATILE_PATH, &file.place, format!("{} does not outlive a boot", file.path));
    }
}

/// Whether it lies below one of the directories that CoreOS's root has. What is no absolute path was told already.
fn is_below_the_root(path: &str) -> bool {
    const ROOT: [&str; 21] = [
        "bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt", "opt", "ostree", "proc", "root", "run",
        "sbin", "srv", "sys", "sysroot", "tmp", "usr", "var",
    ];
    let Some(rest) = path.strip_prefix('/') else { return true };
    rest.split_once('/').is_some_and(|(first, _)| first.is_empty() || first.starts_with('.') || ROOT.contains(&first))
}

/// Modes that people write in octal.
const USUAL: [i64; 20] =
    [400, 440, 444, 500, 544, 550, 555, 600, 640, 644, 660, 664, 666, 700, 711, 744, 750, 755, 775, 777];

/// The same modes as decimal numbers, as far as they look like octal ones that nobody wants.
const USUAL_DECIMAL: [&str; 6] = ["420", "436", "365", "256", "320", "360"];

fn mode(file: &File, findings: &mut Findings) {
    let Some(mode) = &file.mode else { return };
    let path = &file.path;
    let value = mode.value;
    if !mode.octal && USUAL.contains(&value) {
        let meant = i64::from_str_radix(&value.to_string(), 8).unwrap_or_default();
        let help = format!("Write {meant} (octal 0{value}).");
        let message = format!("mode {value} of {path} is octal {value:o}; 0{value} was meant");
        findings.add_with_help(&MODE_DECIMAL, &mode.place, message, help);
    } else if mode.octal && USUAL_DECIMAL.contains(&format!("{value:o}").as_str()) {
        let help = format!("Write {value:o} without the zero in front.");
        let message =
            format!("mode 0{value:o} of {path} lets somebody write what they can't read; {value:o} was meant");
        findings.add_with_help(&MODE_DECIMAL, &mode.place, message, help);
    } else if !(0..=0o777).contains(&value) {
        findings.add(&MODE_REFUSED, &mode.place, format!("mode {value} (octal {value:o}) of {path}"));
    } else if value & 0o002 != 0 {
        findings.add(&WORLD_WRITABLE, &mode.place, format!("everybody may write {path} (mode {value:04o})"));
    }
}

fn overwrite(config: &Config, file: &File, findings: &mut Findings) {
    let said = config.found.node(&file.at.key("overwrite")).and_then(Node::text);
    let appends = config.found.node(&file.at.key("append")).is_some();
    let source = config.found.node(&file.at.key("contents").key("source"));
    let is_true = said == Some("true") || (said.is_none() && config.found.machine_config);
    // Where the contents are no map at all, that is told instead; spec 2 knows no such rule.
    let contents = config.found.node(&file.at.key("contents"));
    let is_looked_for = contents.is_none_or(|contents| contents.text().is_none()) && !config.is_spec_2();
    if is_true && is_looked_for && source.is_none_or(Node::is_null) {
        let (place, by) = match said {
            Some(_) => (config.found.place(&file.at.key("overwrite")), ""),
            None => (file.place.clone(), " (the MCO makes it so where it is missing)"),
        };
        let message = format!("overwrite is true for {}{by}, but it has no contents.source to do it with", file.path);
        let help = "Add `source` (`data:,` is an empty file), or set `overwrite: false`.";
        findings.add_with_help(&IGNITION, &place, message, help);
    }
    match (said, config.found.machine_config) {
        (Some("false"), true) => {
            let place = config.found.place(&file.at.key("overwrite"));
            findings.add(&OVERWRITE, &place, format!("overwrite is false for {}", file.path));
        }
        (None, false) if !appends && !matches!(file.contents, Contents::Absent) => {
            let message = format!("{} is not overwritten: Ignition fails if it is there", file.path);
            findings.add(&OVERWRITE, &file.place, message);
        }
        _ => {}
    }
}

fn hash(config: &Config, file: &File, findings: &mut Findings) {
    let at = file.at.key("contents").key("verification").key("hash");
    let Some(said) = config.found.node(&at).and_then(Node::text) else { return };
    let Some(bytes) = file.contents.bytes() else { return };
    let place = config.found.place(&at);
    let (is, sum) = match said.split_once('-') {
        Some(("sha256", sum)) => (hex::encode(Sha256::digest(bytes)), sum),
        Some(("sha512", sum)) => (hex::encode(Sha512::digest(bytes)), sum),
        _ => {
            findings.add(&HASH, &place, format!("`{said}` is no sha256-… and no sha512-…"));
            return;
        }
    };
    if !is.eq_ignore_ascii_case(sum) {
        findings.add(&HASH, &place, format!("the contents of {} have another hash: {is}", file.path));
    }
}

fn is_unit(config: &Config, file: &File, findings: &mut Findings) {
    let Some(rest) = file.path.strip_prefix("/etc/systemd/system/") else { return };
    let clashes = match rest.split_once('/') {
        None => config.unit(rest).is_some_and(|unit| (unit.has_contents && !unit.in_file) || unit.mask),
        // systemd.units writes its drop-ins into the same directory; a name of its own does no harm.
        Some((dir, dropin)) => dir.strip_suffix(".d").and_then(|name| config.unit(name)).is_some_and(|unit| {
            let at = config.ignition.key("systemd").key("units");
            let units = config.found.node(&at).map(Node::items).unwrap_or_default();
            let node = units.iter().find(|node| node.get("name").and_then(Node::text) == Some(&unit.name));
            let dropins = node.and_then(|node| node.get("dropins")).map(Node::items).unwrap_or_default();
            dropins.iter().any(|node| node.get("name").and_then(Node::text) == Some(dropin))
        }),
    };
    if clashes {
        findings.add(&FILE_IS_UNIT, &file.place, format!("{} is also in systemd.units", file.path));
    }
}
