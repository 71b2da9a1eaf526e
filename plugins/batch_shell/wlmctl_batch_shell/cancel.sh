# Ends one job, or seals it. An exit file that is there before the cancel mark shows that it ended by itself.
# Variables: folder, token, wait in hundredths of a second, grace.
printf '\nwlm-begin %s\n' "$sign"
clock
began=$now spent=0 verdict=
[ -e "$folder/cancel" ] || ! ended "$folder" || verdict=exit
if ! [ "$verdict" ]; then
  if mkdir -p -- "$folder" && { [ -e "$folder/cancel" ] || printf '0\n' >"$folder/cancel"; } &&
    { owner "$folder" || seal "$folder"; }; then
    while :; do
      judge "$folder" "$token"
      case $verdict in ending | 'dark '*) ;; *) break ;; esac
      clock
      [ $((now - began)) -ge "$wait" ] && break
      nap 050
    done
  else
    verdict=unsealed
  fi
fi
tell 0 "$folder"
say end
