# Ends one job, or seals it. An exit file that is there before the cancel mark shows that it ended by itself.
# Variables: folder, token, wait_ms, grace.
printf '\nwlm-begin %s\n' "$sign"
t=0 spent=0 verdict=
ended "$folder" && verdict=exit
if ! [ "$verdict" ]; then
  if mkdir -p -- "$folder" && { [ -e "$folder/cancel" ] || printf '0\n' >"$folder/cancel"; } &&
    { owner "$folder" || seal "$folder"; }; then
    while :; do
      judge "$folder" "$token"
      case $verdict in ending | 'dark '*) ;; *) break ;; esac
      [ $t -ge $wait_ms ] && break
      nap 050
      t=$((t + 50))
    done
  else
    verdict=unsealed
  fi
fi
tell 0 "$folder"
say end
