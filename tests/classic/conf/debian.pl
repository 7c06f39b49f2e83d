#: map = { type = "postfix", map = "hash:/var/lib/pop-before-smtp/hosts", result = "ok" }
#: source = "/var/log/mail.log"
#: log = "/var/log/pop-before-smtp.log"
#: formats = ["dovecot"]
#: note = ["read by our format dovecot"]
use strict;
use vars qw($logto $pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
$dbfile = '/var/lib/pop-before-smtp/hosts';
$logto = '/var/log/pop-before-smtp.log';
$file_tail{'name'} = '/var/log/mail.log';
$pat = '^[LOGTIME] \S+ (?:dovecot: )?(?:imap|pop3)-login: ' .
    'Login: .*? (?:\[|rip=)[:f]*(\d+\.\d+\.\d+\.\d+)[],]';

1;
