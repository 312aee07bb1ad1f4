//! The load script against stubs: what it does before, during and after the swap.

use crate::stub_node::{KERNEL, ModuleFile, StubNode};

fn oot() -> ModuleFile {
    ModuleFile::out_of_tree("day1_nic")
}

/// A pulled image whose files on the node are then changed together with their record, as if it had been accepted.
fn accepted(modules: &[ModuleFile]) -> StubNode {
    let node = StubNode::new();
    node.push("id1", KERNEL, modules);
    node.with_pulled_image()
}

#[test]
fn without_an_image_the_unit_is_skipped_and_says_who_fetches_it() {
    let node = StubNode::new();
    let outcome = node.condition();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("99-day1-pull-kernel-module-image.service will fetch it"), "{}", outcome.log);
    assert!(outcome.log.contains("6.12.41_deb13-amd64"), "{}", outcome.log);
    node.assert_in_tree();
}

#[test]
fn a_missing_config_fails_the_unit_instead_of_skipping_it() {
    let node = StubNode::new();
    node.remove(&node.config.config_path());
    assert_eq!(node.condition().code, 255);
}

#[test]
fn the_in_tree_module_is_replaced() {
    let node = accepted(&[oot()]);
    assert_eq!(node.condition().code, 0);
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(
        outcome.log.ends_with("day1: loaded day1_nic (srcversion OOTday1_nic) in place of e1000\n"),
        "{}",
        outcome.log
    );
    assert!(node.loaded("day1_nic") && !node.loaded("e1000"));
    assert_eq!(node.read("run/modprobe.d/day1-99-day1.conf"), "blacklist e1000\ninstall e1000 /bin/false\n");
    assert_eq!(node.read("mounts"), "", "the image is unmounted");
    assert!(!node.exists(&node.config.reboot_counter_path()), "success resets the counter");
    // Seen by udev before anything is unloaded, and again before the network.
    let calls = node.read("calls");
    assert!(calls.find("udevadm settle").unwrap() < calls.find("rmmod e1000").unwrap());
    assert!(calls.rfind("udevadm settle").unwrap() > calls.rfind("modprobe").unwrap());
}

#[test]
fn a_second_start_in_the_same_boot_changes_nothing() {
    let node = accepted(&[oot()]);
    node.load();
    node.write("calls", "");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(outcome.log.contains("is loaded already, nothing to do"), "{}", outcome.log);
    assert!(node.calls("rmmod").is_empty());
}

#[test]
fn an_in_tree_module_that_is_not_loaded_is_no_obstacle() {
    let node = accepted(&[oot()]);
    node.remove("sys/module/e1000");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(outcome.log.contains("with no in-tree module to remove"), "{}", outcome.log);
}

/// Makes the record fit what is in the store now: the fault is then not damage, but the module's own.
fn re_record(node: &StubNode, change: impl FnOnce(&StubNode, &str)) {
    let root = node.stored_root("id1");
    change(node, &root);
    let record = format!("{}/records/{KERNEL}", node.config.state_directory());
    let header = node.read(&record).split("\n\n").next().unwrap().to_owned();
    let sums = std::process::Command::new("bash")
        .args(["-c", "find opt/lib/modules/* -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum"])
        .current_dir(node.path(&root))
        .output()
        .unwrap();
    node.write(&record, &format!("{header}\n\n{}", String::from_utf8(sums.stdout).unwrap()));
}

fn module_file(root: &str) -> String {
    format!("{root}/opt/lib/modules/{KERNEL}/day1_nic.ko")
}

#[test]
fn a_module_for_another_kernel_is_refused_before_anything_is_unloaded() {
    let node = accepted(&[oot()]);
    re_record(&node, |node, root| {
        let text = node.read(&module_file(root)).replace("6.12.41", "6.12.40");
        node.write(&module_file(root), &text);
    });
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("day1: error: module day1_nic"), "{}", outcome.log);
    assert!(outcome.log.contains("vermagic '6.12.40+deb13-amd64"), "{}", outcome.log);
    assert!(!node.read("calls").contains("rmmod"));
    node.assert_in_tree();
    assert_eq!(node.read("run/day1/99-day1/load-result"), "failed\n");
}

