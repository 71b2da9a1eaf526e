# The commands of OpenPBS and PBS Pro, and those of Torque, which has the same names.
unset PBS_DPREFIX
absent=ENDED

case $(timeout 60 qstat --version 2>&1 </dev/null) in *pbs_version*) torque= ;; *) torque=1 ;; esac

# records: the long listing on stdin as lines; long values go on behind a tab, and may hold a line break of their own
records() {
  awk -v torque="$torque" '
    function ended(code, word) {
      word = "FAILED"
      if (code == 0) word = "COMPLETED"
      else if (torque && (code == -11 || code == -12) || !torque && (code == -29 || code == -28)) word = "TIMEOUT"
      else if (torque && code == -10 || !torque && (code == -27 || code == -26)) word = "OUT_OF_MEMORY"
      else if (code < 0 && (torque || code > -24)) word = "NODE_FAIL"
      # deleted: PBS Pro says so, and Torque gives the signal of a deletion to one that was never placed
      if (word == "FAILED" && (torque ? code == 271 && a["exec_host"] == "" : a["substate"] == 91)) word = "CANCELLED"
      return word
    }
    function told(state, word, why, folder, pack) {
      if (id == "") return
      state = a["job_state"]; word = "RUNNING"; why = a["comment"]
      code = "Exit_status" in a ? a["Exit_status"] : a["exit_status"]
      if (state ~ /^[CFX]$/) { word = ended(code); why = why (code == "" ? "" : " (exit status " code ")") }
      else if (state == "S" || state == "U") word = "SUSPENDED"
      else if (state == "H") {
        word = "PENDING"
        if (why ~ /too many failed attempts/) word = "LAUNCH_FAILED"
        else why = a["Hold_Types"] ~ /u/ ? "JobHeldUser" : "held (" a["Hold_Types"] ")"
      } else if (state ~ /^[QTW]$/) word = "PENDING"
      if (why == "") why = state
      folder = a["Variable_List"]
      if (folder !~ /(^|,)PBS_O_WORKDIR=/) folder = ""
      sub(/^(.*,)?PBS_O_WORKDIR=/, "", folder)
      sub(/,[A-Za-z_][A-Za-z_0-9]*=.*$/, "", folder)
      if (match(a["Variable_List"], /(^|,)WLM_PACK=[^,]*/)) {
        pack = substr(a["Variable_List"], RSTART, RLENGTH)
        sub(/^.*WLM_PACK=/, "/", pack)
      }
      gsub(/\|/, "?", why)
      print id "|" word "|" a["Job_Name"] "|" (a["exec_host"] == "" ? "-" : a["exec_host"]) "|" (folder == "" ? "" : "wlm:" folder pack) "|" why
    }
    /^Job Id: / { told(); split("", a); id = $3; sub(/[.\[].*/, "", id); key = ""; next }
    /^    [A-Za-z_][A-Za-z_.0-9]* = / {
      key = $1; sub(/^    [^ ]+ = /, ""); a[key] = $0; next
    }
    /^\t/ { sub(/^\t/, ""); a[key] = a[key] $0 }
    END { told() }'
}

# PBS tells a login its own jobs by number only, and of a job that ends between the two questions that it does not know
# it: each number has to have its answer
queue_list() {
  numbers=$(timeout 60 qselect -u "$(id -un)" </dev/null) || return 1
  [ "$numbers" ] || return 0
  # what is missing is said on stderr
  rows=$({
    { timeout 120 qstat -f $numbers 2>&1 >&3 3>&- </dev/null; echo "wlm-code $?"; } | sed 's/^/wlm-said /'
  } 3>&1)
  # cut off in the middle of one
  case $rows in *'wlm-said wlm-code 124' | *'wlm-said wlm-code 1'[34][0-9]) return 1 ;; esac
  rows=$(printf '%s\n' "$rows" | grep -v '^wlm-said wlm-code ')
  missing=$(printf '%s\n' "$rows" | grep -Ec '^wlm-said .*(Unknown Job I[dD]|has finished)')
  said=$(printf '%s\n' "$rows" | grep -c '^wlm-said .')
  found=$(printf '%s\n' "$rows" | grep -c '^Job Id: ')
  if [ "$said" != "$missing" ] || [ $((missing + found)) -ne "$(printf '%s\n' "$numbers" | grep -c .)" ]; then
    printf '%s\n' "$rows" | sed -n 's/^wlm-said //p' | tail -n 3 >&2
    return 1
  fi
  printf '%s\n' "$rows" | grep -v '^wlm-said ' | records
}

# torque_nodes SELECT: PBS Pro's select=N:ncpus=C:mem=Mmb:ngpus=G in the words of Torque, whose memory is the job's
torque_nodes() {
  printf '%s\n' "$1" | awk -F'[=:]' '{
    line = "nodes=" $2 ":ppn=" $4
    for (i = 5; i < NF; i += 2)
      if ($i == "mem") memory = ",mem=" $2 * $(i + 1) "mb"
      else line = line ":gpus=" $(i + 1)
    print line memory
  }'
}

# The words begin with -l SELECT, and -l place=scatter where there are several nodes. The folder of the job is where qsub is called, which PBS keeps, and the file of
# a pack a variable; a qsub that goes on in the background keeps no lock.
queue_submit() {
  file=$1 home=$folder
  shift
  if [ "$torque" ]; then
    nodes=$(torque_nodes "$2")
    shift 2
    [ "$1 $2" = '-l place=scatter' ] && shift 2
    set -- -l "$nodes" "$@"
  fi
  case $folder in *.pack)
    home=${folder%/*}
    set -- -v "WLM_PACK=${folder##*/}" "$@"
    ;;
  esac
  made=$(cd -- "$home" && timeout 120 qsub -h -r n -m n -N "$name" -S /bin/sh -o /dev/null -e /dev/null "$@" "$file" \
    </dev/null 9>&-) || return 1
  made=$(printf '%s\n' "$made" | grep -E '^[0-9]+(\.|$)' | tail -n 1)
  printf '%s\n' "${made%%.*}"
  [ "$made" ]
}

queue_release() {
  qrls -h u "$@" >&2
}

queue_remove() {
  qdel "$@" >&2
}

# the history, where the server keeps one
queue_told() {
  if [ "$torque" ]; then set -- "$1" "$2" -f; else set -- "$1" "$2" -x -f; fi
  told=$(timeout 60 qstat $3 $4 "$1" </dev/null 2>/dev/null) || return 0
  told=$(printf '%s\n' "$told" | records | awk -F'|' -v name="$2" '$3 == name && $2 !~ /^(RUNNING|PENDING|SUSPENDED)$/ { print $2, $6 }')
  [ "$told" ] && state=${told%% *} reason=$(printf '%s' "${told#* }" | tr -c 'A-Za-z0-9_ .,:()+=-' '?')
}

queue_booted() { :; }
