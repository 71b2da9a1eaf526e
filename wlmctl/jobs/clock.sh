# Time on this host.

# the time since boot, in hundredths of a second, in $now
clock() {
  read -r now _ </proc/uptime
  now=${now%.*}${now#*.}
}

# nap MS (three digits); where sleep knows no fractions, a second
nap() {
  sleep "0.$1" 2>/dev/null || sleep 1
}
