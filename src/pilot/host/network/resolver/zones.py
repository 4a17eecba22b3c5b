"""The zones of all machines: opened, changed and closed as their files say. One at a time for each machine."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging

from .... import errors
from ....ids import MachineId
from .. import binding
from .. import zone as zones
from ..never import Never
from ..zone import Zone
from .door import Door
from .log import Log
from .lookup import Lookup
from .pins import Pins, probe_updates
from .upstream import Upstream

_log = logging.getLogger(__name__)


@dataclasses.dataclass
class _Open:
    door: Door
    lookup: Lookup
    log: Log

    def close(self) -> None:
        self.door.close()
        self.log.close()


class Zones:
    """`directory` is where the files are."""

    def __init__(self, directory: str, upstream: Upstream, never: Never) -> None:
        self._directory = directory
        self._upstream = upstream
        self._never = never
        self._updates = probe_updates(directory)
        self._open: dict[MachineId, _Open] = {}
        self._locks: collections.defaultdict[MachineId, asyncio.Lock] = collections.defaultdict(asyncio.Lock)

    async def load(self) -> None:
        """All that there are. One that fails has no answers, and the next `sync` of it may say why."""
        for machine in zones.every(self._directory):
            try:
                await self.sync(machine)
            except (errors.PilotError, OSError) as error:
                _log.error("zone not served", extra={"machine": machine, "error": str(error)})

    async def sync(self, machine: MachineId) -> None:
        """As its file says, and in force. `PilotError` or `OSError`: then it is not served at all."""
        async with self._locks[machine]:
            try:
                await self._sync(machine)
            except BaseException:
                self._close(machine)
                raise
        if machine not in self._open:
            self._locks.pop(machine, None)

    def counts(self, machine: MachineId) -> dict[str, int]:
        """Of its decisions, since this resolver serves it. `NotFound`."""
        if machine not in self._open:
            raise errors.NotFound(f"machine {machine} is not served")
        return dict(self._open[machine].log.counts)

    def close(self) -> None:
        for machine in list(self._open):
            self._close(machine)

    async def _sync(self, machine: MachineId) -> None:
        zone = zones.read(self._directory, machine)
        served = self._open.get(machine)
        if zone is None or (served is not None and served.door.identity != binding.identity(zone.gateway)):
            self._close(machine)
        if zone is None:
            return
        if machine in self._open:
            self._open[machine].lookup.adopt(zone)
        else:
            self._open[machine] = await self._begin(zone)

    async def _begin(self, zone: Zone) -> _Open:
        log = Log(zone.log)
        try:
            lookup = Lookup(zone, Pins(zone.gateway, self._updates), log, self._upstream, self._never)
            lookup.adopt(zone)
            door = await Door.open(zone.gateway, zone.listen, lambda wire, stream: lookup.answer(wire, stream=stream))
        except BaseException:
            log.close()
            raise
        return _Open(door, lookup, log)

    def _close(self, machine: MachineId) -> None:
        served = self._open.pop(machine, None)
        if served is not None:
            served.close()
