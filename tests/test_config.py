"""The configuration: what is not said has a default, and what is said is understood or refused."""

from datetime import timedelta
from pathlib import Path

import pytest

from popbeforesmtp import config
from popbeforesmtp.addresses import ClientAddress
from popbeforesmtp.bans import Limit
from popbeforesmtp.errors import ConfigError

PATH = Path("/etc/pop-before-smtp.toml")


def test_an_empty_file_is_a_configuration() -> None:
    """Everything has a default, or is found out."""
    settings = config.parse(PATH, "")
    assert settings == config.Settings(path=PATH)
    assert settings.grace == timedelta(minutes=30)


def test_without_a_file_everything_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No configuration at all must work."""
    monkeypatch.setattr(config, "PATHS", (tmp_path / "none", tmp_path / "neither"))
    assert config.load(None) == config.Settings()


def test_the_first_of_the_usual_places_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The second is not looked at."""
    first, second = tmp_path / "first", tmp_path / "second"
    second.write_text('grace = "2m"')
    monkeypatch.setattr(config, "PATHS", (first, second))
    assert config.load(None).grace == timedelta(minutes=2)
    first.write_text('grace = "1m"')
    assert config.load(None).grace == timedelta(minutes=1)


def test_nobody_is_blocked_unless_that_is_asked_for() -> None:
    """And then after twenty failures within ten minutes, for three hours, unless it says otherwise."""
    assert config.parse(PATH, "").block is None
    block = config.parse(PATH, '[block]\nlist = ["/bin/true"]').block
    assert block is not None
    assert block.limit == Limit(20, timedelta(minutes=10), timedelta(hours=3))
    block = config.parse(PATH, '[block]\nafter = 5\nwithin = "1h"\nfor = "1d"\nclear = ["/bin/true"]').block
    assert block is not None
    assert block.limit == Limit(5, timedelta(hours=1), timedelta(days=1))
    assert dict(block.commands) == {"clear": ["/bin/true"]}


def test_the_recipe_for_blocking_says_what_is_usual() -> None:
    """Its numbers are those that count where none are written."""
    recipe = Path(__file__).parents[1] / "contrib" / "nftables" / "block.toml"
    block = config.parse(PATH, recipe.read_text()).block
    assert block is not None
    assert block.limit == Limit(20, timedelta(minutes=10), timedelta(hours=3))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [('"1s"', 1), ('"90"', 90), ("90", 90), ('"30m"', 1800), ('"2h"', 7200), ('"1d"', 86400), ('"65535m"', 65535 * 60)],
)
def test_a_span_of_time_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    """A number alone is seconds."""
    assert config.parse(PATH, f"grace = {text}").grace == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ['"65536m"', '"-1m"', '"1.5h"', '"m"', '"1w"', "1.5", "true", '"9999999999"'])
def test_any_other_span_is_refused(text: str) -> None:
    """Out of range, or no span."""
    with pytest.raises(ConfigError, match="grace"):
        config.parse(PATH, f"grace = {text}")


def test_the_readmes_configuration_is_understood() -> None:
    """What the README shows can be copied."""
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    text = readme.partition("```toml\n")[2].partition("```")[0]
    settings = config.parse(PATH, text)
    assert ClientAddress("100.64.0.1") in settings.rules.rules(settings.grace, settings.hold).never
    assert [section.type for section in settings.sources or ()] == ["file", "journal", "login"]
    from popbeforesmtp import wiring

    wiring.check(settings)


def test_a_complaint_names_the_line_of_the_right_table() -> None:
    """The same key in several tables is told apart."""
    text = '[[source]]\ntype = "stdin"\n[[lookup]]\ntype = "socketmap"\n[[source]]\n\ntype = "file"\n"path" = "/x"\n'
    sections = config.parse(PATH, text).sources or ()
    assert str(sections[1].place("path")) == f"{PATH}:8: [source] path"
    assert str(sections[1].place("type")) == f"{PATH}:7: [source] type"
    assert str(sections[0].place("type")) == f"{PATH}:2: [source] type"
