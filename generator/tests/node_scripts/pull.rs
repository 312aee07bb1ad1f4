//! The pull script against stubs: when it pulls, when it reboots, and when it must not.

use crate::stub_node::{KERNEL, ModuleFile, StubNode, VERMAGIC, outcome};

fn oot() -> ModuleFile {
    ModuleFile::out_of_tree("day1_nic")
}

#[test]
fn an_image_that_is_not_here_is_pulled_verified_and_booted_into() {
    let node = StubNode::new();
    node.push_good();
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert_eq!(node.reboots_asked(), 1);
    assert_eq!(node.read(&node.config.reboot_counter_path()), "1\n");
    let record = node.read(&format!("{}/records/{KERNEL}", node.config.state_directory()));
    assert!(
        record.starts_with("reference=quay.io/day1/day1-nic:6.12.41_deb13-amd64\nfirmware=\nimage=id1\n"),
        "{record}"
    );
    assert!(record.contains("day1_nic.ko"), "{record}");
    assert_eq!(node.read("mounts"), "", "the image is unmounted");
    // On disk before the reboot is asked for.
    let calls = node.read("calls");
    assert!(calls.rfind("sync ").unwrap() < calls.find("systemctl reboot").unwrap());
    node.assert_in_tree();
}

#[test]
fn after_a_successful_load_the_registry_is_not_asked() {
    let node = StubNode::new();
    node.push_good();
    let node = node.with_pulled_image();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert!(pull.log.contains("is here, nothing to do"), "{}", pull.log);
    assert!(!node.read("calls").contains(" pull "), "{}", node.read("calls"));
    assert_eq!(node.reboots_asked(), 0);
}

#[test]
fn the_pull_secret_is_used_if_it_is_there() {
    for there in [true, false] {
        let node = StubNode::new();
        node.push_good();
        if there {
            node.write("var/lib/kubelet/config.json", "{}");
        }
        assert_eq!(node.pull().code, 0);
        assert_eq!(node.read("calls").contains("--authfile"), there);
    }
}

#[test]
fn a_registry_that_comes_up_late_is_waited_for() {
    let node = StubNode::new();
    node.push_good();
    node.write("registry/down", "4");
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert!(pull.log.contains("attempt 4 to pull"), "{}", pull.log);
    assert!(pull.log.contains("connection refused; the next in"), "{}", pull.log);
    assert_eq!(node.calls("sleep ")[..4], ["sleep 5", "sleep 10", "sleep 20", "sleep 40"]);
    assert_eq!(node.reboots_asked(), 1);
}

#[test]
fn a_clock_that_is_set_late_is_waited_for() {
    let node = StubNode::new();
    node.push_good();
    node.write("registry/down", "5");
    node.write("registry/says", "tls: failed to verify certificate: x509: certificate has expired or is not yet valid");
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert!(pull.log.contains("attempt 5 to pull"), "{}", pull.log);
}

#[test]
fn every_name_of_a_machine_config_works() {
    let node = StubNode::named("reboot.lock");
    node.push_good();
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert_eq!(node.reboots_asked(), 1);
}

#[test]
fn a_registry_that_is_never_reached_fails_the_unit_in_bounded_time_without_a_reboot() {
    let node = StubNode::with(|builder| builder.pull_timeout(std::time::Duration::from_secs(20)));
    node.write("registry/down", "1000");
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("day1: error: cannot pull quay.io/day1/day1-nic:6.12.41_deb13-amd64"), "{}", pull.log);
    assert!(pull.log.contains("connection refused"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0);
    node.assert_in_tree();
}

#[test]
fn a_missing_tag_is_tried_thrice() {
    let node = StubNode::new();
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("after 3 attempts"), "{}", pull.log);
    assert!(pull.log.contains("manifest unknown"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0);
}

