//! What a module file says: of which machine, for which kernel, packed how.

use super::super::Finding;
use super::super::module_file::XzCheck;
use super::{Context, Known, Subject, join};
use crate::kmod::Compression;

/// Each module that is loaded can be read, and is for the nodes' machine.
pub(super) fn readable(context: &Context<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: &str = "module.format";
    let (mut broken, mut foreign) = (Vec::new(), Vec::new());
    for name in subject.load {
        let Some((path, file)) = subject.driver.file(name) else { continue };
        let path = subject.driver.path(path);
        match &file.info {
            Err(reason) => broken.push(format!("{path}: {reason}")),
            Ok(info) if info.architecture != context.architecture => {
                foreign.push(format!("{path} is for {}, the nodes are {}", info.architecture, context.architecture));
            }
            Ok(info) if info.name != *name => {
                broken.push(format!("{path} says that its name is {}", info.name));
            }
            Ok(_) => {}
        }
    }
    let links =
        subject.driver.broken.iter().filter(|(path, _)| {
            super::super::module_file::module_name(path).is_some_and(|name| name == subject.module)
        });
    broken.extend(links.map(|(path, reason)| format!("{}: {reason}", subject.driver.path(path))));
    let mut findings = Vec::new();
    if !broken.is_empty() {
        findings.push(
            Finding::error(CHECK, "module files can't be read, or are not what their names say")
                .seen(broken)
                .why("the kernel refuses them: the load unit fails, and the in-tree driver stays")
                .advise("copy the .ko files that the kernel's build made, stripped with `strip --strip-debug` or not at all, and name them as the modules are named")
                .source("kernel/module/main.c: elf_validity_cache_copy"),
        );
    }
    if !foreign.is_empty() {
        findings.push(
            Finding::error(CHECK, "modules are for another machine")
                .seen(foreign)
                .why("the kernel answers `Invalid module format`: the load unit fails, and the in-tree driver stays")
                .advise("build them on, or cross-compile them for, the nodes' machine")
                .source("kernel/module/main.c: elf_check_arch"),
        );
    }
    if findings.is_empty() {
        let told = format!("{} for {}", join(subject.load), context.architecture);
        findings.push(Finding::ok(CHECK, format!("kernel modules: {told}")));
    }
    findings
}

/// Whether the kernel marks the modules as out-of-tree, by which the load unit knows them.
pub(super) fn intree(context: &Context<'_>, subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: &str = "module.intree";
    const ADVICE: &str = "build it as an external module (`make -C KERNEL M=DIR`), and take MODULE_INFO(intree, …) out of its sources: the kernel asks whether it is there, whatever it says";
    const SOURCE: &str = "kernel/module/main.c: module_augment_kernel_taints; the generated load script: verify_loaded, plan_running_module";
    let removed = subject.removed(context.request);
    let says = |name: &&String| subject.driver.info(name).is_some_and(|info| info.in_tree);
    // A module that stands in for one that is removed must be told from it.
    let (wrong, doubtful): (Vec<&String>, Vec<&String>) =
        subject.load.iter().filter(says).partition(|name| *name == subject.module || removed.contains(name));
    let mut findings = Vec::new();
    if !wrong.is_empty() {
        findings.push(
            Finding::error(CHECK, "modules say that they are part of the kernel's own tree")
                .seen(wrong.iter().map(|name| subject.path(name)))
                .why("the kernel does not mark them as out-of-tree (taint O), by which the load unit tells them from the in-tree ones: it rolls the load back, and the in-tree driver stays")
                .advise(ADVICE)
                .source(SOURCE),
        );
    }
    if !doubtful.is_empty() {
        findings.push(
            Finding::warning(CHECK, "modules that are needed say that they are part of the kernel's own tree")
                .seen(doubtful.iter().map(|name| subject.path(name)))
                .why("the kernel does not mark them as out-of-tree (taint O): a load unit that is started again takes them for in-tree ones, and fails")
                .advise(ADVICE),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "the kernel marks the modules as out-of-tree"));
    }
    findings
}

