# shellcheck shell=bash
# What the load and the pull script of one Day-1 MachineConfig share. Sourced, never run by itself.
# The parameters (MACHINE_CONFIG, KERNEL_MODULE_IMAGE, ...) come from the config file sourced before.

set -uo pipefail

# Tests put a directory in front of every path of the node; on a node this is empty.
: "${DAY1_ROOT:=}"

say() { printf 'day1: %s\n' "$*"; }
# In a unit the journal keeps the line with priority err.
error() { printf '%sday1: error: %s\n' "${JOURNAL_STREAM:+<3>}" "$*" >&2; }
die() {
    error "$*"
    exit 1
}

# Seconds since the boot began. Not bash's own SECONDS: that follows the clock, which a time server may set by years.
now() {
    local uptime
    read -r uptime _ </proc/uptime
    echo "${uptime%%.*}"
}

KERNEL=$(uname -r)
SYS_MODULE=$DAY1_ROOT/sys/module
HOST_MODULES=$DAY1_ROOT/lib/modules/$KERNEL
# The image store is this MachineConfig's own, so neither crio-wipe, nor kubelet's image collection, nor
# another MachineConfig can touch it.
STATE=$DAY1_ROOT/var/lib/day1/$MACHINE_CONFIG
STORE=$STATE/storage
RECORD=$STATE/records/$KERNEL
RUN=$DAY1_ROOT/run/day1/$RUN_NAME
# shellcheck disable=SC2034 # read by the scripts that source this
LOAD_RESULT=$RUN/load-result
# Not in /var: a /var that is made anew at each boot must not reset the counter of reboots.
# shellcheck disable=SC2034 # read by the scripts that source this
REBOOTS=$DAY1_ROOT/etc/day1/$MACHINE_CONFIG/reboots

# The tag of an image for kernel $1: characters that no tag may hold become `_`.
tag_for_kernel() {
    local LC_ALL=C
    local tag=${1//[^A-Za-z0-9_.-]/_}
    case $tag in
    [.-]*) tag=_${tag:1} ;;
    esac
    printf '%s\n' "${tag:0:128}"
}

# The image for kernel $1: the pinned tag or digest (`:tag`, `@sha256:...`), else the kernel's own tag.
image_reference() {
    local pin=${IMAGE_PINS[$1]-}
    printf '%s%s\n' "$KERNEL_MODULE_IMAGE" "${pin:-:$(tag_for_kernel "$1")}"
}
REFERENCE=$(image_reference "$KERNEL")

# A tmpdir of its own keeps podman's once-per-boot refresh of the node's own store apart from this one.
# No events and no systemd cgroups: both need services that are not up this early.
# Locks of its own as well: by default one piece of shared memory serves all stores of a node. Two podmans that
# start at once race to make it, and the first use of a store in a boot frees the locks of all others.
export CONTAINERS_CONF=$RUN/containers.conf
if ! mkdir -p "$RUN" || ! printf '[engine]\nlock_type = "file"\n' >"$CONTAINERS_CONF"; then
    error "cannot write $CONTAINERS_CONF"
    exit 255
fi
PODMAN_OPTIONS=(--root "$STORE" --runroot "$RUN/store" --tmpdir "$RUN/libpod"
    --events-backend none --cgroup-manager cgroupfs)
podman_here() { podman "${PODMAN_OPTIONS[@]}" "$@"; }

# bounded SECONDS OUTPUT COMMAND...: COMMAND's status, or 124 when it took too long. timeout(1) would wait
# for ever for a process that the kernel does not let die, such as modprobe in a module's init.
bounded() {
    local limit=$1 output=$2 fd pid status
    shift 2
    exec {fd}< <(
        set -m # a process group of its own, so that the kill below reaches all of it
        "$@" >"$output" 2>&1 </dev/null &
        echo $!
        wait $!
        echo $?
    )
    read -r pid <&"$fd"
    if read -r -t "$limit" status <&"$fd"; then
        exec {fd}<&-
        return "$status"
    fi
    kill -KILL -- "-$pid" 2>/dev/null
    echo "no end after $limit s" >>"$output"
    read -r -t 2 status <&"$fd" || echo "process $pid cannot be killed, it hangs in the kernel" >>"$output"
    exec {fd}<&-
    return 124
}

