"""A program of the administrator's: which one may be run, and running it once."""

import os
import shlex
import signal
import subprocess
from pathlib import Path

from popbeforesmtp.errors import ConfigError, NotPermittedError, UnavailableError
from popbeforesmtp.mtas import MapError
from popbeforesmtp.privileges import other_writers

SECONDS = 30.0
"""How long a program may take; then it is killed, with all that it started."""

_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
_TOLD = 500  # characters of what it complains that are told


def require_program(setting: str, command: tuple[str, ...]) -> None:
    """Refuse a program that is not there, or that others could put something else in the place of.

    Raises ConfigError, UnavailableError or NotPermittedError.
    """
    path = Path(command[0])
    if not path.is_absolute():
        raise ConfigError(f'{setting} = ["{path}", …]: the program must be an absolute path, as in "/usr/sbin/nft"')
    if not path.is_file() or not os.access(path, os.X_OK):
        raise UnavailableError(f"{setting}: {path} is no program that this user can run; install it, or write another")
    why = other_writers(path)
    if why is not None:
        raise NotPermittedError(
            f"{setting}: {path} is not run, for {why}; only root and this user may be able to write it"
        )


def run(command: tuple[str, ...], said: str = "") -> None:
    """Run a program without any shell, with ``said`` on its standard input. Raises MapError, or ProgramHangsError.

    It gets nothing of our environment. What it prints is thrown away; what it writes to its standard error, up to what
    a pipe holds (64 KiB), is told where it fails.
    """
    told, complaints = os.pipe2(os.O_CLOEXEC)
    given = os.memfd_create("clients", os.MFD_CLOEXEC)  # no disk has to have room for it
    try:
        try:
            _write(given, said.encode())
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=complaints,
                env=_ENVIRONMENT,
                cwd="/",
                umask=0o022,  # what it writes is for others to read
                start_new_session=True,
            )
        except OSError as error:
            raise MapError(f"{command[0]} cannot be run: {error.strerror}") from None
        finally:
            os.close(given)
            os.close(complaints)
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise ProgramHangsError(f"`{shlex.join(command)}` did not end in {SECONDS:g} s{_complaint(told)}") from None
        if status != 0:
            how = f"failed with status {status}" if status > 0 else f"was ended by signal {-status}"
            raise MapError(f"`{shlex.join(command)}` {how}{_complaint(told)}")
    finally:
        os.close(told)


class ProgramHangsError(MapError):
    """A program had to be killed."""


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]
    os.lseek(descriptor, 0, os.SEEK_SET)


def _complaint(told: int) -> str:
    """Return what a program wrote to its standard error; another process of its may still hold the other end."""
    os.set_blocking(told, False)
    try:
        text = os.read(told, 1 << 16).decode(errors="replace")
    except BlockingIOError:
        return ""
    lines = "; ".join(line for line in map(str.strip, text.splitlines()) if line)
    return f": {lines[:_TOLD]}" if lines else ""
