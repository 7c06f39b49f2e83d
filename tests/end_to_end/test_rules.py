"""Rules with real servers: who may, how long a session that stays open holds, and networks that are refused."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.lab import CONTRIB, LMDB_PORT, LOG, OUTSIDE, OWN, SOCKETMAP_PORT, Daemon, Lab, rcpt, wait_for

Start = Callable[..., Daemon]

CLIENT, OTHER, STRANGER = "192.0.2.10", "192.0.2.12", "192.0.2.11"
FAR, FAR_STRANGER = "2001:db8:1:2:3:4:5:6", "2001:db8::10"  # in no restricted network
STORE = Path("/var/lib/pop-before-smtp/state.sqlite-wal")
RESTRICT = (CONTRIB / "postfix" / "restrict.cf").read_text()
MUST_LOG_IN = "Client host rejected: this network must log in to POP or IMAP first"
ways = pytest.mark.parametrize("port", [SOCKETMAP_PORT, LMDB_PORT], ids=["socketmap", "lmdb"])


def entries(daemon: Daemon, client: str) -> list[tuple[str, str]]:
    """Return why a client may relay: account and rule of each authorization."""
    done = daemon.command("list", "--json", "--network", client, "--sort", "user")
    assert done.stderr == ""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [(entry["user"], entry["rule"]) for entry in found]


def in_log(text: str) -> bool:
    """Say whether the log holds something."""
    return text in LOG.read_text()


@pytest.fixture
def holding(lab: Lab, start: Start) -> Daemon:
    """Start a daemon that holds sessions after a grace of seconds, and wait until it does."""
    daemon = start(grace="3s", more='hold = "1h"\n')
    assert lab.clients.pop3_login(OTHER)
    wait_for("a logout was seen", lambda: in_log("pop3(alice)") and f"granted client={OTHER}" in daemon.said())
    session = lab.clients.idle(OTHER)
    wait_for("its session is held", lambda: ("alice", "hold") in entries(daemon, OTHER))
    session.logout()
    wait_for("its window is over", lambda: f"expired client={OTHER}" in daemon.said())
    return daemon


@ways
def test_a_session_that_stays_open_keeps_its_client_authorized_until_its_logout(
    lab: Lab, holding: Daemon, port: int
) -> None:
    """The phone waits for mail, its grace is long over, and it sends; when it has logged out, it no longer can."""
    idle = lab.clients.idle(CLIENT)
    wait_for("its grace is over", lambda: entries(holding, CLIENT) == [("alice", "hold")])
    smtp = lab.clients.smtp(CLIENT, port)
    assert rcpt(smtp).accepted
    assert lab.clients.rcpt(CLIENT, port).accepted
    assert lab.clients.rcpt(STRANGER, port).code == 554
    assert f"expired client={CLIENT}" not in holding.said()
    idle.logout()
    wait_for("its window ends", lambda: f"expired client={CLIENT}" in holding.said())
    wait_for("Postfix hears of it within a second", lambda: rcpt(smtp).code == 554, seconds=1)
    assert lab.clients.rcpt(CLIENT, port).code == 554


def test_sessions_of_several_accounts_on_one_address_are_held_apart(lab: Lab, holding: Daemon) -> None:
    """One logs out, the other goes on; that one's connection is lost, and the address is out."""
    alices = lab.clients.idle(CLIENT, "alice")
    bobs = lab.clients.idle(CLIENT, "bob")
    both = [("alice", "hold"), ("bob", "hold")]
    wait_for("their grace is over", lambda: entries(holding, CLIENT) == both)
    bobs.logout()
    wait_for("bob has gone", lambda: entries(holding, CLIENT) == [("alice", "hold")])
    assert lab.clients.rcpt(CLIENT).accepted
    assert lab.clients.rcpt(CLIENT, LMDB_PORT).accepted
    assert f"expired client={CLIENT}" not in holding.said()
    alices.close()
    wait_for("nobody is left", lambda: f"expired client={CLIENT}" in holding.said())
    assert lab.clients.rcpt(CLIENT).code == 554


@pytest.mark.parametrize("rotated", [False, True], ids=["same log", "rotated away"])
def test_a_logout_while_the_daemon_was_dead_ends_its_session(
    lab: Lab, holding: Daemon, start: Start, rotated: bool
) -> None:
    """Two sessions are open when the daemon is killed; the one that ends meanwhile is not held on, the other is."""
    idle = lab.clients.idle(CLIENT)
    kept = lab.clients.idle(OTHER, "bob")
    for client, user in ((CLIENT, "alice"), (OTHER, "bob")):
        wait_for(f"{user}'s grace is over", lambda c=client, u=user: entries(holding, c) == [(u, "hold")])
    holding.stop(signal.SIGKILL)
    before = LOG.read_text().count("imap(alice)")
    idle.logout()
    wait_for("the logout is in the log", lambda: LOG.read_text().count("imap(alice)") > before)
    if rotated:
        lab.rotate()
    again = start(grace="3s", more='hold = "1h"\n')
    assert again.said().rpartition("ready authorizations=")[2].startswith("1")  # never let in again, not for a moment
    wait_for("it is read", lambda: f"expired client={CLIENT}" in again.said())
    assert lab.clients.rcpt(CLIENT).code == 554
    assert lab.clients.rcpt(OTHER).accepted
    kept.logout()
    wait_for("the other ends by its own logout", lambda: f"expired client={OTHER}" in again.said())
    assert lab.clients.rcpt(OTHER).code == 554


