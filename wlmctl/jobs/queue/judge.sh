# Judges jobs by their folders and by the newest listing. Variables: lost_after in seconds, nonce (ours, for a seal).

# file_age PATH: seconds since it was written, by the clock of its own file system
file_age() {
  : >"$2/clock.$nonce"
  age=$(($(stat -c %Y "$2/clock.$nonce") - $(stat -c %Y "$1" 2>/dev/null || echo 0)))
}

# judge FOLDER NAME: sets verdict to exit, new, wait, run, ending, never, lost or gone
judge() {
  job "$2"
  if ended "$1"; then
    verdict=exit
    note_end "$1"
    # what a signal meant is the queue's to say, which may not have said it yet
    case $exitline in *' 1 '?' '?' self end')
      # ended to be run once more, which the fence refuses
      [ "$state" != PENDING ] || [ -s "$1/gone" ] || printf '%s\n' "REQUEUED $reason" >"$1/gone"
      [ -s "$1/gone" ] || [ -e "$1/cancel" ] || { file_age "$1/exit" "$1"; [ "$age" -ge 30 ] || verdict=ending; }
      ;;
    esac
    return
  fi
  if owner "$1"; then
    if [ "$ohost" = sealed ]; then
      verdict=never
    elif ! has_ended "$state"; then
      verdict=run
      [ -e "$1/cancel" ] && verdict=ending
      rm -f "$1/gone"
    else
      note_end "$1"
      judge_lost "$1"
    fi
    return
  fi
  if has_ended "$state"; then
    verdict=new
  elif [ "$state" = LAUNCH_FAILED ] || [ "$reason" = 'launch failed requeued held' ]; then
    verdict=new
  else
    verdict="wait $state ${reason:-None}"
  fi
}

# The first word of the queue for an end, which it forgets after a while; where it does not list it any more, what it
# has kept of it.
note_end() {
  has_ended "$state" || [ "$state" = LAUNCH_FAILED ] || return 0
  [ -s "$1/gone" ] && return 0
  if ! [ "$state" ]; then
    number=
    { read -r number <"$1/jobid"; } 2>/dev/null
    if [ "$number" ]; then queue_told "$number"; else state=ABSENT; fi
  fi
  printf '%s\n' "$state $reason" >"$1/gone"
}

# The queue says that the job is over; its processes are only believed to be after a time without a sign of life.
judge_lost() {
  verdict=ending
  file_age "$1/gone" "$1"
  [ "$age" -ge "$settle" ] || return 0
  if [ -e "$1/beat" ]; then file_age "$1/beat" "$1"; else file_age "$1/gone" "$1"; fi
  [ "$age" -ge "$lost_after" ] || return 0
  # a listing of the folder makes a late file of another host seen
  ls -- "$1" >/dev/null
  if ended "$1"; then
    verdict=exit
  elif [ -e "$1/cancel" ]; then
    verdict=gone
    printf '%s\n' "wlm1 137 $ononce 1 0 0 cancel end" >"$1/exit.$nonce"
    ln "$1/exit.$nonce" "$1/exit" 2>/dev/null || ended "$1" || mv -f "$1/exit.$nonce" "$1/exit"
  else
    verdict=lost
  fi
}

# Cancels jobs that wait and can do nothing any more: a submit whose client was killed may come into the queue when its
# token is sealed already, a controller that lost its last seconds may hold again what has run, an administrator may
# re-queue what has ended. One that is not held and has an owner may run, whatever the queue says.
sweep_pending() {
  [ "$pending" ] || return 0
  while read -r id how folder; do
    folder=${folder#wlm:}
    ended "$folder" || { owner "$folder" && case $how,$ohost in held,* | *,sealed) ;; *) false ;; esac } || continue
    queue_remove "$id"
  done <<WLM_PENDING
$pending
WLM_PENDING
}

# sweep NAME: cancels all that carries the name and has not ended
sweep() {
  job "$1"
  [ "$all" ] && queue_remove $all >/dev/null 2>&1
}

# tell_end NUMBER FOLDER: a verdict with what the queue said of the end
tell_end() {
  was=
  { read -r was <"$2/gone"; } 2>/dev/null
  [ "$was" ] && say "state $1 $was"
  tell "$1" "$2"
}
