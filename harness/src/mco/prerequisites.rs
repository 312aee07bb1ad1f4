//! What the MCO provides on a real node and a driver's MachineConfig relies on, as a MachineConfig of its
//! own.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Error, MachineConfig, ROLE_LABEL};

/// The name of the node's base MachineConfig; it sorts before any other.
pub const PREREQUISITES_NAME: &str = "00-day1-node-prerequisites";

/// What the MCO writes to `/etc/mco/proxy.env` where the cluster has no proxy: comments only.
const PROXY_ENV: &str = "\
# Environment of units that reach outside of the cluster: HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
# This cluster has no proxy.
";

/// The MCO's target that kubelet waits for, which is why something on a real node wants network-online.target. There is no
/// kubelet here, so that the boot wants it.
const KUBELET_DEPENDENCIES: &str = "\
[Unit]
Description=Dependencies of kubelet
Requires=basic.target network-online.target
After=basic.target network-online.target

[Install]
WantedBy=multi-user.target
";

/// KMM's load unit mounts this directory into its worker and does not make it.
const DIRECTORIES: &str = "d /var/lib/firmware 0755 root root -\n";

/// A file of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Absolute path.
    pub path: String,
    /// Mode, such as `0o644`.
    pub mode: u32,
    /// Content.
    pub contents: Vec<u8>,
}

/// A unit of the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// Name with suffix.
    pub name: String,
    /// Content; absent where only drop-ins or enablement change.
    pub contents: Option<String>,
    /// Whether it is enabled; absent leaves it as it is.
    pub enabled: Option<bool>,
    /// Whether it is masked.
    pub mask: bool,
    /// Drop-ins: name (ending in `.conf`) and content.
    pub dropins: Vec<(String, String)>,
}

/// What the node's pull secret holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum PullSecret {
    /// `user:password` of the registry, in base64.
    Auth(String),
    /// Credentials of other registries only.
    #[default]
    OfOthers,
    /// There is no such file.
    NoFile,
}

/// What the node's proxy.env says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ProxyEnv {
    /// That there is no proxy.
    #[default]
    None,
    /// The proxy's URL, and the hosts that are reached around it.
    Url {
        /// Such as `http://10.0.2.102:3128`.
        url: String,
        /// By commas.
        no_proxy: String,
    },
    /// There is no such file.
    NoFile,
}

impl ProxyEnv {
    fn text(&self) -> Option<String> {
        match self {
            Self::None => Some(PROXY_ENV.to_owned()),
            Self::Url { url, no_proxy } => Some(format!("HTTP_PROXY={url}\nHTTPS_PROXY={url}\nNO_PROXY={no_proxy}\n")),
            Self::NoFile => None,
        }
    }
}

/// Makes the node's base MachineConfig: what the MCO provides, pointed at the harness's registry.
#[derive(Debug, Clone, Default)]
pub struct Prerequisites<'a> {
    /// The pool's role, such as `worker`.
    pub role: &'a str,
    /// The registry as the guest names it, such as `10.0.2.100`.
    pub registry: &'a str,
    /// The certificate authority of that registry, in PEM.
    pub ca_pem: &'a str,
    /// The cluster's pull secret.
    pub pull_secret: PullSecret,
    /// The cluster's proxy.
    pub proxy: ProxyEnv,
    /// Repositories (`quay.io/vendor/driver`) that resolve to the registry and to nothing else.
    pub repositories: &'a [String],
    /// What the scenario adds, after and over the files above.
    pub files: &'a [File],
    /// What the scenario adds, after and over the unit `kubelet-dependencies.target`.
    pub units: &'a [Unit],
}

fn own_unit() -> Unit {
    Unit {
        name: "kubelet-dependencies.target".to_owned(),
        contents: Some(KUBELET_DEPENDENCIES.to_owned()),
        enabled: Some(true),
        ..Unit::default()
    }
}

