"""A program of the administrator's: what it is told, and what it cannot do to us."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from popbeforesmtp import wiring
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.config import Section
from popbeforesmtp.errors import ConfigError, PopBeforeSmtpError
from popbeforesmtp.mtas import MapError
from popbeforesmtp.mtas.command import open_map
from tests.clocks import START, FakeClock
from tests.mtas.contract import V6, A, AnyMapContract, B, C, OpenMap, ReadMap
from tests.mtas.programs import Told, open_list
from tests.site import ROOT

WRITE_LIST = str(ROOT / "contrib" / "command" / "write-list")
SOON, LATER = START + timedelta(seconds=90), START + timedelta(minutes=30)
EARLY = FakeClock(START - timedelta(days=1))  # nothing of the contract's ends meanwhile

Write = Callable[..., tuple[str, ...]]


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


def test_a_list_is_handed_over_again_now_and_then(clock: FakeClock, program: Write, tmp_path: Path) -> None:
    """Whoever was to keep it may have lost it. The shipped program leaves a file alone that holds just that."""
    access_map = open_list(clock, *program(f"cat >{tmp_path}/clients"))
    access_map.replace({A: LATER})
    (tmp_path / "clients").unlink()
    clock.advance(599)
    assert not access_map.lost()
    assert not (tmp_path / "clients").exists()
    clock.advance(1)
    assert not access_map.lost()
    assert (tmp_path / "clients").read_text() == f"{A}\n"
    (tmp_path / "clients").unlink()
    assert not access_map.lost()
    assert not (tmp_path / "clients").exists()
    shipped = open_list(clock, WRITE_LIST, str(tmp_path / "list"))
    shipped.replace({A: LATER})
    written = (tmp_path / "list").stat().st_ino
    clock.advance(600)
    shipped.lost()
    assert (tmp_path / "list").stat().st_ino == written


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


@pytest.mark.parametrize("words", [(), ("{seconds}",)], ids=["untimed", "timed"])
def test_each_is_told_again_now_and_then(clock: FakeClock, tmp_path: Path, words: tuple[str, ...]) -> None:
    """A firewall that was loaded anew holds nobody; who has gone stays out, and some are told at a time."""
    told = Told(clock, tmp_path, *words)
    access_map = told.open()
    many = [ClientAddress(f"192.0.2.{number}") for number in range(100, 125)]
    access_map.replace(dict.fromkeys([A, *many], LATER))
    access_map.change({}, [A])
    clock.advance(599)
    access_map.change({B: LATER}, [])
    told.runs()
    told.lose()
    assert not access_map.lost()
    assert told.runs() == []
    clock.advance(1)
    assert not access_map.lost()
    assert len(told.runs()) == 20
    assert not access_map.lost()
    assert told.holds() == set(many)
    clock.advance(599)
    assert not access_map.lost()
    assert told.holds() == {*many, B}


def test_what_cannot_be_told_again_is_told_anew_to_all(clock: FakeClock, tmp_path: Path) -> None:
    """The others may be lost as well."""
    told = Told(clock, tmp_path)
    access_map = told.open()
    access_map.replace({A: LATER, B: LATER})
    clock.advance(600)
    told.broken.write_text(f"{A}\n")
    with pytest.raises(MapError, match=r"failed with status 3: no$"):
        access_map.lost()
    told.broken.unlink()
    told.lose()
    access_map.replace({A: LATER, B: LATER})
    assert told.holds() == {A, B}


def test_nothing_of_an_address_is_read_by_a_shell(clock: FakeClock, tmp_path: Path) -> None:
    """Arguments are what they are, with all their blanks and signs."""
    told = Told(clock, tmp_path, "a b; $(touch {address})", "*")
    told.open().replace({A: SOON})
    assert told.runs() == ["none", f"in {A} a b; $(touch {A}) *"]


# How it is written


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
