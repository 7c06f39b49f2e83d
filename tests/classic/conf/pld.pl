#: source = "/var/log/maillog"
#: custom = true
#: map = { type = "postfix", map = "hash:/var/lib/popbsmtp/hosts", result = "OK" }
#: formats = ["popa3d"]
#: note = ["$PID_pat, $IP_pat, $OK_pat, $FAIL_pat: read by our format popa3d"]
# PLD
our %file_tail; our $dbfile; our $dbvalue;
$file_tail{'name'} = '/var/log/maillog';
$dbfile = '/var/lib/popbsmtp/hosts'; $dbvalue = 'OK';
$PID_pat = '^[LOGTIME] \S+ popa3d\[(\d+)\]: ';
$IP_pat = $PID_pat . 'Session from (\d+\.\d+\.\d+\.\d+)';
$OK_pat = $PID_pat . 'Authentication passed for ';
$FAIL_pat = $PID_pat . '(?:Authentication failed|Session timed out)';
1;
