"""Postfix's restriction lists (SMTPD_ACCESS_README): read, judged, and mended."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

_DEEPEST = 10  # of restriction classes in each other
_WORD = re.compile(r"\{(?:[^{}]|\{[^{}]*\})*\}|[^\s,{}]+")

TAKES = re.compile(r"check_\w+|reject_rbl_client|reject_rhsbl_\w+|permit_dnswl_client|permit_rhswl_client|sleep")
"""Restrictions behind which an argument stands."""

STRICT = re.compile(
    r"reject_(?:rbl_client|rhsbl_\w+|maps_rbl|unknown_client(?:_hostname)?|unknown_reverse_client_hostname"
    r"|unknown_helo_hostname|unknown_hostname|(?:invalid|non_fqdn)_(?:helo_)?hostname|plaintext_session"
    r"|(?:unauthenticated_|known_)?sender_login_mismatch)"
)
"""Checks that roaming clients fail: blocklists, missing PTR records, names that only servers have, SASL logins."""

GRANTS = re.compile(r"(?i:ok|relay|permit)\b.*|[0-9]+")
"""What access(5) takes for a leave."""

_ENDS = re.compile(r"(?:reject|defer)(?:_unauth_destination)?")
"""What ends a list for a stranger who sends to somebody outside."""

_CLAIMS = re.compile(r"check_(?:sender|helo|etrn)_\w*access")
"""Lookups of what any client may say of itself."""


@dataclass(frozen=True, slots=True)
class Restriction:
    """One of a list."""

    name: str
    argument: str = ""
    warns: bool = False  # behind warn_if_reject: its refusals are only logged

    def __str__(self) -> str:
        return f"{self.name} {self.argument}".strip()


Meant = Callable[[Restriction], bool]
"""Says whether a restriction means to ask us, rightly or wrongly."""


class Fate(StrEnum):
    """What becomes of a stranger who sends to somebody outside."""

    REFUSED = "refused"
    LET_IN = "let in"
    NEXT = "next"  # the next list decides


def parse(text: str, name: str, classes: Mapping[str, str], depth: int = 0) -> tuple[Restriction, ...]:
    """Read a list; a table alone stands for the access check of the list's own kind, ``name``."""
    found: list[Restriction] = []
    words = iter(_WORD.findall(text))
    warns = False
    for word in words:
        lower = word.lower()
        if lower == "warn_if_reject":
            warns = True
            continue
        if word in classes and depth < _DEEPEST:
            found += parse(classes[word], name, classes, depth + 1)
        elif TAKES.fullmatch(lower):
            found.append(Restriction(lower, next(words, ""), warns))
        elif ":" in word:
            own = {"relay": "recipient"}.get(name, name)
            found.append(Restriction(f"check_{own}_access", word, warns))
        else:
            found.append(Restriction(lower, "", warns))
        warns = False
    return tuple(found)


def fate(restrictions: Iterable[Restriction]) -> tuple[Fate, Restriction | None]:
    """Say what a list does with a stranger's mail to somebody outside, and which restriction does it."""
    for each in restrictions:
        if each.warns:
            continue
        if _ENDS.fullmatch(each.name):
            return Fate.REFUSED, each
        if _lets_all_in(each):
            return Fate.LET_IN, each
    return Fate.NEXT, None


def claims(restrictions: Iterable[Restriction]) -> Restriction | None:
    """Return what lets in whoever claims something, in front of what refuses strangers."""
    for each in restrictions:
        if _ENDS.fullmatch(each.name) and not each.warns:
            return None
        if _CLAIMS.fullmatch(each.name):
            return each
    return None


def before(restrictions: tuple[Restriction, ...], name: str, place: int) -> bool:
    """Say whether a restriction stands in front of a place in its list."""
    return any(each.name == name for each in restrictions[:place])


def mend_relay(restrictions: Iterable[Restriction], check: Restriction, meant: Meant) -> tuple[Restriction, ...]:
    """Put our check where it belongs: behind what never depends on it, and in front of the end."""
    kept = []
    for each in restrictions:
        if _ENDS.fullmatch(each.name) or _lets_all_in(each):
            break
        if not meant(each) and each.name != "permit_auth_destination" and not _CLAIMS.fullmatch(each.name):
            kept.append(Restriction(each.name, each.argument))
    if not any(each.name == "permit_mynetworks" for each in kept):
        kept.insert(0, Restriction("permit_mynetworks"))
    return (*kept, Restriction("permit_auth_destination"), check, Restriction("reject"))


def mend_checks(restrictions: Iterable[Restriction], check: Restriction, meant: Meant) -> tuple[Restriction, ...]:
    """Put our check in front of the first that roaming clients would fail, and take away what spares everybody."""
    kept = [each for each in restrictions if not meant(each)]
    hurdles = (place for place, each in enumerate(kept) if is_strict(each, meant) or _ENDS.fullmatch(each.name))
    first = next(hurdles, len(kept))
    front = [each for each in kept[:first] if each.name != "permit_auth_destination"]
    return (*front, check, *kept[first:])


def is_strict(restriction: Restriction, meant: Meant) -> bool:
    """Say whether roaming clients fail a check; a policy service that is not ours may well greylist."""
    if restriction.warns:
        return False
    other_service = restriction.name == "check_policy_service" and not meant(restriction)
    return other_service or STRICT.fullmatch(restriction.name) is not None


def _lets_all_in(restriction: Restriction) -> bool:
    static = re.fullmatch(r"static:(?:ok|permit|relay|[0-9]+)", restriction.argument, re.IGNORECASE)
    return restriction.name == "permit" or static is not None


def shown(restrictions: Iterable[Restriction]) -> str:
    """Write a list in one line."""
    return ", ".join(f"{'warn_if_reject ' * each.warns}{each}" for each in restrictions)
