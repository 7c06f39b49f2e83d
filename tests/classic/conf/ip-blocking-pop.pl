#: map = { type = "postfix", map = "hash:/etc/postfix/attackers", result = "REJECT" }
#: stop = ["$pat = '^[LOGTIME] \\\\S+ (?:ipop3d|imapd)"]
package main;
use 5.006;
use strict;
# Written for a map of who is refused: whoever matches must not be let in here.
$dbfile = '/etc/postfix/attackers';
$dbvalue = 'REJECT';
$pat = '^[LOGTIME] \S+ (?:ipop3d|imapd)\[\d+\]: Login failed user=\S+ auth=\S+ host=(?:\S+ )?\[(\d+\.\d+\.\d+\.\d+)\]';
1;
