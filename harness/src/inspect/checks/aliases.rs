//! The in-tree drivers that claim the devices which the image's module claims.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Finding;
use super::super::driver::Driver;
use super::super::kernel::{Alias, is_hardware};
use super::super::pattern::{Effort, matches, one_covers_other};
use super::{Context, Known, Subject, join, part};
use crate::text::number;

const CHECK: &str = "in-tree.aliases";

pub(super) fn check(
    context: &Context<'_>,
    subject: &Subject<'_>,
    kernel: Known<'_>,
    removed: &[String],
) -> Vec<Finding> {
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
    let theirs = aliases.iter().filter(|alias| removed.contains(&alias.1)).map(|(pattern, _)| pattern.as_str());
    let (new, known) = apart(&own, theirs, &mut effort);
    let mut whole = true;
    let mut overlaps = |own: &BTreeSet<&str>, built_in: bool| {
        let found = if built_in {
            overlaps(own, kernel.builtin_aliases.iter().flatten(), &mut effort)
        } else {
            overlaps(own, aliases.iter().filter(|alias| !goes.contains(&alias.1)), &mut effort)
        };
        whole &= found.whole;
        found.drivers
    };
    let (builtin, others) = (overlaps(&new, true), overlaps(&new, false));
    let mut shared = overlaps(&known, true);
    shared.extend(overlaps(&known, false));
    shared.retain(|name, _| !builtin.contains_key(name) && !others.contains_key(name));
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
        findings.push(
            Finding::error(CHECK, "in-tree drivers that are not removed claim the same devices")
                .seen(told(&others))
                .why("udev loads the in-tree driver for the device first, and it keeps it: the vendor's module loads, and has no device")
                .advise(format!("add to the list of modules to remove, if your nodes load them: {}", first_of(&names_of(&others))))
                .source("modules.alias; systemd-udevd loads all modules that claim a device"),
        );
    }
    if !shared.is_empty() {
        findings.push(
            Finding::warning(CHECK, "in-tree drivers that are not removed claim devices that the removed one claims, too")
                .seen(told(&shared))
                .why("the removed driver shared these devices with them, and so does the vendor's: where one of them has the device before, the vendor's module has none, and where it leaves it alone, as it did for the removed one, all is well")
                .advise(format!("add those to the list of modules to remove that drive the device on your nodes (lspci -k): {}", first_of(&names_of(&shared)))),
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

/// The module's patterns, apart: those that the removed drivers do not claim, and those that they do.
fn apart<'a>(
    own: &BTreeSet<&'a str>,
    theirs: impl Iterator<Item = &'a str>,
    effort: &mut Effort,
) -> (BTreeSet<&'a str>, BTreeSet<&'a str>) {
    let mut by_start: BTreeMap<&[u8], Vec<&str>> = BTreeMap::new();
    for pattern in theirs {
        by_start.entry(start(pattern)).or_default().push(pattern);
    }
    let lengths: BTreeSet<usize> = by_start.keys().map(|start| start.len()).collect();
    // What can't be compared in time counts as new.
    let mut is_known = |one: &str| {
        let starts = lengths.range(..=one.len()).filter_map(|length| by_start.get(&one.as_bytes()[..*length]));
        starts.flatten().any(|pattern| *pattern == one || matches(pattern, one, effort) == Some(true))
    };
    let (known, new) = own.iter().copied().partition(|one| is_known(one));
    (new, known)
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

fn names_of(drivers: &BTreeMap<&str, (&str, usize)>) -> Vec<String> {
    drivers.keys().map(|name| (*name).to_owned()).collect()
}
