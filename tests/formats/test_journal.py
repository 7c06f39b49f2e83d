"""Entries of the journal count only where journald says that the server itself wrote them."""

import os
import pwd
import socket
from datetime import timedelta
from typing import Any

import pytest

from popbeforesmtp.clock import Moment
from popbeforesmtp.formats import _format
from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import parse
from popbeforesmtp.model import EventKind, LogMessage, Origin, Reason, Sender, SessionEvent, Verdict
from popbeforesmtp.rules import Rules, decide
from popbeforesmtp.sessions import Sessions
from tests.formats.test_engine import LOGIN, NOW, TEST_FORMAT


@pytest.fixture(scope="module")
def dovecot() -> Engine:
    """Make an engine with all packaged formats."""
    return Engine(_format.load(name) for name in _format.packaged())


GENUINE = Sender(
    unit="dovecot.service",
    uid=0,
    exe="/usr/lib/dovecot/log",
    host=socket.gethostname(),
    transport="syslog",
    whole=True,
)


def sent(engine: Engine, sender: Sender | None, text: bytes = LOGIN) -> SessionEvent:
    """Read a login that somebody wrote into the journal."""
    event = engine.read(LogMessage(NOW, b"dovecot", text, sender))
    assert event is not None
    return event


@pytest.mark.parametrize("transport", ["syslog", "stdout", "journal"])
@pytest.mark.parametrize("exe", ["/usr/lib/dovecot/log", "/usr/libexec/dovecot/log"])
def test_what_the_server_wrote_into_the_journal_is_genuine(dovecot: Engine, transport: str, exe: str) -> None:
    """Wherever its log process lies, and however it sends; and so is all in a file, which cannot tell."""
    assert sent(dovecot, GENUINE._replace(transport=transport, exe=exe)).genuine
    assert sent(dovecot, None).genuine


FORGED: list[dict[str, Any]] = [
    *(
        {"unit": unit}
        for unit in ("", "session-1.scope", "dovecot", "Dovecot.service", "dovecot.service ", "init.scope")
    ),
    *({"uid": uid} for uid in (None, 8, 1000, -1, 4294967295)),
    *({"exe": exe} for exe in ("", "/usr/bin/logger", "/usr/lib/dovecot/", "/usr/lib/dovecot/log2", "log", "../log")),
    *({"transport": transport} for transport in ("", "kernel", "driver", "audit", "Syslog", "stdout ")),
    {"whole": False},
]


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_one_thing_that_does_not_fit_makes_a_login_forged(dovecot: Engine, forged: dict[str, Any]) -> None:
    """It authorizes nobody, and belongs to no session."""
    event = sent(dovecot, GENUINE._replace(**forged))
    assert not event.genuine
    decision = decide(event, Origin("journal", 0), Moment(NOW, 0.0), Rules(timedelta(minutes=30)))
    assert (decision.verdict, decision.reason, decision.authorization) == (Verdict.REFUSE, Reason.FORGED, None)
    sessions = Sessions()
    assert sessions.join(event) == event
    logout = sessions.join(sent(dovecot, GENUINE, b"imap(alice)<7><abc>: Logged out in=1 out=2"))
    assert logout is not None
    assert (logout.kind, logout.client) == (EventKind.LOGOUT, None)


def test_an_entry_of_another_host_is_forged() -> None:
    """A journal that was received from elsewhere says what its sender likes, user and unit too (R10)."""
    engine = Engine([_format.load("dovecot")], host=GENUINE.host)
    assert sent(engine, GENUINE).genuine
    assert not sent(engine, GENUINE._replace(host="elsewhere.example")).genuine


def test_nothing_said_at_all_is_forged(dovecot: Engine) -> None:
    """An entry without any field of journald's own."""
    assert not sent(dovecot, Sender()).genuine


