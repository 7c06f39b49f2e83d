"""How the servers of the lab are configured: each with its own files, in private copies."""

from pathlib import Path

SOCKETMAP_PORT, LMDB_PORT = 25, 2526
MAP = Path("/var/lib/pop-before-smtp/clients.lmdb")
MAP_PORTS = {"lmdb": LMDB_PORT, "cdb": 2527, "hash": 2528, "btree": 2529}
"""The port whose smtpd asks a map of this type, and nothing else."""


RSYSLOG = """
module(load="imuxsock")
input(type="imuxsock" socket="/var/spool/postfix/dev/log")
$FileOwner root
$FileGroup adm
$FileCreateMode 0640
mail.* action(type="omfile" file="/var/log/mail.log" template="RSYSLOG_FileFormat")
"""


DOVECOT = """
protocols = imap pop3
listen = 198.51.100.1, 2001:db8:ffff::1, 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_username_chars =
mail_location = maildir:/var/lib/dovecot/mail/%u
first_valid_uid = 1
passdb {
  driver = passwd-file
  args = /etc/dovecot/lab.users
}
userdb {
  driver = static
  args = uid=mail gid=mail home=/var/lib/dovecot/mail
}
imap_hibernate_timeout = 2s
service imap {
  unix_listener imap-master {
    user = $default_internal_user
    mode = 0666
  }
}
service imap-hibernate {
  unix_listener imap-hibernate {
    mode = 0666
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
"""


POSTFIX = """
compatibility_level = 3.6
myhostname = mx1.lab.example
mydestination = lab.example
local_recipient_maps =
mynetworks = 127.0.0.0/8, [::ffff:127.0.0.0]/104, [::1]/128
inet_interfaces = all
inet_protocols = all
default_transport = discard
relay_transport = discard
local_transport = discard
smtpd_peername_lookup = no
smtpd_delay_reject = yes
smtpd_error_sleep_time = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
in_flow_delay = 0
"""


_RELAY_BY = """
relay_by_{kind} =
    permit_mynetworks, permit_auth_destination,
    check_client_access {name}, reject
"""


_SMTPD = """
{port} inet n - y - - smtpd
  -o smtpd_relay_restrictions=$relay_by_{kind}
  -o smtpd_recipient_restrictions=
"""


def map_name(kind: str) -> str:
    """Return what a map of this type is called in main.cf; hash and btree share a suffix, and so not a name."""
    return f"{kind}:{MAP.parent / 'btree' if kind == 'btree' else MAP.with_suffix('')}"


def main_cf() -> str:
    """Return the main.cf of a Postfix that can ask maps of all types."""
    return POSTFIX + "".join(_RELAY_BY.format(kind=kind, name=map_name(kind)) for kind in MAP_PORTS)


def master_cf(shift: int = 0) -> str:
    """Return what is added to master.cf: one port for each type of map, so much above the usual one."""
    return "".join(_SMTPD.format(port=port + shift, kind=kind) for kind, port in MAP_PORTS.items())
