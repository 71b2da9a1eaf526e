# Judges jobs by their folders and by the newest listing. Variables: lost_after and spare in seconds,
# nonce (ours, for a seal).

# file_age PATH: seconds since it was written, by the clock of its own file system
file_age() {
  : >"$2/clock.$nonce"
  age=$(($(stat -c %Y "$2/clock.$nonce") - $(stat -c %Y "$1" 2>/dev/null || echo 0)))
}

# judge FOLDER NAME: sets verdict to exit, new, wait, run, ending, never, lost or gone
judge() {
  job "$2" "$1"
  if ended "$1"; then
    verdict=exit
    note_end "$1"
    # what a signal meant is the queue's to say, which may not have said it yet
    if is_signalled; then
      # the listing may be older than the start of the job: only a new one tells that it waits once more
      if [ "$state" = PENDING ] && ! [ -s "$1/gone" ]; then
        list || { verdict=ending; return; }
        job "$2" "$1"
        note_end "$1"
      fi
      if [ "$state" = PENDING ] && ! [ -s "$1/gone" ]; then
        case $reason in JobHeld*) swept "$1" held gone ;; *) swept "$1" - gone ;; esac
      fi
      [ -s "$1/gone" ] || [ -e "$1/cancel" ] || { file_age "$1/exit" "$1"; [ "$age" -ge 30 ] || verdict=ending; }
    fi
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
      judge_lost "$1" "$2"
    fi
    return
  fi
  if has_ended "$state"; then
    verdict=new
  elif [ "$state" = LAUNCH_FAILED ] || [ "$reason" = 'launch failed requeued held' ]; then
    verdict=new
  elif [ "$shared" ] && [ "$state" = RUNNING ]; then
    verdict='wait PENDING its pack runs, and its turn comes'
  else
    verdict="wait $state ${reason:-None}"
  fi
}

# is_signalled: the exit line says that a signal came to the wrapper, or that the command was hit alone
is_signalled() {
  case $exitline in *' 1 '?' '?' self end' | 'wlm1 129 '* | 'wlm1 1'[3-9][0-9]' '*) return 0 ;; esac
  return 1
}

# The first word of the queue for an end, which it forgets after a while.
note_end() {
  case $state in
  LAUNCH_FAILED | PACK_OVER) ;;
  *) has_ended "$state" || return 0 ;;
  esac
  [ -s "$1/gone" ] && return 0
  if [ -s "$1/swept" ]; then cat "$1/swept"; else printf '%s\n' "${state:-$absent} $reason"; fi >"$1/gone"
}

# ask_kept FOLDER NAME: what the queue has kept of the end of a job that it does not list any more
ask_kept() {
  was= number=
  { read -r was _ <"$1/gone" && read -r number <"$1/jobid"; } 2>/dev/null
  [ "$was" = "$absent" ] && [ "$number" ] || return 0
  state= reason=
  queue_told "$number" "$2"
  [ "$state" ] && printf '%s\n' "$state $reason" >"$1/gone"
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
  ask_kept "$1" "$2"
  if ended "$1"; then
    verdict=exit
  elif [ -e "$1/cancel" ]; then
    verdict=gone
    printf '%s\n' "wlm1 137 $ononce 1 0 0 cancel end" >"$1/exit.$nonce"
    ln "$1/exit.$nonce" "$1/exit" 2>/dev/null || ended "$1" || mv -f "$1/exit.$nonce" "$1/exit"
  else
    verdict=lost
    unsay_cancelled "$1"
  fi
}

# unsay_cancelled FOLDER: a controller that was restarted without its last seconds takes for cancelled what it had started
# in them and ends; that is nobody's cancel. It comes within minutes of the restart.
unsay_cancelled() {
  case $(cat "$1/gone") in CANCELLED*) ;; *) return ;; esac
  : "${booted:=$(queue_booted)}"
  [ "$booted" ] && [ "$(stat -c %Y "$1/fence")" -le "$booted" ] || return 0
  told_s=$(($(stat -c %Y "$1/gone") - booted))
  [ $told_s -lt 0 ] || [ $told_s -ge 600 ] || printf '%s\n' "$absent -" >"$1/gone"
}

# swept FOLDER HOW FILE: writes what is to be said of the end of a job that waits, held or -, though it has begun, or
# runs though it has ended, since the queue's word for what we remove is none for its end. It has ended and was to be run
# once more, or was ended for that, or the controller has forgotten it.
swept() {
  [ -s "$1/$3" ] && return
  if ! ended "$1"; then
    printf '%s\n' "$absent -"
  elif ! is_signalled; then
    echo ENDED -
  elif [ "$2" = - ]; then
    echo REQUEUED -
  else
    printf '%s\n' "$absent -"
  fi >"$1/$3"
}

# Cancels jobs that can do nothing any more: a submit whose client was killed may come into the queue when its token is
# sealed already, a controller that lost its last seconds may hold again what has run, or show for half an hour that it
# runs, an administrator may re-queue what has ended. One that waits, is not held and has an owner may run, whatever the
# queue says.
sweep_living() {
  [ "$living" ] || return 0
  while read -r id how folder; do
    folder=${folder#wlm:}
    case $folder in
    *.pack)
      (pack_is_over "$folder") && is_left "$how" "$folder.left" || continue
      while read -r member; do swept "$member" "$how" swept; done <"$folder"
      ;;
    *)
      ended "$folder" || { owner "$folder" && case $how,$ohost in held,* | *,sealed) ;; *) false ;; esac } || continue
      is_left "$how" "$folder/left" || continue
      swept "$folder" "$how" swept
      ;;
    esac
    queue_remove "$id"
  done <<WLM_LIVING
$living
WLM_LIVING
}

# is_left HOW FILE: what runs may only not have ended in the queue yet, when it has ended a moment ago
is_left() {
  [ "$1" = runs ] || return 0
  [ -e "$2" ] || { : >"$2"; return 1; }
  file_age "$2" "${2%/*}"
  [ "$age" -ge "$settle" ]
}

# is_spared FOLDER: it runs where to be removed is to be killed at once, and still has time to end by the mark
is_spared() {
  [ "$spare" ] && [ "$state" = RUNNING ] && owner "$1" || return
  file_age "$1/cancel" "$1"
  [ "$age" -lt "$spare" ]
}

# sweep NAME FOLDER: cancels all that carries the name and has not ended, and its pack when nobody in it needs it any more
sweep() {
  job "$1" "$2"
  [ "$all" ] && queue_remove $all >/dev/null 2>&1
  [ "$shared" ] && (pack_is_over "$shared") && queue_remove "$id" >/dev/null 2>&1
}

# pack_is_over MEMBERS: each of them has ended or is sealed
pack_is_over() {
  while read -r member; do
    ended "$member" || { owner "$member" && [ "$ohost" = sealed ]; } || return
  done <"$1"
}

# tell_end NUMBER FOLDER: a verdict with what the queue said of the end
tell_end() {
  was=
  { read -r was <"$2/gone"; } 2>/dev/null
  [ "$was" ] && say "state $1 $was"
  tell "$1" "$2"
}
