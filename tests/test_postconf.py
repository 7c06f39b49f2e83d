"""What Postfix says of its configuration, through a postconf of our own."""

import shlex
from pathlib import Path

import pytest

from popbeforesmtp import postconf
from popbeforesmtp.errors import UnavailableError


class FakePostfix:
    """A folder with a ``postconf`` in it, a shell script that knows some answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def script(self, body: str, interpreter: str = "/bin/sh") -> None:
        """Put a postconf into the folder."""
        program = self.folder / "postconf"
        program.write_text(f"#!{interpreter}\n{body}\n")
        program.chmod(0o755)

    def answers(self, **values: str) -> None:
        """Let postconf know these parameters, and nothing else."""
        cases = [f'"-x -h {name}") printf "%s\\n" {shlex.quote(value)} ;;' for name, value in values.items()]
        self.script('case "$*" in\n' + "\n".join(cases) + '\n*) echo "unexpected: $*" >&2; exit 3 ;;\nesac')


@pytest.fixture
def postfix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePostfix:
    """Return a folder that is the only one where Postfix's programs are looked for."""
    folder = tmp_path / "sbin"
    folder.mkdir()
    monkeypatch.setattr(postconf, "_PATH", str(folder))
    return FakePostfix(folder)


def trusted(text: str, postfix: FakePostfix) -> tuple[list[str], list[str]]:
    """Read a value of mynetworks: the networks, and what was skipped."""
    postfix.answers(mynetworks=text)
    found = postconf.trusted_networks()
    return [str(network) for network in found.networks], list(found.skipped)


def test_without_postfix_there_is_a_sentence(postfix: FakePostfix) -> None:
    """Where there is no postconf we say so."""
    assert postconf.find("postconf") is None
    with pytest.raises(UnavailableError, match="not on this machine"):
        postconf.value("mynetworks")
    postfix.answers()
    assert postconf.find("postconf") == str(postfix.folder / "postconf")


def test_a_parameter_is_asked_for_with_its_references_expanded(postfix: FakePostfix) -> None:
    """The value is what postconf prints, without its line end."""
    postfix.answers(queue_directory="/var/spool/postfix", empty="")
    assert postconf.value("queue_directory") == "/var/spool/postfix"
    assert postconf.value("empty") == ""


def test_table_types_are_what_postconf_lists(postfix: FakePostfix) -> None:
    """One type on each line."""
    postfix.script('[ "$*" = -m ] && printf "%s\\n" btree cidr environ hash lmdb')
    assert postconf.table_types() == {"btree", "cidr", "environ", "hash", "lmdb"}


def test_a_postconf_that_fails_is_a_sentence_on_one_line(postfix: FakePostfix) -> None:
    """What postconf says on standard error is passed on, several lines joined."""
    postfix.script("echo 'postconf: fatal: open main.cf' >&2; echo 'second line' >&2; exit 1")
    with pytest.raises(UnavailableError) as error:
        postconf.value("mynetworks")
    assert str(error.value) == "`postconf -x -h mynetworks` failed: postconf: fatal: open main.cf; second line"


def test_a_postconf_that_fails_in_silence_is_named_with_its_status(postfix: FakePostfix) -> None:
    """Without any words the exit status is said."""
    postfix.script("exit 7")
    with pytest.raises(UnavailableError, match=r"`postconf -m` failed: status 7"):
        postconf.table_types()


def test_a_postconf_that_hangs_does_not_hang_us(postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch) -> None:
    """After some seconds we go on without its answer."""
    monkeypatch.setattr(postconf, "_SECONDS", 0.05)
    postfix.script("while :; do :; done")
    with pytest.raises(UnavailableError, match=r"`postconf -m` did not end in 0\.05 s"):
        postconf.table_types()


def test_a_postconf_that_cannot_be_run_is_a_sentence(postfix: FakePostfix) -> None:
    """A broken installation is no traceback."""
    postfix.script("exit 0", interpreter="/nonexistent/sh")
    with pytest.raises(UnavailableError, match="postconf"):
        postconf.value("mynetworks")


def test_bytes_that_are_no_utf_8_are_no_obstacle(postfix: FakePostfix) -> None:
    """A main.cf in Latin-1 is read all the same."""
    postfix.script(r"printf 'caf\351\n'")
    assert postconf.value("mail_name") == "caf\ufffd"


