"""What ``init`` writes: a configuration for this machine, and the lines that its mail server needs.

One file per mail server, named as the map is: ``here`` tells whether this machine has it, ``configuration`` our tables
for it, ``lines`` what goes into its own configuration. The texts are those of contrib, which the tests run.
"""

import importlib
import importlib.resources
import pkgutil
from pathlib import Path
from typing import Protocol, cast

from popbeforesmtp import mtas, wiring
from popbeforesmtp.errors import UnavailableError
from popbeforesmtp.links import Machine


class Snippets(Protocol):
    """One file of this folder."""

    TITLE: str  # what the mail server is called
    TRUSTED: str  # the lines of [rules] that say whom it trusts by itself

    def here(self) -> bool:
        """Say whether this machine has it."""

    def configuration(self) -> str:
        """Return our tables for it, in TOML."""

    def lines(self, machine: Machine) -> str:
        """Return what its own configuration needs, with a comment for each part; ``machine`` has our new settings."""


def found() -> Snippets | None:
    """Return what there is for the mail server of this machine; None where there is none that we can tell anything."""
    for name in sorted((each.name for each in pkgutil.iter_modules(__path__)), key=lambda name: name != "postfix"):
        if name in wiring.names(mtas):
            snippets = cast(Snippets, importlib.import_module(f"{__name__}.{name}"))
            if snippets.here():
                return snippets
    return None


def contrib(name: str) -> str:
    """Return a text of contrib: from the package, or from the tree where that is where we run from.

    Raises UnavailableError where there is none.
    """
    tree = Path(__file__).parents[2] / "contrib" / name
    packaged = importlib.resources.files("popbeforesmtp").joinpath("contrib", name)
    for place in (packaged, tree):
        if place.is_file():
            return place.read_text(encoding="utf-8")
    raise UnavailableError(f"contrib/{name} is missing from this installation; install it anew")
