"""What is found on the machine, and how that is said."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from popbeforesmtp import detect, postconf
from popbeforesmtp.addresses import NO_NETWORKS, ClientAddress
from popbeforesmtp.config import Settings

NOW = datetime(2026, 11, 22, 7, 20, tzinfo=UTC)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose logs and programs lie in a folder."""
    monkeypatch.setattr(detect, "MAIL_LOGS", (tmp_path / "mail.log", tmp_path / "maillog"))
    monkeypatch.setattr(detect, "JOURNALS", (tmp_path / "journal",))
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
