"""Servers that do not say who logged in from where: nobody is let in by what they write."""

import pytest

from popbeforesmtp.model import EventKind
from tests.samples import engine, read

LINES = [
    # GNU mailutils 2 and later (pop3d.c, user.c; imap4d.c)
    "Nov 22 07:14:00 mx1 {}[812]: incoming connection opened",
    "Nov 22 07:14:00 mx1 {}[812]: user `alice' logged in with mailbox `/var/mail/alice' (0 messages)",
    "Nov 22 07:14:00 mx1 {}[812]: user `alice' logged in (source: system)",
    # maddy (internal/auth/sasl.go): JSON behind a tab; a success is not logged
    'Nov 22 07:14:00 mx1 maddy[812]: imap: authentication failed\t{{"src_ip":"9.9.9.9:1","username":"bob"}}',
    '2026-11-22T07:14:00.123Z imap: authentication failed\t{{"src_ip":"9.9.9.9:1","username":"bob"}}',
    # qmail-pop3d with checkpassword: a connection is no login
    "@400000006a0ed3ca075bcd15 tcpserver: pid 4711 from 9.9.9.9",
    "@400000006a0ed3ca075bcd15 tcpserver: ok 4711 mx1:192.0.2.1:110 :9.9.9.9::50123",
    # HAProxy in TCP mode
    "Nov 22 07:14:00 mx1 haproxy[812]: 9.9.9.9:50123 [22/Nov/2026:07:14:00.123] imap d/mx1 1/0/5",
    # DBMail's pop3d: one process, many sessions
    "Nov 22 07:14:00 mx1 dbmail-pop3d[812]: Notice:[clientbase] client_init(+1): incoming connection from [9.9.9.9:1]",
    "Nov 22 07:14:00 mx1 dbmail-pop3d[812]: Notice:[pop3] _pop3_session_authenticated(+311): user alice logged in"
    " [messages=3, octets=4096]",
    # Zimbra's mailbox.log
    "2026-11-22 07:14:00,123 INFO  [ImapServer-1] [name=a;ip=9.9.9.9;] imap - user a authenticated, mechanism=LOGIN",
]


@pytest.mark.parametrize("program", ["pop3d", "imap4d", "gnu-pop3d", "gnu-imap4d", "ipop3d", "imapd"])
def test_nobody_is_let_in_by_lines_that_do_not_say_who(program: str) -> None:
    """Not even where other servers of that name, or other lines of that process, would be believed."""
    events = read([line.format(program).encode() for line in LINES], engine())
    assert [event for _, event in events if event.kind in (EventKind.LOGIN, EventKind.CONNECT)] == []
