//! What a CoreOS node has: units of systemd, of the distribution, of the cluster's node software; directories that are links.

use crate::scenario::nearest;

/// Directories of CoreOS's root that are links into /var.
const LINKS: [(&str, &str); 6] = [
    ("/usr/local", "/var/usrlocal"),
    ("/opt", "/var/opt"),
    ("/home", "/var/home"),
    ("/root", "/var/roothome"),
    ("/srv", "/var/srv"),
    ("/mnt", "/var/mnt"),
];

/// A path with CoreOS's links followed.
pub(super) fn followed(path: &str) -> String {
    let below = |link: &str| path.strip_prefix(link).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let mut followed = LINKS.iter().filter_map(|(link, target)| Some(format!("{target}{}", below(link)?)));
    followed.next().unwrap_or_else(|| path.to_owned())
}

/// Targets of systemd (systemd.special(7) and `systemd-257/units`) and of OpenShift's nodes.
const TARGETS: [&str; 78] = [
    "basic.target",
    "blockdev@.target",
    "bluetooth.target",
    "boot-complete.target",
    "cloud-config.target",
    "cloud-init.target",
    "coreos-installer.target",
    "cryptsetup-pre.target",
    "cryptsetup.target",
    "ctrl-alt-del.target",
    "default.target",
    "emergency.target",
    "exit.target",
    "factory-reset.target",
    "final.target",
    "first-boot-complete.target",
    "getty-pre.target",
    "getty.target",
    "graphical.target",
    "halt.target",
    "hibernate.target",
    "hybrid-sleep.target",
    "ignition-complete.target",
    "ignition-diskful.target",
    "initrd-fs.target",
    "initrd-root-device.target",
    "initrd-root-fs.target",
    "initrd-switch-root.target",
    "initrd-usr-fs.target",
    "initrd.target",
    "integritysetup-pre.target",
    "integritysetup.target",
    "kexec.target",
    "kubelet-dependencies.target",
    "local-fs-pre.target",
    "local-fs.target",
    "machines.target",
    "multi-user.target",
    "network-online.target",
    "network-pre.target",
    "network.target",
    "nfs-client.target",
    "nss-lookup.target",
    "nss-user-lookup.target",
    "paths.target",
    "poweroff.target",
    "printer.target",
    "reboot.target",
    "remote-cryptsetup.target",
    "remote-fs-pre.target",
    "remote-fs.target",
    "remote-veritysetup.target",
    "rescue.target",
    "rpc_pipefs.target",
    "rpcbind.target",
    "shutdown.target",
    "sigpwr.target",
    "sleep.target",
    "slices.target",
    "smartcard.target",
    "sockets.target",
    "soft-reboot.target",
    "sound.target",
    "sshd-keygen.target",
    "suspend-then-hibernate.target",
    "suspend.target",
    "swap.target",
    "sysinit.target",
    "system-update-pre.target",
    "system-update.target",
    "time-set.target",
    "time-sync.target",
    "timers.target",
    "umount.target",
    "usb-gadget.target",
    "veritysetup-pre.target",
    "veritysetup.target",
    "virt-guest-shutdown.target",
];

/// Well-known units other than targets: those that others are ordered by.
const UNITS: [&str; 62] = [
    "NetworkManager-dispatcher.service",
    "NetworkManager-wait-online.service",
    "NetworkManager.service",
    "auditd.service",
    "chronyd.service",
    "coreos-ignition-firstboot-complete.service",
    "crio-wipe.service",
    "crio.service",
    "dbus-broker.service",
    "dbus.service",
    "dbus.socket",
    "firewalld.service",
    "gcp-hostname.service",
    "irqbalance.service",
    "iscsid.service",
    "kmod-static-nodes.service",
    "kubelet.service",
    "machine-config-daemon-firstboot.service",
    "machine-config-daemon-pull.service",
    "multipathd.service",
    "nm-cloud-setup.service",
    "node-valid-hostname.service",
    "nodeip-configuration.service",
    "openvswitch.service",
    "ostree-finalize-staged.service",
    "ostree-remount.service",
    "ovs-configuration.service",
    "ovs-vswitchd.service",
    "ovsdb-server.service",
    "podman.service",
    "podman.socket",
    "polkit.service",
    "rpc-statd.service",
    "rpcbind.service",
    "rpcbind.socket",
    "rpm-ostreed.service",
    "sshd.service",
    "sssd.service",
    "systemd-hostnamed.service",
    "systemd-journal-flush.service",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-logind.service",
    "systemd-machine-id-commit.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-networkd.service",
    "systemd-random-seed.service",
    "systemd-remount-fs.service",
    "systemd-resolved.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-tmpfiles-setup.service",
    "systemd-udev-settle.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-update-done.service",
    "systemd-update-utmp.service",
    "systemd-user-sessions.service",
    "tuned.service",
    "zincati.service",
];

