//! The registry behind the gateway: an embedded one, or a real one in a container.
//!
//! Content is pushed by the same code ([`super::push`]) whichever it is, and a node sees only the gateway. Each trial has
//! a registry of its own, so that no verdict depends on what another trial pushed.

mod container;
mod embedded;
mod holder;
mod store;

pub use holder::{HOLD_SUBCOMMAND, hold};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use self::container::{Container, Recipe};
use self::embedded::Embedded;
use crate::containers::EngineError;

/// The image of a registry in a container, unless told otherwise: the CNCF distribution.
const DEFAULT_IMAGE: &str = "docker.io/library/registry:3";

/// Which registry trials use: `embedded`, `container` or `container=IMAGE`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Backend {
    /// The harness's own. It needs nothing.
    #[default]
    Embedded,
    /// A real one, which listens on port 5000, from this image, in a container of this host's engine.
    Container(String),
}

impl FromStr for Backend {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let image = match text.split_once('=') {
            None if text == "embedded" => return Ok(Self::Embedded),
            None if text == "container" => DEFAULT_IMAGE,
            Some(("container", image)) => image,
            _ => return Err("a registry is `embedded`, `container` or `container=IMAGE`".to_owned()),
        };
        image.parse::<oci_client::Reference>().map_err(|error| {
            format!("{image:?} names no image: {error}; one is named as in `container={DEFAULT_IMAGE}`")
        })?;
        Ok(Self::Container(image.to_owned()))
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Container(image) => write!(f, "container={image}"),
        }
    }
}

impl Backend {
    /// Finds out whether such a registry can run here, by running one; an image that the engine lacks is pulled.
    ///
    /// `day1` is the `day1` program, which holds the container; `tell` hears a line for each step that takes time.
    pub async fn source(&self, day1: &Path, tell: &(dyn Fn(&str) + Sync)) -> Result<Source, Error> {
        match self {
            Self::Embedded => Ok(Source::Embedded),
            Self::Container(image) => Ok(Source::Container(Recipe::prove(day1, image, tell).await?)),
        }
    }
}

/// A registry that is known to run here; each trial starts one of its own.
#[derive(Debug, Clone)]
pub enum Source {
    /// The harness's own.
    Embedded,
    /// A container, always of the same image, wherever its tag moves meanwhile.
    Container(Recipe),
}

impl Source {
    /// Starts a registry without content, on the current tokio runtime and a port of 127.0.0.1. The embedded one keeps
    /// its content in a new directory below `scratch`, one in a container within the container.
    pub async fn start(&self, scratch: &Path) -> Result<Registry, Error> {
        match self {
            Self::Embedded => {
                let storage = |source| Error::Storage { path: scratch.to_owned(), source };
                let directory = tempfile::Builder::new().prefix("registry-").tempdir_in(scratch);
                Ok(Registry::Embedded(Embedded::start(&directory.map_err(storage)?.keep()).await?))
            }
            Self::Container(recipe) => Ok(Registry::Container(recipe.start().await?)),
        }
    }

    /// The id of the image, `sha256:…`, of a registry in a container.
    pub fn image_id(&self) -> Option<&str> {
        match self {
            Self::Embedded => None,
            Self::Container(recipe) => Some(recipe.image_id()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded => f.write_str("embedded"),
            Self::Container(recipe) => write!(f, "container {recipe}"),
        }
    }
}

/// A running registry; dropping it ends it.
pub enum Registry {
    /// The harness's own.
    Embedded(Embedded),
    /// A container.
    Container(Container),
}

impl Registry {
    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> &str {
        match self {
            Self::Embedded(registry) => registry.base_url(),
            Self::Container(registry) => registry.base_url(),
        }
    }

    /// Waits until it ends by itself, and gives the reason; an embedded one never does.
    pub async fn ended(&self) -> String {
        match self {
            Self::Embedded(_) => std::future::pending().await,
            Self::Container(registry) => registry.ended().await,
        }
    }

    /// Ends it; when this returns, nothing of it is left but an embedded one's directory.
    pub async fn stop(self) {
        match self {
            Self::Embedded(registry) => registry.stop().await,
            Self::Container(registry) => registry.stop().await,
        }
    }
}

/// Why a registry can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory can't be used.
    #[error("cannot prepare the registry's directory {path}: {source}")]
    Storage {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No listener.
    #[error("cannot listen on a free port of 127.0.0.1 for the registry: {0}")]
    Listen(#[from] io::Error),
    /// No engine for a container.
    #[error("{0}; or do without: `--registry embedded`, the default, needs none")]
    Engine(#[from] EngineError),
    /// No process to hold the container.
    #[error("cannot start {} to hold the registry's container: {source}", day1.display())]
    Holder {
        /// The `day1` program.
        day1: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// No registry in a container.
    #[error("{engine} runs no registry from the image {image}: {reason}")]
    Container {
        /// The engine and its socket.
        engine: String,
        /// The image.
        image: String,
        /// What happened, and what to do.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(image: &str) -> Result<Backend, String> {
        Ok(Backend::Container(image.to_owned()))
    }

    #[test]
    fn a_registry_is_embedded_or_a_container_of_an_image() {
        assert_eq!("embedded".parse(), Ok(Backend::Embedded));
        assert_eq!("container".parse(), container("docker.io/library/registry:3"));
        let digest = format!("docker.io/library/registry@sha256:{}", "0".repeat(64));
        for image in ["registry", "day1/registry:debian", "localhost:5000/registry:3", digest.as_str()] {
            assert_eq!(format!("container={image}").parse(), container(image), "{image}");
        }
        for bad in ["", "docker", "embedded=x", "container=", "container=A:b", "container=a b", "container=--help"] {
            let refused = bad.parse::<Backend>().expect_err(bad);
            assert!(refused.contains("container="), "{bad}: {refused}");
        }
    }
}
