"""Maps for Postfix, of every type that it can read on this machine, checked with its own postmap(1)."""

import itertools
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv6Address
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.errors import ConfigError, DataError, NotPermittedError, PopBeforeSmtpError
from popbeforesmtp.mtas import AccessMap, MapError
from popbeforesmtp.mtas.postfix import PostfixMap, open_map
from tests.mtas.contract import DOUBTFUL, V6, A, AccessMapContract, B, C, OpenMap, ReadMap

pytestmark = pytest.mark.skipif(shutil.which("postmap") is None, reason="Postfix is not installed")

LIMIT = 10.0  # seconds
NOBODY = 65534

HOLD_LOCK = """
import fcntl, os, sys
file = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(file, fcntl.LOCK_SH)
print("locked", flush=True)
sys.stdin.read()
"""
"""Another process that looks something up, for as long as its standard input is open."""


def postmap(*arguments: str, said: str = "") -> str:
    """Run Postfix's own program and return what it prints."""
    run = subprocess.run(
        ["postmap", *arguments], input=said, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert run.stderr == ""
    return run.stdout


KINDS = {"lmdb": ".lmdb", "cdb": ".cdb", "hash": ".db", "btree": ".db"}
"""Types, and what Postfix puts behind a map's name."""

ASKED = [A, B, C, V6, *DOUBTFUL, *(f"192.0.2.{number}" for number in range(3, 31))]
"""All clients of the tests below; before Postfix 3.10 a cdb map can only be asked, not listed."""


def make(folder: Path, reload: tuple[str, ...] | str = "never", kind: str = "lmdb", result: str = "OK") -> PostfixMap:
    """Make the map object of a folder."""
    return open_map(map=f"{kind}:{folder}/clients", reload=reload, result=result)


def read(folder: Path, kind: str = "lmdb") -> dict[str, str]:
    """List what Postfix finds in the map of a folder."""
    name = f"{kind}:{folder}/clients"
    found = postmap("-q", "-", name, said="\n".join(ASKED)) if kind == "cdb" else postmap("-s", name)
    return dict(row.split("\t") for row in found.splitlines())


@pytest.fixture(scope="session")
def main_cf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a configuration of Postfix; there may be none on this machine."""
    folder = tmp_path_factory.mktemp("postfix")
    (folder / "main.cf").write_text("compatibility_level = 3.6\nmyhostname = mx1.example.net\n")
    os.utime(folder / "main.cf", (1000, 1000))  # else Postfix waits until it is two seconds old
    return folder


@pytest.fixture(autouse=True)
def configured(main_cf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all of Postfix's programs use it."""
    monkeypatch.setenv("MAIL_CONFIG", str(main_cf))


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest, configured: None) -> str:
    """Name each type of map that this Postfix can read."""
    del configured
    kind: str = request.param
    types = subprocess.run(["postconf", "-m"], capture_output=True, text=True, check=True).stdout.split()
    if kind not in types:
        pytest.skip(f"this Postfix cannot read {kind} maps")
    return kind


class TestPostfixMap(AccessMapContract):
    """The promises of every map."""

    @pytest.fixture
    def open_map(self, kind: str) -> Iterator[OpenMap]:
        """Open maps, and close them in the end: one lmdb file may be open once in a process."""
        opened: list[AccessMap] = []

        def open_one(folder: Path) -> AccessMap:
            opened.append(make(folder, kind=kind))
            return opened[-1]

        yield open_one
        for one in opened:
            one.close()

    @pytest.fixture
    def read_map(self, kind: str) -> ReadMap:
        """Read it with Postfix's own program, which is another process."""
        return lambda folder: read(folder, kind)

    @pytest.fixture
    def file(self, tmp_path: Path, kind: str) -> Path:
        """Name the file."""
        return tmp_path / f"clients{KINDS[kind]}"


