//! What a driver image and a kernel tell of each other, without a machine: whether the image's modules will load, and
//! take the place of the in-tree ones. Nothing of the image is unpacked or executed.
//!
//! `image` reads images, `kernel` what a kernel says of itself, and `checks` compares. What an id means, and what is
//! not looked at here, is in docs/inspect.md.

mod checks;
mod driver;
mod finding;
#[cfg(test)]
pub(crate) mod fixture;
mod image;
mod index_file;
mod kernel;
mod module_file;
mod pattern;
mod symvers;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;

use day1_generator::Tag;

pub use checks::{CHECKS, Check, table};
pub use finding::{Finding, INSPECTION_VERSION, ImageFacts, Inspection, KernelFacts, ModuleFacts, Outcome};
pub use image::{Copied, Error as ImageError, Fault, Limits, Platform, Source};
pub use kernel::KernelError;
pub(crate) use text::counts;
pub use text::describe;

use crate::kmod::TrustedKey;
use checks::Context;
use driver::Driver;
use image::{Content, Image};
use kernel::Kernel;

/// What to inspect, and for which nodes.
#[derive(Debug, Clone)]
pub struct Request {
    /// The image.
    pub image: Source,
    /// The kernel.
    pub kernel: KernelChoice,
    /// The module that the nodes load; where the image has one module only, it needs no name.
    pub module: Option<String>,
    /// The in-tree modules that the MachineConfig removes, in their order; none given is the module's own name.
    pub in_tree: Option<Vec<String>>,
    /// The directory of the firmware in the image.
    pub firmware: Option<String>,
    /// The nodes' machine, `amd64` or `arm64`; none given is what the kernel release ends with, or `amd64`.
    pub architecture: Option<String>,
    /// Certificates that the nodes trust for modules.
    pub trusted_keys: Vec<TrustedKey>,
    /// Plain http is spoken to registries on other machines, too.
    pub insecure: bool,
    /// What reading the image may cost.
    pub limits: Limits,
}

/// The kernel that an image is for.
#[derive(Debug, Clone)]
pub enum KernelChoice {
    /// None is known; the image tells a release.
    Unknown,
    /// This release; what a node image in the cache has of it, if one has it.
    Release {
        /// As `uname -r` prints it.
        release: String,
        /// The root directory of the cache; none is no cache.
        cache: Option<PathBuf>,
    },
    /// What a directory in the shape of `/lib/modules/<release>` tells.
    Directory(PathBuf),
}

/// Why an image is not inspected. What is wrong with the image itself is a finding, and no error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image can't be had.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The kernel's directory can't be used.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Several modules could be meant.
    #[error("{image} has several modules in {dir}; name the one that the nodes load with --module: {}", names.join(", "))]
    WhichModule {
        /// The image.
        image: String,
        /// Where they are.
        dir: String,
        /// Their names.
        names: Vec<String>,
    },
    /// Several kernels could be meant.
    #[error("{image} has modules for several kernels; name the nodes' with --kernel: {}", releases.join(", "))]
    WhichKernel {
        /// The image.
        image: String,
        /// Their releases.
        releases: Vec<String>,
    },
    /// Nothing tells the tag.
    #[error("{image} has no tag: add one, or name the nodes' kernel with --kernel, whose tag is asked for then")]
    NoTag {
        /// The image.
        image: String,
    },
}

impl Error {
    /// The registry or this machine failed, and not what was asked for.
    pub fn is_ours(&self) -> bool {
        matches!(self, Self::Image(ImageError::Registry { .. } | ImageError::Write { .. }))
    }
}

