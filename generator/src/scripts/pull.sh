#!/bin/bash
# Pulls the driver image for the running kernel when it is not here, and reboots so that it is loaded before
# the network starts.
#   pull.sh CONFIG

# shellcheck source=/dev/null
. "${1:?the config file}" || exit 1
# shellcheck source=generator/src/scripts/library.sh
. "$LIBRARY" || exit 1

PULLING=$STATE/pulling
PULLED=$RUN/pulled
PULL_LOG=$RUN/pull.log
BOOT_ID=$(cat "$DAY1_ROOT/proc/sys/kernel/random/boot_id" 2>/dev/null)
AGAIN="to try again: 'systemctl restart $PULL_UNIT'"
# What more attempts rarely cure. A tag or a secret may still arrive, so it is tried thrice. A certificate that is
# not valid yet is not among it: the clock may be wrong until the first answer of a time server.
LASTING='manifest unknown|not found|unauthorized|authentication required|denied|invalid reference|no image found in|unknown authority|no space left'
ATTEMPTS_IF_LASTING=3

# --- stopping -------------------------------------------------------------------------------------------

REBOOT_ASKED=no
# shellcheck disable=SC2317 # the trap below calls it
stopped() {
    local jobs
    jobs=$(jobs -p)
    # shellcheck disable=SC2086 # a list of process ids
    [[ -z $jobs ]] || { kill $jobs; wait $jobs; } 2>/dev/null
    unmount_image
    if [[ $REBOOT_ASKED == no ]]; then
        settle_store
        say "stopped before the image was ready"
    fi
    exit 0
}
trap stopped TERM
trap unmount_image EXIT

# wait lets a trap run at once, a command in the foreground does not.
run() {
    "$@" &
    wait $!
}

# --- the store ------------------------------------------------------------------------------------------

# containers/storage does not flush layers: a power cut leaves files that look complete and are not. So no
# layer that a cut may have caught is ever used again.
settle_store() {
    [[ -e $PULLING ]] || return 0
    sync -f "$STATE" && rm -f "$PULLING"
}
wipe_store() {
    say "$1: removing all images of $MACHINE_CONFIG from this node"
    findmnt -rno TARGET | awk -v store="$STORE/" 'index($0, store) == 1' | sort -r | xargs -r umount -l
    rm -rf "$STORE" "$STATE/records" "$RUN/store" "$RUN/libpod" || die "cannot remove $STORE"
    rm -f "$PULLING"
    mkdir -p "$STATE/records" || die "cannot make $STATE/records"
}

# Writes the record of image $1, mounted and checked, so that it is either whole on disk or not there.
write_record() {
    local new=$STATE/records/.new
    {
        printf 'reference=%s\nfirmware=%s\nimage=%s\nboot=%s\n\n' "$REFERENCE" "$FIRMWARE_FILES_PATH" "$1" "$BOOT_ID"
        inventory "$MOUNT"
    } >"$new" && sync -f "$STATE" && sync "$new" && mv "$new" "$RECORD" && sync "${RECORD%/*}"
}

# `podman pull` ends with the image's id on standard output; asking another podman for it would cost a start of one.
pulled_id() { tail -n 1 "$PULLED"; }

# Makes the pulled image the one to load at the next boot, if this kernel can load it.
accept_image() {
    local id
    id=$(pulled_id)
    [[ -n $id ]] || die "image $REFERENCE was pulled, but podman named no image"
    mount_image "$id" 120 || exit 1
    check_image "$MOUNT" || die "not rebooting for an image that this kernel cannot load; $AGAIN"
    write_record "$id" || die "cannot write $RECORD (disk full?); $AGAIN"
    unmount_image
    say "image $REFERENCE ($id) is here and verified"
}

