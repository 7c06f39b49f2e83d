"""A program of the administrator's: what it is told, and what it cannot do to us."""

import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from popbeforesmtp import wiring
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.config import Section
from popbeforesmtp.errors import ConfigError, NotPermittedError, PopBeforeSmtpError, UnavailableError
from popbeforesmtp.mtas import MapError, _program
from popbeforesmtp.mtas.command import ClientCommand, ListCommand, open_map
from tests.clocks import START, FakeClock
from tests.mtas.contract import V6, A, AnyMapContract, B, C, OpenMap, ReadMap
from tests.site import ROOT, wait_for

WRITE_LIST = str(ROOT / "contrib" / "command" / "write-list")
SOON, LATER = START + timedelta(seconds=90), START + timedelta(minutes=30)
EARLY = FakeClock(START - timedelta(days=1))  # nothing of the contract's ends meanwhile

Write = Callable[..., tuple[str, ...]]


@pytest.fixture
def clock() -> FakeClock:
    """A clock that stands still."""
    return FakeClock()


@pytest.fixture
def program(tmp_path: Path) -> Write:
    """Make a program of some lines of shell; the result is how to run it."""

    def write(text: str, name: str = "program") -> tuple[str, ...]:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return (str(path),)

    return write


def open_list(clock: FakeClock, *command: str) -> ListCommand:
    """Open a map that hands over all clients."""
    made = open_map(clock=clock, list=command)
    assert isinstance(made, ListCommand)
    return made


class Told:
    """A program that keeps what it is told: a line for each run, and a file for each client that is in."""

    def __init__(self, clock: FakeClock, folder: Path, *words: str) -> None:
        self.clock = clock
        self.folder = folder
        self._words = words
        (folder / "in").mkdir(parents=True, exist_ok=True)
        self.broken = folder / "broken"
        self._path = folder / "told"
        self._path.write_text(
            '#!/bin/sh\ncd "${0%/*}" || exit\necho "$*" >>log\n! grep -sqxF -e "$2" broken || '
            '{ echo no >&2; exit 3; }\ncase $1 in in) : >"in/$2" ;; out) rm -f "in/$2" ;; none) rm -f in/* ;; esac\n'
        )
        self._path.chmod(0o755)

    def open(self) -> ClientCommand:
        """Open a map that tells it."""
        path = str(self._path)
        made = open_map(
            clock=self.clock,
            grant=(path, "in", "{address}", *self._words),
            expire=(path, "out", "{address}"),
            clear=(path, "none"),
        )
        assert isinstance(made, ClientCommand)
        return made

    def holds(self) -> set[str]:
        """Return who is in."""
        return {path.name for path in (self.folder / "in").iterdir()}

    def runs(self) -> list[str]:
        """Return the arguments of all runs since the last question."""
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        log.write_text("")
        return lines


class TestListCommand(AnyMapContract):
    """All clients at once, with the very program of contrib/command."""

    @pytest.fixture
    def open_map(self) -> OpenMap:
        """Keep them in a file."""
        return lambda folder: open_list(EARLY, WRITE_LIST, str(folder / "clients"))

    @pytest.fixture
    def read_map(self) -> ReadMap:
        """Read it as anybody would."""
        return lambda folder: dict.fromkeys((folder / "clients").read_text().splitlines(), "OK")


class TestClientCommand(AnyMapContract):
    """One by one."""

    @pytest.fixture
    def open_map(self) -> OpenMap:
        """Keep a file of each."""
        return lambda folder: Told(EARLY, folder).open()

    @pytest.fixture
    def read_map(self) -> ReadMap:
        """List the files."""
        return lambda folder: {path.name: "OK" for path in (folder / "in").iterdir()}


# All clients at once


def test_the_program_is_run_only_when_the_list_changes(clock: FakeClock, program: Write, tmp_path: Path) -> None:
    """It may rebuild a table each time. Who is in already, or out, changes nothing, nor does a renewal."""
    access_map = open_list(clock, *program(f"echo run >>{tmp_path}/runs; cat >{tmp_path}/clients"))
    access_map.replace({A: SOON})
    access_map.change({A: LATER}, [B])
    access_map.replace({A: LATER})
    assert not access_map.timed
    assert (tmp_path / "runs").read_text() == "run\n"
    access_map.change({B: SOON, V6: SOON}, [A])
    assert (tmp_path / "runs").read_text() == "run\nrun\n"
    assert (tmp_path / "clients").read_text() == f"{B}\n{V6}\n"