def test_a_rotation_in_the_middle_of_a_session_ends_nothing_and_loses_no_logout(lab: Lab, holding: Daemon) -> None:
    """The login stands in the old file, the logout in the new one."""
    idle = lab.clients.idle(CLIENT)
    lab.rotate()
    assert lab.clients.pop3_login(OTHER)
    wait_for("the new file is read", lambda: "was rotated" in holding.said())
    wait_for("its grace is over", lambda: entries(holding, CLIENT) == [("alice", "hold")])
    assert lab.clients.rcpt(CLIENT).accepted
    idle.logout()
    wait_for("its window ends", lambda: f"expired client={CLIENT}" in holding.said())
    assert lab.clients.rcpt(CLIENT).code == 554


def test_nothing_is_held_before_a_logout_was_seen(lab: Lab, start: Start) -> None:
    """Whose logouts never come would stretch every window; the first one that comes brings the hold into force.

    One that somebody on this host made up does not: nobody logged in to that session.
    """
    daemon = start(grace="3s", more='hold = "1h"\n')
    forged = "imap(alice)<7><forged>: Disconnected: Logged out in=1 out=1"
    subprocess.run(["logger", "-p", "mail.info", "-t", "dovecot", forged], check=True)
    wait_for("the forged logout is written", lambda: in_log("dovecot: imap(alice)<7><forged>: "))
    early = lab.clients.idle(CLIENT)
    wait_for("its window ends with its grace", lambda: f"expired client={CLIENT}" in daemon.said())
    assert lab.clients.rcpt(CLIENT).code == 554
    assert lab.clients.pop3_login(OTHER)
    wait_for("a logout is written", lambda: in_log("pop3(alice)"))
    later = lab.clients.idle(OTHER)
    wait_for("a later session is held", lambda: entries(daemon, OTHER) == [("alice", "hold")])
    assert lab.clients.rcpt(OTHER).accepted
    assert entries(daemon, CLIENT) == []
    assert lab.clients.rcpt(CLIENT).code == 554
    early.logout()
    later.logout()
    wait_for("the later one ends", lambda: f"expired client={OTHER}" in daemon.said())


def test_an_account_that_may_not_opens_nothing(lab: Lab, start: Start) -> None:
    """It logs in like the others; deny_accounts wins over accounts, in upper and lower case."""
    daemon = start(more='[rules]\naccounts = ["bob", "*@lab.example"]\ndeny_accounts = ["CAROL*"]\n')
    for client, user in ((CLIENT, "bob"), (STRANGER, "carol@lab.example"), (OTHER, "alice")):
        assert lab.clients.imap_login(client, user)
    wait_for("bob is granted", lambda: f"granted client={CLIENT} user=bob" in daemon.said())
    wait_for("all are decided", lambda: daemon.said().count("refused client=") == 2)
    assert f"refused client={STRANGER} user=carol@lab.example" in daemon.said()
    assert 'reason="account that is denied"' in daemon.said()
    assert f"refused client={OTHER} user=alice" in daemon.said()
    assert 'reason="account that opens no relay"' in daemon.said()
    assert lab.clients.rcpt(CLIENT).accepted
    assert [lab.clients.rcpt(client).code for client in (STRANGER, OTHER)] == [554, 554]


def test_a_file_of_accounts_is_read_again_when_it_changes(lab: Lab, start: Start) -> None:
    """Without a signal; one that is wrong changes nothing, and `status` says so until it is right again."""
    accounts = lab.folder / "accounts"
    accounts.write_text("alice  # the scanner in the hall\n")
    daemon = start(more=f'[rules]\naccounts = ["{accounts}"]\n')
    assert lab.clients.imap_login(CLIENT, "bob")
    wait_for("bob is refused", lambda: f"refused client={CLIENT} user=bob" in daemon.said())
    assert lab.clients.rcpt(CLIENT).code == 554
    read = daemon.said().count("were read again")
    accounts.write_text("alice\nbob\n")
    wait_for("the file is read", lambda: daemon.said().count("were read again") > read)
    assert lab.clients.imap_login(CLIENT, "bob")
    wait_for("bob is granted", lambda: f"granted client={CLIENT} user=bob" in daemon.said())
    assert lab.clients.rcpt(CLIENT).accepted
    accounts.unlink()
    wait_for("it is missed", lambda: f"the rules stay as they were: {accounts}: cannot be read" in daemon.said())
    assert f"{accounts}: cannot be read: No such file or directory" in daemon.command("status").stdout
    assert lab.clients.imap_login(OTHER, "bob")
    wait_for("the old rules go on", lambda: f"granted client={OTHER} user=bob" in daemon.said())
    read = daemon.said().count("were read again")
    accounts.write_text("alice\n")
    wait_for("it is read again", lambda: daemon.said().count("were read again") > read)
    assert lab.clients.imap_login(STRANGER, "bob")
    wait_for("bob is refused again", lambda: f"refused client={STRANGER} user=bob" in daemon.said())
    assert lab.clients.rcpt(STRANGER).code == 554
    assert daemon.command("status").returncode == 0


