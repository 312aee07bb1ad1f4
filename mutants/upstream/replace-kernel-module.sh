#!/bin/bash

config=$WORKER_CONFIG_FILEPATH
image="$KERNEL_MODULE_IMAGE:$(uname -r)"
pod=kmm-pod
volume=kmm-volume

write_config() {
    cat > "$config" <<END
containerImage: $image
modprobe:
  dirName: /opt
  moduleName: $KERNEL_MODULE
  firmwarePath: $FIRMWARE_FILES_PATH
END
    if [[ -n $IN_TREE_MODULES_TO_REMOVE ]]; then
        echo "inTreeModulesToRemove:" >> "$config"
        for name in $IN_TREE_MODULES_TO_REMOVE; do
            echo "  - \"$name\"" >> "$config"
        done
    fi
}

if [ -n "$(podman images -q "$image" 2> /dev/null)" ] && [ -n "$(podman images -q "$WORKER_IMAGE" 2> /dev/null)" ]; then
    write_config
    podman volume create $volume
    podman pod create --name $pod
    copy="mkdir -p /tmp/opt/lib/modules && cp -R /opt/lib/modules/* /tmp/opt/lib/modules;"
    arguments="kmod load /etc/kmm-worker/config.yaml"
    if [[ -n $FIRMWARE_FILES_PATH ]]; then
        copy+=" mkdir -p /tmp$FIRMWARE_FILES_PATH && cp -R $FIRMWARE_FILES_PATH/* /tmp$FIRMWARE_FILES_PATH"
        arguments+=" --firmware-path /var/lib/firmware"
    fi
    podman create --pod $pod --init-ctr=always -v $volume:/tmp "$image" /bin/sh -c "$copy"
    worker=$(podman create --pod $pod --user=root --privileged \
        -v $volume:/tmp \
        -v /lib/modules:/lib/modules \
        -v "$config":/etc/kmm-worker/config.yaml \
        -v /var/lib/firmware:/var/lib/firmware \
        "$WORKER_IMAGE" $arguments)
    podman pod start $pod
    if [ $? -eq 0 ]; then
        echo "OOT kernel module $KERNEL_MODULE is inserted"
    else
        echo "failed to insert OOT kernel module $KERNEL_MODULE"
    fi
    podman wait "$worker"
    podman pod rm $pod
    podman volume rm $volume
else
    echo "$image is not present, will try after reboot"
fi