def test_a_list_that_the_program_did_not_take_is_handed_over_again(
    clock: FakeClock, program: Write, tmp_path: Path
) -> None:
    """Also where it is the same once more; what became of it is not known."""
    command = program(f'cat >"{tmp_path}/clients"; [ ! -e "{tmp_path}/broken" ]')
    access_map = open_list(clock, *command)
    access_map.replace({A: SOON})
    (tmp_path / "broken").touch()
    with pytest.raises(MapError, match="failed with status 1"):
        access_map.change({B: SOON}, [])
    assert access_map.lost()
    (tmp_path / "broken").unlink()
    (tmp_path / "clients").unlink()
    access_map.replace({A: SOON})
    assert (tmp_path / "clients").read_text() == f"{A}\n"


def test_who_is_over_already_is_not_in_the_list(clock: FakeClock, tmp_path: Path) -> None:
    """The publisher may be behind; the list never is."""
    access_map = open_list(clock, WRITE_LIST, str(tmp_path / "clients"))
    access_map.replace({A: START, B: LATER})
    access_map.change({C: START - timedelta(seconds=1)}, [])
    assert (tmp_path / "clients").read_text() == f"{B}\n"


def test_a_long_list_arrives_whole(clock: FakeClock, tmp_path: Path) -> None:
    """However slowly it is read, and however much more than a pipe it is."""
    clients = {ClientAddress(f"192.{a}.{b}.{c}"): LATER for a in range(4) for b in range(100) for c in range(250)}
    open_list(clock, WRITE_LIST, str(tmp_path / "clients")).replace(clients)
    assert set((tmp_path / "clients").read_text().splitlines()) == set(clients)


def test_a_list_that_nobody_reads_is_no_trouble(clock: FakeClock) -> None:
    """A program may have its own way to know."""
    open_list(clock, "/bin/true").replace(dict.fromkeys([A, B], LATER))


# One by one


def test_each_is_told_with_what_is_left_of_its_window(clock: FakeClock, tmp_path: Path) -> None:
    """In whole seconds, never more than there are."""
    told = Told(clock, tmp_path, "{seconds}", "{until}", "{family}", "x{ {address} }")
    access_map = told.open()
    assert access_map.timed
    access_map.replace({A: SOON - timedelta(microseconds=1)})
    access_map.change({V6: LATER}, [A])
    until = int(LATER.timestamp())
    assert told.runs() == [
        "none",
        f"in {A} 89 {until - 1800 + 89} 4 x{{ {A} }}",
        f"out {A}",
        f"in {V6} 1800 {until} 6 x{{ {V6} }}",
    ]


def test_a_renewal_is_told_where_the_program_asks_until_when(clock: FakeClock, tmp_path: Path) -> None:
    """And only where the end moved."""
    told = Told(clock, tmp_path, "{seconds}")
    access_map = told.open()
    access_map.replace({A: SOON, B: LATER})
    told.runs()
    clock.advance(10)
    access_map.change({A: LATER, B: LATER}, [])
    assert told.runs() == [f"in {A} 1790"]


def test_a_program_that_does_not_ask_until_when_hears_once_of_each(clock: FakeClock, tmp_path: Path) -> None:
    """A renewal is none of its business, nor is the end of who was never in."""
    told = Told(clock, tmp_path)
    access_map = told.open()
    assert not access_map.timed
    access_map.replace({A: SOON})
    access_map.change({A: LATER}, [B])
    access_map.replace({A: LATER})
    assert told.runs() == ["none", f"in {A}"]


@pytest.mark.parametrize("left", [-5.0, 0.0, 0.9])
def test_a_window_with_no_whole_second_left_is_not_granted(clock: FakeClock, tmp_path: Path, left: float) -> None:
    """No seconds are no limit to some programs. Who was in is taken out."""
    told = Told(clock, tmp_path, "{seconds}")
    access_map = told.open()
    access_map.replace({A: LATER})
    access_map.change({A: START + timedelta(seconds=left), B: START + timedelta(seconds=left)}, [])
    assert told.holds() == set()
    assert told.runs()[-1] == f"out {A}"


def test_a_failure_for_one_client_keeps_nobody_else_waiting(clock: FakeClock, tmp_path: Path) -> None:
    """All others are told; what failed is tried again with all, and what was done is not done again."""
    told = Told(clock, tmp_path)
    access_map = told.open()
    access_map.replace({A: SOON, B: SOON})
    told.broken.write_text(f"{B}\n")
    with pytest.raises(MapError, match=r"told out 192.0.2.2` failed with status 3: no$"):
        access_map.change({C: SOON}, [B, A])
    assert told.holds() == {B, C}
    told.broken.unlink()
    told.runs()
    access_map.replace({C: SOON})
    assert told.holds() == {C}
    assert told.runs() == [f"out {B}"]


