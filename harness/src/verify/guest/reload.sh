#!/bin/bash
# Takes the module out and has the load unit load it again, twice; between the two the in-tree drivers come back.
set -eux
for _ in 1 2; do
    grep -qx 0 "/sys/module/@MODULE@/refcnt"
    rmmod "@MODULE@"
    [ ! -d "/sys/module/@MODULE@" ]
    for driver in @IN_TREE@; do
        modprobe "$driver"
        [ -d "/sys/module/$driver" ]
    done
    systemctl restart "@LOAD@"
    [ -d "/sys/module/@MODULE@" ]
done
