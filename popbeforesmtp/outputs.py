"""The maps and the lookups of a running daemon: opened at the start, swapped when the configuration is read again."""

from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack

from popbeforesmtp import detect, maillog, wiring
from popbeforesmtp.blocking import Blocking
from popbeforesmtp.clock import Clock
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.errors import ConfigError, PopBeforeSmtpError
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.mtas import AccessMap
from popbeforesmtp.publisher import Publisher
from popbeforesmtp.stores import Store
from popbeforesmtp.windows import Windows


class Outputs:
    """All outputs, by the keys of what asked for them: a section, and the rules that it must say."""

    def __init__(self, settings: Settings, windows: Windows, blocking: Blocking, clock: Clock) -> None:
        self._settings = settings
        self._windows = windows
        self._blocking = blocking
        self._block: Publisher | None = None
        self._clock = clock
        self._publishers: dict[str, Publisher] = {}
        self._sections: dict[str, Section] = {}
        self._lookups: dict[str, Lookup] = {}

    @property
    def lookups(self) -> Iterable[Lookup]:
        """What answers live."""
        return self._lookups.values()

    async def start(self, found: detect.Found) -> None:
        """Make the maps true, and begin to answer."""
        self._sections = {_key(section, self._settings): section for section in found.mtas}
        for key, section in self._sections.items():
            self._publishers[key] = publisher = self._publisher(section, self._settings)
            await publisher.make_true()
            publisher.start()
            maillog.found(f"access map: {publisher.name}")
        self._windows.publishers = list(self._publishers.values())
        for section in wiring.told_of_blocked(self._settings):
            await self._tell_blocked(wiring.open_map(section))
        for section in found.lookups:
            self._lookups[_key(section, self._settings)] = lookup = wiring.open_lookup(section, self._settings.rules)
            await lookup.start(self._windows.permits)

    async def prepare(self, settings: Settings, found: detect.Found, undo: AsyncExitStack) -> "Swap":
        """Build all that is new beside what is old; ``undo`` takes it back where something else fails."""
        swap = Swap(settings, found, await self._new_publishers(settings, found, undo), {})
        if _told(settings) != _told(self._settings):
            swap.told = [wiring.open_map(section) for section in wiring.told_of_blocked(settings)]
            if self._block is not None:  # nobody would take anybody out of it any more
                undo.callback(self._block.owe)
                await self._block.empty()
        swap.lookups |= await self._new_lookups(settings, found, undo)
        names = {publisher.name for publisher in swap.publishers.values()}
        for publisher in self._publishers.values():
            if publisher.name not in names:  # nobody would take anybody out of it any more
                undo.callback(publisher.owe)
                await publisher.empty()
        return swap

    async def swap(self, swap: "Swap") -> None:
        """Take what was prepared, and let go of the old."""
        old, self._publishers, self._lookups = self._publishers, swap.publishers, swap.lookups
        self._sections = {_key(section, swap.settings): section for section in swap.found.mtas}
        if swap.told is not None:
            await self._let_go_of_blocked()
            for access_map in swap.told:
                await self._tell_blocked(access_map)
        self._blocking.obey(None if swap.settings.block is None else swap.settings.block.limit)
        self._settings = swap.settings
        self._windows.publishers = list(self._publishers.values())
        names = {publisher.name for publisher in self._publishers.values()}
        for publisher in old.values():
            if publisher.name not in names:
                await publisher.close(empty=True)

    async def stop_answering(self) -> None:
        """Close the lookups."""
        for lookup in self._lookups.values():
            await lookup.close()

    async def close(self) -> None:
        """Write what is waiting into the maps, and let go of them."""
        for publisher in self._publishers.values():
            await publisher.close()
        await self._let_go_of_blocked()

    async def _tell_blocked(self, access_map: AccessMap) -> None:
        """Begin to tell a program who is blocked."""
        self._block = Publisher(access_map, lambda: self._blocking.blocked.ends(self._clock.now()))
        await self._block.make_true()
        self._blocking.told = self._block
        self._block.start()
        maillog.found(f"blocked clients are told to: {self._block.name}")

    async def _let_go_of_blocked(self) -> None:
        """Take out all that are blocked: nobody would later."""
        if self._block is not None:
            await self._block.close(empty=True)
            self._block = self._blocking.told = None

    def _publisher(self, section: Section, settings: Settings, access_map: AccessMap | None = None) -> Publisher:
        access_map = access_map or wiring.open_map(section, settings.rules)
        return Publisher(access_map, lambda: self._windows.active.ends(self._clock.now()))

    async def _new_publishers(
        self, settings: Settings, found: detect.Found, undo: AsyncExitStack
    ) -> dict[str, Publisher]:
        """Make the maps that are new true; who comes and goes meanwhile is told to them too."""
        publishers = {}
        for section in found.mtas:
            key = _key(section, settings)
            publisher = self._publishers.get(key)
            if publisher is None:
                access_map = wiring.open_map(section, settings.rules)
                same = next((key for key, old in self._publishers.items() if old.name == access_map.name), None)
                if same is not None:  # the same file, to be written otherwise: one publisher at a time
                    await self._publishers[same].close()
                    undo.push_async_callback(self._revive, same)
                publisher = self._publisher(section, settings, access_map)
                undo.push_async_callback(publisher.close, empty=same is None)
                undo.callback(setattr, self._windows, "publishers", list(self._publishers.values()))
                self._windows.publishers = [*self._windows.publishers, publisher]
                await publisher.make_true()
                publisher.start()
            publishers[key] = publisher
        return publishers

    async def _revive(self, key: str) -> None:
        """Take a map up again that was let go for a new one that did not come to be."""
        self._publishers[key] = publisher = self._publisher(self._sections[key], self._settings)
        self._windows.publishers = list(self._publishers.values())
        await publisher.make_true()
        publisher.start()

    async def _new_lookups(self, settings: Settings, found: detect.Found, undo: AsyncExitStack) -> dict[str, Lookup]:
        """Stop the lookups that are gone, for a new one may want their sockets, and start the new ones."""
        wanted = {_key(section, settings): section for section in found.lookups}
        for key, lookup in self._lookups.items():
            if key not in wanted:
                await lookup.close()
                undo.push_async_callback(lookup.start, self._windows.permits)
        lookups = {}
        for key, section in wanted.items():
            kept = self._lookups.get(key)
            if kept is None:
                kept = wiring.open_lookup(section, settings.rules)
                await kept.start(self._windows.permits)
                undo.push_async_callback(kept.close)
            lookups[key] = kept
        return lookups


