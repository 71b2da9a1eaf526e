# Grid Engine's commands.
absent=ENDED

# jobs that wait, run or are held, with whole names; the folder stands in the long listing only, which is asked for where
# it is needed: of jobs that are held, put back into the queue, or all of them ($comments is all)
queue_list() {
  rows=$(timeout 60 qstat -u "$(id -un)" -s a -xml </dev/null) || return 1
  case $rows in *'</job_info>') ;; *) return 1 ;; esac
  rows=$(printf '%s\n' "$rows" | awk '
    function value() { gsub(/^ *<[^>]*>|<\/[^>]*> *$/, ""); return $0 }
    /<job_list/ { id = name = state = queue = "" }
    /<JB_job_number>/ { id = value() }
    /<JB_name>/ { name = value() }
    /<state>/ { state = value() }
    /<queue_name>/ { queue = value() }
    /<\/job_list>/ {
      word = "RUNNING"; why = state
      if (state ~ /E/) word = "LAUNCH_FAILED"
      else if (state ~ /d/) why = "being deleted"
      else if (state ~ /[sST]/) word = "SUSPENDED"
      else if (state ~ /[qw]/) word = "PENDING"
      if (word == "PENDING" && state ~ /h/) why = "JobHeldUser"
      sub(/^.*@/, "", queue)
      print id "|" word "|" name "|" (queue == "" ? "-" : queue) "|" (state ~ /[hR]/ ? "?" : "") "|" why
    }')
  wanted=$(printf '%s\n' "$rows" | awk -F'|' -v all="$comments" '
    $3 ~ /^w[a-z2-7]+$/ && length($3) == 15 && (all || $5 == "?") { printf "%s%s", n++ ? "," : "", $1 }')
  [ "$wanted" ] && folders=$(timeout 60 qstat -j "$wanted" </dev/null 2>/dev/null) || folders=
  printf '%s\n' "$folders" "$rows" | awk '
    /^job_number: / { id = $2 }
    /^cwd: / { sub(/^cwd: +/, ""); folder[id] = $0 }
    /^context: / && match($2, /wlm=[^,]+/) { pack[id] = "/" substr($2, RSTART + 4, RLENGTH - 4) }
    /^[0-9]+\|/ {
      split($0, part, "|")
      print part[1] "|" part[2] "|" part[3] "|" part[4] "|" (part[1] in folder ? "wlm:" folder[part[1]] pack[part[1]] : "") "|" part[6]
    }'
}

# qsub warns of a job that can never run with an exit code of 1, and has submitted it; the file of a pack is said as context
queue_submit() {
  file=$1 home=$folder
  shift
  case $folder in *.pack)
    home=${folder%/*}
    set -- -ac "wlm=${folder##*/}" "$@"
    ;;
  esac
  if made=$(timeout 120 qsub -terse -h -r n -b n -sync n -now n -m n -N "$name" -wd "$home" -S /bin/sh \
    -o /dev/null -e /dev/null "$@" "$file" 2>&1 </dev/null); then
    made=$(printf '%s\n' "$made" | grep -E '^[0-9]+$' | tail -n 1)
    printf '%s\n' "$made"
    [ "$made" ]
  else
    printf '%s\n' "$made" | grep -v '^Your job ' >&2
    made=$(printf '%s\n' "$made" | sed -n 's/^Your job \([0-9][0-9]*\) .*/\1/p')
    [ -z "$made" ] || queue_remove "$made" >/dev/null 2>&1
    return 1
  fi
}

queue_release() {
  qrls "$@" >&2
}

queue_remove() {
  qdel "$@" >&2
}

# the accounting: 37 is a limit, 100 a signal, and what is below is a node that could not start or end it
queue_told() {
  told=$(timeout 60 qacct -j "$1" </dev/null 2>/dev/null) || return 0
  told=$(printf '%s\n' "$told" | awk -v name="$2" '
    /^jobname / { ours = $2 == name }
    !ours { next }
    /^failed / { code = $2; sub(/^failed +/, ""); sub(/ +$/, ""); why = $0 }
    /^exit_status / { status = $2 }
    /^deleted_by / && $2 != "NONE" && $2 != "undefined" { by = $2 }
    /^ru_wallclock / { ran = $2 + 0 }
    /^category / { if (match($0, /h_rt=[0-9]+/)) limit = substr($0, RSTART + 5, RLENGTH - 5) + 0 }
    END {
      if (code == "") exit
      word = "FAILED"
      if (by) { word = "CANCELLED"; why = "deleted by " by }
      else if (code == 37) word = !limit || ran < limit ? "OUT_OF_MEMORY" : "TIMEOUT"
      else if (code == 100 || code == 0) why = why ", exit status " status
      else word = "NODE_FAIL"
      gsub(/[^A-Za-z0-9_ .,:()@-]/, "?", why)
      print word, why
    }')
  [ "$told" ] && state=${told%% *} reason=${told#* }
}

queue_booted() { :; }
