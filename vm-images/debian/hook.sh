#!/bin/bash
# mmdebstrap's customize hook: /proc, /sys and /dev are mounted in the tree ($1). $2 is the build's
# output directory, $3 this directory.
set -euo pipefail
rootfs=$1 out=$2 here=$3

step() { printf '@step %s\n' "$*"; }

# The release of a kernel's package, which may be one that only depends on the kernel.
release_of() { # the package's name, what it depends on
    local release
    release=$(sed -n 's/.*linux-image-\([^ ,]*\).*/\1/p' <<<"$2")
    echo "${release:-${1#linux-image-}}"
}

# apt-get as it made the tree, in the tree's /tmp.
apt_get() {
    (cd "$rootfs/tmp" && APT_CONFIG=${MMDEBSTRAP_APT_CONFIG:?} apt-get -qq -o APT::Sandbox::User=root "$@")
}

# One `RELEASE SUITE` a line, in the definition's order.
for kernel in ${DAY1_KERNELS:?}; do
    package=${kernel%/*}
    if [ "$package" = "$kernel" ]; then
        # shellcheck disable=SC2016 # dpkg's own field
        depends=$(chroot "$rootfs" dpkg-query --show --showformat '${Depends}' "$package")
        echo "$(release_of "$package" "$depends") ${DAY1_SUITE:?}"
        continue
    fi
    suite=${kernel#*/}
    step "installing a kernel of $suite" >&2
    echo "deb ${DAY1_MIRROR:?} $suite main" >"$rootfs/etc/apt/sources.list.d/$suite.list"
    apt_get update >&2
    # A package of that name may be installed already, of the node's own suite: this one only tells the kernel.
    apt_get download "$package/$suite" >&2
    release=$(release_of "$package" "$(dpkg-deb --field "$rootfs/tmp/$package"_*.deb Depends)")
    rm "$rootfs/tmp/$package"_*.deb
    # As mmdebstrap itself installs: apt from outside, dpkg inside.
    INITRD=No apt_get install --yes --target-release "$suite" -o DPkg::Chroot-Directory="$rootfs" "linux-image-$release" >&2
    echo "$release $suite"
done >"$out/kernels.txt"

# shellcheck disable=SC2016 # dpkg's own fields
chroot "$rootfs" dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' >"$out/packages.txt"

# The headers of exactly these kernels: the archive drops a kernel's packages when the next one comes.
step "fetching the kernel headers"
while read -r release _; do
    (
        cd "$out/kernel-headers"
        export APT_CONFIG=${MMDEBSTRAP_APT_CONFIG:?}
        mapfile -t needed < <(apt-cache depends "linux-headers-$release" |
            sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-[^<]*\)$/\1/p')
        apt-get -qq -o APT::Sandbox::User=root download "linux-headers-$release" "${needed[@]}"
    )
done <"$out/kernels.txt"

# Only the files of the EFI system partition: the packages themselves would install a boot loader.
if [ "${DAY1_ARCHITECTURE:?}" = amd64 ]; then
    step "fetching the signed boot loaders"
    cd "$out/work/boot"
    APT_CONFIG=${MMDEBSTRAP_APT_CONFIG:?} apt-get -qq -o APT::Sandbox::User=root download \
        shim-signed grub-efi-amd64-signed
    for package in *.deb; do
        dpkg-deb --extract "$package" signed
        rm "$package"
    done
    cd - >/dev/null
fi
find "$rootfs/etc/apt/sources.list.d" -type f -delete

# From outside: where the tree's programs are emulated, its own xz would take ten minutes.
step "trimming and unpacking the kernel modules"
while read -r release _; do
    modules=$rootfs/usr/lib/modules/$release
    # Devices that no node of ours has. Names of drivers that a Day-1 module could replace stay.
    rm -rf "$modules"/kernel/{sound,drivers/{accel,comedi,gpu,iio,media,staging}} \
        "$modules/kernel/drivers/net/wireless"
    # Unpacked for the initramfs: an emulated processor takes longer for xz than for all the rest of a modprobe. The
    # real root gets them back as they are packaged, for a driver image's `modules.dep` may name them.
    mkdir -p "$rootfs/packed/$release"
    (cd "$modules" && find . -name '*.ko.xz' -exec cp --link --parents --target-directory="$rootfs/packed/$release" {} +)
    find "$modules" -name '*.ko.xz' -print0 | xargs -0 -r -P 2 -n 64 xz --decompress --force
done <"$out/kernels.txt"

step "shaping the node"
tar --directory "$here/overlay" --create --owner=0 --group=0 . | tar --directory "$rootfs" --extract --no-overwrite-dir
install -m 0755 "$here/shape.sh" "$rootfs/shape.sh"
cp "$out/kernels.txt" "$here/selinux.cil" "$rootfs/"
chroot "$rootfs" /shape.sh
rm "$rootfs"/{shape.sh,kernels.txt,selinux.cil}

# From outside, as above.
step "packing the initramfs"
while read -r release _; do
    zstd -9 -q -T0 --rm "$rootfs/boot/initrd.img-$release" -o "$rootfs/boot/packed"
    mv "$rootfs/boot/packed" "$rootfs/boot/initrd.img-$release"
done <"$out/kernels.txt"

# What the kernels say of themselves, laid out as Fedora has it in /usr/lib/modules/RELEASE: to inspect a driver's image
# without booting anything. One module shows who signed the others.
while read -r release _; do
    kernel=$out/kernels/$release
    mkdir -p "$kernel/kernel/drivers/net"
    cp "$rootfs/usr/lib/modules/$release"/modules.* "$kernel/"
    cp "$rootfs/usr/lib/modules/$release/kernel/drivers/net"/dummy.ko* "$kernel/kernel/drivers/net/"
    cp "$rootfs/boot/config-$release" "$kernel/config"
    dpkg-deb --fsys-tarfile "$out/kernel-headers/linux-headers-${release}_"*.deb |
        tar --extract --to-stdout "./usr/src/linux-headers-$release/Module.symvers" >"$kernel/symvers"
    (cd "$rootfs/usr/lib/firmware" && find . -type f -o -type l) | sed 's|^\./||' | sort >"$kernel/firmware.list"
done <"$out/kernels.txt"
