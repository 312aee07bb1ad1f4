#!/bin/bash

image="$KERNEL_MODULE_IMAGE:$(uname -r)"

if [ -n "$(podman images -q "$image" 2> /dev/null)" ]; then
    echo "$image exists locally. Nothing to do"
    rm -f $config_file
else
    podman pull --authfile /var/lib/kubelet/config.json "$WORKER_IMAGE"
    if [ $? -ne 0 ]; then
        echo "Failed to pull image $WORKER_IMAGE"
        exit 1
    fi
    podman pull --authfile /var/lib/kubelet/config.json "$image"
    if [ $? -ne 0 ]; then
        echo "Failed to pull image $image"
        exit 1
    fi
    echo "$image has been pulled, rebooting"
    reboot
fi
