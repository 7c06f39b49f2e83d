"""Sessions that are open, by themselves: when they are held, and what becomes of them."""

from datetime import timedelta

import pytest

from popbeforesmtp.holds import _SILENT, Holds, session_name
from popbeforesmtp.model import Authorization, Origin
from popbeforesmtp.rules import Rules, hold
from tests.test_rules import CLIENT, LOGIN, NOW, ask, granted

RULES = Rules(grace=timedelta(minutes=30), hold=timedelta(hours=8))


def held(session: str = "A", client: str = CLIENT, fmt: str = "dovecot", log: str = "/log") -> Authorization:
    """Return what an open session authorizes."""
    made = hold(granted(ask(LOGIN, RULES)), session_name(fmt, session), NOW, RULES)
    return made._replace(format=fmt, origin=Origin(log, 0), client=type(CLIENT)(client))


def test_nothing_is_held_before_a_logout_of_the_format_was_seen() -> None:
    """Nor because of another format's."""
    holds = Holds()
    assert not holds.in_force("dovecot", "alice")
    holds.logout("/log", "courier", "courier X")
    assert (holds.in_force("dovecot", "alice"), holds.in_force("courier", "alice")) == (False, True)


@pytest.mark.parametrize("count", [_SILENT - 1, _SILENT, _SILENT + 1])
def test_so_many_logins_without_a_logout_end_it_and_give_back_all_that_is_held(count: int) -> None:
    """At the number, once; of this format alone. A logout begins anew."""
    holds = Holds()
    for fmt in ("dovecot", "courier"):
        holds.logout("/log", fmt, f"{fmt} X")
        holds.hold(held(fmt=fmt), NOW, live=True)
    holds.hold(held("B"), NOW, live=False)
    gone = [each for number in range(count) for each in holds.login("dovecot", f"u{number}")]
    over = count >= _SILENT
    assert gone == ([held()] if over else [])
    assert holds.in_force("dovecot", "alice") is not over
    assert holds.unheld() == (["dovecot"] if over else [])
    assert list(holds.due()) == ([] if over else [held("B")])
    assert holds.in_force("courier", "alice")
    holds.logout("/log", "dovecot", "dovecot X")
    assert holds.in_force("dovecot", "alice")
    assert holds.unheld() == []
    assert holds.login("dovecot", "alice") == []


def test_one_account_that_opens_many_sessions_ends_what_it_holds_itself_and_nobody_elses() -> None:
    """In upper or lower case; nine of them together cannot either. A logout begins anew."""
    holds = Holds()
    holds.logout("/log", "dovecot", "dovecot X")
    theirs = held("B", "192.0.2.11")._replace(user="Mallory")
    for each in (held(), theirs):
        holds.hold(each, NOW, live=True)
    gone = [each for number in range(_SILENT) for each in holds.login("dovecot", ("mallory", "MALLORY")[number % 2])]
    assert gone == [theirs]
    assert holds.unheld() == ["dovecot's account mallory"]
    for number in range(1000):
        assert holds.login("dovecot", f"mallory{number % 8}") == []
    assert (holds.in_force("dovecot", "alice"), holds.in_force("dovecot", "Mallory")) == (True, False)
    holds.logout("/log", "dovecot", "dovecot X")
    assert holds.in_force("dovecot", "mallory")
    assert holds.unheld() == []
    assert holds.all() == [held()]


def test_where_few_accounts_log_in_each_is_told_of_as_well() -> None:
    """A small site whose log shows no logouts has a hold that is not in force."""
    holds = Holds()
    for _ in range(_SILENT):
        assert holds.unheld() == []
        holds.login("dovecot", "alice")
    assert holds.unheld() == ["dovecot"]


def test_a_logout_ends_its_own_session_only() -> None:
    """By log, format and name; a forged one ends at most that."""
    holds = Holds()
    here, there, other = held(), held(log="/other"), held("B")
    for each in (here, there, other):
        assert holds.hold(each, NOW, live=True) is None
    assert holds.logout("/log", "dovecot", "dovecot C") is None
    assert holds.logout("/log", "dovecot", "dovecot A") == here
    assert holds.logout("/log", "dovecot", "dovecot A") is None
    assert holds.logout("/other", "dovecot", "dovecot A") == there
    assert holds.all() == [other]
    assert len(holds) == 0


@pytest.mark.parametrize("live", [True, False])
def test_a_session_whose_name_another_took_is_over(live: bool) -> None:
    """Its logout was missed: whoever it let in is let out; the same session again is no other."""
    holds = Holds()
    holds.restore(held())
    assert holds.hold(held(), NOW, live=live) is None
    assert holds.hold(held(client="192.0.2.11"), NOW, live=live) == held()


def test_a_session_from_before_a_restart_that_is_read_again_is_still_ended_by_its_logout() -> None:
    """Though the second reading waits for what comes next."""
    holds = Holds()
    holds.restore(held())
    holds.hold(held(), NOW, live=False)
    assert holds.logout("/log", "dovecot", "dovecot A") == held()
    assert list(holds.due()) == []


def test_what_waits_is_given_once_and_only_while_it_is_open() -> None:
    """A logout in the next line takes it away before it opened anything."""
    holds = Holds()
    for session in "AB":
        holds.hold(held(session), NOW, live=False)
    assert len(holds) == 0
    assert holds.logout("/log", "dovecot", "dovecot A") is None
    assert list(holds.due()) == [held("B")]
    assert list(holds.due()) == []
    assert holds.logout("/log", "dovecot", "dovecot B") == held("B")


def test_ended_sessions_are_let_go_of() -> None:
    """The oldest first, when another one comes."""
    holds = Holds()
    holds.hold(held("A"), NOW, live=True)
    later = NOW._replace(wall=NOW.wall + timedelta(hours=8), boottime=NOW.boottime + 8 * 3600)
    holds.hold(held("B")._replace(expires_at=later.wall + timedelta(hours=8)), later, live=True)
    assert len(holds) == 1


def test_a_restored_session_holds_on() -> None:
    """Its format's logouts were seen before the restart."""
    holds = Holds()
    holds.restore(held())
    assert holds.in_force("dovecot", "alice")
    assert holds.all() == [held()]


def test_forgotten_sessions_are_given_to_nobody() -> None:
    """Open or waiting: somebody ended their windows before their time."""
    holds = Holds()
    holds.hold(held("A"), NOW, live=True)
    holds.hold(held("B"), NOW, live=False)
    holds.hold(held("C", "192.0.2.11"), NOW, live=True)
    holds.forget(lambda each: each.client == CLIENT)
    assert list(holds.due()) == []
    assert [each.client for each in holds.all()] == ["192.0.2.11"]
