# Ends the job's processes when its walltime is over, or when it is to be cancelled and nobody else can do it; these run
# beside the job and leave no sleep behind.

watch_walltime() {
  trap 'kill -KILL $! 2>/dev/null; exit 0' TERM # TERM is lost on a process that is just being forked
  [ -s exit ] && exit 0
  sleep "$wall" &
  wait $!
  trap 'exit 0' TERM
  : >walltime
  end_job
}

# a job in a pack cannot be cancelled in the queue
watch_cancel() {
  trap 'kill -KILL $! 2>/dev/null; exit 0' TERM
  read -r own _ </proc/self/stat
  sid=$$ token=$WLMCTL_TOKEN skip=" $$ $own $dog $pulse "
  until [ -e cancel ]; do
    [ -s exit ] && exit 0
    # where the wrapper alone was killed, its command can still be cancelled, as long as it lives
    lives $$ "$born" || { scan && [ "$live" ]; } || exit 0
    sleep 1 &
    wait $!
  done
  trap 'exit 0' TERM
  end_job
}

# TERM to all of it but the wrapper, and after the grace period KILL, until nothing lives
end_job() {
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
