# Makes the folders, takes the job's script from stdin and starts the wrapper. Arguments: folder, directory, nonce,
# token, size of the script in bytes, the wrapper's text, shell, walltime_s, grace_s.
refuse() {
  printf '\nwlm-refused %s\n' "$1"
  exit 0
}
f=$1 n=$3 token=$4
[ -r /proc/sys/kernel/random/boot_id ] || refuse "the batch system shell needs Linux's /proc, which is not there"
e=$(umask 077; mkdir -p -- "$f" 2>&1) || refuse "the folder of the job cannot be made: $e"
e=$(mkdir -p -- "$2" 2>&1) || refuse "directory cannot be made: $e"
cd -- "$f" || exit 1
if [ -s exit ] || [ -e fence ]; then
  printf '\nwlm-submitted\n'
  exit 0
fi
file=script.$n.$$
e=$({ cat >"$file"; } 2>&1) || refuse "the script cannot be written: $e"
# a connection that was cut in the middle is no end of the script
[ "$(($(wc -c <"$file")))" -eq "$5" ] || exit 1
oom=
while read -r key value; do [ "$key" = oom_kill ] && oom=$value; done </proc/vmstat
wrapper=$6
set -- sh -c "$wrapper" wlmctl-job "$n" "$7" '' "$file" "$oom" "$8" "$9"
export WLMCTL_TOKEN="$token"
# What a shell starts by & ignores SIGINT and SIGQUIT for ever: that is the last resort (an old or a small setsid).
fork='import os,sys;os.fork() and os._exit(0);os.setsid();os.execvp(sys.argv[1],sys.argv[1:])'
{
  setsid --fork "$@" || python3 -c "$fork" "$@" ||
    perl -e 'use POSIX; fork and exit; POSIX::setsid(); exec @ARGV' -- "$@" ||
    { command -v setsid && { setsid "$@" & }; }
} </dev/null >/dev/null 2>&1 || refuse "setsid (Debian: util-linux) is not there, a job cannot be detached"
printf '\nwlm-submitted\n'
