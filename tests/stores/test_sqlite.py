"""``type = "sqlite"``."""

import os
import sqlite3
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.errors import CannotCreateError, NotPermittedError, UnavailableError
from popbeforesmtp.model import Authorization, Origin, Tombstone
from popbeforesmtp.rules import by_hand
from popbeforesmtp.stores import Batch, Progress, Store, StoreError
from popbeforesmtp.stores.sqlite import SqliteStore, open_store, read_store
from tests.clocks import FakeClock
from tests.stores.contract import MICRO, ONE, SIX, TWO, StoreContract, by_client, grant, granted


@pytest.fixture
def store(path: Path, clock: FakeClock) -> Iterator[SqliteStore]:
    """Return an empty store."""
    opened = open_store(clock=clock, path=path)
    yield opened
    opened.close()


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return path.stat().st_mode & 0o7777


class TestSqliteStore(StoreContract):
    """The store that most have."""

    @pytest.fixture
    def store(self, clock: FakeClock, tmp_path: Path) -> Iterator[Store]:
        """Return an empty store."""
        opened = open_store(clock=clock, path=tmp_path / "state.sqlite")
        yield opened
        opened.close()


def test_only_its_owner_may_read_the_file_and_what_sqlite_puts_beside_it(
    store: SqliteStore, path: Path, clock: FakeClock
) -> None:
    """Who logged in from where is nobody's business: the file, its log and its index have mode 0600."""
    store.write(granted(grant(ONE, clock.now())))
    beside = sorted(path.parent.iterdir())
    assert {"state.sqlite", "state.sqlite-shm", "state.sqlite-wal"} <= {entry.name for entry in beside}
    assert {mode(entry) for entry in beside} == {0o600}


def test_missing_folders_are_made(tmp_path: Path, clock: FakeClock) -> None:
    """A first start needs no preparation."""
    path = tmp_path / "var" / "lib" / "state.sqlite"
    open_store(clock=clock, path=path).close()
    assert mode(path) == 0o600
    assert mode(path.parent) & 0o022 == 0


def test_what_was_written_is_there_when_it_is_opened_again(path: Path, clock: FakeClock) -> None:
    """A restart changes nobody's window and forgets no place in any log."""
    store = open_store(clock=clock, path=path)
    grants = [grant(ONE, clock.now()), grant(SIX, clock.now(), 7.000001, user="bob")]
    progress = {"/var/log/mail.log": Progress("inode=1 offset=10", clock.now().wall), "journal": Progress("", None)}
    store.write(granted(*grants, progress=progress))
    store.close()
    assert not {"state.sqlite-shm", "state.sqlite-wal"} & {entry.name for entry in path.parent.iterdir()}
    for opening in (open_store, read_store):
        again = opening(clock=clock, path=path)
        assert by_client(again.load(clock.now())) == grants
        assert dict(again.progress()) == progress
        again.close()


def test_user_names_keep_their_bytes(path: Path, clock: FakeClock) -> None:
    """A name that is no UTF-8, or holds a NUL, comes back byte for byte."""
    name = b"caf\xe9\xff\0 '; DROP TABLE authorizations; --".decode("utf-8", "surrogateescape")
    store = open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now(), user=name)))
    store.close()
    again = open_store(clock=clock, path=path)
    (entry,) = again.load(clock.now())
    again.close()
    assert entry.user == name
    assert entry.user.encode("utf-8", "surrogateescape").startswith(b"caf\xe9\xff\0")


texts = st.text(max_size=20)

times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC))

