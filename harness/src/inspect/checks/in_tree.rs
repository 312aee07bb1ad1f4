//! The in-tree modules: which of them the image's stand in for, and whether those that are listed can be removed.

use std::collections::BTreeMap;

use super::super::Finding;
use super::super::kernel::{InTree, Kernel};
use super::{Context, Known, Subject, aliases, join, part};

pub(super) fn check(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    let removed = subject.removed(context.request);
    let mut findings = removal(context, subject, kernel, &removed);
    findings.extend(names(subject, kernel, &removed));
    findings.extend(aliases::check(context, subject, kernel, &removed));
    findings
}

/// The list of modules to remove.
fn removal(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>, removed: &[String]) -> Vec<Finding> {
    const CHECK: &str = "in-tree.removal";
    let modules = match part(kernel, "modules.dep", |kernel| Some((kernel, kernel.modules.as_ref()?))) {
        Ok(known) => known,
        Err(reason) => {
            return vec![Finding::not_checked(
                CHECK,
                format!("the list of modules to remove ({}), because {reason}", join(removed)),
            )];
        }
    };
    let (kernel, modules) = modules;
    let mut findings = Vec::new();
    let builtin: Vec<String> = removed.iter().filter(|name| kernel.has_builtin(name) == Some(true)).cloned().collect();
    if !builtin.is_empty() {
        findings.push(
            Finding::error(CHECK, format!("built into the kernel: {}", join(&builtin)))
                .why("it can't be removed: the load unit fails, and the in-tree driver stays")
                .advise("take it off the list; a built-in driver of the same device can't be replaced on this kernel")
                .source("the generated load script: plan_removal; modules.builtin"),
        );
    }
    // The module's own name is the default, and need not exist.
    let explicit = context.request.in_tree.is_some();
    let absent: Vec<&String> =
        removed.iter().filter(|name| explicit && !modules.contains_key(*name) && !builtin.contains(name)).collect();
    if !absent.is_empty() {
        let near = |name: &str| {
            let close = modules.keys().map(|known| (strsim::jaro_winkler(name, known), known));
            close
                .filter(|(score, _)| *score > 0.85)
                .max_by(|one, other| one.0.total_cmp(&other.0))
                .map(|(_, known)| known)
        };
        let told = |name: &&String| match near(name) {
            Some(known) => format!("{name}; did you mean {known}?"),
            None => (*name).clone(),
        };
        findings.push(
            Finding::warning(CHECK, "the list has names that the kernel has no module of")
                .seen(absent.iter().map(told))
                .why("nothing is removed for them; the in-tree driver that was meant stays, and holds the device")
                .advise(format!("list the names that lsmod shows on a node with kernel {}", subject.release)),
        );
    }
    findings.extend(holders(kernel, removed));
    if findings.is_empty() {
        let there: Vec<String> = removed.iter().filter(|name| modules.contains_key(*name)).cloned().collect();
        let told = if there.is_empty() {
            "there is no in-tree module to remove".to_owned()
        } else {
            format!("can be removed in this order: {}", join(&there))
        };
        findings.push(Finding::ok(CHECK, told));
    }
    findings
}

/// Those that use a module must go before it.
fn holders(kernel: &Kernel, removed: &[String]) -> Vec<Finding> {
    const CHECK: &str = "in-tree.removal";
    let (mut order, mut unlisted) = (Vec::new(), Vec::new());
    let modules = kernel.modules.iter().flatten();
    for (holder, module) in modules {
        let place = |name: &String| removed.iter().position(|listed| listed == name);
        for name in module.needs.keys().filter(|name| place(name).is_some()) {
            match (place(holder), place(name)) {
                (Some(held), Some(at)) if held > at => {
                    order.push(format!("{holder} uses {name}, and is listed after it"))
                }
                (None, _) => unlisted.push((kernel.claims(holder) > 0, format!("{holder} uses {name}"))),
                _ => {}
            }
        }
    }
    let mut findings = Vec::new();
    if !order.is_empty() {
        findings.push(
            Finding::error(CHECK, "modules are listed behind those that they use")
                .seen(order)
                .why("a module in use can't be removed: the load unit fails, and the in-tree drivers stay")
                .advise("list each module before those that it uses")
                .source("the generated load script: plan_removal; rmmod(8)"),
        );
    }
    if !unlisted.is_empty() {
        // Those with devices of their own are the likelier ones.
        unlisted.sort_by_key(|(claims, _)| !claims);
        findings.push(
            Finding::warning(CHECK, "further in-tree modules use what is to be removed")
                .seen(unlisted.into_iter().map(|(_, text)| text))
                .why("where one of them is loaded, the removal fails, and with it the load unit")
                .advise("list those that your nodes load before the module that they use"),
        );
    }
    findings
}