@pytest.fixture
def postfix() -> Iterator[Callable[[str], None]]:
    """Add lines to main.cf, and take them back."""
    main = Path("/etc/postfix/main.cf")
    before = main.read_text()

    def add(lines: str) -> None:
        main.write_text(before + lines)
        subprocess.run(["postfix", "reload"], check=True, capture_output=True)

    yield add
    main.write_text(before)
    subprocess.run(["postfix", "reload"], check=True, capture_output=True)


def asked_by(way: str) -> str:
    """Return the lines for main.cf with another table or service in the map's place, and no other check beside them."""
    table = "check_client_access lmdb:/var/lib/pop-before-smtp/clients"
    (policy,) = [line for line in RESTRICT.splitlines() if line.startswith("#   check_policy_service ")]
    others = {
        "lmdb": table,
        "cdb": table.replace("lmdb:", "cdb:"),
        "socketmap": "check_client_access socketmap:unix:pop-before-smtp/map:clients",
        "policy": policy.removeprefix("#   "),
    }
    head, found, tail = RESTRICT.rpartition(f"    {table}\n")
    assert found
    return f"{head}    {others[way]}\n{tail}\nsmtpd_recipient_restrictions =\n"


MAP = '[[mta]]\ntype = "postfix"\nmap = "{}:/var/lib/pop-before-smtp/clients"\n'
LOOKUPS = '[[lookup]]\ntype = "socketmap"\n[[lookup]]\ntype = "policy"\n'


@pytest.mark.parametrize(
    ("way", "network", "dead"),
    [
        ("lmdb", "192.0.2.0/24", 554),
        ("cdb", "192.0.2.0/24", 554),
        ("socketmap", "192.0.2.8/29", 451),  # which is why restrict.cf warns of it
        ("policy", "192.0.2.8/29", 250),
    ],
)
def test_a_restricted_network_sends_nothing_but_for_its_client_that_logged_in(
    lab: Lab, start: Start, postfix: Callable[[str], None], way: str, network: str, dead: int
) -> None:
    """Mail for our own domains too is refused there; who logged in may relay; elsewhere all is as it was."""
    top, mta = ("", MAP.format(way)) if way in ("lmdb", "cdb") else ("mta = []\n", "")
    daemon = start(more=f'{top}[rules]\nrestrict = ["{network}"]\n{LOOKUPS}{mta}')
    postfix(asked_by(way))
    for to in (OWN, OUTSIDE):
        refused = lab.clients.rcpt(CLIENT, to=to)
        assert (refused.code, MUST_LOG_IN in refused.text) == (554, True)
    assert lab.clients.rcpt(FAR, to=OWN).accepted
    assert lab.clients.rcpt(FAR).code == 554
    assert MUST_LOG_IN not in lab.clients.rcpt(FAR).text
    assert lab.clients.pop3_login(CLIENT)
    wait_for("it is let through", lambda: lab.clients.rcpt(CLIENT).accepted)
    assert lab.clients.rcpt(CLIENT, to=OWN).accepted
    assert [lab.clients.rcpt(STRANGER, to=to).code for to in (OWN, OUTSIDE)] == [554, 554]
    wait_for("the store is written", lambda: b"192.0.2.10" in STORE.read_bytes())
    daemon.stop(signal.SIGKILL)
    assert lab.clients.rcpt(STRANGER, to=OWN).code == dead
    assert not lab.clients.rcpt(STRANGER).accepted
    assert daemon.command("sweep").returncode == 0
    assert lab.clients.rcpt(STRANGER, to=OWN).code == dead
    assert lab.clients.rcpt(CLIENT, to=OWN).accepted == (way != "socketmap")
    assert lab.clients.rcpt(FAR, to=OWN).accepted == (way != "socketmap")


def test_a_client_of_a_restricted_network_is_refused_again_when_its_window_ends(
    lab: Lab, start: Start, postfix: Callable[[str], None]
) -> None:
    """In the session in which it was let through, by the very lines that are shipped."""
    daemon = start(grace="3s", more='[rules]\nrestrict = ["192.0.2.0/24"]\n')
    postfix(RESTRICT)
    assert lab.clients.pop3_login(CLIENT)
    wait_for("it is let through", lambda: lab.clients.rcpt(CLIENT, to=OWN).accepted)
    smtp = lab.clients.smtp(CLIENT)
    assert rcpt(smtp, OWN).accepted
    wait_for("its window ends", lambda: f"expired client={CLIENT}" in daemon.said())
    wait_for("it is refused", lambda: MUST_LOG_IN in rcpt(smtp, OWN).text, seconds=1)
    assert lab.clients.rcpt(FAR_STRANGER, to=OWN).accepted
