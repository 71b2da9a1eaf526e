"""The shell texts of a build: POSIX sh, run on the machine. Variables are set by lines put before them."""

from __future__ import annotations

import shlex
from collections.abc import Mapping

#: Written last into an environment's folder: it is whole.
MARKER = ".wlmctl-complete"
#: Its time says when an environment was last asked for.
USED = ".wlmctl-used"


def with_variables(text: str, variables: Mapping[str, str]) -> str:
    """``text`` with its variables set, whatever characters their values have."""
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items()) + text


#: Takes the lock, runs the commands, writes the marker. Detached, so that it outlives the connection.
#:
#: The lock is a folder with the owner in it (host, boot, pid, start time, execution). On the same boot of the same
#: host the owner is asked for by pid and start time; elsewhere it counts as dead when its beat stands still for a
#: minute by the waiting side's own count, so that no two clocks are compared.
RUNNER = r"""
set -u
boot=-
[ -r /proc/sys/kernel/random/boot_id ] && read -r boot </proc/sys/kernel/random/boot_id
host=$(uname -n)
started_of() {
  started=
  { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
  set -- ${stat##*) }
  case $1 in Z | X) ;; *) started=${20} ;; esac
}
finish() {
  printf '%s\n' "$*" >"$BASE/end.new" && mv -f -- "$BASE/end.new" "$BASE/end"
  exit 0
}
owner_now() {
  owner=
  { read -r owner <"$LOCK/owner"; } 2>/dev/null || :
}
claim() {
  printf '%s\n' "$me" >"$LOCK/owner.$$" && mv -f -- "$LOCK/owner.$$" "$LOCK/owner"
  owner_now
  [ "$owner" = "$me" ]
}
stands_still() {
  set -- $owner
  if [ $# -eq 5 ] && [ "$1" = "$host" ] && [ "$2" = "$boot" ] && [ -r "/proc/$$/stat" ]; then
    started_of "$3"
    [ "$started" != "$4" ]
    return
  fi
  limit=60
  [ -n "$owner" ] || limit=10
  [ "$quiet" -ge "$limit" ]
}
started_of $$
me="$host $boot $$ ${started:-0} $EXECUTION"
printf '%s\n' "$me" >"$BASE/me.new" && mv -f -- "$BASE/me.new" "$BASE/me"
mkdir -p -- "$PARENT" 2>/dev/null || finish "broken cannot make the folder $PARENT"

last= quiet=0 failed=0 turn=0
while :; do
  [ -e "$ENVIRONMENT/$MARKER" ] && finish already
  if mkdir -- "$LOCK" 2>/dev/null; then
    claim && break
  fi
  if [ -d "$LOCK" ]; then failed=0; else failed=$((failed + 1)); fi
  [ "$failed" -lt 10 ] || finish "broken cannot make the lock $LOCK"
  owner_now
  beat=
  { read -r beat <"$LOCK/beat"; } 2>/dev/null || :
  if [ "$owner|$beat" = "$last" ]; then quiet=$((quiet + 1)); else quiet=0 last="$owner|$beat"; fi
  if [ -d "$LOCK" ] && stands_still; then
    judged=$owner
    # only one may take the lock over, and only from the owner that was found dead
    if mkdir -- "$LOCK/taking" 2>/dev/null; then
      owner_now
      if [ "$owner" = "$judged" ] && claim; then
        rmdir -- "$LOCK/taking"
        break
      fi
      rmdir -- "$LOCK/taking"
    elif [ "$quiet" -ge 120 ]; then
      rmdir -- "$LOCK/taking" 2>/dev/null
    fi
  fi
  turn=$((turn + 1))
  printf '%s\n' "w$turn" >"$BASE/beat"
  sleep 1
done

(
  unset WLMCTL_TOKEN # its sleep outlives the end by a moment, and is none of the task's processes
  turn=0
  while kill -0 $$ 2>/dev/null && [ ! -e "$BASE/end" ]; do
    owner_now
    [ "$owner" = "$me" ] || break
    turn=$((turn + 1))
    printf '%s\n' "$turn" >"$LOCK/beat"
    printf '%s\n' "$turn" >"$BASE/beat"
    sleep 2
  done
) &
beating=$!
release() {
  owner_now
  [ "$owner" = "$me" ] && rm -rf -- "$LOCK"
}
if [ -e "$ENVIRONMENT/$MARKER" ]; then
  kill "$beating" 2>/dev/null
  release
  finish already
fi
# what an execution left that did not come to its end
chmod -R u+rwX -- "$ENVIRONMENT" 2>/dev/null
rm -rf -- "$ENVIRONMENT"
if ! { mkdir -p -- "$ENVIRONMENT" && cp -R -p -- "$INPUTS/." "$ENVIRONMENT/"; } 2>"$STDERR"; then
  kill "$beating" 2>/dev/null
  release
  finish "broken cannot fill the folder $ENVIRONMENT"
fi
if [ -z "$SHELL_WORDS" ]; then
  if command -v bash >/dev/null 2>&1; then SHELL_WORDS="bash -l"; else SHELL_WORDS=sh; fi
fi
$SHELL_WORDS "$COMMANDS" </dev/null >"$STDOUT" 2>"$STDERR"
code=$?
step=0
{ read -r step <"$BASE/step"; } 2>/dev/null || :
owner_now
[ "$owner" = "$me" ] || finish "broken the lock was taken over, since nothing was heard of this execution for a minute"
if [ "$code" -eq 0 ]; then
  printf '%s\n' "$me" >"$ENVIRONMENT/$MARKER.new" && mv -f -- "$ENVIRONMENT/$MARKER.new" "$ENVIRONMENT/$MARKER" ||
    finish "broken cannot write the marker in $ENVIRONMENT"
fi
kill "$beating" 2>/dev/null
release
finish "exit $code $step"
"""

