//! Build roots for kernels that are not Debian's: from a container image that has the kernel's `kernel-devel`, a compiler
//! and `make`, as OpenShift's Driver Toolkit does for the kernels of its release. Everything after that (compiling in a
//! sandbox, `depmod`, packing) is the same as for Debian's kernels.
//!
//! The image is one that a person names, which is read by this crate and needs no engine; or, for a Fedora kernel, one
//! that is made in a container of that Fedora.

mod fedora;
mod install;
mod named;
mod root;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub use fedora::{FedoraKernel, installed_root};
pub use install::{INSTALL_SUBCOMMAND, Installation, install};
pub use named::{DriverToolkit, named_root};

use crate::architecture::Architecture;
use crate::cache::{self, Cache, Fetched};
use crate::containers::EngineError;
use crate::inspect;
use crate::kmod::{self, BuildRoot};

/// The kind of the cache entries, which Debian's build roots have too.
const CACHE_KIND: &str = "kmod-build-root";
/// Changes when another root is made of the same image.
const FORMAT: &[u8] = b"day1 toolkit root 1";
/// Free space that making one takes: an archive, and what is kept of it.
const NEED_MIB: u64 = 4096;
/// Where an entry has its root.
const ROOT: &str = "root";

/// Why there is no build root for a kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody publishes what its modules are built with.
    #[error(
        "no public repository has the kernel-devel of kernel {kernel}: name an image that has it with --driver-toolkit \
         (or in DAY1_DRIVER_TOOLKIT). OpenShift's Driver Toolkit of the same release does; with its pull secret in \
         pull-secret.json:\n  \
         toolkit=$(oc adm release info -a pull-secret.json --image-for=driver-toolkit quay.io/openshift-release-dev/ocp-release:VERSION-{arch})\n  \
         podman pull --authfile pull-secret.json \"$toolkit\" && podman save --output toolkit.tar \"$toolkit\"\n  \
         day1 run … --driver-toolkit toolkit.tar", arch = arch_of(kernel)
    )]
    NoToolkit {
        /// The kernel.
        kernel: String,
    },
    /// The node has another processor than the host.
    #[error(
        "modules for kernel {kernel} can't be built here: a container's compiler is for the host's own processor, and the \
         node's is {architecture}. Run on a host with that processor"
    )]
    Foreign {
        /// The kernel.
        kernel: String,
        /// The node's.
        architecture: Architecture,
    },
    /// No container can be run.
    #[error(
        "what modules for kernel {kernel} are built with is installed in a container of {image}, and {source}\n{}",
        by_hand(kernel, image)
    )]
    Engine {
        /// The kernel.
        kernel: String,
        /// The container's image.
        image: String,
        /// Why not.
        source: EngineError,
    },
    /// What modules are built with could not be installed in the container.
    #[error(
        "{engine} could not install what modules for kernel {kernel} are built with in a container of {image}: {reason}\n{}",
        by_hand(kernel, image)
    )]
    Install {
        /// The engine and its socket.
        engine: String,
        /// The kernel.
        kernel: String,
        /// The container's image.
        image: String,
        /// What happened.
        reason: String,
    },
    /// The image can't be read.
    #[error("cannot take the driver toolkit {toolkit}: {source}")]
    Image {
        /// The image.
        toolkit: String,
        /// Why not.
        source: Box<inspect::Error>,
    },
    /// It can't be unpacked.
    #[error("cannot unpack the driver toolkit {toolkit}: {source}")]
    Unpack {
        /// The image.
        toolkit: String,
        /// Why not.
        source: io::Error,
    },
    /// It is for other kernels.
    #[error(
        "the driver toolkit {toolkit} has no headers of kernel {kernel} (/usr/src/kernels/{kernel} or /lib/modules/{kernel}/build), {}: take the toolkit of the node image's own release",
        if has.is_empty() { "nor of any other".to_owned() } else { format!("only of {}", has.join(", ")) }
    )]
    Headers {
        /// The image.
        toolkit: String,
        /// The node's kernel.
        kernel: String,
        /// The kernels whose headers it has.
        has: Vec<String>,
    },
    /// It can't build modules.
    #[error("the driver toolkit {toolkit} lacks {}, which building and packing modules takes: install them in it", missing.join(", "))]
    Programs {
        /// The image.
        toolkit: String,
        /// The programs.
        missing: Vec<&'static str>,
    },
    /// The process that holds the container can't be started or heard.
    #[error("cannot use {} to hold a container: {source}", day1.display())]
    Holder {
        /// The `day1` program.
        day1: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The kernel's release is malformed.
    #[error(transparent)]
    Kernel(#[from] kmod::Error),
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] cache::Error),
}

/// The commands that make an image for `--driver-toolkit` where a container can be run and Fedora be reached.
fn by_hand(kernel: &str, image: &str) -> String {
    let url = FedoraKernel::parse(kernel).map(|kernel| kernel.kernel_devel()).unwrap_or_default();
    format!(
        "Where both an engine and the network are, an image is made by:\n  \
         podman run --name day1-toolkit {image} dnf -y install {packages} {url}\n  \
         podman commit day1-toolkit day1-toolkit && podman save --output toolkit.tar day1-toolkit\n\
         and used by:\n  \
         day1 run … --driver-toolkit toolkit.tar",
        packages = fedora::PACKAGES.join(" "),
    )
}

fn arch_of(kernel: &str) -> &str {
    if kernel.contains("aarch64") { "aarch64" } else { "x86_64" }
}

/// How a kernel's modules are built.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Way {
    /// With an image that a person names.
    Named(DriverToolkit),
    /// With what is installed in a container of the kernel's Fedora.
    Installed(FedoraKernel),
}

