#!/bin/bash
# Runs inside the tree: turns a Debian system into one that has CoreOS's shape.
set -euo pipefail
export LC_ALL=C.UTF-8

step() { printf '@step %s\n' "$*"; }

# --- kernels: one `RELEASE SUITE` a line in /kernels.txt; the first is booted -------------------------------
step "indexing the kernel modules"
while read -r release _; do
    depmod -a "$release"
done </kernels.txt

# --- packaging: the image is not updated in place ----------------------------------------------------
step "setting presets"
mkdir -p /usr/lib/sysimage
rm -rf /var/lib/apt /var/cache/* /var/log/* /var/backups /var/lib/ucf /var/lib/xml-core /var/lib/sgml-base
mv /var/lib/dpkg /usr/lib/sysimage/dpkg
rm -f /etc/hostname /etc/resolv.conf /etc/ssh/ssh_host_* /etc/apt/apt.conf.d/99mmdebstrap

# --- units: only presets decide ----------------------------------------------------------------------
rm -f /usr/lib/systemd/system-preset/90-systemd.preset /usr/lib/systemd/user-preset/90-systemd.preset
find /etc/systemd/system /etc/systemd/user -type d \( -name '*.wants' -o -name '*.requires' \) -prune \
    -exec rm -rf {} +
find /etc/systemd/system /etc/systemd/user -type l -delete
systemctl --root=/ preset-all
echo 'disable *' >/usr/lib/systemd/user-preset/99-default-disable.preset
systemctl --root=/ --global preset-all
# CoreOS masks it as well: it would ask questions on the console.
systemctl --root=/ mask systemd-firstboot.service
# Generators whose work no node needs; each is a process at every boot and every reload.
mkdir -p /etc/systemd/system-generators
for generator in gpt-auto hibernate-resume rc-local ssh sysv system-update tpm2; do
    ln -s /dev/null "/etc/systemd/system-generators/systemd-$generator-generator"
done
ln -sf /usr/lib/systemd/system/multi-user.target /etc/systemd/system/default.target

# --- users -------------------------------------------------------------------------------------------
useradd --create-home --home-dir /home/core --shell /bin/bash --comment 'CoreOS Admin' \
    --groups adm,sudo,systemd-journal core
passwd --lock root >/dev/null

# --- directories: all that changes is in /etc and /var -----------------------------------------------
link_into_var() { # directory, name in /var
    mkdir -p "/var/$2"
    cp -a "$1/." "/var/$2/"
    rm -rf "${1:?}"
    ln -s "$3" "$1"
}
# shellcheck disable=SC2114 # runs in the image's own tree
rm -rf /var/opt /media
link_into_var /opt opt var/opt
link_into_var /home home var/home
link_into_var /srv srv var/srv
link_into_var /mnt mnt var/mnt
link_into_var /root roothome var/roothome
link_into_var /usr/local usrlocal ../var/usrlocal
ln -s run/media /media
chmod 0700 /var/roothome
mkdir -p /var/log/journal

# --- SELinux -----------------------------------------------------------------------------------------
# First: it writes the files of contexts anew.
step "adding to the SELinux policy"
semodule --noreload --install=/selinux.cil
# The policy's /root, /home, /srv and /usr/local are links here; the places they point to take their labels.
cat >>/etc/selinux/default/contexts/files/file_contexts.subs_dist <<'EOF'
/var/home /home
/var/roothome /root
/var/srv /srv
/var/mnt /mnt
/var/opt /opt
/var/usrlocal /usr/local
EOF
# The links themselves: as the directories that they stand for, not as unknown files.
cat >>/etc/selinux/default/contexts/files/file_contexts.local <<'EOF'
/root -l system_u:object_r:user_home_dir_t:s0
/mnt -l system_u:object_r:mnt_t:s0
/opt -l system_u:object_r:usr_t:s0
/media -l system_u:object_r:mnt_t:s0
EOF
sed -i 's/^SELINUX=.*/SELINUX=enforcing/' /etc/selinux/config

# --- first boot --------------------------------------------------------------------------------------
# NetworkManager writes the name servers into it; a node without any has the file all the same.
echo '# no name servers yet' >/etc/resolv.conf
rm -f /var/lib/dbus/machine-id
echo uninitialized >/etc/machine-id
chmod 0444 /etc/machine-id

step "building the initramfs"
# Drivers of hardware that no node of ours has, and file systems that none mounts: dracut takes all of them, for
# a disk could be anywhere. They are in the real root still, but for those removed above. Every MiB here is read by
# the boot loader through the BIOS and unpacked by an emulated processor, at each boot.
left_out() { # kernel release
    local modules=/usr/lib/modules/$1/kernel
    local network='e1000|e1000e|igb|igbvf|vmxnet3|8139cp|8139too|pcnet32|tulip|ne2k-pci|8390|virtio_net|net_failover'
    network+='|mii|failover|phy.*|libphy|mdio.*|bonding|macvlan|ipvlan|dummy|veth'
    local disks='virtio_blk|virtio_scsi|loop|sd_mod|sr_mod|sg|scsi_mod|scsi_common|scsi_transport_.*|libata|ahci|libahci|ata_.*'
    local file_systems='ext4|jbd2|mbcache|xfs|fat|vfat|msdos|nls_.*|isofs|overlay|squashfs|fuse|virtiofs|autofs4|efivarfs'
    find "$modules"/drivers/{net,thunderbolt,usb,pcmcia,hv,mmc,ssb,infiniband,hid,nvdimm,ata,block,crypto,md,message,scsi,target} \
        "$modules/fs" -name '*.ko' -printf '%f\n' |
        sed 's/\.ko$//' | grep -vxE "$network|$disks|$file_systems" | tr '\n' ' '
}
while read -r release _; do
    dracut --force --omit-drivers "$(left_out "$release")" --kver "$release" "/boot/initrd.img-$release"
    rm -f "/boot/System.map-$release"
    (cd "/packed/$release" && find . -name '*.ko.xz') | sed "s|\\.xz$||; s|^|/usr/lib/modules/$release/|" | xargs -r rm
    cp --archive --link "/packed/$release/." "/usr/lib/modules/$release/"
    depmod -a "$release"
done </kernels.txt
rm -rf /packed

# For a /var on a file system of its own.
mkdir -p /usr/share/factory/var
cp -a /var/. /usr/share/factory/var/
rm -rf /tmp/* /var/tmp/* /var/lib/systemd/random-seed
# Nothing in /etc or /var waits for an update of /usr (hwdb, ld.so.cache, journal catalogue, …).
systemd-hwdb update --usr || true
ldconfig
journalctl --update-catalog
for stamp in /etc/.updated /var/.updated /usr/share/factory/var/.updated; do
    touch --reference=/usr "$stamp"
done
