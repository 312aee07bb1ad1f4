//! Rendering a pool: its MachineConfigs merged into one config.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::ignition::{Ignition, SpecVersion, Typed, WithTyped};
use super::merge::merge;
use super::{Error, MachineConfig};

/// The largest rendered MachineConfig that the MCO takes, in bytes of JSON (`constants.go`).
pub const SIZE_LIMIT: usize = 1_572_864;

/// A MachineConfigPool, as far as rendering goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    name: String,
    os_image: Option<String>,
}

impl Pool {
    /// A pool of that name: `master`, `worker`, or a custom pool, which has the workers' MachineConfigs too.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), os_image: None }
    }

    /// The same pool in a cluster whose release has this image of the operating system: its nodes run it unless a
    /// MachineConfig says another one.
    pub fn with_os_image(self, url: impl Into<String>) -> Self {
        Self { os_image: Some(url.into()), ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn roles(&self) -> Vec<&str> {
        match self.name.as_str() {
            "master" | "arbiter" | "worker" => vec![&self.name],
            custom => vec!["worker", custom],
        }
    }
}

/// A pool's rendered config.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// `rendered-POOL-HASH`.
    pub name: String,
    /// Names of the MachineConfigs that it is made of, in the order of their merging.
    pub sources: Vec<String>,
    /// The Ignition config that a node boots: the same bytes for the same MachineConfigs.
    pub ignition_json: Vec<u8>,
    /// Lower-case hex sha256 of `ignition_json`.
    pub sha256: String,
    /// Its spec version: the oldest from 3.2.0 on that has all its keys. (The MCO renders its newest version
    /// and converts it to what each node asks for. Here the rendered bytes are the served bytes, so they are
    /// what the oldest node reads that the MCO could convert them for.)
    pub version: SpecVersion,
    /// Kernel arguments of all sources in order, doubles kept.
    pub kernel_arguments: Vec<String>,
    /// `default`, `realtime` or `64k-pages`.
    pub kernel_type: String,
    /// Extensions of all sources in order, doubles kept.
    pub extensions: Vec<String>,
    /// Whether any source asks for FIPS.
    pub fips: bool,
    /// The last `osImageURL`; the cluster's, if no source has one.
    pub os_image_url: Option<String>,
}

/// Renders a pool from the MachineConfigs of a cluster, in any order.
pub fn render(pool: &Pool, configs: &[MachineConfig]) -> Result<Rendered, Error> {
    let sources = select(pool, configs)?;
    let refuse = |problem: String| Error::Render { pool: pool.name.clone(), problem };
    let (newest, merged) = merge_all(&sources);
    let Ignition { version, config } = check(newest, merged).and_then(oldest_that_holds).map_err(refuse)?;
    let config = sorted(config);
    let ignition_json = Value::Object(config).to_string().into_bytes();
    let all = |list: fn(&MachineConfig) -> &Vec<String>| -> Vec<String> {
        sources.iter().flat_map(|source| list(source).iter().cloned()).collect()
    };
    let mut rendered = Rendered {
        name: String::new(),
        sources: sources.iter().map(|source| source.name.clone()).collect(),
        sha256: hex::encode(Sha256::digest(&ignition_json)),
        ignition_json,
        version,
        kernel_arguments: all(|source| &source.kernel_arguments),
        kernel_type: kernel_type(&sources),
        extensions: all(|source| &source.extensions),
        fips: sources.iter().any(|source| source.fips),
        os_image_url: os_image(&sources).or(pool.os_image.as_deref()).map(str::to_owned),
    };
    if rendered.kernel_type != "default" && rendered.extensions.iter().any(|extension| extension == "kernel-devel") {
        return Err(refuse(format!("the extension kernel-devel doesn't go with kernelType {}", rendered.kernel_type)));
    }
    rendered.name = format!("rendered-{}-{}", pool.name, hash(&rendered));
    let size = rendered.machine_config().to_string().len();
    if size > SIZE_LIMIT {
        return Err(refuse(format!("it has {size} bytes; the MCO refuses more than {SIZE_LIMIT}")));
    }
    Ok(rendered)
}

/// The pool's MachineConfigs in the order of their merging: those of `worker` first, so that a custom pool
/// wins whatever the names; by name among themselves.
fn select<'a>(pool: &Pool, configs: &'a [MachineConfig]) -> Result<Vec<&'a MachineConfig>, Error> {
    let roles = pool.roles();
    let mut by_name: BTreeMap<&str, &MachineConfig> = BTreeMap::new();
    for config in configs {
        if let Some(first) = by_name.insert(&config.name, config) {
            return Err(Error::SameName {
                name: config.name.clone(),
                first: first.origin.clone(),
                second: config.origin.clone(),
            });
        }
    }
    let mut selected: Vec<&MachineConfig> =
        by_name.into_values().filter(|c| roles.contains(&c.role.as_str())).collect();
    if selected.is_empty() {
        return Err(Error::NoneForPool { pool: pool.name.clone(), roles: roles.join(" or ") });
    }
    selected.sort_by_key(|config| config.role != "worker");
    Ok(selected)
}

