//! The firmware that the modules may ask for.

use std::collections::BTreeSet;

use super::super::Finding;
use super::super::image::tree::{End, Node};
use super::super::pattern::{Effort, matches};
use super::{Context, Known, Subject};

const CHECK: &str = "module.firmware";

/// What the kernel appends to a name where it finds no file of that name (`CONFIG_FW_LOADER_COMPRESS`).
const SUFFIXES: [&str; 3] = ["", ".xz", ".zst"];

/// What is behind links to directories, as far as it is looked at.
const LINKED: usize = 100_000;

/// What the load script copies from the firmware directory.
struct Directory {
    /// The names by which the kernel finds a file then.
    files: Vec<String>,
    /// The links that lead nowhere then, or to something else.
    problems: Vec<String>,
    /// The script sees a file in the mounted image, if behind a link, and goes on.
    any: bool,
}

/// What is at the path of the firmware directory.
enum Listed {
    Missing,
    /// These links on the way lead out of the image where a node mounts it.
    Outside(Vec<String>),
    Found(Directory),
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
        Some((path, Listed::Found(found))) if found.any => Some((path, found)),
        Some((path, Listed::Outside(links))) => {
            let finding = Finding::error(CHECK, format!("the firmware directory {path} is behind a link that leaves the image"))
                .seen(links)
                .why("the image is mounted and not run: the link leads to the node's own file system, where the directory is not. The pull and the load unit fail, and the in-tree driver stays")
                .advise("make the link relative, or name the directory that it leads to with --firmware and --firmware-files-path")
                .source("the generated scripts: check_image; path_resolution(7): an absolute link starts at the process's root");
            return vec![finding];
        }
        Some((path, listed)) => {
            let (told, problems) = match listed {
                Listed::Found(found) => ("has no file", found.problems),
                _ => ("is not in the image", Vec::new()),
            };
            let finding = Finding::error(CHECK, format!("the firmware directory {path} {told}"))
                .seen(problems)
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
            Finding::warning(CHECK, "links in the firmware directory lead out of it, or nowhere")
                .seen(&found.problems)
                .why("the directory's files are copied to the node, links as links: the kernel finds nothing there, or a file of the node's own")
                .advise("copy the files themselves into the directory, or make links to them that are relative and stay in it"),
        );
    }
    if wanted.is_empty() {
        findings.push(Finding::ok(CHECK, "the module names no firmware"));
        return findings;
    }
    let of_image: BTreeSet<String> = directory.iter().flat_map(|(_, found)| found.files.iter().cloned()).collect();
    let of_node = kernel.ok().and_then(|kernel| kernel.firmware.as_ref());
    let mut effort = Effort::new(context.request.limits.steps);
    let mut missing: Vec<&String> = Vec::new();
    for name in &wanted {
        let found = has(&of_image, name, &mut effort).and_then(|here| match of_node {
            Some(list) if !here => has(list, name, &mut effort),
            _ => Some(here),
        });
        match found {
            Some(true) => {}
            Some(false) => missing.push(name),
            None => {
                let reason = format!("because the {} names that it gives take too long to compare", wanted.len());
                findings.push(Finding::not_checked(CHECK, format!("whether all firmware is there, {reason}")));
                return findings;
            }
        }
    }
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

/// Whether a name, which may be a pattern, is among some files; none where that takes too long.
fn has(files: &BTreeSet<String>, name: &str, effort: &mut Effort) -> Option<bool> {
    if name.contains(['*', '?', '[']) {
        let mut compared = files.iter().map(|file| matches(name, file, effort));
        return compared.find(|matches| *matches != Some(false)).unwrap_or(Some(false));
    }
    Some(SUFFIXES.iter().any(|end| files.contains(&format!("{name}{end}"))))
}

/// What is below a directory of the image. The script looks for files, also behind links, in the mounted image; then it
/// copies the directory with its links as they are.
fn list(context: &Context<'_>, path: &str) -> Listed {
    let tree = &context.content.tree;
    let way = tree.follow(path);
    if !way.leaves.is_empty() {
        return Listed::Outside(way.leaves.iter().map(|(link, target)| format!("/{link} -> {target}")).collect());
    }
    let End::Found { node: Node::Directory(_), path: real } = way.end else { return Listed::Missing };
    let Some(copied) = tree.part(&real) else { return Listed::Missing };
    let mut found = Directory { files: Vec::new(), problems: Vec::new(), any: false };
    let mut left = LINKED;
    for (below, node) in copied.below("") {
        match node {
            Node::File(_) => {
                found.files.push(below);
                found.any = true;
            }
            Node::Symlink(target) => {
                let mounted = tree.follow(&format!("{real}/{below}"));
                found.any |= mounted.leaves.is_empty() && matches!(mounted.end, End::Found { node: Node::File(_), .. });
                let way = copied.follow(&below);
                match way.end {
                    End::Found { node: Node::File(_), .. } if way.leaves.is_empty() => found.files.push(below),
                    End::Found { node: Node::Directory(_), path } if way.leaves.is_empty() => {
                        let inside = if left > 0 { copied.below(&path) } else { Vec::new() };
                        let files = inside.iter().take(left).filter(|(_, node)| matches!(node, Node::File(_)));
                        found.files.extend(files.map(|(name, _)| format!("{below}/{name}")));
                        left = left.saturating_sub(inside.len().max(1));
                    }
                    _ => found.problems.push(format!("{path}/{below} -> {target}")),
                }
            }
            _ => {}
        }
    }
    Listed::Found(found)
}
