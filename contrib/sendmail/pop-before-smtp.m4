dnl # Who logged in to POP or IMAP lately may relay, and is spared the blocklists: rules for Sendmail 8.12 and later.
dnl #
dnl # Copy this file to /etc/mail/m4/. It is included by the lines of popauth.mc (a map file), of socketmap.mc (the daemon
dnl # itself), or of both; access.mc does without it. The tests run these very files with Debian's sendmail.mc.
dnl #
dnl # Where the map is missing, broken or unsafe, or the daemon dead, only mail to elsewhere is put off (451), and only that
dnl # of clients that may not relay anyway: mail for your own domains and from your own networks goes on. For the same
dnl # reason the daemon is asked about mail to elsewhere alone, and the blocklists are left to the map.
dnl #
dnl # Sendmail trusts no map or socket in a folder that a group or everybody may write to ("unsafe map file", "Group
dnl # writable directory"), nor in one below such a folder. /var/lib/pop-before-smtp and /run/pop-before-smtp, mode 0755,
dnl # will do as they are, whoever owns them; leave confDONT_BLAME_SENDMAIL alone.
dnl #
dnl # Rules of your own for Local_check_rcpt or Local_check_relay may stand beside these; those that stand before them must
dnl # leave the workspace as it came.
dnl #
dnl # Do not set confUSE_COMPRESSED_IPV6_ADDRESSES: no IPv6 client would be found. Keys are written as Sendmail writes
dnl # addresses without it, all groups and no leading zeros: IPv6:2001:db8:0:0:0:0:0:1.
LOCAL_CONFIG
ifdef(`POPAUTH_MAP', `define(`_POP_BLANK_', index(POPAUTH_MAP, ` '))dnl
define(`_POP_MAP_', `substr(POPAUTH_MAP, 0, _POP_BLANK_) -a<OK> -T<TMPF>`'substr(POPAUTH_MAP, _POP_BLANK_)')dnl
# Twice: Sendmail gives up a map for the whole session where it is replaced in the very moment of its opening.
Kpopauth _POP_MAP_
Kpopagain _POP_MAP_
')dnl
ifdef(`POPAUTH_SOCKET', `Kpoplive socket -a<OK> -T<TMPF> POPAUTH_SOCKET
')dnl
LOCAL_RULESETS
ifdef(`POPAUTH_MAP', `dnl
######################################################################
###  PopAuth: what the map says of an address, or of the network it is in
###
###	Returns RELAY, REJECT, TEMP or NO
######################################################################
SPopAuth
R$*			$: $1 $| $(popauth $1 $: NO $)
R$* $| $* < TMPF >	$: $1 $| $(popagain $1 $: NO $)
R$* $| NO		$: < $1 >			not found
R< $+ : $- >		$@ $>PopAuth $1			IPv6: without its last group
R< $+ . $- >		$@ $>PopAuth $1			IPv4: without its last octet
R< $* >			$@ NO
R$* $| $* < OK >	$@ $2
R$*			$@ TEMP				missing, broken or unsafe

# Who logged in is spared the checks of the client: blocklists, names, rates.
SLocal_check_relay
R$*			$: $>PopAuth $&{client_addr}
RRELAY			$#OK
RREJECT			$#error $@ 5.7.1 $: "550 Access denied"
')dnl
######################################################################
###  PopNeeded: does mail to this recipient need leave to relay?
###
###	Returns YES or NO; Sendmail itself is asked, as it will be again behind us
######################################################################
SPopNeeded
R$*			$: $1 $| $>Rcpt_ok $1
R$* $| RELAY		$@ NO				to us, or to whom we relay for
R$* $| $#$*		$@ NO				refused, or let through by other means
R$* $| $*		$: $1 $| $>Relay_ok $1
R$* $| RELAY		$@ NO				from our own networks
R$*			$@ YES				refused, or put off

SLocal_check_rcpt
R<>			$@ NO
ifdef(`POPAUTH_MAP', `dnl
R$*			$: $1 $| $>PopAuth $&{client_addr}
R$* $| RELAY		$#OK
R$* $| REJECT		$#error $@ 5.7.1 $: "550 Access denied"
R$* $| TEMP		$: $1 $| TEMP $>PopNeeded $1
R$* $| TEMP YES		$#error $@ 4.3.0 $: "451 Who may relay cannot be looked up now; try again later"
R$* $| $*		$: $1
')dnl
ifdef(`POPAUTH_SOCKET', `dnl
R$*			$: $>PopNeeded $1
RYES			$: $(poplive $&{client_addr} $: NO $)
ROK < OK >		$#OK
RRELAY < OK >		$#OK
RREJECT $* < OK >	$#error $@ 5.7.1 $: "550 Access denied"
R$* < TMPF >		$#error $@ 4.3.0 $: "451 Who may relay cannot be looked up now; try again later"
')dnl
divert(0)dnl
