"""What the daemon answers to commands: ``check``, ``list``, ``status``, ``grant``, ``revoke``, ``explain``."""

import asyncio
import os
from collections.abc import Iterable, Mapping
from typing import Any

from popbeforesmtp import __version__, by_hand, explaining, report
from popbeforesmtp.addresses import parse_address
from popbeforesmtp.clock import Clock
from popbeforesmtp.control import Answer
from popbeforesmtp.errors import DataError
from popbeforesmtp.lookups import Lookup
from popbeforesmtp.pipeline import Pipeline

_AT_ONCE = 500  # authorizations that are described in one turn


class Answers:
    """Answers for a daemon that may still be starting."""

    def __init__(self, clock: Clock) -> None:
        self.pipeline: Pipeline | None = None
        self.lookups: Iterable[Lookup] = ()
        self.found: list[str] = []  # what was found out at the start or the last reload
        self._clock = clock
        self._started = clock.now()

    def by_name(self) -> dict[str, Answer]:
        """Return what answers each command."""
        return {
            "check": self._check,
            "list": self._list,
            "status": self._status,
            "grant": self._grant,
            "revoke": self._revoke,
            "explain": self._explain,
        }

    async def _check(self, question: Mapping[str, Any]) -> object:
        client = parse_address(str(question.get("address")))
        expires_at = None
        if client is not None and self.pipeline is not None:
            expires_at = self.pipeline.windows.expires_at(client)
        return {"expires_at": None if expires_at is None else expires_at.isoformat()}

    async def _list(self, _: Mapping[str, Any]) -> object:
        if self.pipeline is None:
            return []
        now = self._clock.now()
        windows = self.pipeline.windows
        entries = await windows.recorder.entries(now)
        described = []
        for number, entry in enumerate(entries, start=1):
            if entry.remaining(now) > 0 and windows.active.permits(entry.client, now):
                described.append(report.describe(entry, now))
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)  # mail servers have their turn
        return described

    async def _status(self, _: Mapping[str, Any]) -> object:
        common: dict[str, object] = {
            "version": __version__,
            "pid": os.getpid(),
            "started_at": self._started.wall.isoformat(),
        }
        if self.pipeline is None:
            return {**common, "state": "starting", "warnings": ["the daemon is still starting"]}
        common["found"] = self.found
        return {**common, **report.status(self.pipeline, self.lookups, self._clock.now())}

    async def _grant(self, question: Mapping[str, Any]) -> object:
        return await by_hand.grant(self._ready(), question, self._clock.now())

    async def _revoke(self, question: Mapping[str, Any]) -> object:
        return await by_hand.revoke(self._ready(), question, self._clock.now())

    async def _explain(self, question: Mapping[str, Any]) -> object:
        return await explaining.explain(self._ready(), self.lookups, question, self._clock.now())

    def _ready(self) -> Pipeline:
        if self.pipeline is None:
            raise DataError("the daemon is still starting; ask again in a moment")
        return self.pipeline
