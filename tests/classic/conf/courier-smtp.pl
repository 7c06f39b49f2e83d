#: map = { type = "command", list = ["/usr/local/lib/pop-before-smtp/smtpaccess", "/etc/courier/smtpaccess/pop-before-smtp"] }
#: formats = ["uw"]
#: trusted = []
#: lost = ["Courier: install contrib/courier/smtpaccess"]
#: note = ["read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
my $ESMTPD = '/usr/lib/courier/sbin/esmtpd';
use DB_File;
$dbfile = '/etc/courier/smtpaccess';
$dbvalue = 'allow,RELAYCLIENT';
$mynet_func = \&mynet_courier;
$tie_func = \&tie_courier;
$sync_func = \&sync_courier;
$flock_func = \&flock_courier;
sub mynet_courier { ''; }
my $dbh;
sub tie_courier { $dbh = tie %db, 'DB_File', "$dbfile.dat", O_CREAT|O_RDWR, 0666, $DB_HASH or die; }
sub flock_courier { my($on) = @_; flock(DB_FH, $on ? LOCK_EX : LOCK_UN) or die; }
sub sync_courier { system "$ESMTPD stop; $ESMTPD start"; }

1;
