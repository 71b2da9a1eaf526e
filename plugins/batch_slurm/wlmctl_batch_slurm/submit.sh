# Submits one job held, records its id, releases it: each step is harmless to repeat. Variables: folder, directory,
# nonce, name, file, size (of the script on stdin, in bytes), batch (what Slurm is to run); "$@" are options for sbatch.
refuse() {
  printf '\nwlm-refused %s\n' "$1"
  exit 0
}
submitted() {
  printf '\nwlm-submitted\n'
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
  [ "$recorded" = "$1" ] || scancel "$1"
}
command -v sbatch >/dev/null 2>&1 || refuse "there is no sbatch on this login (a preamble is not read here)"
e=$(umask 077; mkdir -p -- "$folder" 2>&1) || refuse "the folder of the job cannot be made: $e"
e=$(mkdir -p -- "$directory" 2>&1) || refuse "directory cannot be made: $e"
cd -- "$folder" || exit 1
# only saves work: two submits at once make two held jobs, of which one is recorded
{ exec 9>>submit.lock && flock -w 60 9; } 2>/dev/null
ended . || owner . && submitted
list || exit 1
if ! recorded; then
  job "$name"
  if ! [ "$id" ] || has_ended "$state"; then
    e=$({ cat >"$file"; } 2>&1) || refuse "the script cannot be written: $e"
    # a connection that was cut in the middle is no end of the script
    [ "$(($(wc -c <"$file")))" -eq "$size" ] || exit 1
    printf '%s' "$batch" >"batch.$nonce" || exit 1
    id=$(timeout 120 sbatch --parsable --hold --no-requeue --job-name="$name" --comment="wlm:$folder" "$@" \
      --output=/dev/null --error=/dev/null "batch.$nonce" 2>"said.$nonce") || {
      e=$(tail -n 3 "said.$nonce")
      case $e in
      *[Tt]'imed out'* | *'nable to contact'* | *'ocket'* | *'emporarily'* | *'ommunication'*) ;;
      *) [ "$e" ] && refuse "$e" ;;
      esac
      printf '%s\n' "$e" >&2
      exit 1
    }
    id=${id%%;*}
  fi
  record "$id"
  list || exit 1
fi
job "$name"
if [ "$state" = PENDING ] && [ "$id" = "$recorded" ] && [ "$reason" = JobHeldUser ]; then
  scontrol release "$id" || exit 1
fi
submitted
