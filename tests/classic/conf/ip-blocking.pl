#: map = { type = "postfix", map = "hash:/var/lib/ip-blocking", result = "ok" }
#: grace = 10800
#: source = "/var/log/syslog"
#: trusted = ["127.0.0.0/8"]
#: stop = ["$add_func = \\&add_ipblock", "$del_func = \\&del_ipblock", "it matches failed logins"]
#: lost = ["$cmdformat has no meaning"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
$cmdformat = 'iptables %s INPUT -s %s -j REJECT';
$dbfile = '/var/lib/ip-blocking';
$grace = 3*60*60;
$file_tail{'name'} = '/var/log/syslog';
$pat = '^(... .. ..:..:..).+Failed password.+from\s+(\d+\.\d+\.\d+\.\d+)';
$mynet_func = \&mynet_ipblock;
$add_func = \&add_ipblock;
$del_func = \&del_ipblock;
sub mynet_ipblock { '127.0.0.0/8'; }
sub add_ipblock { my($ip) = @_; $db{$ip} = $dbvalue; system(sprintf($cmdformat, '-A', $ip)); }
sub del_ipblock { my($ip) = @_; system(sprintf($cmdformat, '-D', $ip)); delete $db{$ip}; }

1;
