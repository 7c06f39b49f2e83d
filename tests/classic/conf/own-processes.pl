#: grace = 900
#: hold = "24h"
#: custom = true
#: formats = ["classic-1"]
#: programs = ["mypopd"]
#: note = ["$PID_pat: there is no format of ours", "$OUT_pat: a session that is open"]
use strict;
use vars qw($pat $out_pat $write $flock $debug $reprocess $grace $logto %file_tail @mynets %db $dbfile $dbvalue $logtime_pat $mynet_func $tie_func $flock_func $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $PID_pat $IP_pat $OK_pat $FAIL_pat $OUT_pat);
# multi-line courier style pid patterns with custom FAIL
$PID_pat = '^[LOGTIME] \S+ mypopd\[(\d+)\]: ';
$IP_pat = $PID_pat . 'connect from \S+ \[(\d+\.\d+\.\d+\.\d+)\]';
$OK_pat = $PID_pat . 'auth ok user=\S+';
$FAIL_pat = $PID_pat . '(?:auth failed|bye)';
$OUT_pat = $PID_pat . 'logout';
$grace = 15 * 60;
1;
