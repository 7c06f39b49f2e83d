#: stop = ["sub custom_match: code is not run"]
#: custom = true
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
sub custom_match
{
    return ($1, $2) if /^(.{15}) \S+ mypopd: (\S+)/ && $2 ne '192.0.2.1';
    ( );
}

1;
