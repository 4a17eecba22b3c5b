"""The zones of all machines."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..never import Never
from ..served import Served
from ..zone import ZONES, Zone
from .door import Door
from .log import Log
from .lookup import Lookup
from .pins import Pins, probe_updates
from .upstream import Upstream


@dataclasses.dataclass(frozen=True)
class _Open:
    door: Door
    lookup: Lookup
    log: Log

    @property
    def identity(self) -> int:
        return self.door.identity

    @property
    def counts(self) -> Mapping[str, int]:
        return self.log.counts

    def adopt(self, zone: Zone) -> None:
        self.lookup.adopt(zone)

    def close(self) -> None:
        self.door.close()
        self.log.close()


def zones(directory: str, upstream: Upstream, never: Never) -> Served[Zone]:
    """`directory` is where the files are."""
    updates = probe_updates(directory)

    async def begin(zone: Zone) -> _Open:
        log = Log(zone.log)
        try:
            lookup = Lookup(zone, Pins(zone.gateway, updates), log, upstream, never)
            lookup.adopt(zone)
            door = await Door.open(zone.gateway, zone.listen, lambda wire, stream: lookup.answer(wire, stream=stream))
        except BaseException:
            log.close()
            raise
        return _Open(door, lookup, log)

    return Served(directory, ZONES, lambda zone: zone.gateway, begin, "zone")