@pytest.fixture
def access_map(tmp_path: Path) -> Iterator[PostfixMap]:
    """Make a map object of the test's folder."""
    access_map = make(tmp_path)
    yield access_map
    access_map.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name its file."""
    return tmp_path / "clients.lmdb"


class Ear(logging.Handler):
    """Hears what the daemon says."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message."""
        self.said.append(record.getMessage())


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Collect what the daemon says to the administrator."""
    ear, log = Ear(), logging.getLogger("pop-before-smtp")
    log.addHandler(ear)
    yield ear.said
    log.removeHandler(ear)


# As Postfix reads it


def test_a_lookup_finds_who_is_in_it_and_nobody_else(access_map: PostfixMap, tmp_path: Path) -> None:
    """Neither a network, nor a longer text."""
    access_map.replace([A])
    table = f"lmdb:{tmp_path}/clients"
    assert postmap("-q", A, table) == "OK\n"
    assert [postmap("-q", key, table) for key in ("192.0.2", "192.0.2.10", "unknown")] == ["", "", ""]


def test_keys_and_results_end_with_nul_as_postmaps_own(access_map: PostfixMap, path: Path, tmp_path: Path) -> None:
    """A reader settles for one kind and does not find the other."""
    access_map.replace([A])
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
    access_map.replace([A])
    before = path.stat().st_ino
    access_map.change([B], [A])
    access_map.replace([A])
    assert path.stat().st_ino == before


def test_a_new_daemon_goes_on_in_the_file_that_is_there(access_map: PostfixMap, path: Path, tmp_path: Path) -> None:
    """A restart of ours restarts nothing of Postfix."""
    access_map.replace([A])
    access_map.close()
    before = path.stat().st_ino
    again = make(tmp_path)
    again.replace([B])
    again.close()
    assert path.stat().st_ino == before
    assert set(read(tmp_path)) == {B}


def test_another_result_is_put_in_place_of_the_old_one(access_map: PostfixMap, tmp_path: Path) -> None:
    """The administrator has changed it."""
    access_map.replace([A])
    access_map.close()
    again = make(tmp_path, result="RELAY")
    again.replace([A])
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
        access_map.replace(clients)
    else:
        access_map.replace([])
        access_map.change(clients, [])
    assert set(read(tmp_path)) == set(clients)
    assert (tmp_path / "clients.lmdb").stat().st_size > 1 << 16


# Addresses that would let others in


def cuts(client: str) -> Iterator[str]:
    """List what Postfix looks up for an IPv6 client after the address itself (smtpd_check.c, check_addr_access)."""
    while ":" in client:
        client = client.rpartition(":")[0]
        yield client


def admitted_by_others(client: str) -> set[str]:
    """List the addresses that would let this client in, were they keys."""
    return {cut for cut in cuts(client) if parse_address(cut) == cut}


def test_no_key_lets_another_address_in_whichever_of_its_groups_are_zero(access_map: PostfixMap) -> None:
    """All addresses that zeros tell apart: none that begins another may be a key; a short ``::`` is no reason."""
    every = {str(IPv6Address(":".join(groups))) for groups in itertools.product("01", repeat=8)}
    unsafe = set().union(*map(admitted_by_others, every))
    left_out = {client for client in every if access_map.cannot_hold(ClientAddress(client))}
    assert unsafe
    assert unsafe <= left_out
    assert all("::" in client and sum(map(bool, client.split(":"))) <= 5 for client in left_out)
    assert not any(client.endswith("::") for client in left_out)


GROUPS = st.lists(
    st.sampled_from(["0", "0", "0", "1", "db8", "ffff"]) | st.integers(0, 65535).map("{:x}".format),
    min_size=8,
    max_size=8,
)


@given(GROUPS)
def test_no_address_that_may_be_a_key_lets_another_in(groups: list[str]) -> None:
    """For any client, none of what is left of its text may be a key."""
    client = str(IPv6Address(":".join(groups)))
    access_map = make(Path("/nowhere"))
    for other in admitted_by_others(client):
        assert access_map.cannot_hold(ClientAddress(other)) is not None


@given(st.ip_addresses(v=4).map(str))
def test_every_ipv4_address_may_be_a_key(client: str) -> None:
    """What is left of one is no whole address."""
    assert make(Path("/nowhere")).cannot_hold(ClientAddress(client)) is None


def test_an_address_that_begins_another_is_not_written(tmp_path: Path) -> None:
    """An address whose text begins another's is left out, one that begins none is written."""
    assert "2001:db8::10" in admitted_by_others("2001:db8::10:0:0:1")
    with closing(make(tmp_path)) as access_map:
        access_map.replace([ClientAddress("2001:db8::10"), ClientAddress("2001:db8:1:2::5:6")])
        assert set(read(tmp_path)) == {"2001:db8:1:2::5:6"}


# Missing, broken, old


@pytest.fixture
def rung(tmp_path: Path) -> Path:
    """Name the file that ``bell`` writes a line to."""
    return tmp_path / "rung"


def bell(rung: Path, then: str = "") -> tuple[str, ...]:
    """Make a reload command that can be counted."""
    return ("sh", "-c", f'echo rung >> "$0"; {then}', str(rung))


def times(rung: Path) -> int:
    """Say how often it was run."""
    return rung.read_text().count("rung") if rung.exists() else 0