/// Units that start before basic.target; to come after one of them is not yet to come after the file systems.
const EARLY: [&str; 22] = [
    "-.mount",
    "cryptsetup-pre.target",
    "dbus.socket",
    "kmod-static-nodes.service",
    "local-fs-pre.target",
    "network-pre.target",
    "ostree-remount.service",
    "slices.target",
    "system.slice",
    "systemd-journald.service",
    "systemd-journald.socket",
    "systemd-journald-dev-log.socket",
    "systemd-modules-load.service",
    "systemd-remount-fs.service",
    "systemd-sysctl.service",
    "systemd-sysusers.service",
    "systemd-tmpfiles-setup-dev.service",
    "systemd-udev-settle.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-udevd-control.socket",
    "systemd-udevd-kernel.socket",
];

pub(super) fn is_known_target(name: &str) -> bool {
    TARGETS.contains(&name) || name.starts_with("runlevel")
}

/// Units that are in every boot's transaction and come after local-fs.target.
pub(super) fn is_surely_after_local_fs(name: &str) -> bool {
    const SURE: [&str; 16] = [
        "local-fs.target",
        "sysinit.target",
        "basic.target",
        "multi-user.target",
        "sockets.target",
        "timers.target",
        "paths.target",
        "network.target",
        "dbus.service",
        "dbus-broker.service",
        "systemd-tmpfiles-setup.service",
        "systemd-random-seed.service",
        "systemd-journal-flush.service",
        "systemd-update-done.service",
        "NetworkManager.service",
        "systemd-logind.service",
    ];
    SURE.contains(&name)
}

/// Whether being after it says nothing about file systems.
pub(super) fn is_early(name: &str) -> bool {
    EARLY.contains(&name)
}

/// Whether it is a well-known unit.
pub(super) fn is_known(name: &str) -> bool {
    TARGETS.iter().chain(&UNITS).chain(&EARLY).any(|known| *known == name)
}

/// The well-known unit that a name was probably meant to be: nearly the same, or of another type.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    let all = || TARGETS.iter().chain(&UNITS).chain(&EARLY).copied();
    if is_known(name) {
        return None;
    }
    let stem = |name: &str| name.rsplit_once('.').map_or_else(String::new, |(stem, _)| stem.replace('.', "-"));
    let is_path_unit = [".mount", ".swap", ".device", ".slice", ".scope"].iter().any(|kind| name.ends_with(kind));
    if is_path_unit {
        return None;
    }
    let same = all().find(|known| stem(known) == stem(name) && stem(name).len() > 4 && known.ends_with(".target"));
    same.or_else(|| nearest(name, all()).filter(|near| strsim::damerau_levenshtein(name, near) <= 2 && name.len() > 12))
}

/// Why a node needs a unit.
pub(super) fn needed_by_the_node(name: &str) -> Option<&'static str> {
    Some(match name {
        "crio-wipe.service" => "it empties the container storage after an unclean shutdown",
        "crio.service" | "kubelet.service" | "kubelet-dependencies.target" => {
            "without it the node never joins the cluster"
        }
        "machine-config-daemon-pull.service" | "machine-config-daemon-firstboot.service" => {
            "without it a new node never gets its operating system"
        }
        "NetworkManager.service" | "NetworkManager-wait-online.service" => "the node's network hangs on it",
        "network-online.target" | "network-pre.target" | "local-fs.target" | "basic.target" | "multi-user.target" => {
            "other units are ordered by it"
        }
        "systemd-udevd.service" | "systemd-udev-trigger.service" | "systemd-journald.service" | "dbus.socket" => {
            "the system hangs on it"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_told_and_others_left_alone() {
        assert_eq!(misspelt("network-online.service"), Some("network-online.target"));
        assert_eq!(misspelt("network.online.target"), Some("network-online.target"));
        assert_eq!(misspelt("NetworkManger.service"), Some("NetworkManager.service"));
        assert_eq!(misspelt("kublet.service"), Some("kubelet.service"));
        for fine in [
            "NetworkManager.service",
            "my.service",
            "vendor-driver.service",
            "crio-wipe.service",
            "crio-setup.service",
            "var-lib-containers.mount",
            "kubelet-cleanup.service",
            "ovs-vswitchd.service",
            "kubelet-auto-node-size.service",
        ] {
            assert_eq!(misspelt(fine), None, "{fine}");
        }
    }
}
