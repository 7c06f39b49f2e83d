"""What explain says, word for word: why somebody may relay, or not."""

import os
import re
from datetime import UTC, datetime, timedelta

from tests.commands.explaining import LOG_IN, NONE_SEEN, RULES, SEEN, begin, explain, local, log_in, login, write
from tests.site import CLIENT, OTHER, Site, wait_for


def test_who_logged_in_may_relay(site: Site) -> None:
    """Which login of whom, in which line of which log, every rule in its order, and what each output says."""
    begin(site)
    until = log_in(site)
    at = local(datetime.fromisoformat(site.windows()[CLIENT]) - timedelta(minutes=30))
    done = site.command("explain", "--config", site.config, CLIENT)
    lines = re.sub(r"\bid [0-9a-f]{12}\b", "id ID", done.stdout.replace(str(site.folder), "SITE")).splitlines()
    assert done.returncode == 0
    assert lines == [
        f"{CLIENT} may relay until {until}, because of:",
        f"  {CLIENT} until {until}: login of alice (imap, dovecot) in SITE/mail.log, offset 0, id ID",
        SEEN,
        f"  {at} {CLIENT} alice imap granted (SITE/mail.log, offset 0)",
        f"a login of alice from {CLIENT} now:",
        *(f"  passes  {rule}" for rule in RULES),
        "socketmap:unix:SITE/map: may relay",
        "lmdb:SITE/clients: may relay",
    ]


def test_nobody_logged_in_from_there(site: Site) -> None:
    """Then logging in is the way out, or a grant by hand."""
    begin(site)
    log_in(site, OTHER)
    lines = explain(site, CLIENT, 1)
    assert lines[:2] == [f"{CLIENT} may not relay", NONE_SEEN]
    assert lines[-3:] == [
        "socketmap:unix:SITE/map: not found",
        "lmdb:SITE/clients: not found",
        LOG_IN,
    ]
    assert not [line for line in lines if "FAILS" in line]


def test_an_account_opens_relay_for_each_address_that_it_logged_in_from(site: Site) -> None:
    """Upper and lower case are the same; other accounts of these addresses are not shown."""
    begin(site)
    ends = [log_in(site, client) for client in (CLIENT, OTHER)]
    log_in(site, "192.0.2.12", "bob")
    lines = explain(site, "ALICE", 0)
    assert lines[0] == "account ALICE: opens relay for:"
    assert sorted(re.sub(r"offset \d+", "offset N", line) for line in lines[1:3]) == [
        f"  {client} until {end}: login of alice (imap, dovecot) in SITE/mail.log, offset N, id ID"
        for client, end in zip((CLIENT, OTHER), ends, strict=True)
    ]
    assert lines[3] == SEEN
    assert [line.split()[2:5] for line in lines[4:6]] == [[OTHER, "alice", "imap"], [CLIENT, "alice", "imap"]]
    assert lines[6:8] == [f"a login of alice from {OTHER} now:", "  passes  (every rule)"]
    assert sorted(lines[8:]) == sorted(
        f"{name}: {client} may relay"
        for name in ("socketmap:unix:SITE/map", "lmdb:SITE/clients")
        for client in (CLIENT, OTHER)
    )


def test_nobody_has_heard_of_an_account(site: Site) -> None:
    """It may be misspelt; there is no address to speak of."""
    begin(site)
    lines = explain(site, "alcie", 1)
    assert lines[:2] == ["account alcie: opens relay for no address now", NONE_SEEN]
    assert lines[-1] == LOG_IN.replace(" from there", "")


def test_an_account_that_is_denied(site: Site) -> None:
    """Its logins were seen and refused, and the setting is named."""
    begin(site, never='[]\ndeny_accounts = ["root"]')
    site.login(CLIENT, user="root")
    wait_for("it is refused", lambda: "account that is denied" in site.said())
    lines = explain(site, CLIENT, 1)
    at = " ".join(lines[2].split()[:2])
    assert lines == [
        f"{CLIENT} may not relay",
        SEEN,
        f"  {at} {CLIENT} root imap refused: account that is denied (SITE/mail.log, offset 0)",
        f"a login of root from {CLIENT} now:",
        "  passes  …",
        "  FAILS   account that is denied",
        "  passes  …",
        "socketmap:unix:SITE/map: not found",
        "lmdb:SITE/clients: not found",
        "to let it relay: take the account out of [rules] deny_accounts",
    ]


