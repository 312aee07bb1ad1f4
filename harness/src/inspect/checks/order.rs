//! Whether what the image's modules use of each other is loaded before them.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Finding;
use super::{Known, Subject};

/// As many are looked at; eight are told.
const MOST: usize = 64;

/// A module that `modprobe` loads before another one of the image that it uses, or without it.
pub(super) struct Late {
    user: String,
    exporter: String,
    symbol: String,
    /// It is loaded, behind its user.
    loaded: bool,
    /// The other one uses the user, too, if by way of others.
    mutual: bool,
}

impl Late {
    /// Neither can be before the other.
    pub(super) fn is_mutual(&self) -> bool {
        self.mutual
    }

    /// What the index does wrong.
    pub(super) fn told(&self) -> String {
        let Self { user, exporter, symbol, loaded, .. } = self;
        if *loaded {
            format!("modules.dep has modprobe load {exporter} behind {user}, which uses its {symbol}")
        } else {
            format!("modules.dep does not have {exporter} for {user}, which uses its {symbol}")
        }
    }
}

/// `modprobe` knows the indexes only: neither `depends=` of a module nor its symbols count.
pub(super) fn late(subject: &Subject<'_>, kernel: Known<'_>) -> Vec<Late> {
    let Some(order) = subject.driver.probe_order(subject.module) else { return Vec::new() };
    let symvers = kernel.ok().and_then(|kernel| kernel.symvers.as_ref());
    let of_kernel = |symbol: &str| {
        symvers.and_then(|symvers| symvers.symbols.get(symbol)).is_some_and(|known| known.module.is_none())
    };
    let exporters = exporters(subject);
    let uses = uses(subject, &exporters);
    let mut late = BTreeMap::new();
    for user in subject.load.iter().filter(|name| order.required.contains(*name)) {
        let (Some(at), Some(info)) = (order.places.get(user), subject.driver.info(user)) else { continue };
        for symbol in &info.undefined {
            let Some(names) = exporters.get(symbol.as_str()) else { continue };
            let place = |name: &&str| order.places.get(*name);
            if late.len() == MOST || names.iter().filter_map(place).any(|place| place < at) || of_kernel(symbol) {
                continue;
            }
            let exporter = names[0];
            late.entry((user, exporter)).or_insert_with(|| Late {
                user: user.clone(),
                exporter: exporter.to_owned(),
                symbol: symbol.clone(),
                loaded: place(&exporter).is_some(),
                mutual: reaches(&uses, exporter, user),
            });
        }
    }
    late.into_values().collect()
}

/// The modules that need each other.
pub(super) fn circle(late: &[Late]) -> Option<Finding> {
    let told = |one: &Late| {
        let Late { user, exporter, symbol, .. } = one;
        format!("{user} uses {symbol} of {exporter}, and {exporter} needs {user}")
    };
    let seen: Vec<String> = late.iter().filter(|one| one.mutual).map(told).collect();
    if seen.is_empty() {
        return None;
    }
    let finding = Finding::error("module.dependencies", "modules of the image need each other")
        .seen(seen)
        .why("neither can be loaded first, the kernel answers `Unknown symbol in module`: the load unit fails, and the in-tree driver stays")
        .advise("move what both use into a module that uses neither, or make one module of them")
        .source("tools/depmod.c of kmod: depmod_report_cycles");
    Some(finding)
}

/// The modules that export a symbol, by symbol.
fn exporters<'s>(subject: &Subject<'s>) -> BTreeMap<&'s str, Vec<&'s str>> {
    let mut all = BTreeMap::<&str, Vec<&str>>::new();
    for name in subject.load {
        for symbol in subject.driver.info(name).iter().flat_map(|info| info.exports.keys()) {
            all.entry(symbol).or_default().push(name);
        }
    }
    all
}

/// The modules that each one uses.
fn uses<'s>(
    subject: &Subject<'s>,
    exporters: &BTreeMap<&'s str, Vec<&'s str>>,
) -> BTreeMap<&'s str, BTreeSet<&'s str>> {
    let of = |name: &str| {
        let symbols = subject.driver.info(name).into_iter().flat_map(|info| &info.undefined);
        symbols.filter_map(|symbol| exporters.get(symbol.as_str())?.first().copied()).collect()
    };
    subject.load.iter().map(|name| (name.as_str(), of(name))).collect()
}

fn reaches(uses: &BTreeMap<&str, BTreeSet<&str>>, from: &str, to: &str) -> bool {
    let (mut todo, mut seen) = (vec![from], BTreeSet::new());
    while let Some(name) = todo.pop() {
        if name == to {
            return true;
        }
        if seen.insert(name) {
            todo.extend(uses.get(name).into_iter().flatten());
        }
    }
    false
}
