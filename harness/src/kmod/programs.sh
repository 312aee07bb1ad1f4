#!/bin/sh
# programs.sh PROGRAM…: copies programs of the build root to /build/bin, the libraries that they load to /build/lib, and
# what loads these to /build/lib64.
set -eu
loader=/lib64/ld-linux-x86-64.so.2
mkdir /build/bin /build/lib /build/lib64
cp -L "$loader" /build/lib64/
for program; do
    path=$(command -v "$program")
    cp -L "$path" "/build/bin/$program"
    # A library is told as `NAME => PATH (ADDRESS)`.
    "$loader" --list "$path" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
        cp -L "$library" /build/lib/
    done
done
