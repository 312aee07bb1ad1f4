#!/bin/sh
# install.sh RELEASE URL PACKAGE…: installs what modules for a kernel are built with, in a container of its Fedora. Lines
# that begin with STEP are for a person.
set -eu
release=$1
url=$2
shift 2
install() {
    dnf --assumeyes --setopt=install_weak_deps=False --setopt=tsflags=nodocs install "$@"
}
echo "STEP installing $*"
install "$@"
echo "STEP installing kernel-devel-$release"
# Repositories have the newest kernel, and that of the release.
if ! install "kernel-devel-$release"; then
    echo "STEP installing $url"
    install "$url"
fi
