"""``[rules]`` and ``[[window]]``, and the files that they name."""

import os
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp import config
from popbeforesmtp.accounts import EVERYBODY, Accounts
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.rules import SERVICES, Limits, Rules, Window
from popbeforesmtp.rulesettings import Files, RuleSettings
from tests.site import CLIENT, OTHER, Site, in_map, map_section, permitted, state, wait_for
from tests.test_rules import networks

PATH = Path("/etc/pop-before-smtp.toml")
GRACE, HOLD = timedelta(minutes=30), timedelta(hours=8)


def read(text: str) -> RuleSettings:
    """Read the rules of a configuration."""
    return config.parse(PATH, text).rules


def test_without_any_every_account_may_and_no_limit_is_set() -> None:
    """What the rules are by themselves."""
    assert read("").rules(GRACE, timedelta()) == Rules(GRACE)
    assert read("").files() == ()
    assert read("").services == SERVICES


def test_every_setting_reaches_the_rules() -> None:
    """With the names that the manual has."""
    settings = config.parse(
        PATH,
        """
        grace = "1h"
        hold = "65535m"
        audit = "/var/log/audit"
        [rules]
        trusted = ["10.0.0.0/8"]
        never = ["192.0.2.0/24"]
        accounts = ["*@example.com"]
        deny_accounts = ["root"]
        services = ["IMAP"]
        mechanisms = ["SCRAM-*"]
        tls = true
        ipv6_prefix = 64
        restrict = ["198.51.100.0/24"]
        max_accounts_per_address = 1
        max_addresses_per_account = 2
        max_grants_per_minute = 3
        max_clients = 4
        revoke_after_failures = 5
        [[window]]
        grace = "65535m"
        accounts = ["scanner@example.com"]
        [[window]]
        grace = "1s"
        services = ["POP3"]
        """,
    )
    assert settings.rules.rules(settings.grace, settings.hold) == Rules(
        grace=timedelta(hours=1),
        windows=(
            Window(timedelta(minutes=65535), Accounts(["scanner@example.com"])),
            Window(timedelta(seconds=1), EVERYBODY, frozenset(("pop3",))),
        ),
        hold=timedelta(minutes=65535),
        never=networks("192.0.2.0/24"),
        accounts=Accounts(["*@example.com"]),
        deny_accounts=Accounts(["root"]),
        services=frozenset(("imap",)),
        mechanisms=Accounts(["SCRAM-*"]),
        tls=True,
        limits=Limits(1, 2, 3, 4),
        revoke_after_failures=5,
        ipv6_prefix=64,
        restricted=networks("198.51.100.0/24"),
    )
    assert settings.rules.restrict == networks("198.51.100.0/24").networks
    assert settings.rules.trusted == networks("10.0.0.0/8")
    assert settings.audit == "/var/log/audit"


@pytest.mark.parametrize("begins", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_files_have_an_entry_on_each_line_and_comments(tmp_path: Path, begins: str) -> None:
    """Between entries that are written down; however an editor ends its lines, and whatever it begins a file with."""
    accounts, never = tmp_path / "accounts", tmp_path / "never"
    accounts.write_bytes(f"{begins}root\r\n\n  # nobody\n*@example.com   # all of them\n".encode())
    never.write_text(f"{begins}192.0.2.0/24\n2001:db8::/32")
    rules = read(f'[rules]\ndeny_accounts = ["bob", "{accounts}"]\nnever = ["{never}", "10.0.0.0/8"]')
    assert rules.files() == (never, accounts)
    made = rules.rules(GRACE, HOLD)
    assert made.deny_accounts.globs == ("bob", "root", "*@example.com")
    assert made.never == networks("192.0.2.0/24", "2001:db8::/32", "10.0.0.0/8")


@pytest.mark.parametrize(
    ("setting", "data", "complaint"),
    [
        ("accounts", None, "{file}: cannot be read: No such file or directory; make it, or leave it out of [rules]"),
        ("accounts", b"\xff", "{file}: cannot be read: it is no UTF-8 text; make it, or leave it out of [rules]"),
        ("never", b"10.0.0.0/8\n192.0.2.1/24", "{file}:2: '192.0.2.1/24' is no network; write an address and"),
        ("never", b"host.example", "{file}:1: 'host.example' is no network; write an address and"),
    ],
)
def test_a_wrong_file_is_named_with_its_line(tmp_path: Path, setting: str, data: bytes | None, complaint: str) -> None:
    """And what to do."""
    path = tmp_path / "file"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError) as raised:
        read(f'[rules]\n{setting} = ["{path}"]').rules(GRACE, HOLD)
    assert str(raised.value).startswith(complaint.replace("{file}", str(path)))


def test_a_stamp_changes_with_a_file_and_with_who_may_read_it(tmp_path: Path) -> None:
    """Or when it comes and goes."""
    path = tmp_path / "accounts"
    rules = read(f'[rules]\naccounts = ["{path}"]')
    stamps = [rules.stamps()]
    path.write_text("a")
    stamps.append(rules.stamps())
    os.utime(path, (0, 0))
    stamps.append(rules.stamps())
    path.chmod(0o600)
    stamps.append(rules.stamps())
    assert stamps[-1] == rules.stamps()
    assert len({str(each) for each in stamps}) == 4


# The daemon reads them again