authorizations = st.builds(
    Authorization,
    client=st.ip_addresses().map(lambda address: parse_address(str(address)) or ClientAddress("192.0.2.1")),
    expires_at=times.filter(lambda time: time > datetime(1970, 1, 2, tzinfo=UTC)),
    deadline=st.floats(1.0, 1e9),
    user=st.binary(max_size=30).map(lambda data: data.decode("utf-8", "surrogateescape")),
    service=texts,
    login_at=times,
    format=texts,
    origin=st.builds(Origin, source=texts, offset=st.integers(0, 2**63 - 1), cursor=texts),
    rule=texts,
    session=texts,
    uid=st.none() | st.integers(0, 2**32 - 1),
    why=texts,
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(authorizations, max_size=4, unique_by=lambda entry: entry.client),
    st.dictionaries(texts, st.builds(Progress, texts, st.none() | times), max_size=3),
)
def test_whatever_goes_in_comes_out(grants: list[Authorization], progress: dict[str, Progress]) -> None:
    """Every value survives the file, to the byte, the bit and the microsecond."""
    clock = FakeClock(wall=datetime(1970, 1, 1, tzinfo=UTC), boottime=0.5)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.sqlite"
        store = open_store(clock=clock, path=path)
        store.write(granted(*grants, progress=progress))
        store.close()
        again = read_store(clock=clock, path=path)
        assert by_client(again.load(clock.now())) == by_client(grants)
        assert dict(again.progress()) == progress
        again.close()


def test_a_batch_that_fails_half_way_leaves_nothing(store: SqliteStore, path: Path, clock: FakeClock) -> None:
    """A login is never kept without the place behind its line, nor the place without the login."""
    store.write(granted(grant(ONE, clock.now()), progress={"log": Progress("1", None)}))
    other = sqlite3.connect(path)
    other.execute("CREATE TRIGGER full BEFORE UPDATE ON progress BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
    other.commit()
    batch = granted(grant(TWO, clock.now()), ended=[ONE], progress={"log": Progress("2", None)})
    with pytest.raises(StoreError, match=r"state\.sqlite: the disk is full"):
        store.write(batch)
    assert store.load(clock.now()) == [grant(ONE, clock.now())]
    assert dict(store.progress()) == {"log": Progress("1", None)}
    other.execute("DROP TRIGGER full")
    other.commit()
    other.close()
    store.write(batch)
    assert store.load(clock.now()) == [grant(TWO, clock.now())]
    assert dict(store.progress()) == {"log": Progress("2", None)}


def test_what_cannot_be_written_as_sql_leaves_nothing_either(store: SqliteStore, clock: FakeClock) -> None:
    """A value that SQLite has no room for spoils its own batch, and the store goes on."""
    good, bad = grant(ONE, clock.now()), grant(TWO, clock.now())
    bad = bad._replace(deadline=float("nan"))  # stored as NULL, and the column allows none
    with pytest.raises(StoreError):
        store.write(granted(good, bad))
    assert store.load(clock.now()) == []
    store.write(granted(good))
    assert store.load(clock.now()) == [good]


def test_a_database_that_another_process_has_locked_is_an_error_that_passes(
    store: SqliteStore, path: Path, clock: FakeClock
) -> None:
    """While it is locked nothing is written and we are told; afterwards the same batch goes in."""
    store._database.execute("PRAGMA busy_timeout = 0")  # five seconds is too long for a test
    store.write(granted(grant(ONE, clock.now())))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match=r"state\.sqlite: database is locked$"):
        store.write(granted(grant(TWO, clock.now())))
    with pytest.raises(StoreError, match="locked"):
        store.purge(clock.now())
    assert store.load(clock.now()) == [grant(ONE, clock.now())]
    other.execute("ROLLBACK")
    other.close()
    store.write(granted(grant(TWO, clock.now())))
    assert by_client(store.load(clock.now())) == [grant(ONE, clock.now()), grant(TWO, clock.now())]


def test_a_sweep_and_the_daemon_may_have_it_open_together(store: SqliteStore, path: Path, clock: FakeClock) -> None:
    """What one process takes out, the other does not see any more."""
    store.write(granted(grant(ONE, clock.now(), 10), grant(TWO, clock.now(), 20)))
    sweeping = read_store(clock=clock, path=path)
    sweeping.purge(clock.advance(10))
    sweeping.close()
    assert [entry.client for entry in store.load(FakeClock().now())] == [TWO]


