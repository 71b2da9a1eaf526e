# One execution of a job. It is started in the job's private folder, as leader of a session of its own, with the token
# in its environment; all the rest is arguments. An empty text stands for the script in a file. Variables that a batch
# system may set: place (words for the fence), beat (seconds between signs of life), report (the exit code is the job's),
# packed (who cancels it only leaves a mark).
n=$1 shell=$2 text=$3 file=$4 oom=$5 wall=$6 grace=$7
trap 'term=1' HUP INT QUIT TERM XCPU
# a warning that some queues and users have sent to a job: it must not end the wrapper
trap : USR1 USR2
[ -s exit ] && exit 0

# point 1: started, no fence

# The fence admits one execution: whatever ln returned, what can be read back decides.
read -r boot </proc/sys/kernel/random/boot_id
read -r host </proc/sys/kernel/hostname
read -r s </proc/self/stat
set -- ${s##*) }
born=${20}
me="$host $boot $$ $born $n${place:+ $place}"
own=$n.$$ # a command that is run twice brings its nonce twice
printf '%s\n' "$me" >owner.$own || exit 97
LC_ALL=C ln owner.$own fence 2>/dev/null || [ -e fence ] ||
  { mkdir take.$own && mv owner.$own take.$own/owner && mv -T take.$own fence; } 2>/dev/null
fence=fence
[ -d fence ] && fence=fence/owner
read -r won <$fence
if [ "$won" != "$me" ]; then
  printf '%s\n' "$me" >>refused
  exit 0
fi

# point 2: the fence is ours, nothing has run
# a sign of life for who cannot see this process
if [ "$beat" ]; then
  {
    trap 'kill -KILL $! 2>/dev/null; exit 0' TERM
    while kill -0 $$; do
      printf . >beat
      sleep "$beat" &
      wait $!
    done
  } 2>/dev/null &
  pulse=$!
fi
[ "$wall" ] && { watch_walltime & dog=$!; }
[ "$packed" ] && { watch_cancel & guard=$!; }
[ "$shell" ] || if command -v bash >/dev/null 2>&1; then shell='bash -l'; else shell=sh; fi
if [ "$term" ]; then
  code=143
elif [ "$text" ]; then
  $shell -c "$text" </dev/null >stdout 2>stderr
  code=$?
else
  $shell "./$file" </dev/null >stdout 2>stderr
  code=$?
fi
# point 3: the command has ended, nobody knows
trap '' HUP INT QUIT TERM XCPU USR1 USR2

if [ "$dog" ] && [ -e walltime ]; then
  timed=1
  while kill -0 $dog; do wait $dog; done 2>/dev/null
fi
if [ "$guard" ] && [ -e cancel ]; then
  while kill -0 $guard; do wait $guard; done 2>/dev/null
fi
if [ $code = 137 ] && [ "$oom" ]; then
  while read -r key value; do [ "$key" = oom_kill ] && break; done </proc/vmstat
  [ "${value:-0}" -gt "$oom" ] && memory=1
fi

# One write with an end mark: a file without it counts as none. A full disk may get room again.
until printf '%s\n' "wlm1 $code $n ${term:-0} ${timed:-0} ${memory:-0} self end" >exit; do
  tries=$((tries + 1))
  [ $tries -gt 60 ] && exit 98
  sleep 1
done 2>/dev/null
# point 4: the exit file is there
# behind the exit file: a watchdog that this signal finds too early sees the file and ends
kill $dog $guard $pulse 2>/dev/null
exit "${report:+$code}"
