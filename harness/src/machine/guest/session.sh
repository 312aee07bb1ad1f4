# A person's way into the guest: a shell on a terminal of its own, or a command. It is sent when somebody comes; before, nothing of
# it is in the guest. Each of its streams is a virtio-serial port that was plugged in for it, so it needs no network. What comes out
# of a port ends with a word that only the harness knows.
# Set before: SESSION, the name of its ports, WORD, and either ROWS, COLUMNS and TERM, or COMMAND.
set -u

state=/run/day1-sessions
mkdir -p "$state" || exit

# The kernel has the port a moment after it was plugged in.
port() {
    for entry in /sys/class/virtio-ports/*; do
        name=
        read -r name 2>/dev/null <"$entry/name"
        [ "$name" = "$1" ] || continue
        device=/dev/${entry##*/}
        [ ! -c "$device" ] || return 0
    done
    if [ "${2-0}" -gt 100 ]; then
        echo "the guest's kernel shows no virtio-serial port $1" >&2
        return 1
    fi
    sleep 0.1
    port "$1" "$((${2-0} + 1))"
}

# In the domain of a person who has logged in: from the agent's, each program would go on to its own, most of which may not use
# the ports.
domain=unconfined_u:unconfined_r:unconfined_t:s0
runcon "$domain" true 2>/dev/null || domain=
# What login would set; and the signals that a shell's background work ignores.
login="cd /root; exec ${domain:+runcon $domain} env -i --default-signal HOME=/root USER=root LOGNAME=root SHELL=/bin/bash LANG=C.UTF-8"
login="$login PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Of a process group of its own, so that all of it ends when the person is gone.
as_leader="echo \$\$ >$state/$SESSION.pid"

if [ -n "${COMMAND-}" ]; then
    port "$SESSION.in" && exec 5<"$device" || exit
    port "$SESSION.out" && exec 6>"$device" || exit
    port "$SESSION.err" && exec 7>"$device" || exit
    export COMMAND
    setsid -w sh -c "$as_leader; $login /bin/bash -c \"\$COMMAND\"" <&5 >&6 2>&7 5<&- 6>&- 7>&-
    status=$?
    printf '%s' "$WORD" >&6
    printf '%s' "$WORD" >&7
else
    port "$SESSION" && exec 5<>"$device" || exit
    known=
    for terminals in /etc/terminfo /lib/terminfo /usr/share/terminfo; do
        [ ! -e "$terminals/${TERM%"${TERM#?}"}/$TERM" ] || known=$TERM
    done
    TERM=${known:-vt100}
    terminal="tty >$state/$SESSION.tty; stty sane rows $ROWS columns $COLUMNS; $login TERM=$TERM /bin/bash -l"
    SHELL=/bin/sh
    export SHELL terminal
    # Not every CoreOS has `script`; systemd's own needs a systemd that still works.
    if command -v script >/dev/null; then
        made="exec script --quiet --return --flush --command \"\$terminal\" /dev/null"
    else
        made="exec systemd-run --quiet --collect --wait --pty /bin/sh -c \"\$terminal\""
    fi
    setsid -w sh -c "$as_leader; $made" <&5 >&5 2>&5 5<&-
    status=$?
    printf '%s' "$WORD" >&5
fi
rm -f "$state/$SESSION".*
echo "ended $status"
