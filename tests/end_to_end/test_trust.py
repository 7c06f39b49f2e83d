"""Whatever strangers write into the log, nobody is let in who did not log in."""

import smtplib
import socket
from collections.abc import Callable

from tests.end_to_end.lab import HOSTILE_ACCOUNT, LOG, SERVER4, Daemon, Lab, wait_for

Start = Callable[..., Daemon]

VICTIM = "9.9.9.9"
FORGED = f"dovecot: pop3-login: Login: user=<alice>, method=PLAIN, rip={VICTIM}, lip=127.0.0.1, mpid=1, session=<AAAA>"
HOSTILE_NAMES = (
    f"m>, method=PLAIN, rip={VICTIM}, lip=1.1.1.1, mpid=1, session=<a>",
    f"Login: user=<alice>, method=PLAIN, rip={VICTIM}, lip=127.0.0.1",
    f"x\x1b[31m> rip={VICTIM}",
    "\u202eevil",
)


def test_text_of_a_stranger_in_smtp_commands_opens_nothing(lab: Lab, start: Start) -> None:
    """HELO, sender and recipient come into the same log, under Postfix's own name."""
    daemon = start()

    def attack() -> None:
        with socket.create_connection((SERVER4, 25), timeout=10, source_address=("192.0.2.11", 0)) as raw:
            lines = raw.makefile("rwb")
            lines.readline()
            for command in (
                f"HELO {FORGED}",
                f'MAIL FROM:<"{FORGED}"@x.example>',
                f'RCPT TO:<"{FORGED}"@y.example>',
                FORGED,
            ):
                lines.write(command.encode() + b"\r\n")
                lines.flush()
                lines.readline()

    lab.clients(attack)
    _then_a_login_is_seen(lab, daemon)


def test_hostile_names_in_failed_logins_open_nothing(lab: Lab, start: Start) -> None:
    """Dovecot prints the name of a failed login unescaped."""
    daemon = start()
    for name in HOSTILE_NAMES:
        assert not lab.clients.pop3_login("192.0.2.11", name, "wrong")
    assert not lab.clients.imap_login("192.0.2.11", HOSTILE_NAMES[0], "wrong")
    _then_a_login_is_seen(lab, daemon)
    assert VICTIM in LOG.read_text(errors="replace")


def test_a_real_account_with_a_hostile_name_opens_its_own_address_only(lab: Lab, start: Start) -> None:
    """Where Dovecot allows all characters, an account may look like the rest of a line."""
    name = HOSTILE_ACCOUNT
    daemon = start()
    assert lab.clients.pop3_login("192.0.2.10", name)
    wait_for("the login is granted", lambda: "granted client=192.0.2.10 " in daemon.said())
    assert f'user="{name}"' in daemon.said()
    assert VICTIM not in daemon.command("list", "--json").stdout.replace(name, "")
    assert lab.clients.rcpt("192.0.2.10").accepted


def test_a_login_of_the_host_itself_opens_nothing(lab: Lab, start: Start) -> None:
    """A webmail or a proxy on this host stands for everybody."""
    import poplib

    daemon = start()
    for own in ("127.0.0.1", SERVER4):
        pop = poplib.POP3(own, timeout=10)
        pop.user("alice")
        pop.pass_("secret")
        pop.quit()
    wait_for("both are refused", lambda: daemon.said().count("refused client=") == 2)
    assert 'client=127.0.0.1 user=alice reason="never-authorized network"' in daemon.said()
    assert f'client={SERVER4} user=alice reason="address of this host"' in daemon.said()
    assert daemon.command("list", "--json").stdout == "[]\n"


def _then_a_login_is_seen(lab: Lab, daemon: Daemon) -> None:
    """Log in for real behind the attack: once that is granted, all before it was read, and only that was granted."""
    assert lab.clients.pop3_login("192.0.2.10")
    wait_for("the real login is granted", lambda: "granted client=192.0.2.10 " in daemon.said())
    assert daemon.said().count("granted client=") == 1
    with smtplib.SMTP(SERVER4, 25, timeout=10) as smtp:
        assert smtp.noop()[0] == 250
