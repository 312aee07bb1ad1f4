//! What is found only by looking at several places at once.

use super::rules::{LATE, of_spec_2};
use super::*;

#[test]
fn what_the_mco_does_not_convert_is_refused() {
    assert!(found(&[&of_spec_2("data")]).contains("mco-refuses"));
    assert!(found(&[&swapped("3.2.0", "2.2.0")]).contains("mco-refuses"), "no filesystem");
    let networkd = "    networkd:\n      units: [{name: a.network}]\n";
    assert!(found(&[&(of_spec_2("root") + networkd)]).contains("mco-refuses"));
    // Words of the MachineConfig itself are looked at, whatever else is not.
    for config in [of_spec_2("root"), one(UNIT, SCRIPT).replace("      machineconfiguration", "      x")] {
        let fast = config.replacen("spec:\n", "spec:\n  kernelType: fast\n", 1);
        assert!(!found(&[&config]).contains("mco-refuses") && found(&[&fast]).contains("mco-refuses"));
    }
}

#[test]
fn an_answer_that_has_a_consequence_is_no_lost_failure() {
    for script in [
        "if [ $? -eq 0 ]; then exit 0; fi\necho failed\nexit 1",
        "if [ $? -eq 0 ]; then echo ok; exit 0; else echo failed; fi\nexit 1",
        "if [ $? -eq 0 ]; then echo 1 > /var/lib/driver.ok; else echo failed; fi\ngrep -q 1 /var/lib/driver.ok",
    ] {
        assert_eq!(found(&[&loose(&format!("modprobe driver\n{script}"))]), BTreeSet::new(), "{script}");
    }
    for script in [
        "if modprobe driver; then echo ok; exit 0; else echo failed; fi\nexit 1",
        "said=$(if modprobe driver; then echo up; else echo down; fi)\n[ \"$said\" = up ]",
        "if modprobe driver; then echo up; else echo down; fi | grep -q up",
        "if modprobe driver; then echo up; else echo down; fi > /run/state",
        "if ! modprobe driver; then printf -v said down; fi\n[ -z \"$said\" ]",
    ] {
        assert_eq!(found(&[&strict(script)]), BTreeSet::new(), "{script}");
    }
    // `set -e` is off in a condition.
    for script in [
        "if modprobe a && modprobe driver; then echo ok; else echo failed; fi",
        "if (modprobe driver); then echo ok; else echo failed 2>/dev/null; fi",
    ] {
        assert_eq!(found(&[&strict(script)]), ["failure-ignored".to_owned()].into(), "{script}");
    }
}

#[test]
fn units_in_files_are_started_and_masked_by_links_and_files() {
    let config = |name: &str, text: &str, links: &[(&str, &str)]| {
        let path = format!("/etc/systemd/system/{name}");
        let yaml = machine_config("99-worker-x", &[], &[(&path, "0644", text)]) + "      links:\n";
        let links = links.iter().map(|(path, target)| format!("        - path: {path}\n          target: {target}\n"));
        yaml + &links.collect::<String>()
    };
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let plain = "[Service]\nType=oneshot\nExecStart=/usr/bin/true\n";
    let only_links = ["unreconcilable".to_owned()].into();
    let link = format!("{wants}/x.service");
    assert_eq!(found(&[&config("x.service", plain, &[(&link, "../x.service")])]), only_links, "no [Install] is needed");
    let instance = format!("{wants}/nic@0.service");
    assert_eq!(found(&[&config("nic@.service", LATE, &[(&instance, "../nic@.service")])]), only_links);
    assert_eq!(found(&[&config("x.service", &plain.replace('\n', "\r\n"), &[(&link, "../x.service")])]), only_links);
    assert!(found(&[&config("nic@.service", LATE, &[("/etc/x", "y")])]).contains("not-enabled"));
    // An empty unit is a masked one.
    assert!(found(&[&config("crio-wipe.service", "", &[("/etc/x", "y")])]).contains("masked"));
    // The last drop-in by name holds, wherever it stands.
    let dropins = |first: &str, second: &str| {
        let unit = UNIT.replace("TimeoutStartSec=120\n", "");
        let dropin = |name: &str, limit: &str| {
            (
                format!("/etc/systemd/system/driver.service.d/{name}.conf"),
                format!("[Service]\nTimeoutStartSec={limit}\n"),
            )
        };
        let (a, b) = (dropin("20", first), dropin("10", second));
        let script = ("/usr/local/bin/driver.sh", "0755", SCRIPT);
        let files = [script, (&a.0, "0644", &a.1), (&b.0, "0644", &b.1)];
        machine_config("99-worker-driver", &[("driver.service", "true", &unit)], &files)
    };
    assert_eq!(found(&[&dropins("120", "infinity")]), BTreeSet::new());
    assert_eq!(found(&[&dropins("infinity", "120")]), ["no-timeout".to_owned()].into());
    let before = "[Unit]\nBefore=kubelet.service\n";
    let dropin = machine_config("99-worker-x", &[], &[("/etc/systemd/system/a.service.d/1.conf", "0644", before)]);
    assert_eq!(found(&[&dropin]), BTreeSet::new(), "neither type nor limit is known");
}