# The text of file $1 on one line.
one_line() { paste -s -d ' ' "$1" 2>/dev/null; }

# --- the verified image -------------------------------------------------------------------------------

# Whether a verified image is recorded for this kernel, the wanted reference and firmware path.
record_is_current() {
    [[ -f $RECORD ]] && [[ $(head -n 2 "$RECORD") == "reference=$REFERENCE"$'\n'"firmware=$FIRMWARE_FILES_PATH" ]]
}
record_field() { sed -n "s/^$1=//p;/^\$/q" "$RECORD" | head -n 1; }

# Whether the recorded image is in the store. Asking podman would cost a second or more on the way to the
# network; <driver>-images/<id> is where containers/storage keeps an image's manifest.
image_in_store() {
    local id directory
    id=$(record_field image)
    for directory in "$STORE"/*-images/"$id"; do
        [[ -n $id && -d $directory ]] && return 0
    done
    return 1
}

# Sums of everything in the mounted image $1 that the load uses: files, also those behind a link (weak-updates has
# nothing else), and where links point to.
inventory() {
    local roots=("opt/lib/modules/$KERNEL")
    [[ -n $FIRMWARE_FILES_PATH ]] && roots+=("${FIRMWARE_FILES_PATH#/}")
    (
        cd "$1" || exit 1
        find -H "${roots[@]}" -xtype f -print0 | LC_ALL=C sort -z | xargs -0 -r sha256sum -- || exit 1
        find "${roots[@]}" -type l -printf '%p -> %l\n' | LC_ALL=C sort
    )
}

# Mounts image $1 read-only within $2 seconds; MOUNT is where. Nothing in it is ever executed. 124: too slow.
MOUNT=
mount_image() {
    local output=$RUN/mount.log status
    printf '%s\n' "$1" >"$RUN/mounted"
    bounded "$2" "$output" podman_here image mount "$1"
    status=$?
    if [[ $status -ne 0 ]]; then
        error "cannot mount image $REFERENCE: $(one_line "$output")"
        return "$status"
    fi
    MOUNT=$(awk 'END { print $NF }' "$output")
    [[ -d $MOUNT ]] && return 0
    error "cannot mount image $REFERENCE: podman named no directory, but: $(one_line "$output")"
    return 1
}

unmount_image() {
    [[ -f $RUN/mounted ]] || return 0
    bounded 20 "$RUN/unmount.log" podman_here image unmount "$(<"$RUN/mounted")" ||
        say "could not unmount the image: $(one_line "$RUN/unmount.log")"
    rm -f "$RUN/mounted"
    MOUNT=
}

# --- whether this kernel can load what the image holds --------------------------------------------------

# The name under which the kernel knows a module or a module's file.
sysfs_name() {
    local name=${1##*/}
    name=${name%%.ko*}
    printf '%s\n' "${name//-/_}"
}

# modprobe on the modules in directory $1 of `link_module_root`. Newer kmod may look below usr/lib/modules, so the root
# has both; the host's modprobe.d (options, softdeps) is honoured.
modprobe_image() { modprobe -d "$RUN/root" -S "$KERNEL" "$@"; }
link_module_root() {
    mkdir -p "$RUN/root/lib" "$RUN/root/usr/lib" &&
        ln -sfn "$1" "$RUN/root/lib/modules" &&
        ln -sfn "$1" "$RUN/root/usr/lib/modules"
}

# One of the running kernel's own module files, that find's tests $@ choose; nothing when it has none.
own_module_file() { find "$HOST_MODULES/kernel" -type f -name '*.ko*' "$@" -print -quit 2>/dev/null; }

