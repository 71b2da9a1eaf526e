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
      note_end "$2"
      sweep "$6"
    fi
    tell_end "$1" "$2"
    ;;
  esac
}

printf '\nwlm-begin %s\n' "$sign"
list || exit 1
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
