#!/usr/bin/env bash
# Makes an image of a real registry (CNCF distribution) from Debian's package, where no registry can be reached to pull
# one from: `build.sh [TAG]`. It is made anew only when this directory has changed.
set -euo pipefail
cd "$(dirname "$0")"
tag=${1:-day1/registry:debian}

for engine in docker podman none; do
    ! command -v "$engine" >/dev/null || break
done
if [ "$engine" = none ]; then
    echo "error: neither docker nor podman is on the PATH, and one of them has to import the image" >&2
    exit 3
fi

recipe=$(cat build.sh config.yml | sha256sum | cut -d ' ' -f 1)
label='{{index .Config.Labels "day1.recipe"}}'
if [ "$("$engine" image inspect --format "$label" "$tag" 2>/dev/null)" = "$recipe" ]; then
    echo "$tag is there already"
else
    # Only base-files' links to /usr are made, without its package: the program's loader is looked for in them. What the
    # program does not read is left out: translations, documentation, other character sets.
    # shellcheck disable=SC2016 # mmdebstrap's own shell expands $1.
    mmdebstrap --quiet --variant=extract --include=docker-registry \
        --extract-hook='mkdir -p "$1/etc/distribution" "$1/var/lib/registry" "$1/tmp"' \
        --extract-hook='ln -s usr/lib usr/lib64 "$1"' \
        --extract-hook='copy-in config.yml /etc/distribution' \
        --extract-hook='rm -rf "$1"/usr/share/* "$1"/usr/lib/*/gconv "$1"/var/lib/dpkg "$1"/var/lib/apt' \
        trixie - http://deb.debian.org/debian |
        "$engine" import \
            --change 'ENTRYPOINT ["/usr/bin/docker-registry", "serve", "/etc/distribution/config.yml"]' \
            --change 'EXPOSE 5000' \
            --change 'VOLUME /var/lib/registry' \
            --change "LABEL day1.recipe=$recipe" \
            - "$tag" >/dev/null
    echo "$tag is made, from Debian's docker-registry"
fi
echo "use it with: --registry container=$tag"