def test_a_grant_that_failed_is_made_again_or_taken_back(clock: FakeClock, tmp_path: Path) -> None:
    """Nobody knows how far it came."""
    told = Told(clock, tmp_path)
    access_map = told.open()
    access_map.replace({})
    told.broken.write_text(f"{A}\n{B}\n")
    with pytest.raises(MapError, match=r"and 1 more$"):
        access_map.change({A: SOON, B: SOON}, [])
    told.broken.unlink()
    told.runs()
    access_map.replace({A: SOON})
    assert told.runs() == [f"out {B}", f"in {A}"]


def test_where_everybody_cannot_be_taken_out_nobody_is_let_in(clock: FakeClock, tmp_path: Path) -> None:
    """A start on who knows what is no start; once it works, it is done first."""
    told = Told(clock, tmp_path)
    access_map = told.open()
    told.broken.write_text("\n")
    with pytest.raises(MapError, match="none` failed"):
        access_map.replace({A: SOON})
    assert access_map.lost()
    assert told.runs() == ["none"]
    told.broken.unlink()
    access_map.replace({A: SOON})
    assert told.runs() == ["none", f"in {A}"]


def test_nothing_of_an_address_is_read_by_a_shell(clock: FakeClock, tmp_path: Path) -> None:
    """Arguments are what they are, with all their blanks and signs."""
    told = Told(clock, tmp_path, "a b; $(touch {address})", "*")
    told.open().replace({A: SOON})
    assert told.runs() == ["none", f"in {A} a b; $(touch {A}) *"]


# Running it


def test_it_gets_nothing_of_our_environment_and_no_file_of_ours(
    clock: FakeClock, program: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither secrets nor an open log; and what it writes may be read by others."""
    monkeypatch.setenv("SECRET", "x")
    with (tmp_path / "ours").open("w") as ours:
        os.set_inheritable(ours.fileno(), True)
        before = os.umask(0o077)
        try:
            open_list(clock, *program(f"exec >{tmp_path}/seen; env; pwd; ls -l /proc/$$/fd")).replace({A: SOON})
        finally:
            os.umask(before)
    seen = (tmp_path / "seen").read_text()
    assert "SECRET" not in seen
    assert "ours" not in seen
    assert {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C", "/"} <= set(seen.splitlines())
    assert stat.S_IMODE((tmp_path / "seen").stat().st_mode) == 0o644


def test_one_that_hangs_is_killed_with_all_that_it_started(
    clock: FakeClock, program: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the others are not tried: they would hang too."""
    monkeypatch.setattr(_program, "SECONDS", 0.5)
    command = program(f"sleep 600 & echo $! >{tmp_path}/child; echo waiting >&2; wait")
    began = time.monotonic()
    with pytest.raises(MapError, match=r"did not end in 0.5 s: waiting$"):
        open_list(clock, *command).replace({A: SOON})
    assert time.monotonic() - began < 20
    child = int((tmp_path / "child").read_text())
    wait_for("the child ends", lambda: not _runs(child))
    several = open_map(clock=clock, grant=(*command, "{address}"), expire=(*command, "{address}"), clear=("/bin/true",))
    with pytest.raises(MapError, match=r"did not end in 0.5 s: waiting$"):  # one, and no more
        several.replace(dict.fromkeys([A, B, C], SOON))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_what_it_left_running_is_not_waited_for(clock: FakeClock, program: Write) -> None:
    """Though that still holds its standard error."""
    began = time.monotonic()
    open_list(clock, *program("sleep 20 & exit 0")).replace({A: SOON})
    with pytest.raises(MapError, match="status 4"):
        open_list(clock, *program("sleep 20 & exit 4")).replace({A: SOON})
    assert time.monotonic() - began < 15


def test_what_it_complains_is_told_shortened(clock: FakeClock, program: Write) -> None:
    """With its lines in one; what it prints is nobody's business."""
    command = program("echo printed; echo one >&2; echo >&2; echo '  two' >&2; yes | head -c 9999 >&2; kill -TERM $$")
    with pytest.raises(MapError, match=f"was ended by signal {signal.SIGTERM:d}: one; two; y; ") as error:
        open_list(clock, *command).replace({A: SOON})
    assert "printed" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_one_that_is_gone_when_it_is_needed_is_trouble(clock: FakeClock, program: Write) -> None:
    """Which may pass, as a full disk may."""
    command = program("exit 0")
    access_map = open_list(clock, *command)
    Path(command[0]).unlink()
    with pytest.raises(MapError, match="cannot be run: No such file"):
        access_map.replace({A: SOON})


# Which may be run


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, "write either list ="),
        ({"list": ("/bin/true",), "clear": ("/bin/true",)}, "write either list ="),
        ({"list": ("true",)}, "must be an absolute path"),
        ({"list": ("/bin/true", "{address}")}, "{address} has no meaning here"),
        ({"grant": ("/bin/true", "{address}")}, "go together; write expire = .* and clear ="),
        (
            {"grant": ("/bin/true", "{adress}"), "expire": ("/bin/true", "{address}"), "clear": ("/bin/true",)},
            "grant: ",
        ),
        ({"grant": ("/bin/true", "{address}"), "expire": ("/bin/true",), "clear": ("/bin/true",)}, "expire: says no"),
        (
            {
                "grant": ("/bin/true", "{address}"),
                "expire": ("/bin/true", "{address}", "{until}"),
                "clear": ("/bin/true",),
            },
            "expire: {until} has no meaning",
        ),
    ],
)
def test_a_mistake_is_one_sentence_with_a_way_out(
    clock: FakeClock, settings: dict[str, tuple[str, ...]], sentence: str
) -> None:
    """As every mistake in a configuration."""
    with pytest.raises(ConfigError, match=sentence):
        open_map(clock=clock, **settings)


