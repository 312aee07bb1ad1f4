//! Whether the kernel gives the modules what they use: symbols, in the version that they were built with, and the
//! modules that those symbols are from.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Finding;
use super::super::kernel::Kernel;
use super::super::symvers::{KernelSymbol, Symvers, has_namespace};
use super::licence::is_gpl;
use super::{Context, Known, Subject, join, licence, part, softdeps};
use crate::kmod::ModuleInfo;
use crate::text::number;

/// What is wrong with the symbols of all modules together.
#[derive(Default)]
struct Seen {
    versions: Vec<String>,
    missing: Vec<String>,
    unversioned: Vec<String>,
    /// Exported by what is always loaded, too.
    duplicates: Vec<String>,
    /// Exported by in-tree modules that may be loaded, too; their names.
    rivals: BTreeMap<String, String>,
    gpl: Vec<String>,
    namespaces: Vec<String>,
    compared: usize,
    /// The kernel's own modules that are needed: by which of the image's, for which symbol.
    needs: BTreeMap<(String, String), String>,
}

pub(super) fn check(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    let symvers = part(kernel, "Module.symvers or symvers.xz", |kernel| kernel.symvers.as_ref());
    let mut seen = Seen::default();
    for name in subject.load {
        if let Some(info) = subject.driver.info(name) {
            look(subject, info, symvers.as_ref().ok().copied(), &mut seen);
        }
    }
    for info in subject.load.iter().filter_map(|name| subject.driver.info(name)) {
        look_at_exports(context, subject, info, symvers.as_ref().ok().copied(), &mut seen);
    }
    let mut findings = symbols(subject, &seen, symvers.as_ref().err());
    findings.extend(licence::check(subject, &seen.gpl, symvers.as_ref().copied()));
    findings.extend(namespaces(subject, kernel, &seen, symvers.as_ref().err()));
    findings.extend(dependencies(context, subject, kernel, &seen, symvers.as_ref().err()));
    findings.extend(softdeps::check(context, subject, kernel));
    findings
}

fn look(subject: &Subject<'_>, info: &ModuleInfo, symvers: Option<&Symvers>, seen: &mut Seen) {
    let name = &info.name;
    let crc_of = |symbol: &str| info.symbol_crcs.get(symbol).copied();
    for symbol in info.undefined.iter().chain(&info.undefined_weak) {
        if let Some((from, export)) = subject.driver.exporter(symbol, subject.load) {
            if let (Some(theirs), Some(ours)) = (crc_of(symbol), export.crc)
                && theirs != ours
            {
                seen.versions.push(format!("{name}: {symbol} {theirs:#010x}, the image's {from} has {ours:#010x}"));
            }
            if export.gpl_only && !is_gpl(info) {
                seen.gpl.push(format!("{name} uses {symbol} of {from}"));
            }
            continue;
        }
        let Some(symvers) = symvers else { continue };
        let Some(known) = symvers.symbols.get(symbol).filter(|known| !is_replaced(subject, known)) else {
            if info.undefined.contains(symbol) {
                seen.missing.push(format!("{name}: {symbol}"));
            }
            continue;
        };
        if let Some(module) = &known.module {
            seen.needs.entry((name.clone(), module.clone())).or_insert_with(|| symbol.clone());
        }
        if known.gpl_only && !is_gpl(info) {
            seen.gpl.push(format!("{name} uses {symbol}"));
        }
        if let Some(namespace) = &known.namespace
            && !has_namespace(namespace, name, &info.import_ns)
        {
            seen.namespaces.push(format!("{name} uses {symbol} of namespace {namespace}"));
        }
    }
    let Some(symvers) = symvers.filter(|symvers| symvers.has_crcs) else { return };
    if info.symbol_crcs.is_empty() && !info.undefined.is_empty() {
        seen.unversioned.push(subject.path(name));
    }
    for (symbol, theirs) in &info.symbol_crcs {
        if subject.driver.exporter(symbol, subject.load).is_some() {
            continue;
        }
        let Some(known) = symvers.symbols.get(symbol).filter(|known| !is_replaced(subject, known)) else { continue };
        seen.compared += 1;
        if known.crc != *theirs {
            seen.versions.push(format!("{name}: {symbol} {theirs:#010x}, the kernel has {:#010x}", known.crc));
        }
    }
}

