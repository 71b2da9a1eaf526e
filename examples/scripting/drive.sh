#!/usr/bin/env bash
# Drives wlmctl from a script: a daemon on this host, three experiments, their states as JSON, and the exit codes.
# Everything it makes lies in a temporary folder; stdout is for results, so ids can be taken with $(...).
set -euo pipefail
cd "$(dirname "$0")"

work=$(mktemp -d)
export WLMCTL_STORE=sqlite:///$work/wlmctl.db
finish() {
  kill "$daemon" 2>/dev/null && wait "$daemon" || true
  rm -rf "$work"
}
wlmctl orchestrator --slots 4 2>"$work/orchestrator.log" &
daemon=$!
trap finish EXIT

# expect CODE COMMAND...: the command must end with just this exit code.
expect() {
  local wanted=$1 code=0
  shift
  "$@" || code=$?
  echo "$(printf '%q ' "$@")-> exit code $code"
  [ "$code" = "$wanted" ] || { echo "expected $wanted" >&2; cat "$work/orchestrator.log" >&2; exit 1; }
}

# A copy, because jobs on "local" write beside the experiment file.
cp -- *.yaml "$work"

squares=$(wlmctl submit "$work/ok.yaml" --param limit=5)
failing=$(wlmctl submit "$work/failing.yaml")
slow=$(wlmctl submit "$work/slow.yaml")

expect 0 wlmctl wait "$squares" --timeout 60s
expect 1 wlmctl wait "$failing" --timeout 60s
expect 124 wlmctl wait "$slow" --timeout 1s
expect 0 wlmctl cancel --wait "$slow"
expect 5 wlmctl wait "$slow"
expect 3 wlmctl status no-such-experiment
expect 2 wlmctl submit "$work/no-such-file.yaml"

# The whole answer is one JSON document with "version": 1.
wlmctl status "$squares" -o json | python3 -c '
import json, sys
(experiment,) = json.load(sys.stdin)["experiments"]
values = {task["id"]: int(task["outputs"]["value"]) for task in experiment["tasks"]}
assert experiment["state"] == "succeeded", experiment["state"]
assert values == {f"square[{n}]": n * n for n in range(1, 6)}, values
print("sum of squares:", sum(values.values()))
'
wlmctl status "$failing" -o json | python3 -c '
import json, sys
(experiment,) = json.load(sys.stdin)["experiments"]
for task in experiment["tasks"]:
    print(task["id"], task["state"], task["exit_code"], task["failure_class"])
'
wlmctl logs "$failing" broken --stderr
# Many ids at once, from a pipe: the worst of them decides the exit code.
expect 1 bash -c 'wlmctl status -q | wlmctl wait -'