def test_a_service_that_opens_no_relay(site: Site) -> None:
    """The login was good, by the wrong door."""
    begin(site, never='[]\nservices = ["pop3"]')
    site.login(CLIENT)
    wait_for("it is refused", lambda: "service that opens no relay" in site.said())
    lines = explain(site, "alice", 1)
    assert lines[0] == "account alice: opens relay for no address now"
    assert lines[2].endswith(f" {CLIENT} alice imap refused: service that opens no relay (SITE/mail.log, offset 0)")
    assert lines[3:] == [
        f"a login of alice from {CLIENT} now:",
        "  passes  …",
        "  FAILS   service that opens no relay",
        "  passes  …",
        "to let it relay: log in to a service of [rules] services",
    ]


def test_a_network_that_is_never_authorized(site: Site) -> None:
    """There is no way out, and it is said why."""
    begin(site, never='["192.0.2.0/24"]')
    site.login(CLIENT)
    wait_for("it is refused", lambda: "never-authorized network" in site.said())
    lines = explain(site, CLIENT, 1)
    assert lines[2].endswith(f" {CLIENT} alice imap refused: never-authorized network (SITE/mail.log, offset 0)")
    assert "  FAILS   never-authorized network" in lines
    assert lines[-1] == ("to let it relay: nothing: logins from there prove nothing about who sends; see [rules] never")


def test_a_limit_that_is_reached(site: Site) -> None:
    """Nobody is evicted for it: who came first stays, the next account is refused and told what to wait for."""
    begin(site, never="[]\nmax_accounts_per_address = 1")
    until = log_in(site)
    site.login(CLIENT, user="bob")
    wait_for("bob is refused", lambda: "limit: accounts on one address" in site.said())
    lines = explain(site, "bob", 1)
    assert lines[0] == "account bob: opens relay for no address now"
    assert lines[2].endswith(f" {CLIENT} bob imap refused: limit: accounts on one address (SITE/mail.log, offset 149)")
    assert "  FAILS   limit: accounts on one address" in lines
    assert lines[-1] == (
        "to let it relay: wait until another account's window there ends, or raise [rules] max_accounts_per_address"
    )
    assert explain(site, CLIENT, 0)[0] == f"{CLIENT} may relay until {until}, because of:"


def test_a_clock_that_is_ahead(site: Site) -> None:
    """A login of tomorrow opens nothing; one that came now would."""
    begin(site)
    tomorrow = datetime.now(UTC) + timedelta(hours=20)
    write(site, login(b"alice", CLIENT), tomorrow)
    wait_for("it is refused", lambda: "time stamp in the future" in site.said())
    lines = explain(site, CLIENT, 1)
    assert lines[:3] == [
        f"{CLIENT} may not relay",
        SEEN,
        f"  {local(tomorrow)} {CLIENT} alice imap refused: time stamp in the future (SITE/mail.log, offset 0)",
    ]
    assert lines[-1] == "to let it relay: set the clock of the host that writes the log"


def test_a_window_that_failed_logins_have_ended(site: Site) -> None:
    """They stand beside the login that had opened it."""
    begin(site, never="[]\nrevoke_after_failures = 2")
    log_in(site)
    failure = (
        f"imap-login: Disconnected: Connection closed (auth failed, 1 attempts in 2 secs): user=<bob>, method=PLAIN,"
        f" rip={CLIENT}, lip=198.51.100.1, session=<def>"
    )
    for _ in range(2):
        write(site, failure.encode())
    wait_for("its window ends", lambda: CLIENT not in site.windows())
    lines = explain(site, CLIENT, 1)
    assert lines[:2] == [f"{CLIENT} may not relay", SEEN]
    assert [line.split()[2:] for line in lines[2:5]] == [
        [CLIENT, "bob", "imap", "failed", "login", "(SITE/mail.log,", "offset", lines[2].split()[-1]],
        [CLIENT, "bob", "imap", "failed", "login", "(SITE/mail.log,", "offset", "149)"],
        [CLIENT, "alice", "imap", "granted", "(SITE/mail.log,", "offset", "0)"],
    ]
    assert lines[-1] == LOG_IN


def test_somebody_revoked_for_a_while(site: Site) -> None:
    """Who, when, why, and until when no login counts."""
    begin(site)
    log_in(site)
    done = site.command("revoke", "--config", site.config, CLIENT, "--for", "1d", "--reason", "sends spam")
    end = done.stdout.splitlines()[1].partition(" until ")[2]
    lines = explain(site, CLIENT, 1)
    assert lines[0] == f"{CLIENT} may not relay"
    at = lines[1].partition(" at ")[2][:19]
    assert lines[1] == (
        f"revoked: {CLIENT} at {at} by uid {os.getuid()} (sends spam); older logins count no more;"
        f" no login counts until {end}"
    )
    assert lines[2] == SEEN
    assert lines[4:] == [
        f"a login of alice from {CLIENT} now:",
        "  passes  …",
        "  FAILS   revoked by hand",
        "  passes  …",
        "socketmap:unix:SITE/map: not found",
        "lmdb:SITE/clients: not found",
        "to let it relay: wait until the revocation ends, log in then, or `pop-before-smtp grant ADDRESS`",
    ]