#[test]
fn a_damaged_file_is_noticed_before_anything_is_unloaded() {
    let node = accepted(&[oot()]);
    node.write(&module_file(&node.stored_root("id1")), "");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("is damaged on this node"), "{}", outcome.log);
    assert!(outcome.log.contains("day1_nic.ko"), "{}", outcome.log);
    node.assert_in_tree();
    assert_eq!(node.read("run/day1/99-day1/load-result"), "damaged\n");
}

#[test]
fn damage_behind_a_link_is_noticed() {
    // A linked file, as weak-modules makes them, and a linked directory.
    for (link, target) in [("day1_nic.ko", "../common/day1_nic.ko"), ("", "common")] {
        let node = StubNode::new();
        node.push("id1", "common", &[oot()]);
        let modules = format!("{}/opt/lib/modules", node.pushed_root());
        if !link.is_empty() {
            node.write(&format!("{modules}/{KERNEL}/modules.dep"), "day1_nic.ko:\n");
        }
        let link = node.path(&format!("{modules}/{KERNEL}/{link}"));
        std::os::unix::fs::symlink(target, link.to_str().unwrap().trim_end_matches('/')).unwrap();
        let node = node.with_pulled_image();
        node.write(&format!("{}/opt/lib/modules/common/day1_nic.ko", node.stored_root("id1")), "");
        let outcome = node.load();
        assert_eq!(outcome.code, 1);
        assert!(outcome.log.contains("is damaged on this node"), "{}", outcome.log);
        node.assert_in_tree();
    }
}

#[test]
fn a_module_whose_init_fails_brings_the_in_tree_one_back() {
    let node = accepted(&[oot().with("init", "fail")]);
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(node.read("calls").contains("rmmod e1000"), "it was tried");
    assert!(outcome.log.contains("could not insert 'day1_nic': No such device"), "{}", outcome.log);
    assert!(outcome.log.contains("day1: kernel: [ 5.000000] day1_nic: probe failed"), "{}", outcome.log);
    assert!(!outcome.log.contains("earlier line"), "{}", outcome.log);
    assert!(outcome.log.contains("in-tree again: e1000"), "{}", outcome.log);
    node.assert_in_tree();
}

#[test]
fn a_modprobe_that_succeeds_without_loading_is_not_believed() {
    let node = accepted(&[oot().with("init", "silent")]);
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("is not in /sys/module"), "{}", outcome.log);
    node.assert_in_tree();
}

#[test]
fn a_driver_that_does_not_take_the_device_makes_way_for_the_one_before() {
    const DEVICE: &str = "sys/devices/pci0000:00/0000:00:04.0";
    let claims = |alias: &'static str| oot().with("alias", alias);
    let (mine, other) = ("pci:v00008086d0000100Esv*sd*bc*sc*i*", "pci:v00008086d000010D3sv*sd*bc*sc*i*");
    for (module, works) in
        [(claims(mine), false), (claims(mine).with("takes", DEVICE), true), (claims(other), true), (oot(), true)]
    {
        let node = accepted(&[module]);
        node.write(&format!("{DEVICE}/modalias"), "pci:v00008086d0000100Esv00001AF4sd00001100bc02sc00i00\n");
        let driver = node.path("sys/module/e1000/drivers/pci:e1000");
        std::fs::create_dir_all(&driver).unwrap();
        std::os::unix::fs::symlink(node.path(DEVICE), driver.join("0000:00:04.0")).unwrap();
        let outcome = node.load();
        assert_eq!(outcome.code == 0, works, "{}", outcome.log);
        if !works {
            assert!(outcome.log.contains("did not take 0000:00:04.0, which e1000 had"), "{}", outcome.log);
            node.assert_in_tree();
        }
    }
}

#[test]
fn a_loaded_module_without_taint_o_is_taken_out_again() {
    let node = accepted(&[oot().with("taint", "E").with("depends", "")]);
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("without taint O"), "{}", outcome.log);
    assert!(node.loaded("e1000"));
    assert!(!node.loaded("day1_nic"));
}

