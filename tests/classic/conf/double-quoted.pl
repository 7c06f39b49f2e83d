#: grace = 3600
#: log = "/var/log/pbs.log"
#: formats = ["dovecot"]
#: note = ["$pat: read by our format dovecot"]
use strict;
use vars qw($pat $out_pat $write $flock $debug $reprocess $grace $logto %file_tail @mynets %db $dbfile $dbvalue $logtime_pat $mynet_func $tie_func $flock_func $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $PID_pat $IP_pat $OK_pat $FAIL_pat $OUT_pat);
$pat = "^[LOGTIME] \\S+ dovecot(?:\\[\\d+\\])?: (?:imap|pop3)-login: Login: .*? rip=(\\d+\\.\\d+\\.\\d+\\.\\d+),";
$logto = '/var/log/' . 'pbs.log';
$grace = "3600";
1;
