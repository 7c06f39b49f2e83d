#: formats = ["dovecot", "uw"]
#: custom = true
#: note = ["sub custom_match: not run", "read by our format dovecot", "read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
my $pat2 = '^(... .. ..:..:..) \S+ dovecot: (?:imap|pop3)-login: Login: .* rip=(\d+\.\d+\.\d+\.\d+)';
my @match = ( $pat2, $pat );
$_ = qr/$_/ foreach @match;
sub custom_match
{
    foreach my $regex (@match) { return ($1, $2) if /$regex/; }
    ( );
}

1;
