#: grace = 30
#: formats = ["uw"]
#: lost = ["$grace: Perl reads '30m' as 30 seconds", "$tail_init_func = sub"]
#: stop = ["sub add_DB: code is not run, and it takes the place"]
#: note = ["read by our format uw"]
$grace = '30m';
$tail_init_func = sub { open(X, "/x") };
sub add_DB { my($ip) = @_; $db{"$ip/24"} = 1; }
1;
