"""What doctor prints, and how it ends."""

import json
from pathlib import Path

import pytest

from popbeforesmtp import cli
from tests.bare import strip


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A configuration for a machine that has nothing."""
    strip(monkeypatch, tmp_path)
    path = tmp_path / "pop-before-smtp.toml"
    path.write_text(f'control = "{tmp_path}/control"\n[store]\ntype = "sqlite"\npath = "{tmp_path}/state.sqlite"\n')
    return path


def test_faults_end_with_one_and_have_their_way_out_on_the_next_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Faults stand out in capitals."""
    assert cli.main(["doctor", "--config", str(config)]) == 1
    lines = capsys.readouterr().out.splitlines()
    place = next(number for number, line in enumerate(lines) if line.startswith("WRONG daemon "))
    assert "no daemon is running: nobody new is let in" in lines[place]
    assert lines[place + 1].strip().startswith("-> systemctl enable --now pop-before-smtp.service")


def test_json_has_one_object_for_each_finding(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of four words each."""
    assert cli.main(["doctor", "--config", str(config), "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)
    assert all(set(finding) == {"link", "level", "found", "change"} for finding in findings)
    assert {finding["level"] for finding in findings} <= {"ok", "note", "wrong"}


def test_a_configuration_that_cannot_be_used_is_an_error_of_its_own(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As for every command: there would be no daemon to look at."""
    config.write_text("grace = true\n")
    assert cli.main(["doctor", "--config", str(config)]) == 78
    assert "grace" in capsys.readouterr().err


def test_only_an_address_can_be_spoken_with(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name could be anybody's."""
    assert cli.main(["doctor", "--config", str(config), "--live", "mx.example"]) == 64
    assert "is no IPv4 or IPv6 address" in capsys.readouterr().err
