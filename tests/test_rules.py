"""Who may relay and until when."""

from datetime import datetime, timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, NetworkSet, parse_network
from popbeforesmtp.clock import Moment
from popbeforesmtp.model import Authorization, Decision, EventKind, Origin, Reason, SessionEvent, Verdict
from popbeforesmtp.rules import Rules, decide
from tests.clocks import FakeClock

unhurried = settings(deadline=None)
GRACE = timedelta(minutes=30)
MICRO = timedelta(microseconds=1)
NOW = FakeClock(boottime=5000.0).now()
ORIGIN = Origin("/var/log/mail.log", 4711)
CLIENT = ClientAddress("192.0.2.10")
LOGIN = SessionEvent(
    kind=EventKind.LOGIN,
    time=NOW.wall,
    format="dovecot",
    client=CLIENT,
    user="alice",
    service="imap",
    mechanism="PLAIN",
    session="AbC",
    mail_pid="123",
)


def networks(*texts: str) -> NetworkSet:
    """Read a list of networks."""
    return NetworkSet(map(parse_network, texts))


def ask(event: SessionEvent, rules: Rules | None = None, now: Moment = NOW) -> Decision:
    """Decide an event by rules that only have a grace period, or by others."""
    return decide(event, ORIGIN, now, rules or Rules(grace=GRACE))


def granted(decision: Decision) -> Authorization:
    """Return what was granted."""
    assert decision.verdict is Verdict.GRANT
    assert decision.reason is None
    assert decision.authorization is not None
    return decision.authorization


def test_a_login_authorizes_its_own_address_for_the_grace_period() -> None:
    """Who logs in may relay from there until the grace period has gone by, on both clocks, and we know why."""
    assert ask(LOGIN) == Decision(
        Verdict.GRANT,
        authorization=Authorization(
            client=CLIENT,
            expires_at=NOW.wall + GRACE,
            deadline=5000.0 + 1800.0,
            user="alice",
            service="imap",
            login_at=NOW.wall,
            format="dovecot",
            origin=ORIGIN,
            rule="grace",
        ),
    )


@pytest.mark.parametrize("kind", [EventKind.LOGOUT, EventKind.FAILURE])
def test_only_a_login_authorizes(kind: EventKind) -> None:
    """A failed login or a logout opens nothing, whatever else it says."""
    assert ask(LOGIN._replace(kind=kind)) == Decision(Verdict.IGNORE)


@pytest.mark.parametrize("user", [None, "", " ", "\t", "\u00a0"])
def test_a_login_of_nobody_is_refused(user: str | None) -> None:
    """Without a user nobody has proved anything."""
    assert ask(LOGIN._replace(user=user)) == Decision(Verdict.REFUSE, Reason.EMPTY)


def test_a_login_from_nowhere_is_ignored() -> None:
    """Without an address there is nothing to authorize."""
    assert ask(LOGIN._replace(client=None)) == Decision(Verdict.IGNORE)


@pytest.mark.parametrize("client", ["127.0.0.1", "0.0.0.0", "169.254.1.1", "::1", "fe80::1", "2002:c000:201::1"])
def test_a_never_authorized_network_is_refused_whatever_is_configured(client: str) -> None:
    """The built-in networks need no configuration, and trust does not open them."""
    event = LOGIN._replace(client=ClientAddress(client))
    assert ask(event) == Decision(Verdict.REFUSE, Reason.NEVER)
    trusting = Rules(grace=GRACE, trusted=networks("0.0.0.0/0", "::/0"))
    assert ask(event, trusting) == Decision(Verdict.REFUSE, Reason.NEVER)


@pytest.mark.parametrize(
    ("client", "verdict"),
    [
        ("192.0.1.255", Verdict.GRANT),
        ("192.0.2.0", Verdict.REFUSE),
        ("192.0.2.255", Verdict.REFUSE),
        ("192.0.3.0", Verdict.GRANT),
        ("2001:db8::", Verdict.REFUSE),
        ("2001:db9::", Verdict.GRANT),
    ],
)
def test_networks_of_the_administrator_are_never_authorized_either(client: str, verdict: Verdict) -> None:
    """``never`` adds networks to the built-in ones, from their first address to their last."""
    rules = Rules(grace=GRACE, never=networks("192.0.2.0/24", "2001:db8::/32"))
    decision = ask(LOGIN._replace(client=ClientAddress(client)), rules)
    assert decision.verdict is verdict
    assert decision.reason is (Reason.NEVER if verdict is Verdict.REFUSE else None)


def test_the_host_s_own_address_is_refused() -> None:
    """A webmail or a proxy on this host logs in for others, so its address is nobody's."""
    rules = Rules(grace=GRACE, own=frozenset({CLIENT}))
    assert ask(LOGIN, rules) == Decision(Verdict.REFUSE, Reason.OWN)
    assert ask(LOGIN._replace(client=ClientAddress("192.0.2.11")), rules).verdict is Verdict.GRANT


def test_a_trusted_client_needs_no_authorization() -> None:
    """Who may relay anyway is not put into any map."""
    rules = Rules(grace=GRACE, trusted=networks("192.0.2.0/28"))
    assert ask(LOGIN, rules) == Decision(Verdict.REFUSE, Reason.TRUSTED)
    assert ask(LOGIN._replace(client=ClientAddress("192.0.2.16")), rules).verdict is Verdict.GRANT


