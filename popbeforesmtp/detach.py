"""Classic daemonising: ``run --daemon PIDFILE`` returns when the daemon is ready, or says why it is not.

python-daemon (PEP 3143) does the detaching; its default umask of 0 would make files that all may write. Another user is
become later, with all of its groups (``privileges.become``), so python-daemon changes no owner.
"""

import fcntl
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from popbeforesmtp.config import Settings
from popbeforesmtp.errors import CannotCreateError, PopBeforeSmtpError, UnavailableError, UsageError
from popbeforesmtp.privileges import require_safe_place
from popbeforesmtp.text import visible

UMASK = 0o027
"""Nothing that we make is for everybody, unless its maker says so."""

_READY = b"ready\n"


class PidFile:
    """A file with our process id in it, locked for as long as we live: a stale one is known by its missing lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def take(self) -> None:
        """Lock the file, and write our process id and a newline. Raises UnavailableError or CannotCreateError."""
        require_safe_place(self._path)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            while True:
                self._descriptor = os.open(self._path, flags, 0o644)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.lexists(self._path) and os.path.samestat(os.fstat(self._descriptor), self._path.lstat()):
                    break
                os.close(self._descriptor)  # of one that was just ending, and has removed its file
        except BlockingIOError:
            other = os.pread(self._descriptor, 20, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise UnavailableError(f"{self._path}: a daemon is running already, process {other}") from None
        except OSError as error:
            raise CannotCreateError(f"{self._path}: cannot be written: {error.strerror}; name another place") from None
        os.fchmod(self._descriptor, 0o644)  # its readers are init scripts
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Empty the file, and remove it where this user still may."""
        os.ftruncate(self._descriptor, 0)
        with suppress(OSError):
            self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


def refuse_stdin(settings: Settings) -> None:
    """Refuse to go into the background where standard input is a source: there it has ended. Raises UsageError."""
    if any(section.type == "stdin" for section in settings.sources or ()):
        raise UsageError(
            "standard input cannot be read in the background; leave out --daemon, and let what writes it start us"
        )


def detached(pid_file: Path, run: Callable[[Callable[[], None]], None]) -> int:
    """Run something in the background, and return in the foreground when it says that it is ready.

    ``run`` is given what it must call then. An error before that is said in the foreground, and its exit status
    returned. Must be called before any thread, loop, database or lmdb environment exists.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _in_background(pid_file.absolute(), run, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    if said == _READY:
        return 0
    status, _, sentence = said.decode(errors="replace").partition(" ")
    print(f"pop-before-smtp: {visible(sentence) or 'the daemon died while it started'}", file=sys.stderr)  # noqa: T201
    return int(status) if status.isdigit() else os.EX_SOFTWARE


def _in_background(pid_file: Path, run: Callable[[Callable[[], None]], None], writer: int) -> None:
    """Detach, run, and never return."""
    import daemon

    status = os.EX_OK
    told = False

    def tell(what: bytes) -> None:
        nonlocal told
        if not told:
            told = True
            os.write(writer, what)
            os.close(writer)

    context = daemon.DaemonContext(
        umask=UMASK, detach_process=True, initgroups=False, files_preserve=[writer], signal_map={}, prevent_core=True
    )
    context.open()
    pid = PidFile(pid_file)
    try:
        pid.take()
        try:
            run(lambda: tell(_READY))
        finally:
            pid.release()
    except PopBeforeSmtpError as error:
        tell(f"{error.exit_status} {error}".encode())
        status = error.exit_status
    except Exception as error:  # noqa: BLE001 - nobody else would ever hear of it
        tell(f"{os.EX_SOFTWARE} internal error: {error!r}".encode())
        status = os.EX_SOFTWARE
    finally:
        os._exit(status)
