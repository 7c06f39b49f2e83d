"""The three ways to ask who may relay: the socketmap, `list`, and the map file as Postfix reads it."""

import fcntl
import json
import os
import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import lmdb

_SECONDS = 10.0


def permitted(path: Path, addresses: Sequence[str]) -> set[str]:
    """Ask the socketmap for each of these, and return those that may relay. Raises OSError where nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(str(path))
        found = set()
        with connection.makefile("rb") as answers:
            for start in range(0, len(addresses), 50):
                some = addresses[start : start + 50]
                texts = [f"clients {address}" for address in some]
                connection.sendall("".join(f"{len(text)}:{text}," for text in texts).encode())
                for address in some:
                    answer = _netstring(answers.read)
                    if answer == b"OK OK":
                        found.add(address)
                    elif answer != b"NOTFOUND ":
                        raise OSError(f"the socketmap says {answer!r}")
        return found


def _netstring(read: Callable[[int], bytes]) -> bytes:
    length = b""
    while not length.endswith(b":"):
        byte = read(1)
        if not byte:
            raise ConnectionError("the socketmap hung up")
        length += byte
    return read(int(length[:-1]) + 1)[:-1]


def listed(path: Path) -> dict[str, float]:
    """Ask `list`: each address, and its windows' latest end on the wall clock. Raises OSError where it cannot tell."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_SECONDS)
        connection.connect(str(path))
        connection.sendall(b'{"command": "list"}\n')
        with connection.makefile("rb") as answers:
            reply = json.loads(answers.readline())
    if "error" in reply:
        raise OSError(reply["error"])
    ends: dict[str, float] = {}
    for entry in reply["answer"]:
        end = datetime.fromisoformat(entry["expires_at"]).timestamp()
        ends[entry["address"]] = max(end, ends.get(entry["address"], end))
    return ends


def mapped(path: Path) -> set[str]:
    """Read the keys of the map under the lock that Postfix takes. Raises OSError or lmdb.Error."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_SH)
        with lmdb.open(str(path), subdir=False, lock=False, readonly=True) as map_, map_.begin() as transaction:
            return {bytes(key).rstrip(b"\0").decode() for key, _ in transaction.cursor()}
    finally:
        os.close(descriptor)
