"""``type = "memory"``."""

import pytest

from popbeforesmtp.stores import Batch, Progress, Store
from popbeforesmtp.stores.memory import open_store
from tests.clocks import FakeClock
from tests.stores import contract
from tests.stores.contract import ONE, StoreContract, grant, granted


class TestMemoryStore(StoreContract):
    """The store that keeps nothing."""

    @pytest.fixture
    def store(self, clock: FakeClock) -> Store:
        """Return an empty store."""
        return open_store(clock=clock)

    def test_it_forgets_everything_when_it_is_closed(self, store: Store, clock: FakeClock) -> None:
        """After the end the log is read again instead, from where the configuration says."""
        store.write(granted(grant(ONE, clock.now()), progress={"log": Progress("1", None)}))
        store.close()
        assert store.load(clock.now()) == []
        assert dict(store.progress()) == {}

    def test_two_stores_share_nothing(self, store: Store, clock: FakeClock) -> None:
        """Each store of this type is its own."""
        store.write(contract.granted(grant(ONE, clock.now())))
        assert open_store(clock=clock).load(clock.now()) == []


def test_a_batch_is_true_when_there_is_something_in_it() -> None:
    """Only a batch with nothing at all in it need not be written."""
    assert not Batch()
    assert contract.granted(grant(ONE, FakeClock().now()))
    assert Batch(ended={ONE})
    assert Batch(progress={"log": Progress("1", None)})
