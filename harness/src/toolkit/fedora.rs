//! Build roots for Fedora's kernels: what a container of that Fedora is after the kernel's `kernel-devel` and a compiler
//! were installed in it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Child;

use super::install::{INSTALL_SUBCOMMAND, Said};
use super::root::Root;
use super::{CACHE_KIND, Error, FORMAT, NEED_MIB, ROOT};
use crate::architecture::Architecture;
use crate::cache::{self, Cache};
use crate::containers::{self, Engine};
use crate::kmod::{self, BuildRoot};

/// What is installed beside `kernel-devel`.
pub(super) const PACKAGES: &[&str] =
    &["gcc", "make", "binutils", "diffutils", "elfutils-libelf-devel", "findutils", "gawk", "kmod"];

/// A kernel of Fedora, by its release such as `6.17.7-300.fc43.x86_64`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FedoraKernel {
    release: String,
    fedora: u32,
}

impl FedoraKernel {
    /// None if the release is no Fedora kernel's, or that of a variant such as `+debug`, whose headers are another package.
    pub fn parse(release: &str) -> Option<Self> {
        let (version, build, arch) = parts(release)?;
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._".contains(&byte));
        let is_number = version.starts_with(|first: char| first.is_ascii_digit());
        if !is_number || !plain(version) || !plain(build) || !["x86_64", "aarch64"].contains(&arch) {
            return None;
        }
        let fedora = build.split('.').find_map(|part| part.strip_prefix("fc")?.parse().ok())?;
        Some(Self { release: release.to_owned(), fedora })
    }

    /// The image of its Fedora.
    pub fn image(&self) -> String {
        format!("registry.fedoraproject.org/fedora:{}", self.fedora)
    }

    /// Where its `kernel-devel` stays when the repositories have a newer one: Fedora's build system keeps what was released.
    pub(super) fn kernel_devel(&self) -> String {
        let release = &self.release;
        let (version, build, arch) = parts(release).unwrap_or_default();
        format!(
            "https://kojipkgs.fedoraproject.org/packages/kernel/{version}/{build}/{arch}/kernel-devel-{release}.rpm"
        )
    }
}

/// Version, build and architecture.
fn parts(release: &str) -> Option<(&str, &str, &str)> {
    let (rest, arch) = release.rsplit_once('.')?;
    let (version, build) = rest.split_once('-')?;
    Some((version, build, arch))
}

/// By the image's name: which one it is at the moment is known only where an engine and its registry are.
pub(super) fn key(image: &str, kernel: &FedoraKernel) -> String {
    let packages = PACKAGES.join(" ");
    cache::key([
        FORMAT,
        super::install::SCRIPT.as_bytes(),
        packages.as_bytes(),
        image.as_bytes(),
        kernel.release.as_bytes(),
    ])
}

/// The build root for a kernel whose `kernel-devel` a container of `image` can install with `dnf`; made where the cache has
/// none, which takes some minutes. Blocks.
pub fn installed_root(
    cache: &Cache,
    day1: &Path,
    image: &str,
    kernel: &FedoraKernel,
    tell: &dyn Fn(&str),
) -> Result<BuildRoot, Error> {
    let release = &kernel.release;
    kmod::check_kernel_release(release)?;
    let key = key(image, kernel);
    let entry = cache.entry(CACHE_KIND, &key, NEED_MIB, |partial| {
        tell(&format!("installing what modules for kernel {release} are built with, in a container of {image}"));
        let archive = partial.join("root.tar");
        run(day1, image, kernel, &archive, tell)?;
        let failed = |source| Error::Unpack { toolkit: image.to_owned(), source };
        let root = Root::create(&partial.join(ROOT)).map_err(failed)?;
        let unpacked = File::open(&archive).and_then(|file| root.unpack(file));
        unpacked.and_then(|()| fs::remove_file(&archive)).map_err(failed)?;
        root.prepare(image, release)
    })?;
    let architecture = Architecture::of_host().unwrap_or_default();
    Ok(BuildRoot::of_one_tree(entry.join(ROOT), architecture, release, key))
}

/// Has a process hold the container that everything is installed in, until its files are in the archive.
fn run(day1: &Path, image: &str, kernel: &FedoraKernel, archive: &Path, tell: &dyn Fn(&str)) -> Result<(), Error> {
    let no_holder = |source| Error::Holder { day1: day1.to_owned(), source };
    let release = &kernel.release;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_holder)?;
    let engine = runtime.block_on(Engine::find());
    let engine = engine.map_err(|source| Error::Engine { kernel: release.clone(), image: image.to_owned(), source })?;
    let mut command = containers::holder(day1, INSTALL_SUBCOMMAND, &engine).map_err(no_holder)?;
    command.args([image, release, &kernel.kernel_devel()]).arg(archive).args(PACKAGES);
    let mut holder = Holder(command.spawn().map_err(no_holder)?);
    let words = holder.0.stdout.take().ok_or_else(|| no_holder(std::io::Error::other("it has no standard output")))?;
    let failed = |reason: String| Error::Install {
        engine: engine.to_string(),
        kernel: release.clone(),
        image: image.to_owned(),
        reason,
    };
    for line in BufReader::new(words).lines() {
        let line = line.map_err(no_holder)?;
        match serde_json::from_str(&line) {
            Ok(Said::Step(step)) => tell(&step),
            Ok(Said::Done) => return Ok(()),
            Ok(Said::Failed(reason)) => return Err(failed(reason)),
            Err(error) => return Err(failed(format!("its holder said {line:?}, which can't be understood: {error}"))),
        }
    }
    Err(failed("the process that held the container ended".to_owned()))
}

/// When this is dropped, the container is gone, or the engine did not answer for two minutes.
struct Holder(Child);

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_fedora_s_is_taken_for_it() {
        let kernel = FedoraKernel::parse("6.17.7-300.fc43.x86_64").expect("Fedora's");
        assert_eq!(kernel.fedora, 43);
        assert_eq!(
            kernel.kernel_devel(),
            "https://kojipkgs.fedoraproject.org/packages/kernel/6.17.7/300.fc43/x86_64/kernel-devel-6.17.7-300.fc43.x86_64.rpm"
        );
        assert!(FedoraKernel::parse("6.18.0-0.rc4.251104git.38.fc44.aarch64").is_some_and(|one| one.fedora == 44));
        for other in [
            "6.17.7-300.fc43.x86_64+debug",
            "5.14.0-570.el9.x86_64",
            "6.12.48+deb13-amd64",
            "6.17.7-300.fc.x86_64",
            "../6-1.fc43.x86_64",
            "6.1-`id`.fc43.x86_64",
            "fc43",
            "",
        ] {
            assert_eq!(FedoraKernel::parse(other), None, "{other}");
        }
    }
}