def test_our_environment_is_not_postfix_s(postfix: FakePostfix, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the place of main.cf is passed on, so no variable of ours changes what postconf does or in which tongue."""
    monkeypatch.setenv("MAIL_CONFIG", "/etc/postfix-out")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("SECRET", "hidden")
    postfix.script('echo "$MAIL_CONFIG $LC_ALL ${SECRET-unset}"')
    assert postconf.value("mail_name") == "/etc/postfix-out C unset"
    monkeypatch.delenv("MAIL_CONFIG")
    postfix.script('echo "${MAIL_CONFIG-unset}"')
    assert postconf.value("mail_name") == "unset"


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", []),
        (
            "127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128",  # Debian's own
            ["127.0.0.0/8", "127.0.0.0/8", "::1/128"],
        ),
        ("192.0.2.0/24,198.51.100.0/24 , 203.0.113.0/24", ["192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"]),
        ("192.0.2.1\n\t192.0.2.2", ["192.0.2.1/32", "192.0.2.2/32"]),
        ("[2001:DB8::]/32 [2001:db8::1] [192.0.2.0]/24", ["2001:db8::/32", "2001:db8::1/128", "192.0.2.0/24"]),
    ],
)
def test_trusted_networks_are_read_as_postfix_writes_them(postfix: FakePostfix, text: str, networks: list[str]) -> None:
    """Commas, blanks and line ends part them, and IPv6 stands in brackets."""
    assert trusted(text, postfix) == (networks, [])


@pytest.mark.parametrize(
    "part",
    [
        *(
            "hash:/etc/postfix/networks",
            "cidr:/etc/postfix/cidr",
            "192.0.2.1/24",
            "[2001:db8::1]/32",
            "[2001:db8::/32]",
        ),
        *(
            "[192.0.2.0/24]",
            "[192.0.2.0]/33",
            "192.0.2.0/255.255.255.0",
            "mail.example.com",
            "[fe80::1%eth0]",
            "[]",
            "[]/8",
        ),
        "/nonexistent/networks (No such file or directory)",
    ],
)
def test_what_we_cannot_know_is_said_and_passed_by(postfix: FakePostfix, part: str) -> None:
    """A table or an odd network is named among the skipped, and what stands around it still counts."""
    word = part.partition(" ")[0]
    assert trusted(f"192.0.2.1 {word} 192.0.2.2", postfix) == (["192.0.2.1/32", "192.0.2.2/32"], [part])


def test_reading_stops_at_an_exclusion(postfix: FakePostfix) -> None:
    """Behind ``!`` we could trust more than Postfix does, so what follows is not trusted at all."""
    networks, skipped = trusted("198.51.100.1 !192.0.2.1 192.0.2.0/24", postfix)
    assert networks == ["198.51.100.1/32"]
    assert skipped == ["!192.0.2.1 and what follows it"]


def test_a_path_stands_for_the_lines_of_its_file(postfix: FakePostfix, tmp_path: Path) -> None:
    """Files are read in their place, without their comments, and may name more files."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text(f"# ours\n192.0.2.0/24 # office\n\n  {second}\n192.0.2.1,192.0.2.2\n")
    second.write_text("[2001:db8::]/32\nhash:/etc/x\n")
    networks, skipped = trusted(f"127.0.0.1 {first} 198.51.100.1", postfix)
    assert networks == [
        *("127.0.0.1/32", "192.0.2.0/24", "2001:db8::/32", "192.0.2.1/32", "192.0.2.2/32", "198.51.100.1/32")
    ]
    assert skipped == ["hash:/etc/x"]


def test_an_exclusion_in_a_file_stops_everything_behind_the_file_too(postfix: FakePostfix, tmp_path: Path) -> None:
    """The list is one list, wherever its parts lie."""
    path = tmp_path / "networks"
    path.write_text("192.0.2.1\n!198.51.100.1\n192.0.2.2\n")
    networks, skipped = trusted(f"{path} 198.51.100.0/24", postfix)
    assert networks == ["192.0.2.1/32"]
    assert skipped == ["!198.51.100.1 and what follows it"]


def test_an_excluded_file_stops_as_well(postfix: FakePostfix, tmp_path: Path) -> None:
    """``!/file`` excludes what the file says; we do not look into it."""
    path = tmp_path / "networks"
    path.write_text("192.0.2.0/24\n")
    assert trusted(f"!{path} 192.0.2.0/16", postfix) == ([], [f"!{path} and what follows it"])


def test_a_file_that_names_itself_does_not_go_on_for_ever(postfix: FakePostfix, tmp_path: Path) -> None:
    """After a few files in files the name is skipped."""
    path = tmp_path / "networks"
    path.write_text(f"192.0.2.1 {path}\n")
    networks, skipped = trusted(str(path), postfix)
    assert set(networks) == {"192.0.2.1/32"}
    assert skipped == [str(path)]


def test_a_folder_in_place_of_a_file_is_passed_by(postfix: FakePostfix, tmp_path: Path) -> None:
    """What cannot be read is said, with the system's reason."""
    assert trusted(f"{tmp_path} 192.0.2.1", postfix) == (["192.0.2.1/32"], [f"{tmp_path} (Is a directory)"])


def test_a_file_of_any_bytes_is_no_obstacle(postfix: FakePostfix, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 make a part that is skipped, and no traceback."""
    path = tmp_path / "networks"
    path.write_bytes(b"192.0.2.1\n\xff\xfe\n\0\n192.0.2.2\n")
    networks, skipped = trusted(str(path), postfix)
    assert networks == ["192.0.2.1/32", "192.0.2.2/32"]
    assert skipped == ["\ufffd\ufffd", "\0"]
