#!/bin/bash
# Makes the disk from the tree without loop devices and mounts. $1 tree, $2 output directory, $3 scratch
# directory, $4 this directory.
set -euo pipefail
rootfs=$1 out=$2 scratch=$3 here=$4

size=${DAY1_SIZE_MIB:?} boot=${DAY1_BOOT_MIB:?} esp=${DAY1_ESP_MIB:?}
# MiB: 1 free for the partition table, 1 for GRUB, …, 1 free for the copy of the partition table.
esp_at=2
boot_at=$((esp_at + esp))
root_at=$((boot_at + boot))
root=$((size - root_at - 1))
disk=$out/disk.raw
mib=$((1024 * 1024))
case ${DAY1_ARCHITECTURE:?} in
amd64) first=21686148-6449-6E6F-744E-656564454649 first_name=BIOS-BOOT console=ttyS0,115200n8 ;;
# As on CoreOS: the first partition is there and holds nothing.
arm64) first=8DA63339-0007-60C0-C436-083AC8230908 first_name=reserved console=ttyAMA0 ;;
esac

truncate --size "${size}M" "$disk"
sfdisk --quiet --no-reread --no-tell-kernel "$disk" <<EOF
label: gpt
unit: sectors
start=2048, size=2048, type=$first, name="$first_name"
start=$((esp_at * 2048)), size=$((esp * 2048)), type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name="EFI-SYSTEM"
start=$((boot_at * 2048)), size=$((boot * 2048)), type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="boot"
start=$((root_at * 2048)), size=$((root * 2048)), type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name="root"
EOF

# --- boot loader; the caller writes its boot sectors, where there are any -------------------------------
modules="part_gpt ext2 search search_label configfile normal linux test echo terminal minicmd reboot smbios regexp"
mkdir -p "$rootfs/grub"
# Its parser knows no comments.
sed '/^#/d' "$here/boot/early.cfg" >"$rootfs/grub/find.cfg"
sed '/^#/d' "$here/boot/serial.cfg" | cat - "$rootfs/grub/find.cfg" >"$rootfs/grub/serial.cfg"
core_image() { # target, file, configuration, more modules
    # shellcheck disable=SC2086
    chroot "$rootfs" grub-mkimage -O "$1" -o "/grub/$2" -p /grub -c "/grub/$3" $modules "${@:4}"
}
truncate --size "${esp}M" "$scratch/esp.img"
mkfs.vfat -n EFI-SYSTEM "$scratch/esp.img" >/dev/null
mmd -i "$scratch/esp.img" ::/EFI ::/EFI/BOOT
into_esp() { # file, its place
    mcopy -i "$scratch/esp.img" "$1" "::/EFI/$2"
}
case $DAY1_ARCHITECTURE in
amd64)
    core_image i386-pc core.img serial.cfg serial biosdisk
    mv "$rootfs/grub/core.img" "$out/core.img"
    cp "$rootfs/usr/lib/grub/i386-pc/boot.img" "$out/boot.img"
    # Microsoft signed shim, which trusts Debian's GRUB beside it, which trusts Debian's kernels. That GRUB loads no
    # modules, and reads its configuration from the place that Debian gave it.
    mmd -i "$scratch/esp.img" ::/EFI/debian
    into_esp "$scratch/signed/usr/lib/shim/shimx64.efi.signed" BOOT/BOOTX64.EFI
    into_esp "$scratch/signed/usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed" BOOT/grubx64.efi
    into_esp "$rootfs/grub/serial.cfg" debian/grub.cfg
    ;;
# The firmware's console is the serial one, and GRUB's own driver knows no other ports than a PC's.
arm64)
    core_image arm64-efi boot.efi find.cfg
    into_esp "$rootfs/grub/boot.efi" BOOT/BOOTAA64.EFI
    ;;
esac
dd if="$scratch/esp.img" of="$disk" bs=1M seek="$esp_at" conv=notrunc,sparse status=none
rm -rf "$scratch/esp.img" "$scratch/signed" "$rootfs/grub"

# --- /boot -------------------------------------------------------------------------------------------
read -r kernel _ <"$out/kernels.txt"
mkdir "$rootfs/boot/grub"
sed -e "s|@KERNEL@|$kernel|" -e "s|@CONSOLE@|$console|" -e "s|@ARGUMENTS@|${DAY1_ARGUMENTS-}|" "$here/boot/grub.cfg" \
    >"$rootfs/boot/grub/grub.cfg"
: >"$rootfs/boot/ignition.firstboot"
# Nothing is mounted in the tree any more, so that the labels reach what the mounts hid, and nothing else.
chroot "$rootfs" setfiles -F /etc/selinux/default/contexts/files/file_contexts /
# GRUB does not know all of today's features.
mke2fs -q -F -t ext4 -L boot -m 0 -O '^metadata_csum,^metadata_csum_seed,^orphan_file' \
    -E "offset=$((boot_at * mib)),lazy_itable_init=0,lazy_journal_init=0" -d "$rootfs/boot" "$disk" "${boot}M"
find "$rootfs/boot" -mindepth 1 -delete

# --- / -----------------------------------------------------------------------------------------------
# Nothing is left for the kernel's lazy initialisation, which would run in every node's first minutes.
mke2fs -q -F -t ext4 -L root -m 0 -i 32768 \
    -E "offset=$((root_at * mib)),lazy_itable_init=0,lazy_journal_init=0" -d "$rootfs" "$disk" "${root}M"