/// What the image does wrong, and what the unit says about it.
#[test]
fn no_reboot_for_an_image_that_this_kernel_cannot_load() {
    let wrong_magic = VERMAGIC.replace("6.12.41", "6.12.40");
    for (modules, kernel, reason) in [
        (vec![oot().with("vermagic", &wrong_magic)], KERNEL, "has vermagic '6.12.40"),
        (vec![oot()], "6.12.99", "it is made for: 6.12.99"),
        (vec![ModuleFile::out_of_tree("other")], KERNEL, "Module day1_nic not found"),
        (vec![oot().with("depends", "day1_compat")], KERNEL, "Module day1_compat not found"),
    ] {
        let node = StubNode::new();
        node.push("id1", kernel, &modules);
        let pull = node.pull();
        assert_eq!(pull.code, 1, "{reason}");
        assert!(pull.log.contains(reason), "wanted {reason:?} in {}", pull.log);
        assert_eq!(node.reboots_asked(), 0);
        node.reboot();
        assert_eq!(node.condition().code, 1, "it is not taken for a verified image");
        node.assert_in_tree();
    }
}

#[test]
fn an_image_without_modules_dep_is_refused() {
    let node = StubNode::new();
    node.push_good();
    node.remove(&format!("{}/opt/lib/modules/{KERNEL}/modules.dep", node.pushed_root()));
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("run 'depmod -b /opt 6.12.41+deb13-amd64'"), "{}", pull.log);
}

