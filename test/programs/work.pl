# Reads a file line by line and writes another: substitutions, a hash of words, checksums, floating point.
use strict;
use warnings;

my ($source, $target) = @ARGV;
open(my $in, '<', $source) or die $!;
open(my $out, '>', $target) or die $!;
my ($sum, $float, %words) = (1, 0);
while (my $line = <$in>) {
    for my $turn (1 .. 12) {
        $sum = ($sum * 31 + unpack('%32C*', $line) + $turn) % 1000000007;
        $words{$_}++ for split ' ', $line;
        $float += sqrt($sum) / ($turn + length $line);
    }
    (my $changed = $line) =~ s/(\w+) (\w+)/$2 $1/g;
    printf $out "%d %d %.12g %s", $., $sum, $float, $changed;
}
print $out join(',', map { "$_=$words{$_}" } sort keys %words), "\n";
close $out or die $!;
print "done $sum\n";