@contextmanager
def closing(access_map: PostfixMap) -> Iterator[PostfixMap]:
    """Close a map in the end."""
    try:
        yield access_map
    finally:
        access_map.close()


def test_postfix_is_reloaded_only_where_the_map_was_missing(tmp_path: Path, kind: str, rung: Path) -> None:
    """An smtpd that started without it would answer 451 until it ends; any other reload is a disturbance."""
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace([A])
        assert times(rung) == 1
        access_map.replace([B])
        access_map.change([A], [B])
        assert times(rung) == 1
        (tmp_path / f"clients{KINDS[kind]}").unlink()
        access_map.replace([A])
        assert times(rung) == 2
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace([A])
    assert times(rung) == 2


def test_a_change_that_finds_the_map_missing_owes_a_reload(tmp_path: Path, kind: str, rung: Path) -> None:
    """An smtpd may have started meanwhile, and does not look for the map again."""
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace([A])
        (tmp_path / f"clients{KINDS[kind]}").unlink()
        with suppress(PopBeforeSmtpError):
            access_map.change([B], [])
        access_map.replace([A, B])
    assert times(rung) == 2


@pytest.mark.parametrize("damage", [b"", b"no map at all", b"\xff" * 40000], ids=len)
def test_a_broken_map_is_built_anew_and_postfix_reloaded(tmp_path: Path, kind: str, rung: Path, damage: bytes) -> None:
    """To Postfix it is no better than none."""
    (tmp_path / f"clients{KINDS[kind]}").write_bytes(damage)
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace([A])
        access_map.change([B], [])
        assert set(read(tmp_path, kind)) == {A, B}
    assert times(rung) == 1


def test_a_map_from_before_the_machine_started_is_built_anew(tmp_path: Path, path: Path, rung: Path) -> None:
    """A power failure may have torn it; Postfix has read nothing yet, and needs no reload."""
    with closing(make(tmp_path)) as access_map:
        access_map.replace([A])
    os.utime(path, (1000, 1000))
    with path.open() as old, closing(make(tmp_path, bell(rung))) as access_map:
        access_map.replace([B])
        assert path.stat().st_ino != os.fstat(old.fileno()).st_ino
        assert set(read(tmp_path)) == {B}
    assert times(rung) == 0


def test_a_mail_system_that_does_not_run_needs_no_reload(tmp_path: Path, rung: Path) -> None:
    """It will find the map when it starts."""
    with closing(make(tmp_path, bell(rung, 'echo "the Postfix mail system is not running" >&2; exit 1'))) as access_map:
        access_map.replace([A])
    assert times(rung) == 1


@pytest.mark.parametrize(
    "command",
    [("/no/such/program",), ("sh", "-c", "echo no such luck >&2; exit 1"), ("sh", "-c", r"printf '\377' >&2; exit 1")],
    ids=["no such program", "fails", "fails and says bytes that are no UTF-8"],
)
def test_a_reload_that_failed_is_said_and_the_map_is_true_all_the_same(
    tmp_path: Path, command: tuple[str, ...], said: list[str]
) -> None:
    """The administrator must do it by hand, and has to know."""
    with closing(make(tmp_path, command)) as access_map:
        access_map.replace([A])
        assert set(read(tmp_path)) == {A}
    (sentence,) = said
    assert " ".join(command[:1]) in sentence


# Somebody else's


@pytest.mark.parametrize(
    "entry", [b"example.net REJECT\n", b"m\xfcller@example.net REJECT\n"], ids=["name", "no UTF-8"]
)
@pytest.mark.parametrize("age", ["new", "from before the machine started"])
def test_a_map_of_somebody_else_is_refused_and_left_untouched(
    tmp_path: Path, kind: str, age: str, entry: bytes
) -> None:
    """A wrong setting must not cost an administrator's own table."""
    source, file = tmp_path / "clients", tmp_path / f"clients{KINDS[kind]}"
    source.write_bytes(entry + b"192.0.2.1 OK\n")
    postmap("-u", f"{kind}:{source}")  # -u: as before SMTPUTF8, when names could be of any bytes
    if age != "new":
        os.utime(file, (1000, 1000))
    before, data = file.stat(), file.read_bytes()
    with closing(make(tmp_path, kind=kind)) as access_map, pytest.raises(DataError, match="not ours"):
        access_map.replace([B])
    assert file.stat().st_ino == before.st_ino
    assert file.read_bytes() == data


