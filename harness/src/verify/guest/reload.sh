#!/bin/bash
# Takes the module out and has the load unit load it again, twice; between the two the in-tree drivers come back.
set -eux
for _ in 1 2; do
    grep -qx 0 "/sys/module/@MODULE@/refcnt"
    rmmod "@MODULE@"
    [ ! -d "/sys/module/@MODULE@" ]
    for driver in @IN_TREE@; do
        # The node keeps it from being loaded.
        modprobe --ignore-install "$driver"
        [ -d "/sys/module/$driver" ]
    done
    systemctl restart "@LOAD@"
    [ -d "/sys/module/@MODULE@" ]
done
