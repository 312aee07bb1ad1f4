//! Build roots from an image that a person names: in a registry, or in a file. No engine is needed.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::str::FromStr;

use oci_spec::image::ImageManifest;

use super::root::Root;
use super::{CACHE_KIND, Error, FORMAT, NEED_MIB, ROOT};
use crate::architecture::Architecture;
use crate::cache::{self, Cache};
use crate::inspect::{self, Source};
use crate::kmod::{self, BuildRoot, Compression};

/// An image with the headers of kernels, a compiler and `make`: `quay.io/…`, or a file that `podman save` wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DriverToolkit(Source);

impl FromStr for DriverToolkit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let here = std::env::current_dir().map_err(|error| format!("cannot tell the current directory: {error}"))?;
        let path = Path::new(text);
        if path.is_file() {
            return Source::archive(&here.join(path)).map(Self).map_err(|error| error.to_string());
        }
        if path.extension().is_some_and(|end| end == "tar") && !text.contains(':') {
            return Err(format!("there is no file {text}; `podman save --output {text} IMAGE` writes one"));
        }
        let source = Source::parse(text, &|path| path.exists()).map_err(|error| error.to_string())?.beside(&here);
        match &source {
            Source::OciDir { path, .. } | Source::OciArchive { path, .. } | Source::DockerArchive { path, .. }
                if !path.exists() =>
            {
                Err(format!("there is no {}", path.display()))
            }
            _ => Ok(Self(source)),
        }
    }
}

impl fmt::Display for DriverToolkit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The build root for a kernel of nodes with the host's processor from an image, which is asked each time which
/// one it is; unpacked where the cache does not have it. Blocks.
pub fn named_root(
    cache: &Cache,
    toolkit: &DriverToolkit,
    architecture: Architecture,
    kernel: &str,
    tell: &dyn Fn(&str),
) -> Result<BuildRoot, Error> {
    kmod::check_kernel_release(kernel)?;
    let unreadable = |source: inspect::Error| Error::Image { toolkit: toolkit.to_string(), source: Box::new(source) };
    let tag = Some("latest");
    let id = inspect::identify(&toolkit.0, tag, architecture.debian_name(), false).map_err(unreadable)?;
    let key = cache::key([FORMAT, id.as_bytes(), kernel.as_bytes()]);
    let entry = cache.entry(CACHE_KIND, &key, NEED_MIB, |partial| {
        tell(&format!("taking what modules for kernel {kernel} are built with from {toolkit}"));
        let failed = |source| Error::Unpack { toolkit: toolkit.to_string(), source };
        let layout = partial.join("image");
        fs::create_dir(&layout).map_err(failed)?;
        let copied = inspect::copy(&toolkit.0, tag, architecture.debian_name(), false, &layout).map_err(unreadable)?;
        let root = Root::create(&partial.join(ROOT)).map_err(failed)?;
        unpack(&layout, &copied.manifest_digest, &root).map_err(failed)?;
        fs::remove_dir_all(&layout).map_err(failed)?;
        root.prepare(&toolkit.to_string(), kernel)
    })?;
    Ok(BuildRoot::of_one_tree(entry.join(ROOT), architecture, kernel, key))
}

