"""Whether a login was encrypted, where the server's log says so: what ``[rules] tls`` asks."""

import pytest

from popbeforesmtp import wiring
from popbeforesmtp.model import EventKind, LogMessage
from tests.clocks import START

IN = "imap-login: Login: user=<a>, method=PLAIN, rip=192.0.2.1, lip=192.0.2.9"


@pytest.mark.parametrize(
    ("program", "text", "tls"),
    [
        (b"dovecot", f"{IN}, mpid=7, TLS, session=<x>", True),
        (b"dovecot", f"{IN}, mpid=7, session=<x>", False),
        (b"dovecot", f"{IN}, mpid=7, secured", False),
        (b"imapd", "LOGIN, user=a, ip=[::ffff:192.0.2.1], port=[50022], protocol=IMAP, starttls=1", True),
        (b"imapd", "LOGIN, user=a, ip=[::ffff:192.0.2.1], port=[50022], protocol=IMAP", False),
        (b"imap", "login: host.example [192.0.2.1] a plaintext+TLS User logged in SESSIONID=<x>", True),
        (b"imap", "login: host.example [192.0.2.1] a plaintext User logged in SESSIONID=<x>", False),
        (b"popa3d", "Authentication passed for a -- 192.0.2.1", None),
    ],
)
def test_a_login_says_whether_it_was_encrypted_where_the_line_does(program: bytes, text: str, tls: bool | None) -> None:
    """In clear on the way to the server is no TLS, though the server calls it secured."""
    event = wiring.engine().read(LogMessage(START, program, text.encode()))
    if tls is None:
        assert event is None or event.tls is None
    else:
        assert event is not None
        assert (event.kind, event.tls) == (EventKind.LOGIN, tls)
