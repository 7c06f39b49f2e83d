"""Which server a classic pattern is for, told by what stands in it."""

import re
from collections.abc import Sequence

SERVERS: Sequence[tuple[str, str, str]] = (
    # What the pattern says, the format, and what is different; the first that fits counts.
    (r"cucipop|Stats:", "", ""),  # no format of ours reads these logins
    (r"ipop3|host=", "uw", ""),
    (r"gnu-pop3d", "gnu-pop3d", ""),
    (r"popper", "qpopper", ""),
    (r"User logged in|cyrus|login: \[\^\[", "cyrus", ""),
    (r"LOGIN, user=|user=\\S\+, ip=", "courier", ""),
    (r"vpopmail|vchkpw", "vpopmail", "the lines of vpopmail 5; 4.x wrote others, in which an account's name forges"),
    (r"vm-pop3d", "vm-pop3d", "the lines of 1.1, the address on a line of its own"),
    (r"tpop3d", "tpop3d", ""),
    (r"popa3d", "popa3d", ""),
    (r"perdition", "perdition", ""),
    (r"spop3d|solid-pop3d", "solid-pop3d", ""),
    (r"teapop", "teapop", "the classic's pattern takes the server's own address for the client's"),
    (r"dovecot|-login:", "dovecot", "Dovecot 2.0 to 2.4, by syslog or in its own log; before 1.0 it wrote others"),
    (r"dbmail", "dbmail", ""),
    (r"imapproxy", "imapproxy", ""),
)
"""Which server's lines a pattern is for, told by what stands in it."""


def server_of(pattern: str) -> tuple[str, str] | None:
    """Name the format of the server that a pattern is for, and what is different; None where there is none."""
    for says, name, difference in SERVERS:
        if re.search(says, pattern):
            return (name, difference) if name else None
    return None
