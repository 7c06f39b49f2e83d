#: grace = 4500
#: map = { type = "postfix", map = "hash:/srv/mail/pop-3600", result = "permit_auth" }
#: source = "/srv/log/mail"
#: formats = ["uw"]
#: note = ["read by our format uw", "$ENV"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
my $hour = 60 * 60;
my $folder = "/srv";
$grace = ($hour + 2 ** 8 - 0x100) / 4 * 5;
$dbfile = "${folder}/mail/pop-" . $hour;
$dbvalue = 'permit' . "_" . q(auth);
$file_tail{name} = $folder . '/log/mail';
$ENV{'PATH'} = '/usr/sbin:/usr/bin';

1;