fn way(kernel: &str, named: Option<&DriverToolkit>) -> Result<Way, Error> {
    if let Some(toolkit) = named {
        return Ok(Way::Named(toolkit.clone()));
    }
    FedoraKernel::parse(kernel).map(Way::Installed).ok_or_else(|| Error::NoToolkit { kernel: kernel.to_owned() })
}

/// Whether the cache has what is installed for a Fedora kernel.
pub fn is_cached(cache: &Cache, kernel: &str) -> bool {
    let key = FedoraKernel::parse(kernel).map(|kernel| fedora::key(&kernel.image(), &kernel));
    key.is_some_and(|key| cache.find(CACHE_KIND, &key).is_some())
}

/// What modules for a kernel that is not Debian's are built with, and what the cache has of it.
pub fn fetched(cache: &Cache, kernel: &str, named: Option<&DriverToolkit>) -> Result<Fetched, Error> {
    let kind = "build-root";
    Ok(match way(kernel, named)? {
        // Which one it is, only its source can tell.
        Way::Named(toolkit) => Fetched { from: vec![toolkit.to_string()], ..Fetched::elsewhere(kind, kernel) },
        Way::Installed(fedora) => {
            let key = fedora::key(&fedora.image(), &fedora);
            let from = vec![fedora.image(), fedora.kernel_devel()];
            Fetched { from, ..Fetched::entry(cache, kind, kernel, (CACHE_KIND, &key)) }
        }
    })
}

/// Lets the cache have what [`is_cached`] asks for.
#[cfg(test)]
pub(crate) fn pretend_cached(cache: &Cache, kernel: &str) {
    let kernel = FedoraKernel::parse(kernel).expect("a Fedora kernel");
    let key = fedora::key(&kernel.image(), &kernel);
    std::fs::create_dir_all(cache.root().join(CACHE_KIND).join(key)).expect("made");
}

/// The build roots of a run; each is asked for once.
#[derive(Debug)]
pub struct Toolkits {
    named: Option<DriverToolkit>,
    /// The `day1` program, which holds containers.
    day1: PathBuf,
    known: Mutex<BTreeMap<String, Result<BuildRoot, Arc<Error>>>>,
}

impl Toolkits {
    /// For a run that names a toolkit, or none.
    pub fn new(named: Option<DriverToolkit>, day1: &Path) -> Self {
        Self { named, day1: day1.to_owned(), known: Mutex::default() }
    }

    /// The root for a kernel of nodes with this processor; made first where the cache has none, which
    /// takes minutes. Blocks.
    pub fn build_root(
        &self,
        cache: &Cache,
        architecture: Architecture,
        kernel: &str,
        tell: &dyn Fn(&str),
    ) -> Result<BuildRoot, Arc<Error>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = known.get(kernel) {
            return root.clone();
        }
        let make = || match way(kernel, self.named.as_ref())? {
            _ if !architecture.is_native() => Err(Error::Foreign { kernel: kernel.to_owned(), architecture }),
            Way::Named(toolkit) => named_root(cache, &toolkit, architecture, kernel, tell),
            Way::Installed(kernel) => installed_root(cache, &self.day1, &kernel.image(), &kernel, tell),
        };
        let made = make().map_err(Arc::new);
        known.insert(kernel.to_owned(), made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_s_release_tells_the_way() {
        let fedora = way("6.17.7-300.fc43.x86_64", None).expect("a way");
        let Way::Installed(kernel) = fedora else { panic!("{fedora:?}") };
        assert_eq!(kernel.image(), "registry.fedoraproject.org/fedora:43");
        for other in
            ["5.14.0-570.12.1.el9_6.x86_64", "6.12.0-55.el10.x86_64", "6.12.48+deb13-amd64", "6.17.0", "x.fc43.x86_64"]
        {
            let text = way(other, None).expect_err(other).to_string();
            for part in [other, "--driver-toolkit toolkit.tar", "oc adm release info", "podman save"] {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        let named: DriverToolkit = "quay.io/openshift/driver-toolkit:4.21".parse().expect("an image");
        for any in ["6.17.7-300.fc43.x86_64", "5.14.0-570.12.1.el9_6.x86_64"] {
            assert_eq!(way(any, Some(&named)).expect("a way"), Way::Named(named.clone()));
        }
    }

    #[test]
    fn without_an_engine_the_commands_for_another_host_are_told_and_it_is_asked_for_once() {
        let told = by_hand("6.17.7-300.fc43.x86_64", "registry.fedoraproject.org/fedora:43");
        for part in [
            "podman run --name day1-toolkit registry.fedoraproject.org/fedora:43 dnf -y install gcc make",
            "https://kojipkgs.fedoraproject.org/packages/kernel/6.17.7/300.fc43/x86_64/kernel-devel-6.17.7-300.fc43.x86_64.rpm",
            "--driver-toolkit toolkit.tar",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let (kernel, image) = ("6.17.7-300.fc43.x86_64".to_owned(), "fedora:43".to_owned());
        let source = EngineError::NoneAnswers { tried: "/var/run/docker.sock: No such file or directory".to_owned() };
        let text = Error::Engine { kernel, image, source }.to_string();
        for part in ["/var/run/docker.sock: No such file", "DOCKER_HOST", "podman run", "--driver-toolkit toolkit.tar"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let dir = tempfile::tempdir().expect("temporary directory");
        let cache = Cache::open(Some(dir.path())).expect("a cache");
        let toolkits = Toolkits::new(None, Path::new("/nowhere/day1"));
        let ask = || {
            toolkits
                .build_root(&cache, Architecture::X86_64, "5.14.0-570.el9_6.x86_64", &|_| ())
                .expect_err("no toolkit")
        };
        assert!(Arc::ptr_eq(&ask(), &ask()));
    }
}
