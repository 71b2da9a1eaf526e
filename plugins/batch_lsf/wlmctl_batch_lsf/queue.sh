# LSF's commands.
for v in $(env | grep -Eo '^(BSUB_[A-Z0-9_]*|LSB_BJOBS_[A-Z0-9_]*|LSB_DISPLAY_YEAR)'); do unset "$v"; done
absent=ENDED

# jobs in all states, ended ones for as long as mbatchd knows them (an hour); none at all is said on stderr, with exit code 255
queue_list() {
  rows=$({
    timeout 60 bjobs -a -noheader -u "$(id -un)" \
      -o "jobid stat job_name exec_host job_description pend_reason exit_reason delimiter='|'" 2>&1 >&3 3>&- </dev/null
    echo "wlm-code $?"
  } 3>&1)
  case $rows in
  *'wlm-code 0') ;;
  'No job found'*'wlm-code 255' | 'No unfinished job found'*'wlm-code 255') return 0 ;;
  *)
    printf '%s\n' "$rows" | tail -n 3 >&2
    return 1
    ;;
  esac
  printf '%s\n' "$rows" | awk -F'|' '
    NF != 7 { next }
    {
      word = "RUNNING"; why = "-"
      gsub(/ /, "", $1)
      if ($2 == "PEND") { word = "PENDING"; why = $6 }
      else if ($2 == "PSUSP") { word = "PENDING"; why = "JobHeldUser" }
      else if ($2 == "USUSP" || $2 == "SSUSP") word = "SUSPENDED"
      else if ($2 == "DONE") word = "COMPLETED"
      else if ($2 == "EXIT") {
        word = "FAILED"; why = $7
        if (why ~ /^TERM_(RUNLIMIT|CPULIMIT|DEADLINE|PROCESSLIMIT)/) word = "TIMEOUT"
        else if (why ~ /^TERM_(MEMLIMIT|SWAP)/) word = "OUT_OF_MEMORY"
        else if (why ~ /^TERM_(PREEMPT|WINDOW|LOAD|BUCKET_KILL)/) word = "PREEMPTED"
        else if (why ~ /^TERM_(OWNER|ADMIN|FORCE_OWNER|FORCE_ADMIN)/) word = "CANCELLED"
        else if (why ~ /^TERM_(ZOMBIE|RC_RECLAIM|CWD_NOTEXIST)/) word = "NODE_FAIL"
      }
      print $1 "|" word "|" $3 "|" ($4 == "" ? "-" : $4) "|" $5 "|" why
    }'
}

queue_submit() {
  file=$1
  shift
  made=$(timeout 120 bsub -H -rn -J "$name" -Jd "wlm:$folder" -o /dev/null -e /dev/null "$@" <"$file" 9>&-) || return 1
  made=$(printf '%s\n' "$made" | sed -n 's/^Job <\([0-9][0-9]*\)> is submitted.*/\1/p')
  printf '%s\n' "$made"
  [ "$made" ]
}

queue_release() {
  bresume "$@" >&2
}

queue_remove() {
  bkill "$@" >&2
}

# what bjobs has forgotten is not asked for: bhist and bacct read through files of years
queue_told() { :; }

queue_booted() { :; }
