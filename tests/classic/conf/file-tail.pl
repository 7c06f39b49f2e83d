#: source = "/var/log/maillog"
#: formats = ["uw"]
#: note = ["File::Tail is not used", "interval, maxinterval, tail: not needed", "read by our format uw"]
#: lost = ["sub init_FileTail"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
use File::Tail;
%file_tail = (name => '/var/log/maillog', maxinterval => 2, 'interval', 1, tail => -1);
$tail_getline_func = \&getline_FileTail;
sub init_FileTail { $::ft_handle = File::Tail->new(%file_tail); }
sub getline_FileTail { $::ft_handle->read; }

1;