/// Puts the layers of an image, whose blobs were verified, over each other.
fn unpack(layout: &Path, manifest_digest: &str, root: &Root) -> io::Result<()> {
    let blob = |digest: &str| layout.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let manifest = ImageManifest::from_file(blob(manifest_digest)).map_err(io::Error::other)?;
    for layer in manifest.layers() {
        let mut file = BufReader::new(File::open(blob(layer.digest().as_ref()))?);
        match Compression::of(file.fill_buf()?) {
            Some(kind) => root.unpack_layer(kind.decoder(file))?,
            None => root.unpack_layer(file)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toolkit::root::fixture::{Kind, archive};

    const KERNEL: &str = "5.14.0-570.el9_6.x86_64";

    /// What `docker save` writes of an image with these layers.
    fn saved(dir: &Path, layers: &[Vec<u8>]) -> DriverToolkit {
        use sha2::{Digest, Sha256};
        let digest = |bytes: &[u8]| hex::encode(Sha256::digest(bytes));
        let names: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
        let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", digest(layer))).collect();
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": ids},
        });
        let config = config.to_string().into_bytes();
        let config_name = format!("{}.json", digest(&config));
        let manifest = serde_json::json!([{"Config": config_name, "RepoTags": ["toolkit:latest"], "Layers": names}]);
        let manifest = manifest.to_string().into_bytes();
        let mut entries: Vec<(&str, Kind<'_>)> =
            vec![(&config_name, Kind::File(&config)), ("manifest.json", Kind::File(&manifest))];
        entries.extend(names.iter().zip(layers).map(|(name, layer)| (name.as_str(), Kind::File(layer))));
        let path = dir.join("toolkit.tar");
        fs::write(&path, archive(&entries)).expect("written");
        path.to_string_lossy().parse().expect("a toolkit")
    }

    /// Programs, and the headers of one kernel.
    fn good() -> Vec<u8> {
        let programs = ["sh", "make", "gcc", "strip", "find", "depmod", "cp"].map(|name| format!("usr/bin/{name}"));
        let headers = format!("usr/src/kernels/{KERNEL}/Makefile");
        let mut entries: Vec<(&str, Kind<'_>)> =
            programs.iter().map(|path| (path.as_str(), Kind::Program(b"x"))).collect();
        entries.extend([
            ("usr/lib/", Kind::Directory),
            ("lib", Kind::Link("usr/lib")),
            (headers.as_str(), Kind::File(b"all:\n")),
        ]);
        archive(&entries)
    }

    fn root(toolkit: &DriverToolkit, kernel: &str) -> Result<BuildRoot, Error> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        named_root(&cache, toolkit, Architecture::X86_64, kernel, &|_| ()).inspect(|_| drop(dir.keep()))
    }

    #[test]
    fn a_saved_image_becomes_a_root_with_the_way_to_its_headers() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let upper = archive(&[("usr/share/doc/.wh.x", Kind::File(b"")), ("usr/bin/tool", Kind::Program(b"x"))]);
        let toolkit = saved(dir.path(), &[good(), upper]);
        assert!(toolkit.to_string().starts_with("docker-archive:/"), "{toolkit}");
        assert_eq!(toolkit.to_string().parse(), Ok(toolkit.clone()));
        let root = root(&toolkit, KERNEL).expect("a root");
        let link = fs::read_link(root.path.join("usr/lib/modules").join(KERNEL).join("build")).expect("a link");
        assert_eq!(link, Path::new("/usr/src/kernels").join(KERNEL));
        for place in ["build", "proc", "tmp", "dev/null", "usr/bin/tool"] {
            assert!(root.path.join(place).exists(), "{place}");
        }
        let entry = root.path.parent().expect("an entry");
        assert!(!entry.join("image").exists());
        fs::remove_dir_all(entry.ancestors().nth(2).expect("the cache")).expect("removed");
    }

    #[test]
    fn a_toolkit_of_another_release_is_refused_with_the_kernels_that_it_has() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let toolkit = saved(dir.path(), &[good()]);
        let text = root(&toolkit, "5.14.0-999.el9_6.x86_64").expect_err("no headers").to_string();
        assert!(text.contains("5.14.0-999.el9_6.x86_64") && text.contains(&format!("only of {KERNEL}")), "{text}");
        let text = root(&saved(dir.path(), &[archive(&[])]), KERNEL).expect_err("empty").to_string();
        assert!(text.contains("nor of any other"), "{text}");
        let headers = format!("lib/modules/{KERNEL}/build/Makefile");
        let bare = archive(&[(&headers, Kind::File(b"all:\n")), ("usr/bin/make", Kind::Program(b"x"))]);
        let text = root(&saved(dir.path(), &[bare]), KERNEL).expect_err("no compiler").to_string();
        assert!(text.contains("lacks sh, gcc, strip"), "{text}");
    }

    #[test]
    fn what_is_broken_or_not_there_is_refused_by_name() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let refused = |text: &str| text.parse::<DriverToolkit>().expect_err(text);
        let absent = dir.path().join("absent.tar");
        assert!(refused(&absent.to_string_lossy()).contains("podman save"), "{}", absent.display());
        assert!(refused("vendor/toolkit").contains("quay.io/vendor/driver"));
        let junk = dir.path().join("junk.tar");
        fs::write(&junk, "junk").expect("written");
        assert!(refused(&junk.to_string_lossy()).contains("junk.tar"));
        // Cut short: its directory is still read, and its layer is not what its digest says.
        let toolkit = saved(dir.path(), &[good()]);
        let path = dir.path().join("toolkit.tar");
        let whole = fs::read(&path).expect("read");
        let at = whole.windows(5).position(|bytes| bytes == b"all:\n").expect("the Makefile");
        let mut damaged = whole.clone();
        damaged[at] = b'A';
        fs::write(&path, damaged).expect("written");
        let text = root(&toolkit, KERNEL).expect_err("damaged").to_string();
        assert!(text.contains("toolkit.tar") && text.contains("has the digest"), "{text}");
        fs::write(&path, &whole[..at]).expect("written");
        let text = root(&toolkit, KERNEL).expect_err("cut short").to_string();
        assert!(text.contains("toolkit.tar"), "{text}");
    }
}
