# One job of the queue that runs its members one after the other, each like a job of its own: what befalls one is no
# matter to the others. Variable: run (what a member runs, behind its folder and its token).
read -r host_boot </proc/sys/kernel/random/boot_id
trap 'over=1; kill -TERM $child 2>/dev/null' HUP INT QUIT TERM XCPU
trap : USR1 USR2

# member: the next one, by the variables folder and token
member() {
  # point 1: between two members
  [ "$over" ] && return
  cd -- "$folder" 2>/dev/null || return
  sh -c "$run" wlm "$folder" "$token" </dev/null &
  child=$!
  while kill -0 $child 2>/dev/null; do wait $child; done
  # point 2: a member has ended, nobody knows
  # a signal for all of the pack may come to its member first
  code=137 term=
  { read -r _ code _ term _ <exit; } 2>/dev/null
  if [ "$code" -gt 128 ] || [ "$term" != 0 ]; then sleep 1; fi
  # where the pack itself is being ended the queue says why; else its end is no matter to this member
  fence=fence boot= pid=
  [ -d fence ] && fence=fence/owner
  { read -r _ boot pid _ <$fence; } 2>/dev/null
  [ "$boot $pid" = "$host_boot $child" ] && ! [ "$over" ] && true >passed
  child=
}
