"""The decision table: each rule alone, any two in conflict, and that each window knows its rules' reasons."""

import dataclasses
import itertools
import re
from datetime import timedelta

import pytest

from popbeforesmtp.accounts import NOBODY, Accounts
from popbeforesmtp.commands.explain import _WAYS
from popbeforesmtp.model import Decision, Reason, SessionEvent, Tombstone, Verdict
from popbeforesmtp.rules import CHECKS, Limits, Rules, Standing, decide, walk
from tests.site import ROOT
from tests.test_rules import CLIENT, GRACE, LOGIN, NOW, ORIGIN, networks

LIMITS = Limits(
    accounts_per_address=2,
    addresses_per_account=2,
    grants_per_minute=2,
    clients=2,
)
TOMBSTONE = Tombstone("all", "", NOW.wall, NOW.wall + timedelta(hours=1))

EVENTS: dict[Reason, dict[str, object]] = {
    Reason.FORGED: {"genuine": False},
    Reason.EMPTY: {"user": ""},
    Reason.ANONYMOUS: {"mechanism": "ANONYMOUS"},
    Reason.NO_TIME: {"time": None},
    Reason.FUTURE: {"time": NOW.wall + timedelta(seconds=61)},
    Reason.STALE: {"time": NOW.wall - GRACE},
    Reason.SERVICE: {"service": "smtp"},
}
RULES: dict[Reason, dict[str, object]] = {
    Reason.NEVER: {"never": networks("192.0.2.0/24")},
    Reason.TRUSTED: {"trusted": networks("192.0.2.0/24")},
    Reason.REVOKED: {"tombstones": {("all", ""): TOMBSTONE}},
    Reason.TLS: {"tls": True},
    Reason.MECHANISM: {"mechanisms": Accounts(["CRAM-MD5"])},
    Reason.DENIED: {"deny_accounts": Accounts(["*"])},
    Reason.ACCOUNT: {"accounts": NOBODY},
}
STANDINGS: dict[Reason, dict[str, int]] = {
    Reason.ACCOUNTS: {"accounts": 2},
    Reason.ADDRESSES: {"addresses": 2},
    Reason.RATE: {"recent": 2},
    Reason.LIVE: {"clients": 2},
}
ORDER = [
    Reason.FORGED,
    Reason.EMPTY,
    Reason.ANONYMOUS,
    Reason.NO_TIME,
    Reason.FUTURE,
    Reason.STALE,
    Reason.NEVER,  # and OWN, of the same rule
    Reason.TRUSTED,
    Reason.REVOKED,
    Reason.SERVICE,
    Reason.TLS,
    Reason.MECHANISM,
    Reason.DENIED,
    Reason.ACCOUNT,
    Reason.ACCOUNTS,
    Reason.ADDRESSES,
    Reason.RATE,
    Reason.LIVE,
]
"""What each rule of ``CHECKS`` refuses with."""

CONFLICTS = [
    pair
    for pair in itertools.combinations(ORDER, 2)
    if not {"time"} <= EVENTS.get(pair[0], {}).keys() & EVENTS.get(pair[1], {}).keys()  # a login has one time
]


def scene(*reasons: Reason) -> tuple[SessionEvent, Rules, Standing]:
    """Make a login that these reasons stand against, and no others."""
    event, rules, standing = LOGIN, Rules(grace=GRACE, limits=LIMITS), Standing()
    for reason in reasons:
        event = event._replace(**EVENTS.get(reason, {}))  # type: ignore[arg-type]
        rules = dataclasses.replace(rules, **RULES.get(reason, {}))  # type: ignore[arg-type]
        standing = standing._replace(**STANDINGS.get(reason, {}))  # type: ignore[arg-type]
    return event, rules, standing


def refused(reason: Reason) -> Decision:
    """Return the decision that refuses."""
    return Decision(Verdict.REFUSE, reason)


def test_the_table_has_a_row_for_each_rule() -> None:
    """In the order of the rules, and a login that nothing stands against passes all of them."""
    assert len(ORDER) == len(CHECKS)
    event, rules, standing = scene()
    assert [reason for _, reason in walk(event, NOW, rules, standing)] == [None] * len(CHECKS)
    assert decide(event, ORIGIN, NOW, rules, standing).verdict is Verdict.GRANT


@pytest.mark.parametrize("reason", ORDER)
def test_each_rule_refuses_alone(reason: Reason) -> None:
    """With its own reason, while all others let the login pass."""
    event, rules, standing = scene(reason)
    assert decide(event, ORIGIN, NOW, rules, standing) == refused(reason)
    found = [refuses for _, refuses in walk(event, NOW, rules, standing)]
    assert found == [reason if each is reason else None for each in ORDER]


@pytest.mark.parametrize(("earlier", "later"), CONFLICTS)
def test_of_two_rules_the_earlier_one_decides(earlier: Reason, later: Reason) -> None:
    """``explain`` shows both."""
    event, rules, standing = scene(earlier, later)
    assert decide(event, ORIGIN, NOW, rules, standing) == refused(earlier)
    assert [reason for _, reason in walk(event, NOW, rules, standing) if reason] == [earlier, later]


