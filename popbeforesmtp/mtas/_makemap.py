"""Maps that Sendmail's own makemap(8) builds beside the old one, which is then replaced by a rename: hash and btree.

Measured with Sendmail 8.17.1, and read in its db_map_lookup(): a session that begins opens the path anew; one that has
a map open looks before each answer whether that very file was written to since, by its time in whole seconds, and opens
the path again where it was. So the file that was replaced is given a later time: open sessions hear of a change too.
A map that is built in place is half a map meanwhile, and for ever where makemap is killed.
"""

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from popbeforesmtp import postconf
from popbeforesmtp.atomicfile import make_folder, replacing
from popbeforesmtp.errors import NotPermittedError, UnavailableError
from popbeforesmtp.mtas import MapError

SUFFIX = ".db"
"""What Sendmail puts behind the name of a map of both types."""

_SECONDS = 30.0  # a million entries take four


def types() -> frozenset[str]:
    """Return the types that the host's makemap can write. Raises UnavailableError."""
    return frozenset(_run("-l").split())


Identity = tuple[int, int, int, int]
"""Device, inode, size, and time of the last writing in nanoseconds: what a file is known by."""


def identity(path: Path) -> Identity:
    """Return what the file at a path is known by. Raises OSError."""
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def build(kind: str, path: Path, entries: Mapping[str, str]) -> Identity:
    """Put a map with these entries in the place of the one at ``path``; return what it is known by.

    Whatever the path names by then. Raises MapError or NotPermittedError.
    """
    try:
        make_folder(path.parent)
        with replaced(path), replacing(path) as new:
            built = Path(f"{new}{SUFFIX}")
            try:
                built.touch(0o600, exist_ok=False)  # where we may not, we know it for sure; makemap only says so
                _run(kind, str(new), said="".join(f"{key}\t{value}\n" for key, value in entries.items()))
                built.chmod(0o644)
                if os.geteuid() == 0:
                    os.chown(built, 0, -1)  # makemap gives what root makes to Sendmail's TrustedUser
                built.rename(new)
                made = identity(new)
            except UnavailableError as error:  # the name of the file beside is another each time, and nobody knows it
                raise MapError(str(error).replace(str(new), str(path))) from None
            finally:
                built.unlink(missing_ok=True)
    except PermissionError:
        raise _not_permitted(path) from None
    except OSError as error:
        raise MapError(f"{path}: {error.strerror or error}") from None
    return made


def entries(kind: str, path: Path) -> dict[str, str] | None:
    """Return what is in a map, its keys in lower case; None where it is missing or broken. Raises NotPermittedError."""
    try:
        with path.open("rb"):
            lines = _run("-u", kind, str(path)).splitlines()
    except PermissionError:
        raise _not_permitted(path) from None
    except (OSError, UnavailableError):
        return None
    return {key: value for key, _, value in (line.partition("\t") for line in lines)}


@contextmanager
def replaced(path: Path) -> Iterator[None]:
    """Where the block has replaced a file, make whoever has the old one open look at its path again.

    Its time of last writing becomes a later one, in whole seconds.
    """
    try:
        before = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # there is none
        yield
        return
    try:
        yield
        with suppress(OSError):  # it was another user's
            later = int(os.fstat(before).st_mtime) + 1
            os.utime(before, (later, later))
    finally:
        os.close(before)


def _not_permitted(path: Path) -> NotPermittedError:
    return NotPermittedError(
        f"{path}: may not be written by this user; run as the map's owner, or set map to another place"
    )


def _run(*arguments: str, said: str = "") -> str:
    """Run makemap(8), which reads ``said``, and return what it prints. Raises UnavailableError with what it complained.

    It gets nothing of our environment.
    """
    program = postconf.find("makemap")
    if program is None:
        raise UnavailableError("Sendmail's makemap is not on this machine; install Sendmail (Debian: sendmail-bin)")
    shown = f"makemap {' '.join(arguments)}"
    try:
        done = subprocess.run(
            [program, *arguments],
            input=said,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
            text=True,
            errors="replace",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"`{shown}` did not end in {_SECONDS:g} s") from None
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout or "").strip().replace("\n", "; ")
        raise UnavailableError(f"`{shown}` failed: {said or f'status {error.returncode}'}") from None
    except OSError as error:
        raise UnavailableError(f"{program} cannot be run: {error.strerror}") from None
    return done.stdout