def test_a_second_daemon_is_refused_while_the_first_one_runs(store: SqliteStore, path: Path, clock: FakeClock) -> None:
    """Two daemons never keep one store; when the first is gone, the next may."""
    with pytest.raises(UnavailableError, match=r"state\.sqlite: is in use"):
        open_store(clock=clock, path=path)
    store.write(granted(grant(ONE, clock.now())))
    store.close()
    second = open_store(clock=clock, path=path)
    assert second.load(clock.now()) == [grant(ONE, clock.now())]
    second.close()


def test_it_may_be_used_in_a_thread_other_than_the_one_that_opened_it(store: SqliteStore, clock: FakeClock) -> None:
    """The daemon opens it before it starts, and then writes in a worker thread."""
    thread = threading.Thread(target=store.write, args=(granted(grant(ONE, clock.now())),))
    thread.start()
    thread.join()
    assert store.load(clock.now()) == [grant(ONE, clock.now())]


def test_after_its_end_every_use_is_an_error_with_a_sentence(store: SqliteStore, clock: FakeClock) -> None:
    """A store that was closed says so, and closing it again is no error."""
    store.close()
    for use in (
        lambda: store.load(clock.now()),
        lambda: store.purge(clock.now()),
        store.progress,
        lambda: store.write(Batch(ended={ONE})),
    ):
        with pytest.raises(StoreError, match=r"state\.sqlite: .*closed"):
            use()
    store.close()


def refused(path: Path, clock: FakeClock) -> None:
    """See that a file is not taken for a store, that one sentence says which file, and that the file stays as it is."""
    before = path.read_bytes()
    for opening in (open_store, read_store, open_store):  # what was refused is held by nobody
        with pytest.raises(StoreError) as error:
            opening(clock=clock, path=path)
        assert str(error.value).startswith(f"{path}: ")
        assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path, clock: FakeClock) -> None:
    """Somebody's text file is not overwritten because a setting names it."""
    path.write_text("127.0.0.1 OK\n" * 200)
    refused(path, clock)


def test_a_database_of_somebody_else_is_refused_and_left_alone(path: Path, clock: FakeClock) -> None:
    """Not a byte of another program's database is changed, not even its journal mode."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE precious (thing TEXT)")
    database.close()
    refused(path, clock)


@pytest.mark.parametrize("version", [-1, 1, 99])
def test_a_store_of_another_version_is_refused_and_left_alone(path: Path, clock: FakeClock, version: int) -> None:
    """A newer program's store is not read as if it were ours; the sentence says the way out."""
    open_store(clock=clock, path=path).close()
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {version}")
    database.close()
    refused(path, clock)
    with pytest.raises(StoreError, match="move it away"):
        open_store(clock=clock, path=path)


def test_a_store_that_was_damaged_is_refused(path: Path, clock: FakeClock) -> None:
    """A file whose pages are garbage is an error with a sentence, at the latest when it is read."""
    store = open_store(clock=clock, path=path)
    store.write(granted(*(grant(ClientAddress(f"192.0.2.{number}"), clock.now()) for number in range(256))))
    store.close()
    data = bytearray(path.read_bytes())
    data[200:] = b"\xa5" * (len(data) - 200)
    path.write_bytes(data)

    def use() -> None:
        open_store(clock=clock, path=path).load(clock.now())

    with pytest.raises(StoreError, match=r"state\.sqlite: .*malformed"):
        use()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("client", "junk"),
        ("client", "192.0.2.0/24"),
        ("expires_at", 1 << 62),
        ("login_at", -(1 << 62)),
        ("deadline", float("inf")),
        ("deadline", 1e300),
    ],
)
def test_a_row_that_no_daemon_ever_wrote_lets_nobody_in_and_stops_nothing(
    store: SqliteStore, path: Path, clock: FakeClock, column: str, value: object, said: list[str]
) -> None:
    """All others count; it is said once."""
    store.write(granted(grant(ONE, clock.now()), grant(TWO, clock.now())))
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE authorizations SET {column} = ? WHERE client = ?", (value, TWO))
    other.close()
    for _ in range(2):
        assert [each.client for each in store.load(clock.now())] == [ONE]
        store.purge(clock.now())
        assert store.load_client(TWO, clock.now()) == []
    assert ["a row cannot be read" in each for each in said] == [True]


