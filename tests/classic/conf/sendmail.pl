#: map = { type = "sendmail", map = "hash:/etc/mail/popauth", result = "ok" }
#: formats = ["uw"]
#: trusted = ["127.0.0.0/8", "192.0.2.0/28"]
#: note = ["$signal_sendmail: not needed", "read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
use DB_File;
$dbfile = '/etc/mail/popauth';
$mynet_func = \&mynet_sendmail;
$tie_func = \&tie_sendmail;
$sync_func = \&sync_sendmail;
$flock_func = \&fcntl_sendmail;
my $signal_sendmail = 1;
my($pid_file, $sendmail_pid);
if ($signal_sendmail) {
    $pid_file = '/var/run/sendmail.pid';
    open(PID, $pid_file) || die "$pid_file: $!";
    $_ = <PID>;
    ($sendmail_pid) = /(\d+)/;
    close PID;
}
sub mynet_sendmail { return '127.0.0.0/8,192.0.2.0/28'; }
sub tie_sendmail { tie %db, 'DB_File', "$dbfile.db", O_CREAT|O_RDWR, 0666, $DB_HASH or die; }
sub sync_sendmail { while ($signal_sendmail) { last if kill(1, $sendmail_pid); } }
sub fcntl_sendmail { my $lock = pack('s s l l i', $_[0] ? F_WRLCK : F_UNLCK, SEEK_SET, 0, 0, 0); }

1;
