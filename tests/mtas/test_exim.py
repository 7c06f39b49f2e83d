"""Files for Exim: host lists and iplsearch lookups, read here as its specification says (chapter 9 and 10)."""

import ipaddress
import os
import re
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from popbeforesmtp.addresses import ClientAddress, parse_network
from popbeforesmtp.errors import ConfigError, DataError, NotPermittedError
from popbeforesmtp.mtas.exim import DEFAULT_PATH, EximMap, existing, open_map
from tests.mtas.contract import A, AccessMapContract, B, OpenMap, ReadMap, ends

NOBODY = 65534
HEAD = b"# pop-before-smtp writes this file; what others write here is lost.\n"
NETWORK = ClientAddress("2001:db8:1:2::/64")
RESTRICT = tuple(map(parse_network, ("192.0.2.0/24", "2001:db8::/32")))
FORMS = ["", "net-iplsearch;", "iplsearch;"]

Form = Callable[[Path], str]


def entries(path: Path, *, keyed: bool) -> list[tuple[str, str]]:
    """Read a file as Exim does: keys in their order, and values, where there are any."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    if not keyed:
        assert all(re.fullmatch(r"[0-9a-f.:/]+", line) for line in lines), lines
        return [(line, "OK") for line in lines]
    parts = [re.fullmatch(r'(?:"([0-9a-f:./]+)"|([0-9./]+)): (\w+)', line) for line in lines]
    assert all(parts), lines
    return [(part[1] or part[2], part[3]) for part in parts if part]


def value(path: Path, client: str) -> str | None:
    """Look an address up in an iplsearch file: the first key that matches counts."""
    address = ipaddress.ip_address(client)
    for key, found in entries(path, keyed=True):
        if address in ipaddress.ip_network(key):
            return found
    return None


@pytest.fixture(params=FORMS, ids=["list", "net-iplsearch", "iplsearch"])
def form(request: pytest.FixtureRequest) -> str:
    """Name each way in which Exim can ask."""
    form: str = request.param
    return form


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name the file."""
    return tmp_path / "clients.exim"


class TestEximMap(AccessMapContract):
    """The promises of every map."""

    @pytest.fixture
    def open_map(self, form: str) -> OpenMap:
        """Open one of each form."""
        return lambda folder: open_map(map=f"{form}{folder}/clients.exim")

    @pytest.fixture
    def read_map(self, form: str) -> ReadMap:
        """Read it as Exim does."""
        return lambda folder: dict(entries(folder / "clients.exim", keyed=bool(form)))

    @pytest.fixture
    def file(self, path: Path) -> Path:
        """Name the file."""
        return path


# What is in it


def test_a_plain_list_holds_addresses_and_nothing_that_exim_reads_otherwise(path: Path) -> None:
    """No negation above all: of a list that ends with one, everybody else is a member."""
    open_map(map=str(path)).replace(ends([B, A, ClientAddress("2001:db8::10"), NETWORK]))
    assert path.read_bytes() == HEAD + b"192.0.2.1\n192.0.2.2\n2001:db8:1:2::/64\n2001:db8::10\n"


def test_keys_that_hold_colons_are_quoted(path: Path) -> None:
    """Else the first colon would end the key."""
    open_map(map=f"iplsearch;{path}").replace(ends([A, ClientAddress("2001:db8::10"), NETWORK]))
    assert path.read_bytes() == HEAD + b'192.0.2.1: OK\n"2001:db8:1:2::/64": OK\n"2001:db8::10": OK\n'


def test_a_refused_network_refuses_all_but_the_clients_in_it(path: Path) -> None:
    """The first key that matches counts, so clients stand before networks."""
    access_map = open_map(map=f"iplsearch;{path}", restrict=RESTRICT)
    access_map.replace(ends([A, NETWORK]))
    assert [value(path, client) for client in (A, B, "198.51.100.1")] == ["OK", "REJECT", None]
    assert [value(path, f"2001:db8:1:{group}::1") for group in (2, 3)] == ["OK", "REJECT"]
    access_map.change(ends([B]), [A])
    assert [value(path, client) for client in (A, B)] == ["REJECT", "OK"]


def test_a_map_that_is_shut_goes_on_refusing_networks(path: Path) -> None:
    """Letting nobody in does not let others in."""
    access_map = open_map(map=f"iplsearch;{path}", restrict=RESTRICT)
    access_map.replace(ends([A]))
    access_map.shut()
    assert entries(path, keyed=True) == [("192.0.2.0/24", "REJECT"), ("2001:db8::/32", "REJECT")]


