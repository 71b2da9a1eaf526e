# What the queue knows of this login's jobs: after list, job tells of one, and living is a line for each that waits or
# runs: its number, held, runs or -, its comment, which says the folder, or for a pack the file with the folders of its
# members.
turn=0
over='BOOT_FAIL|CANCELLED|COMPLETED|DEADLINE|FAILED|NODE_FAIL|OUT_OF_MEMORY|PREEMPTED|REVOKED|TIMEOUT'

# For awk: the elements of an array have its comment, which names the file with the folders of its elements.
rows='
  function row(file, number,  line, count) {
    if (!(file in seen)) {
      seen[file] = 1
      while ((getline line < file) > 0) folder[file, count++] = line
      rows[file] = count + 0
    }
    # where it is gone, a folder that nothing else has
    if ((file, number) in folder) return folder[file, number]
    sub(/\.[a-z]+$/, "", file)
    return file "/" number
  }
  { sub(/_N\/A$/, "", $3) }
  $5 ~ /^wlm:.*\.array$/ && split($1, part, "_") == 2 { $5 = "wlm:" row(substr($5, 5), part[2]) }
'
# list: false when the listing is not complete. Only names of ours, and of two jobs with one name that which lives.
list() {
  listed=$(queue_list && echo wlm-listed) || return 1
  case $listed in *wlm-listed) ;; *) return 1 ;; esac
  turn=$((turn + 1))
  living=$(printf '%s\n' "$listed" | awk -F'|' "$rows"'
    $5 !~ /^wlm:/ { next }
    $2 == "RUNNING" { print $1, "runs", $5 }
    $2 == "PENDING" { print $1, $6 ~ /^JobHeld/ ? "held" : "-", $5 }')
  eval "$(printf '%s\n' "$listed" | awk -F'|' -v turn=$turn -v over="^($over)$" '
    { sub(/_N\/A$/, "", $3); index_of = substr($3, 16) }
    substr($3, 1, 15) !~ /^w[a-z2-7]+$/ || length($3) < 15 || index_of !~ /^(_[0-9]+)?$/ { next }
    $1 !~ /^[0-9]+(_[0-9]+)?$/ || $2 !~ /^[A-Z_]+$/ { next }
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

# job NAME FOLDER: sets id, state, nodes and reason of the job that goes by this name, or is an element of an array or a
# member of a pack that its folder tells of; what lives counts first. all are the numbers of all but packs, and shared is
# the file with the members of the pack that it is in.
job() {
  id= state= nodes= reason= all= shared= own=$1
  if [ -e "$2/homes" ]; then
    while read -r key members; do
      [ "$members" ] && [ "$key" = "$own" ] && own=
      known "$key" "$members"
    done <"$2/homes"
  fi
  known "$own"
  # its part of the pack is over
  [ -e "$2/passed" ] && state=COMPLETED reason=None
  return 0
}

# known NAME MEMBERS: what the queue has under this name
known() {
  case $1 in '' | *[!a-z0-9_]*) return ;; esac
  eval "line=\${j_$1-} ids=\${a_$1-}"
  in=$2
  set -- $line
  [ "$1" = "$turn" ] || return
  [ "$in" ] || all="$all$ids"
  if [ "$id" ]; then
    has_ended "$3" && return
    has_ended "$state" || [ "$reason" = JobHeldUser ] || return
  fi
  id=$2 state=$3 nodes=$4 shared=$in
  shift 4
  reason="$*"
}

# has_ended STATE: the queue says that the job is over; a job that it does not know is, too
has_ended() {
  case "||$over|" in *"|$1|"*) return 0 ;; esac
  return 1
}