/// Inspects an image. Blocks; must not be called from a task of an async runtime.
///
/// Takes a second for 200 MB, and memory for names and for what modules say, but not for the image's content.
pub fn inspect(request: &Request) -> Result<Inspection, Error> {
    let (kernel, no_kernel) = read_kernel(&request.kernel)?;
    let asked = match &request.kernel {
        KernelChoice::Release { release, .. } => Some(release.clone()),
        _ => kernel.as_ref().map(|kernel| kernel.release.clone()),
    };
    let architecture = request.architecture.clone().unwrap_or_else(|| architecture_of(asked.as_deref()));
    let tag = asked.as_deref().map(|release| Tag::for_kernel(release).to_string());
    let mut inspection = Inspection {
        version: INSPECTION_VERSION,
        image: ImageFacts { reference: reference(&request.image, tag.as_deref()), ..ImageFacts::default() },
        kernel: KernelFacts { release: asked.clone(), directory: kernel.as_ref().map(|kernel| kernel.dir.clone()) },
        modules: Vec::new(),
        findings: Vec::new(),
    };
    if let Source::Registry { tag: None, digest: None, .. } = request.image
        && tag.is_none()
    {
        return Err(Error::NoTag { image: request.image.to_string() });
    }
    let opened = Image::open(&request.image, tag.as_deref(), &architecture, request.insecure);
    let Some(image) = settle(opened, &mut inspection)? else { return Ok(inspection) };
    inspection.image.digest = image.digest.clone();
    inspection.image.manifest_digest = image.manifest_digest.clone();
    inspection.image.config_digest = Some(image.config_digest().to_owned());
    inspection.image.platform = Some(image.platform.clone());
    inspection.image.compressed_bytes = Some(image.size);
    let content = image.read(&request.limits, &request.trusted_keys);
    let Some(content) = settle(content, &mut inspection)? else { return Ok(inspection) };
    inspection.image.bytes = Some(content.bytes);
    let context = Context { request, image: &image, content: &content, architecture: &architecture };
    inspection.findings.extend(checks::of_image(&context));
    let found = driver_of(request, &image, &content, asked, &mut inspection)?;
    let Some((release, driver)) = found else {
        inspection.findings.push(checks::nothing_more());
        return Ok(inspection);
    };
    inspection.kernel.release = Some(release.clone());
    let Some(module) = module_of(request, &driver)? else {
        inspection.findings.push(checks::no_module(request.module.as_deref().unwrap_or_default(), &driver));
        inspection.findings.push(checks::nothing_more());
        return Ok(inspection);
    };
    let load = driver.load_order(&module);
    inspection.modules = load.iter().filter_map(|name| facts(&driver, name)).collect();
    let subject = checks::Subject { release: &release, driver: &driver, module: &module, load: &load };
    let kernel = kernel.as_ref().ok_or(no_kernel.as_str());
    inspection.findings.extend(checks::of_modules(&context, &subject, kernel));
    Ok(inspection)
}

/// Copies an image for nodes of an architecture (`amd64`, `arm64`), byte for byte and verified, into an empty directory, as
/// an OCI image layout. Where the source names no tag, `tag` is asked for. Blocks.
pub fn copy(
    image: &Source,
    tag: Option<&str>,
    architecture: &str,
    insecure: bool,
    dir: &std::path::Path,
) -> Result<Copied, Error> {
    Ok(Image::open(image, tag, architecture, insecure)?.copy(dir)?)
}

/// Identifies an image for nodes of an architecture without reading its layers: the digest of its manifest, or of its
/// config, which names its layers.
pub fn identify(image: &Source, tag: Option<&str>, architecture: &str, insecure: bool) -> Result<String, Error> {
    let image = Image::open(image, tag, architecture, insecure)?;
    Ok(image.manifest_digest.clone().unwrap_or_else(|| image.config_digest().to_owned()))
}

/// The `srcversion` of each module that an image has for a kernel, by name, where the module has one.
pub fn srcversions(
    image: &Source,
    tag: Option<&str>,
    architecture: &str,
    release: &str,
) -> Result<BTreeMap<String, Option<String>>, Error> {
    let content = Image::open(image, tag, architecture, false)?.read(&Limits::default(), &[])?;
    let Some(driver) = Driver::find(&content.tree, release, content.room) else { return Ok(BTreeMap::new()) };
    let names = driver.files.keys().filter_map(|path| module_file::module_name(path));
    Ok(names.filter_map(|name| facts(&driver, &name)).map(|facts| (facts.name, facts.srcversion)).collect())
}

