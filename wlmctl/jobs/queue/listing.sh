# What the queue knows of this login's jobs. After list, job NAME sets id, state, nodes and reason of the job with that
# name, and all to the numbers of all jobs with it; pending is a line for each that waits: its number, held or -, its comment.
turn=0
over='BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT'

# list: false when the listing is not complete. Only names of ours, and of two jobs with one name that which lives.
list() {
  listed=$(queue_list && echo wlm-listed) || return 1
  case $listed in *wlm-listed) ;; *) return 1 ;; esac
  turn=$((turn + 1))
  pending=$(printf '%s\n' "$listed" |
    awk -F'|' '$2 == "PENDING" && $5 ~ /^wlm:/ { print $1, $6 ~ /^JobHeld/ ? "held" : "-", $5 }')
  eval "$(printf '%s\n' "$listed" | awk -F'|' -v turn=$turn -v over="^($over)$" '
    length($3) != 15 || $3 !~ /^w[a-z2-7]+$/ || $1 !~ /^[0-9]+(_[0-9]+)?$/ || $2 !~ /^[A-Z_]+$/ { next }
    {
      lives = $2 !~ over
      ids[$3] = ids[$3] " " $1
      if ($3 in state && !lives) next
      gsub(/[^A-Za-z0-9_ .,:()-]/, "?", $NF)
      state[$3] = $2; id[$3] = $1; reason[$3] = $NF
      nodes[$3] = $4 ~ /^[A-Za-z]/ ? "placed" : "-"
    }
    END {
      for (name in state)
        print "j_" name "=\"" turn " " id[name] " " state[name] " " nodes[name] " " reason[name] "\" a_" name "=\"" ids[name] "\""
    }')"
}

# job NAME FOLDER
job() {
  id= state= nodes= reason= all=
  eval "line=\${j_$1-} all=\${a_$1-}"
  set -- $line
  [ "$1" = "$turn" ] || { all=; return 0; }
  id=$2 state=$3 nodes=$4
  shift 4
  reason="$*"
}

# has_ended STATE: the queue says that the job is over; a job that it does not know is, too
has_ended() {
  case "||$over|" in *"|$1|"*) return 0 ;; esac
  return 1
}
