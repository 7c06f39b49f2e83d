"""Sets of account names, written as globs: what ``accounts`` and ``deny_accounts`` mean."""

import fnmatch
import re
from collections.abc import Iterable


class Accounts:
    """Account names that one asks whether a name is among; upper and lower case are the same.

    ``*`` stands for any text, ``?`` for one character and ``[…]`` for one of several (fnmatch(3)); everything else for
    itself. ``*@example.com`` is a domain.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        self.globs = tuple(globs)
        folded = [glob.casefold() for glob in self.globs]
        self._names = frozenset(glob for glob in folded if not set("*?[") & set(glob))
        patterns = [fnmatch.translate(glob) for glob in folded if set("*?[") & set(glob)]
        self._all = "*" in folded
        self._matches = re.compile("|".join(patterns)).match if patterns else None

    def __contains__(self, user: str) -> bool:
        if self._all:
            return True
        name = user.casefold()
        return name in self._names or (self._matches is not None and self._matches(name) is not None)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Accounts) and set(self.globs) == set(other.globs)

    def __hash__(self) -> int:
        return hash(frozenset(self.globs))

    def __str__(self) -> str:
        return ", ".join(self.globs) or "none"


EVERYBODY = Accounts("*")
NOBODY = Accounts(())
