"""The promises of every access map. A map's test file makes a subclass and says how its mail server reads it."""

import os
import shutil
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.errors import PopBeforeSmtpError
from popbeforesmtp.mtas import AccessMap

A, B, C = ClientAddress("192.0.2.1"), ClientAddress("192.0.2.2"), ClientAddress("198.51.100.23")
V6 = ClientAddress("2001:db8:1:2:3:4:5:6")
DOUBTFUL = [ClientAddress(text) for text in ("2001:db8::10", "2001:db8::", "2001:db8:1:2:3:4:5:6", "2001:db8::1:0:0:1")]

END = datetime(2026, 11, 22, 12, tzinfo=UTC)

OpenMap = Callable[[Path], AccessMap]
"""Makes a map object for a folder; two calls with one folder mean the same map."""

ReadMap = Callable[[Path], dict[str, str]]
"""Says which keys and results the mail server finds in the map of a folder."""

CLIENTS = st.sets(st.integers(1, 30).map(lambda number: ClientAddress(f"192.0.2.{number}")), max_size=12)


def ends(clients: Iterable[ClientAddress]) -> dict[ClientAddress, datetime]:
    """Say that these may relay, all until the same moment."""
    return dict.fromkeys(clients, END)


class AnyMapContract:
    """What the publisher relies on, also where nobody knows what keeps the clients."""

    @pytest.fixture
    def open_map(self) -> OpenMap:
        """Say how a map is made; a subclass knows."""
        raise NotImplementedError

    @pytest.fixture
    def read_map(self) -> ReadMap:
        """Say how the mail server reads it; a subclass knows."""
        raise NotImplementedError

    @pytest.fixture
    def made(self, open_map: OpenMap, tmp_path: Path) -> AccessMap:
        """Make a map that holds nobody yet."""
        made = open_map(tmp_path)
        made.replace({})
        return made

    def test_replacing_makes_it_hold_exactly_these(self, made: AccessMap, read_map: ReadMap, tmp_path: Path) -> None:
        """Whoever else was in it is out."""
        made.replace(ends([A, B, V6]))
        assert set(read_map(tmp_path)) == {A, B, V6}
        made.replace(ends([B, C]))
        assert set(read_map(tmp_path)) == {B, C}
        made.replace({})
        assert read_map(tmp_path) == {}

    def test_a_change_lets_some_in_and_others_out(self, made: AccessMap, read_map: ReadMap, tmp_path: Path) -> None:
        """And leaves the rest as it is."""
        made.replace(ends([A, B]))
        made.change(ends([C, V6]), [A])
        assert set(read_map(tmp_path)) == {B, C, V6}

    def test_a_change_may_be_said_twice(self, made: AccessMap, read_map: ReadMap, tmp_path: Path) -> None:
        """To let in who is in, or out who is out, changes nothing."""
        for _ in range(2):
            made.change(ends([A]), [B])
            assert set(read_map(tmp_path)) == {A}

    def test_every_client_has_the_same_result(self, made: AccessMap, read_map: ReadMap, tmp_path: Path) -> None:
        """Nothing that changes with a renewal belongs in a map, nor does a name."""
        made.replace(ends([A]))
        made.change(ends([B]), [])
        assert read_map(tmp_path) == {A: "OK", B: "OK"}

    @settings(
        # one promise, of several classes
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors],
        max_examples=15,
        deadline=None,
    )
    @given(st.lists(st.tuples(CLIENTS, CLIENTS, st.booleans()), min_size=1, max_size=6))
    def test_any_changes_leave_what_they_say(
        self,
        made: AccessMap,
        read_map: ReadMap,
        tmp_path: Path,
        steps: list[tuple[set[ClientAddress], set[ClientAddress], bool]],
    ) -> None:
        """The map is what a set would be."""
        made.replace({})
        holds: set[ClientAddress] = set()
        for come, go, whole in steps:
            if whole:
                made.replace(ends(come))
                holds = set(come)
            else:
                made.change(ends(come), go - come)
                holds = (holds | come) - (go - come)
        assert set(read_map(tmp_path)) == holds

    def test_closing_leaves_the_map_as_it_is(self, made: AccessMap, read_map: ReadMap, tmp_path: Path) -> None:
        """It is never deleted; a mail server may be reading it."""
        made.replace(ends([A]))
        made.close()
        assert set(read_map(tmp_path)) == {A}

    def test_a_new_daemon_makes_an_old_map_true(
        self, made: AccessMap, open_map: OpenMap, read_map: ReadMap, tmp_path: Path
    ) -> None:
        """Whoever expired while it was down is out."""
        made.replace(ends([A, B]))
        made.close()
        open_map(tmp_path).replace(ends([B, C]))
        assert set(read_map(tmp_path)) == {B, C}

    def test_shutting_it_lets_nobody_in_even_where_nothing_can_be_written(
        self, made: AccessMap, read_map: ReadMap, tmp_path: Path
    ) -> None:
        """It needs no room on the disk; what is published next makes the map true again."""
        made.replace(ends([A, B]))
        made.shut()
        assert read_map(tmp_path) == {}
        assert made.lost()
        made.replace(ends([B]))
        assert set(read_map(tmp_path)) == {B}
        made.shut()
        assert read_map(tmp_path) == {}

    def test_a_map_in_its_place_is_not_lost(self, made: AccessMap) -> None:
        """Our own changes lose nothing."""
        made.replace(ends([A]))
        made.change(ends([B]), [A])
        assert not made.lost()

    def test_who_cannot_be_held_is_in_no_map(self, made: AccessMap, read_map: ReadMap, tmp_path: Path) -> None:
        """However it is brought, and taking it out is no error."""
        held = {client for client in DOUBTFUL if made.cannot_hold(client) is None}
        made.replace(ends(DOUBTFUL))
        assert set(read_map(tmp_path)) == held
        made.change(ends(DOUBTFUL), [])
        assert set(read_map(tmp_path)) == held
        made.change({}, DOUBTFUL)
        assert read_map(tmp_path) == {}


