//! The files of an image as a container would see them, without any of them on a disk.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::inspect::module_file::ModuleFile;

/// As many links as Linux follows on the way to one file.
const LINKS: usize = 40;
/// As many names as two of Linux's longest paths have; only links that are made for it lead through more.
const STEPS: usize = 4096;

/// A file, directory or link of an image.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    Directory(Directory),
    File(Arc<File>),
    Symlink(String),
    /// A device, a pipe, a socket.
    Other,
    /// Nothing: what a lower layer has here is gone.
    Whiteout,
}

/// A directory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    pub(crate) children: BTreeMap<String, Node>,
    /// What a lower layer has in it is gone.
    opaque: bool,
}

/// A regular file.
#[derive(Debug)]
pub(crate) struct File {
    /// In bytes.
    pub(crate) size: u64,
    /// Somebody may execute it.
    pub(crate) executable: bool,
    pub(crate) contents: Contents,
}

/// What is known of a file beside its size.
#[derive(Debug)]
pub(crate) enum Contents {
    /// No more.
    Unread,
    /// An index of `depmod`.
    Index(Vec<u8>),
    /// A module file.
    Module(Box<ModuleFile>),
    /// What starts an executable file: an ELF file's loader, a script's interpreter.
    Program { interpreter: String },
}

/// The files of an image, or of one layer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    root: Directory,
}

/// Where a path leads.
#[derive(Debug)]
pub(crate) struct Way<'t> {
    pub(crate) end: End<'t>,
    /// The links on the way that lead out of the image where it is mounted, with their targets: a container starts
    /// from the image's root there, and a node from its own.
    pub(crate) leaves: Vec<(String, String)>,
}

/// What is at the end of a path.
#[derive(Debug)]
pub(crate) enum End<'t> {
    /// A file or directory, with its own path, without a leading slash.
    Found { node: &'t Node, path: String },
    /// Nothing; the first path that is not there.
    Missing(String),
    /// The node's own modules, `/lib/modules/…`: upstream mounts them there, and a link on a node finds them.
    Host(String),
    /// More links than Linux follows.
    Loop,
}

impl Directory {
    /// Puts an upper layer's directory over this one.
    fn cover(&mut self, upper: Self) {
        if upper.opaque {
            self.children.clear();
        }
        for (name, node) in upper.children {
            match (self.children.get_mut(&name), node) {
                (_, Node::Whiteout) => {
                    self.children.remove(&name);
                }
                (Some(Node::Directory(lower)), Node::Directory(upper)) => lower.cover(upper),
                (_, node) => {
                    self.children.insert(name, node.without_whiteouts());
                }
            }
        }
    }
}

impl Node {
    /// A layer's whiteouts below a directory that no lower layer has hide nothing.
    fn without_whiteouts(self) -> Self {
        match self {
            Self::Directory(upper) => {
                let mut directory = Directory::default();
                directory.cover(upper);
                Self::Directory(directory)
            }
            other => other,
        }
    }
}

impl Tree {
    /// Puts an upper layer over this tree.
    pub(crate) fn cover(&mut self, upper: Self) {
        self.root.cover(upper.root);
    }

    /// Puts a node at a path of a layer: its directories are made, and links to directories are followed, as when the
    /// layer is unpacked into an empty directory. Says whether that worked.
    pub(crate) fn put(&mut self, path: &[String], node: Node) -> bool {
        let Some((name, above)) = path.split_last() else { return matches!(node, Node::Directory(_)) };
        let Some(directory) = self.directory(above) else { return false };
        match (directory.children.get_mut(name), node) {
            // A directory that stands twice keeps what is in it.
            (Some(Node::Directory(known)), Node::Directory(again)) => known.opaque |= again.opaque,
            // A whiteout is about lower layers, wherever it stands in its own.
            (Some(Node::Directory(known)), Node::Whiteout) => known.opaque = true,
            (Some(_), Node::Whiteout) => {}
            (Some(known @ Node::Whiteout), Node::Directory(anew)) => {
                *known = Node::Directory(Directory { opaque: true, ..anew });
            }
            (_, node) => {
                directory.children.insert(name.clone(), node);
            }
        }
        true
    }

