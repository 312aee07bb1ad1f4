//! Whether a config is what the cluster's API, the MCO and Ignition take: keys, types, names.

use serde::de::DeserializeOwned;

use super::config::{Config, each};
use super::report::Findings;
use super::rules::{
    DUPLICATE, FILE_PATH, IGNITION, MACHINE_CONFIG, MCO_REFUSES, NO_ROLE, OLD_SPEC, OLD_SPEC_KEY, SPEC_VERSION,
    UNIT_NAME, UNKNOWN_KEY, UNRECONCILABLE,
};
use crate::mco::{EXTENSIONS, KERNEL_TYPES, ROLE_LABEL, SpecVersion, Typed, WithTyped, is_unit_name, problem_of_path};
use crate::scenario::{Document, Exact, Node, Path, Value, decode_exactly, nearest};

pub(super) fn check(config: &Config, findings: &mut Findings) {
    if config.found.machine_config {
        machine_config(config, findings);
    }
    if let Some(version) = spec_version(config, findings) {
        ignition(config, version, findings);
    }
    entries(config, findings);
    if config.found.machine_config {
        unreconcilable(config, findings);
    }
}

const API_VERSION: &str = "machineconfiguration.openshift.io/v1";
const SPEC_KEYS: [&str; 7] =
    ["config", "kernelArguments", "kernelType", "extensions", "fips", "osImageURL", "baseOSExtensionsContainerImage"];

fn machine_config(config: &Config, findings: &mut Findings) {
    let found = &config.found;
    let at = &found.at;
    let mut wrong = |path: &Path, message: String, help: String| {
        findings.add_with_help(&MACHINE_CONFIG, &found.place(path), message, help);
    };
    let text = |path: &Path| found.node(path).and_then(Node::text).unwrap_or_default();
    let api = at.key("apiVersion");
    if text(&api) != API_VERSION {
        wrong(
            &api,
            "this is not the apiVersion of a MachineConfig".into(),
            format!("Write `apiVersion: {API_VERSION}`."),
        );
    }
    let name = at.key("metadata").key("name");
    if config.name.is_empty() {
        wrong(&name, "the MachineConfig has no name".into(), "Add `metadata.name`, such as 99-worker-driver.".into());
    } else if !is_subdomain(&config.name) {
        let help = "Use lower-case letters, digits, `-` and `.`, as in 99-worker-driver.";
        wrong(&name, format!("`{}` is no name of an object", config.name), help.into());
    }
    types(config, findings);
    words(config, findings);
    if config.role.is_empty() && !config.is_rendered() {
        let place = found.place(&at.key("metadata").key("labels"));
        findings.add(&NO_ROLE, &place, format!("there is no label {ROLE_LABEL}"));
    }
    let spec = at.key("spec");
    for entry in found.node(&spec).map(Node::entries).unwrap_or_default() {
        unknown(config, &spec, &entry.key, &SPEC_KEYS, findings);
    }
    for entry in found.node(at).map(Node::entries).unwrap_or_default() {
        unknown(config, at, &entry.key, &["apiVersion", "kind", "metadata", "spec", "status"], findings);
    }
}

