# Ends the job's processes when its walltime is over; runs beside the job, in its session, and leaves no sleep behind.
watch_walltime() {
  trap 'kill -KILL $! 2>/dev/null; exit 0' TERM # TERM is lost on a process that is just being forked
  [ -s exit ] && exit 0
  sleep "$wall" &
  wait $!
  trap 'exit 0' TERM
  : >walltime
  read -r own _ </proc/self/stat
  sid=$$ token=$WLMCTL_TOKEN skip=" $$ $own "
  scan
  signal TERM
  clock
  began=$now
  while scan && [ "$live" ]; do
    clock
    [ $((now - began)) -lt $((grace * 100)) ] || signal KILL
    [ $((now - began)) -lt $((grace * 100 + 1000)) ] || exit 0
    nap 100
  done
  exit 0
}
