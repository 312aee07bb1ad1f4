#!/bin/bash
# Loads the out-of-tree module in place of the in-tree one, before the network is configured.
#   load.sh condition CONFIG   is a verified image for this kernel here? 1 skips the unit, 255 fails it
#   load.sh load CONFIG        replace, or leave everything as it was and say why
#   load.sh recover CONFIG     put the in-tree modules back if `load` was killed half-way

ACTION=${1:?condition, load or recover}
# shellcheck source=/dev/null
. "${2:?the config file}" || exit 255
# shellcheck source=generator/src/scripts/library.sh
. "$LIBRARY" || exit 255

OOT=$(sysfs_name "$KERNEL_MODULE_NAME")
REMOVED=$RUN/removed
INSERTING=$RUN/inserting
LABELLED=$RUN/labelled
BLACKLIST=$DAY1_ROOT/run/modprobe.d/day1-$MACHINE_CONFIG.conf
DEADLINE=$(($(now) + LOAD_TIMEOUT))

left() {
    local seconds=$((DEADLINE - $(now)))
    echo $((seconds > 1 ? seconds : 1))
}
settle() {
    udevadm settle --timeout=$(($(left) < 15 ? $(left) : 15)) ||
        say "udev is still busy; going on"
}
taint_has_o() { [[ $(cat "$SYS_MODULE/$1/taint" 2>/dev/null) == *O* ]]; }
is_from_image() { [[ " ${IMAGE_MODULES[*]} " == *" $1 "* ]]; }
# Whether a module that the image brings, too, runs and is not the node's own.
is_replaced() { is_from_image "$1" && taint_has_o "$1"; }
srcversion_of() { cat "$SYS_MODULE/$1/srcversion" 2>/dev/null; }

# The kernel's own words since this script started.
kernel_log() {
    dmesg 2>/dev/null | awk -F '[][]' -v since="$STARTED" '$2 + 0 >= since' | tail -n 8 | sed 's/^/day1: kernel: /'
}

# --- before anything is changed -------------------------------------------------------------------------

