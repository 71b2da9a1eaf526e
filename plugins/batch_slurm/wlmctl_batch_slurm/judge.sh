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
    # what a signal meant is Slurm's to say, who may not have said it yet
    case $exitline in *' 1 '?' '?' self end')
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
  elif [ "$reason" = 'launch failed requeued held' ]; then
    verdict=new
  else
    verdict="wait $state ${reason:-None}"
  fi
}

# The first state in which Slurm shows an end, which it forgets after a while.
note_end() {
  has_ended "$state" || return 0
  [ -s "$1/gone" ] || printf '%s\n' "${state:-ABSENT} $reason" >"$1/gone"
}

# Slurm says that the job is over; its processes are only believed to be after a time without a sign of life.
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

# Cancels held jobs that can do nothing any more: a submit whose client was killed may come into the queue when its token
# is sealed already, and a controller that lost its last seconds may hold again what has run.
sweep_held() {
  [ "$held" ] || return 0
  while read -r id folder; do
    folder=${folder#wlm:}
    { ended "$folder" || owner "$folder"; } && scancel "$id"
  done <<WLM_HELD
$held
WLM_HELD
}

# sweep NAME: cancels all that carries the name and has not ended
sweep() {
  job "$1"
  [ "$all" ] && scancel $all 2>/dev/null
}

# tell_end NUMBER FOLDER: a verdict with what Slurm said of the end
tell_end() {
  was=
  { read -r was <"$2/gone"; } 2>/dev/null
  [ "$was" ] && say "state $1 $was"
  tell "$1" "$2"
}
