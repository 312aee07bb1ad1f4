//! Manifests, indexes of platforms and configs, as far as an inspection needs them, of OCI's and of Docker's kind.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Fault;

/// What refers to a blob.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(default)]
    pub(super) platform: Option<Platform>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, String>>,
}

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Platform {
    /// The operating system: `linux`.
    pub os: String,
    /// The machine, such as `amd64` or `arm64`.
    pub architecture: String,
    /// A variant of the machine, such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Nodes of this architecture run it.
    pub(crate) fn runs_on(&self, architecture: &str) -> bool {
        self.os == "linux" && self.architecture == architecture
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// A manifest, or an index of several.
#[derive(Debug)]
pub(super) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// What an image is made of.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Manifest {
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

impl Document {
    /// Understands a document whose digest was verified.
    pub(super) fn parse(digest: &str, bytes: &[u8]) -> Result<Self, Fault> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Any {
            #[serde(default)]
            schema_version: Option<u64>,
            manifests: Option<Vec<Descriptor>>,
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
        }
        let refuse = |reason: String| Fault::Manifest { digest: digest.to_owned(), reason };
        let any: Any =
            serde_json::from_slice(bytes).map_err(|error| refuse(format!("can't be understood: {error}")))?;
        match any {
            Any { manifests: Some(manifests), .. } => Ok(Self::Index(manifests)),
            Any { config: Some(config), layers: Some(layers), .. } => Ok(Self::Manifest(Manifest { config, layers })),
            Any { schema_version: Some(1), .. } => Err(refuse(
                "is of Docker's schema 1, which today's podman does not pull: build the image anew".to_owned(),
            )),
            _ => Err(refuse("is neither an image's manifest nor an index of them".to_owned())),
        }
    }
}

/// An image's config.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) architecture: String,
    #[serde(default)]
    pub(super) os: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default)]
    config: Option<Process>,
    #[serde(default)]
    rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Process {
    #[serde(default, rename = "User")]
    user: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

impl Config {
    pub(super) fn parse(digest: &str, bytes: &[u8]) -> Result<Self, Fault> {
        serde_json::from_slice(bytes).map_err(|error| Fault::Manifest {
            digest: digest.to_owned(),
            reason: format!("is no image config: {error}"),
        })
    }

    pub(super) fn platform(&self) -> Platform {
        Platform { os: self.os.clone(), architecture: self.architecture.clone(), variant: self.variant.clone() }
    }

    /// The user that its processes run as, if it names one.
    pub(super) fn user(&self) -> Option<&str> {
        self.config.as_ref()?.user.as_deref().filter(|user| !user.is_empty())
    }

    /// The digests of the layers before their compression.
    pub(super) fn diff_ids(&self) -> &[String] {
        &self.rootfs.diff_ids
    }
}

/// The manifest of an index for a platform.
pub(super) fn choose<'m>(manifests: &'m [Descriptor], architecture: &str) -> Result<&'m Descriptor, Fault> {
    let fits = |descriptor: &&Descriptor| descriptor.platform.as_ref().is_some_and(|own| own.runs_on(architecture));
    if let Some(found) = manifests.iter().find(fits) {
        return Ok(found);
    }
    // An index that says nothing of platforms, with one manifest: the config tells.
    if let [only] = manifests
        && only.platform.is_none()
    {
        return Ok(only);
    }
    // Builds put attestations beside the images, as of an unknown platform.
    let mut has: Vec<String> = manifests
        .iter()
        .filter_map(|one| one.platform.as_ref())
        .filter(|own| own.os != "unknown")
        .map(Platform::to_string)
        .collect();
    has.sort_unstable();
    has.dedup();
    Err(Fault::Platform { wanted: format!("linux/{architecture}"), has })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(os: &str, architecture: &str) -> Descriptor {
        let platform = Some(Platform { os: os.into(), architecture: architecture.into(), variant: None });
        Descriptor { digest: format!("sha256:{architecture}"), platform, ..Descriptor::default() }
    }

    #[test]
    fn the_platform_is_chosen_and_those_that_exist_are_told() {
        let index = [descriptor("unknown", "unknown"), descriptor("linux", "arm64"), descriptor("linux", "amd64")];
        assert_eq!(choose(&index, "amd64").expect("chosen").digest, "sha256:amd64");
        let fault = choose(&index[..2], "amd64").expect_err("missing").to_string();
        assert!(
            fault.contains("linux/amd64") && fault.contains("linux/arm64") && !fault.contains("unknown"),
            "{fault}"
        );
        assert!(choose(&[Descriptor::default()], "amd64").is_ok());
        assert!(choose(&[], "amd64").is_err());
    }

    #[test]
    fn documents_are_told_apart() {
        let parse = |text: &str| Document::parse("sha256:x", text.as_bytes());
        assert!(matches!(parse(r#"{"manifests": []}"#), Ok(Document::Index(_))));
        let manifest = r#"{"config": {"digest": "sha256:a", "size": 1}, "layers": []}"#;
        assert!(matches!(parse(manifest), Ok(Document::Manifest(_))));
        for (text, expected) in [
            (r#"{"schemaVersion": 1, "fsLayers": []}"#, "schema 1"),
            ("{}", "neither"),
            ("junk", "can't be understood"),
            (r#"{"config": {"digest": "sha256:a", "size": -1}, "layers": []}"#, "can't be understood"),
        ] {
            let told = parse(text).expect_err("refused").to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
