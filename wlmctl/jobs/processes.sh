# What /proc says about a job. Variables: of the fence's owner sid (its pid, which is its session) and born (its start
# time); token; skip (pids that do not count).

# process PID: its line of /proc in $s, the part behind the name in $fields; false when there is no such process
process() {
  { read -r s <"/proc/$1/stat"; } 2>/dev/null || return 1
  case $s in *') '*) ;; *) s=$(cat "/proc/$1/stat" 2>/dev/null) ;; esac
  fields=${s##*) }
}

# lives PID BORN: that very process has not ended
lives() {
  process "$1" || return 1
  set -- "$2" $fields
  case $2 in Z | X) return 1 ;; esac
  [ "${21}" = "$1" ]
}

# The job's processes in $live (those of its session, those with its token, and the wrapper's children, which have neither
# where a queue gives it no session of its own), and in $dark one of this user whose environment cannot be read and which
# may therefore be the job's.
scan() {
  live= dark= session=$sid
  hits=" $(grep -lsF -e "WLMCTL_TOKEN=$token" /proc/[0-9]*/environ </dev/null | tr '\n' ' ')"
  # a leader with another start time: the pid, and with it the session, is somebody else's by now
  if process "$sid"; then
    set -- $fields
    [ "${20}" = "$born" ] || session=none
  fi
  for p in /proc/[0-9]*; do
    p=${p#/proc/}
    case $skip in *" $p "*) continue ;; esac
    process "$p" || continue
    set -- $fields
    case $1 in Z | X) continue ;; esac
    case $session in "$4" | "$2") live="$live $p"; continue ;; esac
    case $hits in *" /proc/$p/environ "*) live="$live $p"; continue ;; esac
    [ "${20}" -ge "$born" ] && hides "$p" "$2" && dark=$p
  done
  return 0
}

# hides PID PARENT: it is this user's, its environment is closed to us, and no living parent vouches for it
hides() {
  { true <"/proc/$1/environ"; } 2>/dev/null && return 1
  [ "${uid:=$(id -u)}" = 0 ] && return 1
  case $s in *' (sshd'* | *' (ssh-agent) '* | *' (gpg-agent) '* | *' ((sd-pam)) '*) return 1 ;; esac
  value=
  { while read -r key value _; do [ "$key" = Uid: ] && break; done <"/proc/$1/status"; } 2>/dev/null
  [ "$value" = "$uid" ] || return 1
  [ "$2" = 1 ] && return 0
  name=
  { read -r name <"/proc/$2/comm"; } 2>/dev/null
  case $name in systemd | init | '') return 0 ;; esac
  return 1
}

# signal NAME: to all of $live; the wrapper first, so that it knows why its job ends
signal() {
  case "$live " in *" $sid "*) kill -"$1" "$sid" ;; esac 2>/dev/null
  for p in $live; do [ "$p" = "$sid" ] || kill -"$1" "$p"; done 2>/dev/null
}
