//! What the registry holds, and how it behaves.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{AbsolutePath, HostPath, Id, ModuleName, Percent, Repository, Seconds, Size, TagTemplate};

/// What the registry holds, and how it behaves towards the node.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Registry {
    /// Whether anything answers at the registry's address when the node starts.
    pub reachable: bool,
    /// Whether the node knows it by its name, `registry.day1.test`, which nothing resolves but what the scenario puts
    /// there; default: by its address, 10.0.2.100.
    pub by_name: bool,
    /// The images in it.
    pub images: Vec<Image>,
    /// What its certificate is like.
    pub certificate: Certificate,
    /// The credentials that the node has for it.
    pub pull_secret: PullSecret,
    /// Whether there is a proxy between the node and it.
    pub proxy: Proxy,
    /// What goes wrong with requests. Of several faults that concern a request, each applies.
    pub faults: Vec<Fault>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            reachable: true,
            by_name: false,
            images: vec![],
            certificate: Certificate::Good,
            pull_secret: PullSecret::Good,
            proxy: Proxy::None,
            faults: vec![],
        }
    }
}

/// A driver image.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Image {
    /// Where it stands, as a MachineConfig names it.
    pub repository: Repository,
    /// An image from elsewhere, taken as it is: `quay.io/vendor/driver:TAG`, `oci:DIR`, `oci-archive:FILE` or
    /// `docker-archive:FILE`, paths relative to the scenario's file. It is what it is: besides `kernel` and `tags`, no
    /// other key goes with it.
    pub from: Option<String>,
    /// The modules in it; their sources are in `vm-images/kmods/`.
    #[serde(default)]
    pub modules: Vec<ModuleName>,
    /// What it is made of beside them.
    #[serde(default)]
    pub base: Base,
    /// The node's own modules that its modules depend on, by name, with their path below `/lib/modules/RELEASE`. They
    /// are not in the image, but found through its link `host` to that directory. Their namesakes in
    /// `vm-images/kmods/` have the same symbols.
    #[serde(default)]
    pub host_modules: BTreeMap<ModuleName, HostPath>,
    /// For which of the node image's kernels it is, counted from 1; `{kernel-tag}` is that one's, too. Default: the one
    /// that the node boots first.
    pub kernel: Option<usize>,
    /// What is wrong with it; default: nothing.
    pub variant: Option<Variant>,
    /// The key that signs its modules, by a name made in the scenario; default: they are not signed.
    pub signed_by: Option<Id>,
    /// Its tags; default: the tag for its kernel. An empty list leaves it without any.
    #[serde(default = "kernel_tag")]
    pub tags: Vec<TagTemplate>,
    /// Text files in it, such as firmware, by their path.
    #[serde(default)]
    pub files: BTreeMap<AbsolutePath, String>,
    /// Random bytes in it, so that a pull takes its time.
    pub filler: Option<Size>,
    /// The user that its processes would run as (`USER` of a Containerfile); default: root.
    pub user: Option<String>,
    /// The processor that its manifest says it is for.
    #[serde(default)]
    pub architecture: Architecture,
}

impl Image {
    /// Whether anything is said of it that an image from elsewhere has by itself.
    pub(super) fn is_described(&self) -> bool {
        let Self { modules, base, host_modules, variant, files, filler, user, architecture, signed_by, .. } = self;
        !(modules.is_empty() && host_modules.is_empty() && files.is_empty())
            || variant.is_some()
            || signed_by.is_some()
            || filler.is_some()
            || user.is_some()
            || *base != Base::default()
            || *architecture != Architecture::default()
    }
}

fn kernel_tag() -> Vec<TagTemplate> {
    TagTemplate::try_from(TagTemplate::KERNEL_TAG.to_owned()).into_iter().collect()
}

/// What an image is made of beside its modules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Nothing: `FROM scratch`.
    #[default]
    Scratch,
    /// A shell, and a few programs such as `cp` and `mkdir`.
    Shell,
    /// A worker with the command line of KMM's, `kmod load|unload CONFIG`; it needs no modules.
    Worker,
}

/// What is wrong with an image, or else different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Its modules say that they are for another kernel.
    WrongVermagic,
    /// Its modules carry another checksum of a symbol than the kernel has.
    CrcMismatch,
    /// `modules.dep` and its like are missing.
    MissingModulesDep,
    /// Its modules stand in another kernel's directory.
    OtherKernelDirectory,
    /// A module that another one depends on is not in it, and `modules.dep` names it.
    MissingDependency,
    /// Its layer ends in the middle, and the manifest says so: nothing tells while it is pulled.
    TruncatedLayer,
    /// No fault: its modules say that they come from other sources, as those of a driver's next version.
    OtherVersion,
}

/// The processor that a manifest names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Architecture {
    /// The node's.
    #[default]
    Node,
    /// One that the node does not have: arm64 where it is amd64.
    Other,
}

/// What the registry's certificate is like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Certificate {
    /// The node trusts who signed it; it holds from 1970 to 2099.
    #[default]
    Good,
    /// Good from 2024 on: a node whose clock is far behind refuses it.
    Recent,
    /// It ended in 2001.
    Expired,
    /// It is another host's.
    OtherName,
    /// The node does not know who signed it.
    UnknownAuthority,
}

/// The credentials that the node has for the registry.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PullSecret {
    /// Those that the registry wants.
    #[default]
    Good,
    /// Another password.
    Wrong,
    /// None for this registry.
    Missing,
    /// The file does not exist.
    NoFile,
}

/// Whether there is a proxy between the node and the registry, as `/etc/mco/proxy.env` tells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Proxy {
    /// There is none, and the file says so.
    #[default]
    None,
    /// The registry is reached through it only.
    Required,
    /// There is one, and the registry is to be reached around it (`NO_PROXY`): it refuses.
    Bypassed,
    /// There is none, and the file does not exist.
    NoFile,
}

/// What goes wrong with requests.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Fault {
    /// What is asked for.
    pub on: Asked,
    /// Only for this repository; default: all.
    pub repository: Option<Repository>,
    /// How many of these requests go well before; default: none.
    #[serde(default)]
    pub skip: u32,
    /// How many of them it concerns then; default: all.
    pub first: Option<u32>,
    /// The status that is answered in the place of what was asked for.
    pub answer: Option<u16>,
    /// Time until the answer begins.
    pub delay: Option<Seconds>,
    /// Bytes per second that are sent.
    pub rate: Option<Size>,
    /// How much of the answer is sent before the connection is cut.
    pub cut_at: Option<Percent>,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Whether there is a registry (`/v2/`).
    Ping,
    /// A manifest.
    Manifest,
    /// A blob: a layer, or an image's config.
    Blob,
    /// Any of them.
    Anything,
}

impl Asked {
    /// As the timeline names it; none for anything.
    pub fn subject(self) -> Option<&'static str> {
        match self {
            Self::Ping => Some("ping"),
            Self::Manifest => Some("manifest"),
            Self::Blob => Some("blob"),
            Self::Anything => None,
        }
    }
}
