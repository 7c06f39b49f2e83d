#: grace = 600
#: map = { type = "postfix", map = "hash:/etc/postfix/pbs", result = "ok" }
#: formats = ["dovecot"]
#: note = ["$pat: read by our format dovecot"]
$grace = 600;
$dbfile = '/etc/postfix/pbs';
$pat = '^[LOGTIME] \S+ dovecot: (?:imap|pop3)-login: ' .
    'Login: .*? rip=(\d+\.\d+\.\d+\.\d+),';
=cut #=== syslog ===START=
use Sys::Syslog;
$log_func = \&syslog;
=cut #==== syslog ===END=
1;