def test_a_program_that_others_can_write_is_not_run(clock: FakeClock, program: Write, tmp_path: Path) -> None:
    """They would do with our rights what they like; so too where they could put another in its place."""
    command = program("exit 0")
    open_list(clock, *command)
    Path(command[0]).chmod(0o757)
    with pytest.raises(NotPermittedError, match="may be written by others"):
        open_list(clock, *command)
    Path(command[0]).chmod(0o755)
    tmp_path.chmod(0o757)
    try:
        with pytest.raises(NotPermittedError, match="may be written by others"):
            open_list(clock, *command)
    finally:
        tmp_path.chmod(0o755)


def test_a_program_of_another_user_is_not_run(clock: FakeClock, program: Write) -> None:
    """Whoever owns it may write it."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to give a file away")
    command = program("exit 0")
    os.chown(command[0], 65534, -1)
    with pytest.raises(NotPermittedError, match="belongs to"):
        open_list(clock, *command)


@pytest.mark.parametrize("path", ["/nonexistent/program", "/etc/passwd", "/etc"])
def test_what_is_no_program_is_said(clock: FakeClock, path: str) -> None:
    """Before anything else."""
    with pytest.raises(UnavailableError, match="is no program"):
        open_list(clock, path)


# Configured no longer


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[Path]:
    """Be the daemon's user, with a folder of one's own."""
    if os.geteuid() != 0:
        yield tmp_path
        return
    place = Path("/tmp") / f"command-{os.getpid()}"  # tmp_path is closed to others
    place.mkdir(mode=0o755)
    os.chown(place, 65534, 65534)
    os.seteuid(65534)
    try:
        yield place
    finally:
        os.seteuid(0)
        for path in place.iterdir():
            path.unlink()
        place.rmdir()


def test_a_list_that_is_configured_no_longer_is_emptied(unprivileged: Path) -> None:
    """A store keeps nothing but the name; both kinds are emptied alike."""
    file = unprivileged / "with a blank"
    open_list(FakeClock(), "/bin/cp", "/dev/stdin", str(file)).replace({A: LATER})
    assert file.read_text() == f"{A}\n"
    section = Section("command", {"list": ["/bin/cp", "/dev/stdin", str(file)]}, {}, None)
    (left,) = wiring.forgotten_maps([wiring.map_key(section)], ())
    wiring.open_map(left).replace({})
    assert file.read_text() == ""


def test_root_runs_nothing_that_only_a_store_names() -> None:
    """A store may be of a user with less rights."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (left,) = wiring.forgotten_maps(["command /bin/true"], ())
    with pytest.raises(PopBeforeSmtpError, match="root runs only what the configuration names"):
        wiring.open_map(left)


def test_it_is_opened_as_the_configuration_says(tmp_path: Path) -> None:
    """With the machine's clock."""
    file = tmp_path / "clients"
    section = Section("command", {"list": [WRITE_LIST, str(file)]}, {}, None)
    access_map = wiring.open_map(section)
    assert access_map.name == f"{WRITE_LIST} {file}"
    access_map.replace({A: datetime.max.replace(tzinfo=START.tzinfo), B: START - timedelta(days=9999)})
    assert file.read_text() == f"{A}\n"
