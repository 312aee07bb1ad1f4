//! Faults of the list of modules to remove, and in-tree modules that stay.

use super::case::{Broken, expect_errors};

const BROKEN: &[Broken] = &[
    (
        "a built-in module in the list",
        |case| {
            case.request =
                Box::new(|request| request.in_tree = Some(vec!["e1000-user".into(), "e1000".into(), "ext4".into()]));
        },
        "in-tree.removal",
        &["built into the kernel: ext4"],
    ),
    (
        "a holder behind what it uses",
        |case| {
            case.request = Box::new(|request| request.in_tree = Some(vec!["e1000".into(), "e1000-user".into()]));
        },
        "in-tree.removal",
        &["e1000_user uses e1000, and is listed after it"],
    ),
    (
        "an in-tree driver of the device that stays",
        |case| {
            case.request = Box::new(|request| request.in_tree = None);
        },
        "in-tree.aliases",
        &["e1000 claims pci:v00008086d0000100E"],
    ),
    (
        "a built-in driver of the device",
        |case| {
            case.kernel.insert("modules.builtin.modinfo", "e1000x.alias=pci:v00008086d*\0".to_owned());
        },
        "in-tree.aliases",
        &["built into the kernel", "e1000x claims pci:v00008086d*"],
    ),
    (
        "an in-tree module of the same name",
        |case| {
            let dep = case.kernel.get("modules.dep").cloned().unwrap_or_default();
            case.kernel.insert("modules.dep", format!("{dep}kernel/net/nic-core.ko.xz:\n"));
            let alias = case.kernel.get("modules.alias").cloned().unwrap_or_default();
            case.kernel.insert("modules.alias", format!("{alias}alias usb:v1234p* nic-core\n"));
        },
        "in-tree.names",
        &["nic_core: kernel/net/nic-core.ko.xz", "add to the list of modules to remove: nic_core"],
    ),
    (
        "an in-tree library of the same name that the removed driver needs",
        |case| {
            let dep = case.kernel.get("modules.dep").cloned().unwrap_or_default();
            let dep = dep.replace("e1000.ko.xz: ", "e1000.ko.xz: kernel/lib/nic-core.ko.xz ");
            case.kernel.insert("modules.dep", format!("{dep}kernel/lib/nic-core.ko.xz:\n"));
        },
        "in-tree.names",
        &["nic_core: kernel/lib/nic-core.ko.xz", "the in-tree e1000 needs it", "--in-tree e1000-user,e1000,nic-core\""],
    ),
    (
        "a copy of the node's own that the removed driver needs",
        |case| {
            let dep = case.kernel.get("modules.dep").cloned().unwrap_or_default();
            let dep = dep.replace("e1000.ko.xz: ", "e1000.ko.xz: kernel/lib/nic-core.ko.xz ");
            case.kernel.insert("modules.dep", format!("{dep}kernel/lib/nic-core.ko.xz:\n"));
            case.core = case.core.clone().info("intree", "Y");
        },
        "in-tree.names",
        &["copies of the node's own (nic_core), leave them out"],
    ),
];

#[test]
fn each_broken_image_is_found_with_its_reason() {
    expect_errors(BROKEN);
}