@pytest.mark.parametrize("form", FORMS[:2], ids=["list", "net-iplsearch"])
def test_a_host_list_never_holds_a_refused_network(path: Path, form: str) -> None:
    """Whoever is in a host list is let in, whatever stands behind it: that would be an open relay."""
    with pytest.raises(ConfigError, match=r"192\.0\.2\.0/24 would be let in; write map = \"iplsearch;/"):
        open_map(map=f"{form}{path}", restrict=RESTRICT)


# Whose it is


@pytest.mark.parametrize("text", [b"192.0.2.1\n", b"*\n", b"192.0.2.0/24: OK\n", b"\0" * 100, b"# a list of mine\n"])
def test_a_file_of_somebody_else_is_refused_and_left_untouched(path: Path, form: str, text: bytes) -> None:
    """A wrong setting must not cost an administrator's own list."""
    path.write_bytes(text)
    with pytest.raises(DataError, match="is not ours"):
        open_map(map=f"{form}{path}").replace(ends([A]))
    assert path.read_bytes() == text


@pytest.mark.parametrize("text", [b"", HEAD, HEAD + b"*\n", HEAD + b"192.0.2.9"], ids=len)
def test_a_damaged_file_of_ours_is_written_anew(path: Path, text: bytes) -> None:
    """Whoever was let in by it is out."""
    path.write_bytes(text)
    open_map(map=str(path)).replace(ends([A]))
    assert path.read_bytes() == HEAD + b"192.0.2.1\n"


def test_a_file_that_exim_may_not_read_is_made_readable(path: Path, form: str) -> None:
    """Exim hangs up on everybody where it cannot open it."""
    access_map = open_map(map=f"{form}{path}")
    access_map.replace(ends([A]))
    path.chmod(0o600)
    assert access_map.lost()
    access_map.replace(ends([A]))
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_others_write_into_it_is_noticed(path: Path) -> None:
    """A line that lets a stranger in does not stay."""
    access_map = open_map(map=str(path))
    access_map.replace(ends([A]))
    with path.open("a") as file:
        file.write("*\n")
    assert access_map.lost()
    access_map.replace(ends([A]))
    assert path.read_bytes() == HEAD + b"192.0.2.1\n"


def test_a_session_that_has_the_old_file_open_keeps_it_whole(path: Path, form: str) -> None:
    """A change is a new file in the old one's place."""
    access_map = open_map(map=f"{form}{path}")
    access_map.replace(ends([A]))
    data = path.read_bytes()
    with path.open("rb") as before:
        access_map.change(ends([B]), [A])
        assert os.fstat(before.fileno()).st_nlink == 0
        assert before.read() == data


def test_a_change_that_changes_nothing_writes_nothing(path: Path) -> None:
    """Who came and went in one burst is no reason for it."""
    access_map = open_map(map=str(path))
    access_map.replace(ends([A]))
    before = path.stat()
    access_map.change(ends([A]), [B])
    assert path.stat() == before


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=oct)
def test_a_place_that_may_not_be_written_is_one_sentence(form: str, mode: int) -> None:
    """Also where not even the folder may be looked into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(mode)
        access_map = open_map(map=f"{form}{folder}/clients.exim")
        os.seteuid(NOBODY)
        try:
            with pytest.raises(NotPermittedError, match="may not be written"):
                access_map.replace(ends([A]))
        finally:
            os.seteuid(0)


# Settings


@pytest.mark.parametrize(
    "name",
    [
        *("", "x", "./x", "net-iplsearch;x", "lsearch;/x", "net-lsearch;/x", "iplsearch:/x", "net-iplsearch;;/x"),
        *("/", "/x y", "/x:y", "/x;y", "/$x", "/{x}", "/x\n", "!/x", " /x", "/x ", "iplsearch; /x", "hosts;/x"),
    ],
)
def test_a_name_that_exim_would_read_otherwise_is_refused_with_a_way_out(name: str) -> None:
    """Blanks, colons, semicolons, dollars and braces mean something in its lists."""
    with pytest.raises(ConfigError, match=re.escape(DEFAULT_PATH)):
        open_map(map=name)


def test_what_lies_at_the_usual_place_is_found_without_asking_exim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For the sweep of a machine without a configuration."""
    monkeypatch.setattr("popbeforesmtp.mtas.exim.DEFAULT_PATH", str(tmp_path / "clients.exim"))
    assert existing() == []
    (tmp_path / "clients.exim").touch()
    assert existing() == [str(tmp_path / "clients.exim")]


def test_settings_become_the_map_that_they_say(path: Path, form: str) -> None:
    """Its name is what stands in Exim's configuration."""
    access_map = open_map(map=f"{form}{path}", prefix=64)
    assert isinstance(access_map, EximMap)
    assert (access_map.name, access_map.timed) == (f"{form}{path}", False)
    assert open_map().name == "/var/lib/pop-before-smtp/clients.exim"
