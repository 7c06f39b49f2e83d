"""For each pattern that the classic ships: where a correct reading and the classic's agree, ours is the same."""

import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popbeforesmtp.classic import conf, meaning, reading
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.plan import Plan, Weight
from popbeforesmtp.classic.reprocess import reprocess
from popbeforesmtp.model import EventKind
from tests import samples
from tests.classic.test_conf import plan_of

FOLDER = Path(__file__).parent / "conf"

LOGS: dict[str, list[tuple[str, str | None]]] = {
    "untouched": [
        ("ipop3d[21]: Login user=alice host=client.example [192.0.2.10] nmsgs=0/0", "192.0.2.10"),
        ("imapd[22]: Authenticated user=bob host=[192.0.2.11]", "192.0.2.11"),
        ("imapd[22]: Login failed user=bob auth=bob host=[192.0.2.12]", None),
        ("imapd[22]: Logout user=bob host=[192.0.2.11]", None),
    ],
    "cyrus": [
        ("imap[1]: login: client.example [192.0.2.17] alice plain User logged in", "192.0.2.17"),
        ("cyrus/pop3[1]: login: [192.0.2.18] bob plaintext+TLS User logged in", "192.0.2.18"),
        ("imap[1]: badlogin: client.example [192.0.2.19] plain [SASL(-13): authentication failure: x]", None),
    ],
    "cyrus-old": [("imapd[1]: login: client.example[192.0.2.17] alice plaintext User logged in", "192.0.2.17")],
    "courier": [
        ("pop3d: LOGIN, user=alice, ip=[::ffff:192.0.2.20]", "192.0.2.20"),
        ("imapd-ssl: LOGIN, user=bob, ip=[192.0.2.21], protocol=IMAP", "192.0.2.21"),
        ("pop3d: LOGIN FAILED, user=carol, ip=[::ffff:192.0.2.22]", None),
        ("pop3d: LOGOUT, user=alice, ip=[::ffff:192.0.2.20], top=0, retr=0, time=1", None),
    ],
    "dovecot": [
        ("dovecot: imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.23, lip=198.51.100.1, TLS", "192.0.2.23"),
        ("dovecot: pop3-login: Login: user=<bob>, method=PLAIN, rip=::ffff:192.0.2.24, lip=::1, mpid=7", "192.0.2.24"),
        ("dovecot: imap-login: Disconnected (auth failed, 1 attempts): user=<bob>, rip=192.0.2.25, lip=::1", None),
    ],
    "gnu-pop3d": [
        ("gnu-pop3d[1]: User 'alice' logged in with mailbox '/var/mail/alice' from 192.0.2.26", "192.0.2.26")
    ],
    "qpopper": [('popper[1]: (v4.0.5) POP login by user "alice" at (client.example) 192.0.2.27', "192.0.2.27")],
    "qpopper-stats": [
        ("popper[1]: Stats: alice 0 0 0 0 client.example 192.0.2.28", "192.0.2.28"),
        ("popper[1]: Stats: alice 0 0 0 0 999.1.1.1", None),
    ],
    "cucipop": [("cucipop[1]: alice 192.0.2.29 5, 0 (0), 0 (0)", "192.0.2.29")],
    "popa3d-patched": [
        ("popa3d[1]: Authentication passed for alice -- [192.0.2.30]", "192.0.2.30"),
        ("popa3d[1]: Authentication failed for alice -- [192.0.2.30]", None),
    ],
    "popa3d-lines": [
        ("popa3d[3]: Session from 192.0.2.31", None),
        ("popa3d[4]: Session from 192.0.2.32", None),
        ("popa3d[3]: Authentication passed for alice", "192.0.2.31"),
        ("popa3d[4]: Authentication failed for bob", None),
    ],
    "perdition": [
        (
            'perdition[1]: Auth: 192.0.2.33->198.51.100.1 user="alice" server="imap" port="143" status="ok"',
            "192.0.2.33",
        ),
        ('perdition[1]: Auth: 192.0.2.33->198.51.100.1 user="bob" server="imap" port="143" status="failed: x"', None),
    ],
    "spop3d": [("spop3d[1]: user alice authenticated - 192.0.2.34", "192.0.2.34")],
    "own-lines": [
        ("mypopd[3]: peer 192.0.2.35", None),
        ("mypopd[3]: anything else", None),
        ("mypopd[3]: welcome alice", "192.0.2.35"),
        ("mypopd[3]: farewell", None),
        ("other[3]: welcome alice", None),
    ],
    "one-host": [
        ("mypopd[3]: user=alice #1 from 192.0.2.36", "192.0.2.36"),
        ("mypopd[3]: user=alice #1 from 192.0.2.36 ", None),
    ],
    "many": [
        ("dovecot: imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.37, lip=198.51.100.1", "192.0.2.37"),
        ("pop3d: LOGIN, user=alice, ip=[::ffff:192.0.2.38]", "192.0.2.38"),
        ("pop3d: LOGOUT, user=alice, ip=[::ffff:192.0.2.38], top=0, retr=0, time=1", None),
        ("mypopd: login from 192.0.2.39", "192.0.2.39"),
    ],
}


