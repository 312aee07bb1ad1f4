//! One config with its files and units, and where everything of them stands.

use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::report::{Findings, Place};
use super::rules::{COMPRESSION, DATA_URL, SOURCE_SCHEME};
use super::services::is_instance;
use super::source::{Found, Text};
use super::unit::UnitFile;
use crate::mco::{ROLE_LABEL, is_unit_name};
use crate::scenario::{Node, Path};

/// A MachineConfig or a plain Ignition config.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) found: Found,
    pub(super) name: String,
    pub(super) role: String,
    /// To the Ignition config; it may not be there.
    pub(super) ignition: Path,
    pub(super) files: Vec<File>,
    pub(super) units: Vec<Unit>,
}

/// An entry of `storage.files`.
#[derive(Debug)]
pub(super) struct File {
    pub(super) path: String,
    pub(super) at: Path,
    pub(super) place: Place,
    pub(super) mode: Option<Mode>,
    pub(super) contents: Contents,
}

/// What a file holds.
#[derive(Debug)]
pub(super) enum Contents {
    /// Nothing is said.
    Absent,
    /// It can't be told.
    Unknown,
    /// Bytes that are no text.
    Bytes(Vec<u8>),
    /// A text.
    Text(Text),
}

impl Contents {
    pub(super) fn text(&self) -> Option<&Text> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Text(text) => Some(text.text.as_bytes()),
            Self::Absent | Self::Unknown => None,
        }
    }
}

/// A file's mode.
#[derive(Debug)]
pub(super) struct Mode {
    pub(super) value: i64,
    /// Whether it is written in octal.
    pub(super) octal: bool,
    pub(super) place: Place,
}

/// An entry of `systemd.units`.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) name: String,
    pub(super) place: Place,
    pub(super) enabled: Option<bool>,
    pub(super) mask: bool,
    pub(super) has_contents: bool,
    /// Whether its contents stand in a file of the config instead.
    pub(super) in_file: bool,
    /// Whether a link of the config starts it.
    pub(super) linked: bool,
    /// Its contents and drop-ins as one.
    pub(super) file: UnitFile,
}

impl Unit {
    /// Whether it is started at boot by itself.
    pub(super) fn starts_at_boot(&self) -> bool {
        self.enabled == Some(true) && !self.mask
    }

    pub(super) fn is_service(&self) -> bool {
        self.name.ends_with(".service")
    }
}

impl Config {
    pub(super) fn read(found: Found, findings: &mut Findings) -> Self {
        let text = |path: Path| found.node(&path).and_then(Node::text).unwrap_or_default().to_owned();
        let metadata = found.at.key("metadata");
        let (name, role) = (text(metadata.key("name")), text(metadata.key("labels").key(ROLE_LABEL)));
        let ignition = if found.machine_config { found.at.key("spec").key("config") } else { found.at.clone() };
        let files = each(&found, &ignition, "storage", "files").map(|at| file(&found, at, findings));
        let files: Vec<File> = files.collect();
        let units = each(&found, &ignition, "systemd", "units").map(|at| unit(&found, &at, findings));
        let units = with_files(units.collect(), &files, &found, &ignition, findings);
        Self { name, role, ignition, files, units, found }
    }

    /// The unit of that name.
    pub(super) fn unit(&self, name: &str) -> Option<&Unit> {
        self.units.iter().find(|unit| unit.name == name)
    }

    /// The file of that path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Whether it is what the MCO made of a pool's MachineConfigs, which carries no role.
    pub(super) fn is_rendered(&self) -> bool {
        self.name.starts_with("rendered-") && self.role.is_empty()
    }

    /// Whether its Ignition config is of a spec that the MCO converts, and that no type here is of.
    pub(super) fn is_spec_2(&self) -> bool {
        let at = self.ignition.key("ignition").key("version");
        let version = self.found.node(&at).and_then(Node::text);
        self.found.machine_config && version.is_some_and(|version| ["2.0.0", "2.1.0", "2.2.0"].contains(&version))
    }

    /// What messages call it.
    pub(super) fn title(&self) -> &str {
        if self.name.is_empty() { "the Ignition config" } else { &self.name }
    }
}

/// The paths to the items of a list of the Ignition config.
pub(super) fn each(found: &Found, ignition: &Path, section: &str, list: &str) -> impl Iterator<Item = Path> + use<> {
    let at = ignition.key(section).key(list);
    let count = found.node(&at).map_or(0, |node| node.items().len());
    (0..count).map(move |index| at.index(index))
}

