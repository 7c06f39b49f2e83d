"""vpopmail, DBMail, Stalwart and Zimbra: one line says all, and the services that are no mailbox say it too."""

from datetime import UTC, datetime

import pytest

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import LogMessage

ENGINE = Engine(load(name) for name in ("vpopmail", "dbmail", "stalwart", "zimbra"))
DBMAIL = (
    "Notice:[imap] dbmail_imap_session_handle_auth(+1455): [0x7f0] login accepted: id [7] user [alice] from [{}:40000]"
)
STALWART = (
    'Authentication successful (auth.success) listenerId = "{}", localPort = {}, remoteIp = {}, remotePort = 1,'
    ' accountName = "alice", accountId = 3'
)
ZIMBRA = "INFO  [{}-12] [ip={};] security - cmd=Auth; account=alice; protocol={};"


def read(program: str | None, text: str) -> tuple[str, str | None, str | None, str | None] | None:
    """Read one message: event, address, user and service."""
    raw = None if program is None else program.encode()
    event = ENGINE.read(LogMessage(datetime(2026, 11, 22, tzinfo=UTC), raw, text.encode()))
    return None if event is None else (event.kind.value, event.client, event.user, event.service)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::10", "::ffff:192.0.2.1"])
@pytest.mark.parametrize(
    ("program", "text", "service"),
    [
        *(
            ("vpopmail", f"vchkpw-{name}: (PLAIN) login success alice@:{{}}", name[:4])
            for name in ("pop3", "pop3s", "imap")
        ),
        ("vpopmail", "vchkpw-imaps: (CRAM-MD5) login success alice@:{}", "imap"),
        ("vpopmail", "vchkpw: login success alice@:{}", "pop3"),
        ("dbmail-imapd", DBMAIL, "imap"),
        *(("stalwart", f"2026-11-22T07:14:00Z INFO {STALWART.format('x', port, '{}')}", "imap") for port in (143, 993)),
        *((None, f"INFO {STALWART.format('x', port, '{}')}", "pop3") for port in (110, 995)),
        *((None, ZIMBRA.format(f"Pop3{tls}Server", "{}", "pop3"), "pop3") for tls in ("", "SSL")),
        *((None, ZIMBRA.format(f"Imap{tls}Server", "{}", "imap"), "imap") for tls in ("", "SSL")),
    ],
)
def test_a_login_is_read_with_address_and_service(program: str | None, text: str, service: str, address: str) -> None:
    """In IPv4 and IPv6."""
    got = read(program, text.format(address))
    assert got is not None
    assert (got[0], got[1], (got[2] or "").rstrip("@"), got[3]) == (
        "login",
        address.removeprefix("::ffff:"),
        "alice",
        service,
    )


@pytest.mark.parametrize(
    ("program", "text"),
    [
        *(
            ("vpopmail", f"vchkpw-{name}: (PLAIN) login success alice@:9.9.9.9")
            for name in ("smtp", "smtps", "587", "webmail")
        ),
        *(("stalwart", STALWART.format("imap", port, "9.9.9.9")) for port in (25, 465, 587, 443, 4190, 1143)),
        ("stalwart", STALWART.format('x", localPort = 143, remoteIp = 9.9.9.9, y = "', 25, "9.9.9.9")),
        (None, ZIMBRA.format("LmtpServer", "9.9.9.9", "imap")),
        (None, ZIMBRA.format("ImapServer", "10.0.0.3;oip=9.9.9.9", "imap")),
        (None, ZIMBRA.format("ImapServer", "192.0.2.1;ua=x] [ip=9.9.9.9", "imap")),
        (None, ZIMBRA.format("ImapServer", "9.9.9.9", "soap")),
        ("dbmail-imapd", DBMAIL.format("9.9.9.9").replace("alice", "x] from [9.9.9.9:1")),
        ("dbmail-imapd", DBMAIL.format("9.9.9.9").replace("accepted", "rejected: x accepted")),
        (
            "dbmail-pop3d",
            "Notice:[pop3] _pop3_session_authenticated(+311): user alice logged in [messages=3, octets=1]",
        ),
    ],
)
def test_other_services_and_addresses_that_clients_choose_open_nothing(program: str | None, text: str) -> None:
    """SMTP AUTH would renew itself for ever; oip and names are the client's own words."""
    got = read(program, text)
    assert got is None or got[0] == "failure"


def test_logs_that_a_name_can_write_lines_into_are_refused_by_their_names() -> None:
    """They look like the syslog's, and are none: the server writes what it was sent as it is."""
    assert set(ENGINE.refused) == {"mailbox.log", "dbmail.err"}
