#!/bin/sh
# enter.sh ROOT WORK COMMAND…: runs COMMAND in ROOT with the directory WORK at /build.
# Needs a mount namespace of its own, so that no mount outlives it.
set -eu
# An ordinary user's path lacks the directory of mount and chroot.
PATH=$PATH:/usr/sbin:/sbin
root=$1
work=$2
shift 2
mount --bind /dev/null "$root/dev/null"
mount --bind "$work" "$root/build"
# The objtool of newer kernels (seen in 7.3) reads /proc. Where a container forbids this mount, older ones still build.
mount -t proc proc "$root/proc" 2>/dev/null || :
# A root whose packages were only unpacked may have /bin and /sbin apart from those in /usr.
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ LC_ALL=C "$@"
