"""On logs of real servers: what the classic's patterns take out of them (classic.md), and that ours takes all.

``ClassicReader`` was compared with Perl itself, pattern by pattern, over all lines of sample_logs: no difference.
"""

import re
from datetime import datetime
from pathlib import Path

import pytest

from popbeforesmtp.classic import reading
from popbeforesmtp.model import EventKind
from tests import samples
from tests.classic.test_conf import plan_of

FOLDER = Path(__file__).parent / "conf"

ALL = "all of IPv4"
NONE = "none"
REAL = [
    ("dovecot-2.3.19.1-traditional", "dovecot", ALL),
    ("dovecot-2.3.19.1-logpath", "dovecot", NONE),
    ("dovecot-2.3.19.1-logpath", "dovecot-own-log", NONE),
    ("dovecot-2.4.1-logpath", "dovecot", NONE),
    ("courier-1.0.16-rfc3339", "courier", ALL),
    ("cyrus-3.6.1-traditional", "cyrus", ALL),
    ("uw-imap-2007f-traditional", "untouched", ALL),
    ("popa3d-1.0.3-rfc3339", "popa3d-lines", ALL),
    ("perdition-2.2-rfc5424", "perdition", NONE),
    ("solid-pop3d-0.15-rfc3339", "spop3d", NONE),
    ("teapop-0.3.8-traditional", "teapop", NONE),
    ("vm-pop3d-1.1.6-rfc5424", "vm-pop3d", NONE),
]

_RFC3339 = re.compile(rb"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})\S* ")
_RFC5424 = re.compile(
    rb"(?:<[0-9]+>)?1 ([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8})\S* (\S+) (\S+) (\S+) \S+ (?:-|\[.*?\]) ?"
)


def traditional(line: bytes) -> bytes:
    """Write a line as the syslog daemons of the classic's time did; it knows no other stamps."""
    new = _RFC5424.match(line)
    if new is not None:
        return _stamp(new[1]) + b"%b %b[%b]: %b" % (new[2], new[3], new[4], line[new.end() :])
    stamp = _RFC3339.match(line)
    return line if stamp is None else _stamp(stamp[1]) + line[stamp.end() :]


def _stamp(text: bytes) -> bytes:
    return datetime.fromisoformat(text.decode()).strftime("%b %e %T ").encode()


@pytest.mark.parametrize(("sample", "name", "classic"), REAL)
def test_a_real_log_is_read_by_the_classic_as_was_measured(sample: str, name: str, classic: str) -> None:
    """All logins over IPv4, or none; what it took for others is the server's own address, with teapop."""
    path = samples.FOLDER / f"{sample}.log"
    true = {line: what.address for line, what in samples.meanings(path).items() if what.event == "login"}
    reader = reading.ClassicReader(plan_of(FOLDER / f"{name}.pl"))
    read = ((number, reader.read(traditional(line))) for number, line in enumerate(samples.lines(path), 1))
    found = {number: each[1] for number, each in read if each is not None and each[0] is EventKind.LOGIN}
    right = {number: address for number, address in true.items() if address is not None and ":" not in address}
    if name == "teapop":
        assert set(found) == set(right)
        assert set(found.values()) == {"127.0.0.1"}
        return
    assert found == (right if classic == ALL else {})


@pytest.mark.parametrize(("sample", "name"), [(sample, name) for sample, name, _ in REAL])
def test_a_real_log_is_read_whole_by_what_the_classics_pattern_comes_to(sample: str, name: str) -> None:
    """Every true login, over IPv6 too, and no other; also where the classic's pattern matched nothing."""
    path = samples.FOLDER / f"{sample}.log"
    true = {line: what.address for line, what in samples.meanings(path).items() if what.event == "login"}
    plan = plan_of(FOLDER / f"{name}.pl")
    read = {line.number: line.event for line in reading.read(str(path), plan) if line.event is not None}
    assert {n: each.client for n, each in read.items() if each.kind is EventKind.LOGIN and each.user} == true
