"""Maps of type lmdb: changed in place, under Postfix's own lock."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.mtas import MapError
from popbeforesmtp.mtas.postfix import PostfixMap
from tests.mtas.contract import A, B, ends
from tests.mtas.maps import LIMIT, bell, closing, make, needs_postfix, postmap, read, times

pytestmark = needs_postfix

HOLD_LOCK = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_SH)
print("locked", flush=True)
sys.stdin.read()
"""
"""Another process that looks something up, for as long as its standard input is open."""


# As Postfix reads it


def test_a_lookup_finds_who_is_in_it_and_nobody_else(access_map: PostfixMap, tmp_path: Path) -> None:
    """Neither a network, nor a longer text."""
    access_map.replace(ends([A]))
    table = f"lmdb:{tmp_path}/clients"
    assert postmap("-q", A, table) == "OK\n"
    assert [postmap("-q", key, table) for key in ("192.0.2", "192.0.2.10", "unknown")] == ["", "", ""]


def test_keys_and_results_end_with_nul_as_postmaps_own(access_map: PostfixMap, path: Path, tmp_path: Path) -> None:
    """A reader settles for one kind and does not find the other."""
    access_map.replace(ends([A]))
    access_map.close()
    source = tmp_path / "own"
    source.write_text(f"{A} OK\n")
    postmap(f"lmdb:{source}")
    assert raw(path) == raw(tmp_path / "own.lmdb") == {b"192.0.2.1\0": b"OK\0"}


def raw(path: Path) -> dict[bytes, bytes]:
    """Read the bytes of a map that is not open."""
    with (
        lmdb.open(str(path), subdir=False, lock=False, readonly=True) as environment,
        environment.begin() as transaction,
    ):
        return dict(transaction.cursor())


def test_a_change_is_made_in_place(access_map: PostfixMap, path: Path) -> None:
    """The inode stays, so sessions that are open see it and no smtpd restarts."""
    access_map.replace(ends([A]))
    before = path.stat().st_ino
    access_map.change(ends([B]), [A])
    access_map.replace(ends([A]))
    assert path.stat().st_ino == before


def test_a_new_daemon_goes_on_in_the_file_that_is_there(access_map: PostfixMap, path: Path, tmp_path: Path) -> None:
    """A restart of ours restarts nothing of Postfix."""
    access_map.replace(ends([A]))
    access_map.close()
    before = path.stat().st_ino
    again = make(tmp_path)
    again.replace(ends([B]))
    again.close()
    assert path.stat().st_ino == before
    assert set(read(tmp_path)) == {B}


def test_another_result_is_put_in_place_of_the_old_one(access_map: PostfixMap, tmp_path: Path) -> None:
    """The administrator has changed it."""
    access_map.replace(ends([A]))
    access_map.close()
    again = make(tmp_path, result="RELAY")
    again.replace(ends([A]))
    again.close()
    assert read(tmp_path) == {A: "RELAY"}


