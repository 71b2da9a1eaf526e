# Lists this login's living jobs: of each wrapper, which leads its session in the job's private folder, folder and token.
for p in $(grep -lsF WLMCTL_TOKEN= /proc/[0-9]*/environ </dev/null); do
  p=${p#/proc/} p=${p%/environ}
  process "$p" || continue
  set -- $fields
  [ "$4" = "$p" ] && [ "$1" != Z ] || continue
  token=$(tr '\0' '\n' <"/proc/$p/environ" | sed -n 's/^WLMCTL_TOKEN=//p')
  folder=$(readlink "/proc/$p/cwd") || continue
  printf 'wlm-job %s %s %s\n' "$p" "$token" "$folder"
done
echo wlm-listed
