"""What all links look at: the configuration, what was found out, and what the daemon says of itself; asked for once."""

import glob
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from popbeforesmtp import detect, privileges, survey, wiring
from popbeforesmtp.clock import Clock
from popbeforesmtp.config import Section, Settings
from popbeforesmtp.control import ask
from popbeforesmtp.errors import PopBeforeSmtpError, UnavailableError
from popbeforesmtp.links import _access
from popbeforesmtp.links._postfix import Postfix, read_postfix
from popbeforesmtp.survey import Survey
from popbeforesmtp.wiring.sources import zone_of

_OTHERS = ("exim", "sendmail")  # mail servers that cannot be on one machine with Postfix


@dataclass
class Machine:
    """The machine that we are on, with the parts of us that are on it."""

    settings: Settings
    clock: Clock
    live: str | None = None  # hold a conversation too: with this address, or "" for one that is found out

    @cached_property
    def _found(self) -> tuple[detect.Found, PopBeforeSmtpError | None]:
        now = self.clock.now().wall
        try:
            return detect.find(self.settings, lambda _: None, now), None
        except PopBeforeSmtpError as error:
            # The daemon would not start; what else there is to say is said all the same.
            less = replace(self.settings, insecure_log=True, rules=replace(self.settings.rules, trusted_required=False))
            return detect.find(less, lambda _: None, now), error

    @property
    def found(self) -> detect.Found:
        """The parts that a daemon would run with."""
        return self._found[0]

    @property
    def refusal(self) -> PopBeforeSmtpError | None:
        """Why a daemon would not start with this configuration on this machine."""
        return self._found[1]

    @cached_property
    def _answers(self) -> tuple[dict[str, Any] | None, list[dict[str, Any]] | None, PopBeforeSmtpError | None]:
        try:
            return ask(self.settings.control, "status"), ask(self.settings.control, "list"), None
        except PopBeforeSmtpError as error:
            return None, None, error

    @property
    def status(self) -> dict[str, Any] | None:
        """What the daemon says of itself; None where it says nothing."""
        return self._answers[0]

    @property
    def authorizations(self) -> list[dict[str, Any]] | None:
        """Who may relay now, as the daemon says; None where it says nothing."""
        return self._answers[1]

    @property
    def silence(self) -> PopBeforeSmtpError | None:
        """Why the daemon cannot be asked, where there is one."""
        return self._answers[2]

    @cached_property
    def user(self) -> _access.User:
        """Whom the daemon runs as, or would: its own user, where there is one."""
        running = None if self.status is None else _access.of_process(self.status["pid"])
        return running or _access.named(privileges.USER) or _access.User("root", 0, frozenset((0,)))

    @cached_property
    def postfix(self) -> Postfix | None:
        """What Postfix says of itself; None where there is none that can be asked, or another mail server is meant."""
        if self.settings.mtas and all(section.type in _OTHERS for section in self.settings.mtas):
            return None
        try:
            return read_postfix()
        except UnavailableError:
            return None

    @cached_property
    def reader(self) -> _access.User | None:
        """Whom Postfix's smtpd runs as, and what it asks with."""
        return None if self.postfix is None else _access.named(self.postfix.parameters.get("mail_owner", "postfix"))

    @cached_property
    def logs(self) -> list[tuple[Section, Path]]:
        """The files that are followed: of a pattern, the one that was written to last."""
        found = []
        for section in self.found.sources:
            if section.type == "file":
                path = Path(str(section.values.get("path", "")))
                if not path.exists():
                    matching = [Path(name) for name in glob.glob(str(path))]  # noqa: PTH207 - of an absolute pattern
                    path = max(matching, key=lambda each: each.stat().st_mtime, default=path)
                found.append((section, path))
        return found

    @cached_property
    def seen(self) -> dict[str, Survey]:
        """What the end of each log holds, by its name; a log that cannot be read is not in it."""
        now, surveys = self.clock.now().wall, {}
        for section, path in self.logs:
            zone = section.values.get("timezone")
            header = wiring.line_reader(journal=False, zone=zone_of(zone, section))
            try:
                surveys[str(path)] = survey.look(survey.tail(path), header, wiring.engine(), now)
            except OSError:
                continue
        if any(section.type == "journal" for section in self.found.sources):
            engine = wiring.engine()
            try:
                entries = survey.entries(engine.programs)
                surveys["journal"] = survey.look(entries, wiring.line_reader(journal=True), engine, now)
            except OSError:
                pass
        return surveys

    @cached_property
    def map_names(self) -> list[str]:
        """The names of Postfix's access maps: those that the daemon keeps, or else would, where it can."""
        running = self._running("maps")
        return self._wanted_maps if running is None else running

    @cached_property
    def lookup_names(self) -> list[str]:
        """The names of the lookups, the protocol, a colon and the socket: those that answer, or else would."""
        running = self._running("lookups")
        return self._wanted_lookups if running is None else running

    def map_names_of(self, kind: str) -> list[str]:
        """Return the names of the maps of another mail server, as they are configured; without those that cannot be."""
        names = []
        for section in self.found.mtas:
            if section.type == kind:
                with suppress(PopBeforeSmtpError):
                    access_map = wiring.open_map(section, self.settings.rules)
                    names.append(access_map.name)
                    access_map.close()
        return names

    @property
    def changed(self) -> list[str]:
        """The maps and lookups that a daemon would have that started now, and that the one that runs has not."""
        parts = ((self._wanted_maps, self._running("maps")), (self._wanted_lookups, self._running("lookups")))
        return [name for wanted, running in parts for name in wanted if running is not None and name not in running]

    def _running(self, part: str) -> list[str] | None:
        """Return the names of what the daemon has; None where none can be asked, or it is still starting."""
        if self.status is None or part not in self.status:
            return None
        return [str(each["name"]) for each in self.status[part]]

    @cached_property
    def _wanted_maps(self) -> list[str]:
        return self.map_names_of("postfix")

    @cached_property
    def _wanted_lookups(self) -> list[str]:
        names = []
        for section in self.found.lookups:
            with suppress(PopBeforeSmtpError):
                names.append(wiring.open_lookup(section, self.settings.rules).name)
        return names
