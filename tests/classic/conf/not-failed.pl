#: formats = ["dovecot"]
#: note = ["$pat: read by our format dovecot"]
# What must not stand there is no failure that is matched.
$pat = '^[LOGTIME] \S+ dovecot: (?:imap|pop3)-login: (?!.*auth failed)Login: .*? rip=(\d+\.\d+\.\d+\.\d+),';
1;
