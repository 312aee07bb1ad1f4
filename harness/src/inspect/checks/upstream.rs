//! What the MachineConfigs of Kernel Module Management need of an image, and those of this project don't: warnings.

use day1_generator::Tag;

use super::super::Finding;
use super::super::image::tree::{Contents, End, Node};
use super::super::text::bytes_text;
use super::{Context, Known, Subject};

/// Beyond it, copying /tmp into a volume is worth a word.
const TMP: u64 = 32 << 20;

pub(super) fn of_image(context: &Context<'_>) -> Vec<Finding> {
    vec![programs(context), user(context), tmp(context)]
}

pub(super) fn of_modules(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    vec![tag(subject), removal(context, subject, kernel)]
}

/// KMM's init container runs `sh -c 'mkdir …; cp …'` in the image.
fn programs(context: &Context<'_>) -> Finding {
    const CHECK: &str = "upstream.programs";
    let missing: Vec<String> =
        ["sh", "mkdir", "cp"].into_iter().filter_map(|name| missing(context, name).err()).collect();
    if missing.is_empty() {
        return Finding::ok(CHECK, "it has sh, mkdir and cp for upstream's init container");
    }
    Finding::warning(CHECK, "upstream's MachineConfigs can't use this image: they run sh, mkdir and cp in it")
        .seen(missing)
        .why("with a MachineConfig of Kernel Module Management, the init container fails and the in-tree driver stays; those of `day1 generate` run nothing in it")
        .advise("nothing, with `day1 generate`; else build it FROM ubi-minimal or another base with a shell")
}

/// An error says what is missing of a program.
fn missing(context: &Context<'_>, name: &str) -> Result<(), String> {
    let tree = &context.content.tree;
    for directory in ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"] {
        let End::Found { node: Node::File(file), path } = tree.follow(&format!("{directory}/{name}")).end else {
            continue;
        };
        if !file.executable {
            continue;
        }
        let Contents::Program { interpreter } = &file.contents else { return Ok(()) };
        return match tree.follow(interpreter).end {
            End::Found { node: Node::File(_), .. } => Ok(()),
            _ => Err(format!("/{path} needs {interpreter}, which is not there")),
        };
    }
    Err(format!("there is no {name}"))
}

fn user(context: &Context<'_>) -> Finding {
    const CHECK: &str = "upstream.user";
    match context.image.user.as_deref() {
        None | Some("root" | "0" | "0:0" | "root:root") => Finding::ok(CHECK, "it runs as root"),
        Some(user) => Finding::warning(CHECK, format!("its USER is {user}"))
            .why("with a MachineConfig of Kernel Module Management, the init container runs as that user and may not make directories in its volume; those of `day1 generate` run nothing in it")
            .advise("leave USER away, or set it to 0"),
    }
}

fn tmp(context: &Context<'_>) -> Finding {
    const CHECK: &str = "upstream.tmp";
    let tree = &context.content.tree;
    let End::Found { path, .. } = tree.follow("/tmp").end else {
        return Finding::ok(CHECK, "there is nothing in /tmp");
    };
    let sizes = tree.below(&path).into_iter().map(|(_, node)| if let Node::File(file) = node { file.size } else { 0 });
    let size = sizes.fold(0, u64::saturating_add);
    if size <= TMP {
        return Finding::ok(CHECK, format!("there are {} in /tmp", bytes_text(size)));
    }
    Finding::warning(CHECK, format!("there are {} in /tmp", bytes_text(size)))
        .why("with a MachineConfig of Kernel Module Management, all of it is copied into a volume at each boot; those of `day1 generate` leave it where it is")
        .advise("leave it away: RUN rm -rf /tmp/* in the layer that makes it")
}

/// KMM's scripts take `uname -r` for the tag as it is.
fn tag(subject: &Subject<'_>) -> Finding {
    const CHECK: &str = "upstream.tag";
    let release = subject.release;
    if Tag::for_kernel(release).as_str() == release {
        return Finding::ok(CHECK, "the kernel's release is a tag as it is");
    }
    Finding::warning(CHECK, format!("no tag can be {release}"))
        .why("the scripts of Kernel Module Management ask for the release as it is, and fail with `invalid reference format`; those of `day1 generate` put `_` for what no tag may hold")
        .advise("nothing, with `day1 generate`")
}

/// KMM's worker looks for a file with the name as it is listed.
fn removal(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Finding {
    const CHECK: &str = "upstream.removal";
    let listed: Vec<String> = context.request.in_tree.clone().unwrap_or_else(|| vec![subject.module.to_owned()]);
    let Some(modules) = kernel.ok().and_then(|kernel| kernel.modules.as_ref()) else {
        let reason = kernel.err().map_or_else(|| "the kernel's directory has no modules.dep".to_owned(), str::to_owned);
        return Finding::not_checked(
            CHECK,
            format!("whether files have the names of the listed modules, because {reason}"),
        );
    };
    let differ: Vec<String> = listed
        .iter()
        .filter_map(|name| {
            let path = &modules.get(&name.replace('-', "_"))?.path;
            let base = path.rsplit('/').next().unwrap_or(path);
            (!base.starts_with(&format!("{name}.ko"))).then(|| format!("{name}, whose file is {path}"))
        })
        .collect();
    if differ.is_empty() {
        return Finding::ok(CHECK, "the listed modules are named as their files are");
    }
    Finding::warning(CHECK, "listed modules are named otherwise than their files")
        .seen(differ)
        .why("the worker of Kernel Module Management looks for a file of that name, finds none and removes nothing; `day1 generate` knows dash and underscore for the same")
        .advise("nothing, with `day1 generate`; else write the name as the file has it")
}
