//! The modules of an image for one kernel, and what `modprobe` makes of them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::image::Limits;
use super::image::tree::{Contents, End, Node, Tree};
use super::index_file;
use super::kernel::{InTree, modules_dep, modules_softdep};
use super::module_file::{ModuleFile, module_name};
use crate::kmod::{Export, ModuleInfo, SoftDeps};

/// Where a driver image has its modules; a directory for each kernel release is below.
pub(super) const MODULES: &str = "opt/lib/modules";

/// Files and links below it that are looked at. Those of a distribution's kernel have a twentieth of it.
const NODES: usize = 200_000;
/// Modules that need each other in a row. A kernel's longest row has ten.
const ROW: usize = 100;

/// The directory of a kernel release in an image.
#[derive(Debug)]
pub(super) struct Driver<'t> {
    /// `/opt/lib/modules/RELEASE`
    pub(super) dir: String,
    /// Its module files, by their path below it.
    pub(super) files: BTreeMap<String, &'t ModuleFile>,
    /// What has the name of a module and is none that can be read, and why.
    pub(super) broken: Vec<(String, String)>,
    /// The links in it that lead out of the image where it is mounted, and their targets.
    pub(super) leaves: Vec<(String, String)>,
    /// More is in it, by way of links, than is looked at.
    pub(super) truncated: bool,
    /// The links to the node's own modules, upstream's is `host`: their paths below it, and where they lead.
    pub(super) node_links: BTreeMap<String, String>,
    /// Its `modules.*`, by name.
    pub(super) indexes: BTreeMap<String, &'t [u8]>,
    /// What `modules.dep` says, by module.
    pub(super) dep: Option<BTreeMap<String, InTree>>,
    /// What `modules.dep.bin` says, by module; an error says why it can't be read.
    pub(super) dep_bin: Option<Result<BTreeMap<String, String>, String>>,
}

impl<'t> Driver<'t> {
    /// The directory of a release; none where the image has none.
    /// At most `room` bytes of memory are taken for what the binary index becomes.
    pub(super) fn find(tree: &'t Tree, release: &str, room: usize) -> Option<Self> {
        let dir = format!("/{MODULES}/{release}");
        let way = tree.follow(&dir);
        let End::Found { node: Node::Directory(_), path } = way.end else { return None };
        let mut driver = Self {
            dir,
            files: BTreeMap::new(),
            broken: Vec::new(),
            leaves: way.leaves,
            truncated: false,
            node_links: BTreeMap::new(),
            indexes: BTreeMap::new(),
            dep: None,
            dep_bin: None,
        };
        driver.collect(tree, path);
        driver.dep = driver.text("modules.dep").map(|text| modules_dep(&text));
        driver.dep_bin = driver
            .indexes
            .get("modules.dep.bin")
            .map(|bytes| index_file::entries(bytes, room).map(|entries| entries.into_iter().collect()));
        Some(driver)
    }

    /// Takes what is in the directory at a real path, and then what its links to directories lead to. They may lead in
    /// circles, and to one directory on many ways.
    fn collect(&mut self, tree: &'t Tree, path: String) {
        let mut left = NODES;
        let mut todo = VecDeque::from([(path, String::new())]);
        while let Some((real, below)) = todo.pop_front() {
            for (path, node) in tree.below(&real) {
                if left == 0 {
                    self.truncated = true;
                    return;
                }
                left -= 1;
                let at = format!("{below}{path}");
                match node {
                    Node::Symlink(_) if at.len() < Limits::PATH => {
                        let link = format!("{real}/{path}");
                        if let Some(target) = self.follow(tree, &link, &at) {
                            // Into itself it leads to nothing new.
                            if !link.starts_with(&format!("{target}/")) {
                                todo.push_back((target, format!("{at}/")));
                            }
                        }
                    }
                    node => self.take(at, node),
                }
            }
        }
    }

    /// Takes what a link leads to; gives the real path of a directory.
    fn follow(&mut self, tree: &'t Tree, link: &str, at: &str) -> Option<String> {
        let way = tree.follow(link);
        self.leaves.extend(way.leaves);
        match way.end {
            // Made by a kernel's own installation, and of no use to modprobe.
            _ if matches!(at, "build" | "source") => {}
            End::Host(target) if module_name(at).is_some() => {
                self.broken_link(at, &format!("it leads to the node's own /{target}"));
            }
            End::Host(target) => drop(self.node_links.insert(at.to_owned(), target)),
            End::Found { node: Node::Directory(_), path } => return Some(path),
            End::Found { node, .. } => self.take(at.to_owned(), node),
            End::Missing(target) => self.broken_link(at, &format!("it leads to /{target}, which is not there")),
            End::Loop => self.broken_link(at, "it leads in a circle"),
        }
        None
    }

