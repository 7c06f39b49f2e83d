"""Whatever happens in whatever order: what is answered, mapped, stored and counted is one and the same."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.rules import Limits
from tests.house import House, at_home
from tests.test_pipeline import RULES

CLIENTS = ("192.0.2.10", "2001:db8:1:2::5", "2001:db8:1:2::6")
USERS = ("alice", "Bob")
clients, users = st.sampled_from(CLIENTS), st.sampled_from(USERS)
seconds = st.sampled_from([0, 600, 1800, 3600])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("login"), clients, users, seconds),
        st.tuples(st.just("logout"), st.integers(0, 9)),
        st.tuples(st.just("failure"), clients),
        st.tuples(st.just("grant"), clients, seconds.filter(bool)),
        st.tuples(
            st.just("revoke"),
            st.one_of(clients.map(lambda text: {"address": text}), users.map(lambda text: {"user": text})),
        ),
        st.tuples(st.just("revoke"), st.just({"all": True})),
        st.tuples(st.just("advance"), seconds),
        st.tuples(st.just("step"), st.sampled_from([-600, 600])),
        st.tuples(st.just("live")),
        st.tuples(st.just("hold"), st.booleans()),
    ),
    max_size=25,
)
HELD = replace(
    RULES,
    hold=timedelta(hours=2),
    limits=Limits(1000, 1000, 1000, 1000),
    revoke_after_failures=2,
)


async def do(house: House, step: tuple[object, ...]) -> None:
    """Do one thing."""
    match step:
        case "login", str(client), str(user), int(ago):
            await house.login(client, user, f"S{house.sessions % 10}", ago)
        case "logout", int(number):
            await house.logout(f"S{number}")
        case "failure", str(client):
            await house.failure(client)
        case "grant", str(client), int(length):
            await house.ask("grant", address=client, until=house.until(length))
        case "revoke", dict(whom):
            await house.ask("revoke", **whom)
        case "advance", int(passed):
            house.clock.advance(passed)
        case "step", int(change):
            house.clock.step(change)
        case "live", *_:
            house.clock.advance(6)
        case "hold", bool(on):
            new = replace(house.pipeline.rules, hold=HELD.hold if on else timedelta())
            house.pipeline.obey(new)
    await house.read()


async def agree(house: House, *, stepped: bool) -> None:
    """See that all say the same, and that nobody may relay for longer than anything opened."""
    now, windows = house.clock.now(), house.windows
    kept = await house.kept()
    left: dict[str, float] = {}
    for entry in kept:
        left[entry.client] = max(left.get(entry.client, 0.0), entry.remaining(now))
    answered = {
        str(client): round((end - now.wall).total_seconds(), 3) for client, end in windows.active.ends(now).items()
    }
    mapped = {client: round(end, 3) for client, end in (await house.in_map()).items()}
    if stepped:  # one end is remembered of each client, and a map is told a moment once: shorter at most
        assert mapped.keys() == answered.keys()
        assert all(end <= round(left[client], 3) for client, end in answered.items())
        return
    assert mapped == answered == {client: round(end, 3) for client, end in left.items()}
    for client in answered:
        there = {entry.user for entry in kept if entry.client == client and entry.user}
        counted = windows.crowds.accounts(client, "nobody", now.wall.timestamp(), windows.active.before(client, now))  # type: ignore[arg-type]
        assert counted == len(there)
    for user in USERS:
        there = {entry.client for entry in kept if entry.user == user}
        counted = windows.crowds.addresses("nowhere", user, now.wall.timestamp())  # type: ignore[arg-type]
        assert counted == len(there)


@settings(max_examples=200, deadline=None)
@given(STEPS, st.sampled_from([64, 128]))
def test_answers_map_store_and_counts_agree_whatever_happens(steps: list[tuple[object, ...]], prefix: int) -> None:
    """After each step: logins and logouts, failures, grants and revocations, both clocks, hold on and off."""

    async def scene(house: House) -> None:
        await house.login("203.0.113.1", "zoe", "Z")
        await house.logout("Z", "zoe")
        for step in steps:
            await do(house, step)
            await agree(house, stepped="step" in {step[0] for step in steps})

    at_home(scene, replace(HELD, ipv6_prefix=prefix))
