//! What runs at night: the node images of `vm-images/`, their kernels, and the shards that `ci/matrix.yaml` gives them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// More jobs than this GitHub refuses in one matrix.
const MOST_JOBS: usize = 256;

/// `ci/matrix.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Matrix {
    nodes: BTreeMap<String, Wanted>,
    #[serde(default)]
    left_out: BTreeMap<String, String>,
    kubernetes: Cluster,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    shards: usize,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    engine: bool,
}

/// As much of a node image's definition as decides what runs on it; `day1` reads the whole of it.
#[derive(Debug, Deserialize)]
struct Definition {
    #[serde(default)]
    kernels: Vec<String>,
}

/// What the cluster is that runs the Kubernetes Job.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Cluster {
    /// The reference of the harness's image.
    pub image: String,
    /// Groups of `/dev/kvm` on its nodes, where not everyone may open it.
    #[serde(default)]
    pub kvm_groups: Vec<u32>,
}

/// A night.
#[derive(Debug, PartialEq, Eq)]
pub struct Night {
    pub nodes: Vec<Node>,
    pub cluster: Cluster,
}

/// A node image that runs.
#[derive(Debug, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// Arguments of `day1 run` besides the node's and the kernel's.
    pub arguments: Vec<String>,
    /// Whether modules for its kernels are built in a container.
    pub engine: bool,
    pub cells: Vec<Cell>,
}

/// One node image with one kernel: a plan of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Cell {
    /// The kernel's place in the definition, from 1, and its package; none for an image that tells only when it is there.
    pub kernel: Option<(usize, String)>,
    pub shards: usize,
}

impl Node {
    /// The name of a cell's plan.
    pub fn plan(&self, cell: &Cell) -> String {
        let kernel = cell.kernel.as_ref().map(|(place, _)| format!("-kernel-{place}")).unwrap_or_default();
        format!("{}{kernel}", self.name)
    }
}

/// Reads both; each node image must be in `ci/matrix.yaml`, to run or to be left out.
pub fn read(root: &Path) -> Result<Night> {
    let file = root.join("ci/matrix.yaml");
    let night: Matrix = yaml(&file)?;
    let image = &night.kubernetes.image;
    if !is_reference(image) {
        bail!("{} names the image {image:?}: registry.example/harness:tag is one", file.display());
    }
    let mut defined = BTreeMap::new();
    let images = root.join("vm-images");
    for entry in fs::read_dir(&images).with_context(|| format!("cannot list {}", images.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            defined.insert(name, yaml::<Definition>(&path)?);
        }
    }
    let named: BTreeSet<&String> = night.nodes.keys().chain(night.left_out.keys()).collect();
    if let Some(name) = defined.keys().find(|name| !named.contains(name)) {
        bail!("{} says nothing of {name}: name it under `nodes`, or under `left-out` with the reason", file.display());
    }
    if let Some(name) = named.iter().find(|name| !defined.contains_key(**name)) {
        bail!("{} names {name}, and vm-images has no {name}.yaml", file.display());
    }
    if let Some(name) = night.nodes.keys().find(|name| night.left_out.contains_key(*name)) {
        bail!("{} names {name} both to run and to be left out", file.display());
    }
    let nodes: Vec<Node> = night.nodes.into_iter().map(|(name, wanted)| node(&defined[&name], name, wanted)).collect();
    let jobs = nodes.iter().flat_map(|node| &node.cells).map(|cell| cell.shards).sum();
    if !(1..=MOST_JOBS).contains(&jobs) || nodes.iter().any(|node| node.cells.iter().any(|cell| cell.shards == 0)) {
        bail!(
            "{} makes {jobs} shards: each node image needs one at least, and GitHub takes {MOST_JOBS} jobs in a matrix at most",
            file.display()
        );
    }
    Ok(Night { nodes, cluster: night.kubernetes })
}

/// As far as it must be, to stand in YAML as it is.
fn is_reference(image: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
    image.starts_with(|c: char| c.is_ascii_alphanumeric()) && !image.ends_with(':') && image.chars().all(is_plain)
}

