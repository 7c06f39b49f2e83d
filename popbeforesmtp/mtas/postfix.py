"""``type = "postfix"``: an access map for check_client_access, of any type that Postfix can be told through a file."""

import os
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path

from popbeforesmtp import maillog, postconf
from popbeforesmtp.addresses import ClientAddress, Network
from popbeforesmtp.errors import ConfigError, UnavailableError
from popbeforesmtp.mtas._berkeley import kind_of
from popbeforesmtp.mtas._lmdb import LmdbFile
from popbeforesmtp.mtas._nobody import Nobody
from popbeforesmtp.mtas._postmap import SUFFIXES, PostmapFile
from popbeforesmtp.mtas._restrict import keys
from popbeforesmtp.privileges import require_safe_place

DEFAULT_PATH = "/var/lib/pop-before-smtp/clients"

_RELOAD = ("postfix", "reload")
_RELOAD_SECONDS = 30.0  # that `postfix reload` or the administrator's command may take


def open_map(
    *,
    map: str | None = None,
    result: str = "OK",
    reload: str | tuple[str, ...] = "auto",
    restrict: tuple[Network, ...] = (),
) -> "PostfixMap":
    """Write an access map for Postfix.

    ``map`` is what stands behind check_client_access in main.cf: "lmdb:", "cdb:", "hash:" or "btree:" and a path
    without suffix; without it, the type that main.cf or master.cf name for our path, or the best that Postfix can read.
    ``result`` is the action of access(5) for a client that may relay. ``reload`` is "auto" (`postfix reload`, only
    where the map was missing: an smtpd that started without it would answer 451 until it ends), "never", or a command
    of your own as a list. ``restrict`` are networks that are refused, but for the clients that may relay.
    """
    fixed = keys(restrict)
    name = map or default_map()
    kind, colon, path = name.partition(":")
    if not colon or kind not in ("lmdb", *SUFFIXES):
        ours = ", ".join(["lmdb", *SUFFIXES])
        raise ConfigError(f'map = "{name}": maps of these types can be written: {ours}; as in "lmdb:{DEFAULT_PATH}"')
    if not path.startswith("/"):
        raise ConfigError(f'map = "{name}": the path must be absolute, as in "{kind}:{DEFAULT_PATH}"')
    if (reload == "auto" or kind in SUFFIXES) and postconf.find("postfix") is None:
        way_out = ', or set reload = "never" to only write the map' if kind == "lmdb" else ""
        raise UnavailableError(f"Postfix is not on this machine; install it{way_out}")
    if postconf.find("postconf") is not None and kind not in (types := _types()):
        raise UnavailableError(
            f'map = "{name}": this Postfix cannot read {kind} maps, but {", ".join(sorted(types & _OURS))}; install its'
            f" package for {kind} (Debian: postfix-{kind}), or write another type here and in main.cf"
        )
    file = (
        LmdbFile(Path(f"{path}.lmdb"), result, fixed)
        if kind == "lmdb"
        else PostmapFile(kind, Path(path), result, fixed)
    )
    require_safe_place(file.path)
    return PostfixMap(name, file, _reload_command(reload))


_OURS = frozenset(("lmdb", *SUFFIXES))


def default_map() -> str:
    """Return the map that main.cf or master.cf already name for our path, or the best type that Postfix can read.

    Raises UnavailableError where there is no such type.
    """
    configured = postconf.configured()
    for kind in ("lmdb", *SUFFIXES):
        if re.search(rf"(?<![\w.-]){kind}:{re.escape(DEFAULT_PATH)}(?![\w./-])", configured):
            return f"{kind}:{DEFAULT_PATH}"
    types = postconf.table_types()
    default = postconf.value("default_database_type")
    for kind in ("lmdb", "cdb", default):
        if kind in types & _OURS:
            return f"{kind}:{DEFAULT_PATH}"
    raise UnavailableError("this Postfix can read none of the types that we can write: lmdb, cdb, hash, btree")