/// Values that the API's schema refuses.
fn types(config: &Config, findings: &mut Findings) {
    type Is<'f> = &'f dyn Fn(&Node) -> bool;
    type Texts = Option<Vec<String>>;
    type Labels = Option<std::collections::BTreeMap<String, Option<String>>>;
    fn is<T: DeserializeOwned>(node: &Node) -> bool {
        T::deserialize(Exact(node)).is_ok()
    }
    let is_map = |node: &Node| node.is_null() || matches!(node.value, Value::Map(_));
    let found = &config.found;
    let (metadata, spec) = (found.at.key("metadata"), found.at.key("spec"));
    let types: [(Path, &str, Is<'_>); 9] = [
        (metadata.key("labels"), "a map of texts", &is::<Labels>),
        (metadata.key("annotations"), "a map of texts", &is::<Labels>),
        (spec.clone(), "a map", &is_map),
        (spec.key("config"), "an Ignition config", &is_map),
        (spec.key("kernelArguments"), "a list of texts", &is::<Texts>),
        (spec.key("extensions"), "a list of texts", &is::<Texts>),
        (spec.key("kernelType"), "a text", &is::<Option<String>>),
        (spec.key("osImageURL"), "a text", &is::<Option<String>>),
        (spec.key("fips"), "`true` or `false`", &is::<Option<bool>>),
    ];
    for (path, wanted, is) in types {
        if found.node(&path).is_some_and(|node| !is(node)) {
            let message = format!("what stands here is not {wanted}");
            findings.add_with_help(&MACHINE_CONFIG, &found.place(&path), message, format!("Write {wanted}."));
        }
    }
}

/// Words of spec that the MCO does not know.
fn words(config: &Config, findings: &mut Findings) {
    let found = &config.found;
    let spec = found.at.key("spec");
    let extensions = found.node(&spec.key("extensions")).map_or(0, |list| list.items().len());
    let extensions = (0..extensions).map(|index| (spec.key("extensions").index(index), "extension", &EXTENSIONS[..]));
    for (path, what, known) in extensions.chain([(spec.key("kernelType"), "kernelType", &KERNEL_TYPES[..])]) {
        let word = found.node(&path).filter(|node| !node.is_null()).and_then(Node::text);
        if let Some(word) = word.filter(|word| !known.contains(word)) {
            let message = format!("{what} {word:?} is not one that the MCO takes: {}", known.join(" "));
            findings.add(&MCO_REFUSES, &found.place(&path), message);
        }
    }
}

/// What the MCO refuses to convert from spec 2.
fn unconverted(config: &Config, findings: &mut Findings) {
    let found = &config.found;
    for list in ["files", "directories", "links"] {
        for at in each(found, &config.ignition, "storage", list) {
            if found.node(&at.key("filesystem")).and_then(Node::text) != Some("root") {
                let message = "an entry of spec 2 needs `filesystem: root`, and can have no other one";
                findings.add(&MCO_REFUSES, &found.place(&at), message);
            }
        }
    }
    let units = config.ignition.key("networkd").key("units");
    if found.node(&units).is_some_and(|units| !units.items().is_empty()) {
        findings.add(&MCO_REFUSES, &found.place(&units), "networkd.units can't be converted to spec 3");
    }
}

fn is_subdomain(name: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        bytes.first().is_some_and(edge) && bytes.last().is_some_and(edge) && bytes.iter().all(|b| edge(b) || *b == b'-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn unknown(config: &Config, above: &Path, key: &str, known: &[&str], findings: &mut Findings) {
    if !known.contains(&key) {
        let place = config.found.lines.place(config.found.document.key_span(&above.key(key)).start);
        let help = match nearest(key, known.iter().copied()) {
            Some(near) => format!("Did you mean `{near}`?"),
            None => format!("Known here: {}.", known.join(", ")),
        };
        findings.add_with_help(&UNKNOWN_KEY, &place, format!("there is no key `{key}` here; it is dropped"), help);
    }
}

fn spec_version(config: &Config, findings: &mut Findings) -> Option<SpecVersion> {
    let found = &config.found;
    found.node(&config.ignition).filter(|node| !node.is_null())?;
    let at = config.ignition.key("ignition").key("version");
    let Some(text) = found.node(&at).and_then(Node::text) else {
        findings.add(&SPEC_VERSION, &found.place(&at), "`ignition.version` is missing");
        return None;
    };
    if config.is_spec_2() {
        unconverted(config, findings);
        findings.add(&OLD_SPEC, &found.place(&at), format!("{} is of Ignition spec {text}", config.title()));
        return None;
    }
    match SpecVersion::parse(text) {
        Ok(version) => Some(version),
        Err(problem) => {
            findings.add(&SPEC_VERSION, &found.place(&at), problem);
            None
        }
    }
}

/// Everything that the types of a spec version know.
const KEYS: [&str; 64] = [
    "append",
    "arguments",
    "certificateAuthorities",
    "cex",
    "clevis",
    "clients",
    "compression",
    "config",
    "contents",
    "custom",
    "device",
    "devices",
    "directories",
    "disks",
    "discard",
    "dropins",
    "enabled",
    "files",
    "filesystems",
    "format",
    "gecos",
    "group",
    "groups",
    "guid",
    "hard",
    "hash",
    "homeDir",
    "httpHeaders",
    "httpProxy",
    "httpResponseHeaders",
    "httpTotal",
    "id",
    "ignition",
    "kernelArguments",
    "keyFile",
    "label",
    "level",
    "links",
    "luks",
    "mask",
    "merge",
    "mode",
    "mountOptions",
    "name",
    "noProxy",
    "number",
    "options",
    "overwrite",
    "partitions",
    "passwd",
    "path",
    "proxy",
    "raid",
    "replace",
    "security",
    "shell",
    "shouldExist",
    "source",
    "sshAuthorizedKeys",
    "storage",
    "systemd",
    "target",
    "users",
    "verification",
];

fn ignition(config: &Config, version: SpecVersion, findings: &mut Findings) {
    let Some(mut part) = config.found.document.part(&config.ignition) else { return };
    let (types, unknown) = version.dispatch(Look(&mut part));
    let start = config.found.lines.place(0);
    for mistake in types {
        let place = super::report::Place { line: mistake.line, column: mistake.column, ..start.clone() };
        let help = mistake.help.clone().unwrap_or_else(|| IGNITION.help.to_owned());
        findings.add_with_help(&IGNITION, &place, mistake.message.clone(), help);
    }
    let (_, unknown_to_newest) = SpecVersion::NEWEST.dispatch(Look(&mut part.clone()));
    for path in unknown {
        let Some(crate::scenario::Step::Key(key)) = path.0.last() else { continue };
        let place = config.found.lines.place(part.key_span(&path).start);
        if is_of_spec_2(key, part.node(&path)) {
            let message = format!("`{key}` is a key of Ignition spec 2; spec 3 does without");
            findings.add(&OLD_SPEC_KEY, &place, message);
            continue;
        }
        let help = if !unknown_to_newest.contains(&path) {
            format!(
                "A later spec has it: set `ignition.version` to {}, or what Ignition's documentation names.",
                SpecVersion::NEWEST
            )
        } else {
            match nearest(key, KEYS).filter(|near| near != key) {
                Some(near) => format!("Did you mean `{near}`?"),
                None => UNKNOWN_KEY.help.to_owned(),
            }
        };
        let message = format!("Ignition {version} has no key `{key}` here; it is dropped");
        findings.add_with_help(&UNKNOWN_KEY, &place, message, help);
    }
}

/// Whether a key is one that spec 2 had, with a value that changes nothing: every file is of the root file system.
fn is_of_spec_2(key: &str, value: Option<&Node>) -> bool {
    match key {
        "filesystem" => value.and_then(Node::text) == Some("root"),
        "networkd" => {
            value.is_none_or(|value| value.is_null() || matches!(&value.value, Value::Map(of) if of.is_empty()))
        }
        _ => false,
    }
}

/// Decodes a config as the type of a spec version: what is wrong, and the keys that the type does not have.
struct Look<'d>(&'d mut Document);

impl WithTyped for Look<'_> {
    type Output = (Vec<crate::scenario::Mistake>, Vec<Path>);

    fn with<C: Typed>(self) -> Self::Output {
        let mistakes = decode_exactly::<C>(self.0).mistakes;
        let mut unknown = Vec::new();
        let ignored = |path: serde_ignored::Path<'_>| unknown.push(path_of(&path));
        // What can't be decoded was told above.
        let _: Result<C, _> = serde_ignored::deserialize(Exact(&self.0.root), ignored);
        (mistakes, unknown)
    }
}