def write(folder: Path, name: str) -> Path:
    """Write a log of one line a minute."""
    log = folder / "mail.log"
    log.write_text("".join(f"Nov 22 07:{n:02}:00 mail1 {line}\n" for n, (line, _) in enumerate(LOGS[name])))
    return log


def logins(log: Path, plan: Plan) -> list[tuple[int, str]]:
    """Return the logins that we read."""
    return [
        (line.number, str(line.event.client))
        for line in reading.read(str(log), plan)
        if line.event is not None and line.event.kind is EventKind.LOGIN and line.event.user
    ]


@pytest.mark.parametrize("name", LOGS)
def test_the_same_addresses_from_the_same_lines(name: str, tmp_path: Path) -> None:
    """What the classic's own pattern takes out of a log, as far as it is right, ours does too."""
    log, plan = write(tmp_path, name), plan_of(FOLDER / f"{name}.pl")
    right = [(number, address) for number, (_, address) in enumerate(LOGS[name], 1) if address is not None]
    classic = reading.ClassicReader(plan)
    found = [(number, classic.read(line)) for number, line in reading.lines(str(log))]
    assert [(number, each[1]) for number, each in found if each and each[0] is EventKind.LOGIN][: len(right)] == right
    assert logins(log, plan) == right


@pytest.mark.parametrize("name", [*LOGS])
def test_with_the_classics_own_patterns_too(name: str, tmp_path: Path) -> None:
    """--classic-patterns reads by the administrator's pattern, and takes the same from these."""
    log = write(tmp_path, name)
    plan = plan_of(FOLDER / f"{name}.pl", classic_patterns=True)
    right = [(number, address) for number, (_, address) in enumerate(LOGS[name], 1) if address is not None]
    assert plan.formats
    assert all(each.startswith("classic-") for each in plan.formats)
    assert logins(log, plan) == right


@pytest.mark.parametrize("name", LOGS)
def test_the_same_windows(name: str, tmp_path: Path) -> None:
    """--reprocess says of each login that it was found, and until when, in seconds since 1970: line time and grace."""
    log, plan = write(tmp_path, name), plan_of(FOLDER / f"{name}.pl")
    plan.source, plan.debug, plan.trusted, plan.hold = str(log), True, [], None
    said: list[str] = []
    reprocess(plan, said.append)
    year = next(line.time.year for line in reading.read(str(log), plan) if line.time)
    want = []
    for minute, (_, address) in enumerate(LOGS[name]):
        if address is not None:
            stamp = f"Nov 22 07:{minute:02}:00"
            end = int(time.mktime(time.strptime(f"{year} {stamp}", "%Y %b %d %H:%M:%S"))) + plan.grace
            want += [f"{stamp} found ip={address} (0)"]
            want += [f"{stamp} setting expiration time for ip={address} to {end}", f"{stamp} added {address} to DB"]
    assert "starting up" in said[0]
    assert [line for line in said[1:] if "removed" not in line and "reached end" not in line] == want
    assert said[-1].endswith("------ reached end of log file ------")