def test_units_that_are_given_take_the_place_of_the_formats_own() -> None:
    """And of nothing else."""
    engine = Engine([_format.load("dovecot")], ("mail.service", "other.service"))
    for unit, genuine in (("mail.service", True), ("other.service", True), ("dovecot.service", False), ("", False)):
        assert sent(engine, GENUINE._replace(unit=unit)).genuine == genuine
    for forged in FORGED:
        assert not sent(engine, GENUINE._replace(**{"unit": "mail.service", **forged})).genuine


USER = pwd.getpwuid(os.getuid()).pw_name
PROFILE = '[journal]\nunits = ["test.service"]\nuids = ["{}"]\nexes = ["/usr/sbin/testd"]\n'


def test_a_user_of_the_profile_may_be_named() -> None:
    """Debian gives a server's user any free number; where there is no such user, nobody is believed."""
    sender = GENUINE._replace(unit="test.service", exe="/usr/sbin/testd", uid=os.getuid())
    for user, genuine in ((USER, True), ("nobody-is-called-so", False)):
        engine = Engine([parse("test", TEST_FORMAT + PROFILE.format(user))])
        event = engine.read(LogMessage(NOW, b"testd", b"login alice from <192.0.2.1>", sender))
        assert event is not None
        assert event.genuine == genuine


@pytest.mark.parametrize(
    ("name", "unit", "user", "exe", "program", "text"),
    [
        (
            *("cyrus", "cyrus-imapd.service", "cyrus", "/usr/lib/cyrus/bin/imapd", b"cyrus/imap"),
            b"login: [192.0.2.1] alice PLAIN+TLS User logged in SESSIONID=<a-1-2-3>",
        ),
        (
            *("imapproxy", "imapproxy.service", "nobody", "/usr/sbin/imapproxyd", b"in.imapproxyd"),
            b"LOGIN: 'alice' (192.0.2.1:50123) on new sd [9]",
        ),
        (
            *("perdition", "perdition.service", "nobody", "/usr/sbin/perdition.imap4", b"perdition.imap4"),
            b'Auth: 192.0.2.1:5->192.0.2.9:143 client-secure=plaintext authorisation_id=NONE authentication_id="alice"'
            b' server="10.0.0.5:143" protocol=IMAP4 server-secure=plaintext status="ok"',
        ),
    ],
)
def test_what_debians_servers_write_into_the_journal_is_genuine(
    name: str, unit: str, user: str, exe: str, program: bytes, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As their packages have it; and nothing else that runs as the same user is."""
    monkeypatch.setattr(pwd, "getpwnam", {user: pwd.struct_passwd((user, "x", 105, 8, "", "/", "/"))}.__getitem__)
    engine = Engine([_format.load(name)])
    sender = GENUINE._replace(unit=unit, uid=105, exe=exe)
    for by, genuine in (
        (sender, True),
        (sender._replace(uid=1000), False),
        (sender._replace(exe="/usr/bin/logger"), False),
        (sender._replace(unit="session-1.scope"), False),
    ):
        event = engine.read(LogMessage(NOW, program, text, by))
        assert event is not None
        assert (event.kind, event.client, event.genuine) == (EventKind.LOGIN, "192.0.2.1", genuine)


@pytest.mark.parametrize("name", ["cyrus", "dovecot", "imapproxy", "perdition"])
def test_the_journals_profiles_name_units_users_and_programs_by_their_whole_names(name: str) -> None:
    """Anything else could be made by others."""
    profile = _format.load(name).journal
    assert profile is not None
    assert all(unit.endswith(".service") for unit in profile.units)
    assert profile.exes
    assert all(exe.startswith("/usr/") for exe in profile.exes)


def test_a_format_that_does_not_say_who_writes_its_entries_is_not_believed_from_the_journal() -> None:
    """From a file it is."""
    engine = Engine([parse("test", TEST_FORMAT)])
    event = engine.read(LogMessage(NOW, b"testd", b"login alice from <192.0.2.1>", GENUINE))
    assert event is not None
    assert not event.genuine