is_builtin() {
    [[ -d $SYS_MODULE/$1 && ! -e $SYS_MODULE/$1/initstate ]] && return 0
    [[ -f $HOST_MODULES/modules.builtin ]] && awk -v name="$1" '
        { sub(/.*\//, ""); sub(/\.ko.*/, ""); gsub(/-/, "_") }
        $0 == name { found = 1; exit }
        END { exit !found }' "$HOST_MODULES/modules.builtin"
}

# UNLOAD becomes the modules to unload, in order; fails when that cannot work.
UNLOAD=()
plan_removal() {
    local name holder count refs
    for name in "${IN_TREE_MODULES_TO_REMOVE[@]}"; do
        name=$(sysfs_name "$name")
        if is_builtin "$name"; then
            error "module $name is built into kernel $KERNEL and cannot be removed: take it off the list of in-tree modules to remove"
            return 1
        fi
        [[ -d $SYS_MODULE/$name ]] || continue
        count=0
        for holder in "$SYS_MODULE/$name/holders"/*; do
            [[ -e $holder ]] || continue
            count=$((count + 1))
            if [[ " ${UNLOAD[*]} " != *" ${holder##*/} "* ]]; then
                error "in-tree module $name is in use by module ${holder##*/}: list ${holder##*/} before $name in the in-tree modules to remove"
                return 1
            fi
        done
        refs=$(cat "$SYS_MODULE/$name/refcnt" 2>/dev/null)
        if [[ ${refs:-0} -gt $count ]]; then
            error "in-tree module $name is in use (reference count $refs): stop what uses it before the network starts"
            return 1
        fi
        UNLOAD+=("$name")
    done
}

# What to do about a module of that name that runs already: 0 load, 1 fail, 2 nothing to do.
plan_running_module() {
    local name running wanted others=()
    for name in "${IMAGE_MODULES[@]}"; do
        [[ $name != "$OOT" && -d $SYS_MODULE/$name ]] || continue
        taint_has_o "$name" || [[ " ${UNLOAD[*]} " == *" $name "* ]] && continue
        error "module $OOT needs the image's $name, but the in-tree one runs: add $name to the in-tree modules to remove, after the modules that use it"
        return 1
    done
    [[ -d $SYS_MODULE/$OOT ]] || return 0
    running=$(srcversion_of "$OOT")
    wanted=$(modinfo -F srcversion "$MODULE_FILE")
    if [[ $running == "$wanted" ]] && taint_has_o "$OOT"; then
        for name in "${UNLOAD[@]}"; do
            is_replaced "$name" || others+=("$name")
        done
        [[ ${#others[@]} -gt 0 ]] || return 2
        # An in-tree driver came up beside it and may hold the device: load it again after that is gone.
        [[ " ${UNLOAD[*]} " == *" $OOT "* ]] || UNLOAD+=("$OOT")
        return 0
    fi
    [[ " ${UNLOAD[*]} " == *" $OOT "* ]] && return 0
    if taint_has_o "$OOT"; then
        error "another version of module $OOT runs already, which the node image brought or somebody loaded (srcversion '$running', the image's has '$wanted'): it stays; to replace it, add $OOT to the in-tree modules to remove"
        return 1
    fi
    error "a module $OOT with srcversion '$running' runs already, the image's has '$wanted': the in-tree module still runs; add $OOT to the in-tree modules to remove"
    return 1
}

# The devices that the modules to unload drive.
DRIVEN=()
find_driven() {
    local name alias
    DRIVEN=()
    for name in "${UNLOAD[@]}"; do
        for alias in "$SYS_MODULE/$name"/drivers/*/*/modalias; do
            [[ ! -e $alias ]] || DRIVEN+=("$(realpath "${alias%/modalias}")")
        done
    done
}

# --- the change, and its way back -----------------------------------------------------------------------

# A directory of modules that has what modprobe is about to load, and the image's indexes: copies of the image's files,
# labelled as the node's own, and links to the node's own. Nothing is written through a link of the image or the node.
copy_modules() {
    local reference=$HOST_MODULES/kernel tree=$LABELLED/$KERNEL index file copy copies=()
    [[ -d $reference ]] || reference=$HOST_MODULES
    rm -rf "$LABELLED" && mkdir -p "$tree" || return 1
    for index in "$MOUNT/opt/lib/modules/$KERNEL"/modules.*; do
        ln -s "$index" "$tree/" || return 1
    done
    for file in "${IMAGE_FILES[@]}"; do
        copy=$tree/${file#*"/lib/modules/$KERNEL/"}
        mkdir -p "${copy%/*}" && cp "$file" "$copy" || return 1
        copies+=("$copy")
    done
    for file in "${NODE_FILES[@]}"; do
        copy=$tree/${file#*"/lib/modules/$KERNEL/"}
        mkdir -p "${copy%/*}" && ln -s "$(realpath "$file")" "$copy" || return 1
    done
    chcon --reference="$reference" "${copies[@]}"
}

# Where SELinux is enforced, modprobe may load only files that are labelled as the kernel's own modules, and an image's
# are not.
label_modules() {
    [[ $(cat "$DAY1_ROOT/sys/fs/selinux/enforce" 2>/dev/null) == 1 ]] || return 0
    local output=$RUN/label.log
    if ! bounded "$(left)" "$output" copy_modules || ! link_module_root "$LABELLED"; then
        error "cannot label the modules of image $REFERENCE as SELinux wants them: $(one_line "$output")"
        return 1
    fi
}

install_firmware() {
    [[ -n $FIRMWARE_FILES_PATH ]] || return 0
    local parameter=$SYS_MODULE/firmware_class/parameters/path target source=$MOUNT$FIRMWARE_FILES_PATH
    target=$(tr -d '\n' <"$parameter" 2>/dev/null)
    if [[ -z $target ]]; then
        target=/var/lib/firmware
        printf '%s' "$target" >"$parameter" || {
            error "cannot set the kernel's firmware path $parameter to $target"
            return 1
        }
    fi
    target=$DAY1_ROOT$target
    # The dot copies dotfiles as well.
    if ! mkdir -p "$target" || ! cp -R --preserve=mode,timestamps,links "$source/." "$target/" 2>"$RUN/firmware.log"; then
        error "cannot copy the firmware to $target: $(one_line "$RUN/firmware.log")"
        return 1
    fi
    [[ -e $DAY1_ROOT/sys/fs/selinux/enforce ]] || return 0
    # Kernels from 6.16 on check firmware_load on the file's label.
    (cd "$source" && find . -mindepth 1 -print0) |
        (cd "$target" && xargs -0 -r chcon -h --reference="$DAY1_ROOT/usr/lib/firmware") ||
        say "could not label all firmware files as /usr/lib/firmware is"
}

# Late udev events would bring a removed in-tree module back beside the new one.
write_blacklist() {
    local name
    mkdir -p "${BLACKLIST%/*}" || return 1
    for name in "${IN_TREE_MODULES_TO_REMOVE[@]}"; do
        name=$(sysfs_name "$name")
        is_from_image "$name" || printf 'blacklist %s\ninstall %s /bin/false\n' "$name" "$name"
    done >"$BLACKLIST"
}

replace() {
    local name output=$RUN/modprobe.log
    : >"$REMOVED"
    find_driven
    write_blacklist || {
        error "cannot write $BLACKLIST"
        return 1
    }
    for name in "${UNLOAD[@]}"; do
        # Before the removal: loading a module that is still there does no harm, losing one does.
        echo "$name" >>"$REMOVED"
        # Not modprobe -r: that also removes what the module depended on, which may be another NIC's driver (its
        # reference count is 0 while it works), or a module that the new one needs.
        if ! bounded "$(left)" "$output" rmmod "$name" || [[ -d $SYS_MODULE/$name ]]; then
            error "cannot unload in-tree module $name: $(one_line "$output")"
            return 1
        fi
    done
    for name in "${IMAGE_MODULES[@]}"; do
        [[ -d $SYS_MODULE/$name ]] || echo "$name"
    done >"$INSERTING"
    if ! bounded "$(left)" "$output" modprobe_image "$KERNEL_MODULE_NAME"; then
        error "cannot load module $OOT of image $REFERENCE: $(one_line "$output")"
        return 1
    fi
    verify_loaded && verify_driven
}

# modprobe's success is not proof: it also succeeds on a module of that name that runs already.
verify_loaded() {
    local name wanted
    wanted=$(modinfo -F srcversion "$MODULE_FILE")
    if [[ ! -d $SYS_MODULE/$OOT ]]; then
        error "modprobe succeeded, but module $OOT is not in /sys/module"
    elif [[ $(srcversion_of "$OOT") != "$wanted" ]]; then
        error "module $OOT runs with srcversion '$(srcversion_of "$OOT")', the image's has '$wanted'"
    elif ! taint_has_o "$OOT"; then
        error "module $OOT runs without taint O: it is not the out-of-tree one"
    else
        for name in "${UNLOAD[@]}"; do
            if [[ -d $SYS_MODULE/$name ]] && ! is_replaced "$name"; then
                error "in-tree module $name came back while $OOT was loaded"
                return 1
            fi
        done
        return 0
    fi
    return 1
}

# A module is in the kernel also where its driver refused every device, and a network card without a driver is no
# interface. Devices that the new module does not claim are not its own: what it replaces may have driven more.
verify_driven() {
    local device file pattern
    for device in "${DRIVEN[@]}"; do
        [[ -e $device/modalias && ! -e $device/driver ]] || continue
        while read -r pattern; do
            # shellcheck disable=SC2053 # a glob, as the kernel's own tools read it
            [[ $(<"$device/modalias") == $pattern ]] || continue
            error "module $OOT is loaded, but its driver did not take ${device##*/}, which ${UNLOAD[*]} had"
            return 1
        done < <(for file in "${IMAGE_FILES[@]}"; do modinfo -F alias "$file"; done)
    done
}

rollback() {
    local name output=$RUN/rollback.log back=()
    [[ -f $REMOVED ]] || return 0
    rm -f "$BLACKLIST"
    while read -r name; do
        [[ -d $SYS_MODULE/$name ]] || continue
        bounded 10 "$output" rmmod "$name" || error "cannot unload module $name again: $(one_line "$output")"
    done < <([[ ! -f $INSERTING ]] || tac "$INSERTING")
    while read -r name; do
        if bounded 10 "$output" modprobe "$name" && [[ -d $SYS_MODULE/$name ]]; then
            back+=("$name")
        else
            error "cannot load in-tree module $name again: $(one_line "$output")"
        fi
    done < <(tac "$REMOVED")
    rm -f "$REMOVED" "$INSERTING"
    [[ ${#back[@]} -eq 0 ]] || say "in-tree again: ${back[*]}"
    DEADLINE=$(($(now) + 5))
    settle
}

# --- the three actions ----------------------------------------------------------------------------------

condition() {
    mkdir -p "$RUN" || exit 255
    rm -f "$LOAD_RESULT"
    if record_is_current && image_in_store; then
        exit 0
    fi
    say "no verified image $REFERENCE for kernel $KERNEL is on this node: the in-tree driver stays; $PULL_UNIT will fetch it"
    exit 1
}

# ends RESULT: what the pull unit of this boot is told.
ends() { printf '%s\n' "$1" >"$LOAD_RESULT"; }
cleanup() {
    rollback
    rm -rf "$LABELLED"
    unmount_image
}

# Mounts the recorded image, and sees whether it is what it was when it was recorded.
open_image() {
    local change
    mount_image "$(record_field image)" "$(left)" || return
    change=$(comm -3 <(sed '1,/^$/d' "$RECORD" | LC_ALL=C sort) <(inventory "$MOUNT" 2>&1 | LC_ALL=C sort) | head -n 1 | tr -d '\t')
    [[ -z $change ]] && return 0
    error "image $REFERENCE is damaged on this node, first at: $change"
    return 1
}

succeed() {
    ends loaded
    rm -f "$REBOOTS" "$REMOVED" "$INSERTING"
    say "$*"
    exit 0
}

load() {
    STARTED=$(cut -d ' ' -f 1 "$DAY1_ROOT/proc/uptime" 2>/dev/null || echo 0)
    mkdir -p "$RUN" || die "cannot make $RUN"
    ends failed
    trap cleanup EXIT
    trap 'error "stopped after ${LOAD_TIMEOUT} s, the time that load_timeout gives"; exit 1' TERM
    settle
    open_image
    status=$?
    [[ $status -ne 124 ]] || exit 1
    if [[ $status -ne 0 ]]; then
        ends damaged
        die "$PULL_UNIT will pull the image again; the in-tree driver stays until the next boot"
    fi
    check_image "$MOUNT" || exit 1
    plan_removal || exit 1
    plan_running_module
    case $? in
    1) exit 1 ;;
    2) succeed "$OOT (srcversion $(srcversion_of "$OOT")) is loaded already, nothing to do" ;;
    esac
    label_modules || exit 1
    install_firmware || exit 1
    # With no time left the swap would be cut and undone; mounting and reading the image took it.
    [[ $(now) -lt $DEADLINE ]] ||
        die "image $REFERENCE was not mounted and read within ${LOAD_TIMEOUT} s: raise load_timeout; the in-tree driver stays"
    if ! replace; then
        kernel_log
        exit 1
    fi
    settle
    succeed "loaded $OOT (srcversion $(srcversion_of "$OOT")) ${UNLOAD[*]:+in place of }${UNLOAD[*]:-with no in-tree module to remove}"
}

recover() {
    [[ -f $REMOVED || -f $RUN/mounted || -d $LABELLED ]] || exit 0
    say "the load was cut short; putting back what it removed"
    cleanup
}

case $ACTION in
condition | load | recover) "$ACTION" ;;
*)
    error "unknown action $ACTION"
    exit 255
    ;;
esac
