#!/usr/bin/env bash
# Runs the same trials twice in containers, as one run and as N shards at once, joins the shards, and compares:
#
#   cargo xtask container && ci/container/shards.sh N [arguments of `day1 run`]
#
# Shards run without privileges and without a network. They take what they need from one cache, which they may only read
# and a first container fills; it may make namespaces. DAY1_SEED names a cache to fill in the place of a new one, DAY1_WORK a
# new directory for all that comes of it.
set -euo pipefail
count=${1:?usage: shards.sh N [arguments of day1 run]}
shift
image=${DAY1_IMAGE:-day1/harness:dev}
work=${DAY1_WORK:-$(mktemp --directory)}
seed=${DAY1_SEED:-$work/seed}
# The leases of all containers are this host's: no more machines start than it carries.
mkdir -p "$work/shards" "$seed" "$work/leases"
chmod 0777 "$work" "$work/shards" "$seed" "$work/leases"

kvm=()
if [ -c /dev/kvm ]; then
    kvm=(--device /dev/kvm --group-add "$(stat --format %g /dev/kvm)")
fi
make=(--security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined)
confined=(--cap-drop ALL --security-opt no-new-privileges --read-only --tmpfs /tmp:mode=1777 --network none --init)

docker run --rm "${kvm[@]}" "${make[@]}" --volume "$seed:/cache" "$image" run "$@" --no-run

# One run of day1 in a container of its own, with a cache of its own over the seed.
shard() {
    local results=$1
    shift
    mkdir -p "$results"
    chmod 0777 "$results"
    docker run --rm "${kvm[@]}" "${confined[@]}" --volume "$seed:/seed:ro" --volume "$work/leases:/cache/leases" \
        --volume "$results:/results" "$image" run --results /results "$@" >"$results.log" 2>&1
}

# Its exit code is the joined run's to repeat.
whole=0
shard "$work/whole" "$@" || whole=$?
for part in $(seq "$count"); do
    shard "$work/shards/$part" "$@" --partition "hash:$part/$count" &
done
wait

joined=0
docker run --rm --volume "$work:$work" --user "$(id -u):$(id -g)" "$image" \
    report merge --link --into "$work/joined" "$work"/shards/*/ || joined=$?

# What is the same in two runs of the same trials: not times, nor paths.
essence() {
    jq --sort-keys '[.trials[] | {trial, verdict, findings: [.findings[] | {check, boot, outcome}]}]' "$1/results.json"
}
diff <(essence "$work/whole") <(essence "$work/joined")
[ "$whole" = "$joined" ] || { echo "error: one run ended with $whole, the joined one with $joined" >&2; exit 1; }
echo "$count shards joined are equal to one run (exit code $joined): $work"
