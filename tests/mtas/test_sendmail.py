"""Maps for Sendmail, built by its own makemap(8), where it is (make test-servers lays it over this machine)."""

import os
import shutil
import subprocess
import tempfile
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from popbeforesmtp.addresses import ClientAddress, Network, parse_address, parse_network, uncompressed
from popbeforesmtp.errors import ConfigError, DataError, NotPermittedError, UnavailableError
from popbeforesmtp.mtas import AccessMap, MapError, sendmail
from popbeforesmtp.mtas.sendmail import SendmailMap, open_map
from tests.end_to_end import sendmail_server
from tests.mtas.contract import V6, A, AccessMapContract, B, C, OpenMap, ReadMap, ends

NOBODY = 65534
KINDS = ("hash", "btree")


@pytest.fixture(scope="module", autouse=True)
def makemap() -> None:
    """Lay Sendmail out where that can be done; without it there is nothing to test."""
    if "POPBEFORESMTP_LAB" in os.environ and sendmail_server.UNPACKED.exists():
        sendmail_server.lay_out()
    if shutil.which("makemap") is None or not (sendmail_server.MAIL / "sendmail.cf").exists():
        pytest.skip("Sendmail is not here; make test-servers runs these tests with it")


def networks(*texts: str) -> tuple[Network, ...]:
    """Read networks."""
    return tuple(map(parse_network, texts))


def make(
    folder: Path, kind: str = "hash", tag: str = "", restrict: tuple[Network, ...] = (), prefix: int = 128
) -> SendmailMap:
    """Make the map object of a folder."""
    return open_map(map=f"{kind}:{folder}/popauth", tag=tag, restrict=restrict, prefix=prefix)


def read(folder: Path, kind: str = "hash") -> dict[str, str]:
    """List what Sendmail's own program finds in the map of a folder."""
    run = subprocess.run(["makemap", "-u", kind, folder / "popauth"], capture_output=True, text=True, check=True)
    return dict(line.split("\t") for line in run.stdout.splitlines())


class TestSendmailMap(AccessMapContract):
    """The promises of every map."""

    @pytest.fixture(params=KINDS)
    def kind(self, request: pytest.FixtureRequest) -> str:
        """Name each type."""
        kind: str = request.param
        return kind

    @pytest.fixture
    def open_map(self, kind: str) -> OpenMap:
        """Open maps; they have the result that the contract expects."""
        return lambda folder: open_map(map=f"{kind}:{folder}/popauth", result="OK")

    @pytest.fixture
    def read_map(self, kind: str) -> ReadMap:
        """Read it with Sendmail's own program, and write the addresses as everybody else does."""

        def read_map(folder: Path) -> dict[str, str]:
            found = {parse_address(key.removeprefix("ipv6:")): value for key, value in read(folder, kind).items()}
            return {str(client): value for client, value in found.items()}

        return read_map

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        """Name the file."""
        return tmp_path / "popauth.db"


# Keys


@pytest.mark.parametrize(("tag", "front"), [("", ""), ("Connect", "connect:")])
def test_keys_are_what_sendmail_looks_up(tmp_path: Path, tag: str, front: str) -> None:
    """IPv4 as it is, IPv6 with all groups behind its mark; makemap folds them, and so does Sendmail when it asks."""
    made = make(tmp_path, tag=tag)
    made.replace(ends([A, V6, ClientAddress("2001:db8::10")]))
    assert read(tmp_path) == {
        f"{front}{A}": "RELAY",
        f"{front}ipv6:2001:db8:1:2:3:4:5:6": "RELAY",
        f"{front}ipv6:2001:db8:0:0:0:0:0:10": "RELAY",
    }


@given(st.ip_addresses(v=6).map(str))
def test_all_groups_of_an_address_are_written(client: str) -> None:
    """Eight of them, each in hexadecimal without leading zeros; so no key begins another's."""
    groups = uncompressed(ClientAddress(client)).split(":")
    assert [int(group, 16).to_bytes(2) for group in groups] == [
        IPv6Address(client).packed[place : place + 2] for place in range(0, 16, 2)
    ]
    assert all(group == f"{int(group, 16):x}" for group in groups)


