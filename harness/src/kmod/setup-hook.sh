#!/bin/sh
# mmdebstrap's setup hook, called with the root: tells apt that the kernel's image and linux-base are there.
# The headers depend on them, but compiling needs neither, and the image alone is 110 MB.
set -eu
root=$1
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get -qq update
headers=linux-headers-$DAY1_KERNEL_RELEASE
version=$(apt-cache show --no-all-versions "$headers" 2>/dev/null | sed -n 's/^Version: //p')
if [ -z "$version" ]; then
    echo "the mirror has no package $headers (any more): a node image built anew gets the kernel of today" >&2
    exit 1
fi
for package in "linux-image-$DAY1_KERNEL_RELEASE" linux-base; do
    cat >>"$root/var/lib/dpkg/status" <<END
Package: $package
Status: install ok installed
Maintainer: nobody
Architecture: $DAY1_ARCHITECTURE
Version: $version
Description: stands for a package that compiling does not need

END
done
