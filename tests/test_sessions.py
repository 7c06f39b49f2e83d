"""Lines of one session, joined."""

from datetime import timedelta

import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.model import EventKind, SessionEvent
from popbeforesmtp.sessions import Sessions
from tests.clocks import START

CLIENT, OTHER = ClientAddress("192.0.2.1"), ClientAddress("192.0.2.2")


def key(session: str | None, pid: str | None) -> str | None:
    """Name a session as the engine does."""
    return f"session {session}" if session else f"mail_pid {pid}" if pid else None


def login(client: ClientAddress = CLIENT, session: str | None = None, pid: str | None = None) -> SessionEvent:
    """Return a login."""
    return SessionEvent(EventKind.LOGIN, START, "dovecot", client=client, user="alice", key=key(session, pid))


def logout(session: str | None = None, pid: str | None = None) -> SessionEvent:
    """Return a logout, which has no address."""
    return SessionEvent(EventKind.LOGOUT, START, "dovecot", user="alice", key=key(session, pid))


@pytest.mark.parametrize(("session", "pid"), [("AbC", None), (None, "123"), ("AbC", "123")])
def test_a_logout_gets_the_address_of_its_login(session: str | None, pid: str | None) -> None:
    """By session id, or by the process where there is none, the logout learns where its session came from."""
    sessions = Sessions()
    assert sessions.join(login(session=session, pid=pid)) == login(session=session, pid=pid)
    joined = sessions.join(logout(session=session, pid=pid))
    assert joined == logout(session=session, pid=pid)._replace(client=CLIENT, known=True)


def test_a_session_ends_once() -> None:
    """A second logout of the same session, forged or not, has no address any more."""
    sessions = Sessions()
    sessions.join(login(session="AbC"))
    assert sessions.join(logout(session="AbC")).client == CLIENT
    again = sessions.join(logout(session="AbC"))
    assert (again.client, again.known) == (None, False)


def test_a_logout_that_comes_before_its_login_stays_without_an_address() -> None:
    """Two processes write the two lines, so they may be out of order; nothing is lost and nothing is invented."""
    sessions = Sessions()
    assert sessions.join(logout(session="AbC")) == logout(session="AbC")
    assert sessions.join(login(session="AbC")) == login(session="AbC")._replace(ended=True)


@pytest.mark.parametrize(("later", "ended"), [(2, True), (3, False)])
def test_a_login_that_stands_behind_its_logout_begins_no_session(later: int, ended: bool) -> None:
    """Within seconds, for Dovecot's log process reads what others wrote in any order; process ids come again later."""
    sessions = Sessions()
    sessions.join(logout(pid="7"))
    event = login(pid="7")._replace(time=START + timedelta(seconds=later))
    assert sessions.join(event) == event._replace(ended=ended)
    assert sessions.join(logout(pid="7")).known is not ended
    assert sessions.join(login(session="AbC")).ended is False


def test_the_session_id_counts_more_than_the_process_id() -> None:
    """Process ids come again: where there is a session id it alone tells the sessions apart."""
    sessions = Sessions()
    sessions.join(login(CLIENT, session="one", pid="123"))
    sessions.join(login(OTHER, session="two", pid="123"))
    assert sessions.join(logout(session="one", pid="123")).client == CLIENT
    assert sessions.join(logout(session="two", pid="123")).client == OTHER


def test_a_session_id_is_never_taken_for_a_process_id() -> None:
    """A stranger who chooses a session id cannot end the session of a process by its number."""
    sessions = Sessions()
    sessions.join(login(pid="123"))
    assert sessions.join(logout(session="123")).client is None
    assert sessions.join(logout(pid="123")).client == CLIENT


def test_the_later_login_of_a_process_counts() -> None:
    """A process that was used again serves its last client."""
    sessions = Sessions()
    sessions.join(login(CLIENT, pid="123"))
    sessions.join(login(OTHER, pid="123"))
    assert sessions.join(logout(pid="123")).client == OTHER


def test_sessions_of_different_formats_are_different() -> None:
    """Two servers that write into one log may use the same numbers."""
    sessions = Sessions()
    sessions.join(login(session="AbC"))
    assert sessions.join(logout(session="AbC")._replace(format="courier")).client is None
    assert sessions.join(logout(session="AbC")).client == CLIENT


@pytest.mark.parametrize("name", [None, ""])
def test_lines_that_name_no_session_are_left_alone(name: str | None) -> None:
    """Without any name there is nothing to join by, and one nameless session never gets another's address."""
    sessions = Sessions()
    assert sessions.join(login(session=name, pid=name)) == login(session=name, pid=name)
    assert sessions.join(logout(session=name, pid=name)) == logout(session=name, pid=name)


def test_a_failure_is_no_login() -> None:
    """Who was turned away has no session that could end."""
    sessions = Sessions()
    failure = login(session="AbC")._replace(kind=EventKind.FAILURE)
    assert sessions.join(failure) == failure
    assert sessions.join(logout(session="AbC")).client is None


def test_an_address_on_the_logout_itself_is_kept() -> None:
    """A server that writes the address on both lines is believed."""
    sessions = Sessions()
    sessions.join(login(CLIENT, session="AbC"))
    assert sessions.join(logout(session="AbC")._replace(client=OTHER)).client == OTHER


def test_only_so_many_sessions_are_remembered_the_oldest_is_forgotten() -> None:
    """Memory has a bound: the session that logged in longest ago goes first, and one that logged in again is young."""
    sessions = Sessions(limit=2)
    sessions.join(login(session="one"))
    sessions.join(login(session="two"))
    sessions.join(login(session="one"))
    sessions.join(login(session="three"))
    assert sessions.join(logout(session="two")).client is None
    assert sessions.join(logout(session="one")).client == CLIENT
    assert sessions.join(logout(session="three")).client == CLIENT


def test_where_no_end_matters_no_session_is_remembered_nor_believed_later() -> None:
    """What was open when the ends ceased to matter may long have ended when they matter again."""
    sessions = Sessions()
    sessions.join(login(session="before"))
    sessions.join(logout(session="early"))
    sessions.mind_ends(ends=False)
    sessions.join(login(session="meanwhile"))
    sessions.mind_ends(ends=True)
    for session in ("before", "meanwhile"):
        left = sessions.join(logout(session=session))
        assert left is not None
        assert (left.client, left.known) == (None, False)
    late = sessions.join(login(session="early"))
    assert late is not None
    assert not late.ended
