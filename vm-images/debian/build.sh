#!/bin/bash
# Builds the node image's disk. Runs as (mapped) root in mount and PID namespaces of its own, so that
# whatever ends it takes every process and every mount with it.
#
# In:  DAY1_SUITE DAY1_MIRROR DAY1_KERNELS DAY1_PACKAGES DAY1_ARGUMENTS DAY1_SIZE_MIB DAY1_BOOT_MIB
#      DAY1_ESP_MIB DAY1_ARCHITECTURE; $1 an empty directory.
# Out: $1/disk.raw (without GRUB's boot sectors), boot.img and core.img (amd64), packages.txt, kernels.txt,
#      kernel-headers/*.deb, kernels/RELEASE/ (modules.*, config, symvers, firmware.list)
# Lines that begin with "@step " are progress for a person.
set -euo pipefail
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive
# An ordinary user's has no sbin.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 022

out=$(realpath "$1")
here=$(realpath "$(dirname "$0")")
work=$out/work

step() { printf '@step %s\n' "$*"; }

# The tree lives in memory: it is gone with the mount namespace, an ordinary user can give its files any
# owner and SELinux label, and it is faster.
mkdir "$work"
mount -t tmpfs -o mode=0755,size=75% day1-image "$work"
mkdir "$work/tmp" "$work/boot"
export TMPDIR=$work/tmp
rootfs=$work/rootfs

# mmdebstrap gives the hook's command line to a shell, with the tree as its "$1".
# shellcheck disable=SC2016
hook=$(printf '%q "$1" %q %q' "$here/hook.sh" "$out" "$here")
step "installing packages of ${DAY1_SUITE:?} from ${DAY1_MIRROR:?}"
mkdir -p "$out/kernel-headers"
# Those of other suites are the hook's to install.
kernels=$(tr ' ' '\n' <<<"${DAY1_KERNELS:?}" | grep -v / | tr '\n' ' ')
packages=$(sed -e '/^#/d' -e "s/ \[${DAY1_ARCHITECTURE:?}\]$//" -e '/\[/d' "$here/packages" | tr '\n' ' ')
INITRD=No mmdebstrap --mode=root --variant=essential --format=directory --skip=cleanup \
    --architectures="$DAY1_ARCHITECTURE" \
    --aptopt='APT::Install-Recommends "false"' \
    --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$kernels $packages ${DAY1_PACKAGES-}" \
    --customize-hook="$hook" \
    "$DAY1_SUITE" "$rootfs" "$DAY1_MIRROR"

step "making the disk"
"$here/disk.sh" "$rootfs" "$out" "$work/boot" "$here"
df --output=used,size -BM "$work"
umount "$work"
rmdir "$work"
