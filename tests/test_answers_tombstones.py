"""What a revocation leaves behind: for how long, and how it is lifted."""

from dataclasses import replace

import pytest

from popbeforesmtp.model import Tombstone
from tests.house import House, at_home
from tests.test_by_hand_revoke import V6
from tests.test_pipeline import CLIENT, RULES


def test_a_revocation_until_a_moment_that_has_passed_is_remembered_as_long_as_any() -> None:
    """No command of ours asks for it; by its end a store knows how long a tombstone matters."""

    async def scene(house: House) -> None:
        await house.ask("revoke", address=CLIENT, until="2001-01-01T00:00:00+00:00")
        (tombstone,) = await tombstones(house)
        assert tombstone.until == tombstone.at == house.clock.now().wall

    async def tombstones(house: House) -> list[Tombstone]:
        await house.recorder.flush()
        house.store.purge(house.clock.now())
        return house.store.tombstones()

    at_home(scene)


@pytest.mark.parametrize(("before", "after"), [(64, 128), (128, 64)])
def test_a_revocation_can_be_lifted_by_its_address_after_prefixes_of_another_length(before: int, after: int) -> None:
    """It refuses the address's logins all the while."""

    async def scene(house: House) -> None:
        await house.ask("revoke", address=V6, until=house.until(86400))
        house.pipeline.obey(replace(house.pipeline.rules, ipv6_prefix=after))
        house.clock.advance(5)
        await house.login(V6)
        assert house.ends(V6) is None
        await house.ask("revoke", address=V6, lift=True)
        house.clock.advance(5)
        await house.login(V6)
        assert house.ends(V6) == 1800

    at_home(scene, replace(RULES, ipv6_prefix=before))
