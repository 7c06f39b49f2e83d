"""Entries of a journal as ``journalctl -o json`` writes them, and what is in them of a genuine Dovecot login."""

import json
import socket
from datetime import UTC, datetime, timedelta

LOGIN = "imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.10, lip=198.51.100.1, mpid=7, TLS, session=<abc>"
LOGOUT = "imap(alice)<7><abc>: Disconnected: Logged out in=26 out=818"
FAILURE = (
    "pop3-login: Disconnected (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN, rip=192.0.2.11,"
    " lip=198.51.100.1, session=<def>"
)
WRITTEN = datetime(2026, 11, 22, 7, 14, tzinfo=UTC)

_GENUINE = {
    "__CURSOR": "s=0;i=1",
    "SYSLOG_IDENTIFIER": "dovecot",
    "_TRANSPORT": "syslog",
    "_SYSTEMD_UNIT": "dovecot.service",
    "_UID": "0",
    "_PID": "77",
    "_EXE": "/usr/lib/dovecot/log",
    "_COMM": "log",
    "_HOSTNAME": socket.gethostname(),
}

FORGERIES: dict[str, dict[str, object]] = {
    "another unit": {"_SYSTEMD_UNIT": "session-1.scope"},
    "a unit of that name with another ending": {"_SYSTEMD_UNIT": "dovecot.service.slice"},
    "an instance of that name": {"_SYSTEMD_UNIT": "dovecot@x.service"},
    "no unit": {"_SYSTEMD_UNIT": None},
    "an empty unit": {"_SYSTEMD_UNIT": ""},
    "two units": {"_SYSTEMD_UNIT": ["dovecot.service", "session-1.scope"]},
    "a user's unit of that name": {"_SYSTEMD_UNIT": "user@1000.service", "_SYSTEMD_USER_UNIT": "dovecot.service"},
    "another user": {"_UID": "1000"},
    "no user": {"_UID": None},
    "a user written otherwise": {"_UID": "00"},
    "a user that is a number": {"_UID": 0},
    "two users": {"_UID": ["0", "1000"]},
    "another program": {"_EXE": "/usr/bin/logger"},
    "a program below": {"_EXE": "/usr/lib/dovecot/log/x"},
    "a deleted program": {"_EXE": "/usr/lib/dovecot/log (deleted)"},
    "no program": {"_EXE": None},
    "the kernel": {"_TRANSPORT": "kernel"},
    "journald itself": {"_TRANSPORT": "driver"},
    "the audit": {"_TRANSPORT": "audit"},
    "no transport": {"_TRANSPORT": None},
    "a line that was cut": {"_LINE_BREAK": "line-max", "_STREAM_ID": "a1"},
    "a line cut by the death of its writer": {"_LINE_BREAK": "pid-change", "_STREAM_ID": "a2"},
}
"""Each way in which an entry that says the same may not be the server's, by what is different then."""


def entry(
    text: str | list[int] = LOGIN, changes: dict[str, object] | None = None, *, ago: timedelta | None = None
) -> bytes:
    """Write one entry and its LF; fields that are changed to None are left out."""
    stamp = str(int((WRITTEN - (ago or timedelta())).timestamp() * 1_000_000))
    fields: dict[str, object] = {**_GENUINE, "__REALTIME_TIMESTAMP": stamp, "MESSAGE": text, **(changes or {})}
    kept = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(kept).encode() + b"\n"
