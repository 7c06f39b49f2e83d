"""``list``: filters, order, and names of strangers."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from popbeforesmtp import cli
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.clock import SystemClock
from popbeforesmtp.model import Authorization, Origin
from popbeforesmtp.stores import Batch
from popbeforesmtp.stores.sqlite import open_store

ROWS = [
    ("192.0.2.10", "alice@example.com", "grace", 30),
    ("192.0.2.9", "Bob@example.org", "hold", 20),
    ("10.0.0.1", "", "by hand", 60),
    ("2001:db8:1:2::/64", "carol\u202e\udcff\n@example.com", "grace", 10),
    ("2001:db8::1", "1e5", "grace", 40),
]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """Keep a store that some may relay by, and no daemon."""
    clock = SystemClock()
    store = open_store(clock=clock, path=tmp_path / "state.sqlite")
    batch, now = Batch(), clock.now()
    for number, (client, user, rule, minutes) in enumerate(ROWS):
        batch.grant(
            Authorization(
                client=ClientAddress(client),
                expires_at=now.wall + timedelta(minutes=minutes),
                deadline=now.boottime + minutes * 60,
                user=user,
                service="imap",
                login_at=now.wall - timedelta(seconds=number),
                format="dovecot",
                origin=Origin("/log", number),
                rule=rule,
                session="" if rule == "grace" else rule,
            )
        )
    store.write(batch)
    store.close()
    path = tmp_path / "config.toml"
    path.write_text(
        f'control = "{tmp_path}/control"\n[rules]\ntrusted = []\n'
        f'[store]\ntype = "sqlite"\npath = "{tmp_path}/state.sqlite"\n'
    )
    yield path
    assert not Path(f"{tmp_path}/control").exists()


def listed(config: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Return the addresses, in their order."""
    assert cli.main(["list", "--config", str(config), "--json", *arguments]) == os.EX_OK
    return [entry["address"] for entry in json.loads(capsys.readouterr().out)]


@pytest.mark.parametrize(
    ("arguments", "rows"),
    [
        ([], [3, 1, 0, 4, 2]),
        (["--sort", "until"], [3, 1, 0, 4, 2]),
        (["--sort", "address"], [2, 1, 0, 4, 3]),
        (["--sort", "user"], [2, 4, 1, 0, 3]),
        (["--sort", "login"], [4, 3, 2, 1, 0]),
        (["--user", "*@EXAMPLE.com"], [3, 0]),
        (["--user", "bob@example.org"], [1]),
        (["--user", "*"], [3, 1, 0, 4, 2]),
        (["--network", "192.0.2.0/24"], [1, 0]),
        (["--network", "192.0.2.9"], [1]),
        (["--network", "2001:db8::/32"], [3, 4]),
        (["--network", "2001:db8:1:2::5"], []),
        (["--network", "0.0.0.0/0"], [1, 0, 2]),
        (["--rule", "by hand"], [2]),
        (["--rule", "grace", "--user", "*@example.com", "--network", "192.0.2.0/24"], [0]),
    ],
)
def test_a_filter_leaves_what_it_says_and_an_order_is_kept(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], rows: list[int]
) -> None:
    """Addresses by number, not by their text."""
    assert listed(config, capsys, *arguments) == [ROWS[row][0] for row in rows]


def test_a_table_for_people_holds_no_stranger_s_text_unescaped(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row on its line, a name as it was written and no number made of it."""
    assert cli.main(["list", "--config", str(config)]) == os.EX_OK
    said = capsys.readouterr()
    assert said.err == "pop-before-smtp: no daemon is running; this is what the store holds\n"
    head, *rows = said.out.splitlines()
    assert head.split() == ["ADDRESS", "USER", "SERVICE", "LOGIN", "UNTIL", "LEFT", "RULE"]
    assert len(rows) == len(ROWS)
    assert all(row.isprintable() for row in rows)
    assert "carol\\u202e\\xff\\x0a@example.com" in rows[0]
    assert " 1e5 " in said.out
    assert rows[-1].split()[1] == "-"
    assert rows[-1].endswith("by hand")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--network", "192.0.2.1/24"], "'192.0.2.1/24' is no network; write it as in 192.0.2.0/24 or 2001:db8::/32"),
        (["--network", "\x1b[31m"], "'\\x1b[31m' is no network; write it as in 192.0.2.0/24 or 2001:db8::/32"),
        (["--rule", "none"], "argument --rule: invalid choice: 'none'"),
        (["--sort", "none"], "argument --sort: invalid choice: 'none'"),
    ],
)
def test_a_mistake_is_one_sentence(
    config: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    """On standard error, with the status for a wrong command line."""
    assert cli.main(["list", "--config", str(config), *arguments]) == os.EX_USAGE
    assert sentence in capsys.readouterr().err


def test_json_is_the_same_for_every_entry(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All fields, known or null; times can be read back."""
    assert cli.main(["list", "--config", str(config), "--json"]) == os.EX_OK
    entries = json.loads(capsys.readouterr().out)
    assert len({tuple(entry) for entry in entries}) == 1
    assert all(datetime.fromisoformat(entry["expires_at"]) > datetime.now(UTC) for entry in entries)
    assert entries[0]["user"] == "carol\u202e\udcff\n@example.com"
