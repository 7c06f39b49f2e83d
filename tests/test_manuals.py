"""Everything that exists is documented: commands, options, settings and types, in the README and the manuals."""

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from popbeforesmtp import cli, lookups, mtas, sources, stores, wiring
from popbeforesmtp.formats import _dovecot_template, _format
from popbeforesmtp.model import EventKind

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = (ROOT / "contrib" / "man" / "pop-before-smtp.8").read_text()
SETTINGS = (ROOT / "contrib" / "man" / "pop-before-smtp.toml.5").read_text()
OPENING = {sources: "open_source", stores: "open_store", mtas: "open_map", lookups: "open_lookup"}


def commands() -> dict[str, list[str]]:
    """Return each command and its options."""
    (subparsers,) = (action for action in cli._parser(())._actions if isinstance(action.choices, dict))
    return {
        name: [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
        for name, parser in (subparsers.choices or {}).items()
    }


@pytest.mark.parametrize("command", sorted(commands()))
def test_a_command_and_its_options_are_in_the_manual(command: str) -> None:
    """The README names the command, the manual all of it."""
    assert f"`{command}" in README
    assert f".Cm {command}" in COMMANDS or f"| Cm {command}" in COMMANDS or f" {command} Ar" in COMMANDS
    for option in commands()[command]:
        assert option.removeprefix("-") in COMMANDS, option


@pytest.mark.parametrize("room", OPENING, ids=lambda room: room.__name__.rpartition(".")[2])
def test_a_type_and_its_settings_are_in_the_manual(room: object) -> None:
    """For each file of a room: its name, and the keyword arguments of its opening function."""
    import types

    assert isinstance(room, types.ModuleType)
    for name in wiring.names(room):
        assert f"Qq {name}" in SETTINGS
        assert f'"{name}"' in README
        opening = getattr(import_module(f"{room.__name__}.{name}"), OPENING[room])
        for setting in set(inspect.signature(opening).parameters) - {*wiring.GIVEN, *wiring.FOUND_OUT}:
            assert f"Ic {setting}" in SETTINGS, f"{name}: {setting}"
            assert f"{setting} =" in README, f"{name}: {setting}"


def test_every_key_of_a_format_is_in_the_manual() -> None:
    """Who writes a format of their own finds all that it may say."""
    section = SETTINGS[SETTINGS.index(".Sh FORMATS OF ONE'S OWN") :]
    words = set(re.findall(r"[a-z_]+", section))
    assert not {*_format._KEYS, *_format._NOTES, *_format._PATTERN_KEYS, *_format._GROUPS, *_format._JOINS} - words
    assert not {"template", *_dovecot_template._DEFAULTS, *EventKind} - {"other"} - words


def test_the_readme_links_to_what_there_is() -> None:
    """No link is broken."""
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_file_of_the_package_has_its_place_in_the_table() -> None:
    """Who wants to change something finds it: by its own name, or as one of those that a folder holds."""
    table, package = (ROOT / "CONTRIBUTING.md").read_text(), ROOT / "popbeforesmtp"
    files = {path.relative_to(package) for path in package.rglob("*.py")}
    named = {path for path in files if f"`{path.name}`" in table or f"`{path}`" in table}
    alike = {path for path in files if f"`{path.parent}/NAME.py`" in table and not path.name.startswith("_")}
    assert not {path for path in files - named - alike if not path.name.startswith("__")}


def test_every_folder_of_contrib_is_spoken_of() -> None:
    """Where an administrator reads, or by what make runs: else nobody would find it."""
    text = README + SETTINGS + COMMANDS + (ROOT / "Makefile").read_text()
    assert not {path.name for path in (ROOT / "contrib").iterdir() if f"contrib/{path.name}" not in text}
