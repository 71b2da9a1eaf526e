# Submits one job held, records its id, releases it: each step is harmless to repeat, and may be where the connection or
# this shell is killed (the points that are numbered, each of which has a test). Variables: folder, directory,
# nonce, name, file, size (of the script on stdin, in bytes), batch (what the queue is to run),
# program (the command that submits); "$@" are options for it.
refuse() {
  printf '\nwlm-refused %s\n' "$1"
  exit 0
}
submitted() {
  recorded
  printf '\nwlm-submitted %s\n' "$recorded"
  exit 0
}
recorded() {
  recorded=
  { read -r recorded <jobid; } 2>/dev/null
  [ "$recorded" ]
}
# record ID: the first wins; a job that lost was held, and never starts
record() {
  printf '%s\n' "$1" >"jobid.$nonce.$$" && ln "jobid.$nonce.$$" jobid 2>/dev/null
  [ -s jobid ] || mv -f "jobid.$nonce.$$" jobid
  recorded || exit 1
  [ "$recorded" = "$1" ] || queue_remove "$1"
}
# point 1: connected, nothing done
command -v "$program" >/dev/null 2>&1 || refuse "there is no $program on this login (a preamble is not read here)"
e=$(umask 077; mkdir -p -- "$folder" 2>&1) || refuse "the folder of the job cannot be made: $e"
e=$(mkdir -p -- "$directory" 2>&1) || refuse "directory cannot be made: $e"
cd -- "$folder" || exit 1
# point 2: the folders are made
# only saves work: two submits at once make two held jobs, of which one is recorded
{ exec 9>>submit.lock && flock -w 60 9; } 2>/dev/null
# point 3: the lock is held
ended . || owner . && submitted
list || exit 1
# point 4: listed, nothing submitted
if ! recorded; then
  job "$name"
  if ! [ "$id" ] || has_ended "$state"; then
    e=$({ cat >"$file"; } 2>&1) || refuse "the script cannot be written: $e"
    # a connection that was cut in the middle is no end of the script
    [ "$(($(wc -c <"$file")))" -eq "$size" ] || exit 1
    # point 5: the script is written
    printf '%s' "$batch" >"batch.$nonce" || exit 1
    id=$(queue_submit "batch.$nonce" "$@" 2>"said.$nonce") || {
      e=$(tail -n 3 "said.$nonce")
      [ -z "$e" ] || printf '%s\n' "$e" | grep -Eq -e "$away" || refuse "$e"
      printf '%s\n' "$e" >&2
      exit 1
    }
    # point 6: submitted, held, not recorded
  fi
  record "$id"
  # point 7: recorded, still held
  list || exit 1
fi
# ours and still held: a cancel may come in between, and then there is nothing to release
is_held() {
  job "$name"
  [ "$state" = PENDING ] && [ "$id" = "$recorded" ] && [ "$reason" = JobHeldUser ]
}
if is_held && ! queue_release "$id"; then
  list || exit 1
  is_held && exit 1
fi
: >released
# point 8: released, not answered
submitted