    /// Hides what lower layers have in a directory.
    pub(crate) fn make_opaque(&mut self, path: &[String]) -> bool {
        let Some(directory) = self.directory(path) else { return false };
        directory.opaque = true;
        true
    }

    /// The directory at a path; made where nothing is.
    fn directory(&mut self, path: &[String]) -> Option<&mut Directory> {
        let way = self.walk(&path.join("/"), true);
        let real = match way.end {
            End::Found { node: Node::Directory(_) | Node::Whiteout, path } => path,
            End::Missing(_) => self.reach(path)?,
            // In an unpacked layer, the node's modules are a directory like any other.
            End::Host(path) => path,
            End::Found { .. } | End::Loop => return None,
        };
        let mut directory = &mut self.root;
        for part in parts(&real) {
            let child =
                directory.children.entry(part.to_owned()).or_insert_with(|| Node::Directory(Directory::default()));
            if matches!(child, Node::Whiteout) {
                *child = Node::Directory(Directory { opaque: true, ..Directory::default() });
            }
            let Node::Directory(next) = child else { return None };
            directory = next;
        }
        Some(directory)
    }

    /// Where a path whose last parts are missing would be: the way of its first parts, and the rest.
    fn reach(&self, path: &[String]) -> Option<String> {
        for there in (0..path.len()).rev() {
            match self.walk(&path[..there].join("/"), true).end {
                End::Found { node: Node::Directory(_) | Node::Whiteout, path: real } | End::Host(real) => {
                    let rest = path[there..].join("/");
                    return Some(if real.is_empty() { rest } else { format!("{real}/{rest}") });
                }
                End::Missing(_) => {}
                End::Found { .. } | End::Loop => return None,
            }
        }
        None
    }

    /// The node that an earlier entry of the same layer put at a path; the last link is not followed.
    pub(crate) fn own(&self, path: &[String]) -> Option<&Node> {
        match self.walk(&path.join("/"), false).end {
            End::Found { node, .. } => Some(node),
            _ => None,
        }
    }

    /// Follows a path, and the link that it ends at.
    pub(crate) fn follow(&self, path: &str) -> Way<'_> {
        self.walk(path, true)
    }

    fn walk(&self, path: &str, last: bool) -> Way<'_> {
        let mut leaves = Vec::new();
        let mut todo: VecDeque<String> = parts(path).map(str::to_owned).collect();
        let mut trail: Vec<String> = Vec::new();
        // What each name of the trail is, if it is a directory.
        let mut directories: Vec<Option<&Directory>> = Vec::new();
        let (mut links, mut steps) = (0, 0);
        while let Some(part) = todo.pop_front() {
            steps += 1;
            if steps > STEPS {
                return Way { end: End::Loop, leaves };
            }
            if part == ".." {
                trail.pop();
                directories.pop();
                continue;
            }
            let directory = directories.last().copied().unwrap_or(Some(&self.root));
            let Some(node) = directory.and_then(|directory| directory.children.get(&part)) else {
                trail.push(part);
                return Way { end: End::Missing(trail.join("/")), leaves };
            };
            trail.push(part);
            directories.push(if let Node::Directory(directory) = node { Some(directory) } else { None });
            let Node::Symlink(target) = node else { continue };
            if todo.is_empty() && !last {
                continue;
            }
            links += 1;
            if links > LINKS {
                return Way { end: End::Loop, leaves };
            }
            if let Some(own) = node_modules(target) {
                let rest: Vec<&str> = std::iter::once(own).chain(todo.iter().map(String::as_str)).collect();
                return Way { end: End::Host(rest.join("/")), leaves };
            }
            if leaves_root(&trail, target) {
                leaves.push((trail.join("/"), target.clone()));
            }
            trail.pop();
            directories.pop();
            if target.starts_with('/') {
                trail.clear();
                directories.clear();
            }
            for part in parts(target).collect::<Vec<_>>().into_iter().rev() {
                todo.push_front(part.to_owned());
            }
        }
        match self.node(&trail) {
            Some(node) => Way { end: End::Found { node, path: trail.join("/") }, leaves },
            None => Way { end: End::Missing(trail.join("/")), leaves },
        }
    }

    fn at(&self, path: &[String]) -> Option<&Directory> {
        let mut directory = &self.root;
        for part in path {
            let Some(Node::Directory(next)) = directory.children.get(part) else { return None };
            directory = next;
        }
        Some(directory)
    }

    fn node(&self, path: &[String]) -> Option<&Node> {
        static ROOT: Node = Node::Directory(Directory { children: BTreeMap::new(), opaque: false });
        let Some((name, above)) = path.split_last() else { return Some(&ROOT) };
        self.at(above)?.children.get(name)
    }

    /// What is in the directory at a real path, as a tree of its own: what leads out of the directory leaves that.
    pub(crate) fn part(&self, path: &str) -> Option<Self> {
        let path: Vec<String> = parts(path).map(str::to_owned).collect();
        Some(Self { root: self.at(&path)?.clone() })
    }

    /// The names in the directory at a path, which is followed; none where there is none.
    pub(crate) fn names(&self, path: &str) -> Vec<&str> {
        let End::Found { path, .. } = self.follow(path).end else { return Vec::new() };
        let path: Vec<String> = parts(&path).map(str::to_owned).collect();
        self.at(&path).map(|directory| directory.children.keys().map(String::as_str).collect()).unwrap_or_default()
    }

    /// All files and links below a directory's own path, by their path below it.
    pub(crate) fn below(&self, path: &str) -> Vec<(String, &Node)> {
        fn collect<'t>(directory: &'t Directory, prefix: &str, found: &mut Vec<(String, &'t Node)>) {
            for (name, node) in &directory.children {
                let path = format!("{prefix}{name}");
                match node {
                    Node::Directory(directory) => collect(directory, &format!("{path}/"), found),
                    node => found.push((path, node)),
                }
            }
        }
        let mut found = Vec::new();
        let path: Vec<String> = parts(path).map(str::to_owned).collect();
        if let Some(directory) = self.at(&path) {
            collect(directory, "", &mut found);
        }
        found
    }
}

