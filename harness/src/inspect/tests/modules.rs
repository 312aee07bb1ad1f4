//! Faults of the layout, the modules and their indexes.

use super::super::fixture::{self, Item, Items};
use super::case::{Broken, DEVICE, RELEASE, VERMAGIC, expect_errors};
use super::*;
use crate::kmod::fixture::Module;
use crate::kmod::stranger::Signer;

const BROKEN: &[Broken] = &[
    (
        "another kernel's directory",
        |case| {
            case.change = Box::new(|items| {
                *items =
                    items.iter().map(|(path, item)| (path.replace(RELEASE, "6.12.47-amd64"), item.clone())).collect();
            });
        },
        "image.layout",
        &["has no /opt/lib/modules/6.12.48-amd64", "6.12.47-amd64"],
    ),
    (
        "nothing below /opt/lib/modules",
        |case| {
            case.change = Box::new(|items| {
                *items = items.iter().map(|(path, item)| (path.replace("opt/", "usr/"), item.clone())).collect();
            });
        },
        "image.layout",
        &["has nothing below /opt/lib/modules"],
    ),
    (
        "another machine in the config",
        |case| {
            case.about.architecture = "arm64".to_owned();
        },
        "image.platform",
        &["linux/arm64", "linux/amd64"],
    ),
    (
        "another machine in the index",
        |case| {
            case.about.architecture = "arm64".to_owned();
            case.about.indexed = true;
        },
        "image.platform",
        &["there are those for: linux/arm64"],
    ),
    (
        "a module for another machine",
        |case| {
            case.nic = case.nic.clone().machine(183);
        },
        "module.format",
        &["nic.ko is for arm64"],
    ),
    (
        "no module of that name",
        |case| {
            case.request = Box::new(|request| request.module = Some("nix".to_owned()));
        },
        "image.module",
        &["no file of the module nix", "nic, nic_core"],
    ),
    (
        "a module that is no ELF file",
        |case| {
            case.change = Box::new(|items| {
                items.insert(at("extra/nic.ko"), Item::File(b"#!/bin/sh\n".to_vec()));
            });
        },
        "module.format",
        &["nic.ko: it is no readable ELF file"],
    ),
    (
        "a module without a symbol table",
        |case| case.nic = case.nic.clone().stripped(),
        "module.format",
        &["nic.ko: it has no symbol table", "module has no symbols (stripped?)", "strip --strip-debug"],
    ),
    (
        "a module that was linked",
        |case| case.nic = case.nic.clone().elf_type(3),
        "module.format",
        &["nic.ko: it is no kernel module: it is linked"],
    ),
    (
        "an object file that modpost did not see",
        |case| case.core = case.core.clone().without_this_module(),
        "module.format",
        &["nic_core.ko: it is no kernel module", ".gnu.linkonce.this_module"],
    ),
    (
        "a module under another name",
        |case| {
            case.nic = case.nic.clone().with_info("name", "other");
        },
        "module.format",
        &["says that its name is other"],
    ),
    (
        "a module that says it is the kernel's own",
        |case| case.nic = case.nic.clone().info("intree", "Y"),
        "module.intree",
        &["extra/nic.ko", "taint O", "rolls the load back"],
    ),
    (
        "a module in the place of an in-tree one that says it is that",
        |case| {
            case.core = case.core.clone().info("intree", "N");
            case.request = Box::new(|request| {
                request.in_tree = Some(vec!["e1000-user".into(), "e1000".into(), "nic-core".into()]);
            });
        },
        "module.intree",
        &["extra/nic_core.ko"],
    ),
    (
        "vermagic with another option",
        |case| {
            case.nic = case.nic.clone().with_info("vermagic", "6.12.48-amd64 SMP preempt_rt mod_unload modversions ");
        },
        "module.vermagic",
        &["nic was built for another kernel", "preempt_rt", "by its config: 6.12.48-amd64 SMP preempt mod_unload"],
    ),
    (
        "another vermagic before the right one",
        |case| {
            let nic = Module::new("nic").info("vermagic", "5.14.0 SMP mod_unload ").info("vermagic", VERMAGIC);
            case.nic = nic.info("license", "GPL").uses("module_layout", 1).info("alias", DEVICE);
            case.nic = case.nic.clone().info("firmware", "vendor/nic.bin");
        },
        "module.vermagic",
        &["nic was built for another kernel", "nic.ko: 5.14.0 SMP"],
    ),
    (
        "vermagic that no real-time kernel of that config has",
        |case| {
            case.nic = case.nic.clone().with_info("vermagic", "6.12.48-amd64 SMP mod_unload modversions ");
            case.kernel.entry("config").or_default().push_str("CONFIG_PREEMPT_RT=y\n");
        },
        "module.vermagic",
        &["SMP preempt mod_unload modversions, or 6.12.48-amd64 SMP preempt_rt mod_unload"],
    ),
    (
        "no vermagic",
        |case| {
            let nic = Module::new("nic").info("license", "GPL").uses("module_layout", 1).info("alias", DEVICE);
            case.nic = nic.info("firmware", "vendor/nic.bin");
        },
        "module.vermagic",
        &["nic has no vermagic"],
    ),
    (
        "another CRC",
        |case| {
            case.nic = case.nic.clone().uses("printk", 0xdead);
        },
        "module.symbols",
        &["1 symbol", "printk 0x0000dead, the kernel has 0x00000002"],
    ),
    (
        "another layout of struct module",
        |case| {
            case.core = case.core.clone().uses("module_layout", 7);
        },
        "module.symbols",
        &["nic_core: module_layout 0x00000007"],
    ),
    (
        "another CRC than the image's own module exports",
        |case| {
            case.nic = case.nic.clone().uses("core_start", 8);
        },
        "module.symbols",
        &["core_start 0x00000008, the image's nic_core has 0x00000009"],
    ),
    (
        "a symbol that nobody has",
        |case| {
            case.nic = case.nic.clone().uses("printk_deferred", 5);
        },
        "module.symbols",
        &["exported by nobody", "nic: printk_deferred"],
    ),
    (
        "a symbol that the kernel exports as well",
        |case| case.core = case.core.clone().exports("gpl_one", 4, true),
        "module.symbols",
        &["exported by somebody else", "nic_core: gpl_one, which the kernel itself exports"],
    ),
    (
        "a symbol of a module that is loaded before",
        |case| {
            case.core = case.core.clone().exports("ptp_stop", 7, false);
            let symvers = case.kernel.entry("Module.symvers").or_default();
            symvers.push_str("0x7\tptp_stop\tdrivers/ptp/ptp\tEXPORT_SYMBOL\t\n");
        },
        "module.symbols",
        &["nic_core: ptp_stop, which ptp exports"],
    ),
    (
        "a symbol that two of the image's modules export",
        |case| case.nic = case.nic.clone().exports("core_start", 9, false),
        "module.symbols",
        &["1 symbol", "nic: core_start, which the image's nic_core exports"],
    ),
    (
        "no symbol versions",
        |case| {
            case.nic = case.nic.clone().without_versions();
        },
        "module.symbols",
        &["no symbol versions", "extra/nic.ko"],
    ),
    (
        "a namespace that is not imported",
        |case| {
            case.nic = case.nic.clone().uses("spaced", 5).info("import_ns", "OTHER");
        },
        "module.namespaces",
        &["spaced of namespace NETDEV_INTERNAL"],
    ),
    (
        "a symbol for another module",
        |case| {
            case.nic = case.nic.clone().uses("for_one", 6);
        },
        "module.namespaces",
        &["namespace module:kvm"],
    ),
    (
        "a dependency that nobody has",
        |case| {
            case.nic = case.nic.clone().with_info("depends", "nic_core,nic_more");
        },
        "module.dependencies",
        &["nic_more: nic says that it depends on it", "neither the image nor the kernel has it"],
    ),
    (
        "a dependency that went after depmod",
        |case| {
            case.nic = case.nic.clone().with_info("depends", "");
            case.request = Box::new(|request| request.kernel = KernelChoice::Unknown);
            case.change = Box::new(|items| drop(items.remove(&at("extra/nic_core.ko"))));
        },
        "module.dependencies",
        &["nic_core", "modules.dep has it as extra/nic_core.ko, which is not there"],
    ),
    (
        "a dependency that the node has under another name",
        |case| {
            case.change = Box::new(|items| {
                edit(items, "modules.dep", "host/kernel/ptp/ptp.ko.xz", "host/kernel/ptp/ptp.ko");
                let nic = "extra/nic.ko: extra/nic_core.ko host/kernel/ptp/ptp.ko";
                let binary = fixture::index_file(&[("nic", nic), ("nic_core", "extra/nic_core.ko:")]);
                items.insert(at("modules.dep.bin"), Item::File(binary));
            });
            case.request = Box::new(|request| request.in_tree = Some(vec![]));
            case.kernel.insert("modules.alias", String::new());
        },
        "module.dependencies",
        &["host/kernel/ptp/ptp.ko, and the node has kernel/ptp/ptp.ko.xz"],
    ),
    (
        "no link to the node's modules",
        |case| {
            case.change = Box::new(|items| drop(items.remove(&at("host"))));
            case.kernel.insert("modules.dep", "kernel/ptp/ptp.ko.xz:\nkernel/net/e1000.ko.xz:\n".to_owned());
            case.request = Box::new(|request| request.in_tree = Some(vec!["e1000".to_owned()]));
        },
        "module.dependencies",
        &["ptp: nic uses its ptp_time", "host/kernel/ptp/ptp.ko.xz, which is not there"],
    ),
    (
        "a dependency that is to be removed",
        |case| {
            case.request =
                Box::new(|request| request.in_tree = Some(vec!["e1000-user".into(), "e1000".into(), "ptp".into()]));
        },
        "module.dependencies",
        &["ptp", "in the list of modules to remove"],
    ),
    (
        "a dependency that depmod's indexes lack",
        |case| {
            case.change = Box::new(|items| {
                indexed(items, &["extra/nic.ko: host/kernel/ptp/ptp.ko.xz", "extra/nic_core.ko:"]);
            });
        },
        "index.fresh",
        &["modules.dep does not have nic_core for nic, which uses its core_start"],
    ),
    (
        "a dependency that only a softdep names, behind the module",
        |case| {
            case.nic = case.nic.clone().with_info("depends", "").info("softdep", "post: nic_core");
            case.change = Box::new(|items| {
                indexed(items, &["extra/nic.ko: host/kernel/ptp/ptp.ko.xz", "extra/nic_core.ko:"]);
                items.insert(at("modules.softdep"), Item::File(b"softdep nic post: nic_core\n".to_vec()));
            });
        },
        "index.fresh",
        &["load nic_core behind nic, which uses its core_start"],
    ),
    (
        "dependencies in the wrong order",
        |case| {
            case.core = case.core.clone().uses("base_start", 7);
            case.change = Box::new(|items| {
                let base = Module::new("base").info("vermagic", VERMAGIC).info("license", "GPL");
                let base = base.uses("module_layout", 1).exports("base_start", 7, false).build();
                items.insert(at("extra/base.ko"), Item::File(base));
                indexed(
                    items,
                    &[
                        "extra/nic.ko: extra/base.ko extra/nic_core.ko host/kernel/ptp/ptp.ko.xz",
                        "extra/nic_core.ko: extra/base.ko",
                        "extra/base.ko:",
                    ],
                );
            });
        },
        "index.fresh",
        &["load base behind nic_core, which uses its base_start"],
    ),
    (
        "modules that need each other",
        |case| {
            case.nic = case.nic.clone().exports("nic_start", 8, false);
            case.core = case.core.clone().info("depends", "nic").uses("nic_start", 8);
            case.change = Box::new(|items| {
                indexed(
                    items,
                    &[
                        "extra/nic.ko: extra/nic_core.ko host/kernel/ptp/ptp.ko.xz",
                        "extra/nic_core.ko: extra/nic.ko host/kernel/ptp/ptp.ko.xz",
                    ],
                );
            });
        },
        "module.dependencies",
        &["need each other", "nic_core uses nic_start of nic, and nic needs nic_core"],
    ),
    (
        "no modules.dep",
        |case| {
            case.change =
                Box::new(|items| drop((items.remove(&at("modules.dep")), items.remove(&at("modules.dep.bin")))));
        },
        "index.present",
        &["modules.dep", "run depmod -b /opt 6.12.48-amd64"],
    ),
    (
        "no binary index",
        |case| {
            case.change = Box::new(|items| drop(items.remove(&at("modules.dep.bin"))));
        },
        "index.present",
        &["modules.dep.bin"],
    ),
    (
        "a module that came after depmod",
        |case| {
            case.change = Box::new(|items| {
                let mut modules = items.clone();
                edit(&mut modules, "modules.dep", "extra/nic.ko: extra/nic_core.ko host/kernel/ptp/ptp.ko.xz\n", "");
                *items = modules;
            });
        },
        "index.fresh",
        &["modules.dep does not have extra/nic.ko"],
    ),
    (
        "a module that went after depmod",
        |case| {
            case.change = Box::new(|items| {
                let nic = items.remove(&at("extra/nic.ko")).expect("there");
                items.insert(at("updates/nic.ko"), nic);
            });
        },
        "index.fresh",
        &["has extra/nic.ko for nic, which is not there; updates/nic.ko is"],
    ),
    (
        "the node's module in the place of the image's",
        |case| {
            case.change = Box::new(|items| {
                let line = "host/kernel/net/nic.ko.xz: host/kernel/ptp/ptp.ko.xz";
                items.insert(at("modules.dep"), Item::File(format!("{line}\nextra/nic_core.ko:\n").into_bytes()));
                let binary = fixture::index_file(&[("nic", line), ("nic_core", "extra/nic_core.ko:")]);
                items.insert(at("modules.dep.bin"), Item::File(binary));
            });
        },
        "index.fresh",
        &["host/kernel/net/nic.ko.xz for nic, which is the node's, and not extra/nic.ko", "/updates/"],
    ),
    (
        "indexes that differ",
        |case| {
            case.change = Box::new(|items| {
                items.insert(
                    at("modules.dep.bin"),
                    Item::File(fixture::index_file(&[("nic", "extra/old.ko:"), ("nic_core", "extra/nic_core.ko:")])),
                );
            });
        },
        "index.fresh",
        &["modules.dep.bin has", "extra/old.ko"],
    ),
    (
        "a damaged binary index",
        |case| {
            case.change = Box::new(|items| drop(items.insert(at("modules.dep.bin"), Item::File(b"junk".to_vec()))));
        },
        "index.fresh",
        &["modules.dep.bin can't be read"],
    ),
    (
        "a link out of the image",
        |case| {
            case.change = Box::new(|items| {
                let nic = items.remove(&at("extra/nic.ko")).expect("there");
                items.insert("usr/lib/vendor/nic.ko".to_owned(), nic);
                items.insert(at("extra/nic.ko"), Item::Link("/usr/lib/vendor/nic.ko".to_owned()));
            });
        },
        "image.links",
        &["extra/nic.ko -> /usr/lib/vendor/nic.ko"],
    ),
    (
        "a link that climbs out of the image",
        |case| {
            case.change = Box::new(|items| {
                let nic = items.remove(&at("extra/nic.ko")).expect("there");
                items.insert("nic.ko".to_owned(), nic);
                items.insert(at("extra/nic.ko"), Item::Link("../../../../../../../nic.ko".to_owned()));
            });
        },
        "image.links",
        &["../../../../../../../nic.ko"],
    ),
    (
        "a host link to another kernel",
        |case| {
            case.change = Box::new(|items| drop(items.insert(at("host"), Item::Link("/lib/modules/6.1.0".to_owned()))));
        },
        "image.links",
        &["leads to /lib/modules/6.1.0"],
    ),
    (
        "a link in a circle in the module's place",
        |case| {
            case.change = Box::new(|items| drop(items.insert(at("extra/nic.ko"), Item::Link("nic.ko".to_owned()))));
        },
        "image.module",
        &["nic.ko: it leads in a circle"],
    ),
    (
        "unsigned where keys are given",
        |case| {
            case.request = Box::new(|request| request.trusted_keys = vec![key(&Signer::new("Vendor"))]);
        },
        "module.signature",
        &["not signed: nic_core and nic"],
    ),
    (
        "unsigned where the kernel wants signatures",
        |case| {
            case.kernel.entry("config").or_default().push_str("CONFIG_MODULE_SIG_FORCE=y\n");
        },
        "module.signature",
        &["CONFIG_MODULE_SIG_FORCE"],
    ),
    (
        "no firmware directory",
        |case| {
            case.request = Box::new(|request| request.firmware = Some("/lib/firmware".to_owned()));
        },
        "module.firmware",
        &["/lib/firmware is not in the image"],
    ),
    (
        "an empty firmware directory",
        |case| {
            case.change = Box::new(|items| {
                items.remove("firmware/vendor/nic.bin");
                items.insert("firmware/vendor/nic.bin".to_owned(), Item::Link("gone".to_owned()));
            });
        },
        "module.firmware",
        &["has no file", "firmware/vendor/nic.bin -> gone"],
    ),
    (
        "a firmware directory behind an absolute link",
        |case| {
            case.change = Box::new(|items| {
                let file = items.remove("firmware/vendor/nic.bin").expect("there");
                items.insert("fw/vendor/nic.bin".to_owned(), file);
                items.insert("firmware".to_owned(), Item::Link("/fw".to_owned()));
            });
        },
        "module.firmware",
        &["/firmware is behind a link that leaves the image", "/firmware -> /fw"],
    ),
    (
        "all firmware behind links that lead out of its directory",
        |case| {
            firmware_outside(case);
            case.kernel.insert("firmware.list", "other.bin\n".to_owned());
        },
        "module.firmware",
        &["none of the 2 files", "vendor/nic.bin"],
    ),
    (
        "firmware without its directory",
        |case| {
            case.change = Box::new(|items| {
                let file = items.remove("firmware/vendor/nic.bin").expect("there");
                items.insert("firmware/nic.bin".to_owned(), file);
            });
            case.kernel.insert("firmware.list", "other.bin\n".to_owned());
        },
        "module.firmware",
        &["none of the 2 files", "vendor/nic.bin"],
    ),
];

/// The firmware is a link to a file of the image that is not copied with it.
pub(super) fn firmware_outside(case: &mut Case) {
    case.change = Box::new(|items| {
        let file = items.remove("firmware/vendor/nic.bin").expect("there");
        items.insert("data/nic.bin".to_owned(), file);
        items.insert("firmware/vendor/nic.bin".to_owned(), Item::Link("../../data/nic.bin".to_owned()));
    });
}

/// Puts these lines into both forms of the index.
pub(super) fn indexed(items: &mut Items, lines: &[&str]) {
    let name = |line: &str| line.split(".ko").next().unwrap_or_default().trim_start_matches("extra/").to_owned();
    let names: Vec<String> = lines.iter().map(|line| name(line)).collect();
    let entries: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(lines.iter().copied()).collect();
    items.insert(at("modules.dep"), Item::File((lines.join("\n") + "\n").into_bytes()));
    items.insert(at("modules.dep.bin"), Item::File(fixture::index_file(&entries)));
}

#[test]
fn each_broken_image_is_found_with_its_reason() {
    expect_errors(BROKEN);
}