fn path_of(path: &serde_ignored::Path<'_>) -> Path {
    use serde_ignored::Path as P;
    match path {
        P::Root => Path::default(),
        P::Seq { parent, index } => path_of(parent).index(*index),
        P::Map { parent, key } => path_of(parent).key(key),
        P::Some { parent } | P::NewtypeStruct { parent } | P::NewtypeVariant { parent } => path_of(parent),
    }
}

/// Paths and names that stand twice, and those that are none.
fn entries(config: &Config, findings: &mut Findings) {
    let found = &config.found;
    let text = |at: &Path, key: &str| found.node(&at.key(key)).and_then(Node::text).unwrap_or_default().to_owned();
    let mut seen: Vec<(String, usize)> = Vec::new();
    let mut once = |what: String, at: &Path, shown: &str, findings: &mut Findings| {
        let place = found.place(at);
        match seen.iter().find(|(seen, _)| *seen == what) {
            // Of spec 2 the MCO keeps the last one.
            Some(_) if config.is_spec_2() => {}
            Some((_, line)) => {
                findings.add(&DUPLICATE, &place, format!("{shown} stands in line {line} already"));
            }
            None => seen.push((what, place.line)),
        }
    };
    for list in ["files", "directories", "links"] {
        for at in each(found, &config.ignition, "storage", list) {
            let path = text(&at, "path");
            if let Some(problem) = problem_of_path(&path) {
                findings.add(&FILE_PATH, &found.place(&at.key("path")), format!("`{path}` {problem}"));
            }
            once(path.clone(), &at.key("path"), &path, findings);
        }
    }
    for at in each(found, &config.ignition, "systemd", "units") {
        let name = text(&at, "name");
        if !is_unit_name(&name) {
            findings.add(&UNIT_NAME, &found.place(&at.key("name")), format!("`{name}` is no unit's name"));
        }
        once(format!("unit {name}"), &at.key("name"), &name, findings);
        let dropins = at.key("dropins");
        for index in 0..found.node(&dropins).map_or(0, |node| node.items().len()) {
            let at = dropins.index(index);
            let dropin = text(&at, "name");
            if !dropin.ends_with(".conf") || dropin.contains('/') {
                let message = format!("`{dropin}` is no drop-in's name");
                findings.add(&UNIT_NAME, &found.place(&at.key("name")), message);
            }
            once(format!("unit {name} {dropin}"), &at.key("name"), &format!("{name}: {dropin}"), findings);
        }
    }
}

