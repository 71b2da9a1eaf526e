# What a job's folder says, and how it is sealed. Of the fence's owner: ohost, oboot, sid (its pid, which is its session),
# born (its start time) and ononce. Variable: nonce (ours, for a seal).

owner() {
  o=$1/fence ohost= oboot= sid=- born=0 ononce=
  [ -d "$o" ] && o=$o/owner
  { read -r ohost oboot sid born ononce _ <"$o"; } 2>/dev/null
  [ "$ononce" ]
}

ended() {
  exitline=
  { read -r exitline <"$1/exit"; } 2>/dev/null
  case $exitline in 'wlm1 '*' end') return 0 ;; esac
  return 1
}

# seal FOLDER: take the fence ourselves, so that nothing can start there any more; false when nobody has it after all
seal() {
  mkdir -p -- "$1" && printf 'sealed - - - %s\n' "$nonce" >"$1/owner.$nonce" || return 1
  ln "$1/owner.$nonce" "$1/fence" 2>/dev/null || [ -e "$1/fence" ] || {
    mkdir "$1/take.$nonce" && mv "$1/owner.$nonce" "$1/take.$nonce/owner" && mv -T "$1/take.$nonce" "$1/fence"
  } 2>/dev/null
  owner "$1"
}