# The vermagic of the running kernel; empty when it has no module of its own.
kernel_vermagic() {
    local file
    file=$(own_module_file)
    [[ -n $file ]] && modinfo -F vermagic "$file"
}

# same_vermagic A B HAS_CRCS: as same_magic() of kernel/module/version.c: a module with symbol CRCs may come
# from another release, the part up to the first space.
same_vermagic() {
    local a=$1 b=$2
    if [[ $3 == yes ]]; then
        a=${a#"${a%% *}"}
        b=${b#"${b%% *}"}
    fi
    [[ ${a%"${a##*[! ]}"} == "${b%"${b##*[! ]}"}" ]]
}

# The exported symbols of the running kernel with their CRCs. Where the distribution ships no list of them, those
# that its own modules were built against: not all, but `module_layout` is among them, which is another one for
# another kernel. Of modules that depend on no other one, so that every symbol is vmlinux's.
SYMBOLS=$RUN/symvers
kernel_symbols() {
    local file name
    if [[ -f $HOST_MODULES/symvers.xz ]]; then
        xz -dc "$HOST_MODULES/symvers.xz"
    elif [[ -f $HOST_MODULES/symvers.gz ]]; then
        gzip -dc "$HOST_MODULES/symvers.gz"
    elif [[ -f $HOST_MODULES/symvers.zst ]]; then
        zstd -dcq "$HOST_MODULES/symvers.zst"
    else
        {
            for name in "${IN_TREE_MODULES_TO_REMOVE[@]}"; do
                name=$(sysfs_name "$name")
                own_module_file -name "${name//_/[_-]}.ko*"
            done
            own_module_file
        } | while read -r file; do
            [[ -n $(modinfo -F depends "$file") ]] || modprobe --dump-modversions "$file"
        done | awk '!seen[$2]++ { print $1 "\t" $2 "\tvmlinux" }'
    fi
}

signature_enforced() {
    [[ $(cat "$SYS_MODULE/module/parameters/sig_enforce" 2>/dev/null) == Y ]] && return 0
    grep -q -e '\[integrity\]' -e '\[confidentiality\]' "$DAY1_ROOT/sys/kernel/security/lockdown" 2>/dev/null
}

# Checks one module file $1 of the image against the kernel's vermagic $2.
check_module_file() {
    local file=$1 ours=$2 name magic crcs='' has_crcs=no symbol
    name=$(sysfs_name "$file")
    magic=$(modinfo -F vermagic "$file" 2>/dev/null) || {
        error "module $name of image $REFERENCE cannot be read: the file is no kernel module, or its compression is unknown here"
        return 1
    }
    if [[ $ours == *modversions* ]]; then
        crcs=$(modprobe --dump-modversions "$file" 2>/dev/null)
        [[ -n $crcs ]] && has_crcs=yes
    fi
    if [[ -z $ours ]]; then
        say "kernel $KERNEL has no module of its own to compare the vermagic of $name with"
    elif ! same_vermagic "$magic" "$ours" "$has_crcs"; then
        error "module $name of image $REFERENCE has vermagic '$magic', but this kernel wants '$ours': build it for kernel $KERNEL"
        return 1
    fi
    if [[ $has_crcs == yes ]]; then
        symbol=$(awk 'NR == FNR { crc[$2] = $1; next }
            ($2 in crc) && tolower(crc[$2]) != tolower($1) { print $2; exit }' \
            "$SYMBOLS" <(printf '%s\n' "$crcs"))
        if [[ -n $symbol ]]; then
            error "module $name of image $REFERENCE disagrees about version of symbol $symbol with kernel $KERNEL: build it for this kernel"
            return 1
        fi
    fi
    if signature_enforced && [[ -z $(modinfo -F sig_id "$file" 2>/dev/null) ]]; then
        error "module $name of image $REFERENCE is not signed, and this kernel loads signed modules only (Secure Boot, lockdown or module.sig_enforce): sign it with a key that the node trusts"
        return 1
    fi
}

# Checks that this kernel can load what the image mounted at $1 holds. MODULE_FILE is the module's file then, and
# IMAGE_MODULES are all modules that the image brings for it, in the order of their loading; IMAGE_FILES are their files,
# and NODE_FILES those of the node's own modules that they need.
MODULE_FILE=
IMAGE_MODULES=()
IMAGE_FILES=()
NODE_FILES=()
check_image() {
    local tree=$1/opt/lib/modules/$KERNEL versions plan=$RUN/show-depends.log word file name listed ours
    if [[ ! -d $tree ]]; then
        versions=$(find "$1/opt/lib/modules" -mindepth 1 -maxdepth 1 -printf '%f ' 2>/dev/null)
        error "image $REFERENCE has no /opt/lib/modules/$KERNEL; it is made for: ${versions:-no kernel}"
        return 1
    fi
    if [[ ! -f $tree/modules.dep ]]; then
        error "image $REFERENCE has no /opt/lib/modules/$KERNEL/modules.dep: run 'depmod -b /opt $KERNEL' when building it"
        return 1
    fi
    # modprobe passes over a file that modules.dep names and that is not there, and succeeds.
    if ! link_module_root "$1/opt/lib/modules" || ! modprobe_image --show-depends "$KERNEL_MODULE_NAME" >"$plan" 2>&1 ||
        grep -q 'No such file or directory' "$plan"; then
        error "image $REFERENCE: module $KERNEL_MODULE_NAME or a module it depends on is missing: $(one_line "$plan")"
        return 1
    fi
    MODULE_FILE=
    IMAGE_MODULES=()
    IMAGE_FILES=()
    NODE_FILES=()
    ours=$(kernel_vermagic)
    # Of vmlinux only: a module's symbols may come from another module of the image instead, with another CRC.
    kernel_symbols 2>/dev/null | awk '$3 == "vmlinux"' >"$SYMBOLS"
    while read -r word file _; do
        case $word in
        insmod)
            name=$(sysfs_name "$file")
            # A dependency through the `host` link is the node's own module.
            if [[ $(realpath "$file") == "$(realpath "$HOST_MODULES")"/* ]]; then
                for listed in "${IN_TREE_MODULES_TO_REMOVE[@]}"; do
                    if [[ $(sysfs_name "$listed") == "$name" && $name != "$(sysfs_name "$KERNEL_MODULE_NAME")" ]]; then
                        error "module $KERNEL_MODULE_NAME depends on the node's own $name, which is in the list of modules to remove"
                        return 1
                    fi
                done
                # shellcheck disable=SC2034 # read by the load script
                NODE_FILES+=("$file")
                continue
            fi
            check_module_file "$file" "$ours" || return 1
            IMAGE_MODULES+=("$name")
            # shellcheck disable=SC2034 # read by the load script
            IMAGE_FILES+=("$file")
            # Not the last one: softdeps may come after it.
            [[ $name != "$(sysfs_name "$KERNEL_MODULE_NAME")" ]] || MODULE_FILE=$file
            ;;
        install)
            error "the node's modprobe configuration runs '$file ...' instead of loading a module: see 'modprobe --showconfig'"
            return 1
            ;;
        esac
    done <"$plan"
    if [[ -z $MODULE_FILE ]]; then
        error "image $REFERENCE has no file of its own for module $KERNEL_MODULE_NAME: $(one_line "$plan")"
        return 1
    fi
    if [[ -n $FIRMWARE_FILES_PATH && -z $(find -H "$1$FIRMWARE_FILES_PATH" -xtype f -print -quit 2>/dev/null) ]]; then
        error "image $REFERENCE has no file below its firmware path $FIRMWARE_FILES_PATH"
        return 1
    fi
}
