"""The desks of all machines: opened, changed and closed as their files say. One at a time for each machine."""

from __future__ import annotations

import asyncio
import collections
import logging
import ssl

from .... import errors
from ....ids import MachineId
from ...fly.vault import Vault
from .. import binding
from .desk import Desk, Places
from .grants import GRANTS
from .names import Names

MOST_CONNECTIONS = 2048  # of all machines; each holds some hundred KiB
_log = logging.getLogger(__name__)


class Desks:
    """`directory` is where the files are."""

    def __init__(self, directory: str, vault: Vault, names: Names, trusted: ssl.SSLContext) -> None:
        self._directory = directory
        self._vault, self._names, self._trusted = vault, names, trusted
        self._places = Places(MOST_CONNECTIONS)
        self._open: dict[MachineId, Desk] = {}
        self._locks: collections.defaultdict[MachineId, asyncio.Lock] = collections.defaultdict(asyncio.Lock)

    async def load(self) -> None:
        """All that there are. One that fails has no connectors, and the next `sync` of it may say why."""
        for machine in GRANTS.every(self._directory):
            try:
                await self.sync(machine)
            except (errors.PilotError, OSError) as error:
                _log.error("connectors not served", extra={"machine": machine, "error": str(error)})

    async def sync(self, machine: MachineId) -> None:
        """As its file says, and in force. `PilotError` or `OSError`: then none of it is served at all."""
        async with self._locks[machine]:
            try:
                await self._sync(machine)
            except BaseException:
                self._close(machine)
                raise
        if machine not in self._open:
            self._locks.pop(machine, None)

    def counts(self, machine: MachineId) -> dict[str, int]:
        """Of its uses, since this process serves it. `NotFound`."""
        if machine not in self._open:
            raise errors.NotFound(f"machine {machine} is not served")
        return dict(self._open[machine].uses.counts)

    def close(self) -> None:
        for machine in list(self._open):
            self._close(machine)

    async def _sync(self, machine: MachineId) -> None:
        given = GRANTS.read(self._directory, machine)
        served = self._open.get(machine)
        if given is None or (served is not None and served.identity != binding.identity(given.gateway)):
            self._close(machine)
        if given is None:
            return
        if machine in self._open:
            self._open[machine].adopt(given)
        else:
            self._open[machine] = await Desk.open(given, self._vault, self._names, self._trusted, self._places)

    def _close(self, machine: MachineId) -> None:
        served = self._open.pop(machine, None)
        if served is not None:
            served.close()