#[test]
fn a_hanging_init_does_not_hold_the_boot() {
    let node = accepted(&[oot().with("init", "hang")]);
    node.set("LOAD_TIMEOUT=3");
    let started = std::time::Instant::now();
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    assert!(outcome.log.contains("no end after"), "{}", outcome.log);
    // Gone, or dead and not yet reaped.
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.read("hanging").trim()));
    assert!(stat.is_err() || stat.is_ok_and(|stat| stat.contains(") Z ")), "it may still load the module later");
    node.assert_in_tree();
}

#[test]
fn a_mount_that_takes_too_long_is_no_damage() {
    let node = accepted(&[oot()]);
    node.set("LOAD_TIMEOUT=2");
    node.write("mount-hangs", "");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("cannot mount image"), "{}", outcome.log);
    assert_eq!(node.read("run/day1/99-day1/load-result"), "failed\n", "the image must not be thrown away");
}

#[test]
fn no_swap_begins_without_time_for_it() {
    let node = accepted(&[oot()]);
    node.set("LOAD_TIMEOUT=0");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("raise load_timeout"), "{}", outcome.log);
    assert!(node.calls("rmmod").is_empty());
    node.assert_in_tree();
}

#[test]
fn recovery_after_a_kill_puts_the_in_tree_module_back_once() {
    let node = accepted(&[oot()]);
    node.write("run/day1/99-day1/removed", "e1000\n");
    node.write("run/modprobe.d/day1-99-day1.conf", "install e1000 /bin/false\n");
    node.remove("sys/module/e1000");
    let outcome = node.recover();
    assert_eq!(outcome.code, 0);
    assert!(outcome.log.contains("in-tree again: e1000"), "{}", outcome.log);
    node.assert_in_tree();
    assert_eq!(node.recover().log, "");
}

#[test]
fn recovery_after_a_success_does_nothing() {
    let node = accepted(&[oot()]);
    node.load();
    assert_eq!(node.recover().log, "");
    assert!(node.loaded("day1_nic") && !node.loaded("e1000"));
}

#[test]
fn holders_must_be_listed_before_what_they_hold() {
    for (order, works) in [(["e1000", "irdma"], false), (["irdma", "e1000"], true)] {
        let node = StubNode::with(|builder| builder.in_tree_modules_to_remove(order));
        node.push_good();
        let node = node.with_pulled_image();
        node.add_kernel_module("irdma");
        node.load_in_tree("irdma");
        node.write("sys/module/e1000/holders/irdma", "");
        node.write("sys/module/e1000/refcnt", "1\n");
        let outcome = node.load();
        assert_eq!(outcome.code == 0, works, "{}", outcome.log);
        assert_eq!(node.loaded("e1000"), !works);
        assert_eq!(node.loaded("irdma"), !works, "nothing is unloaded in the wrong order");
        if !works {
            assert!(outcome.log.contains("list irdma before e1000"), "{}", outcome.log);
        }
    }
}

#[test]
fn a_module_in_use_is_refused_before_anything_is_unloaded() {
    let node = accepted(&[oot()]);
    node.write("sys/module/e1000/refcnt", "1\n");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("e1000 is in use (reference count 1)"), "{}", outcome.log);
    node.assert_in_tree();
}

#[test]
fn if_the_second_removal_fails_the_first_is_undone() {
    let node = StubNode::with(|builder| builder.in_tree_modules_to_remove(["irdma", "e1000"]));
    node.push_good();
    let node = node.with_pulled_image();
    node.add_kernel_module("irdma");
    node.load_in_tree("irdma");
    node.write("busy-e1000", "");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("cannot unload in-tree module e1000"), "{}", outcome.log);
    assert!(node.loaded("irdma"));
    node.assert_in_tree();
}

#[test]
fn what_a_removed_module_depended_on_stays() {
    let node = StubNode::with(|builder| builder.in_tree_modules_to_remove(["irdma"]));
    node.push_good();
    let node = node.with_pulled_image();
    node.add_kernel_file(&ModuleFile::in_tree("irdma").with("depends", "e1000"));
    node.load_in_tree("irdma");
    node.write("sys/module/e1000/holders/irdma", "");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(!node.loaded("irdma") && node.loaded("day1_nic"));
    assert!(node.loaded("e1000"), "it drives a NIC and is not in the list");
}

