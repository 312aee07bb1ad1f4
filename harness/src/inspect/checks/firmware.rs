//! The firmware that the modules may ask for.

use std::collections::BTreeSet;

use super::super::Finding;
use super::super::image::tree::{End, Node};
use super::super::pattern::matches;
use super::{Context, Known, Subject};

const CHECK: &str = "module.firmware";

/// What the kernel appends to a name where it finds no file of that name (`CONFIG_FW_LOADER_COMPRESS`).
const SUFFIXES: [&str; 3] = ["", ".xz", ".zst"];

/// The files below the firmware directory of the image, and what is wrong with it.
struct Directory {
    files: Vec<String>,
    problems: Vec<String>,
}

pub(super) fn check(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    let mut wanted: Vec<String> = Vec::new();
    for name in subject.load {
        wanted.extend(subject.driver.info(name).iter().flat_map(|info| info.firmware.iter().cloned()));
    }
    wanted.sort_unstable();
    wanted.dedup();
    let directory = match context.request.firmware.as_deref().map(|path| (path, list(context, path))) {
        None => None,
        Some((path, Some(found))) if !found.files.is_empty() => Some((path, found)),
        Some((path, found)) => {
            let told = if found.is_some() { "has no file" } else { "is not in the image" };
            let finding = Finding::error(CHECK, format!("the firmware directory {path} {told}"))
                .seen(found.map(|found| found.problems).unwrap_or_default())
                .why("the load unit fails before it changes anything, and the in-tree driver stays")
                .advise("copy the firmware there, or leave --firmware-files-path away if there is none")
                .source("the generated load script: check_image");
            return vec![finding];
        }
    };
    let mut findings = Vec::new();
    if let Some((_, found)) = &directory
        && !found.problems.is_empty()
    {
        findings.push(
            Finding::warning(CHECK, "links in the firmware directory leave the image, or lead nowhere")
                .seen(&found.problems)
                .why("they are copied as links, and lead to the node's own file system")
                .advise("make them relative, and let them stay in the directory"),
        );
    }
    if wanted.is_empty() {
        findings.push(Finding::ok(CHECK, "the module names no firmware"));
        return findings;
    }
    let of_image: BTreeSet<String> = directory.iter().flat_map(|(_, found)| found.files.iter().cloned()).collect();
    let of_node = kernel.ok().and_then(|kernel| kernel.firmware.as_ref());
    let missing: Vec<&String> =
        wanted.iter().filter(|name| !has(&of_image, name) && !of_node.is_some_and(|list| has(list, name))).collect();
    let places = match (&directory, of_node) {
        (Some((path, _)), Some(_)) => format!("{path} of the image and the node's own firmware"),
        (Some((path, _)), None) => format!("{path} of the image"),
        (None, Some(_)) => "the node's own firmware".to_owned(),
        (None, None) => "nowhere".to_owned(),
    };
    let why = "the kernel answers `Direct firmware load … failed with error -2`: the module loads, and its device may not work";
    if missing.is_empty() {
        findings.push(Finding::ok(CHECK, format!("all {} files that it names are in {places}", wanted.len())));
    } else if of_node.is_none() && missing.len() < wanted.len() || of_node.is_none() && directory.is_none() {
        let reason =
            kernel.err().map_or_else(|| "the kernel's directory has no firmware.list".to_owned(), str::to_owned);
        findings.push(
            Finding::not_checked(
                CHECK,
                format!("whether the node has the firmware that the image lacks, because {reason}"),
            )
            .seen(missing)
            .why(why),
        );
    } else if missing.len() == wanted.len() && directory.is_some() {
        findings.push(
            Finding::error(CHECK, format!("none of the {} files that it names is in {places}", wanted.len()))
                .seen(missing)
                .why(why)
                .advise("the directory has the names' first parts in it: for vendor/fw.bin, DIR/vendor/fw.bin")
                .source("drivers/base/firmware_loader/main.c: fw_get_filesystem_firmware"),
        );
    } else {
        findings.push(
            Finding::warning(
                CHECK,
                format!("{} of the {} files that it names are not in {places}", missing.len(), wanted.len()),
            )
            .seen(missing)
            .why(format!("{why}, if it is one that needs them"))
            .advise("copy them into the image's firmware directory, and name that with --firmware"),
        );
    }
    findings
}

/// Whether a name, which may be a pattern, is among some files.
fn has(files: &BTreeSet<String>, name: &str) -> bool {
    if name.contains(['*', '?', '[']) {
        return files.iter().any(|file| matches(name, file));
    }
    SUFFIXES.iter().any(|end| files.contains(&format!("{name}{end}")))
}

/// What is below a directory of the image; none where it is no directory.
fn list(context: &Context<'_>, path: &str) -> Option<Directory> {
    let tree = &context.content.tree;
    let way = tree.follow(path);
    let End::Found { node: Node::Directory(_), path: real } = way.end else { return None };
    let mut found = Directory { files: Vec::new(), problems: Vec::new() };
    found.problems.extend(way.leaves.iter().map(|(link, target)| format!("/{link} -> {target}")));
    for (below, node) in tree.below(&real) {
        match node {
            Node::File(_) => found.files.push(below),
            Node::Symlink(target) => {
                let way = tree.follow(&format!("{real}/{below}"));
                let problem = !way.leaves.is_empty() || !matches!(way.end, End::Found { .. });
                if problem {
                    found.problems.push(format!("{path}/{below} -> {target}"));
                } else {
                    found.files.push(below);
                }
            }
            _ => {}
        }
    }
    Some(found)
}
