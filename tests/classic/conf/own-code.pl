#: formats = ["uw"]
#: source = "/var/log/maillog"
#: lost = ["`system(\"logger started\")`", "@mynets: had no effect", "$sync_func = \\&notify", "`print \"hello\\n\" if 1`", "$mynet_func = \\&mynet_ldap", "$log_func = sub"]
#: stop = ["`if ($ENV{HOST} eq \"a\") { $pat = \"x\"; }`", "`require \"/etc/site.pl\"`", "`$grace = time % 2 ? 60 : 90`", "$tie_func = sub"]
#: note = ["read by our format uw"]
use strict;
use vars qw($pat $out_pat $grace %file_tail @mynets %db $dbfile $dbvalue $mynet_func $tie_func $flock_func
    $add_func $del_func $sync_func $tail_init_func $tail_getline_func $log_func $logtime_pat $flock $write $debug);
$file_tail{'name'} = '/var/log/maillog';
@mynets = ('10.0.0.0/8');
$mynet_func = \&mynet_ldap;
sub mynet_ldap { return `ldapsearch -x`; }
system("logger started");
print "hello\n" if 1;
if ($ENV{HOST} eq "a") { $pat = "x"; }
require "/etc/site.pl";
$grace = time % 2 ? 60 : 90;
$tie_func = sub { tie %db, 'My::DB' };
$log_func = sub { print @_ };
$sync_func = \&notify;
sub notify { system "postfix reload"; }

1;