#[test]
fn a_built_in_module_is_refused() {
    for make in [(|node: &StubNode| node.remove("sys/module/e1000/initstate")) as fn(&StubNode), |node| {
        node.write(&format!("lib/modules/{KERNEL}/modules.builtin"), "kernel/a.ko\nkernel/drivers/e1000.ko\n")
    }] {
        let node = accepted(&[oot()]);
        make(&node);
        let outcome = node.load();
        assert_eq!(outcome.code, 1);
        assert!(outcome.log.contains("e1000 is built into kernel"), "{}", outcome.log);
        assert!(!node.read("calls").contains("rmmod"));
    }
}

#[test]
fn dash_and_underscore_are_the_same() {
    let node = StubNode::with(|builder| builder.in_tree_modules_to_remove(["virtio-net"]));
    node.push("id1", KERNEL, &[ModuleFile::out_of_tree("day1-nic")]);
    let node = node.with_pulled_image();
    node.add_kernel_module("virtio-net");
    node.load_in_tree("virtio_net");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(node.loaded("day1_nic") && !node.loaded("virtio_net"));
}

#[test]
fn an_in_tree_module_of_the_same_name_is_told_apart() {
    // Listed for removal, which is the default: replaced.
    let listed = StubNode::with(|builder| builder.in_tree_modules_to_remove(["day1_nic"]));
    // Not listed: the in-tree one still runs, which is no success.
    let unlisted = StubNode::with(|builder| builder.in_tree_modules_to_remove([] as [&str; 0]));
    for (node, works) in [(listed, true), (unlisted, false)] {
        node.push_good();
        let node = node.with_pulled_image();
        node.add_kernel_module("day1_nic");
        node.load_in_tree("day1_nic");
        let outcome = node.load();
        assert_eq!(outcome.code == 0, works, "{}", outcome.log);
        let running = node.read("sys/module/day1_nic/srcversion");
        assert_eq!(running.trim(), if works { "OOTday1_nic" } else { "INTREEday1_nic" });
        if works {
            assert_eq!(node.read("run/modprobe.d/day1-99-day1.conf"), "");
        } else {
            assert!(outcome.log.contains("the in-tree module still runs"), "{}", outcome.log);
        }
    }
}

#[test]
fn another_version_that_the_node_image_brought_is_replaced_where_it_is_listed() {
    let listed = StubNode::with(|builder| builder.in_tree_modules_to_remove(["e1000", "day1_nic"]));
    let unlisted = StubNode::with(|builder| builder.in_tree_modules_to_remove(["e1000"]));
    for (node, works) in [(listed, true), (unlisted, false)] {
        node.push_good();
        let node = node.with_pulled_image();
        node.remove("sys/module/e1000");
        node.load_in_tree("day1_nic");
        node.write("sys/module/day1_nic/taint", "OE\n");
        let outcome = node.load();
        assert_eq!(outcome.code == 0, works, "{}", outcome.log);
        let running = node.read("sys/module/day1_nic/srcversion");
        assert_eq!(running.trim(), if works { "OOTday1_nic" } else { "INTREEday1_nic" });
        if !works {
            assert!(outcome.log.contains("which the node image brought"), "{}", outcome.log);
            assert!(node.calls("rmmod").is_empty());
        }
    }
}

#[test]
fn an_in_tree_module_that_came_back_beside_the_new_one_is_removed() {
    let node = accepted(&[oot()]);
    node.load();
    node.load_in_tree("e1000");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(node.loaded("day1_nic") && !node.loaded("e1000"));
}

#[test]
fn firmware_is_copied_with_dotfiles_and_labelled_before_the_load() {
    let node = StubNode::with(|builder| builder.firmware_files_path("/opt/firmware/"));
    node.push_good();
    node.write(&format!("{}/opt/firmware/day1/nic.bin", node.pushed_root()), "fw");
    node.write(&format!("{}/opt/firmware/.hidden", node.pushed_root()), "fw");
    node.write("sys/fs/selinux/enforce", "1");
    let node = node.with_pulled_image();
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert_eq!(node.read("sys/module/firmware_class/parameters/path"), "/var/lib/firmware");
    assert_eq!(node.read("var/lib/firmware/day1/nic.bin"), "fw");
    assert_eq!(node.read("var/lib/firmware/.hidden"), "fw");
    let calls = node.read("calls");
    assert!(calls.find("chcon").unwrap() < calls.find("rmmod").unwrap());
}

