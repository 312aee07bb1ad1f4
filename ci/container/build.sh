#!/usr/bin/env bash
# Makes an image of the harness where no registry can be reached to pull a base from: `build.sh DAY1 [TAG]`. DAY1 is the
# program, as cargo built it; the base is made from Debian's packages, once.
set -euo pipefail
day1=$(realpath "${1:?usage: build.sh DAY1 [TAG]}")
tag=${2:-day1/harness:dev}
cd "$(dirname "$0")/../.."

for engine in docker podman none; do
    ! command -v "$engine" >/dev/null || break
done
if [ "$engine" = none ]; then
    echo "error: neither docker nor podman is on the PATH, and one of them has to build the image" >&2
    exit 3
fi

suite=trixie
base=day1/debian:$suite
if "$engine" image inspect "$base" >/dev/null 2>&1; then
    echo "$base is there already; \`$engine image rm $base\` lets it be made anew"
else
    # shellcheck disable=SC2016 # mmdebstrap's own shell expands $1.
    mmdebstrap --quiet --variant=minbase \
        --customize-hook='rm -rf "$1"/usr/share/doc/* "$1"/usr/share/man/* "$1"/usr/share/locale/* "$1"/var/cache/apt/*.bin' \
        "$suite" - http://deb.debian.org/debian |
        "$engine" import - "$base" >/dev/null
    echo "$base is made, from Debian's packages"
fi

mkdir -p target/container
# A link where that can be: the program has its line tables, and is large.
ln -f "$day1" target/container/day1 2>/dev/null || cp "$day1" target/container/day1
"$engine" build --quiet --file ci/container/Containerfile --target prebuilt --build-arg "BASE=$base" --tag "$tag" .
echo "$tag is made; try: $engine run --rm $tag"
