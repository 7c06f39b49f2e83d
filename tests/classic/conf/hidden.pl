#: formats = ["uw"]
#: grace = 60
#: stop = ["my $grace: the classic never sees it", "`*pat = \\\"x\"`", "`($dbfile, $x) = (1, 2)`"]
#: note = ["read by our format uw"]
my $grace = 60;
*pat = \"x";
($dbfile, $x) = (1, 2);
1;
