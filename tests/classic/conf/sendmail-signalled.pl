#: map = { type = "sendmail", map = "hash:/etc/mail/popauth", result = "ok" }
#: trusted = ["127.0.0.0/8", "192.168.1.0/24", "10.0.0.0/8"]
#: formats = ["cyrus"]
#: note = ["$signal_sendmail: not needed", "192.168.1.1/24 is written 192.168.1.0/24", "read by our format cyrus"]
use Fcntl qw(:DEFAULT :flock :seek);
use DB_File;
$dbfile = '/etc/mail/popauth'; # DB hash to write
$mynet_func = \&mynet_sendmail;
$tie_func = \&tie_sendmail;
$sync_func = \&sync_sendmail;
#$flock_func = \&flock_sendmail;
$flock_func = \&fcntl_sendmail;
my $signal_sendmail = 1;
my($pid_file, $sendmail_pid);
if ($signal_sendmail) {
    $pid_file = '/var/run/sendmail.pid';
    open(PID, $pid_file) || die "Unable to open $pid_file: $!";
    $_ = <PID>;
    ($sendmail_pid) = /(\d+)/;
    close PID;
}
sub mynet_sendmail
{
    # mine
    '127.0.0.0/8 192.168.1.1/24 10.0.0.0/8';
}
my $dbh;
sub tie_sendmail
{
    $dbh = tie %db, 'DB_File', "$dbfile.db", O_CREAT|O_RDWR, 0666, $DB_HASH
	or die "$0: cannot dbopen $dbfile: $!\n";
}
sub sync_sendmail { $dbh->sync and die "$0: sync $dbfile: $!\n"; }
sub fcntl_sendmail { my($locking) = @_; my $lock = pack('s s l l i', $locking ? F_WRLCK : F_UNLCK, SEEK_SET, 0, 0, 0); fcntl(DB_FH, F_SETLKW, $lock) or die "x"; }
sub flock_sendmail { 1 }
$pat = '^[LOGTIME] \S+ (?:cyrus/)?(?:pop3|imap)[ds]?\[\d+\]: ' .
    'login: .*?\[[:f]*(\d+\.\d+\.\d+\.\d+)\] .* User logged in';
1;
