# How an answer about jobs is written. Variables: sign (its mark), verdict, exitline, spent (bytes told so far).

# say WORDS: begins a section of the answer; no job can know the mark
say() {
  printf '\n%s %s\n' "$sign" "$*"
}

# tell NUMBER FOLDER: the verdict of an ended job, with the ends of its logs
tell() {
  told=0
  [ -e "$2/cancel" ] && told=1
  case $verdict in exit) say "exit $1 $told $exitline" ;; *) say "${verdict%% *} $1 $told $verdict" ;; esac
  for log in stdout stderr; do
    [ -s "$2/$log" ] || continue
    say "$log $1"
    tail -c 65536 "$2/$log" </dev/null 2>/dev/null
    size=$(wc -c <"$2/$log")
    spent=$((spent + (size > 65536 ? 65536 : size)))
  done
}

# follow NUMBER FOLDER TOKEN STDOUT_OFFSET STDERR_OFFSET: new bytes of the logs of a running job
follow() {
  for log in stdout stderr; do
    from=$4
    [ $log = stderr ] && from=$5
    size=0
    [ -s "$2/$log" ] && size=$(wc -c <"$2/$log")
    [ "$size" -gt "$from" ] || continue
    some=1 spent=$((spent + 262144))
    eval "state_$1=told"
    say "$log $1"
    tail -c "+$((from + 1))" "$2/$log" </dev/null 2>/dev/null | head -c 262144
  done
}
