#: map = { type = "postfix", map = "hash:/etc/postfix/pop-before-smtp", result = "ok" }
#: formats = ["uw"]
#: lost = ["NDBM_File: dbm maps are not written; write check_client_access hash:/etc/postfix/pop-before-smtp"]
#: note = ["read by our format uw", "$flock"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
use NDBM_File;
$tie_func = \&tie_NDBM;
$sync_func = sub { };
$flock = 0;
sub tie_NDBM
{
    tie %db, 'NDBM_File', $dbfile, O_RDWR|O_CREAT, 0664
	or die "$0: $dbfile: $!\n";
}

1;
