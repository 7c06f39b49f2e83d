"""What ``[rules]`` and ``[[window]]`` say, and the files that they name, which are read again when they change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from popbeforesmtp.accounts import EVERYBODY, Accounts
from popbeforesmtp.addresses import NO_NETWORKS, Network, NetworkSet, parse_network
from popbeforesmtp.errors import ConfigError
from popbeforesmtp.places import Places, Table, Where, parse_duration
from popbeforesmtp.rules import NO_LIMITS, SERVICES, Limits, Rules, Window

LONGEST = timedelta(minutes=65535)
"""The longest window."""

Stamps = list[tuple[int, ...]]
"""What changes when one of some files does: inode, bytes and times; nothing of one that is missing."""

_Entry = TypeVar("_Entry")

_SETTINGS = (
    *("trusted", "never", "accounts", "deny_accounts", "services", "mechanisms", "tls", "ipv6_prefix", "restrict"),
    *("max_accounts_per_address", "max_addresses_per_account", "max_grants_per_minute", "max_clients"),
    "revoke_after_failures",
)
_RESTLESS = 10  # looks after which files that are written all the time are read all the same
_WINDOW = ("grace", "accounts", "services")
_MOST = 1_000_000  # of whatever a limit counts


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """The rules as they were written. Entries of lists that begin with ``/`` are files with one entry on each line."""

    trusted: NetworkSet | None = None  # None: Postfix's mynetworks
    trusted_required: bool = False  # somebody wrote trusted = "postconf"
    never: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ("*",)
    deny_accounts: tuple[str, ...] = ()
    services: frozenset[str] = SERVICES
    mechanisms: tuple[str, ...] = ("*",)
    tls: bool = False
    ipv6_prefix: int = 128
    restrict: tuple[Network, ...] = ()  # refused by the MTA, but for clients that may relay
    limits: Limits = NO_LIMITS
    revoke_after_failures: int = 0
    windows: tuple[Window, ...] = ()

    def files(self) -> tuple[Path, ...]:
        """Return the files that the rules are read from."""
        entries = (*self.never, *self.accounts, *self.deny_accounts)
        return tuple(dict.fromkeys(Path(entry) for entry in entries if entry.startswith("/")))

    def stamps(self) -> Stamps:
        """Return what changes when one of those files does, or who may read it."""
        stamps: Stamps = []
        for path in self.files():
            try:
                status = path.stat()
                stamps.append((status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
            except OSError:
                stamps.append(())
        return stamps

    def rules(self, grace: timedelta, hold: timedelta) -> Rules:
        """Read the files, and return the rules but for what is found out. Raises ConfigError."""
        return Rules(
            grace=grace,
            windows=self.windows,
            hold=hold,
            never=NetworkSet(_entries(self.never, _network)) if self.never else NO_NETWORKS,
            accounts=Accounts(_entries(self.accounts, str)),
            deny_accounts=Accounts(_entries(self.deny_accounts, str)),
            services=self.services,
            mechanisms=Accounts(self.mechanisms),
            tls=self.tls,
            limits=self.limits,
            revoke_after_failures=self.revoke_after_failures,
            ipv6_prefix=self.ipv6_prefix,
            restricted=NetworkSet(self.restrict) if self.restrict else NO_NETWORKS,
        )


NO_RULES = RuleSettings()


class Files:
    """Files that are looked at again and again: says when they have changed, and nobody is writing them any more.

    A list of denied accounts that is being written would for that moment deny nobody.
    """

    def __init__(self, read: Stamps) -> None:
        """``read`` are their stamps from before they were read last."""
        self._read = self._seen = read
        self._looks = 0  # since they have changed

    def changed(self, stamps: Stamps) -> bool:
        """Say whether they differ from what was read, and are as at the look before, or never come to rest."""
        rest, self._seen = stamps == self._seen, stamps
        self._looks = 0 if stamps == self._read else self._looks + 1
        return self._looks > _RESTLESS or (rest and stamps != self._read)

    def were_read(self, stamps: Stamps) -> None:
        """Take in that they were read, when they had these stamps."""
        self._read, self._looks = stamps, 0


def read_rules(places: Places, data: Table) -> RuleSettings:
    """Read the tables of a configuration. Raises ConfigError."""
    table = places.table(data, "rules")
    places.refuse_unknown(table, "rules", _SETTINGS)

    def where(key: str) -> Where:
        return places.where("rules", 0, key)

    def count(key: str, most: int = _MOST) -> int:
        return _number(table.get(key, 0), where(key), 0, most)

    trusted = table.get("trusted", "postconf")
    tls = table.get("tls", False)
    if not isinstance(tls, bool):
        raise where("tls").complain(f"{tls!r} is neither true nor false; write one of them without quotes")
    return RuleSettings(
        trusted=None
        if trusted == "postconf"
        else NetworkSet(parse_network(text) for text in _networks(trusted, where("trusted"), ' or "postconf"')),
        trusted_required="trusted" in table and trusted == "postconf",
        never=_networks(table.get("never", []), where("never"), "", files=True),
        accounts=_some(
            _texts(table.get("accounts", ["*"]), where("accounts"), '["*@example.com", "alice"]'), where("accounts")
        ),
        deny_accounts=_texts(table.get("deny_accounts", []), where("deny_accounts"), '["root"]'),
        services=_services(table.get("services"), where("services")) or SERVICES,
        mechanisms=_texts(table.get("mechanisms", ["*"]), where("mechanisms"), '["CRAM-MD5", "SCRAM-*"]', files=False),
        tls=tls,
        ipv6_prefix=_number(table.get("ipv6_prefix", 128), where("ipv6_prefix"), 48, 128),
        restrict=tuple(parse_network(text) for text in _networks(table.get("restrict", []), where("restrict"), "")),
        limits=Limits(
            count("max_accounts_per_address"),
            count("max_addresses_per_account"),
            count("max_grants_per_minute"),
            count("max_clients"),
        ),
        revoke_after_failures=count("revoke_after_failures"),
        windows=_windows(places, data),
    )


def read_grace(value: object, where: Where) -> timedelta:
    """Read a grace period. Raises ConfigError."""
    grace = parse_duration(value, where)
    if not timedelta(seconds=1) <= grace <= LONGEST:
        raise where.complain(f'{value!r} is out of range; write a span from "1s" to "65535m"')
    return grace


def _windows(places: Places, data: Table) -> tuple[Window, ...]:
    windows = []
    for index, table in enumerate(places.tables(data, "window") or ()):
        places.refuse_unknown(table, "window", _WINDOW, index)

        def where(key: str, index: int = index) -> Where:
            return places.where("window", index, key)

        if "grace" not in table:
            raise where("").complain('has no grace; write one, as in grace = "8h"')
        if not {"accounts", "services"} & set(table):
            raise where("").complain("fits every login; write accounts or services, or set the common grace instead")
        accounts = _texts(table.get("accounts", ["*"]), where("accounts"), '["scanner@example.com"]', files=False)
        windows.append(
            Window(
                read_grace(table["grace"], where("grace")),
                EVERYBODY if accounts == ("*",) else Accounts(accounts),
                _services(table.get("services"), where("services")),
            )
        )
    return tuple(windows)


def _some(accounts: tuple[str, ...], where: Where) -> tuple[str, ...]:
    if not accounts:
        raise where.complain('names nobody, so nobody could ever relay; write ["*"] for everybody, or leave it out')
    return accounts


def _services(value: object, where: Where) -> frozenset[str]:
    if value is None:
        return frozenset()
    services = frozenset(name.lower() for name in _texts(value, where, '["pop3", "imap"]', files=False))
    if not services:
        raise where.complain('names no service; write ["pop3", "imap"], or leave it out')
    for name in sorted(services - SERVICES):
        raise where.complain(
            f'{name!r} is no service that opens a mailbox; write "pop3" or "imap", which a login over TLS is too'
        )
    return services


def _number(value: object, where: Where, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise where.complain(f"{value!r} is no whole number from {least} to {most}; write one without quotes")
    return value


def _texts(value: object, where: Where, example: str, *, files: bool = True) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(map(_is_text, value)):
        raise where.complain(f"{value!r} is no list of texts; write {example}")
    for text in value:
        if text.startswith("/") and not files:
            raise where.complain(f"{text!r}: only accounts, deny_accounts and never name files; write the names here")
    return tuple(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _networks(value: object, where: Where, alternative: str, *, files: bool = False) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise where.complain(f'{value!r} is no list of networks; write ["192.0.2.0/24"]{alternative}')
    for text in value:
        if files and isinstance(text, str) and text.startswith("/"):
            continue
        try:
            parse_network(str(text))
        except ValueError:
            raise where.complain(_no_network(text)) from None
    return tuple(map(str, value))


def _no_network(text: object) -> str:
    return (
        f"{text!r} is no network; write an address and a prefix length with nothing behind it, as in"
        ' "192.0.2.0/24" or "2001:db8::/32"'
    )


def _network(text: str) -> Network:
    try:
        return parse_network(text)
    except ValueError:
        raise ValueError(_no_network(text)) from None


def _entries(entries: Sequence[str], read: Callable[[str], _Entry]) -> list[_Entry]:
    """Read entries, and those of the files among them: one on each line, behind ``#`` a comment. Raises ConfigError."""
    found: list[_Entry] = []
    for entry in entries:
        if not entry.startswith("/"):
            found.append(read(entry))
            continue
        path = Path(entry)
        try:
            if path.exists() and not path.is_file():  # a device may have no end
                raise ConfigError(f"{path}: is no regular file; make one, or leave it out of [rules]")
            lines = path.read_text(encoding="utf-8-sig").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "it is no UTF-8 text"
            raise ConfigError(f"{path}: cannot be read: {why}; make it, or leave it out of [rules]") from None
        for number, line in enumerate(lines, start=1):
            text = line.partition("#")[0].strip()
            try:
                found += [read(text)] if text else []
            except ValueError as error:
                raise ConfigError(f"{path}:{number}: {error}") from None
    return found