def test_networks_that_may_relay_or_not_are_written_as_their_octets_and_groups(tmp_path: Path) -> None:
    """As many as their length fixes, zeros too; a client has the last word over a network of its own size."""
    restrict = networks("10.0.0.0/8", "198.51.0.0/16", "192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "2001:db8::/64")
    made = make(tmp_path, restrict=restrict, prefix=64)
    made.replace(ends([A, ClientAddress("2001:db8:1:2::/64"), ClientAddress("2001:db8::/64")]))
    assert read(tmp_path) == {
        **dict.fromkeys(("10", "198.51", "192.0.2", "ipv6:2001:db8"), "REJECT"),
        **dict.fromkeys((A, "ipv6:2001:db8:1:2", "ipv6:2001:db8:0:0"), "RELAY"),
    }
    made.shut()
    assert read(tmp_path) == dict.fromkeys(
        ("10", "198.51", "192.0.2", A, "ipv6:2001:db8", "ipv6:2001:db8:0:0"), "REJECT"
    )


def test_other_restrictions_take_the_place_of_the_old_ones(tmp_path: Path) -> None:
    """Also in the map that is kept ready for nobody."""
    make(tmp_path, restrict=networks("10.0.0.0/8")).replace(ends([A]))
    made = make(tmp_path, restrict=networks("198.51.0.0/16"))
    made.replace(ends([A]))
    assert read(tmp_path) == {A: "RELAY", "198.51": "REJECT"}
    made.shut()
    assert read(tmp_path) == {"198.51": "REJECT"}


@pytest.mark.parametrize(
    ("network", "prefix", "says"),
    [
        ("192.0.2.0/25", 128, "/8, /16, /24 and /32"),
        ("0.0.0.0/0", 128, "/8, /16, /24 and /32"),
        ("10.0.0.0/7", 128, "/8, /16, /24 and /32"),
        ("2001:db8::/36", 128, "/16, /32, /48"),
        ("::/0", 128, "/16, /32, /48"),
        ("2001:db8::/80", 64, "smaller than the /64"),
    ],
)
def test_a_network_that_sendmail_cannot_say_is_refused_by_name(
    tmp_path: Path, network: str, prefix: int, says: str
) -> None:
    """In doubt it is not written as a greater one, or a smaller."""
    with pytest.raises(ConfigError, match=says) as caught:
        make(tmp_path, restrict=networks(network), prefix=prefix)
    assert network in str(caught.value)


@pytest.mark.parametrize("prefix", [0, 56, 60, 127])
def test_a_prefix_that_sendmail_cannot_say_is_refused(tmp_path: Path, prefix: int) -> None:
    """Only whole groups can be said."""
    with pytest.raises(ConfigError, match=f"ipv6_prefix = {prefix}: Sendmail can say 16, 32, 48, 64"):
        make(tmp_path, prefix=prefix)


# Open sessions, and what is half done


@pytest.mark.parametrize("kind", KINDS)
def test_who_has_the_old_file_open_keeps_it_whole_and_hears_of_the_new_one(tmp_path: Path, kind: str) -> None:
    """Sendmail looks whether the file that it has open was written to, by whole seconds."""
    file = tmp_path / "popauth.db"
    made = make(tmp_path, kind)
    made.replace(ends([A]))
    for change in (lambda: made.change(ends([B]), [A]), made.shut):
        data, opened_at = file.read_bytes(), int(file.stat().st_mtime)
        with file.open("rb") as before:
            change()
            assert os.fstat(before.fileno()).st_nlink == 0
            assert before.read() == data
            assert int(os.fstat(before.fileno()).st_mtime) > opened_at
    assert read(tmp_path, kind) == {}


def test_a_change_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    """Who came and went in one burst is no reason to have every session open the map anew."""
    made = make(tmp_path)
    made.replace(ends([A]))
    before = (tmp_path / "popauth.db").stat()
    made.change({}, [B])
    made.change(ends([A]), [])
    assert (tmp_path / "popauth.db").stat().st_ino == before.st_ino


@pytest.mark.parametrize("damage", [b"", b"no map at all", b"\xff" * 40000], ids=len)
def test_a_broken_map_is_built_anew(tmp_path: Path, damage: bytes) -> None:
    """To Sendmail it is no better than none."""
    (tmp_path / "popauth.db").write_bytes(damage)
    make(tmp_path).replace(ends([A, B]))
    assert read(tmp_path).keys() == {A, B}


def test_what_a_makemap_that_was_killed_left_is_removed(tmp_path: Path) -> None:
    """It lies beside the map, and nobody ever reads it."""
    made = make(tmp_path)
    made.replace(ends([A]))
    (tmp_path / ".popauth.db.0123456789abcdef.new.db").write_bytes(b"half")
    made.change(ends([B]), [])
    assert sorted(path.name for path in tmp_path.iterdir()) == [".popauth.db.nobody", "popauth.db"]


def test_a_map_that_makemap_cannot_build_is_one_sentence_and_the_old_one_stays(tmp_path: Path) -> None:
    """The name of the file beside is not in it: it is another each time, and the sentence is said once."""
    made = make(tmp_path)
    made.replace(ends([A]))
    cf = sendmail_server.MAIL / "sendmail.cf"
    hidden = cf.rename(cf.with_suffix(".hidden"))
    try:
        with pytest.raises(MapError, match=r"makemap hash .*sendmail\.cf") as caught:
            made.change(ends([B]), [])
    finally:
        hidden.rename(cf)
    assert ".new" not in str(caught.value)
    assert read(tmp_path) == {A: "RELAY"}


# Somebody else's


@pytest.mark.parametrize(
    "entry",
    [
        "example.net REJECT",
        "localhost RELAY",
        "user@example.net ERROR:550 no",
        "To:192.0.2.1 RELAY",
        "GreetPause:192.0.2.1 0",
        "192.168 RELAY",
        "Connect:127 OK",
        "[192.0.2.1] RELAY",
    ],
)
@pytest.mark.parametrize("tag", ["", "Connect"])
def test_an_administrators_own_access_map_is_refused_and_left_untouched(tmp_path: Path, tag: str, entry: str) -> None:
    """A wrong setting must not cost it."""
    subprocess.run(["makemap", "hash", "popauth"], cwd=tmp_path, input=f"{entry}\n", text=True, check=True)
    file = tmp_path / "popauth.db"
    os.chown(file, os.geteuid(), -1)  # where Sendmail has a TrustedUser it is his, and refused for that already
    before, data = file.stat(), file.read_bytes()
    with pytest.raises(DataError, match="not ours"):
        make(tmp_path, tag=tag).replace(ends([B]))
    assert (file.stat().st_ino, file.read_bytes()) == (before.st_ino, data)


def test_a_map_of_other_settings_is_ours(tmp_path: Path) -> None:
    """Whatever tag, restrictions and prefix it had: the sweep empties one that no section names any more."""
    made = make(tmp_path, tag="Connect", restrict=networks("10.0.0.0/8", "2001:db8::/32"), prefix=64)
    made.replace(ends([A, ClientAddress("2001:db8:1:2::/64")]))
    make(tmp_path).replace(ends([C]))
    assert read(tmp_path) == {C: "RELAY"}


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_belongs_to_somebody_else_is_refused(tmp_path: Path) -> None:
    """He could put another map in its place, as Sendmail's own user can in Debian's /etc/mail."""
    os.chown(tmp_path, NOBODY, -1)
    with pytest.raises(NotPermittedError, match=f"{tmp_path} belongs to user {NOBODY}"):
        make(tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o755, 0o700], ids=oct)
