//! The images of a scenario's registry: modules built for the node's kernels, and packed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use day1_generator::Tag;

use super::brought::{self, Brought};
use super::plan::{Image, Workshop, image_kernel, kernel, node_kernel};
use super::plan_error::PlanError;
use super::worker::WorkerImage;
use crate::cache::{Cache, Fetched};
use crate::kmod::{self, BuildRoot, BuiltModule, ModuleKey};
use crate::node::{Kernel, NodeImage};
use crate::scenario::{self, ModuleName, Scenario, Variant};
use crate::timeline::ImageFact;
use crate::toolkit::{self, DriverToolkit};

/// Debian's own, for an image that does not say where its packages are from.
const DEBIAN_MIRROR: &str = "http://deb.debian.org/debian";

/// The scenario's images, and the workers that its MachineConfigs name, each with what the timeline begins with of it.
pub(super) fn all(
    scenario: &Scenario,
    workers: &[WorkerImage],
    node: &NodeImage,
    workshop: &Workshop,
    tell: &dyn Fn(&str),
) -> Result<Vec<(Image, ImageFact)>, PlanError> {
    let bench = |place, number| Bench::of_kernel(scenario, node, &place, number, workshop, tell);
    let mut all = Vec::new();
    for (index, image) in scenario.spec.registry.images.iter().enumerate() {
        let number = image.kernel.unwrap_or(scenario.spec.node.kernel);
        if let Some(from) = &image.from {
            let kernel = kernel(scenario, node, &image_kernel(index), number)?;
            let kernel_tag = Tag::for_kernel(&kernel.release).to_string();
            let tags: Vec<String> = image.tags.iter().map(|tag| tag.fill(&kernel_tag)).collect();
            let place = scenario::Path::default().key("registry").key("images").index(index).key("from");
            let copied = brought::copy(&Brought { scenario, from, node, kernel, workshop }).map_err(|source| {
                PlanError::Image { place: scenario.document.place(&place), source: Box::new(source) }
            })?;
            all.push(described(image.repository.to_string(), tags, copied));
            continue;
        }
        let bench = bench(image_kernel(index), number)?;
        let kernel_tag = Tag::for_kernel(&bench.build_root.kernel_release).to_string();
        let tags = image.tags.iter().map(|tag| tag.fill(&kernel_tag)).collect();
        all.push(described(image.repository.to_string(), tags, bench.driver(image)?));
    }
    for worker in workers {
        let is_there =
            |(image, _): &(Image, ImageFact)| image.repository == worker.repository && image.tags.contains(&worker.tag);
        if !all.iter().any(is_there) {
            let layout = bench(node_kernel(), scenario.spec.node.kernel)?.worker()?;
            all.push(described(worker.repository.clone(), vec![worker.tag.clone()], layout));
        }
    }
    Ok(all)
}

/// What [`all`] takes from elsewhere, where the cache has none of it.
pub(super) fn fetched(
    scenario: &Scenario,
    workers: &[WorkerImage],
    node: &NodeImage,
    cache: &Cache,
    named: Option<&DriverToolkit>,
) -> Result<Vec<Fetched>, PlanError> {
    let own = scenario.spec.node.kernel;
    let images = scenario.spec.registry.images.iter().enumerate();
    let images = images.map(|(index, image)| (image.from.as_ref(), image_kernel(index), image.kernel.unwrap_or(own)));
    let workers = workers.iter().map(|_| (None, node_kernel(), own));
    let layer = scenario.spec.node.layer.iter().map(|_| (None, node_kernel(), own));
    let fetched = images.chain(workers).chain(layer).map(|(from, place, number)| match from {
        Some(from) => Ok(Fetched { from: vec![from.clone()], ..Fetched::elsewhere("driver-image", from) }),
        None => {
            let kernel = kernel(scenario, node, &place, number)?;
            Ok(match distribution(node, kernel) {
                Some(debian) => kmod::fetched(cache, &debian, &kernel.release),
                None => toolkit::fetched(cache, &kernel.release, named)
                    .map_err(|error| no_modules(node, Arc::new(error)))?,
            })
        }
    });
    fetched.collect()
}

/// Where a kernel's headers come from, if it is Debian's.
fn distribution(node: &NodeImage, kernel: &Kernel) -> Option<kmod::Distribution> {
    let mirror = node.facts.mirror.as_deref().unwrap_or(DEBIAN_MIRROR);
    let is_debian = node.facts.distribution == "debian";
    is_debian.then(|| kmod::Distribution::debian(node.disk.architecture, &kernel.suite, mirror))
}

fn no_modules(node: &NodeImage, source: Arc<toolkit::Error>) -> PlanError {
    PlanError::NoModules {
        node: node.name().to_owned(),
        distribution: format!("{} {}", node.facts.distribution, node.facts.distribution_version),
        source,
    }
}

/// What modules for a kernel are built in: of Debian's packages, or of a toolkit's image.
fn build_root(
    node: &NodeImage,
    kernel: &Kernel,
    workshop: &Workshop,
    tell: &dyn Fn(&str),
) -> Result<BuildRoot, PlanError> {
    if let Some(distribution) = distribution(node, kernel) {
        return Ok(kmod::ensure_build_root(&workshop.cache, &distribution, &kernel.release, tell)?);
    }
    let root = workshop.toolkits.build_root(&workshop.cache, node.disk.architecture, &kernel.release, tell);
    root.map_err(|source| no_modules(node, source))
}