fn file(found: &Found, at: Path, findings: &mut Findings) -> File {
    let path = found.node(&at.key("path")).and_then(Node::text).unwrap_or_default().to_owned();
    let mode = found.node(&at.key("mode")).and_then(Node::text).and_then(|text| {
        let (octal, digits) = match text.strip_prefix("0o").or_else(|| text.strip_prefix('0')) {
            Some(digits) if !digits.is_empty() && !digits.contains(['8', '9']) => (true, digits),
            _ => (false, text),
        };
        let value = i64::from_str_radix(digits, if octal { 8 } else { 10 }).ok()?;
        Some(Mode { value, octal, place: found.place(&at.key("mode")) })
    });
    let contents = contents(found, &at.key("contents"), &path, findings);
    File { place: found.place(&at.key("path")), path, mode, contents, at }
}

/// Files are looked into up to this size; the MCO takes no config that is larger.
const LARGEST: u64 = 16 << 20;

fn contents(found: &Found, at: &Path, path: &str, findings: &mut Findings) -> Contents {
    let Some(source) = found.node(&at.key("source")).and_then(Node::text) else { return Contents::Absent };
    let place = found.place(&at.key("source"));
    if source.is_empty() {
        return Contents::Absent;
    }
    let Some(data) = source.strip_prefix("data:") else {
        let scheme = source.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| !scheme.contains('/'));
        let fetched = ["http", "https", "tftp", "s3", "gs", "arn"];
        if !found.machine_config && scheme.is_some_and(|scheme| fetched.contains(&scheme)) {
            return Contents::Unknown;
        }
        let message = match scheme {
            Some(scheme) => format!("the contents of {path} come by {scheme}:"),
            None => format!("the source of {path} is no URL"),
        };
        findings.add(&SOURCE_SCHEME, &place, message);
        return Contents::Unknown;
    };
    let bytes = match decode_data_url(data) {
        Ok(bytes) => bytes,
        Err(problem) => {
            findings.add(&DATA_URL, &place, format!("the contents of {path}: {problem}"));
            return Contents::Unknown;
        }
    };
    let compression = found.node(&at.key("compression")).and_then(Node::text).unwrap_or_default();
    let at_compression = found.place(&at.key("compression"));
    let bytes = match compression {
        "gzip" => {
            let mut plain = Vec::new();
            match flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(LARGEST).read_to_end(&mut plain) {
                Ok(_) => plain,
                Err(error) => {
                    let message = format!("the contents of {path} are said to be gzipped, but: {error}");
                    findings.add(&COMPRESSION, &at_compression, message);
                    return Contents::Unknown;
                }
            }
        }
        "" => {
            if bytes.starts_with(&[0x1f, 0x8b]) && !path.ends_with(".gz") && !path.ends_with(".tgz") {
                let message = format!("the contents of {path} are gzipped, but nothing says so");
                findings.add(&COMPRESSION, &place, message);
            }
            bytes
        }
        other => {
            findings.add(&COMPRESSION, &at_compression, format!("{path}: there is no compression `{other}`"));
            return Contents::Unknown;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Contents::Text(Text::encoded(&text, place, path)),
        Err(error) => Contents::Bytes(error.into_bytes()),
    }
}

/// What stands behind `data:`.
fn decode_data_url(data: &str) -> Result<Vec<u8>, String> {
    let (head, body) = data.split_once(',').ok_or("a `data:` URL needs a comma before the data")?;
    if let Some(at) = body.find(char::is_whitespace) {
        let c = body[at..].chars().next().unwrap_or(' ');
        return Err(format!("{c:?} stands in the URL; write it as %{:02X}", u32::from(c)));
    }
    let bytes: Vec<u8> = percent_encoding::percent_decode_str(body).collect();
    if !head.split(';').any(|part| part == "base64") {
        return Ok(bytes);
    }
    STANDARD.decode(bytes).map_err(|error| format!("the base64 can't be decoded: {error}"))
}

