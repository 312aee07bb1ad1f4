#!/bin/bash
# Waits until NetworkManager's dispatcher has run, which on older clusters wrote the name servers.

while true; do
    state=$(systemctl show --property=ActiveState --value NetworkManager-dispatcher.service)
    result=$(systemctl show --property=Result --value NetworkManager-dispatcher.service)
    if [[ $state == inactive && $result == success ]]; then
        echo "the dispatcher is done"
        break
    fi
    echo "the dispatcher is $state ($result)"
    sleep 1
done