@pytest.mark.parametrize("hand", ["grant", "revoke", ""])
def test_what_is_done_by_hand_is_brought_to_the_disk(store: SqliteStore, clock: FakeClock, hand: str) -> None:
    """A power failure may undo what the log tells again, and nothing else (PRAGMA synchronous)."""
    done: list[str] = []
    store._database.set_trace_callback(done.append)
    batch, now = granted(grant(ONE, clock.now())), clock.now()
    if hand == "grant":
        batch.grant(by_hand(TWO, now.wall + timedelta(hours=1), now, 0, ""))
    elif hand == "revoke":
        batch.tombstones.append(Tombstone("all", "", now.wall, now.wall))
    store.write(batch)
    store.write(granted(grant(ONE, clock.now())))
    ways = [each.rpartition(" ")[2] for each in done if each.startswith("PRAGMA synchronous")]
    assert ways == ["FULL" if hand else "NORMAL", "NORMAL"]
    assert done.index("COMMIT") > done.index(f"PRAGMA synchronous = {ways[0]}")


def test_a_symlink_in_place_of_the_file_is_refused(path: Path, clock: FakeClock) -> None:
    """Nobody makes the daemon write into a file of theirs, or make one for them."""
    target = path.with_name("elsewhere")
    path.symlink_to(target)
    with pytest.raises(NotPermittedError) as error:
        open_store(clock=clock, path=path)
    assert str(error.value) == f"{path}: is a symbolic link; remove it, or choose another place"
    assert not target.exists()


def test_a_folder_in_place_of_the_file_is_refused(path: Path, clock: FakeClock) -> None:
    """What cannot be a file is an error with a sentence that names the setting."""
    path.mkdir()
    with pytest.raises(CannotCreateError, match=r"set \[store\] path"):
        open_store(clock=clock, path=path)


def test_a_file_in_place_of_the_folder_is_refused(path: Path, clock: FakeClock) -> None:
    """Where the folder cannot be made the sentence names the setting as well."""
    path.write_text("")
    with pytest.raises(CannotCreateError, match=r"set \[store\] path"):
        open_store(clock=clock, path=path / "deeper" / "state.sqlite")


def test_reading_never_makes_a_store(path: Path, clock: FakeClock) -> None:
    """A sweep or a question where there is no store says so, and leaves none behind."""
    with pytest.raises(StoreError, match="there is no store"):
        read_store(clock=clock, path=path)
    assert list(path.parent.iterdir()) == []


def test_times_are_exact_to_the_microsecond(store: SqliteStore, clock: FakeClock) -> None:
    """No rounding lengthens a window."""
    odd = grant(ONE, clock.now())._replace(expires_at=clock.now().wall + timedelta(seconds=9) - MICRO)
    store.write(granted(odd))
    assert store.load(clock.now())[0].expires_at == odd.expires_at
    store.purge(clock.advance(9, microseconds=-2))
    assert len(store.load(clock.now())) == 1
    store.purge(clock.advance(microseconds=1))
    assert store.load(FakeClock().now()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give anything away")
def test_what_root_makes_belongs_to_whom_the_folder_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or one try as root would keep the daemon's own user out for good."""
    monkeypatch.setattr("popbeforesmtp.privileges.USER", "nobody")
    os.chown(tmp_path, 65534, 65534)
    path = tmp_path / "state.sqlite"
    store = open_store(clock=FakeClock(), path=path)
    store.write(granted(grant(ONE, FakeClock().now())))
    files = list(tmp_path.iterdir())
    assert {file.name for file in files} >= {"state.sqlite", "state.sqlite.lock", "state.sqlite-wal"}
    assert {(file.stat().st_uid, file.stat().st_gid) for file in files} == {(65534, 65534)}
    store.close()
