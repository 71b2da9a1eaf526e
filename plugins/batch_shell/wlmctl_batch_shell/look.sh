# Judges jobs and, where a cancel is in force, goes on with it. Variables: grace in seconds, nonce (ours, for a seal).
read -r boot </proc/sys/kernel/random/boot_id
read -r host </proc/sys/kernel/hostname
skip=" $$ "

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
