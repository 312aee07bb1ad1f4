#!/bin/bash
# mmdebstrap's customize hook: /proc, /sys and /dev are mounted in the tree ($1). $2 is the build's
# output directory, $3 this directory.
set -euo pipefail
rootfs=$1 out=$2 here=$3

step() { printf '@step %s\n' "$*"; }

# shellcheck disable=SC2016 # dpkg's own fields
chroot "$rootfs" dpkg-query --show --showformat '${Package} ${Version} ${Architecture}\n' >"$out/packages.txt"

# The headers of exactly these kernels: the archive drops a kernel's packages when the next one comes.
step "fetching the kernel headers"
releases=$(cd "$rootfs/usr/lib/modules" && ls)
for release in $releases; do
    (
        cd "$out/kernel-headers"
        export APT_CONFIG=${MMDEBSTRAP_APT_CONFIG:?}
        mapfile -t needed < <(apt-cache depends "linux-headers-$release" |
            sed -n 's/^ *Depends: \(linux-\(headers\|kbuild\)-[^<]*\)$/\1/p')
        apt-get -qq -o APT::Sandbox::User=root download "linux-headers-$release" "${needed[@]}"
    )
done

step "shaping the node"
tar --directory "$here/overlay" --create --owner=0 --group=0 . | tar --directory "$rootfs" --extract --no-overwrite-dir
install -m 0755 "$here/shape.sh" "$rootfs/shape.sh"
chroot "$rootfs" /shape.sh
rm "$rootfs/shape.sh"
mv "$rootfs/kernels.txt" "$out/kernels.txt"