#[test]
fn with_selinux_modprobe_gets_copies_that_are_labelled_as_the_kernel_s_own_modules() {
    let node = accepted(&[oot()]);
    node.write("sys/fs/selinux/enforce", "1");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    let calls = node.read("calls");
    let labelled = calls.lines().find(|call| call.starts_with("chcon")).expect("a label");
    assert!(labelled.contains(&format!("/lib/modules/{KERNEL}/kernel ")), "{labelled}");
    let copy = labelled.rsplit(' ').next().expect("a file");
    assert!(copy.contains("/labelled/") && copy.ends_with("/day1_nic.ko"), "{labelled}");
    assert!(calls.find("chcon").unwrap() < calls.find("rmmod").unwrap());
    assert!(!std::path::Path::new(copy).exists(), "the copy is still there");
}

#[test]
fn with_selinux_modules_behind_links_are_copied_too() {
    for (link, target, indexed) in [
        ("day1_nic.ko", "../common/day1_nic.ko", "day1_nic.ko"),
        ("extra", "../common", "extra/day1_nic.ko"),
        ("", "common", "day1_nic.ko"),
    ] {
        let node = StubNode::new();
        node.push("id1", "common", &[oot()]);
        let modules = format!("{}/opt/lib/modules", node.pushed_root());
        let index = if link.is_empty() { "common" } else { KERNEL };
        node.write(&format!("{modules}/{index}/modules.dep"), &format!("{indexed}:\n"));
        let link = node.path(&format!("{modules}/{KERNEL}/{link}"));
        std::os::unix::fs::symlink(target, link.to_str().unwrap().trim_end_matches('/')).unwrap();
        let node = node.with_pulled_image();
        node.write("sys/fs/selinux/enforce", "1");
        let outcome = node.load();
        assert_eq!(outcome.code, 0, "{indexed}: {}", outcome.log);
        assert!(node.loaded("day1_nic") && !node.loaded("e1000"));
        assert!(node.exists(&format!("{}/opt/lib/modules/common/day1_nic.ko", node.stored_root("id1"))));
    }
}

/// The second one leads out of the directory of the node's modules, as weak-modules has them.
#[test]
fn with_selinux_the_node_s_own_modules_are_found_and_stay_what_they_are() {
    for own in ["kernel/mii.ko", "weak-updates/mii.ko"] {
        let node = StubNode::new();
        node.push("id1", KERNEL, &[oot().with("depends", "mii")]);
        let tree = format!("{}/opt/lib/modules/{KERNEL}", node.pushed_root());
        let modules = format!("lib/modules/{KERNEL}");
        std::os::unix::fs::symlink(node.path(&modules), node.path(&format!("{tree}/host"))).unwrap();
        node.write(&format!("{tree}/modules.dep"), &format!("day1_nic.ko: host/{own}\nhost/{own}:\n"));
        node.add_kernel_module("mii");
        if own.starts_with("weak") {
            node.write(&format!("{modules}/weak-updates/.keep"), "");
            let file = node.path(&format!("{modules}/kernel/mii.ko"));
            node.write("lib/modules/other/mii.ko", &std::fs::read_to_string(&file).unwrap());
            std::fs::remove_file(file).unwrap();
            std::os::unix::fs::symlink("../../other/mii.ko", node.path(&format!("{modules}/{own}"))).unwrap();
        }
        let node = node.with_pulled_image();
        node.write("sys/fs/selinux/enforce", "1");
        let outcome = node.load();
        assert_eq!(outcome.code, 0, "{own}: {}", outcome.log);
        assert!(node.loaded("day1_nic") && node.loaded("mii"));
        assert!(node.path(&format!("{modules}/{own}")).is_file());
    }
}

#[test]
fn where_selinux_is_permissive_nothing_needs_a_label() {
    let node = accepted(&[oot()]);
    node.write("sys/fs/selinux/enforce", "0");
    node.write("chcon-fails", "");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(!node.read("calls").contains("chcon"));
}