    fn broken_link(&mut self, path: &str, reason: &str) {
        if module_name(path).is_some() {
            self.broken.push((path.to_owned(), reason.to_owned()));
        }
    }

    fn take(&mut self, path: String, node: &'t Node) {
        let is_module = module_name(&path).is_some();
        match node {
            Node::File(file) => match &file.contents {
                Contents::Module(module) if is_module => {
                    self.files.insert(path, module);
                }
                Contents::Index(bytes) if !path.contains('/') => {
                    self.indexes.insert(path, bytes);
                }
                // A link with the name of a module to a file with another one.
                _ if is_module => self.broken.push((path, "its content has another name, and was not read".to_owned())),
                _ => {}
            },
            _ if is_module => self.broken.push((path, "it is no regular file".to_owned())),
            _ => {}
        }
    }

    /// An index as text.
    pub(super) fn text(&self, index: &str) -> Option<String> {
        self.indexes.get(index).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// The names of its modules.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.files.keys().filter_map(|path| module_name(path)).collect()
    }

    /// The file of a module: the one that `modules.dep` names, or else the first.
    pub(super) fn file(&self, name: &str) -> Option<(&str, &'t ModuleFile)> {
        let listed =
            self.dep.as_ref().and_then(|dep| dep.get(name)).and_then(|entry| self.files.get_key_value(&entry.path));
        let first = || self.files.iter().find(|(path, _)| module_name(path).as_deref() == Some(name));
        listed.or_else(first).map(|(path, file)| (path.as_str(), *file))
    }

    /// What a module says of itself, if its file can be read.
    pub(super) fn info(&self, name: &str) -> Option<&'t ModuleInfo> {
        self.file(name)?.1.info.as_ref().ok()
    }

    /// The modules that `modprobe` loads for one, of the image's, in their order.
    pub(super) fn load_order(&self, name: &str) -> Vec<String> {
        let mut order = Vec::new();
        self.visit(name, &mut order, &mut BTreeSet::new(), ROW);
        order
    }

    fn visit(&self, name: &str, order: &mut Vec<String>, seen: &mut BTreeSet<String>, row: usize) {
        if row == 0 || self.file(name).is_none() || !seen.insert(name.to_owned()) {
            return;
        }
        let info = self.info(name);
        let listed = self.dep.as_ref().and_then(|dep| dep.get(name)).map(|entry| &entry.needs);
        let depends = info.iter().flat_map(|info| info.depends.iter().map(|name| name.replace('-', "_")));
        let softdeps = info.map(|info| info.softdeps.clone()).unwrap_or_default();
        for needed in listed.into_iter().flat_map(BTreeMap::keys).cloned().chain(depends).chain(softdeps.pre) {
            self.visit(&needed, order, seen, row - 1);
        }
        order.push(name.to_owned());
        for after in softdeps.post {
            self.visit(&after, order, seen, row - 1);
        }
    }

    /// The modules that `modprobe` loads for one, in their order, by the indexes alone; none where they can't be read.
    pub(super) fn probe_order(&self, name: &str) -> Option<ProbeOrder> {
        let Some(Ok(dep)) = &self.dep_bin else { return None };
        let softdeps = self.text("modules.softdep").map(|text| modules_softdep(&text)).unwrap_or_default();
        let mut probe = Probe { dep, softdeps: &softdeps, seen: BTreeSet::new(), places: BTreeMap::new() };
        probe.visit(name, ROW);
        let places = probe.places;
        let required = listed(dep, name).into_iter().chain([name.to_owned()]).collect();
        Some(ProbeOrder { places, required })
    }

    /// Which of some modules of the image exports a symbol.
    pub(super) fn exporter<'n>(&self, symbol: &str, names: &'n [String]) -> Option<(&'n str, Export)> {
        names.iter().find_map(|name| Some((name.as_str(), *self.info(name)?.exports.get(symbol)?)))
    }

    /// What a path below its directory is below the node's `/lib/modules/RELEASE`, if a link leads there.
    pub(super) fn of_node(&self, path: &str) -> Option<String> {
        self.node_links.iter().find_map(|(link, target)| {
            let rest = path.strip_prefix(link.as_str())?.strip_prefix('/')?;
            let target = target.strip_prefix("usr/").unwrap_or(target).strip_prefix("lib/modules/")?;
            let below = target.trim_end_matches('/').split_once('/').map_or("", |(_, below)| below);
            Some(if below.is_empty() { rest.to_owned() } else { format!("{below}/{rest}") })
        })
    }

    /// The path in the image of something below its directory.
    pub(super) fn path(&self, below: &str) -> String {
        format!("{}/{below}", self.dir)
    }
}

