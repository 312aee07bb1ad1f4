#!/bin/sh
# Writes what is in this node image, as a tar archive, to the disk that the harness gave the machine for that.
set -eu

disk=/dev/disk/by-id/virtio-survey
out=/run/day1-survey
mkdir -p "$out/kernels"

# KEY VALUE, one a line.
fact() { printf '%s %s\n' "$1" "$2" >>"$out/facts"; }

running=$(uname -r)
fact kernel "$running"
for dir in /usr/lib/modules/*; do
    release=${dir##*/}
    [ -e "$dir/modules.dep" ] || continue
    [ "$release" = "$running" ] || fact kernel "$release"
    kernel=$out/kernels/$release
    mkdir "$kernel"
    cp "$dir"/modules.* "$kernel/"
    for file in "$dir/config" "/boot/config-$release"; do
        if [ -e "$file" ]; then
            cp "$file" "$kernel/config"
            break
        fi
    done
    for file in "$dir"/symvers*; do
        [ ! -e "$file" ] || cp -L "$file" "$kernel/"
    done
    # One module shows who signed the others.
    (cd "$dir" && find . -name 'dummy.ko*' -exec cp --parents {} "$kernel/" \;)
    (cd /usr/lib/firmware && find . -type f -o -type l) | sed 's|^\./||' | sort >"$kernel/firmware.list"
done

# shellcheck source=/dev/null
. /etc/os-release
fact distribution "${ID:-unknown}"
fact distribution_version "${VERSION_ID:-unknown}"
fact suite "${VERSION_CODENAME:-}"
if grep -q 'day1\.survey' /proc/cmdline; then
    fact takes_boot_arguments yes
fi
version() { # program, its output's word with the version
    fact version "$1 $2"
}
version systemd "$(systemctl --version | awk 'NR == 1 { print $2 }')"
version podman "$(podman --version | awk '{ print $NF }')"
version NetworkManager "$(NetworkManager --version)"
for ignition in /usr/lib/dracut/modules.d/*ignition/ignition /usr/bin/ignition; do
    if [ -x "$ignition" ]; then
        version ignition "$("$ignition" --version | awk 'NR == 1 { print $NF }')"
        break
    fi
done

tar --directory "$out" --create --file "$disk" .
sync "$disk"