def test_an_anonymous_login_opens_nothing() -> None:
    """With SASL ANONYMOUS nobody has proved who they are, even if a user name is written."""
    assert ask(LOGIN._replace(mechanism="ANONYMOUS")) == Decision(Verdict.REFUSE, Reason.ANONYMOUS)


@pytest.mark.parametrize("mechanism", [None, "PLAIN", "CRAM-MD5", "XOAUTH2"])
def test_every_other_mechanism_counts(mechanism: str | None) -> None:
    """A mechanism that is not written, or any that proves something, opens the window."""
    granted(ask(LOGIN._replace(mechanism=mechanism)))


def test_a_login_at_an_impossible_time_is_refused() -> None:
    """A stamp that is no time gives no window, for nobody knows when it began."""
    assert ask(LOGIN._replace(time=None)) == Decision(Verdict.REFUSE, Reason.NO_TIME)


@pytest.mark.parametrize("ahead", [MICRO, timedelta(seconds=1), timedelta(seconds=60)])
def test_a_stamp_up_to_a_minute_ahead_counts_as_now(ahead: timedelta) -> None:
    """Two hosts are never quite in step; but the window never reaches past now and a grace period."""
    grant = granted(ask(LOGIN._replace(time=NOW.wall + ahead)))
    assert grant.login_at == NOW.wall
    assert grant.expires_at == NOW.wall + GRACE
    assert grant.deadline == NOW.boottime + GRACE.total_seconds()


@pytest.mark.parametrize("ahead", [timedelta(seconds=60) + MICRO, timedelta(hours=1), timedelta(days=2900000)])
def test_a_stamp_more_than_a_minute_ahead_is_refused(ahead: timedelta) -> None:
    """One microsecond past the minute is the future, as is the end of all years."""
    assert ask(LOGIN._replace(time=NOW.wall + ahead)) == Decision(Verdict.REFUSE, Reason.FUTURE)


def test_a_login_that_was_read_late_has_only_the_rest_of_its_window() -> None:
    """The window begins at the login, not when its line is read."""
    grant = granted(ask(LOGIN._replace(time=NOW.wall - timedelta(minutes=20))))
    assert grant.login_at == NOW.wall - timedelta(minutes=20)
    assert grant.expires_at == NOW.wall + timedelta(minutes=10)
    assert grant.deadline == NOW.boottime + 600


def test_a_login_whose_window_has_just_ended_is_stale() -> None:
    """Exactly a grace period ago is too late; a microsecond later is not."""
    assert ask(LOGIN._replace(time=NOW.wall - GRACE)) == Decision(Verdict.REFUSE, Reason.STALE)
    assert ask(LOGIN._replace(time=NOW.wall - GRACE - MICRO)) == Decision(Verdict.REFUSE, Reason.STALE)
    grant = granted(ask(LOGIN._replace(time=NOW.wall - GRACE + MICRO)))
    assert grant.expires_at == NOW.wall + MICRO


def test_a_user_name_is_kept_byte_for_byte() -> None:
    """Bytes that are no UTF-8 travel on as they were written."""
    name = b"caf\xe9 \\ \x7f".decode("utf-8", "surrogateescape")
    assert granted(ask(LOGIN._replace(user=name))).user == name


def test_an_unknown_service_is_no_obstacle() -> None:
    """Where the format does not know the service, the grant says nothing of it."""
    assert granted(ask(LOGIN._replace(service=None))).service == ""


@unhurried
@given(
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)),
    st.timedeltas(timedelta(seconds=1), timedelta(minutes=65535)),
)
@example(datetime(9999, 12, 31), timedelta(minutes=65535))
@example(datetime(1, 1, 1), timedelta(minutes=65535))
def test_no_stamp_opens_a_window_beyond_a_grace_period_from_now(stamp: datetime, grace: timedelta) -> None:
    """Whatever time a line claims, what is left is more than nothing and at most a grace period, on both clocks."""
    decision = ask(LOGIN._replace(time=stamp.replace(tzinfo=NOW.wall.tzinfo)), Rules(grace=grace))
    if decision.verdict is Verdict.REFUSE:
        assert decision.reason in {Reason.FUTURE, Reason.STALE}
        return
    grant = granted(decision)
    assert NOW.wall < grant.expires_at <= NOW.wall + grace
    assert grant.deadline - NOW.boottime == pytest.approx((grant.expires_at - NOW.wall).total_seconds(), abs=1e-6)
    assert 0 < grant.remaining(NOW) <= grace.total_seconds() + 1e-6


@unhurried
@given(st.timedeltas(-timedelta(hours=1), timedelta(minutes=2)))
def test_near_now_a_stamp_opens_a_window_exactly_where_the_contract_says(offset: timedelta) -> None:
    """Between a grace period ago and a minute ahead, edges as told, there is a window, and nowhere else."""
    decision = ask(LOGIN._replace(time=NOW.wall + offset))
    assert (decision.verdict is Verdict.GRANT) is (-GRACE < offset <= timedelta(seconds=60))
