//! The in-tree modules: which of them the image's stand in for, and whether those that are listed can be removed.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Finding;
use super::super::driver::Driver;
use super::super::kernel::{Alias, InTree, Kernel, is_hardware};
use super::super::pattern::{Effort, one_covers_other};
use super::{Context, Known, Subject, join, part};
use crate::text::number;

pub(super) fn check(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Finding> {
    let removed = subject.removed(context.request);
    let mut findings = removal(context, subject, kernel, &removed);
    findings.extend(names(subject, kernel, &removed));
    findings.extend(aliases(context, subject, kernel, &removed));
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

/// Devices that an in-tree driver claims as well.
fn aliases(context: &Context<'_>, subject: &Subject<'_>, kernel: Known<'_>, removed: &[String]) -> Vec<Finding> {
    const CHECK: &str = "in-tree.aliases";
    let known = match part(kernel, "modules.alias", |kernel| Some((kernel, kernel.aliases.as_ref()?))) {
        Ok(known) => known,
        Err(reason) => {
            return vec![Finding::not_checked(
                CHECK,
                format!("whether in-tree drivers claim the same devices, because {reason}"),
            )];
        }
    };
    let (kernel, aliases) = known;
    let own = own_aliases(subject.driver, subject.load);
    let goes: BTreeSet<&String> = removed.iter().chain(subject.load).collect();
    let mut findings = Vec::new();
    let mut effort = Effort::new(context.request.limits.steps);
    let builtin = overlaps(&own, kernel.builtin_aliases.iter().flatten(), &mut effort);
    let others = overlaps(&own, aliases.iter().filter(|alias| !goes.contains(&alias.1)), &mut effort);
    let whole = builtin.whole && others.whole;
    let (builtin, others) = (builtin.drivers, others.drivers);
    if !builtin.is_empty() {
        findings.push(
            Finding::error(CHECK, "drivers that are built into the kernel claim the same devices")
                .seen(told(&builtin))
                .why("a built-in driver has the device before anything is loaded, and can't be removed: the module loads, and has no device")
                .advise("use a kernel without it, or bind the device by driver_override")
                .source("modules.builtin.modinfo"),
        );
    }
    if !others.is_empty() {
        let names: Vec<String> = others.keys().map(|name| (*name).to_owned()).collect();
        findings.push(
            Finding::error(CHECK, "in-tree drivers that are not removed claim the same devices")
                .seen(told(&others))
                .why("udev loads the in-tree driver for the device first, and it keeps it: the vendor's module loads, and has no device")
                .advise(format!("add to the list of modules to remove, if your nodes load them: {}", first_of(&names)))
                .source("modules.alias; systemd-udevd loads all modules that claim a device"),
        );
    }
    if !whole {
        let patterns = number(own.len(), "pattern");
        findings.push(Finding::not_checked(
            CHECK,
            format!("whether further in-tree drivers claim the same devices, because the module's {patterns} take too long to compare"),
        ));
    }
    if findings.is_empty() {
        let told = if own.is_empty() {
            "the module claims no device".to_owned()
        } else {
            format!("no in-tree driver that stays claims what it does: {}", number(own.len(), "pattern"))
        };
        findings.push(Finding::ok(CHECK, told));
    }
    findings
}

fn own_aliases<'d>(driver: &Driver<'d>, load: &[String]) -> BTreeSet<&'d str> {
    let all = load.iter().filter_map(|name| driver.info(name)).flat_map(|info| info.aliases.iter());
    all.filter(|alias| is_hardware(alias)).map(String::as_str).collect()
}

/// The drivers that claim devices as well: one pattern of each, and how many there are.
struct Overlaps<'a> {
    drivers: BTreeMap<&'a str, (&'a str, usize)>,
    /// All were compared.
    whole: bool,
}

/// The drivers with a pattern that covers one of the module's, or is covered by it. What stands before the first star must
/// agree, and most differ there: a kernel claims some twenty thousand devices.
fn overlaps<'a>(own: &BTreeSet<&str>, theirs: impl Iterator<Item = &'a Alias>, effort: &mut Effort) -> Overlaps<'a> {
    let mut by_start: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for one in own {
        by_start.entry(start(one)).or_default().push(one);
    }
    let lengths: BTreeSet<usize> = by_start.keys().map(|start| start.len()).collect();
    let mut found = Overlaps { drivers: BTreeMap::new(), whole: true };
    for (pattern, driver) in theirs.filter(|(pattern, _)| is_hardware(pattern)) {
        let theirs = start(pattern);
        let shorter = lengths.range(..theirs.len()).filter_map(|length| by_start.get(&theirs[..*length]));
        let longer = by_start.range(theirs..).take_while(|(start, _)| start.starts_with(theirs)).map(|(_, list)| list);
        // An answer, or that there is none, ends it.
        let mut compared = shorter.chain(longer).flatten().map(|one| one_covers_other(one, pattern, effort));
        match compared.find(|covers| *covers != Some(false)) {
            None => {}
            Some(None) => {
                found.whole = false;
                break;
            }
            Some(Some(_)) => found.drivers.entry(driver).or_insert((pattern, 0)).1 += 1,
        }
    }
    found
}

/// What of a pattern is no pattern.
fn start(pattern: &str) -> &[u8] {
    let bytes = pattern.as_bytes();
    &bytes[..bytes.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[')).unwrap_or(bytes.len())]
}

/// One device each for the drivers that overlap, and how many more.
fn told(drivers: &BTreeMap<&str, (&str, usize)>) -> Vec<String> {
    drivers
        .iter()
        .map(|(driver, (pattern, count))| {
            let more = if *count > 1 { format!(", and {} more", count - 1) } else { String::new() };
            format!("{driver} claims {pattern}{more}")
        })
        .collect()
}

/// The names, or how many there are behind some of them.
fn first_of(names: &[String]) -> String {
    const SOME: usize = 8;
    match names.get(..SOME) {
        Some(some) if names.len() > SOME => format!("{} and {} more", some.join(", "), names.len() - SOME),
        _ => join(names),
    }
}