/// The kernel's lists; or why there are none.
fn read_kernel(choice: &KernelChoice) -> Result<(Option<Kernel>, String), Error> {
    match choice {
        KernelChoice::Directory(dir) => Ok((Some(Kernel::read(dir)?), String::new())),
        KernelChoice::Unknown => Ok((None, "no kernel is given: add --kernel RELEASE or --kernel-dir DIR".to_owned())),
        KernelChoice::Release { release, cache } => {
            let known = cache.as_deref().map(crate::node::kernel_dirs).unwrap_or_default();
            if let Some(dir) = known.get(release) {
                return Ok((Some(Kernel::read(dir)?), String::new()));
            }
            let has = match known.keys().cloned().collect::<Vec<_>>() {
                none if none.is_empty() => "none tells of any kernel".to_owned(),
                some => format!("they have {}", some.join(", ")),
            };
            let reason = format!(
                "no node image in the cache tells of kernel {release} ({has}): add --kernel-dir with a copy of a node's /lib/modules/{release}"
            );
            Ok((None, reason))
        }
    }
}

/// An image's own fault becomes a finding.
fn settle<T>(result: Result<T, ImageError>, inspection: &mut Inspection) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ImageError::Fault(fault)) => {
            inspection.findings.push(checks::fault(&fault));
            inspection.findings.push(checks::nothing_more());
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn reference(source: &Source, tag: Option<&str>) -> String {
    match (source, tag) {
        (Source::Registry { tag: None, digest: None, .. }, Some(tag)) => format!("{source}:{tag}"),
        _ => source.to_string(),
    }
}

/// As kernel releases end: Fedora's and RHEL's with the machine, Debian's with its name for it.
fn architecture_of(release: Option<&str>) -> String {
    let arm = release.is_some_and(|release| release.contains("aarch64") || release.contains("arm64"));
    if arm { "arm64" } else { "amd64" }.to_owned()
}

/// The image's modules for the kernel, and its release; none where it has none, with a finding.
fn driver_of<'c>(
    request: &Request,
    image: &Image,
    content: &'c Content,
    asked: Option<String>,
    inspection: &mut Inspection,
) -> Result<Option<(String, Driver<'c>)>, Error> {
    let releases = driver::releases(&content.tree);
    let release = match asked {
        Some(release) => release,
        None => {
            let tag = request.image.tag().or(image.tag.as_deref());
            let tagged = releases.iter().find(|release| Some(Tag::for_kernel(release).as_str()) == tag);
            match (tagged, releases.as_slice()) {
                (Some(release), _) => release.clone(),
                (None, [only]) => only.clone(),
                (None, []) => String::new(),
                (None, _) => {
                    let image = inspection.image.reference.clone();
                    return Err(Error::WhichKernel { image, releases });
                }
            }
        }
    };
    let driver = Driver::find(&content.tree, &release, content.room).filter(|_| !release.is_empty());
    inspection.findings.extend(checks::layout(&release, &releases, driver.as_ref()));
    Ok(driver.map(|driver| (release, driver)))
}

/// The name of the module that is asked for, if the image has it.
fn module_of(request: &Request, driver: &Driver<'_>) -> Result<Option<String>, Error> {
    let names = driver.names();
    if let Some(asked) = &request.module {
        let name = asked.replace('-', "_");
        return Ok(names.contains(&name).then_some(name));
    }
    let names: Vec<String> = names.into_iter().collect();
    match names.as_slice() {
        [only] => Ok(Some(only.clone())),
        [] => Ok(None),
        _ => Err(Error::WhichModule { image: request.image.to_string(), dir: driver.dir.clone(), names }),
    }
}

fn facts(driver: &Driver<'_>, name: &str) -> Option<ModuleFacts> {
    let (path, _) = driver.file(name)?;
    let info = driver.info(name)?;
    Some(ModuleFacts {
        name: info.name.clone(),
        path: driver.path(path),
        version: info.version.clone(),
        srcversion: info.srcversion.clone(),
        vermagic: info.vermagic.clone(),
        license: info.license.clone(),
        aliases: info.aliases.clone(),
        signer: info.signature.as_ref().and_then(|signature| signature.signer.clone()),
    })
}