fn ship_symvers(node: &StubNode, line: &str) {
    let gz = node.path(&format!("lib/modules/{KERNEL}/symvers.gz"));
    let status = std::process::Command::new("bash")
        .args(["-c", "printf '%s\\n' \"$1\" | gzip >\"$2\"", "gzip", line])
        .arg(gz)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_module_with_symbol_crcs_may_come_from_another_release_but_not_with_another_crc() {
    let other_release = oot().with("vermagic", "6.12.1 SMP preempt mod_unload modversions ");
    for (crc, works) in [("0xaaaa1111", true), ("0xbbbb2222", false)] {
        let node = StubNode::new();
        ship_symvers(&node, "0xaaaa1111\tregister_netdev\tvmlinux\tEXPORT_SYMBOL");
        node.push("id1", KERNEL, &[other_release.clone().with("crcs", &format!("{crc} register_netdev"))]);
        let pull = node.pull();
        assert_eq!(pull.code == 0, works, "{}", pull.log);
        if !works {
            assert!(pull.log.contains("disagrees about version of symbol register_netdev"), "{}", pull.log);
        }
    }
}

#[test]
fn without_a_list_of_symbols_the_kernels_own_modules_tell_their_crcs() {
    for (depends, works) in [("", false), ("mii", true)] {
        let node = StubNode::new();
        // What a module with dependencies was built against may be another module's.
        let own = ModuleFile::in_tree("e1000").with("crcs", "0xaaaa1111 module_layout").with("depends", depends);
        node.add_kernel_file(&own);
        node.push("id1", KERNEL, &[oot().with("crcs", "0xbbbb2222 module_layout")]);
        let pull = node.pull();
        assert_eq!(pull.code == 0, works, "{}", pull.log);
        assert_ne!(pull.log.contains("disagrees about version of symbol module_layout"), works, "{}", pull.log);
    }
}

#[test]
fn a_dependency_that_modules_dep_names_and_the_image_lacks_is_seen_before_the_reboot() {
    let node = StubNode::new();
    node.push("id1", KERNEL, &[oot().with("depends", "day1_core"), ModuleFile::out_of_tree("day1_core")]);
    node.remove(&format!("{}/opt/lib/modules/{KERNEL}/day1_core.ko", node.pushed_root()));
    let pull = node.pull();
    assert_eq!(pull.code, 1, "{}", pull.log);
    assert!(
        pull.log.contains("or a module it depends on is missing") && pull.log.contains("day1_core"),
        "{}",
        pull.log
    );
}

#[test]
fn a_symbol_that_the_image_brings_in_another_version_than_the_kernels_module_is_no_fault() {
    let node = StubNode::new();
    ship_symvers(&node, "0xaaaa1111\tcore_probe\tdrivers/net/day1_core\tEXPORT_SYMBOL");
    let module = oot().with("depends", "day1_core").with("crcs", "0xbbbb2222 core_probe");
    node.push("id1", KERNEL, &[module, ModuleFile::out_of_tree("day1_core")]);
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
}

#[test]
fn a_softdep_after_the_module_is_not_taken_for_it() {
    let node = StubNode::new();
    node.push("id1", KERNEL, &[oot().with("post", "day1_aux"), ModuleFile::out_of_tree("day1_aux")]);
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
}

#[test]
fn a_module_that_only_the_node_has_is_no_module_of_the_image() {
    let node = StubNode::new();
    node.add_kernel_module("day1_nic");
    node.push("id1", KERNEL, &[]);
    let tree = format!("{}/opt/lib/modules/{KERNEL}", node.pushed_root());
    std::os::unix::fs::symlink(node.path(&format!("lib/modules/{KERNEL}")), node.path(&format!("{tree}/host")))
        .unwrap();
    node.write(&format!("{tree}/modules.dep"), "host/kernel/day1_nic.ko:\n");
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("has no file of its own for module day1_nic"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0);
}

#[test]
fn an_unsigned_module_is_refused_where_signatures_are_enforced() {
    for (file, text, enforced) in [
        ("sys/module/module/parameters/sig_enforce", "Y\n", true),
        ("sys/module/module/parameters/sig_enforce", "N\n", false),
        ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n", true),
        ("sys/kernel/security/lockdown", "[none] integrity confidentiality\n", false),
    ] {
        for signed in [true, false] {
            let node = StubNode::new();
            node.write(file, text);
            node.push("id1", KERNEL, &[if signed { oot().with("sig_id", "PKCS#7") } else { oot() }]);
            let pull = node.pull();
            assert_eq!(pull.code == 0, signed || !enforced, "{file} {text} {}", pull.log);
        }
    }
}

#[test]
fn an_empty_or_missing_firmware_path_is_refused() {
    for path in ["/opt/firmware", "/opt/lib/modules/6.12.41/none"] {
        let node = StubNode::with(|builder| builder.firmware_files_path(path));
        node.push_good();
        std::fs::create_dir_all(node.path(&format!("{}/opt/firmware", node.pushed_root()))).unwrap();
        let pull = node.pull();
        assert_eq!(pull.code, 1);
        assert!(pull.log.contains("has no file below its firmware path"), "{}", pull.log);
        assert_eq!(node.reboots_asked(), 0);
    }
}

#[test]
fn reboots_are_bounded_and_the_end_says_how_to_go_on() {
    let node = StubNode::with(|builder| builder.reboot_limit(2));
    node.push_good();
    for _ in 0..2 {
        assert_eq!(node.pull().code, 0);
        assert_eq!(node.reboots_asked(), 1);
        node.reboot();
        // The store is lost with each boot, as on a disk that is formatted anew.
        node.remove(&node.config.state_directory());
    }
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert_eq!(node.reboots_asked(), 0);
    assert!(pull.log.contains("2 reboots in a row"), "{}", pull.log);
    assert!(pull.log.contains("remove /etc/day1/99-day1/reboots"), "{}", pull.log);
}

#[test]
fn a_counter_that_cannot_be_read_counts_as_full() {
    for damage in ["x\n", "", "08\n", "99999999999999999999\n", "-1\n", "1\n1\n"] {
        let node = StubNode::new();
        node.push_good();
        node.write(&node.config.reboot_counter_path(), damage);
        let pull = node.pull();
        assert_eq!(pull.code, 1, "{damage:?}");
        assert!(pull.log.contains("remove /etc/day1/99-day1/reboots"), "{damage:?} {}", pull.log);
        assert_eq!(node.reboots_asked(), 0);
    }
    let node = StubNode::new();
    node.push_good();
    std::fs::create_dir_all(node.path(&node.config.reboot_counter_path())).unwrap();
    assert_eq!(node.pull().code, 1);
    assert_eq!(node.reboots_asked(), 0);
}

#[test]
fn an_image_lost_after_its_module_was_loaded_is_pulled_without_a_reboot() {
    let node = StubNode::new();
    node.push_good();
    let node = node.with_pulled_image();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
    node.remove(&node.config.state_directory());
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert!(pull.log.contains("is here and verified"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0, "the counter is 0 again, so this would never end");
}

#[test]
fn a_node_in_ram_is_refused_without_a_pull() {
    for kind in ["tmpfs", "overlay"] {
        let node = StubNode::new();
        node.push_good();
        node.write("volatile", kind);
        let pull = node.pull();
        assert_eq!(pull.code, 1);
        assert!(pull.log.contains(&format!("is on {kind} and does not outlive a reboot")), "{}", pull.log);
        assert!(!node.read("calls").contains(" pull "));
        assert_eq!(node.reboots_asked(), 0);
    }
}

#[test]
fn a_damaged_image_is_thrown_away_and_pulled_again() {
    let node = StubNode::new();
    node.push_good();
    let node = node.with_pulled_image();
    let file = format!("{}/opt/lib/modules/{KERNEL}/day1_nic.ko", node.stored_root("id1"));
    node.write(&file, "");
    assert_eq!(node.load().code, 1);
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert_eq!(node.reboots_asked(), 1);
    node.reboot();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
}

#[test]
fn layers_of_a_pull_that_was_cut_are_never_used() {
    let node = StubNode::new();
    node.push_good();
    // Power went: the layer looks complete and is truncated, there is no record, the marker is still there.
    node.write(&format!("{}/opt/lib/modules/{KERNEL}/modules.dep", node.stored_root("id1")), "");
    node.write(&format!("{}/pulling", node.config.state_directory()), "");
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert!(pull.log.contains("an earlier pull was cut"), "{}", pull.log);
    assert!(!node.exists(&format!("{}/pulling", node.config.state_directory())));
}

#[test]
fn after_a_failed_load_only_a_newer_image_brings_a_reboot() {
    let node = StubNode::new();
    node.push("id1", KERNEL, &[oot().with("init", "fail")]);
    let node = node.with_pulled_image();
    assert_eq!(node.load().code, 1);
    let pull = node.pull();
    assert_eq!(pull.code, 0, "the load unit is the failed one: {}", pull.log);
    assert!(pull.log.contains("the registry has no newer one"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0);

    node.write("registry/down", "5");
    let pull = node.pull();
    assert_eq!((pull.code, node.reboots_asked()), (0, 0), "{}", pull.log);
    assert!(pull.log.contains("the registry has no answer"), "{}", pull.log);
    node.remove("registry/down");

    node.push("id2", KERNEL, &[oot()]);
    let pull = node.pull();
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert_eq!(node.reboots_asked(), 1);
    node.reboot();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
}

#[test]
fn a_changed_reference_is_pulled() {
    let mut node = StubNode::new();
    node.push_good();
    node = node.with_pulled_image();
    node.config = StubNode::with(|builder| builder.tag(KERNEL, "v2")).config.clone();
    node.install(&node.config);
    node.push("id2", KERNEL, &[oot().with("srcversion", "NEW")]);
    assert_eq!(node.condition().code, 1);
    assert_eq!(node.pull().code, 0);
    assert_eq!(node.reboots_asked(), 1);
    node.reboot();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
    assert_eq!(node.read("sys/module/day1_nic/srcversion"), "NEW\n");
}

#[test]
fn a_reference_that_changes_under_a_loaded_module_is_pulled_now_and_loaded_at_the_next_boot() {
    let mut node = StubNode::new();
    node.push_good();
    node = node.with_pulled_image();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
    let before = node.read("sys/module/day1_nic/srcversion");
    node.config = StubNode::with(|builder| builder.tag(KERNEL, "v2")).config.clone();
    node.install(&node.config);
    node.push("id2", KERNEL, &[oot().with("srcversion", "NEW")]);
    // As a node disruption policy restarts the unit.
    let pull = node.pull();
    assert_eq!((pull.code, node.reboots_asked()), (0, 0), "{}", pull.log);
    assert!(pull.log.contains("stays; the next boot loads it from"), "{}", pull.log);
    assert_eq!(node.read("sys/module/day1_nic/srcversion"), before);
    // A power cut asks nobody.
    node.reboot();
    assert_eq!((node.condition().code, node.load().code), (0, 0));
    assert_eq!(node.read("sys/module/day1_nic/srcversion"), "NEW\n");
    assert_eq!(node.pull().code, 0);
    assert_eq!(node.reboots_asked(), 0);
}

#[test]
fn an_image_pulled_earlier_in_this_boot_waits_for_its_reboot() {
    let node = StubNode::new();
    node.push_good();
    node.write("reboot-never-comes", "");
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("has not come"), "{}", pull.log);
    node.remove("reboot-never-comes");
    node.write("calls", "");
    assert_eq!(node.pull().code, 0);
    assert_eq!(node.reboots_asked(), 1);
    assert!(!node.read("calls").contains(" pull "));
}

#[test]
fn an_image_that_was_here_at_boot_while_the_load_never_ran_is_no_reason_to_reboot() {
    let node = StubNode::new();
    node.push_good();
    let node = node.with_pulled_image();
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("did not run in this boot"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0);
}

#[test]
fn images_of_older_kernels_go_after_a_success() {
    let node = StubNode::new();
    let state = node.config.state_directory();
    for (kernel, id, age) in [("6.12.10", "old1", "3 days ago"), ("6.12.20", "old2", "2 days ago")] {
        node.write(&format!("{state}/records/{kernel}"), &format!("reference=r\nfirmware=\nimage={id}\n\n"));
        node.write(&format!("{state}/storage/overlay-images/{id}/manifest"), "");
        let touch = std::process::Command::new("touch")
            .args(["-d", age])
            .arg(node.path(&format!("{state}/records/{kernel}")))
            .status();
        assert!(touch.unwrap().success());
    }
    node.push_good();
    let node = node.with_pulled_image();
    assert_eq!((node.condition().code, node.load().code, node.pull().code), (0, 0, 0));
    let kept = |id: &str| node.exists(&format!("{state}/storage/overlay-images/{id}"));
    assert!(!kept("old1") && kept("old2") && kept("id1"));
    assert!(!node.exists(&format!("{state}/records/6.12.10")));
}

#[test]
fn stopping_a_pull_is_no_failure_and_keeps_what_was_fetched() {
    let node = StubNode::new();
    node.push_good();
    node.write("registry/hangs", "");
    let pull = node.start_pull();
    let started = node.path("pull-started");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !started.exists() {
        assert!(std::time::Instant::now() < deadline, "the pull never started");
        std::thread::yield_now();
    }
    assert!(std::process::Command::new("kill").arg(pull.id().to_string()).status().unwrap().success());
    let pull = outcome(pull);
    assert_eq!(pull.code, 0, "{}", pull.log);
    assert!(pull.log.contains("stopped before the image was ready"), "{}", pull.log);
    assert!(!node.exists(&format!("{}/pulling", node.config.state_directory())), "nothing was cut");
    assert_eq!(node.reboots_asked(), 0);
}

#[test]
fn a_reboot_waits_for_the_pull_of_another_machine_config() {
    use std::io::Write as _;
    let node = StubNode::new();
    node.push_good();
    std::fs::create_dir_all(node.path("run/day1")).unwrap();
    // Another MachineConfig's pull holds the lock shared until its input is closed.
    let mut other = std::process::Command::new("flock")
        .arg("-s")
        .arg(node.path("run/day1/.reboot.lock"))
        .args(["sh", "-c", "echo held; read -r _"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 5];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut held).unwrap();
    node.set("PULL_TIMEOUT=1");
    let pull = node.pull();
    assert_eq!(pull.code, 1);
    assert!(pull.log.contains("another Day-1 MachineConfig has been pulling"), "{}", pull.log);
    assert_eq!(node.reboots_asked(), 0);
    other.stdin.take().unwrap().write_all(b"done\n").unwrap();
    assert!(other.wait().unwrap().success());
    assert_eq!(node.pull().code, 0);
    assert_eq!(node.reboots_asked(), 1);
}
