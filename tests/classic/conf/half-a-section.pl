#: error = ":6: the section that begins with this =cut has no =cut at its end"
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);

=cut #============================ syslog =============================START=
$log_func = \&syslog;

=cut #----------------------- Read log on stdin -----------------------START-
$tail_getline_func = \&getline_stdin;
=cut #----------------------- Read log on stdin -------------------------END-

1;
