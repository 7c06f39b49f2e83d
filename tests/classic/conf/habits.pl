#: log = "syslog"
#: stop = ["`$grace = GRACE`"]
#: lost = ["`use constant", "$SIG{HUP}", "$0 has no meaning", "`umask 022`", "`BEGIN", "$/ has no meaning"]
#: note = ["read by our format uw"]
package main;
use 5.006;
use constant GRACE => 30*60;
$SIG{HUP} = sub { 1 };
$0 = 'pbs';
umask 022;
setlogsock 'unix';
openlog 'pop-before-smtp', 'pid', 'mail';
$log_func = \&syslog;
$grace = GRACE;
BEGIN { $x = 1 }
local $/ = "\n";
1;
