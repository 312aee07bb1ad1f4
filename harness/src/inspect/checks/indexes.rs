//! What `depmod` writes: there, and of these modules.

use std::collections::BTreeSet;

use super::super::Finding;
use super::super::kernel::modules_softdep;
use super::super::module_file::module_name;
use super::Subject;
use super::order::Late;

const SOURCE: &str = "libkmod/libkmod-module.c of kmod: module_find_dependencies in modules.dep.bin";

pub(super) fn check(subject: &Subject<'_>, late: &[Late]) -> Vec<Finding> {
    let mut findings = present(subject);
    if subject.driver.dep.is_some() || subject.driver.dep_bin.is_some() {
        findings.extend(fresh(subject, late));
    }
    findings
}

fn run_depmod(subject: &Subject<'_>) -> String {
    format!("run depmod -b /opt {} as the last step of the image's build, and copy all that it wrote", subject.release)
}

fn present(subject: &Subject<'_>) -> Vec<Finding> {
    const CHECK: &str = "index.present";
    let driver = subject.driver;
    let lacks = |names: &[&str]| -> Vec<String> {
        names.iter().filter(|name| !driver.indexes.contains_key(**name)).map(|name| driver.path(name)).collect()
    };
    let needed = lacks(&["modules.dep", "modules.dep.bin"]);
    if !needed.is_empty() {
        return vec![
            Finding::error(CHECK, format!("depmod's index is missing: {}", needed.join(", ")))
                .why("modprobe does not find the module: the load unit fails, and the in-tree driver stays")
                .advise(run_depmod(subject))
                .source("kmod_image.md of Kernel Module Management: depmod; modprobe reads modules.dep.bin, the load script modules.dep"),
        ];
    }
    let more =
        lacks(&["modules.alias", "modules.alias.bin", "modules.symbols", "modules.symbols.bin", "modules.softdep"]);
    if more.is_empty() {
        return vec![Finding::ok(CHECK, "all that depmod writes for modprobe is there")];
    }
    vec![
        Finding::warning(CHECK, "some of depmod's indexes are missing")
            .seen(more)
            .why("softdeps are not followed and aliases not found; the module itself is found by its name")
            .advise(run_depmod(subject)),
    ]
}

/// Whether the indexes are of these files.
fn fresh(subject: &Subject<'_>, late: &[Late]) -> Vec<Finding> {
    const CHECK: &str = "index.fresh";
    let driver = subject.driver;
    let (mut wrong, mut stale, mut other) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(dep) = &driver.dep {
        for name in subject.load {
            let Some((path, _)) = driver.file(name) else { continue };
            match dep.get(name) {
                None => wrong.push(format!("modules.dep does not have {path}")),
                Some(entry) if driver.of_node(&entry.path).is_some() => {
                    other.push(format!(
                        "modules.dep has {} for {name}, which is the node's, and not {path}",
                        entry.path
                    ));
                }
                Some(entry) if !driver.files.contains_key(&entry.path) => {
                    wrong.push(format!("modules.dep has {} for {name}, which is not there; {path} is", entry.path));
                }
                Some(_) => {}
            }
        }
        let listed: BTreeSet<&str> = dep.values().map(|entry| entry.path.as_str()).collect();
        // Where a link is missing, that is told of the modules that need it.
        let of_node = |path: &str| path.starts_with("host/") || driver.of_node(path).is_some();
        for path in listed.iter().filter(|path| !driver.files.contains_key(**path) && !of_node(path)) {
            let name = module_name(path).unwrap_or_default();
            if !subject.load.contains(&name) {
                stale.push(format!("modules.dep has {path}, which is not there"));
            }
        }
        for path in driver.files.keys().filter(|path| !listed.contains(path.as_str())) {
            if !subject.load.iter().any(|name| module_name(path).as_deref() == Some(name)) {
                stale.push(format!("modules.dep does not have {path}"));
            }
        }
    }
    wrong.extend(binary(subject));
    if wrong.is_empty() && other.is_empty() {
        // Of an index that is wrong anyway, this says nothing new.
        wrong.extend(late.iter().filter(|one| !one.is_mutual()).map(Late::told));
    }
    stale.extend(names(subject));
    let mut findings = Vec::new();
    if !other.is_empty() {
        findings.push(
            Finding::error(CHECK, "depmod took modules of the node, behind a link, in the place of the image's of the same names")
                .seen(other)
                .why("modprobe loads the node's own file: the load unit finds none of the image's, and fails, and the in-tree driver stays; of a module that is only needed, the node's is loaded")
                .advise(format!("put the image's modules below {}/updates/, where depmod prefers them, and {}; or name their directory before `built-in` in a `search` line of the build's /etc/depmod.d", driver.dir, run_depmod(subject)))
                .source("depmod.d(5): search, by default `updates built-in`; tools/depmod.c of kmod: depmod_module_is_higher_priority"),
        );
    }
    if !wrong.is_empty() {
        findings.push(
            Finding::error(CHECK, "depmod's indexes are not of the modules that are here")
                .seen(wrong)
                .why(
                    "modprobe looks for files that are not there, or loads without what is needed: the load unit fails",
                )
                .advise(run_depmod(subject))
                .source(SOURCE),
        );
    }
    if !stale.is_empty() {
        findings.push(
            Finding::warning(CHECK, "depmod's indexes are older than the modules")
                .seen(stale)
                .why("the module itself is found; others, softdeps and aliases may not be")
                .advise(run_depmod(subject)),
        );
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "depmod's indexes are of the modules that are here"));
    }
    findings
}