/// As `same_magic` of the kernel compares: with CRCs in the module, the release does not count.
pub(super) fn vermagic(subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    const CHECK: &str = "module.vermagic";
    let release = subject.release;
    let ours = kernel.ok().and_then(|kernel| kernel.vermagic.as_ref());
    let other = kernel.ok().and_then(|kernel| kernel.other_vermagic.as_deref());
    let or = other.map_or_else(String::new, |other| format!(", or {other}"));
    let mut findings = Vec::new();
    let mut same = Vec::new();
    for name in subject.load {
        let Some(info) = subject.driver.info(name) else { continue };
        let path = subject.path(name);
        let error = |message: String| {
            Finding::error(CHECK, message)
                .why("the kernel answers `version magic … should be …`: the load unit fails, and the in-tree driver stays")
                .advise(format!("build it against the headers of kernel {release}"))
                .source("kernel/module/version.c: same_magic")
        };
        let Some(theirs) = info.vermagic.as_deref() else {
            findings.push(error(format!("{name} has no vermagic")).seen([path]));
            continue;
        };
        let theirs = theirs.trim_end();
        let has_crcs = !info.symbol_crcs.is_empty();
        let (built_for, options) = theirs.split_once(' ').unwrap_or((theirs, ""));
        match ours {
            Some((ours, from)) => {
                let ours = ours.trim_end();
                let fits = |ours: &str| match ours.split_once(' ') {
                    Some((_, our_options)) if has_crcs => options == our_options,
                    _ => theirs == ours,
                };
                if !fits(ours) && !other.is_some_and(fits) {
                    let evidence =
                        [format!("{path}: {theirs}"), format!("kernel {release}, by its {from}: {ours}{or}")];
                    findings.push(error(format!("{name} was built for another kernel")).seen(evidence));
                    continue;
                }
            }
            None if built_for != release && !has_crcs => {
                let evidence = [format!("{path}: {theirs}"), format!("the nodes' kernel: {release}")];
                findings.push(error(format!("{name} was built for another kernel")).seen(evidence));
                continue;
            }
            None => {}
        }
        if built_for == release {
            same.push(name.clone());
        } else {
            findings.push(
                Finding::warning(CHECK, format!("{name} was built for {built_for}, and the nodes have {release}"))
                    .seen([path])
                    .why("the kernel does not compare releases where a module has CRCs: it loads if all CRCs are right")
                    .advise(format!(
                        "build it against kernel {release}, unless one module for several kernels is meant"
                    )),
            );
        }
    }
    match ours {
        None => {
            let reason = kernel.err().map_or_else(
                || "the kernel's directory has neither a module of its own nor a config".to_owned(),
                str::to_owned,
            );
            if !same.is_empty() {
                findings.push(Finding::ok(CHECK, format!("built for {release}: {}", join(&same))));
            }
            findings.push(Finding::not_checked(CHECK, format!("the options behind the release, because {reason}")));
        }
        Some((ours, from)) if !same.is_empty() => {
            findings.push(Finding::ok(
                CHECK,
                format!("{} as the kernel's {from} has it: {}{or}", join(&same), ours.trim_end()),
            ));
        }
        Some(_) => {}
    }
    findings
}

/// Whether a node can decompress the files.
pub(super) fn compression(subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    const CHECK: &str = "module.compression";
    let mut findings = Vec::new();
    let option = |name: &str| kernel.ok().and_then(|kernel| kernel.has_option(name));
    for name in subject.load {
        let Some((path, file)) = subject.driver.file(name) else { continue };
        let full = subject.driver.path(path);
        let said = Compression::of_name(path);
        if said != file.compression {
            let kind = |kind: Option<Compression>| {
                kind.map_or_else(|| "not compressed".to_owned(), |kind| format!("compressed with {kind}"))
            };
            findings.push(
                Finding::warning(CHECK, format!("{full} is {}, its name says {}", kind(file.compression), kind(said)))
                    .why("kmod and the kernel go by the name or by the content, depending on their versions")
                    .advise("rename the file, and run depmod after that"),
            );
            continue;
        }
        let Some(kind) = file.compression else { continue };
        if file.sizeless {
            findings.push(
                Finding::warning(CHECK, format!("{full} does not say how large it is decompressed"))
                    .why("depmod, modinfo and modprobe since kmod 34 answer `Failed to determine decompression size`: the module is not in the indexes that they write, and a node with such a kmod does not load it")
                    .advise("give zstd the file, and not a pipe: `zstd nic.ko`; or leave it uncompressed: the image's layer is compressed anyway")
                    .source("libkmod/libkmod-file-zstd.c of kmod: kmod_file_load_zstd, since \"use bufferless zstd decompression\""),
            );
        }
        let own = kernel
            .ok()
            .and_then(|kernel| kernel.modules.as_ref())
            .map(|modules| modules.values().any(|module| Compression::of_name(&module.path) == Some(kind)));
        // kmod gives compressed files to a kernel that can decompress its own kind of them.
        let in_kernel = option("MODULE_DECOMPRESS") == Some(true) && option("MODULE_COMPRESS_XZ") == Some(true);
        if in_kernel && file.xz_check.is_some_and(|check| !XzCheck::known_to_kernel(check)) {
            findings.push(
                Finding::warning(CHECK, format!("{full} has a checksum that the kernel's own decompressor does not know"))
                    .why("where modprobe leaves the decompression to the kernel, that fails: `decompression failed with status 6`")
                    .advise("compress it with xz --check=crc32 --lzma2=dict=1MiB, or not at all"),
            );
        } else if own == Some(false) {
            findings.push(
                Finding::warning(
                    CHECK,
                    format!("{full} is compressed with {kind}, and none of the kernel's own modules is"),
                )
                .why("a modprobe that was built without that compression can't read it")
                .advise("leave it uncompressed: the image's layer is compressed anyway"),
            );
        }
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "the files are plain, or compressed as the kernel's own"));
    }
    findings
}

/// Parameters can't come with a Day-1 MachineConfig.
pub(super) fn parameters(subject: &Subject<'_>) -> Vec<Finding> {
    let Some(info) = subject.driver.info(subject.module) else { return Vec::new() };
    let names: Vec<String> = info
        .parameters
        .iter()
        .map(|(name, about)| format!("{name} ({})", about.kind.as_deref().unwrap_or("unknown")))
        .collect();
    if names.is_empty() {
        return vec![Finding::ok("module.parameters", format!("{} takes no parameters", subject.module))];
    }
    vec![Finding::ok(
        "module.parameters",
        format!(
            "{} takes {}; without a file in the node's /etc/modprobe.d, each has its default",
            subject.module,
            names.join(", ")
        ),
    )]
}
