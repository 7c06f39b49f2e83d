"""What is found on the machine, and how that is said."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from popbeforesmtp import detect, postconf
from popbeforesmtp.addresses import NO_NETWORKS, ClientAddress
from popbeforesmtp.config import Section, Settings
from tests.entries import FORGERIES, LOGIN, entry

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose logs and programs lie in a folder."""
    monkeypatch.setattr(detect, "MAIL_LOGS", (tmp_path / "mail.log", tmp_path / "maillog"))
    monkeypatch.setattr(detect, "JOURNALS", (tmp_path / "journal",))
    monkeypatch.setattr(detect, "SENDMAIL", tmp_path / "sendmail.mc")
    monkeypatch.setattr(postconf, "_PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def install_postconf(machine: Path, types: str) -> None:
    """Put a Postfix there that reads these table types."""
    program = machine / "postconf"
    program.write_text(
        f"""#!/bin/sh
case "$*" in
-m) echo "{types}" ;;
*queue_directory) echo /var/spool/postfix ;;
*mynetworks) echo "127.0.0.0/8 [::1]/128 192.0.2.0/24" ;;
esac
"""
    )
    program.chmod(0o755)


def test_a_bare_machine_is_followed_all_the_same(machine: Path) -> None:
    """Without Postfix there is a log to follow and nobody to tell, and that is said."""
    said: list[str] = []
    found = detect.find(Settings(), said.append, NOW)
    assert [section.values["path"] for section in found.sources] == [str(machine / "mail.log")]
    assert (found.mtas, found.lookups, found.trusted) == ((), (), NO_NETWORKS)
    assert any("there is no Postfix to ask" in sentence for sentence in said)


@pytest.mark.parametrize(("sign", "title"), [("exim4", "Exim"), ("sendmail.mc", "Sendmail")])
def test_another_mail_server_gets_its_usual_map(machine: Path, sign: str, title: str) -> None:
    """And it is said what it still needs; Postfix, where it is there too, goes first."""
    (machine / sign).touch(0o755)
    (machine / "makemap").touch(0o755)
    said: list[str] = []
    found = detect.find(Settings(), said.append, NOW)
    assert found.mtas == (Section(title.lower(), {}, {}, None),)
    assert any(f"`pop-before-smtp init -` prints what {title} needs" in sentence for sentence in said)
    install_postconf(machine, "lmdb")
    assert [section.type for section in detect.find(Settings(), said.append, NOW).mtas] == ["postfix"]


def test_sendmail_without_its_makemap_is_nobody_to_tell(machine: Path) -> None:
    """No map could be built; the daemon starts all the same."""
    (machine / "sendmail.mc").touch()
    assert detect.find(Settings(), lambda _: None, NOW).mtas == ()


def test_the_log_that_is_there_is_the_log(machine: Path) -> None:
    """Red Hat calls it maillog."""
    (machine / "maillog").touch()
    assert detect.mail_log() == machine / "maillog"


def test_postfix_gets_a_socketmap_in_its_queue_directory_and_an_lmdb_map(machine: Path) -> None:
    """And its own networks are trusted."""
    install_postconf(machine, "cidr hash lmdb socketmap")
    found = detect.find(Settings(), lambda _: None, NOW)
    assert found.lookups[0].values == {"listen": "unix:/var/spool/postfix/pop-before-smtp/map"}
    assert [section.type for section in found.mtas] == ["postfix"]
    assert ClientAddress("192.0.2.77") in found.trusted


def test_the_hosts_own_addresses_are_known() -> None:
    """Loopback at least is on every machine."""
    assert ClientAddress("127.0.0.1") in detect.own_addresses()


# The log


def journal(machine: Path, monkeypatch: pytest.MonkeyPatch, *entries: bytes, script: str | None = None) -> None:
    """Put a journal there, and a journalctl that reads it."""
    (machine / "journal").mkdir()
    (machine / "entries").write_bytes(b"".join(entries))
    program = machine / "journalctl"
    program.write_text(f"#!/bin/sh\n{script or f'cat {machine}/entries'}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{machine}:{os.environ['PATH']}")


def mail_log(machine: Path, *texts: str, age: timedelta = timedelta(minutes=1), name: str = "mail.log") -> Path:
    """Write a log whose last line, and last change, is so old."""
    path, written = machine / name, NOW - age
    path.write_text("".join(f"{written.isoformat()} mx1 dovecot: {text}\n" for text in texts))
    os.utime(path, (written.timestamp(), written.timestamp()))
    return path


def find(settings: Settings | None = None) -> tuple[str, list[str]]:
    """Return which source is found, a path or the journal, and what is said of logs."""
    said: list[str] = []
    (section,) = detect.find(settings or Settings(), said.append, NOW).sources
    return str(section.values.get("path", section.type)), [text for text in said if "log" in text or "journal" in text]


def sentence_on_the_log(said: list[str]) -> str:
    """Return the one sentence that says which log it is."""
    (sentence,) = (text for text in said if text.startswith("log: "))
    return sentence


LONG_AGO = timedelta(days=8)


def test_a_mail_log_with_logins_is_the_log(machine: Path) -> None:
    """Where there is no journal; and that anybody can write to it is said."""
    path = mail_log(machine, LOGIN, "x")
    source, said = find()
    assert source == str(path)
    assert "no [[source]] is configured: the last 2 lines (1m old) hold 1 logins" in sentence_on_the_log(said)
    assert any("any local user can (logger -t dovecot)" in text for text in said)


def test_the_log_with_logins_is_taken_of_two(machine: Path) -> None:
    """Whatever is the likelier place."""
    mail_log(machine, "x")
    path = mail_log(machine, LOGIN, name="maillog")
    assert find()[0] == str(path)
    path = mail_log(machine, LOGIN)
    assert find()[0] == str(path)


def test_a_journal_with_genuine_logins_is_the_log(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also beside a mail log that holds them too, for it cannot be forged; nobody is warned of forgeries then."""
    journal(machine, monkeypatch, entry())
    source, said = find()
    assert source == "journal"
    assert sentence_on_the_log(said).startswith("log: the journal, and no [[source]] is configured: the last 1 lines")
    assert not any("any local user can" in text for text in said)
    path = mail_log(machine, LOGIN)
    source, said = find()
    assert source == "journal"
    assert f"; {path} holds logins too, and the journal cannot be forged as it can" in sentence_on_the_log(said)


@pytest.mark.parametrize("forgery", FORGERIES)
def test_nobody_makes_the_journal_the_log_by_forged_logins(
    machine: Path, monkeypatch: pytest.MonkeyPatch, forgery: str
) -> None:
    """Else `logger` could turn the daemon away from the real one."""
    journal(machine, monkeypatch, entry(changes=FORGERIES[forgery]))
    for text in (LOGIN, "x"):
        path = mail_log(machine, text)
        assert find()[0] == str(path)


def test_on_a_machine_without_a_mail_log_the_journal_is_the_log(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also while nobody has logged in yet, or only forgers have: what they write opens nothing."""
    journal(machine, monkeypatch)
    source, said = find()
    assert source == "journal"
    assert "holds no lines yet" in sentence_on_the_log(said)
    (machine / "entries").write_bytes(entry(changes=FORGERIES["another user"]))
    source, said = find()
    assert source == "journal"
    assert "1 only pretend to be a server's" in sentence_on_the_log(said)


def test_a_mail_log_that_is_written_to_is_the_log_before_a_journal_without_logins(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was rotated just now, and holds none yet; one that nobody writes to any more is not."""
    journal(machine, monkeypatch)
    for age in (timedelta(minutes=1), LONG_AGO - timedelta(days=1, seconds=1)):
        path = mail_log(machine, "x", age=age)
        assert find()[0] == str(path)
    mail_log(machine, "x", age=LONG_AGO)
    assert find()[0] == "journal"


def test_a_stale_mail_log_is_the_log_where_there_is_nothing_else(machine: Path) -> None:
    """And its age is said."""
    path = mail_log(machine, LOGIN, age=LONG_AGO)
    source, said = find()
    assert source == str(path)
    assert "(8d old)" in sentence_on_the_log(said)


def test_a_journal_whose_logins_are_long_past_is_not_the_log(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dovecot has written to a file since: `log_path` was set, and the journal keeps what was before."""
    journal(machine, monkeypatch, entry(ago=timedelta(days=30)))
    path = mail_log(machine, LOGIN)
    assert find()[0] == str(path)


@pytest.mark.parametrize(
    "script", ["echo 'No journal files were opened due to insufficient permissions.' >&2; exit 1", "exit 2"]
)
def test_a_journal_that_cannot_be_read_is_said_and_the_file_is_the_log(
    machine: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    """With journalctl's own words."""
    journal(machine, monkeypatch, script=script)
    path = mail_log(machine, LOGIN)
    source, said = find()
    assert source == str(path)
    (sentence,) = (text for text in said if text.startswith("journal: cannot be read: "))
    assert "insufficient permissions" in sentence or "exit status 2" in sentence


def test_a_journal_without_journalctl_is_said(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may have the folder and not the program."""
    (machine / "journal").mkdir()
    monkeypatch.setenv("PATH", str(machine))
    source, said = find()
    assert source == str(machine / "mail.log")
    assert any(text.startswith("journal: cannot be read: ") for text in said)


def test_no_journal_and_no_journalctl_is_not_worth_a_word(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most machines without systemd have neither."""
    monkeypatch.setenv("PATH", str(machine))
    source, said = find()
    assert source == str(machine / "mail.log")
    assert not any(text.startswith("journal") for text in said)
    assert "is where a mail log would be, and is not there yet" in sentence_on_the_log(said)


def test_what_is_configured_is_not_found_out(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal is not even looked at; of a file that is there it is said what it holds."""
    journal(machine, monkeypatch, entry(), script="exit 9")
    path = mail_log(machine, LOGIN)
    source, said = find(Settings(sources=(Section("file", {"path": str(path)}, {}, None),)))
    assert source == str(path)
    assert f"log: {path}: the last 1 lines (1m old) hold 1 logins" in sentence_on_the_log(said)
    source, said = find(Settings(sources=(Section("journal", {}, {}, None),)))
    assert (source, [text for text in said if "forge" in text or "any local user" in text]) == ("journal", [])


def test_a_log_that_is_a_folder_or_a_device_stops_nothing(machine: Path) -> None:
    """Nor does one that goes away while it is looked at."""
    (machine / "mail.log").mkdir()
    assert find()[0] == str(machine / "mail.log")
    shutil.rmtree(machine / "mail.log")
    (machine / "maillog").symlink_to("/dev/zero")
    assert find()[0] == str(machine / "mail.log")