/// A symbol has one owner among all that is loaded.
fn look_at_exports(
    context: &Context<'_>,
    subject: &Subject<'_>,
    info: &ModuleInfo,
    symvers: Option<&Symvers>,
    seen: &mut Seen,
) {
    let name = &info.name;
    let removed = subject.removed(context.request);
    for symbol in info.exports.keys() {
        let first = subject.driver.exporter(symbol, subject.load).map(|(other, _)| other);
        if let Some(other) = first.filter(|other| other != name) {
            seen.duplicates.push(format!("{name}: {symbol}, which the image's {other} exports"));
        }
        let Some(known) = symvers.and_then(|symvers| symvers.symbols.get(symbol)) else { continue };
        match &known.module {
            None => seen.duplicates.push(format!("{name}: {symbol}, which the kernel itself exports")),
            Some(_) if is_replaced(subject, known) => {}
            Some(owner) if removed.contains(owner) => {}
            Some(owner) if seen.needs.keys().any(|(_, needed)| needed == owner) => {
                seen.duplicates.push(format!("{name}: {symbol}, which {owner} exports, and that is loaded before"));
            }
            Some(owner) => {
                let told = || format!("{name}: {symbol}, which the in-tree {owner} exports");
                seen.rivals.entry(owner.clone()).or_insert_with(told);
            }
        }
    }
}

/// The image brings the module that has the symbol in-tree, and in that place nothing in-tree is loaded.
fn is_replaced(subject: &Subject<'_>, symbol: &KernelSymbol) -> bool {
    symbol.module.as_ref().is_some_and(|module| subject.load.contains(module))
}

fn symbols(subject: &Subject<'_>, seen: &Seen, unknown: Option<&String>) -> Vec<Finding> {
    const CHECK: &str = "module.symbols";
    let release = subject.release;
    let rebuild = format!("build it against the headers and the Module.symvers of kernel {release}");
    let mut findings = Vec::new();
    if !seen.versions.is_empty() {
        findings.push(
            Finding::error(CHECK, format!("of another version than the module was built with: {}", number(seen.versions.len(), "symbol")))
                .seen(&seen.versions)
                .why("the kernel answers `disagrees about version of symbol`: the load unit fails, and the in-tree driver stays")
                .advise(&rebuild)
                .source("kernel/module/version.c: check_version"),
        );
    }
    let unread: Vec<String> = subject.load.iter().filter(|name| subject.driver.info(name).is_none()).cloned().collect();
    if !seen.missing.is_empty() && !unread.is_empty() {
        let told =
            format!("who exports {}, because {} can't be read", number(seen.missing.len(), "symbol"), join(&unread));
        findings.push(Finding::not_checked(CHECK, told).seen(&seen.missing));
    } else if !seen.missing.is_empty() {
        findings.push(
            Finding::error(CHECK, format!("exported by nobody: {}", number(seen.missing.len(), "symbol")))
                .seen(&seen.missing)
                .why("the kernel answers `Unknown symbol in module`: the load unit fails, and the in-tree driver stays")
                .advise(format!("{rebuild}; if another out-of-tree module exports them, put it into the image"))
                .source("kernel/module/main.c: simplify_symbols"),
        );
    }
    if !seen.unversioned.is_empty() {
        findings.push(
            Finding::error(CHECK, "modules have no symbol versions, and the kernel compares them")
                .seen(&seen.unversioned)
                .why("the kernel answers `no symbol version for module_layout`: the load unit fails, and the in-tree driver stays")
                .advise(format!("build with the Module.symvers of kernel {release} in the build directory, and do not strip __versions"))
                .source("kernel/module/version.c: check_version"),
        );
    }
    if !seen.duplicates.is_empty() {
        findings.push(
            Finding::error(CHECK, format!("exported by somebody else already: {}", number(seen.duplicates.len(), "symbol")))
                .seen(&seen.duplicates)
                .why("the kernel answers `exports duplicate symbol … (owned by …)`: the load unit fails, and the in-tree driver stays")
                .advise("give the symbols names of their own, or export none that this kernel has")
                .source("kernel/module/main.c: verify_exported_symbols"),
        );
    }
    if !seen.rivals.is_empty() {
        let names: Vec<String> = seen.rivals.keys().cloned().collect();
        findings.push(
            Finding::warning(CHECK, format!("in-tree modules that are not removed export symbols of the image's: {}", join(&names)))
                .seen(seen.rivals.values())
                .why("where one of them is loaded, the kernel answers `exports duplicate symbol … (owned by …)`: the load unit fails; where it is not, it does not load any more")
                .advise(format!("give the symbols names of their own, or add to the list of modules to remove: {}", join(&names))),
        );
    }
    match unknown {
        Some(reason) => {
            findings.push(Finding::not_checked(CHECK, format!("the kernel's symbols and their CRCs, because {reason}")))
        }
        None if findings.is_empty() => {
            findings.push(Finding::ok(
                CHECK,
                format!("the kernel has all symbols, {} of them compared by CRC", seen.compared),
            ));
        }
        None => {}
    }
    findings
}

