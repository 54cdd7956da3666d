# Reads a file line by line and writes another, with nothing but the shell itself: arithmetic, arrays, patterns, a trap.
declare -A words
sum=1
signals=0
trap 'signals=$((signals + 1))' USR1
while read -r first second rest; do
  for turn in 1 2 3 4 5 6; do
    sum=$(((sum * 31 + ${#rest} + turn) % 1000000007))
  done
  words[$second]=$((${words[$second]:-0} + 1))
  echo "$sum ${second^^} $first ${rest//e/E}"
  [ $((sum % 40)) -ne 0 ] || [ -z "$TELL" ] || echo "at $sum" >&2
done <"$1" >"$2"
for word in "${!words[@]}"; do total=$((total + ${words[$word]})); done
echo "done $sum $total"
