# What the queue runs on the first node, before the wrapper, in the job's private folder. Variables: folder, token, nonce,
# shell, wall, grace, place (words that tell two executions of one job apart).
cd -- "$folder" || exit 96
export WLMCTL_TOKEN="$token"
oom=
while read -r key value; do [ "$key" = oom_kill ] && oom=$value; done </proc/vmstat
set -- "$nonce-${place% *}-${place#* }" "$shell" "" "script.$nonce" "$oom" "$wall" "$grace"
