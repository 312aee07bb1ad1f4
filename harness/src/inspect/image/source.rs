//! What a person writes to name an image.

use std::fmt;
use std::path::{Component, Path, PathBuf};

use day1_generator::{Digest, ImageRepository, Tag};

use super::{Error, layout};

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// In a registry, by tag or by digest.
    Registry {
        /// Such as `quay.io/vendor/driver`.
        repository: String,
        /// Its tag; with neither tag nor digest, that of the kernel.
        tag: Option<String>,
        /// `sha256:…`
        digest: Option<String>,
    },
    /// In an OCI image layout directory.
    OciDir {
        /// The directory.
        path: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// In an archive of such a directory.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
    /// In what `docker save` or `podman save` wrote.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which of its images.
        tag: Option<String>,
    },
}

impl Source {
    /// Understands `quay.io/vendor/driver:TAG`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` and
    /// `docker-archive:FILE[:TAG]`. `exists` tells whether there is a file of that name: it may have a colon.
    pub fn parse(text: &str, exists: &dyn Fn(&Path) -> bool) -> Result<Self, Error> {
        let at = |rest: &str| {
            let whole = (PathBuf::from(rest), None);
            if exists(Path::new(rest)) {
                return whole;
            }
            match rest.split_once(':') {
                Some((path, tag)) if !tag.is_empty() => (PathBuf::from(path), Some(tag.to_owned())),
                _ => whole,
            }
        };
        let refuse = |reason: String| Error::Reference { value: text.to_owned(), reason };
        for scheme in ["oci:", "oci-archive:", "docker-archive:"] {
            let Some(rest) = text.strip_prefix(scheme) else { continue };
            if rest.is_empty() {
                return Err(refuse(format!("there is no path behind {scheme}")));
            }
            let (path, tag) = at(rest);
            return Ok(match scheme {
                "oci:" => Self::OciDir { path, tag },
                "oci-archive:" => Self::OciArchive { path, tag },
                _ => Self::DockerArchive { path, tag },
            });
        }
        let reference = text.strip_prefix("docker://").unwrap_or(text);
        let (named, digest) = match reference.split_once('@') {
            Some((named, digest)) => {
                (named, Some(digest.parse::<Digest>().map_err(|error| refuse(error.to_string()))?))
            }
            None => (reference, None),
        };
        let (repository, tag) = match named.rsplit_once(':') {
            Some((before, tag)) if before.contains('/') && !tag.contains('/') => {
                (before, Some(tag.parse::<Tag>().map_err(|error| refuse(error.to_string()))?))
            }
            _ => (named, None),
        };
        if exists(Path::new(reference)) {
            let hint =
                if Path::new(reference).extension().is_some_and(|end| end == "tar") { "oci-archive" } else { "oci" };
            return Err(refuse(format!("there is a file of that name: did you mean {hint}:{reference}?")));
        }
        let repository: ImageRepository =
            repository.parse().map_err(|error: day1_generator::Error| refuse(error.to_string()))?;
        Ok(Self::Registry {
            repository: repository.to_string(),
            tag: tag.map(|tag| tag.to_string()),
            digest: digest.map(|digest| digest.to_string()),
        })
    }

    /// The image in a file that `podman save` or `docker save` wrote, in whichever of its formats.
    pub fn archive(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        Ok(match layout::is_docker_archive(&path)? {
            true => Self::DockerArchive { path, tag: None },
            false => Self::OciArchive { path, tag: None },
        })
    }

    /// The same, with a relative path taken from a directory.
    pub fn beside(mut self, dir: &Path) -> Self {
        if let Some(path) = self.path_mut() {
            *path = dir.join(&*path);
        }
        self
    }

    /// The same, with a relative path as `file` has to call it, which need not be there yet: it lies elsewhere.
    pub fn named_in(mut self, file: &Path) -> Self {
        let from_there = |path: &Path| {
            let file = std::path::absolute(file).ok()?;
            pathdiff::diff_paths(real(&std::path::absolute(path).ok()?), real(file.parent()?))
        };
        if let Some(path) = self.path_mut().filter(|path| path.is_relative())
            && let Some(found) = from_there(path)
        {
            *path = if found.as_os_str().is_empty() { PathBuf::from(".") } else { found };
        }
        self
    }

    fn path_mut(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::Registry { .. } => None,
            Self::OciDir { path, .. } | Self::OciArchive { path, .. } | Self::DockerArchive { path, .. } => Some(path),
        }
    }

    /// The tag in it, if there is one.
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Registry { tag, .. }
            | Self::OciDir { tag, .. }
            | Self::OciArchive { tag, .. }
            | Self::DockerArchive { tag, .. } => tag.as_deref(),
        }
    }
}

/// An absolute path without links and `..`; a part of it need not be there yet.
fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|there| Some((there, there.canonicalize().ok()?)));
    let Some((there, mut real)) = found else { return path.to_owned() };
    for part in path.strip_prefix(there).unwrap_or(Path::new("")).components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
    }
    real
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let with = |f: &mut fmt::Formatter<'_>, scheme: &str, path: &Path, tag: &Option<String>| {
            write!(f, "{scheme}:{}", path.display())?;
            tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))
        };
        match self {
            Self::Registry { repository, tag, digest } => {
                write!(f, "{repository}")?;
                tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
                digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
            }
            Self::OciDir { path, tag } => with(f, "oci", path, tag),
            Self::OciArchive { path, tag } => with(f, "oci-archive", path, tag),
            Self::DockerArchive { path, tag } => with(f, "docker-archive", path, tag),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, Error> {
        Source::parse(text, &|path| path == Path::new("here:1") || path == Path::new("driver.tar"))
    }

    #[test]
    fn references_keep_their_words() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for text in [
            "quay.io/vendor/driver",
            "quay.io:443/vendor/driver:6.12.0",
            &format!("quay.io/vendor/driver@{digest}"),
            &format!("localhost:5000/driver:x@{digest}"),
            "oci:dir",
            "oci:dir:6.12.0-1",
            "oci-archive:a.tar:x",
            "docker-archive:a.tar:quay.io/vendor/driver:6.12",
        ] {
            assert_eq!(parse(text).expect("a source").to_string(), text);
        }
        assert_eq!(parse("docker://quay.io/v/d:1").expect("a source").tag(), Some("1"));
        assert_eq!(parse("oci:here:1").expect("a source").tag(), None);
    }

    #[test]
    fn bad_references_are_refused_with_what_would_be_right() {
        for (text, expected) in [
            ("driver", "registry"),
            ("vendor/driver", "quay.io/vendor/driver"),
            ("quay.io/Vendor/driver", "quay.io/vendor/driver"),
            ("quay.io/vendor/driver:bad tag", "tag"),
            ("quay.io/vendor/driver@sha256:12", "digest"),
            ("oci:", "no path"),
            ("driver.tar", "oci-archive:driver.tar"),
        ] {
            let told = parse(text).expect_err(text).to_string();
            assert!(told.contains(expected), "{text}: {told}");
        }
    }
}
