#!/bin/bash
# Stand-in for kubelet: asks the control plane for pods, runs them, and tells what became of them. Nothing of it works
# without the network.
#   kubelet API
set -u

api=$1
boot=$(cat /proc/sys/kernel/random/boot_id)
work=/run/day1-kubelet
mkdir -p "$work"

ask() { curl --silent --show-error --fail --connect-timeout 5 --max-time 10 --header "X-Boot: $boot" "$@"; }

# Tells something until it was heard; fails where nobody wants to hear it (curl's 22: a status of 400 and above).
tell() {
    local status
    while :; do
        ask --output /dev/null "$@"
        status=$?
        case $status in
        0) return 0 ;;
        22) return 1 ;;
        esac
        sleep 1
    done
}

run() { # number
    bash "$work/$1" >"$work/$1.log" 2>&1 </dev/null
    tell --data-binary "@$work/$1.log" "$api/pods/$1/ended/$?"
}

while :; do
    if ! ask --dump-header "$work/head" --output "$work/pod" "$api/pods"; then
        sleep 1
        continue
    fi
    number=$(sed -n 's/^x-pod: *\([0-9]*\).*/\1/Ip' "$work/head")
    [[ -n $number ]] || continue
    mv "$work/pod" "$work/$number"
    # It is told before the next is asked for, or the same would come again. One that was withdrawn meanwhile is not run.
    if tell --data '' "$api/pods/$number/taken"; then run "$number" & fi
done
