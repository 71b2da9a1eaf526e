# Ends the job's processes when its walltime is over; runs beside the job, in its session, and leaves no sleep behind.
watch_walltime() {
  trap 'kill $! 2>/dev/null; exit 0' TERM
  sleep "$wall" &
  wait $!
  : >walltime
  read -r own _ </proc/self/stat
  sid=$$ token=$WLMCTL_TOKEN skip=" $$ $own "
  scan
  signal TERM
  t=0
  while scan && [ "$live" ]; do
    [ $t -lt $((grace * 1000)) ] || signal KILL
    [ $t -lt $((grace * 1000 + 10000)) ] || exit 0
    nap 100
    t=$((t + 100))
  done
  exit 0
}
