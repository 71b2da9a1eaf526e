# Looks at all jobs in turns until one has something to tell or the time is over. The function each calls
# look NUMBER FOLDER TOKEN STDOUT_OFFSET STDERR_OFFSET for every job; offsets are - where no new bytes are wanted.
look() {
  eval "state=\${state_$1-}"
  case $state in
  told) return ;;
  run:*) if ! [ -e "$2/exit" ] && ! [ -e "$2/cancel" ] && [ -d "/proc/${state#run:}" ]; then
    [ "$4" = - ] || follow "$@"
    return
  fi ;;
  esac
  # what is over the limit of one answer is told by the next
  [ "$spent" -gt 4000000 ] && return
  judge "$2" "$3"
  case $verdict in
  run)
    eval "state_$1=run:$sid"
    [ "$4" = - ] || follow "$@"
    ;;
  ending) ;;
  new) fence_missing "$@" ;;
  *)
    some=1
    eval "state_$1=told"
    tell "$1" "$2"
    ;;
  esac
}

# No fence: just submitted, or the submit never happened. Who still cannot be found in the last turn is sealed.
fence_missing() {
  fresh=1
  [ "$last" ] || return
  scan
  if [ "$live" ]; then
    say "starting $1"
  elif seal "$2"; then
    judge "$2" "$3"
    case $verdict in run | ending) return ;; esac
    tell "$1" "$2"
  else
    say "unsealed $1"
  fi
}

printf '\nwlm-begin %s\n' "$sign"
clock
began=$now spent=0 some= last= fresh=
while :; do
  fresh=
  each
  [ "$some" ] && break
  clock
  waited=$((now - began))
  [ $waited -ge "$wait" ] && break
  if [ $waited -lt 10 ]; then nap 020; elif [ $waited -lt 40 ]; then nap 050; else nap 100; fi
done
if [ "$fresh" ]; then
  nap 200
  last=1
  each
fi
say end
