"""Imports point down only, so that the data's way is the layout and a room can be replaced."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "popbeforesmtp"
ROOMS = ("sources", "formats", "stores", "mtas", "lookups")
FLOORS = (
    # The ground floor, in its own order: what stands later may import what stands before it.
    (
        "errors",
        "worker",
        "lines",
        "accounts",
        "places",
        "addresses",
        "clock",
        "text",
        "atomicfile",
        "model",
        "stamps",
        "header",
        "entry",
        "sieve",
        "sight",
        "postconf",
        "privileges",
        "listening",
        "maillog",
    ),
    ROOMS,  # their contracts
    ("revocations", "bans", "rules", "active", "sessions", "holds", "crowds", "audit", "history"),
    ("following", "publisher", "recorder"),
    ("windows", "blocking", "pipeline"),
    ("rulesettings", "blocksettings", "config", "control"),
    ("reading", "wiring", "survey", "detect"),
    ("notify", "detach", "report", "by_hand", "explaining", "answers", "outputs"),
    ("parts", "daemon"),
    ("links",),
    ("snippets",),
    ("classic",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
HEIGHT = {name: (floor, place) for floor, names in enumerate(FLOORS) for place, name in enumerate(names)}
MODULES = sorted(
    path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.name != "__init__.py" or path.parent != PACKAGE
)


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Give the parts, below the package's name, of all that a module imports from the package."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (
                tuple(name.name.split(".")[1:]) for name in node.names if name.name.startswith("popbeforesmtp.")
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "popbeforesmtp":
            parts = tuple((node.module or "").split(".")[1:])
            for name in node.names:
                below = PACKAGE.joinpath(*parts, name.name)
                yield (*parts, name.name) if below.is_dir() or below.with_suffix(".py").exists() else parts


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_only_what_stands_below_it(path: Path) -> None:
    """Higher floors know lower ones, never the other way round; on the ground floor the order of the list counts."""
    own = path.parts[0].removesuffix(".py")
    assert own in HEIGHT, f"{path} stands on no floor"
    for parts in imported(path):
        if parts and parts[0] != own:
            floor, place = HEIGHT[own]
            other_floor, other_place = HEIGHT[parts[0]]
            lower = (other_floor, other_place) < (0, place) if floor == 0 else other_floor <= floor
            assert lower, f"{path} imports {'.'.join(parts)}"
            assert not (own in ROOMS and parts[0] in ROOMS), f"{path} imports another room, {parts[0]}"
            assert not (floor == other_floor and own in ROOMS), f"{path} imports beside itself"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_only_wiring_imports_what_is_inside_a_room(path: Path) -> None:
    """Everybody else knows a room's contract, never an implementation; ``reading.py`` is wiring for formats alone."""
    own = path.parts[0].removesuffix(".py")
    for parts in imported(path):
        inside = len(parts) > 1 and parts[0] in ROOMS and parts[0] != own
        assert not inside or own == "wiring" or (own, parts[0]) == ("reading", "formats"), (
            f"{path} imports {'.'.join(parts)}"
        )
