#!/bin/sh
# programs.sh PROGRAM…: copies programs of the build root to /build/bin, what loads their libraries to /build/lib64, and
# the libraries to where the loader finds them: below /build as they are below /usr.
set -eu
loader=/lib64/ld-linux-x86-64.so.2
mkdir /build/bin /build/lib64
cp -L "$loader" /build/lib64/
for program; do
    path=$(command -v "$program")
    cp -L "$path" "/build/bin/$program"
    # Where coreutils is a single program, as in RHEL's images, each of its names is a script for it.
    if [ "$(head -c 2 "$path")" = '#!' ]; then
        path=$(sed -n '1s/^#! *\([^ ]*\).*/\1/p' "$path")
        cp -L "$path" /build/bin/
    fi
    # A library is told as `NAME => PATH (ADDRESS)`.
    "$loader" --list "$path" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
        directory=${library%/*}
        directory=/build${directory#/usr}
        mkdir -p "$directory"
        cp -L "$library" "$directory/"
    done
done
