# What the pods of Day-2 management do on a node: one copies the modules out of the image, the other loads or unloads.
#   VERB IMAGE WORKER CONFIG TAKES_OUT are set before
set -eux
driver=$IMAGE:$(uname -r | tr -c 'A-Za-z0-9_.\n-' _)
volume=day2-$VERB
file=/run/day2-$VERB.yaml
printf %s "$CONFIG" >"$file"
pull() { podman pull --quiet --authfile /var/lib/kubelet/config.json "$1"; }
pull "$driver"
pull "$WORKER"
podman volume rm --force "$volume"
podman volume create "$volume"
trap '{ podman volume rm --force "$volume"; rm -f "$file"; } >/dev/null 2>&1' EXIT
podman run --rm --network none -v "$volume:/tmp" "$driver" sh -c 'mkdir -p /tmp/opt/lib && cp -R /opt/lib/modules /tmp/opt/lib/'
podman run --rm --network none --privileged -e DAY1_WORKER_TAKES_OUT="$TAKES_OUT" -v "$volume:/tmp" -v /lib/modules:/lib/modules \
    -v "$file:/etc/kmm-worker/config.yaml" "$WORKER" kmod "$VERB" /etc/kmm-worker/config.yaml