@pytest.mark.parametrize("kind", ["cdb", "hash", "btree"], indirect=True)
def test_a_change_that_changes_nothing_restarts_nobody(tmp_path: Path, kind: str) -> None:
    """Each write of such a map makes every smtpd start anew; who came and went in one burst is no reason for it."""
    file = tmp_path / f"clients{KINDS[kind]}"
    access_map = make(tmp_path, kind=kind)
    access_map.replace([A])
    with file.open() as before:
        access_map.change([], [B])
        access_map.change([A], [])
        assert file.stat().st_ino == os.fstat(before.fileno()).st_ino


@pytest.mark.parametrize("kind", ["cdb", "hash", "btree"], indirect=True)
def test_a_map_that_cannot_be_changed_in_place_is_replaced_by_a_rename(tmp_path: Path, kind: str) -> None:
    """Whoever has the old file open keeps it whole."""
    file = tmp_path / f"clients{KINDS[kind]}"
    access_map = make(tmp_path, kind=kind)
    access_map.replace([A])
    data = file.read_bytes()
    with file.open("rb") as before:
        access_map.change([B], [A])
        assert os.fstat(before.fileno()).st_nlink == 0
        assert before.read() == data
    assert set(read(tmp_path, kind)) == {B}


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


def test_a_change_waits_for_a_lookup_that_is_in_progress(access_map: PostfixMap, path: Path, tmp_path: Path) -> None:
    """And is made when the lookup is over."""
    access_map.replace([A])
    with lookup_in_progress(path) as holder:
        done = threading.Event()

        def change() -> None:
            access_map.change([B], [A])
            done.set()

        thread = threading.Thread(target=change)
        thread.start()
        assert not done.wait(0.1)
        assert holder.stdin is not None
        holder.stdin.close()
        assert done.wait(LIMIT)
        thread.join()
    assert set(read(tmp_path)) == {B}


def test_a_lock_that_is_never_given_back_is_an_error_and_changes_nothing(
    access_map: PostfixMap, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried again later; the map is as it was."""
    monkeypatch.setattr("popbeforesmtp.mtas._lmdb._LOCK_SECONDS", 0.1)
    access_map.replace([A])
    with lookup_in_progress(path):
        with pytest.raises(MapError, match="lock"):
            access_map.change([B], [A])
        with pytest.raises(MapError, match="lock"):
            access_map.replace([B])
    assert set(read(tmp_path)) == {A}
    access_map.change([B], [A])
    assert set(read(tmp_path)) == {B}


def test_a_lookup_waits_for_a_change_that_is_in_progress(
    access_map: PostfixMap, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the transaction is written, another process cannot have the lock of a lookup."""
    access_map.replace([A])
    taken: list[str] = []
    ask = "import fcntl,os,sys; fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)"

    def look_up(*_: object) -> None:
        run = subprocess.run([sys.executable, "-c", ask, str(path)], capture_output=True, text=True, check=False)
        taken.append("locked out" if "BlockingIOError" in run.stderr else "got in")

    monkeypatch.setattr("popbeforesmtp.mtas._lmdb._put", look_up)
    access_map.change([B], [])
    look_up()
    assert taken == ["locked out", "got in"]


# Where it may not be written, and settings


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=oct)
def test_a_place_that_may_not_be_written_is_one_sentence(kind: str, mode: int) -> None:
    """Also where not even the folder may be looked into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(mode)
        access_map = make(folder, kind=kind)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(NotPermittedError, match="may not be written"):
                access_map.replace([A])
        finally:
            os.seteuid(0)


@pytest.mark.parametrize("name", ["/x", "lmdb", "lmdb:", "lmdb:x", "cdb:./x", "texthash:/x", "proxy:lmdb:/x", ":/x"])
def test_a_map_that_cannot_be_written_is_refused_with_a_way_out(name: str) -> None:
    """Only types that can be written, with a whole path."""
    with pytest.raises(ConfigError, match=r"(lmdb|cdb):/"):
        open_map(map=name, reload="never")


def test_settings_become_the_map_that_they_say(tmp_path: Path) -> None:
    """The file has Postfix's suffix, the name has none."""
    access_map = open_map(map=f"lmdb:{tmp_path}/clients", result="RELAY", reload="never")
    with closing(access_map):
        access_map.replace([A])
        assert access_map.name == f"lmdb:{tmp_path}/clients"
        assert read(tmp_path) == {A: "RELAY"}


def test_an_unknown_word_for_reload_is_refused() -> None:
    """With what may be written."""
    with pytest.raises(ConfigError, match='"auto", "never"'):
        open_map(map="lmdb:/x", reload="sometimes")
