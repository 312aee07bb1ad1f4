//! Faults of the list of modules to remove, and in-tree modules that stay.

use super::case::{Broken, DEVICE, expect_errors};
use super::*;

/// A device that the in-tree driver does not have.
const NEW: &str = "pci:v00008086d0000100Fsv*sd*bc*sc*i*";

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
        "an in-tree driver that stays, of a device that the removed one does not claim",
        |case| {
            case.nic = case.nic.clone().info("alias", NEW);
            case.change = Box::new(|items| {
                let from = format!("alias {DEVICE} nic\n");
                edit(items, "modules.alias", &from, &format!("{from}alias {NEW} nic\n"));
            });
            case.kernel.entry("modules.alias").or_default().push_str(&format!("alias {NEW} e1000e\n"));
        },
        "in-tree.aliases",
        &["not removed claim the same", "e1000e claims pci:v00008086d0000100F", "udev loads the in-tree driver"],
    ),
    (
        "a built-in driver of the device",
        |case| {
            case.kernel.insert("modules.alias", String::new());
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

#[test]
fn what_is_listed_behind_its_users_is_no_fault() {
    let mut case = Case::good();
    let dep = case.kernel.get("modules.dep").cloned().unwrap_or_default();
    let dep = dep.replace("e1000.ko.xz: ", "e1000.ko.xz: kernel/lib/nic-core.ko.xz ");
    case.kernel.insert("modules.dep", format!("{dep}kernel/lib/nic-core.ko.xz:\n"));
    case.request = Box::new(|request| {
        request.in_tree = Some(vec!["e1000-user".into(), "e1000".into(), "nic-core".into()]);
    });
    let inspection = case.inspect();
    assert!(inspection.is_good(), "{}", describe(&inspection));
    expect("listed", &case, Outcome::Ok, "in-tree.names", &["no in-tree module has the name"]);
}

/// As 8139too with r8169, and ata_piix with ahci: the removed driver and another one claimed the same device all along.
#[test]
fn a_device_that_the_removed_driver_shared_is_no_error() {
    for (list, line) in [
        ("modules.alias", format!("alias {DEVICE} e1000e\n")),
        ("modules.builtin.modinfo", format!("e1000e.alias={DEVICE}\0")),
    ] {
        let mut case = Case::good();
        case.kernel.entry(list).or_default().push_str(&line);
        let inspection = case.inspect();
        assert!(inspection.is_good(), "{list}:\n{}", describe(&inspection));
        let words = ["the removed one claims, too", "e1000e claims pci:v00008086d0000100E", "shared these devices"];
        expect(list, &case, Outcome::Warning, "in-tree.aliases", &words);
    }
}
