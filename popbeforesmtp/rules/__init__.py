"""Who may relay and until when: pure, no I/O, time is an argument.

What the administrator decided (``ruleset.py``) is asked by ``checks.py`` in a fixed order; the first check that refuses
decides, and ``explain`` shows the same ones. ``decision.py`` puts a login to them; what they let pass is granted as
``grants.py`` says. Where in doubt the answer is the shorter leave: a stale login gives none, and a stamp in the future
never reaches past ``now + grace``.
"""

from popbeforesmtp.rules.bars import bar, bar_network, granted_to
from popbeforesmtp.rules.checks import AHEAD, CHECKS
from popbeforesmtp.rules.decision import decide, proves, taken_back, walk
from popbeforesmtp.rules.grants import by_hand, hand, hold
from popbeforesmtp.rules.limits import ALONE, Standing, limited
from popbeforesmtp.rules.ruleset import NO_LIMITS, SERVICES, Limits, Rules, Window, grace_for

__all__ = [
    "AHEAD",
    "ALONE",
    "CHECKS",
    "NO_LIMITS",
    "SERVICES",
    "Limits",
    "Rules",
    "Standing",
    "Window",
    "bar",
    "bar_network",
    "by_hand",
    "decide",
    "grace_for",
    "granted_to",
    "hand",
    "hold",
    "limited",
    "proves",
    "taken_back",
    "walk",
]
