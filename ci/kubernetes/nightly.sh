#!/usr/bin/env bash
# Runs nightly-job.yaml in the current context's namespace, one Job after the other; its exit code is that of the joined
# run. What the night before left is removed first, but for the cache.
set -euo pipefail
cd "$(dirname "$0")"
jobs=(day1-nightly-images day1-nightly day1-nightly-merge)

kubectl delete job --ignore-not-found "${jobs[@]}"
kubectl apply --filename nightly-job.yaml

# Waits until a Job has ended, well or not.
ended() {
    local waiting=()
    for condition in Complete Failed; do
        kubectl wait --for "condition=$condition" --timeout 5h "job/$1" >/dev/null &
        waiting+=($!)
    done
    wait -n "${waiting[@]}" || true
    kill "${waiting[@]}" 2>/dev/null || true
    wait "${waiting[@]}" 2>/dev/null || true
}

for job in "${jobs[@]}"; do
    kubectl patch job "$job" --patch '{"spec": {"suspend": false}}'
    ended "$job"
done
kubectl logs job/day1-nightly-merge
kubectl get pods --selector job-name=day1-nightly-merge \
    --output jsonpath='{.items[0].status.containerStatuses[0].state.terminated.exitCode}' |
    { read -r code || [ -n "${code:-}" ]; exit "${code:-3}"; }
