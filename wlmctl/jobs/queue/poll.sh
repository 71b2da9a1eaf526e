# One listing, then looks at all folders in turns until a job has something to tell or the time is over. The function
# each calls look NUMBER FOLDER TOKEN STDOUT_OFFSET STDERR_OFFSET NAME for every job; offsets are - where no new bytes are wanted.
look() {
  eval "seen=\${state_$1-}"
  [ "$seen" = told ] && return
  if [ "$seen" ] && ! [ -e "$2/exit" ]; then
    [ "$4" = - ] || follow "$@"
    return
  fi
  # what is over the limit of one answer is told by the next
  [ "$spent" -gt 4000000 ] && return
  judge "$2" "$6"
  case $verdict in
  run | ending)
    eval "state_$1=seen"
    [ "$4" = - ] || follow "$@"
    ;;
  wait*)
    eval "state_$1=seen"
    [ "$reason" = JobHeldUser ] && release_again "$2"
    say "wait $1 0 $verdict"
    ;;
  *)
    eval "state_$1=told"
    some=1
    if [ "$verdict" = new ]; then
      if ! seal "$2"; then
        say "unsealed $1"
        return
      fi
      judge "$2" "$6"
      [ "$verdict" = run ] && return
      # a node was given to it and it has not begun: that was nobody's cancel, but a launch that failed
      case $shared,$state,$nodes in
      ,CANCELLED,placed) state=LAUNCH_FAILED ;;
      ?*,TIMEOUT,* | ?*,DEADLINE,*) state=PACK_OVER ;;
      esac
      note_end "$2"
      ask_kept "$2" "$6"
      sweep "$6" "$2"
    fi
    tell_end "$1" "$2"
    ;;
  esac
}

# release_again FOLDER: a controller that lost its last seconds holds again what we had released before it started; who
# holds a job by hand does so after that.
release_again() {
  [ -e "$1/released" ] || return 0
  : "${booted:=$(queue_booted)}"
  [ "$(stat -c %Y "$1/released")" -le "${booted:-0}" ] && queue_release "$id" && : >"$1/released"
}

printf '\nwlm-begin %s\n' "$sign"
list || exit 75
sweep_living
clock
began=$now spent=0 some=
while :; do
  each
  [ "$some" ] && break
  clock
  [ $((now - began)) -ge "$wait" ] && break
  nap 100
done
say end
