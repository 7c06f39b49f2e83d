"""Reads the whole lines of a file, of standard input, or of this machine's journal, for ``scan``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from popbeforesmtp.errors import DataError, NotPermittedError, UnavailableError
from popbeforesmtp.lines import UNPACK, UNREADABLE, LineCutter

_PIECE = 262_144  # bytes; with smaller ones what is done for each takes longer, larger ones leave the processor's cache


def whole_lines(name: str | None, begin: int = 0, end: int | None = None) -> Iterator[tuple[bytes, int]]:
    """Give the whole lines of one log, None being this machine's journal, and the number of the first of each piece.

    The last piece is empty, and its number that of the line that would be next. Of a plain file perhaps only those
    between two offsets in bytes that stand just behind an LF; they are counted from the first. Raises UnavailableError,
    NotPermittedError or DataError.
    """
    cutter = LineCutter()
    try:
        with _opened(name) as stream:
            if begin:
                stream.seek(begin)
            left = _PIECE if end is None else end - begin
            while piece := stream.read(min(_PIECE, left)):
                left = left if end is None else left - len(piece)
                yield from ((lines, number) for lines, _, number in cutter.cut(piece))
        yield b"", cutter.line
    except FileNotFoundError:
        raise UnavailableError(
            f"{name}: there is no such file; name a log, or read the journal by --from journal"
        ) from None
    except PermissionError:
        raise NotPermittedError(f"{name}: may not be read by this user") from None
    except IsADirectoryError:
        raise UnavailableError(f"{name}: is a folder; name a log file") from None
    except UNREADABLE as error:
        raise DataError(f"{name}: cannot be read: {error}") from None
    if cutter.pending:
        print(f"pop-before-smtp: {name}: the last line has no line end and was not read", file=sys.stderr)


@contextmanager
def _opened(name: str | None) -> Iterator[IO[bytes]]:
    if name == "-":
        yield sys.stdin.buffer
    elif name is None:
        yield from _journal()
    else:
        unpack = UNPACK.get(Path(name).suffix)
        with Path(name).open("rb", buffering=0) if unpack is None else unpack(Path(name)) as stream:
            yield stream


def _journal() -> Iterator[IO[bytes]]:
    """Give what this machine's journal holds. Raises UnavailableError with journalctl's own words."""
    import subprocess  # takes its time, and logs need it not

    command = ["journalctl", "--no-pager", "--quiet", "--output=json"]
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as error:
        raise UnavailableError(f"journalctl cannot be run ({error.strerror}); name a log file") from None
    with process:
        if process.stdout is None or process.stderr is None:
            raise UnavailableError("journalctl has no output")
        yield process.stdout
        complaint = process.stderr.read().decode("utf-8", "replace").strip()
    if process.returncode:
        raise UnavailableError(f"journalctl: {complaint or f'exit status {process.returncode}'}")