class AccessMapContract(AnyMapContract):
    """And what it relies on where the map is a file."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Name the file that the mail server opens; a subclass knows."""
        raise NotImplementedError

    def test_a_missing_map_is_made_even_for_nobody(
        self, open_map: OpenMap, read_map: ReadMap, tmp_path: Path, file: Path
    ) -> None:
        """It is there before the mail server asks for it."""
        assert not file.exists()
        open_map(tmp_path).replace({})
        assert file.is_file()
        assert read_map(tmp_path) == {}

    def test_a_missing_folder_is_made(self, open_map: OpenMap, read_map: ReadMap, tmp_path: Path) -> None:
        """With all folders above it, for everybody to enter: under the umask of the daemon too."""
        folder = tmp_path / "a" / "b"
        before = os.umask(0o077)
        try:
            open_map(folder).replace(ends([A]))
        finally:
            os.umask(before)
        assert set(read_map(folder)) == {A}
        assert [stat.S_IMODE(made.stat().st_mode) for made in (folder, folder.parent)] == [0o755, 0o755]

    def test_a_map_that_is_true_already_is_not_touched(self, made: AccessMap, file: Path) -> None:
        """Some mail servers begin anew whenever a map's file was written."""
        made.replace(ends([A, B]))
        os.utime(file, (2_000_000_000, 2_000_000_000))
        before, data = file.stat(), file.read_bytes()
        made.replace(ends([B, A]))
        after = file.stat()
        assert (after.st_ino, after.st_mtime_ns, file.read_bytes()) == (before.st_ino, before.st_mtime_ns, data)

    @pytest.mark.parametrize("umask", [0, 0o027, 0o077])
    def test_everybody_may_read_it_and_only_its_owner_write_it(
        self, open_map: OpenMap, tmp_path: Path, file: Path, umask: int
    ) -> None:
        """Mode 0644, whatever the umask."""
        before = os.umask(umask)
        try:
            made = open_map(tmp_path)
            made.replace(ends([A]))
            made.change(ends([B]), [A])
        finally:
            os.umask(before)
        assert stat.S_IMODE(file.stat().st_mode) == 0o644

    def test_nothing_else_is_left_in_its_folder(self, made: AccessMap, tmp_path: Path, file: Path) -> None:
        """No half-made file, no lock, no copy; only a map that holds nobody, kept ready."""
        made.replace(ends([A]))
        made.change(ends([B]), [A])
        assert sorted(tmp_path.iterdir()) == sorted([file, file.with_name(f".{file.name}.nobody")])

    def test_a_map_that_was_removed_is_lost_and_made_again(
        self, made: AccessMap, read_map: ReadMap, tmp_path: Path, file: Path
    ) -> None:
        """By whoever tidied up."""
        made.replace(ends([A]))
        file.unlink()
        assert made.lost()
        made.replace(ends([A, B]))
        assert not made.lost()
        assert set(read_map(tmp_path)) == {A, B}
        made.change(ends([C]), [A])
        assert set(read_map(tmp_path)) == {B, C}

    @pytest.mark.parametrize("taken", ["removed", "replaced"])
    def test_a_map_that_is_taken_away_before_we_look_at_what_we_wrote_is_lost_too(
        self, taken: str, made: AccessMap, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Right behind the rename: what stands there by then is not what was written."""
        made.replace(ends([A]))
        other = Path(shutil.copy(file, tmp_path / "other"))
        rename, renamed = Path.replace, []

        def rename_and_lose(path: Path, target: Path) -> Path:
            found = rename(path, target)
            if Path(target) == file:
                renamed.append(target)
                file.unlink() if taken == "removed" else other.rename(file)
            return found

        monkeypatch.setattr(Path, "replace", rename_and_lose)
        with suppress(PopBeforeSmtpError):
            made.change(ends([B]), [A])
        monkeypatch.undo()
        assert made.lost() == bool(renamed)

    def test_a_map_that_another_file_took_the_place_of_is_lost_and_made_true(
        self, made: AccessMap, open_map: OpenMap, read_map: ReadMap, tmp_path: Path, file: Path
    ) -> None:
        """A backup put back lets nobody in who has left."""
        elsewhere = tmp_path / "elsewhere"
        old = open_map(elsewhere)
        old.replace(ends([C]))
        old.close()
        made.replace(ends([A]))
        (elsewhere / file.relative_to(tmp_path)).rename(file)
        assert made.lost()
        made.replace(ends([A]))
        assert not made.lost()
        assert set(read_map(tmp_path)) == {A}

    def test_a_change_of_a_map_that_was_removed_loses_nobody(
        self, made: AccessMap, read_map: ReadMap, tmp_path: Path, file: Path
    ) -> None:
        """What goes into a file without a name reaches nobody: it is an error, or the map is there again, whole."""
        made.replace(ends([A]))
        file.unlink()
        try:
            made.change(ends([B]), [])
        except PopBeforeSmtpError:
            made.replace(ends([A, B]))
        assert set(read_map(tmp_path)) == {A, B}

    def test_a_place_where_no_map_can_be_is_one_sentence(self, open_map: OpenMap, tmp_path: Path) -> None:
        """Not a traceback."""
        blocked = tmp_path / "file"
        blocked.write_text("")
        with pytest.raises(PopBeforeSmtpError, match="file"):
            open_map(blocked / "folder").replace(ends([A]))
