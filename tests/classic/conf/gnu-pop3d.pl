#: formats = ["gnu-pop3d"]
#: note = ["$pat: read by our format gnu-pop3d"]
use strict;
use vars qw(
    $pat $out_pat $write $flock $debug $reprocess $grace $logto %file_tail
    @mynets %db $dbfile $dbvalue $logtime_pat
    $mynet_func $tie_func $flock_func $add_func $del_func $sync_func
    $tail_init_func $tail_getline_func $log_func
    $PID_pat $IP_pat $OK_pat $FAIL_pat $OUT_pat
);
$pat = '^[LOGTIME] \S+ gnu-pop3d\[\d+\]: ' .
    'User .+ logged in with mailbox .+ from (\d+\.\d+\.\d+\.\d+)';

if (!-f $file_tail{'name'}) {
    foreach (qw( /nowhere/mail/info /nowhere/mail.log
		 /nowhere/messages )) {
	if (-f $_) {
	    $file_tail{'name'} = $_;
	    last;
	}
    }
}

if (defined($PID_pat) && defined($IP_pat) && defined($OK_pat)) {
    eval <<'EOT';
    # whatever stands here: it isn't run, and its 'quotes are not looked at
    sub custom_match { if (/$PID_pat/o) { return ($1, $2, 0) } }
EOT
}

1; # the last line
