#: map = { type = "postfix", map = "hash:/var/lib/ip-blocking", result = "ok" }
#: grace = 10800
#: source = "/var/log/syslog"
#: stop = ["$add_func = \\&add_ipblock", "$del_func = \\&del_ipblock", "it matches failed logins"]
#: lost = ["$cmdformat has no meaning"]
$cmdformat = 'iptables %s INPUT -s %s -j REJECT';
$dbfile = '/var/lib/ip-blocking';
$grace = 3*60*60;
$file_tail{'name'} = '/var/log/syslog';
$pat = '^(... .. ..:..:..).+(?:authentication failure|Login failure).+' . '(?:rhost=|host=\[)(\d+\.\d+\.\d+\.\d+)';
$add_func = \&add_ipblock; $del_func = \&del_ipblock;
sub add_ipblock { my($ip) = @_; $db{$ip} = $dbvalue; system(sprintf($cmdformat, '-A', $ip)); }
sub del_ipblock { my($ip) = @_; delete $db{$ip}; }
1;
