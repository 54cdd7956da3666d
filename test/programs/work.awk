# Reads a file line by line and writes another: sums, arrays, reversed fields.
{
  for (turn = 0; turn < 25; turn++) {
    sum = (sum * 31 + length($0) * turn + NR) % 1000000007
    root += sqrt(sum) / (NR + turn)
  }
  reversed = ""
  for (i = NF; i > 0; i--) {
    reversed = reversed " " $i
    words[$i]++
  }
  printf "%d %d %.12g%s\n", NR, sum, root, reversed > target
}
END {
  count = 0
  for (word in words) count += words[word]
  print "words", count > target
  print "done", sum
}
