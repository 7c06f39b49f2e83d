"""Throw noise at header, formats and sessions, made of real lines; by atheris where it is installed, else blindly.

Each input is a name, put where strangers put theirs into a line of a server, in every field of every pattern in turn;
and some lines of any shape. Stops at the first that raises something, or lets in somebody whom the sample does not.
"""

import random
import sys
import time

from popbeforesmtp.header import HeaderReader
from popbeforesmtp.model import EventKind
from popbeforesmtp.sessions import Sessions
from tests.hostile import ATTACKED, ENGINE, KEYWORDS, attacked, forge, forgeries
from tests.samples import FORGED, NOW, SAMPLES, lines

try:
    import atheris
except ImportError:  # none for this Python: see pyproject.toml, "fuzz"
    atheris = None

SECONDS = 60
SEEDS = [line for sample in SAMPLES for line in lines(sample) if FORGED.encode() not in line and len(line) < 2048]
PLACES = [
    (sample, {(field.format, field.event, field.name): field for field in attacked(sample)}) for sample in ATTACKED
]
FIELDS = [(sample, field) for sample, places in PLACES for field in places.values()]
WORDS = [*(word.encode() for word in KEYWORDS), *(forge(line.decode("utf-8", "replace")).encode() for line in SEEDS)]


def one_input(data: bytes) -> None:
    """Read some lines; every line break in them is one of the log's."""
    header, sessions = HeaderReader(), Sessions()
    for line in data.split(b"\n"):
        message = header.read(line, NOW)
        event = None if message is None else ENGINE.read(message)
        event = None if event is None else sessions.join(event)
        assert event is None or event.kind is not EventKind.LOGIN or event.client


def one_name(number: int, name: bytes) -> None:
    """Read a sample, in one line of which somebody is called so."""
    sample, field = FIELDS[number % len(FIELDS)]
    wrong = forgeries(sample, field, name)
    assert not wrong, (wrong, field, name)


def lengthen(chance: random.Random, data: bytes = b"") -> bytes:
    """Make a name of the words of all families, with noise between them."""
    parts = [data]
    for _ in range(chance.randrange(1, 6)):
        word = chance.choice(WORDS)
        start, end = sorted(chance.randrange(len(word) + 1) for _ in range(2))
        parts += [word if chance.random() < 0.7 else word[start:end], chance.choice((b"", b"", b" ", b", ", data))]
    return b"".join(parts)


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
        one_name(count, lengthen(chance))
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
        chance.seed(data)
        one_input(data)
        one_input(mutate(chance))
        one_name(int.from_bytes(data[:2]), data[2:])
        one_name(chance.randrange(len(FIELDS)), lengthen(chance, data[2:]))

    atheris.instrument_all()
    atheris.Setup([sys.argv[0], f"-max_total_time={int(seconds)}", "-max_len=4096", "-verbosity=0"], either)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
