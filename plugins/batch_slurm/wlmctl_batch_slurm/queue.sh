# Slurm's commands.

# settings of the login that would change what a command lists or submits
for v in $(env | grep -Eo '^(SQUEUE|SBATCH|SCANCEL)_[A-Z0-9_]*'); do unset "$v"; done
array=--array=
# squeue shows an end for as long as slurmctld knows it
absent=ABSENT

# jobs in all states and hidden partitions, elements of arrays singly
queue_list() {
  LC_ALL=C timeout 60 squeue -a -r -h -t all -u "$(id -un)" -o '%i|%T|%j_%K|%N|%k|%r'
}

queue_submit() {
  file=$1
  shift
  made=$(timeout 120 sbatch --parsable --hold --no-requeue --job-name="$name" --comment="wlm:$folder" "$@" \
    --output=/dev/null --error=/dev/null "$file") && printf '%s\n' "${made%%;*}"
}

queue_release() {
  scontrol release "$@"
}

queue_remove() {
  scancel "$@"
}

# What the accounting knows, where there is one; a number may have been given twice. Elements of arrays have their array's
# name there, and are not told apart from those of others.
queue_told() {
  told=$(LC_ALL=C timeout 60 sacct -n -X -D -P -j "$1" -o JobName,State </dev/null 2>/dev/null |
    awk -F'|' -v name="$2" -v over="^($over)$" '
      $1 == name { split($2, word, " "); if (word[1] ~ over) state = word[1] }
      END { print state }')
  [ "$told" ] && state=$told reason=None
}

queue_booted() {
  date -d "$(scontrol show config | sed -n 's/^BOOT_TIME *= *//p')" +%s
}