impl Prerequisites<'_> {
    /// The MachineConfig as JSON: the same bytes for the same input.
    pub fn to_json(&self) -> String {
        let mut files: BTreeMap<String, File> = self.own_files().into_iter().map(|f| (f.path.clone(), f)).collect();
        files.extend(self.files.iter().map(|file| (file.path.clone(), file.clone())));
        let own = own_unit();
        let own = (!self.units.iter().any(|unit| unit.name == own.name)).then_some(&own);
        let config = json!({
            "ignition": { "version": "3.2.0" },
            "storage": { "files": files.values().map(file_json).collect::<Vec<_>>() },
            "systemd": { "units": own.into_iter().chain(self.units).map(unit_json).collect::<Vec<_>>() },
        });
        json!({
            "apiVersion": "machineconfiguration.openshift.io/v1",
            "kind": "MachineConfig",
            "metadata": { "name": PREREQUISITES_NAME, "labels": { ROLE_LABEL: self.role } },
            "spec": { "config": config },
        })
        .to_string()
    }

    /// The MachineConfig; refused if a file or unit of the scenario can't be one.
    pub fn machine_config(&self) -> Result<MachineConfig, Error> {
        let origin = "the node's base configuration";
        let mut configs = MachineConfig::parse(&self.to_json(), origin)?;
        configs.pop().ok_or_else(|| Error::Empty { origin: origin.to_owned() })
    }

    fn own_files(&self) -> Vec<File> {
        let file = |path: String, mode, contents: String| File { path, mode, contents: contents.into_bytes() };
        let registry = self.registry;
        let mut files = vec![
            file(format!("/etc/containers/certs.d/{registry}/ca.crt"), 0o644, self.ca_pem.to_owned()),
            file("/etc/containers/registries.conf.d/50-day1-mirrors.conf".to_owned(), 0o644, self.mirrors()),
            file("/etc/tmpfiles.d/50-day1-node.conf".to_owned(), 0o644, DIRECTORIES.to_owned()),
        ];
        files.extend(self.proxy.text().map(|text| file("/etc/mco/proxy.env".to_owned(), 0o644, text)));
        let secret = self.pull_secret();
        files.extend(secret.map(|secret| file("/var/lib/kubelet/config.json".to_owned(), 0o600, secret)));
        files
    }

    /// The cluster's pull secret: the registry, and the registries that it mirrors, as a real one names them.
    fn pull_secret(&self) -> Option<String> {
        let sources = self.repositories.iter().filter_map(|repository| repository.split('/').next());
        let auths: BTreeMap<&str, Value> = match &self.pull_secret {
            PullSecret::Auth(auth) => {
                let registries: BTreeSet<&str> = sources.chain([self.registry]).collect();
                registries.into_iter().map(|registry| (registry, json!({ "auth": auth }))).collect()
            }
            PullSecret::OfOthers => {
                [("registry.example.com", json!({ "auth": STANDARD.encode("somebody:else") }))].into()
            }
            PullSecret::NoFile => return None,
        };
        Some(json!({ "auths": auths }).to_string())
    }

    /// Mirror entries as the MCO renders an ImageTagMirrorSet with `NeverContactSource` (`blocked`), but for
    /// digests as well as tags. A mirror is looked up by its own name, so blocking the source leaves it open.
    fn mirrors(&self) -> String {
        let repositories: BTreeSet<&String> = self.repositories.iter().collect();
        let entry = |repository: &String| {
            let mirror = format!("{}/{repository}", self.registry);
            format!(
                "[[registry]]\nprefix = \"\"\nlocation = \"{repository}\"\nblocked = true\n\n\
                 [[registry.mirror]]\nlocation = \"{mirror}\"\n"
            )
        };
        repositories.into_iter().map(entry).collect::<Vec<_>>().join("\n")
    }
}

fn file_json(file: &File) -> Value {
    json!({
        "path": file.path,
        "mode": file.mode,
        "overwrite": true,
        "contents": { "source": format!("data:;base64,{}", STANDARD.encode(&file.contents)) },
    })
}

fn unit_json(unit: &Unit) -> Value {
    let mut json = json!({ "name": unit.name });
    if let Some(contents) = &unit.contents {
        json["contents"] = json!(contents);
    }
    if let Some(enabled) = unit.enabled {
        json["enabled"] = json!(enabled);
    }
    if unit.mask {
        json["mask"] = json!(true);
    }
    if !unit.dropins.is_empty() {
        let dropin = |(name, contents): &(String, String)| json!({ "name": name, "contents": contents });
        json["dropins"] = unit.dropins.iter().map(dropin).collect();
    }
    json
}
