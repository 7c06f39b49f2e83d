#: map = { type = "postfix", map = "hash:/var/spool/access", result = "ok" }
#: formats = ["uw"]
#: note = ["read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
use BerkeleyDB;
$dbfile = '/var/spool/access';
$tie_func = \&tie_BerkeleyDB;
$sync_func = \&sync_BerkeleyDB;
my $dbh;
sub tie_BerkeleyDB { $dbh = tie %db,'BerkeleyDB::Hash',-Filename=>"$dbfile.db",-Flags=>DB_CREATE or die "$!\n"; }
sub sync_BerkeleyDB { $dbh->db_sync and die "$0: sync $dbfile: $!\n"; }

1;