fn described(repository: String, tags: Vec<String>, layout: kmod::OciLayout) -> (Image, ImageFact) {
    let modules = layout.modules.into_iter().map(|(name, version)| (name, version.unwrap_or_default())).collect();
    let fact =
        ImageFact { repository: repository.clone(), tags: tags.clone(), digest: layout.manifest_digest, modules };
    (Image { layout: layout.dir, repository, tags, bytes: layout.bytes }, fact)
}

/// Where images for one kernel are made.
pub(super) struct Bench<'w> {
    pub build_root: BuildRoot,
    workshop: &'w Workshop,
    tell: &'w dyn Fn(&str),
}

impl<'w> Bench<'w> {
    /// For one of the node image's kernels, counted from 1, which the scenario names at this place.
    pub fn of_kernel(
        scenario: &Scenario,
        node: &NodeImage,
        place: &scenario::Path,
        number: usize,
        workshop: &'w Workshop,
        tell: &'w dyn Fn(&str),
    ) -> Result<Self, PlanError> {
        let kernel = kernel(scenario, node, place, number)?;
        Ok(Self { build_root: build_root(node, kernel, workshop, tell)?, workshop, tell })
    }

    /// Modules of `vm-images/kmods`, built.
    pub fn modules<'n>(&self, names: impl Iterator<Item = &'n ModuleName>) -> Result<Vec<BuiltModule>, PlanError> {
        let kmods = self.workshop.vm_images.join("kmods");
        let sources: Vec<PathBuf> = names.map(|name| kmods.join(name.as_str())).collect();
        if sources.is_empty() {
            return Ok(vec![]);
        }
        let sources: Vec<&Path> = sources.iter().map(PathBuf::as_path).collect();
        let built = kmod::build_modules(&self.workshop.cache, &self.build_root, &sources, self.tell)?;
        Ok(built.modules.into_values().collect())
    }

    /// Packed anew by each process that asks first; the same content gives the same entry.
    fn pack(&self, spec: kmod::PackSpec) -> Result<kmod::OciLayout, PlanError> {
        let spec = kmod::PackSpec { kernel_release: self.build_root.kernel_release.clone(), ..spec };
        Ok(kmod::ensure_image(&self.workshop.cache, &self.build_root, &spec)?)
    }

    fn worker(&self) -> Result<kmod::OciLayout, PlanError> {
        let config = kmod::ImageConfig { entrypoint: worker_entrypoint(), ..kmod::ImageConfig::default() };
        self.pack(kmod::PackSpec { base: self.worker_base()?, config, ..kmod::PackSpec::default() })
    }

    fn worker_base(&self) -> Result<kmod::Base, PlanError> {
        let path = self.workshop.vm_images.join("worker/worker");
        std::fs::read(&path).map(kmod::Base::Worker).map_err(|source| PlanError::Worker { path, source })
    }

    fn key(&self, name: &scenario::Id) -> Result<Arc<ModuleKey>, PlanError> {
        Ok(Arc::new(ModuleKey::ensure(&self.workshop.cache, name.as_str())?))
    }

    fn driver(&self, image: &scenario::Image) -> Result<kmod::OciLayout, PlanError> {
        // Built apart: what is in the image is built against the node's own modules, not against their namesakes.
        let mut host_modules = BTreeMap::new();
        for (name, path) in &image.host_modules {
            let namesake = self.modules(std::iter::once(name))?;
            host_modules.extend(namesake.into_iter().map(|module| (path.to_string(), module)));
        }
        self.pack(kmod::PackSpec {
            modules: self.modules(image.modules.iter())?,
            host_modules,
            files: image.files.iter().map(|(path, text)| (path.to_string(), text.clone().into_bytes())).collect(),
            base: match image.base {
                scenario::Base::Scratch => kmod::Base::Scratch,
                scenario::Base::Shell => kmod::Base::Shell,
                scenario::Base::Worker => self.worker_base()?,
            },
            variant: image.variant.map(variant),
            signed_by: image.signed_by.as_ref().map(|name| self.key(name)).transpose()?,
            filler_bytes: image.filler.map_or(0, scenario::Size::bytes),
            config: kmod::ImageConfig {
                other_architecture: image.architecture == scenario::Architecture::Other,
                user: image.user.clone(),
                entrypoint: if image.base == scenario::Base::Worker { worker_entrypoint() } else { None },
            },
            ..kmod::PackSpec::default()
        })
    }
}

fn worker_entrypoint() -> Option<Vec<String>> {
    Some(vec!["worker".to_owned()])
}

fn variant(variant: Variant) -> kmod::Variant {
    match variant {
        Variant::WrongVermagic => kmod::Variant::WrongVermagic,
        Variant::CrcMismatch => kmod::Variant::CrcMismatch,
        Variant::MissingModulesDep => kmod::Variant::MissingModulesDep,
        Variant::OtherKernelDirectory => kmod::Variant::OtherKernelDirectory,
        Variant::MissingDependency => kmod::Variant::MissingDependency,
        Variant::TruncatedLayer => kmod::Variant::TruncatedLayer,
        Variant::OtherVersion => kmod::Variant::OtherVersion,
    }
}