fn namespaces(subject: &Subject<'_>, kernel: Known<'_>, seen: &Seen, unknown: Option<&String>) -> Vec<Finding> {
    const CHECK: &str = "module.namespaces";
    if let Some(reason) = unknown {
        return vec![Finding::not_checked(CHECK, format!("the symbols' namespaces, because {reason}"))];
    }
    if seen.namespaces.is_empty() {
        let imports: BTreeSet<String> = subject
            .load
            .iter()
            .filter_map(|name| subject.driver.info(name))
            .flat_map(|info| info.import_ns.clone())
            .collect();
        let told = if imports.is_empty() {
            "none is needed".to_owned()
        } else {
            format!("imported: {}", join(&imports.into_iter().collect::<Vec<_>>()))
        };
        return vec![Finding::ok(CHECK, told)];
    }
    let allowed = kernel.ok().and_then(|kernel| kernel.has_option("MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS"));
    let told = "modules use symbols of namespaces that they do not import";
    if allowed == Some(true) {
        return vec![
            Finding::warning(CHECK, told)
                .seen(&seen.namespaces)
                .why("this kernel only warns (CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS); others refuse the module")
                .advise("add MODULE_IMPORT_NS to the module"),
        ];
    }
    vec![
        Finding::error(CHECK, told)
            .seen(&seen.namespaces)
            .why("the kernel answers `uses symbol … from namespace …, but does not import it`: the load unit fails, and the in-tree driver stays")
            .advise("add MODULE_IMPORT_NS to the module; a namespace `module:NAMES` is for those modules only")
            .source("kernel/module/main.c: verify_namespace_is_imported"),
    ]
}

