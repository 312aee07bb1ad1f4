#!/bin/sh
# mmdebstrap's extract hook, called with the root: what the packages' own scripts would have made, and the places
# for mounts.
set -eu
root=$1
ln -s mawk "$root/usr/bin/awk"
mkdir "$root/build"
[ -e "$root/dev/null" ] || : >"$root/dev/null"
