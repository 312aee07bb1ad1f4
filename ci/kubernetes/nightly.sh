#!/usr/bin/env bash
# Runs nightly-job.yaml in the current context's namespace, one Job after the other. Its exit code is that of the joined run,
# and 3 where there is none. What the night before left is removed first, but for the cache.
set -Eeuo pipefail
trap 'echo "error: the night did not come to its end" >&2; exit 3' ERR
cd "$(dirname "$0")"
images=day1-nightly-images trials=day1-nightly merge=day1-nightly-merge

# Foreground: a pod of last night would write into this one.
kubectl delete job --ignore-not-found --cascade foreground "$images" "$trials" "$merge"
kubectl apply --filename nightly-job.yaml

has_ended() {
    kubectl get job "$1" --output 'jsonpath={.status.conditions[?(@.status=="True")].type}' |
        grep --quiet --word-regexp --regexp Complete --regexp Failed
}

# Starts a Job, and waits until it has ended, well or not.
run() {
    local waiting condition until=$((SECONDS + 5 * 60 * 60))
    kubectl patch job "$1" --patch '{"spec": {"suspend": false}}'
    until has_ended "$1"; do
        if [ "$SECONDS" -ge "$until" ]; then
            echo "error: $1 has not ended in 5 hours" >&2
            return 1
        fi
        waiting=()
        for condition in Complete Failed; do
            kubectl wait --for "condition=$condition" --timeout 1h "job/$1" >/dev/null &
            waiting+=($!)
        done
        # That a wait ends does not say that the Job did: the API server may be away for a while.
        wait -n "${waiting[@]}" || sleep "${DAY1_PAUSE:-10}"
        kill "${waiting[@]}" 2>/dev/null || true
        wait "${waiting[@]}" 2>/dev/null || true
    done
}

# The exit codes of a Job's pods.
codes() {
    kubectl get pods --selector "job-name=$1" \
        --output 'jsonpath={.items[*].status.containerStatuses[*].state.terminated.exitCode}'
}

run "$images"
if [ -z "$(codes "$images")" ]; then
    echo "error: no pod of $images has run, so what lies in the volumes is of another night" >&2
    exit 3
fi
run "$trials"
run "$merge"
kubectl logs "job/$merge" || echo "warning: what the merge said can't be read" >&2
code=$(codes "$merge")
case $code in
[0-3]) exit "$code" ;;
*)
    echo "error: the merge ended with ${code:-no exit code}" >&2
    exit 3
    ;;
esac
