#!/bin/sh
# mmdebstrap's setup hook, called with the root: tells apt that the kernel's image and linux-base are there.
# The headers depend on them, but compiling needs neither, and the image alone is 110 MB. They depend on a compiler that
# runs where the kernel does as well, and the root gets one that runs here.
set -eu
root=$1
export APT_CONFIG="$MMDEBSTRAP_APT_CONFIG"
apt-get -qq update
headers=linux-headers-$DAY1_KERNEL_RELEASE:$DAY1_ARCHITECTURE
about=$(apt-cache show --no-all-versions "$headers" 2>/dev/null || :)
version=$(printf %s "$about" | sed -n 's/^Version: //p')
if [ -z "$version" ]; then
    echo "the mirror has no package $headers (any more): a node image built anew gets the kernel of today" >&2
    exit 1
fi
set -- "linux-image-$DAY1_KERNEL_RELEASE" linux-base
native=$(apt-config dump --format '%v' APT::Architecture)
if [ "$native" != "$DAY1_ARCHITECTURE" ]; then
    # shellcheck disable=SC2046 # package names
    set -- "$@" $(printf %s "$about" | sed -n 's/^Depends: //p' | tr ',' '\n' | grep -o '^ *gcc-[0-9]*\(-for-host\)\{0,1\}')
fi
for package; do
    cat >>"$root/var/lib/dpkg/status" <<END
Package: $package
Status: install ok installed
Maintainer: nobody
Architecture: $DAY1_ARCHITECTURE
Version: $version
Description: stands for a package that compiling does not need

END
done
