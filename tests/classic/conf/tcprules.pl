#: map = { type = "command", list = ["/usr/local/lib/pop-before-smtp/tcp-rules", "/etc/tcp.smtp", "/etc/tcp.smtp.cdb"] }
#: formats = ["uw"]
#: trusted = ["127.0.0.0/8", "192.168.1.0/24"]
#: lost = ["tcprules: install contrib/qmail/tcp-rules"]
#: note = ["192.168.1.1/24 is written 192.168.1.0/24", "read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
my $TCPRULES = '/usr/local/bin/tcprules';
$dbfile = '/etc/tcp.smtp.cdb';
$mynet_func = \&mynet_tcprules;
$tie_func = \&tie_tcprules;
$sync_func = \&sync_tcprules;
sub mynet_tcprules
{
    # ours
    '127.0.0.0/8 192.168.1.1/24';
}
my @qnets;
sub tie_tcprules
{
    foreach (@mynets) {
	if (m#(.*)/(\d+)#) {
	    $_ = $1; my $bits = (32 - $2);
	    while (int($bits / 8)) { s/\.[^.]*$//; $bits -= 8; }
	    s/(\d+)$/$1.sprintf("-%d",$1 + (2**$bits) - 1)/e if $bits > 0;
	    /(\..*){3}/ or s/$/./;
	}
	push @qnets, $_;
    }
}
sub sync_tcprules
{
    open(RULES, "|$TCPRULES $dbfile $dbfile.tmp") or die "tcprules: $!";
    map { print RULES "$_:allow,RELAYCLIENT=''\n" } @qnets, keys %db;
    close RULES or die "closing: $!";
}

1;