#: Starts the runner in a session of its own.
START = r"""
export WLMCTL_TOKEN="$TOKEN" WLMCTL_EXPERIMENT="$EXPERIMENT" WLMCTL_TASK="$TASK" WLMCTL_ATTEMPT="$ATTEMPT"
export WLMCTL_FOLDER="$FOLDER"
cd / || exit 1
if command -v setsid >/dev/null 2>&1; then
  setsid sh "$BASE/runner" </dev/null >"$BASE/log" 2>&1 &
else
  nohup sh "$BASE/runner" </dev/null >"$BASE/log" 2>&1 &
fi
"""

#: Waits up to a second for the end, and says: ``end ...``, ``running STEP BEAT``, ``lost``, ``elsewhere BEAT``.
LOOK = r"""
turn=0
while [ ! -e "$BASE/end" ] && [ "$turn" -lt "$TURNS" ]; do
  sleep 0.1 2>/dev/null || { sleep 1; break; }
  turn=$((turn + 1))
done
me= beat=- step=0 alive=
{ read -r me <"$BASE/me"; } 2>/dev/null || :
{ read -r beat <"$BASE/beat"; } 2>/dev/null || :
{ read -r step <"$BASE/step"; } 2>/dev/null || :
set -- $me
if [ "${1:-}" != "$(uname -n)" ]; then
  alive=elsewhere
elif [ -r "/proc/$$/stat" ]; then
  { read -r stat <"/proc/$3/stat"; } 2>/dev/null || stat=
  started=$4
  set -- ${stat##*) }
  case ${1:-Z} in Z | X) ;; *) [ "${20}" = "$started" ] && alive=running ;; esac
elif kill -0 "$3" 2>/dev/null; then
  alive=running
fi
# asked for last: an end that came meanwhile is one
if [ -e "$BASE/end" ]; then
  printf 'end '
  cat -- "$BASE/end"
elif [ -n "$alive" ]; then
  printf '%s %s %s\n' "$alive" "$step" "$beat"
else
  printf 'lost\n'
fi
"""

#: Ends every process that carries the token, and says ``gone`` or ``alive``, or ``elsewhere HOST``.
KILL = r"""
me=
{ read -r me <"$BASE/me"; } 2>/dev/null || :
set -- $me
if [ -n "${1:-}" ] && [ "$1" != "$(uname -n)" ]; then
  printf 'elsewhere %s\n' "$1"
  exit 0
fi
pid=${3:-}
living() {
  if [ -r "/proc/$$/environ" ]; then
    grep -lF -- "WLMCTL_TOKEN=$TOKEN" /proc/[0-9]*/environ 2>/dev/null | while IFS=/ read -r _ _ one _; do
      printf '%s\n' "$one"
    done
  elif [ -n "$pid" ] && kill -0 -- "-$pid" 2>/dev/null; then
    printf '%s\n' "-$pid"
  fi
}
tell() {
  for one in $(living); do kill -s "$1" -- "$one" 2>/dev/null; done
}
tell TERM
turn=0
while [ -n "$(living)" ] && [ "$turn" -lt "$GRACE" ]; do
  sleep 0.2 2>/dev/null || sleep 1
  turn=$((turn + 1))
done
turn=0
while [ -n "$(living)" ] && [ "$turn" -lt 20 ]; do
  tell KILL
  sleep 0.2 2>/dev/null || sleep 1
  turn=$((turn + 1))
done
if [ -z "$(living)" ]; then printf 'gone\n'; else printf 'alive\n'; fi
"""
