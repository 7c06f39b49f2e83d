"""What contrib/postfix says works as it stands there: the tests put those very files into Postfix."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.lab import CONTRIB, OUTSIDE, OWN, Daemon, Lab, answers, wait_for

Start = Callable[..., Daemon]

LISTED, LISTED_STRANGER, STRANGER = "192.0.2.13", "192.0.2.14", "192.0.2.11"
BOTH = '[[lookup]]\ntype = "socketmap"\n[[lookup]]\ntype = "policy"\n'
PERMIT = '[[mta]]\ntype = "postfix"\nmap = "lmdb:/var/lib/pop-before-smtp/clients"\nresult = "permit"\n'
POSTSCREEN_PORT = 2530
POSTSCREEN = f"""
{POSTSCREEN_PORT} inet n - y - 1 postscreen
smtpd pass - - y - - smtpd
dnsblog unix - - y - 0 dnsblog
"""


@pytest.fixture
def postfix() -> Iterator[Callable[[str, str], None]]:
    """Add lines to main.cf and master.cf, and take them back."""
    main, master = Path("/etc/postfix/main.cf"), Path("/etc/postfix/master.cf")
    before = main.read_text(), master.read_text()

    def add(main_lines: str, master_lines: str = "") -> None:
        main.write_text(before[0] + main_lines)
        master.write_text(before[1] + master_lines)
        subprocess.run(["postfix", "reload"], check=True, capture_output=True)

    yield add
    main.write_text(before[0])
    master.write_text(before[1])
    subprocess.run(["postfix", "reload"], check=True, capture_output=True)


def test_the_policy_service_spares_roaming_clients_the_blocklists(
    lab: Lab, start: Start, postfix: Callable[[str, str], None]
) -> None:
    """A listed client that logged in can send, a listed stranger cannot; with the daemon dead inbound mail goes on."""
    postfix((CONTRIB / "postfix" / "policy.cf").read_text(), "")
    daemon = start(more=BOTH)
    assert lab.clients.rcpt(LISTED, to=OWN).code == 554
    assert lab.clients.pop3_login(LISTED)
    wait_for("the login is granted", lambda: f"granted client={LISTED} " in daemon.said())
    assert lab.clients.rcpt(LISTED, to=OWN).accepted
    assert lab.clients.rcpt(LISTED, to=OUTSIDE).accepted
    assert "blocked using rbl.example" in lab.clients.rcpt(LISTED_STRANGER, to=OWN).text
    daemon.stop()
    assert lab.clients.rcpt(STRANGER, to=OWN).accepted
    assert "blocked using rbl.example" in lab.clients.rcpt(LISTED_STRANGER, to=OWN).text
    assert "blocked using rbl.example" in lab.clients.rcpt(LISTED, to=OWN).text


def test_postscreen_lets_an_authorized_client_through_its_blocklists(
    lab: Lab, start: Start, postfix: Callable[[str, str], None]
) -> None:
    """Both are listed, one has logged in."""
    daemon = start(more=PERMIT)
    lines = (CONTRIB / "postfix" / "postscreen.cf").read_text() + "postscreen_greet_wait = 1s\n"
    postfix(lines, POSTSCREEN)
    wait_for("postscreen answers", lambda: answers("127.0.0.1", POSTSCREEN_PORT))
    assert lab.clients.pop3_login(LISTED)
    wait_for(
        "the login is published",
        lambda: "published map=" in daemon.said() and f"granted client={LISTED} " in daemon.said(),
    )
    wait_for("it is let through", lambda: lab.clients.rcpt(LISTED, POSTSCREEN_PORT).accepted)
    refused = lab.clients.rcpt(LISTED_STRANGER, POSTSCREEN_PORT, OWN)
    assert (refused.code, "rbl.example" in refused.text) == (550, True)


def test_the_submission_service_lets_an_authorized_client_relay(
    lab: Lab, start: Start, postfix: Callable[[str, str], None]
) -> None:
    """Its own restrictions override those of main.cf."""
    postfix("", (CONTRIB / "postfix" / "submission.master.cf").read_text())
    daemon = start()
    wait_for("submission answers", lambda: answers("127.0.0.1", 587))
    assert lab.clients.rcpt("192.0.2.10", 587).code == 554
    assert lab.clients.pop3_login("192.0.2.10")
    wait_for("the login is granted", lambda: "granted client=192.0.2.10 " in daemon.said())
    assert lab.clients.rcpt("192.0.2.10", 587).accepted
    assert lab.clients.rcpt(STRANGER, 587).code == 554
