# Submits jobs held, records their numbers, releases them: each step is harmless to repeat, in any other company, and may
# be where the connection or this shell is killed (the points that are numbered, each of which has a test). Variables:
# nonce, program (the command that submits), index (by which an element of an array knows itself), jobs (their numbers); of
# each job, with its number behind the name, f_ its folder, d_ its directory, n_ its name, t_ its script, h_ lines for the
# batch script that say its folder and its token. The function units calls single or group for what the queue is to get.

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
  if ! flock -n 9 2>/dev/null && flock -w 60 9 2>/dev/null; then
    # who had it may have submitted
    list || unreachable=1
  fi
  # point 4: the lock is held
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
    [ -z "$shared" ] || [ -s "$shared.id" ] || record "$shared.id" "$id"
    keep "$1" "$id" "$shared"
  fi
  mark "$1" recorded
}

# keep NUMBER ID PACK: what the queue has for it, unless something is recorded already; a pack has others as well
keep() {
  take "$1"
  record "$folder/jobid" "$2" || { mark "$1" unsure; return; }
  mark "$1" recorded
  [ "$recorded" = "$2" ] || [ "$3" ] || queue_remove "$2"
}

# single NUMBER RUN WORDS: one job for the queue, whose batch script is RUN behind the job's own lines
single() {
  number=$1 run=$2
  shift 2
  take "$number"
  [ "$is$unreachable" ] && return
  lock "$folder"
  adopt "$number" || [ "$unreachable" ] || enter "$@"
}

# enter WORDS: into the queue, held
enter() {
  written "$number" || return
  eval "own=\$h_$number"
  # point 5: the script is written
  printf '#!/bin/sh\n%s\n%s' "$own" "$run" >"$folder/batch.$nonce" || { mark "$number" unsure; return; }
  if ! queued "$folder" "$@"; then
    [ "$unreachable" ] || refuse "$number" "$e"
    return
  fi
  # point 6: submitted, held, not recorded
  keep "$number" "$id"
  # point 7: recorded, still held
}

# written NUMBER: what the machine's shell is to run
written() {
  take "$1"
  eval "text=\$t_$1"
  { printf '%s' "$text" >"$folder/script.$nonce"; } 2>/dev/null ||
    e=$({ printf '%s' "$text" >"$folder/script.$nonce"; } 2>&1) || {
    refuse "$1" "the script cannot be written: $e"
    false
  }
}

# queued PLACE WORDS: submits the batch script of that folder and sets id, or e to why not
queued() {
  place=$1
  shift
  id=$(queue_submit "$place/batch.$nonce" "$@" 2>"$place/said.$nonce") && fresh=1 && return
  e=$(tail -n 3 "$place/said.$nonce")
  if [ -z "$e" ] || printf '%s\n' "$e" | grep -Eq -e "$away"; then
    # the others would wait in vain as well
    unreachable=1
    printf '%s\n' "$e" >&2
  fi
  false
}

# group KIND NAME TOGETHER NUMBERS RUN WORDS: one array or one pack for those of the jobs that have nothing in the queue.
# The name stands for these jobs in this order, so that the place of each is the same whoever submits them.
group() {
  kind=$1 group=$2 together=$3 numbers=$4 run=$5
  shift 5
  [ "$unreachable" ] && return
  take "${numbers%% *}"
  lock "$folder"
  wanted=
  for number in $numbers; do
    adopt "$number" || { written "$number" && wanted="$wanted $number"; }
  done
  [ "$unreachable" ] || [ -z "$wanted" ] && return
  # point 9: the scripts of a group are written
  compose || { for number in $wanted; do mark "$number" unsure; done; return; }
  # point 10: each member knows of its group, and nothing is submitted
  name=$group folder=$members
  if ! queued "$place" ${option:+"$option"} "$@"; then
    for number in $wanted; do
      take "$number"
      if [ "$unreachable" ]; then return
      elif [ "$kind" = array ]; then enter "$@"
      else refuse "$number" "$e"; fi
    done
    return
  fi
  # point 11: a group is submitted, held, not recorded
  record "$members.id" "$id" || { for number in $wanted; do mark "$number" unsure; done; return; }
  [ "$recorded" = "$id" ] || queue_remove "$id"
  id=$recorded
  # point 12: the group is recorded, its members are not
  [ "$kind" = array ] && arrays="$arrays $id"
  for number in $wanted; do
    eval "at=\$p_$number"
    case $kind in
    array) keep "$number" "${id}_$at" ;;
    pack) keep "$number" "$id" pack ;;
    esac
    # point 13: one member is recorded
  done
}

