"""Throw noise at header, formats and sessions, made of real lines; by atheris where it is installed, else blindly.

Stops at the first line that raises something or lets in an address that never is a client.
"""

import random
import sys
import time

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import EventKind
from popbeforesmtp.sessions import Sessions
from tests.samples import FORGED, NOW, SAMPLES, engine, lines

try:
    import atheris
except ImportError:  # none for this Python: see pyproject.toml, "fuzz"
    atheris = None

SECONDS = 60
ENGINE = engine()
SEEDS = [line for sample in SAMPLES for line in lines(sample) if FORGED.encode() not in line and len(line) < 2048]
MINE = b"203.0.113.66"


def one_input(data: bytes) -> None:
    """Read some lines; every line break in them is one of the log's."""
    header, sessions = HeaderReader(), Sessions()
    for line in data.split(b"\n"):
        message = header.read(line, NOW)
        event = None if message is None else ENGINE.read(message)
        event = None if event is None else sessions.join(event)
        assert event is None or event.kind is not EventKind.LOGIN or event.client


def mutate(chance: random.Random) -> bytes:
    """Make some lines out of real ones: pieces of several, cut and put together, and noise in between."""
    pieces = []
    for _ in range(chance.randrange(1, 6)):
        line = chance.choice(SEEDS)
        start, end = sorted(chance.randrange(len(line) + 1) for _ in range(2))
        pieces.append(line[start:end] if chance.random() < 0.7 else line)
        pieces.append(chance.choice((b"", b"\n", b" ", b"\0", b"[", b"]", b'"', b"'", chance.randbytes(3), b"a" * 600)))
    return b"".join(pieces)


def blindly(seconds: float) -> int:
    """Fuzz without guidance."""
    chance, until, count = random.Random(), time.monotonic() + seconds, 0
    while time.monotonic() < until:
        one_input(mutate(chance))
        count += 1
    return count


def main() -> None:
    """Fuzz for some seconds."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    if atheris is None:
        print(f"atheris is not installed: {blindly(seconds)} inputs were tried without it")  # noqa: T201
        return
    chance = random.Random()

    def either(data: bytes) -> None:
        one_input(data)
        chance.seed(data)
        one_input(mutate(chance))

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", "-max_len=4096", "-verbosity=0"], either)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