def test_all_rules_at_once_give_the_first_ones_reason() -> None:
    """Of everything that stands against a login."""
    event, rules, standing = scene(*ORDER)
    assert decide(event, ORIGIN, NOW, rules, standing) == refused(Reason.FORGED)


@pytest.mark.parametrize(
    ("never", "reason"), [("192.0.2.0/24", Reason.NEVER), ("198.51.100.0/24", Reason.OWN)], ids=["both", "own"]
)
def test_an_address_of_this_host_in_a_never_network_is_called_by_the_network(never: str, reason: Reason) -> None:
    """Both belong to one rule, and both beat trust."""
    rules = Rules(grace=GRACE, never=networks(never), own=frozenset((CLIENT,)), trusted=networks("0.0.0.0/0"))
    assert decide(LOGIN, ORIGIN, NOW, rules) == refused(reason)


@pytest.mark.parametrize("limit", range(14, 18))
def test_a_limit_refuses_at_it_and_not_one_before(limit: int) -> None:
    """And not at all where it is not set."""
    (name,) = STANDINGS[ORDER[limit]]
    for count, expected in ((1, None), (2, ORDER[limit]), (3, ORDER[limit])):
        standing = Standing(**{name: count})
        assert walk(LOGIN, NOW, Rules(grace=GRACE, limits=LIMITS), standing)[limit][1] is expected
        assert walk(LOGIN, NOW, Rules(grace=GRACE), standing)[limit][1] is None


@pytest.mark.parametrize("reason", [Reason.RATE, Reason.LIVE])
def test_who_may_relay_already_is_no_new_client(reason: Reason) -> None:
    """A renewal is refused by no limit on what is new."""
    event, rules, standing = scene(reason)
    standing = standing._replace(live=True)
    assert decide(event, ORIGIN, NOW, rules, standing).verdict is Verdict.GRANT


@pytest.mark.parametrize(
    ("deny", "user", "verdict"),
    [
        ("alice", "alice", Verdict.REFUSE),
        ("ALICE", "alice", Verdict.REFUSE),
        ("a*", "Alice", Verdict.REFUSE),
        ("bob", "alice", Verdict.GRANT),
    ],
)
def test_a_denied_account_opens_nothing_though_it_is_among_the_accounts(deny: str, user: str, verdict: Verdict) -> None:
    """Deny wins, in upper and lower case."""
    rules = Rules(grace=GRACE, accounts=Accounts(["alice"]), deny_accounts=Accounts([deny]))
    assert decide(LOGIN._replace(user=user), ORIGIN, NOW, rules).verdict is verdict


@pytest.mark.parametrize(("tls", "verdict"), [(True, Verdict.GRANT), (False, Verdict.REFUSE), (None, Verdict.REFUSE)])
def test_where_encryption_is_asked_for_a_log_that_does_not_say_is_no_proof(tls: bool | None, verdict: Verdict) -> None:
    """Only what the log says counts."""
    assert decide(LOGIN._replace(tls=tls), ORIGIN, NOW, Rules(grace=GRACE, tls=True)).verdict is verdict


@pytest.mark.parametrize("name", ["anonymous", "ANONYMOUS", "Anonymous"])
def test_the_anonymous_account_is_nobody(name: str) -> None:
    """However it is written."""
    assert decide(LOGIN._replace(user=name), ORIGIN, NOW, Rules(grace=GRACE)) == refused(Reason.ANONYMOUS)


@pytest.mark.parametrize("about", ["address", "account"])
def test_what_is_asked_of_an_address_or_an_account_alone_needs_nothing_else(about: str) -> None:
    """``explain`` asks so, where no login was seen: no reason comes from what is not known."""
    event = SessionEvent(LOGIN.kind, NOW.wall, "", CLIENT if about == "address" else None, None)
    if about == "account":
        event = event._replace(user="alice")
    _, rules, standing = scene(Reason.TLS, Reason.MECHANISM)
    rules = dataclasses.replace(rules, services=frozenset(("other",)))
    asked = walk(event, NOW, rules, standing, about)
    assert 4 <= len(asked) < len(CHECKS)
    assert all(reason is None for _, reason in asked)


def test_explain_knows_a_way_out_of_every_reason() -> None:
    """And of nothing else."""
    assert _WAYS.keys() == {str(reason) for reason in Reason}


def test_the_manual_has_the_table() -> None:
    """Each rule in its order, with what it asks and what it refuses with."""
    manual = (ROOT / "contrib" / "man" / "pop-before-smtp.toml.5").read_text()
    listed = manual.partition(".Ss The rules in their order")[2]
    rows = re.findall(r"^\.It ([0-9]+)\.\n(.+), else\n\.Qq (.+?)(?:\nor\n\.Qq (.+))? ;$", listed, re.MULTILINE)
    wanted = [
        (str(number), check.asks, str(reason), str(Reason.OWN) if reason is Reason.NEVER else "")
        for number, (check, reason) in enumerate(zip(CHECKS, ORDER, strict=True), start=1)
    ]
    assert rows == wanted