@pytest.mark.parametrize("whole", [True, False])
def test_a_map_grows_beyond_its_first_size(
    access_map: PostfixMap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    """However many log in, and Postfix follows."""
    monkeypatch.setattr("popbeforesmtp.mtas._lmdb._MAP_SIZE", 1 << 16)
    clients = [ClientAddress(f"10.{number >> 8}.{number & 255}.1") for number in range(10_000)]
    if whole:
        access_map.replace(ends(clients))
    else:
        access_map.replace({})
        access_map.change(ends(clients), [])
    assert set(read(tmp_path)) == set(clients)
    assert (tmp_path / "clients.lmdb").stat().st_size > 1 << 16


def test_a_map_from_before_the_machine_started_is_built_anew(tmp_path: Path, path: Path, rung: Path) -> None:
    """A power failure may have torn it; Postfix has read nothing yet, and needs no reload."""
    with closing(make(tmp_path)) as access_map:
        access_map.replace(ends([A]))
    os.utime(path, (1000, 1000))
    with path.open() as old, closing(make(tmp_path, bell(rung))) as access_map:
        access_map.replace(ends([B]))
        assert path.stat().st_ino != os.fstat(old.fileno()).st_ino
        assert set(read(tmp_path)) == {B}
    assert times(rung) == 0


# The lock


@contextmanager
def lookup_in_progress(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Hold the lock of a lookup in another process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_LOCK, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield holder
        finally:
            holder.stdin.close()


@pytest.mark.parametrize("by", ["removed", "replaced"])
@pytest.mark.parametrize("opened", [1, 2])
def test_a_map_that_goes_while_it_is_opened_is_not_taken_for_ours(
    by: str, opened: int, access_map: PostfixMap, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lmdb finds no file it makes an empty one, and where it finds another it opens that: nobody would be in."""
    other = tmp_path / "other.lmdb"
    with lmdb.open(str(other), subdir=False, lock=False):
        pass
    opens = []
    usual = lmdb.open

    def open_(name: str, **settings: object) -> lmdb.Environment:
        opens.append(name)
        if len(opens) == opened:
            Path(name).unlink() if by == "removed" else other.rename(name)
        return usual(name, **settings)

    monkeypatch.setattr(lmdb, "open", open_)
    with pytest.raises(MapError, match=r"was removed or replaced by somebody else|No such file"):
        access_map.replace(ends([A]))
    assert access_map.lost()
    access_map.replace(ends([A]))
    assert read(tmp_path) == {A: "OK"}
    assert not access_map.lost()


def test_a_change_waits_for_a_lookup_that_is_in_progress(access_map: PostfixMap, path: Path, tmp_path: Path) -> None:
    """And is made when the lookup is over."""
    access_map.replace(ends([A]))
    with lookup_in_progress(path) as holder:
        done = threading.Event()

        def change() -> None:
            access_map.change(ends([B]), [A])
            done.set()

        thread = threading.Thread(target=change)
        thread.start()
        assert not done.wait(0.1)
        assert holder.stdin is not None
        holder.stdin.close()
        assert done.wait(LIMIT)
        thread.join()
    assert set(read(tmp_path)) == {B}


def test_a_lock_that_is_never_given_back_is_an_error_and_the_next_try_goes_round_it(
    access_map: PostfixMap, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """The map is as it was, then a new file is in its place; who may only read a map could keep us from it for good."""
    monkeypatch.setattr("popbeforesmtp.mtas._lmdb._LOCK_SECONDS", 0.1)
    access_map.replace(ends([A]))
    with lookup_in_progress(path):
        with pytest.raises(MapError, match="lock"):
            access_map.change(ends([B]), [A])
        assert set(read(tmp_path)) == {A}
        old = path.stat().st_ino
        access_map.replace(ends([B]))
        assert set(read(tmp_path)) == {B}
        assert path.stat().st_ino != old
        assert sum("a new file is in its place" in each for each in said) == 1
        assert not access_map.lost()
        access_map.change(ends([A]), [B])  # nobody has this one's lock
        assert set(read(tmp_path)) == {A}
    access_map.change(ends([B]), [A])
    assert set(read(tmp_path)) == {B}


def test_a_lookup_waits_for_a_change_that_is_in_progress(
    access_map: PostfixMap, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the transaction is written, another process cannot have the lock of a lookup."""
    access_map.replace(ends([A]))
    taken: list[str] = []
    ask = "import fcntl,os,sys; fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)"

    def look_up(*_: object) -> None:
        run = subprocess.run([sys.executable, "-c", ask, str(path)], capture_output=True, text=True, check=False)
        taken.append("locked out" if "BlockingIOError" in run.stderr else "got in")

    monkeypatch.setattr("popbeforesmtp.mtas._lmdb._put", look_up)
    access_map.change(ends([B]), [])
    look_up()
    assert taken == ["locked out", "got in"]
