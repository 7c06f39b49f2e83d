"""Maps for Postfix, of every type that it can read on this machine, checked with its own postmap(1)."""

import itertools
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, parse_address
from popbeforesmtp.errors import ConfigError, DataError, NotPermittedError, PopBeforeSmtpError
from popbeforesmtp.mtas import AccessMap
from popbeforesmtp.mtas.postfix import PostfixMap, open_map
from tests.mtas.contract import A, AccessMapContract, B, OpenMap, ReadMap, ends
from tests.mtas.maps import KINDS, NOBODY, bell, closing, make, needs_postfix, postmap, read, times

pytestmark = needs_postfix


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
        access_map.replace(ends([ClientAddress("2001:db8::10"), ClientAddress("2001:db8:1:2::5:6")]))
        assert set(read(tmp_path)) == {"2001:db8:1:2::5:6"}


# Missing, broken


def test_postfix_is_reloaded_only_where_the_map_was_missing(tmp_path: Path, kind: str, rung: Path) -> None:
    """An smtpd that started without it would answer 451 until it ends; any other reload is a disturbance."""
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace(ends([A]))
        assert times(rung) == 1
        access_map.replace(ends([B]))
        access_map.change(ends([A]), [B])
        assert times(rung) == 1
        (tmp_path / f"clients{KINDS[kind]}").unlink()
        access_map.replace(ends([A]))
        assert times(rung) == 2
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace(ends([A]))
    assert times(rung) == 2


def test_a_change_that_finds_the_map_missing_owes_a_reload(tmp_path: Path, kind: str, rung: Path) -> None:
    """An smtpd may have started meanwhile, and does not look for the map again."""
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace(ends([A]))
        (tmp_path / f"clients{KINDS[kind]}").unlink()
        with suppress(PopBeforeSmtpError):
            access_map.change(ends([B]), [])
        access_map.replace(ends([A, B]))
    assert times(rung) == 2


@pytest.mark.parametrize("damage", [b"", b"no map at all", b"\xff" * 40000], ids=len)
def test_a_broken_map_is_built_anew_and_postfix_reloaded(tmp_path: Path, kind: str, rung: Path, damage: bytes) -> None:
    """To Postfix it is no better than none."""
    (tmp_path / f"clients{KINDS[kind]}").write_bytes(damage)
    with closing(make(tmp_path, bell(rung), kind)) as access_map:
        access_map.replace(ends([A]))
        access_map.change(ends([B]), [])
        assert set(read(tmp_path, kind)) == {A, B}
    assert times(rung) == 1


def test_a_mail_system_that_does_not_run_needs_no_reload(tmp_path: Path, rung: Path) -> None:
    """It will find the map when it starts."""
    with closing(make(tmp_path, bell(rung, 'echo "the Postfix mail system is not running" >&2; exit 1'))) as access_map:
        access_map.replace(ends([A]))
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
        access_map.replace(ends([A]))
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
        access_map.replace(ends([B]))
    assert file.stat().st_ino == before.st_ino
    assert file.read_bytes() == data


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
                access_map.replace(ends([A]))
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
        access_map.replace(ends([A]))
        assert access_map.name == f"lmdb:{tmp_path}/clients"
        assert read(tmp_path) == {A: "RELAY"}


def test_an_unknown_word_for_reload_is_refused() -> None:
    """With what may be written."""
    with pytest.raises(ConfigError, match='"auto", "never"'):
        open_map(map="lmdb:/x", reload="sometimes")