def test_files_are_read_again_when_nobody_writes_them_any_more() -> None:
    """A list of denied accounts that is being written denies nobody for a moment; who logs in then would keep that."""
    files = Files([(1,)])
    looks = [[(1,)], [(2,)], [(3,)], [()], [(4,)], [(4,)], [(4,)]]
    assert [files.changed(stamps) for stamps in looks] == [False, False, False, False, False, True, True]
    files.were_read([(4,)])
    assert [files.changed(stamps) for stamps in ([(4,)], [(1,)], [(1,)])] == [False, False, True]
    files.were_read([(1,)])
    assert not files.changed([(1,)])
    assert [files.changed([(look,)]) for look in range(2, 13)] == [False] * 10 + [True]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Run a daemon with files of rules."""
    made = Site(tmp_path)
    (tmp_path / "deny").write_text("root\n")
    (tmp_path / "never").write_text("")
    made.configure(never=f'["{tmp_path}/never"]\ndeny_accounts = ["{tmp_path}/deny"]')
    made.start()
    try:
        made.ready()
        yield made
    finally:
        made.close()
    assert "Traceback" not in (tmp_path / "stderr").read_text()


READ = "the files of [rules] were read again"


def test_a_file_that_changes_counts_within_seconds(site: Site) -> None:
    """Who lies in a never network is out; a denied account opens nothing more, and keeps what it has."""
    site.login(CLIENT)
    site.login(OTHER)
    wait_for("both may relay", lambda: set(site.windows()) == {CLIENT, OTHER})
    assert READ not in site.said()
    (site.folder / "never").write_text(f"{CLIENT}\n")
    (site.folder / "deny").write_text("alice\n")
    wait_for("one is out", lambda: set(site.windows()) == {OTHER})
    wait_for("both were read", lambda: READ in site.said())
    site.login("192.0.2.12", user="alice")
    site.login("192.0.2.13", user="root")
    wait_for("root may relay", lambda: set(site.windows()) >= {"192.0.2.13"})
    assert set(site.windows()) == {OTHER, "192.0.2.13"}


def test_a_wrong_file_changes_nothing_and_is_said_once(site: Site) -> None:
    """Until it is right again; that is said too. Nothing else has to change than who may read it."""
    bad = f"{site.folder}/never:1: 'x' is no network"
    (site.folder / "never").write_text("x\n")
    wait_for("it is said", lambda: bad in site.said())
    status = state(site)
    assert status is not None
    assert any(bad in warning for warning in status["warnings"])
    (site.folder / "deny").write_text("alice\n")
    wait_for("it is said again, for another file has changed", lambda: site.said().count(bad) == 2)
    site.login(CLIENT)
    wait_for("alice is not denied", lambda: set(site.windows()) == {CLIENT})
    (site.folder / "never").write_text("203.0.113.0/24\n")
    wait_for("it is read", lambda: READ in site.said())
    status = state(site)
    assert status is not None
    assert not any(bad in warning for warning in status["warnings"])
    site.login(OTHER)
    site.login("192.0.2.12", user="bob")
    wait_for("bob may relay", lambda: set(site.windows()) == {CLIENT, "192.0.2.12"})


# Reloading


def reload(site: Site, **changes: str) -> None:
    """Write another configuration and have it read."""
    before = site.said().count("reloaded")
    site.configure(**changes)
    site._started[-1].send_signal(signal.SIGHUP)
    wait_for("it is read again", lambda: site.said().count("reloaded") > before)


def test_other_restricted_networks_count_from_the_reload_on(site: Site) -> None:
    """In the map and in the answers; nobody's window changes."""
    clients = site.folder / "clients"
    reload(site, more=map_section(clients))
    site.login(CLIENT)
    wait_for("the map has it", lambda: in_map(clients.with_suffix(".lmdb")) == {CLIENT})
    before = site.windows()
    reload(site, never='[]\nrestrict = ["192.0.2.0/24"]', more=map_section(clients))
    assert in_map(clients.with_suffix(".lmdb")) == {CLIENT, "192.0.2"}
    assert (permitted(site.socketmap, CLIENT), permitted(site.socketmap, OTHER)) == (True, None)
    assert permitted(site.socketmap, "198.51.100.1") is False
    reload(site, never="[]", more=map_section(clients))
    assert in_map(clients.with_suffix(".lmdb")) == {CLIENT}
    assert permitted(site.socketmap, OTHER) is False
    assert site.windows() == before


def test_another_audit_trail_is_written_from_the_reload_on(site: Site) -> None:
    """Or none; one that cannot be written leaves the old one."""
    first, second = site.folder / "first", site.folder / "second"
    reload(site, grace=f'"30m"\naudit = "{first}"')
    site.login(CLIENT)
    wait_for("it is written", lambda: first.read_text().count("\n") == 1)
    site.configure(grace=f'"30m"\naudit = "{site.folder}/none/audit"')
    site._started[-1].send_signal(signal.SIGHUP)
    wait_for("it is refused", lambda: "cannot be written: No such file or directory" in site.said())
    site.login(OTHER)
    wait_for("it is written", lambda: first.read_text().count("\n") == 2)
    reload(site, grace=f'"30m"\naudit = "{second}"')
    site.login("192.0.2.12")
    wait_for("it is written", lambda: second.read_text().count("\n") == 1)
    assert first.read_text().count("\n") == 2
