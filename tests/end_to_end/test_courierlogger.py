"""Courier's real logger, kept waiting by many long names: what it makes of them lets nobody in."""

import fcntl
import os
import random
import socket
import subprocess
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp.formats._engine import Engine
from popbeforesmtp.formats._format import load
from popbeforesmtp.model import EventKind, LogMessage
from popbeforesmtp.sessions import Sessions
from tests.formats.courierlogger import LATE, PERFECT, Pipe, failed, records

LOGGER = Path("/var/cache/pop-before-smtp-tests/courierlogger/usr/sbin/courierlogger")
_PIPE = 1 << 20  # bytes, as much as one may ask for


def logged(lines: list[bytes], folder: Path) -> list[bytes]:
    """Return what the logger hands to the syslogd of lines that were all there before it began."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE)
    os.write(writing, b"".join(lines))
    os.close(writing)
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as syslog:
        syslog.bind(str(folder / "log"))
        syslog.settimeout(5)
        shell = 'mount -t tmpfs tmpfs /dev && ln -s "$1" /dev/log && exec "$0" -name=pop3d'
        command = ["unshare", "--mount", "sh", "-c", shell, str(LOGGER), str(folder / "log")]
        with subprocess.Popen(command, stdin=reading) as logger:
            os.close(reading)
            said = []
            while len(said) < len(lines) * 3:
                try:
                    said.append(syslog.recv(65536))
                except TimeoutError:
                    break
                if logger.poll() is not None:
                    syslog.settimeout(0.2)
    return [each.partition(b"pop3d: ")[2].rstrip(b"\0") for each in said]


@pytest.mark.parametrize("seed", range(4))
def test_the_model_of_couriers_logger_is_true(seed: int, tmp_path: Path) -> None:
    """The tests of what follows a cut record stand on it."""
    chance, pipe = random.Random(seed), Pipe()
    lines = [failed(b"%04d" % number * chance.choice((0, 3, 120, 200, 230, 245, 250))) for number in range(60)]
    for line in lines:
        pipe.write(line)
    expected = [record.text for record in records(pipe, lambda: False)]
    assert len(expected) > 20
    assert logged(lines, tmp_path)[: len(expected)] == expected


def test_a_whole_record_of_a_strangers_choice_lets_nobody_in(tmp_path: Path) -> None:
    """The attack, for real: the record stands in the log, not right behind the one that was cut."""
    texts = logged(LATE, tmp_path)
    place = texts.index(PERFECT)
    assert [len(text) for text in texts[place - 2 : place]] == [505, 307]
    engine, sessions = Engine([load("courier")]), Sessions()
    for text in texts:
        event = engine.read(LogMessage(datetime(2026, 11, 22, tzinfo=UTC), b"pop3d", text, None, b"mx1 pop3d: "))
        event = None if event is None else sessions.join(event)
        assert event is None or event.kind is not EventKind.LOGIN