/// The modules that must be there before the image's.
fn dependencies(
    context: &Context<'_>,
    subject: &Subject<'_>,
    kernel: Known<'_>,
    seen: &Seen,
    no_symbols: Option<&String>,
) -> Vec<Finding> {
    const CHECK: &str = "module.dependencies";
    let driver = subject.driver;
    // By whom each is needed, and why.
    let mut needed: BTreeMap<String, (String, String)> = BTreeMap::new();
    for name in subject.load {
        let listed = driver.dep.as_ref().and_then(|dep| dep.get(name)).map(|entry| &entry.needs);
        for other in listed.into_iter().flat_map(BTreeMap::keys) {
            needed.insert(other.clone(), (name.clone(), format!("modules.dep says that {name} depends on it")));
        }
        for other in driver.info(name).iter().flat_map(|info| &info.depends) {
            let why = format!("{name} says that it depends on it");
            needed.insert(other.replace('-', "_"), (name.clone(), why));
        }
    }
    for ((name, module), symbol) in &seen.needs {
        needed.insert(module.clone(), (name.clone(), format!("{name} uses its {symbol}")));
    }
    needed.retain(|name, _| driver.file(name).is_none());
    let removed = subject.removed(context.request);
    // What the in-tree driver needs is still loaded when that is gone: the load unit removes only what is listed.
    let stays = kernel.ok().map(|kernel| kernel.needed_by(&removed)).unwrap_or_default();
    let (mut errors, mut lucky, mut unknown, mut fine) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (module, (by, why)) in &needed {
        let listed = driver.dep.as_ref().and_then(|dep| dep.get(by)?.needs.get(module));
        match provided(subject, kernel, listed, module) {
            Provided::Yes(_) if removed.contains(module) => {
                errors.push(format!("{module}: {why}, and it is in the list of modules to remove"));
            }
            Provided::Yes(how) => fine.push(format!("{module} {how}")),
            Provided::No(reason) if stays.contains_key(module.as_str()) && !removed.contains(module) => {
                lucky.push(format!("{module}: {why}; {reason}"));
            }
            Provided::No(reason) => errors.push(format!("{module}: {why}; {reason}")),
            Provided::Unknown => unknown.push(format!("{module}: {why}")),
        }
    }
    let host = format!(
        "put the module into the image, or link the node's own with `ln -s /lib/modules/{release} {dir}/host` before depmod runs on a copy of the node's modules there",
        release = subject.release,
        dir = driver.dir
    );
    let mut findings = Vec::new();
    if !errors.is_empty() {
        findings.push(
            Finding::error(CHECK, "modules that are needed are not where modprobe looks for them")
                .seen(errors)
                .why("the kernel answers `Unknown symbol in module`: the load unit fails, and the in-tree driver stays")
                .advise(&host)
                .source("kmod_image.md of Kernel Module Management: depending on in-tree modules; modprobe -d looks below one root"),
        );
    }
    if !lucky.is_empty() {
        findings.push(
            Finding::warning(CHECK, "modules of the node are needed that only the in-tree driver brings")
                .seen(lucky)
                .why("they stay loaded when the in-tree driver is removed; on a node that has not loaded it, the load fails")
                .advise(&host),
        );
    }
    if !unknown.is_empty() {
        let reason = kernel.err().map_or_else(|| "the kernel's directory has no modules.dep".to_owned(), str::to_owned);
        findings.push(
            Finding::not_checked(CHECK, format!("whether the node has what is needed, because {reason}")).seen(unknown),
        );
    }
    if let Some(reason) = no_symbols {
        let what = "whether its symbols are from modules that it does not name";
        findings.push(Finding::not_checked(CHECK, format!("{what}, because {reason}")));
    }
    if findings.is_empty() {
        let told = if fine.is_empty() {
            "no module of the node is needed".to_owned()
        } else {
            format!("the node's own: {}", join(&fine))
        };
        let told =
            if subject.load.len() > 1 { format!("{told}; loaded in this order: {}", join(subject.load)) } else { told };
        findings.push(Finding::ok(CHECK, told));
    }
    findings
}

pub(super) enum Provided {
    Yes(&'static str),
    No(String),
    Unknown,
}

/// Whether modprobe, with the image's directory for a root, finds a module of the node, which the image's index may list.
pub(super) fn provided(subject: &Subject<'_>, kernel: Known<'_>, listed: Option<&String>, module: &str) -> Provided {
    let known: Option<&Kernel> = kernel.ok();
    if known.and_then(|kernel| kernel.has_builtin(module)) == Some(true) {
        return Provided::Yes("(built in)");
    }
    let driver = subject.driver;
    let own = match listed.map(|path| (path, driver.of_node(path))) {
        Some((path, None)) => return Provided::No(format!("modules.dep has it as {path}, which is not there")),
        own => own.and_then(|(path, own)| Some((path, own?))),
    };
    let Some(modules) = known.and_then(|kernel| kernel.modules.as_ref()) else {
        // Without the kernel, a link to its modules that depmod followed is as good as can be seen.
        return if own.is_some() { Provided::Yes("(by a link)") } else { Provided::Unknown };
    };
    match (modules.get(module), own) {
        (Some(there), Some((path, own))) if there.path != own => {
            Provided::No(format!("modules.dep has it as {path}, and the node has {}", there.path))
        }
        (Some(_), Some(_)) => Provided::Yes("(by a link)"),
        (Some(_), None) => {
            Provided::No("it is one of the node's own, and the image's modules.dep does not lead to it".to_owned())
        }
        (None, _) => Provided::No("neither the image nor the kernel has it".to_owned()),
    }
}
