#: formats = ["courier", "dovecot", "classic-1"]
#: programs = ["mypopd"]
#: hold = "24h"
#: custom = true
#: note = ["sub custom_match: not run", "$login[2]: there is no format", "read by our format courier", "read by our format dovecot", "hold", "placeholder"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
my(@login, @logout);
$pat = '^[LOGTIME] \S+ (?:dovecot: )?(?:imap|pop3)-login: Login: .*? rip=(\d+\.\d+\.\d+\.\d+)';
$login[0] = $pat;
$login[1] = '^[LOGTIME] \S+ (?:pop3|imap)d: LOGIN, user=\S+, ip=\[[:f]*(\d+\.\d+\.\d+\.\d+)\]';
$logout[1] = '^[LOGTIME] \S+ (?:pop3|imap)d: LOGOUT, user=\S+, ip=\[[:f]*(\d+\.\d+\.\d+\.\d+)\]';
$login[2] = '^[LOGTIME] \S+ mypopd: login from (\d+\.\d+\.\d+\.\d+)$';
$login[3] = '... define an extra login pattern here ...';
foreach (@login, @logout) {
    next unless defined $_;
    s/\[LOGTIME\]/$logtime_pat/g;
    $_ = qr/$_/;
}
sub custom_match
{
    my($when, $who);
    foreach my $regex (@logout) {
	if (defined($regex) && (($when, $who) = /$regex/)) { return ($when, $who, -1); }
    }
    foreach my $regex (@login) { if (($when, $who) = /$regex/) { return ($when, $who, 1); } }
    ( );
}

1;
