#: map = { type = "postfix", map = "hash:/etc/postfix/pop-before-smtp.new", result = "permit_auth_destination" }
#: formats = ["dovecot"]
#: stop = ["`%file_tail = ( %file_tail, name => '/var/log/mail.log' )`"]
#: lost = ["`@{$x} = ()`", "@mynets: had no effect in the classic either"]
#: note = ["read by our format dovecot"]
%file_tail = ( %file_tail, name => '/var/log/mail.log' );
@{$x} = ();
$pat = '^[LOGTIME] (\S+) dovecot: ' . '(?:imap|pop3)-login: Login: .*? rip=(\d+\.\d+\.\d+\.\d+),';
$dbfile = '/etc/postfix/pop-before-smtp' . '.new';
@mynets = qw(10.0.0.0/8 192.168.0.0/16);
$dbvalue = 'permit_auth_destination';
1;