/// What `reconcilable` of the MCO's daemon does not take on a node that runs.
fn unreconcilable(config: &Config, findings: &mut Findings) {
    let found = &config.found;
    let mut tell = |path: &Path, what: &str| {
        let place = found.lines.place(found.document.key_span(path).start);
        findings.add(&UNRECONCILABLE, &place, format!("the MCO can't change {what} on a node that runs"));
    };
    let is_filled = |path: &Path| {
        found.node(path).is_some_and(|node| !node.is_null() && (!node.items().is_empty() || !node.entries().is_empty()))
    };
    for list in ["directories", "links", "disks", "raid", "filesystems", "luks"] {
        let at = config.ignition.key("storage").key(list);
        if is_filled(&at) {
            tell(&at, list);
        }
    }
    for at in each(found, &config.ignition, "storage", "files") {
        if is_filled(&at.key("append")) {
            tell(&at.key("append"), "a file by `append`");
        }
    }
    if is_filled(&config.ignition.key("kernelArguments")) {
        tell(&config.ignition.key("kernelArguments"), "Ignition's kernelArguments (use spec.kernelArguments)");
    }
    if is_filled(&config.ignition.key("passwd").key("groups")) {
        tell(&config.ignition.key("passwd").key("groups"), "groups");
    }
    for at in each(found, &config.ignition, "passwd", "users") {
        if found.node(&at.key("name")).and_then(Node::text) != Some("core") {
            tell(&at.key("name"), "users other than core");
        }
    }
}
