# Judges jobs and, where a cancel is in force, goes on with it. Variables: grace in seconds, nonce (ours, for a seal).
read -r boot </proc/sys/kernel/random/boot_id
read -r host </proc/sys/kernel/hostname
skip=" $$ "

# seal FOLDER: take the fence ourselves, so that nothing can start there any more; false when nobody has it after all
seal() {
  mkdir -p -- "$1" && printf 'sealed - - - %s\n' "$nonce" >"$1/owner.$nonce" || return 1
  ln "$1/owner.$nonce" "$1/fence" 2>/dev/null || [ -e "$1/fence" ] || {
    mkdir "$1/take.$nonce" && mv "$1/owner.$nonce" "$1/take.$nonce/owner" && mv -T "$1/take.$nonce" "$1/fence"
  } 2>/dev/null
  owner "$1"
}

# strike FOLDER MARK: TERM once, KILL when the grace period is over; the wrapper last, so that it can tell the end
strike() {
  since= sent=
  clock
  { read -r since sent <"$1/$2"; } 2>/dev/null
  if ! [ "$sent" ]; then
    printf '%s sent\n' "$now" >"$1/$2"
    signal TERM
    signal CONT
  elif [ $((now - since)) -ge $((grace * 100)) ]; then
    doomed=
    for p in $live; do [ "$p" = "$sid" ] || doomed="$doomed $p"; done
    for p in ${doomed:-$sid}; do kill -KILL "$p"; done 2>/dev/null
  fi
}

# judge FOLDER TOKEN: sets verdict to exit, new, never, reboot, elsewhere, run, ending, dark, lost or gone. Once a cancel
# is in force, an exit file counts at once only if it tells of an end by itself, or of a proof; else the proof is due.
judge() {
  token=$2 mark=lost
  [ -e "$1/cancel" ] && mark=cancel
  if ended "$1"; then
    verdict=exit
    [ $mark = lost ] && return
    case $exitline in *' 0 '?' '?' self end' | *' cancel end') return ;; esac
  fi
  owner "$1" || { verdict=new; return; }
  [ "$ohost" = sealed ] && { verdict=never; return; }
  if [ "$oboot" != "$boot" ]; then
    verdict=reboot
    [ "$ohost" = "$host" ] || verdict="elsewhere $ohost $host"
    return
  fi
  verdict=run
  [ $mark = lost ] && lives "$sid" "$born" && return
  scan
  # a child of a process that has just ended may have slipped through between two lines of the listing
  [ "$live$dark" ] || scan
  if [ $mark = lost ] && ended "$1"; then
    verdict=exit
  elif [ "$live" ]; then
    verdict=ending
    strike "$1" $mark
  elif [ "$dark" ]; then
    verdict="dark $dark"
  elif ended "$1"; then
    verdict=exit
  elif [ $mark = lost ]; then
    verdict=lost
  else
    # proven gone: its exit file is ours to write, by ln, so that a real one would win
    verdict=gone
    printf '%s\n' "wlm1 137 $ononce 1 0 0 cancel end" >"$1/exit.$nonce"
    ln "$1/exit.$nonce" "$1/exit" 2>/dev/null || ended "$1" || mv -f "$1/exit.$nonce" "$1/exit"
  fi
}

# say WORDS: begins a section of the answer; no job can know the mark
say() {
  printf '\n%s %s\n' "$sign" "$*"
}

# tell NUMBER FOLDER: the verdict of an ended job, with the ends of its logs
tell() {
  told=0
  [ -e "$2/cancel" ] && told=1
  case $verdict in exit) say "exit $1 $told $exitline" ;; *) say "${verdict%% *} $1 $told $verdict" ;; esac
  for log in stdout stderr; do
    [ -s "$2/$log" ] || continue
    say "$log $1"
    tail -c 65536 "$2/$log" </dev/null 2>/dev/null
    size=$(wc -c <"$2/$log")
    spent=$((spent + (size > 65536 ? 65536 : size)))
  done
}