/// What modprobe reads is the binary index.
fn binary(subject: &Subject<'_>) -> Vec<String> {
    let driver = subject.driver;
    let binary = match &driver.dep_bin {
        None => return Vec::new(),
        Some(Err(reason)) => return vec![format!("modules.dep.bin can't be read: {reason}")],
        Some(Ok(binary)) => binary,
    };
    let Some(text) = driver.text("modules.dep") else { return Vec::new() };
    let line = |name: &str| {
        text.lines().find(|line| line.split_once(':').and_then(|(path, _)| module_name(path)).as_deref() == Some(name))
    };
    let same = |one: &str, other: &str| one.split_whitespace().eq(other.split_whitespace());
    subject
        .load
        .iter()
        .filter_map(|name| match (line(name), binary.get(name)) {
            (Some(line), Some(value)) if same(line, value) => None,
            (Some(line), Some(value)) => Some(format!("modules.dep has {line:?}, modules.dep.bin has {value:?}")),
            (Some(_), None) => Some(format!("modules.dep.bin does not have {name}")),
            (None, _) => None,
        })
        .collect()
}

/// Aliases and softdeps that the modules have and the indexes lack.
fn names(subject: &Subject<'_>) -> Vec<String> {
    let driver = subject.driver;
    let mut lacks = Vec::new();
    let softdeps = driver.text("modules.softdep").map(|text| modules_softdep(&text));
    let aliases = driver.text("modules.alias");
    let aliases: Option<BTreeSet<&str>> = aliases.as_deref().map(|text| text.lines().collect());
    for name in subject.load {
        let Some(info) = driver.info(name) else { continue };
        if let Some(aliases) = &aliases {
            let known = |alias: &&String| {
                // depmod writes the module's name as its file has it.
                aliases.contains(format!("alias {alias} {name}").as_str())
                    || aliases.contains(format!("alias {alias} {}", name.replace('_', "-")).as_str())
            };
            if let Some(alias) = info.aliases.iter().find(|alias| !known(alias)) {
                lacks.push(format!("modules.alias does not have {alias} of {name}"));
            }
        }
        if let Some(softdeps) = &softdeps {
            let listed = softdeps.get(name).cloned().unwrap_or_default();
            let all = |own: &[String], listed: &[String]| own.iter().all(|one| listed.contains(one));
            if !all(&info.softdeps.pre, &listed.pre) || !all(&info.softdeps.post, &listed.post) {
                lacks.push(format!("modules.softdep does not have all softdeps of {name}"));
            }
        }
    }
    lacks
}
