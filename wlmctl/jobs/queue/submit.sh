# Submits jobs held, records their numbers, releases them: each step is harmless to repeat, in any other company, and may
# be where the connection or this shell is killed (the points that are numbered, each of which has a test). Variables:
# nonce, program (the command that submits), count (of the jobs); of each job, with its number behind the name, f_ its
# folder, d_ its directory, n_ its name, t_ its script, h_ lines for the batch script that say its folder and its token.
# The function units calls unit for what the queue is to get as one.

# take NUMBER: that job becomes the one that is spoken of
take() {
  eval "folder=\$f_$1 directory=\$d_$1 name=\$n_$1 is=\${s_$1-}"
}

# mark NUMBER WORD: known (it has begun, or never will), recorded (it has a job in the queue), refused, unsure
mark() {
  eval "s_$1=$2 is=$2"
}

refuse() {
  mark "$1" refused
  said=$1
  set -f
  set -- $2
  set +f
  printf '\nwlm-refused %s %s\n' "$said" "$*"
}

recorded() {
  recorded=
  { read -r recorded <"$1"; } 2>/dev/null
  [ "$recorded" ]
}

# record FILE ID: the first wins; a job that lost was held, and never starts
record() {
  printf '%s\n' "$2" >"$1.$nonce" && ln "$1.$nonce" "$1" 2>/dev/null
  [ -s "$1" ] || mv -f "$1.$nonce" "$1"
  recorded "$1"
}

# prepare NUMBER: its folders
prepare() {
  take "$1"
  if ended "$folder" || owner "$folder"; then
    mark "$1" known
    return
  fi
  [ -d "$folder" ] || e=$(umask 077; mkdir -p -- "$folder" 2>&1) || refuse "$1" "the folder of the job cannot be made: $e"
  [ "$is" ] || [ -d "$directory" ] || e=$(mkdir -p -- "$directory" 2>&1) || refuse "$1" "directory cannot be made: $e"
}

# lock FOLDER: only saves work: two submits at once make two held jobs, of which one is recorded
lock() {
  { command exec 9>>"$1/submit.lock"; } 2>/dev/null || return 0
  flock -n 9 2>/dev/null && return
  flock -w 60 9 2>/dev/null
  # who had it may have submitted
  list || unreachable=1
}

# adopt NUMBER: true when nothing is to be submitted for it
adopt() {
  take "$1"
  [ "$is" ] && return
  if ended "$folder" || owner "$folder"; then
    mark "$1" known
    return
  fi
  if ! recorded "$folder/jobid"; then
    job "$name" "$folder"
    [ "$id" ] && ! has_ended "$state" || return
    keep "$1" "$id"
  fi
  mark "$1" recorded
}

# keep NUMBER ID: what the queue has for it, unless something is recorded already
keep() {
  take "$1"
  record "$folder/jobid" "$2" || { mark "$1" unsure; return; }
  mark "$1" recorded
  [ "$recorded" = "$2" ] || queue_remove "$2"
}

# unit NUMBER RUN WORDS: one job for the queue, whose batch script is RUN behind the job's own lines
unit() {
  number=$1 run=$2
  shift 2
  take "$number"
  [ "$is$unreachable" ] && return
  lock "$folder"
  # point 4: the lock is held
  adopt "$number" || [ "$unreachable" ] || enter "$@"
}

# enter WORDS: into the queue, held
enter() {
  take "$number"
  eval "text=\$t_$number own=\$h_$number"
  if ! e=$({ printf '%s' "$text" >"$folder/script.$nonce"; } 2>&1); then
    refuse "$number" "the script cannot be written: $e"
    return
  fi
  # point 5: the script is written
  printf '#!/bin/sh\n%s\n%s' "$own" "$run" >"$folder/batch.$nonce" || { mark "$number" unsure; return; }
  if ! id=$(queue_submit "$folder/batch.$nonce" "$@" 2>"$folder/said.$nonce"); then
    e=$(tail -n 3 "$folder/said.$nonce")
    if [ -z "$e" ] || printf '%s\n' "$e" | grep -Eq -e "$away"; then
      # the others would wait in vain as well
      unreachable=1
      printf '%s\n' "$e" >&2
    else
      refuse "$number" "$e"
    fi
    return
  fi
  # point 6: submitted, held, not recorded
  fresh=1
  keep "$number" "$id"
  # point 7: recorded, still held
}

# ours and still held: a cancel may come in between, and then there is nothing to release
is_held() {
  take "$1"
  [ "$is" = recorded ] && recorded "$folder/jobid" || return
  job "$name" "$folder"
  [ "$state" = PENDING ] && [ "$id" = "$recorded" ] && [ "$reason" = JobHeldUser ]
}

# all_held: the numbers of those in the queue that are to be released
all_held() {
  held= i=0
  while [ $i -lt "$count" ]; do
    is_held $i && held="$held $id"
    i=$((i + 1))
  done
}

release_all() {
  [ "$fresh" ] && { list || return; }
  all_held
  if [ "$held" ] && ! queue_release $held; then
    list || return
    all_held
    i=0
    while [ "$held" ] && [ $i -lt "$count" ]; do
      is_held $i && mark $i unsure
      i=$((i + 1))
    done
  fi
  i=0
  while [ $i -lt "$count" ]; do
    take $i
    [ "$is" = recorded ] && true >"$folder/released"
    i=$((i + 1))
  done
}

answer_all() {
  i=0
  while [ $i -lt "$count" ]; do
    take $i
    case $is in
    known | recorded)
      recorded "$folder/jobid"
      printf '\nwlm-submitted %s %s\n' $i "$recorded"
      ;;
    esac
    i=$((i + 1))
  done
}

submit_all() {
  i=0 fresh= unreachable=
  # point 1: connected, nothing done
  while [ $i -lt "$count" ]; do
    if command -v "$program" >/dev/null 2>&1; then
      prepare $i
    else
      refuse $i "there is no $program on this login (a preamble is not read here)"
    fi
    i=$((i + 1))
  done
  # point 2: the folders are made
  list || exit 1
  # point 3: listed, nothing submitted
  units
  release_all || exit 1
  # point 8: released, not answered
  answer_all
}