class Swap:
    """Outputs that were built and are not in use yet."""

    def __init__(
        self,
        settings: Settings,
        found: detect.Found,
        publishers: dict[str, Publisher],
        lookups: dict[str, Lookup],
    ) -> None:
        self.settings = settings
        self.found = found
        self.publishers = publishers
        self.lookups = lookups
        self.told: list[AccessMap] | None = None  # who hears of the blocked; None: as before


def empty_forgotten(store: Store, sections: Sequence[Section]) -> None:
    """Take everybody out of the maps that were named before and are no longer, for nobody looks after them now."""
    failed = []
    for section in wiring.forgotten_maps(store.maps(), sections):
        try:
            left = wiring.open_map(section)
            left.replace({})
            left.close()
            maillog.notice(f"{left.name} is configured no longer; it was emptied")
        except PopBeforeSmtpError as error:
            if not isinstance(error, ConfigError):  # else nobody can ever have been in it
                failed.append(f"{section.type} {section.values['map']}")
            maillog.failed(f"{section.values['map']} is configured no longer, and could not be emptied: {error}")
    store.set_maps([*failed, *map(wiring.map_key, sections)])


def _told(settings: Settings) -> list[str]:
    return [section.key for section in wiring.told_of_blocked(settings)]


def _key(section: Section, settings: Settings) -> str:
    """Name an output by all that it must say: where a restricted network changes, so does the output."""
    return f"{section.key} {settings.rules.restrict} {settings.rules.ipv6_prefix}"
