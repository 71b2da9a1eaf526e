# Lists the jobs that have not ended, each member of a pack by itself, then the mark that the listing is whole.
comments=all
list || exit 75
printf '%s\n' "$listed" | awk -F'|' -v over="^($over)$" "BEGIN { OFS = FS }$rows"'
  $2 ~ over { next }
  $5 ~ /^wlm:.*\.pack$/ {
    file = substr($5, 5)
    $5 = "wlm:" row(file, 0)
    for (i = 1; i < rows[file]; i++) { print; $5 = "wlm:" row(file, i) }
  }
  { print }'
