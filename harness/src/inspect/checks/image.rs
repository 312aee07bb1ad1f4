//! The image as such: can it be pulled, is it for these nodes, and has it modules where they belong.

use day1_generator::Tag;

use super::super::driver::{Driver, MODULES};
use super::super::image::Fault;
use super::super::text::bytes_text;
use super::super::{Finding, Source};
use super::{Context, Subject};
use crate::text::number;

/// Worth a word: at 100 Mbit/s its pull takes a fifth of the ten minutes that a pull unit has.
const LARGE: u64 = 3 << 29;

/// An image that can't be read to its end.
pub(in crate::inspect) fn fault(fault: &Fault) -> Finding {
    let (check, why, advice, source) = match fault {
        Fault::Platform { .. } => (
            "image.platform",
            "podman pulls nothing: the pull unit fails, and the in-tree driver stays",
            "build the image for that platform too, and push both under one tag (podman manifest)",
            "image-spec/image-index.md",
        ),
        Fault::Hostile { .. } => (
            "image.hostile",
            "the image's storage may fill the node's disk, or the pull fails",
            "build the image FROM scratch with nothing in it but /opt/lib/modules and the firmware",
            "the limits in docs/inspect.md",
        ),
        Fault::Layer { .. } => (
            "image.layers",
            "podman can't unpack it: the pull unit fails, and the in-tree driver stays",
            "build and push the image anew",
            "image-spec/layer.md",
        ),
        Fault::Blob { .. } | Fault::Manifest { .. } => (
            "image.blobs",
            "podman refuses what has another digest: the pull unit fails, and the in-tree driver stays",
            "push or save the image anew",
            "image-spec/descriptor.md",
        ),
    };
    Finding::error(check, fault.to_string()).why(why).advise(advice).source(source)
}

/// The config's platform. A manifest of another one was told as a fault.
pub(super) fn platform(context: &Context<'_>) -> Finding {
    let (own, wanted) = (&context.image.platform, context.architecture);
    if own.runs_on(wanted) {
        return Finding::ok("image.platform", format!("its config says {own}, as the nodes are"));
    }
    Finding::error("image.platform", format!("its config says {own}, and the nodes are linux/{wanted}"))
        .why("podman refuses or warns, and a module for another machine does not load: the in-tree driver stays")
        .advise(format!("build it with --platform linux/{wanted}, or name the nodes' machine with --arch"))
        .source("image-spec/config.md: architecture, os")
}

pub(super) fn size(context: &Context<'_>) -> Finding {
    let (pulled, bytes) = (context.image.size, context.content.bytes);
    let told = format!("{} to pull, {} on the node", bytes_text(pulled), bytes_text(bytes));
    if pulled < LARGE {
        return Finding::ok("image.size", told);
    }
    Finding::warning("image.size", told)
        .why(format!(
            "at 100 Mbit/s the pull takes {} s of the 600 s that the pull unit has by default",
            pulled / 12_500_000
        ))
        .advise("copy only /opt/lib/modules and the firmware into an image FROM scratch, or raise the pull timeout")
}

/// The tag by which nodes with the kernel ask for the image.
pub(super) fn tag(context: &Context<'_>, subject: &Subject<'_>) -> Finding {
    const CHECK: &str = "image.tag";
    let expected = Tag::for_kernel(subject.release);
    let source = &context.request.image;
    let tag = match source {
        Source::Registry { tag: None, digest: None, .. } => Some(expected.as_str()),
        Source::Registry { tag: None, .. } => {
            let told = format!(
                "the image was named by its digest; nodes with kernel {} ask for the tag {expected}",
                subject.release
            );
            return Finding::not_checked(CHECK, told).advise("pin the digest for this kernel: day1 generate --digest");
        }
        _ => source.tag().or(context.image.tag.as_deref()),
    };
    match tag {
        Some(tag) if tag == expected.as_str() || tag.ends_with(&format!(":{expected}")) => {
            Finding::ok(CHECK, format!("{expected} is what nodes with kernel {} pull", subject.release))
        }
        Some(tag) => Finding::warning(
            CHECK,
            format!("its tag is {tag}, and nodes with kernel {} pull {expected}", subject.release),
        )
        .why("unless the MachineConfig pins a tag for this kernel, the pull unit finds no image or another one")
        .advise(format!("push it as :{expected}, or pin it: day1 generate --tag {}={tag}", subject.release)),
        None => Finding::not_checked(CHECK, format!("the image has no tag here; push it as :{expected}")),
    }
}

/// `/opt/lib/modules/<release>`.
pub(in crate::inspect) fn layout(release: &str, releases: &[String], driver: Option<&Driver<'_>>) -> Vec<Finding> {
    const CHECK: &str = "image.layout";
    let Some(driver) = driver else {
        let wanted = if release.is_empty() { "a directory for a kernel in it" } else { release };
        let missing = format!("it has no /{MODULES}/{wanted}");
        let mut finding = Finding::error(CHECK, missing)
            .why("the load unit finds no modules for its kernel: it fails, and the in-tree driver stays")
            .source("kmod_image.md of Kernel Module Management: /opt/lib/modules/${KERNEL_FULL_VERSION}");
        finding = match releases {
            [] => finding.seen([format!("it has nothing below /{MODULES}")]),
            releases => finding.seen([format!("it has modules for {}", releases.join(", "))]),
        };
        let release = if release.is_empty() { "RELEASE" } else { release };
        return vec![finding.advise(format!(
            "copy the modules to /{MODULES}/{release}/updates/, RELEASE being what uname -r prints on the node, and run depmod -b /opt {release}"
        ))];
    };
    let mut findings = vec![Finding::ok(CHECK, format!("{} has {}", driver.dir, number(driver.files.len(), "module")))];
    let others: Vec<String> = releases.iter().filter(|other| *other != release).cloned().collect();
    if others.len() > 1 {
        findings.push(
            Finding::warning(CHECK, format!("it has modules for {}", number(others.len(), "further kernel")))
                .seen([others.join(", ")])
                .why("each node pulls and keeps all of them, and loads those of its own kernel only")
                .advise("build one image for each kernel, and tag it with the kernel's release"),
        );
    }
    findings
}

/// Links that lead elsewhere on a node than in a container.
pub(super) fn links(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: &str = "image.links";
    let driver = subject.driver;
    let mut findings = Vec::new();
    if !driver.leaves.is_empty() {
        findings.push(
            Finding::error(CHECK, "links in it leave the image where a node mounts it")
                .seen(driver.leaves.iter().map(|(link, target)| format!("/{link} -> {target}")))
                .why("the image is mounted and not run: the link leads to the node's own file system, where the module is not")
                .advise("make the links relative, and let them stay below the image's root")
                .source("path_resolution(7): an absolute link starts at the process's root"),
        );
    }
    for (link, target) in &driver.node_links {
        let own = format!("lib/modules/{}", subject.release);
        let below = target.strip_prefix("usr/").unwrap_or(target).strip_prefix(&own);
        if !below.is_some_and(|below| below.is_empty() || below.starts_with('/')) {
            findings.push(
                Finding::error(CHECK, format!("{} leads to /{target}, and not into /{own}", driver.path(link)))
                    .why("modprobe finds no module of the node's own there: what depends on one does not load")
                    .advise(format!("link it with: ln -s /{own} {}", driver.path("host")))
                    .source("kmod_image.md of Kernel Module Management: depending on in-tree modules"),
            );
        }
    }
    if driver.truncated {
        let told = "what further links to directories lead to, because there is too much of it";
        findings.push(Finding::not_checked(CHECK, told));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no link leads out of the image, but to the node's own modules"));
    }
    findings
}
