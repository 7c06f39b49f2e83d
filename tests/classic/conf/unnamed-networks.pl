#: trusted = ["127.0.0.0/8", "10.1.2.0/24"]
#: note = ["$mynet_func: 10.1.2.3/24 is written 10.1.2.0/24", "$pat: read by our format uw"]
# A subroutine without a name is one too.
$mynet_func = sub { return '127.0.0.0/8 10.1.2.3/24' };
1;
