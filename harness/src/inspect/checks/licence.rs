//! Symbols that are for modules with a GPL-compatible licence only.

use std::collections::BTreeSet;

use super::super::Finding;
use super::super::symvers::Symvers;
use super::{Subject, join};
use crate::kmod::ModuleInfo;

const CHECK: &str = "module.licence";

/// As `license_is_gpl_compatible` of include/linux/license.h.
const GPL_COMPATIBLE: [&str; 6] =
    ["GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"];

pub(super) fn is_gpl(info: &ModuleInfo) -> bool {
    info.license.as_deref().is_some_and(|license| GPL_COMPATIBLE.contains(&license))
}

/// `gpl` are the symbols that are not for those who use them.
pub(super) fn check(subject: &Subject<'_>, gpl: &[String], symvers: Result<&Symvers, &String>) -> Vec<Finding> {
    let said = |name: &String| {
        let license = subject.driver.info(name).and_then(|info| info.license.as_deref());
        format!("{name}: {}", license.unwrap_or("none"))
    };
    let others: Vec<String> = subject
        .load
        .iter()
        .filter(|name| subject.driver.info(name).is_some_and(|info| !is_gpl(info)))
        .map(said)
        .collect();
    let mut findings = Vec::new();
    let inherited = inherited(subject, symvers.ok());
    if !inherited.is_empty() {
        findings.push(
            Finding::error(CHECK, "GPL-compatible modules use symbols of proprietary ones, and such that are only for GPL-compatible modules")
                .seen(&others)
                .seen(inherited)
                .why("the kernel takes what uses a proprietary module for proprietary, too, and answers `module using GPL-only symbols uses symbols … from proprietary module`, or `Unknown symbol`: the load unit fails, and the in-tree driver stays")
                .advise("do without the one or the other, or state the right licence in MODULE_LICENSE")
                .source("kernel/module/main.c: inherit_taint, resolve_symbol, since Linux 5.9"),
        );
    }
    if !gpl.is_empty() {
        findings.push(
            Finding::error(CHECK, "modules use symbols that are only for those with a GPL-compatible licence")
                .seen(&others)
                .seen(gpl)
                .why("the kernel answers `Unknown symbol`: the load unit fails, and the in-tree driver stays")
                .advise("do without these symbols, or state the right licence in MODULE_LICENSE")
                .source("kernel/module/main.c: find_exported_symbol_in_section"),
        );
    }
    if !findings.is_empty() {
        return findings;
    }
    match symvers.err() {
        _ if others.is_empty() => vec![Finding::ok(CHECK, format!("GPL-compatible: {}", join(subject.load)))],
        Some(reason) => vec![
            Finding::not_checked(
                CHECK,
                format!("whether symbols are used that are for GPL-compatible modules only, because {reason}"),
            )
            .seen(others),
        ],
        None => vec![Finding::ok(CHECK, "no symbol is used that is for GPL-compatible modules only").seen(others)],
    }
}

/// The modules that the kernel takes for proprietary because they use a proprietary one, if by way of others, and that use
/// symbols which are then no longer for them. Which of the two comes first makes no difference. What is weak may stay away.
fn inherited(subject: &Subject<'_>, symvers: Option<&Symvers>) -> Vec<String> {
    let infos: Vec<&ModuleInfo> = subject.load.iter().filter_map(|name| subject.driver.info(name)).collect();
    let mut proprietary: BTreeSet<&str> =
        infos.iter().filter(|info| !is_gpl(info)).map(|info| info.name.as_str()).collect();
    let mut told = Vec::new();
    if proprietary.is_empty() {
        return told;
    }
    let of_kernel = |symbol: &str| symvers.and_then(|symvers| symvers.symbols.get(symbol));
    // What is used is loaded before its user, and has its answer.
    for info in infos.into_iter().filter(|info| is_gpl(info)) {
        let (mut of, mut gpl) = (None, None);
        for symbol in &info.undefined {
            let owner = subject.driver.exporter(symbol, subject.load);
            let gpl_only = match owner {
                Some((_, export)) => export.gpl_only,
                None => of_kernel(symbol).is_some_and(|known| known.gpl_only),
            };
            of = of.or(owner.filter(|(owner, _)| proprietary.contains(owner)).map(|(owner, _)| (owner, symbol)));
            gpl = gpl.or(gpl_only.then_some(symbol));
        }
        let Some((owner, symbol)) = of else { continue };
        proprietary.insert(&info.name);
        if let Some(gpl) = gpl {
            told.push(format!("{} uses {symbol} of {owner}, and {gpl}, which is GPL-only", info.name));
        }
    }
    told
}
