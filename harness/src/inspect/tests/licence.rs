//! Modules with licences that do not go with what they use.

use super::super::fixture::Item;
use super::case::{Broken, VERMAGIC, expect_errors};
use super::modules::indexed;
use super::*;
use crate::kmod::fixture::Module;

const BROKEN: &[Broken] = &[
    (
        "a proprietary module with a GPL-only symbol",
        |case| {
            case.nic = case.nic.clone().with_info("license", "Proprietary").uses("gpl_one", 4);
        },
        "module.licence",
        &["nic: Proprietary", "nic uses gpl_one", "nic uses core_start of nic_core"],
    ),
    (
        "a proprietary module of which a file says GPL",
        |case| {
            let nic = case.nic.clone().with_info("license", "Proprietary").info("license", "GPL");
            case.nic = nic.uses("gpl_one", 4);
        },
        "module.licence",
        &["nic: Proprietary", "nic uses gpl_one"],
    ),
    (
        "a GPL module that uses a proprietary one and a GPL-only symbol",
        |case| {
            case.core = case.core.clone().with_info("license", "NVX").exports("core_free", 8, false);
            case.nic = case.nic.clone().uses("core_free", 8).uses("gpl_one", 4);
        },
        "module.licence",
        &["nic_core: NVX", "nic uses core_free of nic_core, and core_start, which is GPL-only"],
    ),
    (
        "a GPL module that uses a proprietary one by way of another",
        proprietary_base,
        "module.licence",
        &["base: NVX", "nic uses core_start of nic_core, and core_start, which is GPL-only"],
    ),
];

/// What nic uses of nic_core is, by that, of a proprietary module.
fn proprietary_base(case: &mut Case) {
    case.core = case.core.clone().uses("base_start", 7);
    case.change = Box::new(|items| {
        let base = Module::new("base").info("vermagic", VERMAGIC).info("license", "NVX");
        let base = base.uses("module_layout", 1).exports("base_start", 7, false).build();
        items.insert(at("extra/base.ko"), Item::File(base));
        indexed(
            items,
            &[
                "extra/nic.ko: extra/nic_core.ko extra/base.ko host/kernel/ptp/ptp.ko.xz",
                "extra/nic_core.ko: extra/base.ko",
                "extra/base.ko:",
            ],
        );
    });
}

#[test]
fn each_broken_image_is_found_with_its_reason() {
    expect_errors(BROKEN);
}

#[test]
fn a_gpl_module_may_use_a_proprietary_one_or_gpl_only_symbols() {
    let mut both = Case::good();
    proprietary_base(&mut both);
    let core = Module::new("nic_core").info("vermagic", VERMAGIC).info("license", "GPL").uses("module_layout", 1);
    both.core = core.uses("base_start", 7).exports("core_start", 9, false);
    expect("no GPL-only symbol", &both, Outcome::Ok, "module.licence", &["no symbol is used", "base: NVX"]);
    let mut apart = Case::good();
    apart.nic = apart.nic.uses("gpl_one", 4);
    expect("no proprietary module", &apart, Outcome::Ok, "module.licence", &["GPL-compatible: nic_core and nic"]);
}
