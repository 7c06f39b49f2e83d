#: grace = 0
#: formats = ["uw"]
#: stop = ["$grace: 0 seconds are no window"]
#: note = ["read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
$grace = 0;

1;
