"""Files of Machines that are secrets of their app: those that run are told of another value, whenever one is set.

    commit ─► apps whose secrets have another number than their Machines were told ─► each of these is told

A pilotd that begins has told nobody anything: whatever was set, and not told by one that died, is told then. Numbers
only go up in a Machine (`agent.graph.refiling`), so nobody who is late takes anything back.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
from collections.abc import Iterator

from ... import errors
from ...ids import MachineId
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


@contextlib.contextmanager
def watching(host: Host) -> Iterator[None]:
    """For as long as the block lasts, on a thread of its own."""
    changed, ended = threading.Event(), threading.Event()
    stop = host.database.watch(changed.set)
    thread = threading.Thread(target=_run, args=(SecretFiles(host), changed, ended), name="secret-files", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        ended.set()
        changed.set()
        thread.join()


def _run(files: SecretFiles, changed: threading.Event, ended: threading.Event) -> None:
    while not ended.is_set():
        changed.clear()
        try:
            files.round()
        except (errors.PilotError, OSError):
            log.exception("secrets: a round")
        ended.wait(LEAST_S)
        changed.wait(PAUSE_S)
