//! The checks, by their ids.

use std::fmt::Write as _;

/// A check of an image.
#[derive(Debug, PartialEq, Eq)]
pub struct Check {
    /// Its id, which stays.
    pub id: &'static str,
    /// What it finds: an error unless it says otherwise.
    pub finds: &'static str,
}

/// Every check, in the order in which they are made.
pub static CHECKS: [Check; 32] = [
    Check {
        id: "image.blobs",
        finds: "a blob that is missing, or has another size or digest; a manifest that can't be understood",
    },
    Check {
        id: "image.layers",
        finds: "a layer that can't be unpacked, or decompresses to something else than the config says",
    },
    Check {
        id: "image.hostile",
        finds: "an image beyond the limits that docs/inspect.md has, or with a path that leads out of it",
    },
    Check { id: "image.platform", finds: "no image for the nodes' machine; those that there are" },
    Check { id: "image.size", finds: "more than 1.5 GiB to pull (warning)" },
    Check { id: "image.tag", finds: "another tag than nodes with the kernel pull (warning)" },
    Check { id: "image.layout", finds: "no `/opt/lib/modules/RELEASE`; modules for several further kernels (warning)" },
    Check {
        id: "image.links",
        finds: "links that lead out of the image where a node mounts it; a link to another kernel's modules",
    },
    Check { id: "image.module", finds: "no file of the module" },
    Check {
        id: "module",
        finds: "nothing: it stands in the place of the checks of the module where an error kept them from being made",
    },
    Check { id: "index.present", finds: "no `modules.dep`, or no `modules.dep.bin`; others missing (warning)" },
    Check {
        id: "index.fresh",
        finds: "indexes that are not of these files, whose text and binary forms differ, by which a module is loaded without or before one of the image's whose symbols it uses, or which have the node's module, behind a link, in the place of the image's of the same name; older ones (warning)",
    },
    Check {
        id: "module.format",
        finds: "files that are no modules, lost their symbol table, are named otherwise, or are for another machine",
    },
    Check {
        id: "module.intree",
        finds: "modules that say they are the kernel's own (`intree=`): the kernel does not mark them as out-of-tree, which the load unit waits for; such a one that is only needed (warning)",
    },
    Check {
        id: "module.vermagic",
        finds: "another vermagic than the kernel's, compared as the kernel does: without the release where the module has CRCs",
    },
    Check {
        id: "module.symbols",
        finds: "symbols of another version, symbols that nobody exports, no versions where the kernel compares them; exported symbols that the kernel or another of the image's modules exports, or an in-tree module that stays (warning)",
    },
    Check {
        id: "module.licence",
        finds: "symbols for GPL-compatible modules in one that is not, or that uses one of the image's that is not, if by way of others: the kernel takes it for the same",
    },
    Check { id: "module.namespaces", finds: "symbols of a namespace that is not imported, or is for other modules" },
    Check {
        id: "module.dependencies",
        finds: "needed modules that are neither in the image nor reached by a link to the node's own, or are to be removed; modules of the image that need each other; those that only the in-tree driver brings (warning)",
    },
    Check {
        id: "module.softdeps",
        finds: "softdeps that are not found, neither as modules nor as other names of modules (warning)",
    },
    Check {
        id: "module.signature",
        finds: "no signature (an error where a key is given or the kernel enforces signatures), one by another key, one over other bytes, one of a form that every kernel refuses",
    },
    Check {
        id: "module.compression",
        finds: "a name that lies about it; xz with a checksum that the kernel's own decompressor does not know; zstd without the size of what comes out, which kmod since 34 does not read; a compression that none of the kernel's modules has (warnings)",
    },
    Check { id: "module.parameters", finds: "nothing: it lists the parameters that the module takes" },
    Check {
        id: "module.firmware",
        finds: "an empty or missing firmware directory, or one behind a link that leaves the image; none of the named files; some of them missing, links that lead out of the directory (warnings)",
    },
    Check {
        id: "in-tree.removal",
        finds: "built-in modules in the list, holders behind what they use; names that no module has, holders that are not listed (warnings)",
    },
    Check {
        id: "in-tree.names",
        finds: "an in-tree module with the name of one of the image's that is not in the list (a warning if it claims no device, and no listed module needs it)",
    },
    Check {
        id: "in-tree.aliases",
        finds: "in-tree drivers, also built-in ones, that claim the same devices and stay (a warning for devices that a removed driver claims as well)",
    },
    Check {
        id: "upstream.programs",
        finds: "no `sh`, `mkdir` and `cp`, which MachineConfigs of Kernel Module Management run in the image and those of `day1 generate` don't (warning)",
    },
    Check {
        id: "upstream.user",
        finds: "a `USER` other than root, as whom MachineConfigs of Kernel Module Management run what they run in the image (warning)",
    },
    Check {
        id: "upstream.tmp",
        finds: "much in `/tmp`, all of which MachineConfigs of Kernel Module Management copy at each boot (warning)",
    },
    Check {
        id: "upstream.tag",
        finds: "a release that is no tag as it is, which MachineConfigs of Kernel Module Management take for one (warning)",
    },
    Check {
        id: "upstream.removal",
        finds: "a listed in-tree module whose file has another name, so that MachineConfigs of Kernel Module Management don't find it (warning)",
    },
];

/// The checks as a table in Markdown, as docs/inspect.md has it.
pub fn table() -> String {
    let mut table = "| id | finds |\n|---|---|\n".to_owned();
    for check in &CHECKS {
        // Writing to a string can't fail.
        let _ = writeln!(table, "| `{}` | {} |", check.id, check.finds);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/inspect.md");
        let page = std::fs::read_to_string(path).expect("docs/inspect.md");
        assert!(page.contains(&table()), "the table of docs/inspect.md is:\n{}", table());
    }

    #[test]
    fn each_id_stands_once() {
        let ids: std::collections::BTreeSet<&str> = CHECKS.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), CHECKS.len());
    }
}
