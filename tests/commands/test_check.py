"""``check`` where no daemon runs: what the store holds."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp import cli
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import SystemClock
from popbeforesmtp.stores.sqlite import open_store
from tests.site import CLIENT
from tests.stores.contract import grant, granted


@pytest.mark.parametrize(("address", "minutes"), [(CLIENT, 50), ("2001:db8:1:2::77", 20), ("2001:db8:1:3::77", None)])
def test_the_last_end_of_all_that_an_address_lies_in_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str, minutes: int | None
) -> None:
    """Of several accounts, and of the network that was granted with it."""
    config, clock = tmp_path / "pop-before-smtp.toml", SystemClock()
    config.write_text(f'control = "{tmp_path}/none"\n[store]\ntype = "sqlite"\npath = "{tmp_path}/state.sqlite"\n')
    store, now = open_store(clock=clock, path=tmp_path / "state.sqlite"), clock.now()
    store.write(
        granted(
            grant(ClientAddress(CLIENT), now, 600, "alice"),
            grant(ClientAddress(CLIENT), now, 3000, "bob"),
            grant(ClientAddress(CLIENT), now, 60, "carol"),
            grant(ClientAddress("2001:db8:1:2::/64"), now, 1200),
        )
    )
    store.close()
    assert cli.main(["check", "--json", "--config", str(config), address]) == (0 if minutes else 1)
    end = json.loads(capsys.readouterr().out)["expires_at"]
    assert end == (None if minutes is None else (now.wall + timedelta(minutes=minutes)).isoformat())
