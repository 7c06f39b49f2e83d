"""What explain remembers."""

import pytest

from popbeforesmtp.history import _MOST, History, Seen
from popbeforesmtp.model import EventKind
from tests.test_rules import CLIENT, LOGIN, ORIGIN

FAILURE = LOGIN._replace(kind=EventKind.FAILURE, user="bob")


def test_decisions_come_back_the_newest_first_by_address_or_account() -> None:
    """Logins and failures in one order; an account however it is written."""
    history = History()
    for number, event in enumerate((LOGIN, FAILURE, LOGIN._replace(client=None), LOGIN._replace(user=None), LOGIN)):
        history.add(Seen(event, ORIGIN, str(number)))
    assert [seen.outcome for seen in history.about(frozenset((CLIENT,)), None)] == ["4", "3", "1", "0"]
    assert [seen.outcome for seen in history.about(frozenset(), "ALICE")] == ["4", "2", "0"]
    assert [seen.outcome for seen in history.about(frozenset(), "BOB")] == ["1"]
    assert list(history.about(frozenset(("192.0.2.99",)), "carol")) == []


@pytest.mark.parametrize("strange", [FAILURE, LOGIN._replace(genuine=False, user="x" * 100)], ids=["failed", "forged"])
def test_what_strangers_can_do_at_will_pushes_no_login_out(strange: object) -> None:
    """However often they fail or forge; and no more is remembered than that."""
    history = History()
    history.add(Seen(LOGIN, ORIGIN, "granted"))
    for _ in range(_MOST + 1):
        history.add(Seen(strange, ORIGIN, "no"))  # type: ignore[arg-type]
    seen = [each.outcome for each in history.about(frozenset((CLIENT,)), None)]
    assert (seen.count("granted"), seen.count("no")) == (1, _MOST)
    for _ in range(_MOST):
        history.add(Seen(LOGIN, ORIGIN, "renewed"))
    assert all(each.outcome != "granted" for each in history.about(frozenset((CLIENT,)), None))


def test_a_name_of_thousands_of_letters_takes_no_more_memory_than_a_long_one() -> None:
    """Servers write what a stranger sends; four bytes for each letter where one of them is far from ASCII."""
    history = History()
    history.add(Seen(FAILURE._replace(user="x" * 4096), ORIGIN, "failed login"))
    history.add(Seen(FAILURE._replace(user="y" * 320), ORIGIN, "failed login"))
    names = [seen.event.user for seen in history.about(frozenset((CLIENT,)), None)]
    assert names == ["y" * 320, "x" * 320 + "…"]
