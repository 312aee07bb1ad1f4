//! The layer that a scenario wants on its node image.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::images::Bench;
use super::plan::{Workshop, node_kernel};
use super::plan_error::PlanError;
use crate::layering::{self, module_name};
use crate::node::NodeImage;
use crate::scenario::{self, ModuleName, Scenario};
use crate::timeline::LayerFact;

/// The node image with the scenario's layer on it, and what the timeline begins with of it; the image as it is for a
/// scenario without one.
pub(super) fn layered(
    scenario: &Scenario,
    node: &NodeImage,
    workshop: &Workshop,
    tell: &dyn Fn(&str),
) -> Result<(NodeImage, Option<LayerFact>), PlanError> {
    let Some(layer) = &scenario.spec.node.layer else { return Ok((node.clone(), None)) };
    let place = scenario::Path::default().key("node").key("layer");
    if !node.is_built_here() {
        let (place, node) = (scenario.document.place(&place), node.name().to_owned());
        return Err(PlanError::NoLayer { place, node });
    }
    let bench = Bench::of_kernel(scenario, node, &node_kernel(), scenario.spec.node.kernel, workshop, tell)?;
    let kernel = bench.build_root.kernel_release.clone();
    let known = in_tree(&node.kernel_dir(&kernel));
    for (index, name) in layer.without.iter().enumerate() {
        if !known.contains(&sysfs_name(name)) {
            let place = scenario.document.place(&place.key("without").index(index));
            return Err(PlanError::NotInTree { place, module: name.to_string(), kernel, node: node.name().to_owned() });
        }
    }
    let modules = bench.modules(layer.modules.iter())?;
    let without: BTreeSet<String> = layer.without.iter().map(sysfs_name).collect();
    let fact = LayerFact {
        kernel,
        modules: modules
            .iter()
            .map(|module| (module.info.name.clone(), module.info.srcversion.clone().unwrap_or_default()))
            .collect(),
        without: without.iter().cloned().collect(),
    };
    let layer = layering::Layer { modules: &modules, without: &without };
    Ok((layering::ensure(&workshop.cache, node, &layer, &bench.build_root, tell)?, Some(fact)))
}

fn sysfs_name(name: &ModuleName) -> String {
    name.as_str().replace('-', "_")
}

/// The kernel's own modules that have a file; those that are built in have none.
fn in_tree(kernel_dir: &Path) -> BTreeSet<String> {
    let list = fs::read_to_string(kernel_dir.join("modules.dep")).unwrap_or_default();
    list.lines().filter_map(|line| module_name(line.split(':').next()?)).collect()
}
