"""Files of Machines that are secrets of their app: those that run are told of another value, whenever one is set.

    commit ─► apps whose secrets have another number than their Machines were told ─► each of these is told

A pilotd that begins has told nobody anything: whatever was set, and not told by one that died, is told then. Numbers
only go up in a Machine (`agent.graph.refiling`), so nobody who is late takes anything back.
"""

from __future__ import annotations

import functools
import logging
from contextlib import AbstractContextManager

from ... import errors
from ...ids import MachineId
from .. import periodic
from ..operations import disks, fly
from ..operations.context import Host
from ..store import fly_secrets

log = logging.getLogger(__name__)

# How long the store is left alone when nothing was written, when what could not be told is tried again; and between
# two looks.
PAUSE_S, LEAST_S = 5.0, 0.05


class SecretFiles:
    """One round at a time, by whoever calls `round`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._told: dict[MachineId, int] = {}
        self._failing: dict[MachineId, str] = {}  # and why, as the log has it already

    def round(self) -> None:
        """Tell those that have not been told of the last change."""
        found = fly_secrets.of_started(self._host.database)
        self._told = {machine: number for machine, number in self._told.items() if machine in found}
        self._failing = {machine: why for machine, why in self._failing.items() if machine in found}
        due = {machine: number for machine, number in found.items() if self._told.get(machine) != number}
        disks.at_once([functools.partial(self._tell, machine, number) for machine, number in due.items()])

    def _tell(self, machine: MachineId, number: int) -> None:
        try:
            fly.renew_files(self._host, machine)
        except errors.PilotError as error:
            self._warn(machine, str(error))
            return
        self._told[machine] = number
        self._failing.pop(machine, None)

    def _warn(self, machine: MachineId, why: str) -> None:
        """Once, until it fails otherwise or has been told: it is tried again every few seconds."""
        if self._failing.get(machine) != why:
            log.warning("machine not told of its secrets", extra={"machine": machine, "error": why})
        self._failing[machine] = why


def watching(host: Host) -> AbstractContextManager[None]:
    """For as long as the block lasts, on a thread of its own."""
    known = SecretFiles(host)
    return periodic.after_changes(
        host.database.watch, "secret-files", lambda: _look(known), least_s=LEAST_S, most_s=PAUSE_S
    )


def _look(known: SecretFiles) -> None:
    try:
        known.round()
    except (errors.PilotError, OSError) as error:
        log.warning("machines not told of their secrets", extra={"error": str(error)})
