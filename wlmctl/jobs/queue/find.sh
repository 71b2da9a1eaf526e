# Lists the jobs that have not ended, then the mark that the listing is whole.
list && printf '%s\n' "$listed" | awk -F'|' -v over="^($over)$" '$2 !~ over'