#[test]
fn what_can_t_be_labelled_is_told_before_anything_is_changed() {
    let node = accepted(&[oot()]);
    node.write("sys/fs/selinux/enforce", "1");
    node.write("chcon-fails", "");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("cannot label the modules of image"), "{}", outcome.log);
    assert!(outcome.log.contains("Operation not supported"), "{}", outcome.log);
    assert!(node.loaded("e1000") && !node.loaded("day1_nic"));
}

#[test]
fn damaged_firmware_is_noticed() {
    let node = StubNode::with(|builder| builder.firmware_files_path("/opt/firmware"));
    node.push_good();
    node.write(&format!("{}/opt/firmware/nic.bin", node.pushed_root()), "fw");
    let node = node.with_pulled_image();
    node.write(&format!("{}/opt/firmware/nic.bin", node.stored_root("id1")), "");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("is damaged on this node"), "{}", outcome.log);
    node.assert_in_tree();
}

#[test]
fn dependencies_in_the_image_are_loaded_too_and_may_not_be_on_the_removal_list() {
    let compat = ModuleFile::out_of_tree("day1_compat");
    let node = accepted(&[oot().with("depends", "day1_compat"), compat]);
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(node.loaded("day1_compat"));

    // Through the link to the node's own modules.
    let node = StubNode::new();
    node.push("id1", KERNEL, &[oot().with("depends", "e1000")]);
    let tree = format!("{}/opt/lib/modules/{KERNEL}", node.pushed_root());
    std::os::unix::fs::symlink(node.path(&format!("lib/modules/{KERNEL}")), node.path(&format!("{tree}/host")))
        .unwrap();
    node.write(&format!("{tree}/modules.dep"), "day1_nic.ko: host/kernel/e1000.ko\nhost/kernel/e1000.ko:\n");
    let outcome = node.pull();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("own e1000, which is in the list of modules to remove"), "{}", outcome.log);
}

/// In-tree e1000 uses in-tree day1_core; the image has day1_nic and a day1_core of its own.
fn driver_of_two_modules(remove: &[&str], init: &str) -> StubNode {
    let node = StubNode::with(|builder| builder.in_tree_modules_to_remove(remove.iter().copied()));
    let module = oot().with("depends", "day1_core").with("init", init);
    node.push("id1", KERNEL, &[module, ModuleFile::out_of_tree("day1_core")]);
    let node = node.with_pulled_image();
    node.add_kernel_module("day1_core");
    node.load_in_tree("day1_core");
    node.write("sys/module/day1_core/holders/e1000", "");
    node
}

#[test]
fn a_driver_of_several_modules_replaces_them_all() {
    let node = driver_of_two_modules(&["e1000", "day1_core"], "");
    let outcome = node.load();
    assert_eq!(outcome.code, 0, "{}", outcome.log);
    assert!(node.loaded("day1_nic") && !node.loaded("e1000"));
    assert_eq!(node.read("sys/module/day1_core/srcversion"), "OOTday1_core\n");
    assert_eq!(node.read("run/modprobe.d/day1-99-day1.conf"), "blacklist e1000\ninstall e1000 /bin/false\n");
    node.write("calls", "");
    let again = node.load();
    assert_eq!(again.code, 0, "{}", again.log);
    assert!(again.log.contains("nothing to do") && node.calls("rmmod").is_empty(), "{}", again.log);
}

#[test]
fn a_driver_of_several_modules_that_fails_brings_all_in_tree_ones_back() {
    let node = driver_of_two_modules(&["e1000", "day1_core"], "fail");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("in-tree again: day1_core e1000"), "{}", outcome.log);
    assert_eq!(node.read("sys/module/day1_core/srcversion"), "INTREEday1_core\n");
    node.assert_in_tree();
}

#[test]
fn an_in_tree_dependency_that_the_image_would_replace_must_be_listed() {
    let node = driver_of_two_modules(&["e1000"], "");
    let outcome = node.load();
    assert_eq!(outcome.code, 1);
    assert!(outcome.log.contains("add day1_core to the in-tree modules to remove"), "{}", outcome.log);
    assert!(node.calls("rmmod").is_empty());
    node.assert_in_tree();
}
