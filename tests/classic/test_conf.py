"""Whole configurations in the classic's shape: what they come to stands in each, behind ``#:``, as TOML."""

import tomllib
from pathlib import Path

import pytest

from popbeforesmtp import config
from popbeforesmtp.classic import conf, meaning, toml
from popbeforesmtp.classic.options import Options
from popbeforesmtp.classic.plan import Plan, Weight
from popbeforesmtp.errors import ConfigError

FILES = sorted((Path(__file__).parent / "conf").glob("*.pl"))
POSTFIX = {"type": "postfix", "map": "hash:/etc/postfix/pop-before-smtp", "result": "ok"}


def expected(path: Path) -> dict[str, object]:
    """Read what a file says of itself."""
    lines = (line.removeprefix("#: ") for line in path.read_text().splitlines() if line.startswith("#: "))
    return tomllib.loads("\n".join(lines))


def plan_of(path: Path, **options: bool) -> Plan:
    """Read a configuration."""
    return meaning.mean(conf.load(path), Options(**options))  # type: ignore[arg-type]


def agree(found: list[str], wanted: object) -> bool:
    """Say whether each sentence is wanted, and each that is wanted is there."""
    assert isinstance(wanted, list)
    left = list(found)
    for part in wanted:
        match = next((sentence for sentence in left if part in sentence), None)
        if match is None:
            return False
        left.remove(match)
    return not left


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_configuration_comes_to_what_it_says_of_itself(path: Path) -> None:
    """Values, formats, outputs; and every finding is expected, so nothing is dropped in silence or made up."""
    want = expected(path)
    if "error" in want:
        with pytest.raises(ConfigError) as error:
            plan_of(path)
        assert f"{path}{want['error']}" in str(error.value)
        return
    plan = plan_of(path)
    for weight, key in ((Weight.STOP, "stop"), (Weight.LOST, "lost"), (Weight.NOTE, "note")):
        sentences = [finding.sentence(path) for finding in plan.of(weight)]
        assert agree(sentences, want.get(key, [])), sentences
        assert all(sentence.startswith(f"{path}:") for sentence in sentences)
    data = tomllib.loads(toml.write(plan))
    (source,) = data.get("source", [{}])
    (mta,) = data["mta"]
    assert data["grace"] == f"{want.get('grace', 1800)}s"
    assert data.get("hold") == want.get("hold")
    assert data.get("log") == want.get("log")
    assert plan.custom == want.get("custom", False)
    assert mta == want.get("map", POSTFIX)
    assert data.get("rules", {}).get("trusted") == want.get("trusted")
    if "source" in want:
        assert source.get("path", "-") == want["source"]
    if "formats" in want:
        assert source["formats"] == want["formats"]
        own = [tomllib.loads(text)["programs"] for text in plan.own.values()]
        assert own == ([want["programs"]] if "programs" in want else [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_migrate_writes_is_a_configuration(path: Path) -> None:
    """It parses, and says what was meant; hold and the outputs of others are theirs to understand."""
    if "error" in expected(path) or "stop" in expected(path):
        pytest.skip("cannot be run")
    plan = plan_of(path)
    settings = config.parse(path, toml.write(plan))
    assert settings.grace.total_seconds() == plan.grace
    assert settings.lookups == ()
    assert settings.mtas is not None
    assert len(settings.mtas) == 1


@pytest.mark.parametrize(
    "line",
    [
        '$x = "$x$x$x$x";',
        "$x .= $x;",
        "@a = (1, @a, @a);",
        f"$grace = {'9' * 5000};",
        f"$x = '{'9' * 400}'; $grace = $x;",
    ],
    ids=["put together", "appended", "list", "number", "text of digits"],
)
def test_no_configuration_takes_all_memory_or_a_number_without_end(line: str) -> None:
    """What grows from line to line is named, as all code is; a number out of range is one."""
    text = "$x = 'aaaaaaaaaa';\n@a = (1, 2);\n" + f"{line}\n" * 60
    plan = meaning.mean(conf.parse(Path("/etc/pop-before-smtp-conf.pl"), text), Options())
    assert plan.of(Weight.LOST) + plan.of(Weight.STOP)