/// Names that the image and the kernel share.
fn names(subject: &Subject<'_>, kernel: Known<'_>, removed: &[String]) -> Vec<Finding> {
    const CHECK: &str = "in-tree.names";
    let modules = match part(kernel, "modules.dep", |kernel| Some((kernel, kernel.modules.as_ref()?))) {
        Ok(known) => known,
        Err(reason) => {
            return vec![Finding::not_checked(
                CHECK,
                format!("whether the kernel has modules of the same names, because {reason}"),
            )];
        }
    };
    let (kernel, modules) = modules;
    let builtin: Vec<&String> = subject.load.iter().filter(|name| kernel.has_builtin(name) == Some(true)).collect();
    if !builtin.is_empty() {
        return vec![
            Finding::error(CHECK, "the kernel has modules of the image built in")
                .seen(builtin)
                .why("a module whose name is taken does not load: the load unit fails")
                .advise("rename the module, or use a kernel without it")
                .source("kernel/module/main.c: add_unformed_module; kmod: modules.builtin"),
        ];
    }
    let shared = subject.load.iter().filter(|name| modules.contains_key(*name) && !removed.contains(name));
    // What a removed driver needs was loaded with it, and runs.
    let brought = kernel.needed_by(removed);
    let (runs, may_run): (Vec<&String>, Vec<&String>) =
        shared.partition(|name| kernel.claims(name) > 0 || brought.contains_key(name.as_str()));
    let told = "in-tree modules of the same names are not in the list of modules to remove";
    let complete = |finding: Finding, names: &[&String]| {
        let seen = names.iter().map(|name| {
            let by = brought
                .get(name.as_str())
                .map_or_else(String::new, |user| format!(", and the in-tree {user} needs it"));
            format!("{name}: {} and {}{by}", modules[*name].path, subject.path(name))
        });
        finding
            .seen(seen)
            .why("where the in-tree one runs, the load unit fails before it changes anything (`needs the image's …, but the in-tree one runs`), and the in-tree driver stays")
            .advise(list_as_well(subject, modules, removed, names))
            .source("the generated load script: plan_running_module; libkmod of kmod: a module of that name counts as loaded")
    };
    let mut findings = Vec::new();
    if !runs.is_empty() {
        findings.push(complete(Finding::error(CHECK, told), &runs));
    }
    if !may_run.is_empty() {
        findings.push(complete(Finding::warning(CHECK, told), &may_run));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(CHECK, "no in-tree module has the name of one of the image's and stays"));
    }
    findings
}

/// How to remove further in-tree modules, each before what it uses.
fn list_as_well(
    subject: &Subject<'_>,
    modules: &BTreeMap<String, InTree>,
    removed: &[String],
    names: &[&String],
) -> String {
    let uses = |one: &str, other: &str| modules.get(one).is_some_and(|module| module.needs.contains_key(other));
    let mut list: Vec<&str> = removed.iter().map(String::as_str).filter(|name| modules.contains_key(*name)).collect();
    for name in names {
        let behind = list.iter().rposition(|one| uses(one, name)).map(|at| at + 1);
        let before = || list.iter().position(|one| uses(name, one)).unwrap_or(list.len());
        let at = behind.unwrap_or_else(before);
        list.insert(at, name.as_str());
    }
    let file = |name: &&str| {
        let path = &modules[*name].path;
        let base = path.rsplit('/').next().unwrap_or(path);
        base.split(".ko").next().unwrap_or(base).to_owned()
    };
    let list: Vec<String> = list.iter().map(file).collect();
    let names: Vec<String> = names.iter().map(|name| (*name).clone()).collect();
    let list = format!("add to the list of modules to remove: {}, as in --in-tree {}", join(&names), list.join(","));
    let copies: Vec<String> =
        names.into_iter().filter(|name| subject.driver.info(name).is_some_and(|info| info.in_tree)).collect();
    if copies.is_empty() {
        return list;
    }
    format!(
        "where the image's are but copies of the node's own ({}), leave them out of it, and link the node's with `ln -s /lib/modules/{} {}/host` before depmod runs; else {list}",
        join(&copies),
        subject.release,
        subject.driver.dir
    )
}