/// The parts of a path that lead on.
fn parts(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".")
}

/// The path without its leading slash, if it is one of the node's own modules or their directory.
fn node_modules(target: &str) -> Option<&str> {
    let path = target.strip_prefix('/')?;
    let below = path.strip_prefix("usr/").unwrap_or(path);
    below.starts_with("lib/modules/").then_some(path)
}

/// Whether a link's target, seen from its place, is outside the image where that is mounted.
fn leaves_root(link: &[String], target: &str) -> bool {
    if target.starts_with('/') {
        return true;
    }
    let mut depth = link.len().saturating_sub(1);
    for part in parts(target) {
        match (part, depth) {
            ("..", 0) => return true,
            ("..", _) => depth -= 1,
            _ => depth += 1,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> Vec<String> {
        parts(text).map(str::to_owned).collect()
    }

    fn file(size: u64) -> Node {
        Node::File(Arc::new(File { size, executable: false, contents: Contents::Unread }))
    }

    fn link(target: &str) -> Node {
        Node::Symlink(target.to_owned())
    }

    fn layer(entries: &[(&str, Node)]) -> Tree {
        let mut tree = Tree::default();
        for (at, node) in entries {
            assert!(tree.put(&path(at), node.clone()), "{at}");
        }
        tree
    }

    fn size(tree: &Tree, at: &str) -> Option<u64> {
        match tree.follow(at).end {
            End::Found { node: Node::File(file), .. } => Some(file.size),
            _ => None,
        }
    }

    #[test]
    fn an_upper_layer_replaces_adds_and_removes() {
        let mut tree = layer(&[("a/x", file(1)), ("a/y", file(1)), ("b/z", file(1)), ("c", file(1)), ("d/e", file(1))]);
        let mut upper = layer(&[("a/x", file(2)), ("a/y", Node::Whiteout), ("b/new", file(2)), ("c/in", file(2))]);
        assert!(upper.make_opaque(&path("b")));
        upper.put(&path("d"), Node::Whiteout);
        tree.cover(upper);
        assert_eq!(size(&tree, "a/x"), Some(2));
        assert_eq!(size(&tree, "a/y"), None);
        assert_eq!(tree.names("b"), ["new"]);
        assert_eq!(size(&tree, "c/in"), Some(2));
        assert_eq!(tree.names("/"), ["a", "b", "c"]);
    }

    #[test]
    fn a_whiteout_is_about_lower_layers_only() {
        let lower = layer(&[("a/old", file(1)), ("b/old", file(1)), ("x", file(1))]);
        let upper = [("a/new", file(2)), ("b/new", file(2)), ("x", file(2))];
        let whiteouts = ["a", "b", "x"].map(|at| (at, Node::Whiteout));
        let anew = [("a", Node::Directory(Directory::default())), ("b", Node::Directory(Directory::default()))];
        for entries in [
            [&upper[..], &whiteouts[..]].concat(),
            [&whiteouts[..], &anew[..], &upper[..]].concat(),
            [&whiteouts[..], &upper[..]].concat(),
        ] {
            let mut tree = lower.clone();
            tree.cover(layer(&entries));
            assert_eq!((tree.names("a"), tree.names("b"), size(&tree, "x")), (vec!["new"], vec!["new"], Some(2)));
        }
    }

    #[test]
    fn a_directory_over_a_link_of_a_lower_layer_hides_it() {
        let mut tree = layer(&[("usr/lib/x", file(1)), ("lib", link("usr/lib"))]);
        tree.cover(layer(&[("lib/y", file(2))]));
        assert_eq!((size(&tree, "lib/y"), size(&tree, "lib/x")), (Some(2), None));
        // In one and the same layer, the link is followed.
        let same = layer(&[("usr/lib/x", file(1)), ("lib", link("usr/lib")), ("lib/deep/y", file(2))]);
        assert_eq!(size(&same, "usr/lib/deep/y"), Some(2));
    }

    #[test]
    fn links_are_followed_inside_the_image_only() {
        let tree = layer(&[
            ("etc/passwd", file(7)),
            ("a/absolute", link("/etc/passwd")),
            ("a/climbs", link("../../../etc/passwd")),
            ("a/inside", link("../etc/passwd")),
            ("a/loop", link("loop")),
            ("a/host", link("/lib/modules/6.1.0")),
            ("a/dangling", link("nowhere/x")),
        ]);
        for (at, leaves) in [("a/absolute", 1), ("a/climbs", 1), ("a/inside", 0)] {
            assert_eq!(size(&tree, at), Some(7), "{at}");
            assert_eq!(tree.follow(at).leaves.len(), leaves, "{at}");
        }
        assert!(matches!(tree.follow("a/loop").end, End::Loop));
        assert!(
            matches!(tree.follow("a/host/kernel/x.ko").end, End::Host(path) if path == "lib/modules/6.1.0/kernel/x.ko")
        );
        let long = layer(&[("a/long", link(&"../a/".repeat(STEPS))), ("a/x", file(7))]);
        assert!(matches!(long.follow("a/long/x").end, End::Loop));
        assert!(matches!(tree.follow("a/dangling").end, End::Missing(path) if path == "a/nowhere"));
        assert_eq!(tree.below("a").len(), 6);
    }

    #[test]
    fn what_is_below_a_file_has_no_place() {
        let mut tree = layer(&[("a", file(1)), ("l", link("l"))]);
        assert!(!tree.put(&path("a/b"), file(1)));
        assert!(!tree.put(&path("l/b"), file(1)));
        assert!(!tree.make_opaque(&path("a")));
    }

    proptest! {
        #[test]
        fn no_arrangement_of_links_hangs_or_panics(
            entries in proptest::collection::vec(("[ab.]{1,2}(/[ab.]{1,2}){0,3}", 0..3_u8, "/?[ab.]{1,2}(/[ab.]{1,2}){0,3}"), 0..20),
            asked in "[ab.]{1,2}(/[ab.]{1,2}){0,4}",
        ) {
            let mut tree = Tree::default();
            for (at, kind, target) in entries {
                let at: Vec<String> = path(&at).into_iter().filter(|part| part != "..").collect();
                let node = match kind {
                    0 => file(1),
                    1 => link(&target),
                    _ => Node::Directory(Directory::default()),
                };
                tree.put(&at, node);
                tree.make_opaque(&at);
            }
            let mut other = Tree::default();
            other.cover(tree.clone());
            let _ = other.follow(&asked);
        }
    }
}