def test_records_that_courier_was_made_to_write_let_nobody_in() -> None:
    """The classic took addresses that strangers chose out of this log of a real server; ours takes none."""
    log = samples.FOLDER / "courier-1.0.16-splitinject-traditional.log"
    plan = plan_of(FOLDER / "courier.pl")
    reader = reading.ClassicReader(plan)
    classic = [reader.read(line) for line in samples.lines(log)]
    assert any(found is not None and found[1] == samples.FORGED for found in classic)
    assert samples.FORGED not in [address for _, address in logins(log, plan)]


FORGERIES = {
    "courier": "pop3d: LOGIN, user=x, ip=[192.0.2.99] tail, ip=[203.0.113.1]",
    "perdition": 'perdition[1]: Auth: 203.0.113.1->198.51.100.1 user="x" server="s" port="1" status="ok" server="imap"'
    ' port="143" status="failed: Re-Authentication Failure"',
    "cyrus": "imap[1]: login: host [203.0.113.1] anonymous pass User logged in",
    "teapop": "teapop[1]: Successful login for alice [198.51.100.1] from client.example [192.0.2.28]",
}


@pytest.mark.parametrize("name", FORGERIES)
def test_what_the_classic_takes_for_a_login_and_is_none(name: str, tmp_path: Path) -> None:
    """A forged line, or a wrong address: ours does not follow, and --check would print the line."""
    plan = plan_of(FOLDER / f"{name}.pl")
    text = f"Nov 22 07:00:00 mail1 {FORGERIES[name]}"
    log = tmp_path / "mail.log"
    log.write_text(f"{text}\n")
    classic = reading.ClassicReader(plan).read(text.encode())
    assert classic is not None
    assert classic[0] is EventKind.LOGIN
    (line,) = reading.read(str(log), plan)
    assert reading.difference(line, classic) is not None


_PIECES = [
    "user=",
    r"\S+",
    " ",
    "#",
    r"[^]\s]+",
    "(?:a|b c)?",
    r"\d+",
    ".*?",
    "[[:alpha:]]+",
    "x{1,2}",
    r"\[",
    "[#[]",
    "b",
]
_PIECES += [r"(?i:ALICE)", r"(?=f)", r"\.", "a|b"]
_WORDS = ["user=", "alice", " ", "#", "[", "]", "a", "b c", "7", "x", "xx", ".", "f", "ALICE", "192.0.2.1", "from"]


@given(
    before=st.lists(st.sampled_from(_PIECES), max_size=4),
    behind=st.lists(st.sampled_from(_PIECES), max_size=2),
    end=st.booleans(),
    texts=st.lists(st.lists(st.sampled_from(_WORDS), max_size=6), min_size=1, max_size=6),
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_an_own_pattern_means_here_what_it_meant_to_perl(
    before: list[str], behind: list[str], end: bool, texts: list[list[str]], tmp_path: Path
) -> None:
    """Searched in a line there, taken apart and matched whole here: the same lines, the same addresses."""
    pattern = f"^[LOGTIME] \\S+ mypopd: {''.join(before)}from (\\d+\\.\\d+\\.\\d+\\.\\d+){''.join(behind)}{'$' * end}"
    plan = meaning.mean(conf.parse(tmp_path, "$pat = '" + pattern.replace("\\", "\\\\") + "';"), Options())
    if plan.of(Weight.STOP):
        assert "a|b" in pattern  # one of its sides is bound to nothing
        return
    log = tmp_path / "log"
    log.write_text("".join(f"Nov 22 07:00:00 mx mypopd: {''.join(text)}from 192.0.2.1 {text[0:1]}\n" for text in texts))
    reader = reading.ClassicReader(plan)
    classic = [(number, each[1]) for number, line in reading.lines(str(log)) if (each := reader.read(line)) is not None]
    assert logins(log, plan) == classic
