"""What Dovecot's lines are made of, as patterns: the variables of its settings, and the words that its servers say."""

ADDRESS = r"[0-9A-Fa-f.:]{2,45}"
"""It gives back a colon that belongs to what follows: a port, or the text between elements and message."""

_CIPHER = (
    r"(?:[A-Za-z]{3,4}v[0-9.]{1,3}[ ]with[ ]cipher[ ][A-Za-z0-9_-]{1,64}[ ]\([0-9]{1,4}/[0-9]{1,4}[ ]bits\)"
    r"(?:[ ][A-Za-z0-9_-]{1,40})?|\(proxied\))"
)
_PORT = r"[0-9]{1,5}+"

PID = r"[0-9]{1,10}+"

# The kinds of what a variable stands for that are written in their own way where they stand.
USER = "user"
RIP = "rip"

# What stands for each variable; name and address are made where they are used. login-common/client-common.c.
SHAPES = {
    "mechanism": r"(?P<mechanism>[A-Za-z0-9_-]{1,40}+)",
    "lip": ADDRESS,
    "port": _PORT,
    "pid": PID,
    "service": r"(?:pop3|imap|sieve|managesieve|submission)",
    "mail_pid": rf"(?P<mail_pid>{PID})",
    "secured": r"(?:(?P<tls>TLS|TSL)|secured)",
    "cipher": _CIPHER,
    "session": r"(?P<session>[A-Za-z0-9+/=]{1,64}+)",
}
_VARIABLES = {
    USER: ("u", "user"),
    RIP: ("r", "rip", "remote_ip"),
    "mechanism": ("m", "mech", "mechanism"),
    "lip": ("l", "lip", "local_ip", "real_lip", "real_local_ip", "real_rip", "real_remote_ip"),
    "port": ("a", "b", "lport", "rport", "local_port", "remote_port", "real_lport", "real_rport"),
    "pid": ("p", "pid", "process:pid"),
    "service": ("s", "service", "protocol"),
    "mail_pid": ("e", "mail_pid", "mpid"),
    "secured": ("c", "secured"),
    "cipher": ("k", "ssl_security"),
    "session": ("session",),
}

KINDS = {name: kind for kind, names in _VARIABLES.items() for name in names}
"""What a variable stands for, by each of its names."""

MAY_BE_EMPTY = frozenset({"mail_pid", "secured", "cipher", "session"})
"""What Dovecot may know nothing of; it then leaves out the whole element."""

ONCE = frozenset({USER, RIP, "mechanism", "mail_pid", "session"})
"""What may stand in a line once: each is a group, and a group has one place."""

SUCCESS = "(?:Login|Logged[ ]in)"
"""What %{message} is of a login."""

FAILURE = (
    r"(?:Disconnected|Aborted[ ]login|Login[ ]aborted)[^<>()\n]{0,200}"
    r"(?:\((?:size=[0-9]{1,10})?\)[^<>()\n]{0,200})?"
    r"[ ]\((?:auth[ ]failed|authorization[ ]failed|user[ ]disabled|password[ ]expired)"
    r"(?:,[ ][0-9]{1,9}(?:[ ]attempts|/[0-9]{1,9}[ ]successful[ ]auths)(?:[ ]in[ ][0-9]{1,9}[ ]secs)?)?\)"
    r"(?:[ ]\([a-z_]{1,40}\))?"
)
"""What it is of a failed login."""

PLAIN = r'[^\x00-\x20\x7f<>()\[\],="]{1,128}+'
"""An account's name in which no delimiter stands."""

_TO = r"(?:[A-Za-z0-9._\[\]-]|:(?![ ])){1,255}"
_PROXY = rf"proxy\({PLAIN}(?:,[A-Za-z0-9.:_\[\]-]{{1,255}}+)?\):[ ]"
_NOTE = r"(?:[ ]\([^\x00-\x1f\x7f()]{1,300}+\))?"

PROXIED = "\n".join(
    (
        rf"{_PROXY}[Ss]tarted[ ]proxying[ ]to[ ]<?{_TO}>?(?::[0-9]{{1,5}}+)?(?:/{PLAIN})?",
        rf"{_NOTE}(?:[ ]from[ ]{_TO})?(?:[ ]as[ ]user[ ]{PLAIN})?{_NOTE}{_NOTE}",
    )
)

UNPROXIED = (
    rf"{_PROXY}(?:disconnecting[ ]{ADDRESS}+|Disconnected[ ]by[ ](?:client|server|proxy)"
    r"|Killed[ ]by[ ](?:admin|director))"
    r"[^\x00-\x1f\x7f<>]{0,400}?"
)
"""What the login proxy writes in place of the word; see dovecot.toml. Anybody may come as far as the server behind it,
so no name has a delimiter here."""

END = (
    r"(?:Disconnected(?:[ ]for[ ]inactivity)?|Logged[ ]out|Connection[ ]closed|Server[ ]shutting[ ]down\.)"
    r"[^<>\n]{0,300}?"
    "\n"
    r"(?:,?[ ][a-z_]{1,20}+=[0-9a-f]{1,64}+(?:/[0-9]{1,20}+)?){1,20}"
)
"""How a session ends: a reason, and numbers as imap_logout_format and pop3_logout_format name them."""

HEAD = """\
title = "Dovecot, by its own settings"
programs = ["dovecot"]
own_log = true
begins = ["pop3-login: ", "imap-login: ", "managesieve-login: ", "submission-login: ", {begins}]
services = { POP3 = "pop3", IMAP = "imap" }
log = ["where dovecot.conf says"]
address = "on the login line, where login_log_format_elements has it"
attacker = "user; mechanism, in failures"
checked = "made of login_log_format, login_log_format_elements and mail_log_prefix"

[journal]
units = ["dovecot.service"]
uids = [0]
exes = ["/usr/lib/dovecot/log", "/usr/libexec/dovecot/log", "/usr/local/libexec/dovecot/log"]
"""
"""What such a format's file begins with."""
