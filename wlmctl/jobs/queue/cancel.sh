# Ends one job, or seals it. An exit file that is there before the cancel mark shows that it ended by itself.
# Variables: folder, name, wait in hundredths of a second.
printf '\nwlm-begin %s\n' "$sign"
clock
began=$now spent=0 verdict=
[ -e "$folder/cancel" ] || ! ended "$folder" || verdict=exit
# point 1: nothing done
if ! [ "$verdict" ]; then
  if mkdir -p -- "$folder" && { [ -e "$folder/cancel" ] || : >"$folder/cancel"; } &&
    { owner "$folder" || seal "$folder"; }; then
    # point 2: marked, and sealed where it had not begun
    while list; do
      job "$name" "$folder"
      has_ended "$state" || is_spared "$folder" || sweep "$name" "$folder"
      # point 3: cancelled in the queue, nothing proven
      judge "$folder" "$name"
      case $verdict in
      # its pack goes on without it
      never) { [ "$shared" ] || has_ended "$state"; } && break ;;
      exit | lost | gone) break ;;
      esac
      clock
      [ $((now - began)) -ge "$wait" ] && break
      nap 250
    done
    [ "$turn" -gt 0 ] || exit 1
    # sealed, and the queue still shows it: not proven yet
    [ "$verdict" = never ] && ! [ "$shared" ] && ! has_ended "$state" && verdict=ending
  else
    verdict=unsealed
  fi
fi
# point 4: proven, not answered
tell_end 0 "$folder"
say end