def test_a_place_that_may_not_be_written_is_one_sentence(mode: int) -> None:
    """Also where not even the folder may be looked into."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(mode)
        made = make(folder)
        os.seteuid(NOBODY)
        try:
            with pytest.raises(NotPermittedError, match=r"popauth\.db: may not be written"):
                made.replace(ends([A]))
        finally:
            os.seteuid(0)
        assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root has its files given to Sendmail's user")
def test_what_root_builds_stays_roots(tmp_path: Path) -> None:
    """Else makemap gives it to TrustedUser; the next daemon would refuse to replace that user's file."""
    make(tmp_path).replace(ends([A]))
    assert (tmp_path / "popauth.db").stat().st_uid == 0


# Settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"map": "/etc/mail/popauth"}, 'hash, btree; as in "hash:/var/lib/pop-before-smtp/popauth"'),
        ({"map": "cdb:/etc/mail/popauth"}, "hash, btree"),
        ({"map": "hash:popauth"}, "must be absolute"),
        ({"tag": "Connect:"}, "letters only"),
        ({"tag": "a b"}, "letters only"),
        ({"result": ""}, "words of ASCII"),
        ({"result": "RELAY\nevil RELAY"}, "words of ASCII"),
        ({"result": "a\tb"}, "words of ASCII"),
    ],
)
def test_a_setting_that_cannot_be_is_one_sentence(settings: dict[str, str], says: str) -> None:
    """It names the setting and a way out."""
    with pytest.raises(ConfigError, match=says) as caught:
        open_map(**settings)  # type: ignore[arg-type]
    assert str(caught.value).startswith(f"{next(iter(settings))} = ")


def test_without_sendmail_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """And how to get it."""
    monkeypatch.setattr("popbeforesmtp.postconf.find", lambda program: None)
    with pytest.raises(UnavailableError, match="install Sendmail"):
        open_map()


@pytest.mark.parametrize("kind", KINDS)
def test_a_map_at_the_usual_place_is_found_by_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Of the type that it is, for another would be put in its place."""
    monkeypatch.setattr(sendmail, "DEFAULT_PATH", str(tmp_path / "popauth"))
    assert sendmail.existing() == []
    made: AccessMap = make(tmp_path, kind)
    made.replace({})
    assert sendmail.existing() == [f"{kind}:{tmp_path}/popauth"]
