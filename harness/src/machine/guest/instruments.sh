#!/bin/sh
# The harness's instruments inside the guest. They enter beside the config under test, as credentials:
# systemd puts this file into its credentials directory, and units of the same origin run it.
# Usage: instruments.sh journal PORT | journal-again | trace-on | clock PORT | trace PORT | agent PORT
set -u

# The device of the virtio-serial port with that name; /dev/virtio-ports needs udev, which may not run yet.
port() {
    for entry in /sys/class/virtio-ports/*; do
        name=
        read -r name 2>/dev/null <"$entry/name"
        [ "$name" = "$1" ] || continue
        echo "/dev/${entry##*/}"
        return
    done
    # Some kernels have the drivers as modules, and udev may not have come to them yet. The ports come up one by one
    # after that, and nothing tells when all are there.
    if [ "${2-0}" -eq 0 ]; then
        modprobe -qa virtio_pci virtio_console
    elif [ "$2" -gt 100 ]; then
        echo "no virtio-serial port is named $1" >&2
        return 1
    fi
    sleep 0.1
    port "$1" "$((${2-0} + 1))"
}

# An instance of its own leaves the guest's other tracing alone, and lives on across the switch of roots.
traces=/sys/kernel/tracing/instances/day1

trace_on() {
    [ -d "$traces" ] && return
    [ -d /sys/kernel/tracing/events ] || mount -t tracefs -o nosuid,nodev,noexec tracefs /sys/kernel/tracing || return
    mkdir -p "$traces" || return
    echo mono >"$traces/trace_clock"
    echo 1 >"$traces/events/module/module_load/enable"
    echo 1 >"$traces/events/module/module_free/enable"
}

section() {
    echo "@@ $1"
}

# systemd takes a good while to describe a unit, so it is asked only for those that tell something: no devices, slices
# and scopes, which are half of all and by which no one orders a service; and no services that never ran: neither
# systemd has spoken of them, nor has anyone configured them here.
units_that_tell() {
    spoken=$(journalctl --field=UNIT) && configured=$(ls /etc/systemd/system) || return
    listed=$(systemctl list-units --all --full --plain --no-legend) || return
    printf '%s\n' "$spoken" "$configured" -- "$listed" | awk '
        $0 == "--" { listing = 1; next }
        !listing { known[$1]; next }
        $1 ~ /\.(device|slice|scope)$/ { next }
        $1 ~ /\.service$/ && $3 == "inactive" && !($1 in known) { next }
        { print $1 }'
}

# Without its end the harness refuses it: what a program could not say must not look like something that is not there.
snapshot() {
    section boot
    echo "boot_id $(tr -d - </proc/sys/kernel/random/boot_id)"
    echo "kernel_release $(uname -r)"
    echo "tainted $(cat /proc/sys/kernel/tainted)"
    echo "uptime $(cut -d' ' -f1 /proc/uptime)"
    section modules
    cd /sys/module || return
    for module in *; do echo "$module"; done
    section module-fields
    grep -s '' ./*/initstate ./*/srcversion ./*/version ./*/taint ./*/refcnt
    section module-holders
    find . -mindepth 3 -maxdepth 3 -path './*/holders/*' -printf '%h %f\n'
    section pci
    cd /sys/bus/pci/devices || return
    grep -s '' ./*/vendor ./*/device
    section pci-drivers
    find -L . -mindepth 2 -maxdepth 2 -name driver -prune -exec sh -c \
        'for d; do echo "$d $(readlink "$d")"; done' sh {} +
    section links
    for link in /sys/class/net/*; do
        [ -e "$link/device" ] || continue
        echo "${link##*/} $(readlink -f "$link/device") $(readlink "$link/device/driver")"
    done
    section addresses
    ip -json address
    section units
    units=$(units_that_tell) || return
    echo "$units" | xargs -r -d '\n' systemctl show \
        --property=Id,LoadState,ActiveState,SubState,Result,ExecMainStatus \
        --property=ConditionResult,ConditionTimestampMonotonic,InactiveExitTimestampMonotonic \
        --property=ActiveEnterTimestampMonotonic,InactiveEnterTimestampMonotonic,TimeoutStartUSec \
        --property=After,Wants,Requires -- || return
    section mounts
    cut -d ' ' -f 5,9 /proc/self/mountinfo
    # The node's own image store and those of scripts, as containers/storage and podman keep them; asking podman would
    # take a second. Containers of `--rm` are in the second file.
    section containers
    for store in /var/lib/containers/storage /var/lib/day1/*/*; do
        for list in "$store"/*-containers/containers.json "$store"/*-containers/volatile-containers.json; do
            [ ! -s "$list" ] || jq -r '.[] | .names[0] // .id' "$list" || return
        done
    done
    section volumes
    volumes=/var/lib/containers/storage/volumes
    [ ! -d "$volumes" ] || ls "$volumes" || return
    section jobs
    systemctl list-jobs --no-legend --plain || return
    section end
}

# Services stand still (1), or go on (0): all but the instruments and the journal, so that a person can look at the rest.
freeze() {
    for file in /sys/fs/cgroup/system.slice/*/cgroup.freeze /sys/fs/cgroup/machine.slice/cgroup.freeze; do
        case $file in
        */day1-instrument-*/* | */systemd-journald.service/*) ;;
        *) [ ! -e "$file" ] || echo "$1" >"$file" ;;
        esac
    done
}

# Requests come as `ID snapshot`, `ID sh BASE64` or `ID freeze 0|1`; each is answered by one line, `ID STATUS BASE64`.
# What one of them waits for must not keep the others from their answers.
agent() {
    exec 3<>"$1"
    echo >&3
    while read -r id verb argument <&3; do
        answer "$id" "$verb" "$argument" &
    done
}

answer() {
    case $2 in
    snapshot) text=$(snapshot 2>&1 3>&- | base64 -w0) status=0 ;;
    sh)
        text=$(echo "$3" | base64 -d | sh 2>&1 3>&-)
        status=$?
        text=$(printf '%s' "$text" | base64 -w0)
        ;;
    freeze) text=$(freeze "$3" 2>&1 3>&- | base64 -w0) status=0 ;;
    *) return ;;
    esac
    # The port takes a long line in several pieces.
    { flock 4; echo "$1 $status $text" >&3; } 4<"$0"
}

case $1 in
trace-on) trace_on ;;
journal)
    device=$(port "$2") || exit
    # The empty line ends what a boot before may have left unfinished.
    { echo && exec journalctl --boot --follow --lines=all --output=json; } >"$device"
    ;;
journal-again)
    # It replays the boot from its start; the harness keeps each record once.
    systemctl --no-block restart day1-instrument-journal.service
    ;;
clock)
    # A guest that was forked wakes with the time of its template; the host then sends its own.
    device=$(port "$2") || exit
    exec 3<>"$device"
    # Writing waits until the host has the port open; reading would end at once.
    echo >&3
    read -r seconds <&3 && date -u -s "@$seconds" >/dev/null || exit
    # Units of this fork's own, each file on a line: its path, and its text with \\n for the ends of lines.
    while read -r file text <&3 && [ "$file" != . ]; do
        mkdir -p "${file%/*}" && printf '%b' "$text" >"$file" || exit
    done
    echo set >&3
    ;;
trace)
    trace_on
    device=$(port "$2") || exit
    { echo && exec cat "$traces/trace_pipe"; } >"$device"
    ;;
agent)
    device=$(port "$2") || exit
    agent "$device"
    ;;
*)
    echo "usage: $0 journal PORT | journal-again | trace-on | clock PORT | trace PORT | agent PORT" >&2
    exit 64
    ;;
esac
