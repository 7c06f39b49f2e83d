#: map = { type = "postfix", map = "cdb:/etc/postfix/pop", result = "ok" }
#: formats = ["uw"]
#: note = ["read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
use CDB_File;
$dbfile = '/etc/postfix/pop.cdb';
$tie_func = \&tie_CDB;
$sync_func = \&sync_CDB;
sub tie_CDB
{
}
sub sync_CDB { my $cdb = CDB_File->new($dbfile, "$dbfile.tmp") or die; foreach (keys %db) { $cdb->insert($_, $dbvalue); } }

1;
