#: stop = ["it is no regular expression"]
#: note = ["there is no format of ours"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
$pat = '^[LOGTIME] \S+ mypopd: from ((\d+';

1;