def test_somebody_granted_by_hand(site: Site) -> None:
    """Who and why; no login was needed."""
    begin(site)
    done = site.command("grant", "--config", site.config, CLIENT, "--for", "2h", "--reason", "the scanner")
    until = done.stdout.strip().partition(" until ")[2]
    lines = explain(site, CLIENT, 0)
    assert lines[:3] == [
        f"{CLIENT} may relay until {until}, because of:",
        f"  {CLIENT} until {until}: granted by hand by uid {os.getuid()}: the scanner",
        NONE_SEEN,
    ]
    assert lines[-2:] == ["socketmap:unix:SITE/map: may relay", "lmdb:SITE/clients: may relay"]


def test_a_session_that_is_open(site: Site) -> None:
    """Both reasons are shown, the grace period and the session; when it has ended, only what is left."""
    site.configure()
    site.config.write_text('hold = "12h"\n' + site.config.read_text())
    site.start()
    site.ready()
    write(site, login(b"bob", OTHER, session=b"one"))
    write(site, b"imap(bob)<7><one>: Disconnected: Logged out in=1 out=2")
    write(site, login(b"alice", CLIENT, session=b"two"))
    wait_for("the session is held", lambda: "its session" in "".join(explain(site, CLIENT, 0)))
    first, *entries = explain(site, CLIENT, 0)[:3]
    short, long = sorted(line.partition(" until ")[2] for line in entries)
    assert first == f"{CLIENT} may relay until {long[:19]}, because of:"
    assert long[19:] == ": its session is open; login of alice" + short[19:].removeprefix(": login of alice")
    assert datetime.fromisoformat(long[:19]) - datetime.fromisoformat(short[:19]) == timedelta(hours=11, minutes=30)


def test_an_address_that_a_map_cannot_hold(site: Site) -> None:
    """The socketmap knows it; of the map it is said why not."""
    begin(site)
    client = "2001:db8::10"
    log_in(site, client)
    lines = explain(site, "2001:0DB8::0:10", 0)
    assert lines[0].startswith("2001:0DB8::0:10 may relay until ")
    assert lines[-2:] == [
        "socketmap:unix:SITE/map: may relay",
        "lmdb:SITE/clients: cannot hold it: as a key it would let other addresses in too;"
        " the socketmap knows it exactly",
    ]


def test_an_address_of_a_network_whose_prefix_is_granted(site: Site) -> None:
    """The window is the network's; each of its addresses may relay through it, by every output."""
    site.configure(never="[]\nipv6_prefix = 64", more=f'[[mta]]\ntype = "exim"\nmap = "{site.folder}/clients"')
    site.start()
    site.ready()
    site.login("2001:db8:1:2::10")
    wait_for("it is granted", lambda: "2001:db8:1:2::/64" in site.windows())
    until = local(site.windows()["2001:db8:1:2::/64"])
    lines = explain(site, "2001:db8:1:2::77", 0)
    assert lines[:2] == [
        f"2001:db8:1:2::77 may relay until {until}, because of:",
        f"  2001:db8:1:2::/64 until {until}: login of alice (imap, dovecot) in SITE/mail.log, offset 0, id ID",
    ]
    assert lines[-2:] == ["socketmap:unix:SITE/map: may relay", "SITE/clients: may relay"]


def test_an_address_in_a_network_that_is_restricted(site: Site) -> None:
    """The mail server is told to refuse it, which is more than not to find it; elsewhere nothing is said of that."""
    begin(site, never='[]\nrestrict = ["192.0.2.0/24"]')
    lines = explain(site, CLIENT, 1)
    assert lines[-3:] == [
        "socketmap:unix:SITE/map: refused, for its network is restricted",
        "lmdb:SITE/clients: refused, for its network is restricted",
        LOG_IN,
    ]
    assert explain(site, "203.0.113.9", 1)[-3:-1] == [
        "socketmap:unix:SITE/map: not found",
        "lmdb:SITE/clients: not found",
    ]
    log_in(site)
    assert explain(site, CLIENT, 0)[-2:] == [
        "socketmap:unix:SITE/map: may relay",
        "lmdb:SITE/clients: may relay",
    ]