# Keeps the images of this kernel and of the one before it.
prune() {
    local file kept='' count=0 id others=()
    mapfile -t others < <(find "$STATE/records" -maxdepth 1 -type f ! -name '.*' ! -samefile "$RECORD" -printf '%T@ %p\n' | sort -rn | cut -d ' ' -f 2-)
    [[ ${#others[@]} -le 1 ]] || rm -f "${others[@]:1}"
    for file in "$RECORD" "${others[@]:0:1}"; do
        kept+=" $(sed -n 's/^image=//p;/^$/q' "$file") "
    done
    for file in "$STORE"/*-images/*/; do
        id=$(basename "$file")
        [[ -d $file && $kept != *" $id "* ]] || continue
        podman_here rmi --force "$id" >/dev/null && count=$((count + 1))
    done
    [[ $count -eq 0 ]] || say "removed $count images that no kept kernel uses"
}

# --- pulling --------------------------------------------------------------------------------------------

# One attempt of at most $1 seconds.
pull_once() {
    local authfile=()
    [[ -f $DAY1_ROOT$PULL_SECRET_PATH ]] && authfile=(--authfile "$DAY1_ROOT$PULL_SECRET_PATH")
    if ! touch "$PULLING" || ! sync "$PULLING" "$STATE"; then
        echo "cannot write $PULLING" >"$PULL_LOG"
        return 1
    fi
    timeout --kill-after=10 "$1" podman "${PODMAN_OPTIONS[@]}" pull "${authfile[@]}" "$REFERENCE" \
        >"$PULLED" 2>"$PULL_LOG" &
    wait $!
    local status=$?
    [[ $status -ne 124 ]] || echo "no end after $1 s" >>"$PULL_LOG"
    settle_store || status=1
    return "$status"
}
why() { grep -v '^$' "$PULL_LOG" | tail -n 1; }

# Pulls within PULL_TIMEOUT. Holds the lock shared while podman works, so that no other MachineConfig's reboot
# cuts it, and while it returns, until the image is recorded.
pull() {
    local attempt=0 pause=5 deadline=$(($(now) + PULL_TIMEOUT)) left
    while :; do
        attempt=$((attempt + 1))
        left=$((deadline - $(now)))
        run flock -s 9
        pull_once "$((left > 1 ? left : 1))" && return 0
        flock -u 9
        if [[ $attempt -ge $ATTEMPTS_IF_LASTING ]] && grep -qiE "$LASTING" "$PULL_LOG"; then
            break
        fi
        [[ $(($(now) + pause)) -lt $deadline ]] || break
        say "attempt $attempt to pull $REFERENCE failed: $(why); the next in $pause s"
        run sleep "$pause"
        pause=$((pause * 2 > 60 ? 60 : pause * 2))
    done
    die "cannot pull $REFERENCE after $attempt attempts: $(why); the in-tree driver stays; $AGAIN"
}

# --- rebooting ------------------------------------------------------------------------------------------

# Where neither the image nor the counter survives a reboot, a reboot leads nowhere but to the next one.
refuse_volatile() {
    local path type
    for path in "$STATE" "${REBOOTS%/*}"; do
        type=$(findmnt -nro FSTYPE -T "$path" | tail -n 1)
        case $type in
        tmpfs | ramfs | overlay | rootfs | squashfs | erofs)
            die "${path#"$DAY1_ROOT"} is on $type and does not outlive a reboot: Day-1 loading needs a node with /var and /etc on disk; the in-tree driver stays"
            ;;
        esac
    done
}

# The counter goes to the disk before the reboot is asked for.
count_reboot() {
    local count
    count=0
    [[ ! -e $REBOOTS ]] || count=$(cat "$REBOOTS")
    # Unreadable, or no number that this script wrote (bash takes 08 for a faulty octal one): full.
    [[ $count =~ ^(0|[1-9][0-9]?)$ ]] || count=$REBOOT_LIMIT
    if [[ $count -ge $REBOOT_LIMIT ]]; then
        die "$count reboots in a row did not get module $KERNEL_MODULE_NAME loaded, no more are made; see '$LOAD_UNIT' in the journal; to allow $REBOOT_LIMIT more: remove ${REBOOTS#"$DAY1_ROOT"}, then 'systemctl restart $PULL_UNIT'"
    fi
    count=$((count + 1))
    if ! printf '%s\n' "$count" >"$REBOOTS.new" || ! sync "$REBOOTS.new" || ! mv "$REBOOTS.new" "$REBOOTS" ||
        ! sync "${REBOOTS%/*}" || [[ $(cat "$REBOOTS") != "$count" ]]; then
        die "cannot write $REBOOTS: not rebooting without a count of the reboots"
    fi
    say "reboot $count of at most $REBOOT_LIMIT, to load $KERNEL_MODULE_NAME from $REFERENCE"
}

# Returns never: the unit stays in its start, and kubelet waits for it, until the reboot stops it. With several
# MachineConfigs the first one's reboot serves all.
reboot_node() {
    flock -u 9
    run flock -x -w "$PULL_TIMEOUT" 9 || die "another Day-1 MachineConfig has been pulling for $PULL_TIMEOUT s; $AGAIN"
    count_reboot
    REBOOT_ASKED=yes
    systemctl reboot || die "systemctl reboot failed"
    run sleep "$REBOOT_WAIT"
    die "the reboot was asked for $REBOOT_WAIT s ago and has not come"
}

# --- what to do -----------------------------------------------------------------------------------------

# The image is here and this kernel did not take it. Returns if the registry has had a newer one.
after_failed_load() {
    local before news
    before=$(record_field image)
    if [[ $(record_field boot) == "$BOOT_ID" ]]; then
        return 0
    elif [[ $REFERENCE == *@sha256:* ]]; then
        news='a digest does not change'
    elif run flock -s 9 && ! pull_once "$PULL_TIMEOUT"; then
        news="the registry has no answer: $(why)"
    elif [[ $(pulled_id) == "$before" ]]; then
        news='the registry has no newer one'
    else
        say "the registry has a newer image $REFERENCE"
        accept_image
        return 0
    fi
    say "image $REFERENCE is here, but was not loaded: see $LOAD_UNIT; $news"
    exit 0
}

main() {
    local result
    mkdir -p "$STATE/records" "$RUN" "${REBOOTS%/*}" || die "cannot make the directories of $MACHINE_CONFIG"
    # A dot, because no MachineConfig's directory beside it begins with one.
    exec 9>"$DAY1_ROOT/run/day1/.reboot.lock" || die "cannot open the reboot lock"
    result=$(cat "$LOAD_RESULT" 2>/dev/null || echo none)
    if [[ $result == loaded ]] && record_is_current && image_in_store; then
        prune
        say "image $REFERENCE is here, nothing to do"
        exit 0
    fi
    refuse_volatile
    if [[ $result == damaged ]]; then
        wipe_store "the image is damaged"
    elif [[ -e $PULLING ]]; then
        wipe_store "an earlier pull was cut"
    fi
    if record_is_current && image_in_store; then
        if [[ $result == failed ]]; then
            after_failed_load
        elif [[ $(record_field boot) != "$BOOT_ID" ]]; then
            die "image $REFERENCE is here, but $LOAD_UNIT did not run in this boot: see 'systemctl status $LOAD_UNIT'"
        fi
        say "image $REFERENCE is here since this boot"
    else
        say "pulling $REFERENCE"
        pull
        accept_image
    fi
    # Success sets the counter back, so a reboot here could repeat without end.
    if [[ $result == loaded ]]; then
        say "module $KERNEL_MODULE_NAME is loaded since this boot and stays; the next boot loads it from $REFERENCE"
        exit 0
    fi
    reboot_node
}

main