/// What `modprobe` loads.
#[derive(Debug)]
pub(super) struct ProbeOrder {
    /// The place of each module in the row.
    pub(super) places: BTreeMap<String, usize>,
    /// The modules that must load; a failure of those that only softdeps name is passed over.
    pub(super) required: BTreeSet<String>,
}

/// As `__kmod_module_get_probe_list` of kmod goes: what is listed for a module, from the end of the list on, each with its
/// own softdeps, and then the module with its. What is listed for those is taken to be in the same list.
struct Probe<'d> {
    dep: &'d BTreeMap<String, String>,
    softdeps: &'d BTreeMap<String, SoftDeps>,
    seen: BTreeSet<String>,
    places: BTreeMap<String, usize>,
}

impl Probe<'_> {
    fn visit(&mut self, name: &str, row: usize) {
        if row == 0 || !self.dep.contains_key(name) || !self.seen.insert(name.to_owned()) {
            return;
        }
        for needed in listed(self.dep, name) {
            self.with_softdeps(&needed, row - 1);
        }
        self.with_softdeps(name, row - 1);
    }

    fn with_softdeps(&mut self, name: &str, row: usize) {
        let softdeps = self.softdeps;
        let own = softdeps.get(name);
        for before in own.iter().flat_map(|own| &own.pre) {
            self.visit(before, row);
        }
        let next = self.places.len();
        self.places.entry(name.to_owned()).or_insert(next);
        for after in own.iter().flat_map(|own| &own.post) {
            self.visit(after, row);
        }
    }
}

/// What the line of a module lists behind it, from the end.
fn listed(dep: &BTreeMap<String, String>, name: &str) -> Vec<String> {
    let needs = dep.get(name).and_then(|line| line.split_once(':')).map_or("", |(_, needs)| needs);
    needs.split_whitespace().rev().filter_map(module_name).collect()
}

/// The kernel releases that an image has modules for.
pub(super) fn releases(tree: &Tree) -> Vec<String> {
    let is_directory = |name: &&str| {
        let end = tree.follow(&format!("{MODULES}/{name}")).end;
        matches!(end, End::Found { node: Node::Directory(_), .. })
    };
    tree.names(MODULES).into_iter().filter(is_directory).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_to_the_node_s_own_modules_or_to_a_directory_of_them() {
        let of_node = |link: &str, target: &str, path: &str| {
            let mut driver = Driver {
                dir: String::new(),
                files: BTreeMap::new(),
                broken: Vec::new(),
                leaves: Vec::new(),
                truncated: false,
                node_links: BTreeMap::new(),
                indexes: BTreeMap::new(),
                dep: None,
                dep_bin: None,
            };
            driver.node_links.insert(link.to_owned(), target.to_owned());
            driver.of_node(path)
        };
        let udp = Some("kernel/net/ipv4/udp_tunnel.ko.xz".to_owned());
        assert_eq!(of_node("host", "lib/modules/6.1", "host/kernel/net/ipv4/udp_tunnel.ko.xz"), udp);
        assert_eq!(of_node("host", "usr/lib/modules/6.1/", "host/kernel/net/ipv4/udp_tunnel.ko.xz"), udp);
        assert_eq!(of_node("kernel", "lib/modules/6.1/kernel", "kernel/net/ipv4/udp_tunnel.ko.xz"), udp);
        assert_eq!(of_node("net", "lib/modules/6.1/kernel/net", "net/ipv4/udp_tunnel.ko.xz"), udp);
        assert_eq!(of_node("kernel", "lib/modules/6.1/kernel", "kernel-extra/udp_tunnel.ko.xz"), None);
    }
}