# compose: the batch script of a group, and its list of members, in the folder of the first; a line in the folder of each
compose() {
  first=${wanted# }
  take "${first%% *}"
  place=$folder members=$folder/$group.$kind folders= body= list= at=0
  for number in $numbers; do
    take "$number"
    folders="$folders$folder
"
    case "$wanted " in
    *" $number "*)
      eval "own=\$h_$number p_$number=\$at"
      case $kind in
      array) list="$list,$at" body="$body$at) $own ;;
" && home "${group}_$at" || return ;;
      pack) body="$body$own
member
" && home "$group $members" || return ;;
      esac
      ;;
    esac
    at=$((at + 1))
  done
  option=
  case $kind in
  array)
    option=$array${list#,}${together:+%$together}
    printf '#!/bin/sh\ncase %s in\n%s*) exit 96 ;;\nesac\n%s' "$index" "$body" "$run" >"$place/batch.$nonce"
    ;;
  pack) printf '#!/bin/sh\n%s\n%s' "$run" "$body" >"$place/batch.$nonce" ;;
  esac && printf '%s' "$folders" >"$members.$nonce" && mv -f "$members.$nonce" "$members"
}

# home LINE: the job may be there, too
home() {
  if [ -e "$folder/homes" ]; then
    while read -r line; do [ "$line" = "$1" ] && return; done <"$folder/homes"
  fi
  printf '%s\n' "$1" >>"$folder/homes"
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
  held=
  for i in $jobs; do
    if is_held $i; then
      # an array of ours as a whole: singly, each of its elements would become a job of its own in the controller
      case "$arrays " in *" ${id%_*} "*) id=${id%_*} ;; esac
      case "$held " in *" $id "*) ;; *) held="$held $id" ;; esac
    fi
  done
}

release_all() {
  [ "$fresh" ] && { list || return; }
  all_held
  if [ "$held" ] && ! queue_release $held; then
    list || return
    for i in $jobs; do
      is_held $i && mark $i unsure
    done
  fi
  for i in $jobs; do
    take $i
    [ "$is" != recorded ] || true >"$folder/released" || return
  done
}

answer_all() {
  for i in $jobs; do
    take $i
    case $is in
    known | recorded)
      recorded "$folder/jobid"
      id=$recorded pack=
      if [ -e "$folder/homes" ]; then
        while read -r key members; do
          [ "$members" ] && recorded "$members.id" && [ "$recorded" = "$id" ] && pack=$key
        done <"$folder/homes"
      fi
      printf '\nwlm-submitted %s %s %s\n' $i "$id" "$pack"
      ;;
    esac
  done
}

submit_all() {
  fresh= unreachable= arrays=
  # point 1: connected, nothing done
  # one process makes the folders; of one that it cannot make the reason is asked for after that
  set --
  for i in $jobs; do
    take $i
    [ -d "$folder" ] || set -- "$@" "$folder"
  done
  [ $# = 0 ] || (umask 077; mkdir -p -- "$@") 2>/dev/null
  for i in $jobs; do
    if command -v "$program" >/dev/null 2>&1; then
      prepare $i
    else
      refuse $i "there is no $program on this login (a preamble is not read here)"
    fi
  done
  # point 2: the folders are made
  list || exit 75
  # point 3: listed, nothing submitted
  units
  release_all || exit 1
  # point 8: released, not answered
  answer_all
}
