"""All commands go by the configuration that the daemon reads, the classic's included."""

import json
from pathlib import Path

import pytest

from popbeforesmtp import cli, config
from popbeforesmtp.classic import bridge

CONF = "$grace = 15 * 60;\n$dbfile = '/etc/postfix/hosts';\n1;\n"


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Have ours, the classic's and Debian's configuration looked for in a folder of the test's."""
    ours, classic, debian = (tmp_path / name for name in ("ours.toml", "classic-conf.pl", "debian.conf"))
    monkeypatch.setattr(config, "PATHS", (ours,))
    monkeypatch.setattr(bridge, "PATHS", (classic, debian))
    return ours, classic, debian


def grace(path: Path | None) -> float:
    """Read a configuration, and return one thing that it says."""
    return bridge.load(path).grace.total_seconds()


def test_ours_counts_then_the_classics_then_debians_then_none(places: tuple[Path, Path, Path]) -> None:
    """In the order in which the daemon looks."""
    ours, classic, debian = places
    assert bridge.load(None).path is None
    debian.write_text("$grace = 60;\n")
    assert grace(None) == 60
    classic.write_text(CONF)
    assert (grace(None), bridge.load(None).path) == (900, classic)
    ours.write_text('grace = "2m"\n')
    assert grace(None) == 120


def test_a_named_one_is_the_classics_by_its_name(places: tuple[Path, Path, Path], tmp_path: Path) -> None:
    """That ends in .pl, or is where Debian has it; anything else is ours."""
    _, _, debian = places
    debian.write_text(CONF)
    assert grace(debian) == 900
    (tmp_path / "any.pl").write_text(CONF)
    assert grace(tmp_path / "any.pl") == 900
    (tmp_path / "any.conf").write_text('grace = "3m"\n')
    assert grace(tmp_path / "any.conf") == 180


@pytest.mark.parametrize("words", [["list"], ["status"], ["check", "192.0.2.1"], ["explain", "192.0.2.1"]])
def test_a_question_takes_the_classics_configuration(
    words: list[str], places: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """And answers, or says that no daemon has run; it does not complain of the configuration."""
    _, classic, _ = places
    classic.write_text(CONF)
    assert cli.main(words) not in (64, 78)
    assert cli.main([*words, "--config", str(classic)]) not in (64, 78)
    classic.write_text("$tie_func = \\&mine;\n")
    assert cli.main(words) == 78
    assert f"{classic}:1: cannot be run: $tie_func" in capsys.readouterr().err


def test_doctor_looks_at_the_classics_configuration(
    places: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is a file like ours, and its map is the one that is meant."""
    _, classic, _ = places
    classic.write_text(CONF)
    cli.main(["doctor", "--json"])
    found = [each["found"] for each in json.loads(capsys.readouterr().out)]
    assert any(str(classic) in each for each in found)
    assert not any("cannot be looked at" in each for each in found)
