"""What a daemon serves of each machine: opened, changed, closed as their files say. One at a time for each machine."""

from __future__ import annotations

import asyncio
import collections
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, Protocol, TypeVar

import msgspec

from ... import errors
from ...ids import MachineId
from . import binding
from .told import Told

_log = logging.getLogger(__name__)
T = TypeVar("T", bound=msgspec.Struct)
_T_contra = TypeVar("_T_contra", contravariant=True)


class Open(Protocol[_T_contra]):
    """Of one machine."""

    @property
    def identity(self) -> int:
        """Of the gateway that it is in."""
        ...

    @property
    def counts(self) -> Mapping[str, int]:
        """How often was decided what, since it was opened."""
        ...

    def adopt(self, given: _T_contra) -> None:
        """In force when it returns. `PilotError` or `OSError`."""

    def close(self) -> None:
        """Nothing is served any more."""


class Served(Generic[T]):
    """`directory` is where the files are; `gateway_of` says the namespace of one; `begin` opens it, in force when it
    returns; `what` it is, in the daemon's log."""

    def __init__(
        self,
        directory: str,
        told: Told[T],
        gateway_of: Callable[[T], str],
        begin: Callable[[T], Awaitable[Open[T]]],
        what: str,
    ) -> None:
        self._directory, self._told = directory, told
        self._gateway_of, self._begin, self._what = gateway_of, begin, what
        self._open: dict[MachineId, Open[T]] = {}
        self._locks: collections.defaultdict[MachineId, asyncio.Lock] = collections.defaultdict(asyncio.Lock)

    async def load(self) -> None:
        """All that there are. Of one that fails nothing is served, and the next `sync` of it may say why."""
        for machine in self._told.every(self._directory):
            try:
                await self.sync(machine)
            except (errors.PilotError, OSError) as error:
                _log.error(f"{self._what} not served", extra={"machine": machine, "error": str(error)})

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
        """Since this process serves it. `NotFound`."""
        if machine not in self._open:
            raise errors.NotFound(f"machine {machine} is not served")
        return dict(self._open[machine].counts)

    def close(self) -> None:
        for machine in list(self._open):
            self._close(machine)

    async def _sync(self, machine: MachineId) -> None:
        given = self._told.read(self._directory, machine)
        served = self._open.get(machine)
        if given is None or (served is not None and served.identity != binding.identity(self._gateway_of(given))):
            self._close(machine)
        if given is None:
            return
        if machine in self._open:
            self._open[machine].adopt(given)
        else:
            self._open[machine] = await self._begin(given)

    def _close(self, machine: MachineId) -> None:
        served = self._open.pop(machine, None)
        if served is not None:
            served.close()