fn unit(found: &Found, at: &Path, findings: &mut Findings) -> Unit {
    let name = found.node(&at.key("name")).and_then(Node::text).unwrap_or_default().to_owned();
    let flag = |key: &str| found.node(&at.key(key)).and_then(Node::text).map(|text| text == "true");
    let mut file = UnitFile::default();
    let contents = Text::of_scalar(found, &at.key("contents")).filter(|text| !text.text.trim().is_empty());
    let has_contents = contents.is_some();
    if let Some(text) = contents {
        file.read(&text, findings);
    }
    let dropins = at.key("dropins");
    for index in 0..found.node(&dropins).map_or(0, |node| node.items().len()) {
        if let Some(text) = Text::of_scalar(found, &dropins.index(index).key("contents")) {
            file.read(&text, findings);
        }
    }
    Unit {
        place: found.place(&at.key("name")),
        // The second one is of spec 2, which the MCO converts.
        enabled: flag("enabled").or_else(|| flag("enable").filter(|is| *is)),
        mask: flag("mask") == Some(true),
        has_contents,
        in_file: false,
        linked: false,
        name,
        file,
    }
}

/// Where systemd finds units, besides those of `systemd.units`.
const UNITS: &str = "/etc/systemd/system/";

/// Adds the units and drop-ins that stand among the files, where Ignition writes those of `systemd.units`, too.
fn with_files(
    mut units: Vec<Unit>,
    files: &[File],
    found: &Found,
    ignition: &Path,
    findings: &mut Findings,
) -> Vec<Unit> {
    let below = files.iter().filter_map(|file| Some((file, file.path.strip_prefix(UNITS)?, file.contents.text()?)));
    // Contents come before drop-ins.
    let (mut dropins, contents): (Vec<_>, Vec<_>) = below.partition(|(_, rest, _)| rest.contains('/'));
    dropins.sort_by_key(|(_, rest, _)| rest.rsplit('/').next());
    for (file, name, text) in contents.into_iter().filter(|(_, name, _)| is_unit_name(name)) {
        let unit = of_name(&mut units, name, file);
        // What stands twice is told by a rule of its own.
        if text.text.is_empty() {
            // As a link to /dev/null (systemd.unit(5)).
            unit.mask |= !unit.has_contents;
        } else if !unit.has_contents && !unit.mask {
            let mut whole = UnitFile::default();
            whole.read(text, findings);
            whole.sections.append(&mut unit.file.sections);
            whole.settings.append(&mut unit.file.settings);
            (unit.file, unit.has_contents, unit.in_file) = (whole, true, true);
        }
    }
    for (file, rest, text) in dropins {
        let dropin = rest.split_once('/').filter(|(_, file)| file.ends_with(".conf") && !file.contains('/'));
        let name = dropin.and_then(|(dir, _)| dir.strip_suffix(".d")).filter(|name| is_unit_name(name));
        if let Some(name) = name {
            of_name(&mut units, name, file).file.read(text, findings);
        }
    }
    for at in each(found, ignition, "storage", "links") {
        let path = found.node(&at.key("path")).and_then(Node::text).and_then(|path| path.strip_prefix(UNITS));
        let target = found.node(&at.key("target")).and_then(Node::text).unwrap_or_default();
        if let Some((dir, name)) = path.and_then(|path| path.split_once('/'))
            && (dir.ends_with(".wants") || dir.ends_with(".requires"))
        {
            let file = target.rsplit('/').next().unwrap_or_default();
            let is_it = |unit: &&mut Unit| unit.name == name || unit.name == file || is_instance(name, &unit.name);
            for unit in units.iter_mut().filter(is_it) {
                (unit.enabled, unit.linked) = (Some(true), true);
            }
        }
    }
    units
}

/// The unit of that name, which may be known by a file alone.
fn of_name<'u>(units: &'u mut Vec<Unit>, name: &str, file: &File) -> &'u mut Unit {
    let at = units.iter().position(|unit| unit.name == name).unwrap_or_else(|| {
        units.push(Unit {
            name: name.to_owned(),
            place: file.place.clone(),
            enabled: None,
            mask: false,
            has_contents: false,
            in_file: false,
            linked: false,
            file: UnitFile::default(),
        });
        units.len() - 1
    });
    &mut units[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_urls_are_decoded() {
        let decode = |data: &str| decode_data_url(data).map(|bytes| String::from_utf8(bytes).expect("a text"));
        assert_eq!(decode(",a%20b%0A").as_deref(), Ok("a b\n"));
        assert_eq!(decode("text/plain;charset=utf-8;base64,aGk=").as_deref(), Ok("hi"));
        assert_eq!(decode(";base64,aGk%3D").as_deref(), Ok("hi"));
        assert!(decode(";base64,aGk").is_err());
        assert!(decode("text/plain").is_err());
        assert!(decode(",a b").expect_err("a blank").contains("%20"));
    }
}