def existing() -> list[str]:
    """Return the maps that lie at the usual place, whatever Postfix says of itself now."""
    found = [f"{kind}:{DEFAULT_PATH}" for kind in ("lmdb", "cdb") if Path(f"{DEFAULT_PATH}.{kind}").exists()]
    berkeley = Path(f"{DEFAULT_PATH}.db")
    if berkeley.exists():
        found.append(f"{kind_of(berkeley)}:{DEFAULT_PATH}")
    return found


def _types() -> frozenset[str]:
    """Return what Postfix can read; everything we can write, where it cannot be asked."""
    try:
        return postconf.table_types()
    except UnavailableError:
        return _OURS


def _reload_command(reload: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return the command that makes Postfix start over its smtpd processes; empty for none."""
    if isinstance(reload, tuple):
        return reload
    if reload not in ("auto", "never"):
        raise ConfigError(
            f'reload = "{reload}": write "auto", "never", or a command as a list, ["program", "argument"]'
        )
    return _RELOAD if reload == "auto" else ()


class PostfixMap:
    """One access map."""

    timed = False  # each change costs, and a renewal would be one

    def __init__(self, name: str, file: LmdbFile | PostmapFile, reload: tuple[str, ...]) -> None:
        self.name = name
        self.interval = file.interval
        self._file = file
        self._nobody = Nobody(file.path)
        self._reload = reload
        self._made_nobody = False  # with the networks that are refused now

    def replace(self, clients: Mapping[ClientAddress, datetime]) -> None:
        """Make the map hold exactly these clients; where it was missing, Postfix is made to look for it again."""
        missing = self._file.replace([client for client in clients if self.cannot_hold(client) is None])
        if not self._made_nobody or not self._nobody.is_beside():
            self._file.build(self._nobody.path, ())
            self._made_nobody = True
        self._nobody.gave_way()
        if missing and self._reload:
            self._reload_postfix()

    def change(self, come: Mapping[ClientAddress, datetime], go: Collection[ClientAddress]) -> None:
        """Add some and take some out."""
        self._file.change([client for client in come if self.cannot_hold(client) is None], go)

    def shut(self) -> None:
        """Let nobody in: a map without entries, kept ready since the start, is renamed over this one."""
        self._nobody.take_over()

    def lost(self) -> bool:
        """Say whether the map's file was removed or replaced."""
        return self._file.lost()

    def cannot_hold(self, client: ClientAddress) -> str | None:
        """Say why an IPv6 address may not be a key of an indexed map.

        Postfix also looks up what is left of an address when its last groups are cut off, so ``2001:db8::10`` would
        let ``2001:db8::10:0:0:1`` in. That can happen only where ``::`` stands for three groups or more in front of
        others: a longer address then has the same beginning.
        """
        head, shortened, tail = client.partition("::")
        if not shortened or not tail:
            return None
        written = len(head.split(":")) * bool(head) + len(tail.split(":"))
        if 8 - written < 3:
            return None
        return "as a key it would let other addresses in too; the socketmap knows it exactly"

    def close(self) -> None:
        """Let go of the file; it stays as it is."""
        self._file.close()

    def _reload_postfix(self) -> None:
        """Make Postfix begin anew: an smtpd that started while the map was missing never looks for it again."""
        try:
            if self._reload == _RELOAD:
                if os.geteuid() != 0:
                    raise UnavailableError("only root can")
                if not _is_running():
                    return
            postconf.run(*self._reload, seconds=_RELOAD_SECONDS)
        except UnavailableError as error:
            maillog.failed(f"{self.name} was missing; Postfix must be reloaded by hand to see it now: {error}")


def _is_running() -> bool:
    """Say whether Postfix runs at all; before it does, there is nothing to begin anew."""
    try:
        postconf.run("postfix", "status", seconds=_RELOAD_SECONDS)
    except UnavailableError:
        return False
    return True