fn merge_all(sources: &[&MachineConfig]) -> (SpecVersion, Map<String, Value>) {
    let ignitions = || sources.iter().filter_map(|source| source.ignition.as_ref());
    let version = ignitions().map(|ignition| ignition.version).max().unwrap_or(SpecVersion::OLDEST_RENDERED);
    let version = version.max(SpecVersion::OLDEST_RENDERED);
    let mut merged = ignitions().fold(Map::new(), |parent, child| merge(parent, &with_compression(child)));
    merged.entry("ignition").or_insert_with(|| Value::Object(Map::new()));
    each_file(&mut merged, |file| {
        // The MCO's daemon overwrites, Ignition by itself doesn't: helpers.go, MergeMachineConfigs.
        file.entry("overwrite").or_insert(Value::Bool(true));
        if let Some(Value::Object(contents)) = file.get_mut("contents")
            && contents.get("compression").is_some_and(|compression| compression == "")
        {
            contents.remove("compression");
        }
    });
    (version, merged)
}

/// Says of each file with contents how they are compressed, also if they are not: else a plain file that
/// replaces a gzipped one would inherit `gzip`. The MCO does so too.
fn with_compression(ignition: &Ignition) -> Map<String, Value> {
    let mut config = ignition.config.clone();
    each_file(&mut config, |file| {
        if let Some(Value::Object(contents)) = file.get_mut("contents")
            && contents.contains_key("source")
        {
            contents.entry("compression").or_insert_with(|| Value::String(String::new()));
        }
    });
    config
}

fn each_file(config: &mut Map<String, Value>, change: impl FnMut(&mut Map<String, Value>)) {
    let files = config.get_mut("storage").and_then(|storage| storage.get_mut("files")).and_then(Value::as_array_mut);
    files.into_iter().flatten().filter_map(Value::as_object_mut).for_each(change);
}

/// Merging valid configs can give an invalid one, so the result is parsed and checked again.
fn check(version: SpecVersion, mut config: Map<String, Value>) -> Result<Ignition, String> {
    struct Check(Map<String, Value>, SpecVersion);
    impl WithTyped for Check {
        type Output = Result<Ignition, String>;
        fn with<C: Typed>(self) -> Self::Output {
            let typed: C = serde_json::from_value(Value::Object(self.0)).map_err(|error| error.to_string())?;
            Ignition::from_typed(self.1, &typed)
        }
    }
    config["ignition"]["version"] = Value::String(version.to_string());
    version.dispatch(Check(config, version))
}

/// The same config at the oldest version that loses none of its keys.
fn oldest_that_holds(newest: Ignition) -> Result<Ignition, String> {
    let loses_nothing = |older: &Ignition| {
        let mut config = older.config.clone();
        config["ignition"]["version"] = Value::String(newest.version.to_string());
        config == newest.config
    };
    let older = SpecVersion::rendered_before(newest.version)
        .filter_map(|version| check(version, newest.config.clone()).ok())
        .find(loses_nothing);
    Ok(older.unwrap_or(newest))
}

/// The order of a JSON object's keys must not depend on how its map type was built.
fn sorted(map: Map<String, Value>) -> Map<String, Value> {
    let by_key: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted_value(value))).collect();
    by_key.into_iter().collect()
}

fn sorted_value(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(sorted(map)),
        Value::Array(items) => Value::Array(items.into_iter().map(sorted_value).collect()),
        other => other,
    }
}

/// The last one that is not the default wins.
fn kernel_type(sources: &[&MachineConfig]) -> String {
    let special = |kind: &&String| !matches!(kind.as_str(), "" | "default");
    let last = sources.iter().rev().filter_map(|source| source.kernel_type.as_ref()).find(special);
    last.map_or_else(|| "default".to_owned(), Clone::clone)
}

/// The last one that says any.
fn os_image<'s>(sources: &[&'s MachineConfig]) -> Option<&'s str> {
    let mut said = sources.iter().rev().filter_map(|source| source.os_image_url.as_deref());
    said.find(|url| !url.is_empty())
}

/// 32 hex digits over all that reaches a node, as many as the MCO's have.
fn hash(rendered: &Rendered) -> String {
    let parts = [
        rendered.ignition_json.clone(),
        rendered.kernel_arguments.join("\n").into_bytes(),
        rendered.kernel_type.clone().into_bytes(),
        rendered.extensions.join("\n").into_bytes(),
        vec![u8::from(rendered.fips)],
        rendered.os_image_url.clone().unwrap_or_default().into_bytes(),
    ];
    crate::cache::key(parts.iter().map(Vec::as_slice))[..32].to_owned()
}