fn node(definition: &Definition, name: String, wanted: Wanted) -> Node {
    let kernels = definition.kernels.iter().enumerate().map(|(index, package)| Some((index + 1, package.clone())));
    let kernels: Vec<_> = if definition.kernels.is_empty() { vec![None] } else { kernels.collect() };
    let cells = kernels.into_iter().map(|kernel| Cell { kernel, shards: wanted.shards }).collect();
    Node { name, arguments: wanted.arguments, engine: wanted.engine, cells }
}

fn yaml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_yaml::from_str(&text).with_context(|| format!("{} is not as it should be", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(matrix: &str) -> Result<Vec<Node>, String> {
        night(&format!("{matrix}\nkubernetes: {{image: example.com/harness:1}}")).map(|night| night.nodes)
    }

    fn night(matrix: &str) -> Result<Night, String> {
        let root = tempfile::tempdir().expect("temporary directory");
        for (path, text) in [
            ("ci/matrix.yaml", matrix),
            ("vm-images/one.yaml", "kind: debian\nsuite: trixie\nkernels: [linux-image-amd64, linux-image-rt-amd64]\n"),
            ("vm-images/two.yaml", "kind: coreos-stream\nstream: https://example.com/stable.json\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        }
        read(root.path()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_cell_is_a_node_image_with_one_kernel() {
        let nodes = nodes("nodes: {one: {shards: 3}, two: {shards: 2, engine: true}}").expect("a matrix");
        let cells: Vec<String> = nodes.iter().flat_map(|node| node.cells.iter().map(|cell| node.plan(cell))).collect();
        assert_eq!(cells, ["one-kernel-1", "one-kernel-2", "two"]);
        assert_eq!(nodes[0].cells[1].kernel, Some((2, "linux-image-rt-amd64".to_owned())));
        assert_eq!((&nodes[1].cells[0].kernel, nodes[1].engine), (&None, true));
    }

    #[test]
    fn no_node_image_is_forgotten_and_none_invented() {
        for (matrix, told) in [
            ("nodes: {one: {shards: 1}}", "says nothing of two"),
            ("nodes: {one: {shards: 1}, three: {shards: 1}}\nleft-out: {two: why}", "names three"),
            ("nodes: {one: {shards: 1}, two: {shards: 1}}\nleft-out: {two: why}", "both"),
            ("nodes: {one: {shards: 0}}\nleft-out: {two: why}", "one at least"),
            ("nodes: {one: {shards: 200}}\nleft-out: {two: why}", "makes 400 shards"),
            ("nodes: {one: {shard: 1}}\nleft-out: {two: why}", "unknown field `shard`"),
        ] {
            let error = nodes(matrix).expect_err(told);
            assert!(error.contains(told), "{told}: {error}");
        }
        assert_eq!(nodes("nodes: {one: {shards: 1}}\nleft-out: {two: why}").expect("a matrix").len(), 1);
    }

    #[test]
    fn the_cluster_s_image_is_named() {
        let of = |cluster: &str| night(&format!("nodes: {{one: {{shards: 1}}, two: {{shards: 1}}}}\n{cluster}"));
        let cluster =
            of("kubernetes: {image: 'registry.example:5000/a/harness:1', kvm-groups: [36]}").expect("a matrix").cluster;
        assert_eq!((cluster.image.as_str(), cluster.kvm_groups), ("registry.example:5000/a/harness:1", vec![36]));
        for (cluster, told) in [
            ("", "missing field `kubernetes`"),
            ("kubernetes: {image: ''}", "names the image \"\""),
            ("kubernetes: {image: 'a: b'}", "registry.example/harness:tag is one"),
            ("kubernetes: {image: a, kvm-group: [36]}", "unknown field `kvm-group`"),
        ] {
            let error = of(cluster).expect_err(told);
            assert!(error.contains(told), "{told}: {error}");
        }
    }
}
