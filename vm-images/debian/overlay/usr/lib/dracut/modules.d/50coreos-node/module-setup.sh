#!/bin/bash
# The part of the initramfs that Ignition leaves to the distribution: the network on request, a read-only
# /usr, and content for a /var of its own.

check() {
    # Only where it is asked for.
    return 255
}

depends() {
    echo ignition network-manager
}

install_unit() {
    inst_simple "${moddir:?}/$1" "${systemdsystemunitdir:?}/$1"
    mkdir -p "${initdir:?}${systemdsystemunitdir:?}/$2"
    ln_r "$systemdsystemunitdir/$1" "$systemdsystemunitdir/$2/$1"
}

install() {
    inst_multiple \
        base64 cat chroot cp cut date dd grep head id ip journalctl ln ls mkdir mkfs.ext4 mkfs.vfat mkfs.xfs \
        mkswap modprobe mountpoint mv realpath rm rmdir sed setfiles sfdisk sgdisk sh sleep stty sync systemctl tail \
        touch tr udevadm uname wc
    inst_simple "${systemdsystemunitdir:?}/modprobe@.service"
    inst_script "${moddir:?}/coreos-network" /usr/sbin/coreos-network
    inst_script "$moddir/coreos-populate-var" /usr/sbin/coreos-populate-var
    install_unit coreos-enable-network.service ignition-complete.target.requires
    install_unit coreos-populate-var.service ignition-diskful.target.requires
    install_unit sysroot-usr.mount initrd-root-fs.target.requires
    inst_simple "$moddir/ignition-fetch-online.conf" \
        "$systemdsystemunitdir/ignition-fetch.service.d/10-online.conf"
}
