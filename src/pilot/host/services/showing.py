"""Checkpoints that a sprite reads from inside: each a fork, mounted and sent to its machine for a while.

    show-<machine>-<checkpoint>    the fork; its name is all that is remembered of it, so a new pilotd knows it, too

A fork would keep the chunks of a checkpoint that is deleted: it goes with the checkpoint, with the machine's stop, and
when the agent says that nobody is in it any more (`hide`), as far as the world's own mount namespace shows. Whoever
still reads then, in a mount of its own making, hears EIO. What a machine does with its fork's mount is lost with the
fork, and seen by nobody else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager

from ... import errors
from ...ids import CheckpointId, MachineId, VolumeId
from ...machine import pilot_api
from ...wire import faults, outward
from .. import periodic
from ..operations import disks
from ..operations.context import Host
from ..store import checkpoints, machines, sprites
from ..store.sprites import Sprite
from ..vmm import MachineStatus
from . import looking

log = logging.getLogger(__name__)

PREFIX = "show-"
PERIOD_S = 150.0  # agents look more often, and then nobody has it mounted
MOST = 64  # on this host: each is a process
# An agent takes the sixth before it lets go of the first.
_MOST_OF_ONE = outward.MOST_SHOWN + 1


class Showing:
    """All block. Safe to use from any thread."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._lock = threading.Lock()
        forks = [each.volume for each in host.volumes.list() if each.volume.startswith(PREFIX)]
        self._shown = {fork: self._organisation(fork) for fork in forks}
        self._busy: set[VolumeId] = set()

    def show(self, sprite: Sprite, checkpoint: str) -> str:
        """The name of the descriptor that the sprite's machine was sent. `NotFound` for what is none of its newest
        checkpoints; `Unsupported` for a virtual machine; `Exhausted`."""
        point, machine = self._newest(sprite, checkpoint), sprite.machine
        if machine is None or self._host.substrate(machine).mounts_in_guest:
            raise faults.Unsupported("show a checkpoint: guests have had this disk mounted, so this host never does")
        fork = _volume(machine, point)
        with self._turn(fork, sprite):
            looking.forget(self._host.volumes, fork)  # an agent that died may have asked for it
            try:
                self._host.volumes.fork(sprite.volume, fork, point)
                disks.limit(self._host, fork, sprite.config)  # its machine could write to it, though nobody in it
                return self._send(machine, point, fork)
            except BaseException:
                self._forget(fork)
                raise

    def _send(self, machine: MachineId, point: CheckpointId, fork: VolumeId) -> str:
        uid_base = machines.find(self._host.database, machine).uid_base
        name = outward.descriptor_of(point)
        mount_fd = self._host.volumes.attach(fork, uid_base, machines.UID_COUNT)
        try:
            pilot_api.send_descriptor(self._host.substrate(machine).dial_path(machine), name, mount_fd)
        finally:
            os.close(mount_fd)
        return name

    def _newest(self, sprite: Sprite, checkpoint: str) -> CheckpointId:
        points = [each.id for each in checkpoints.every(self._host.database, sprite.id) if not each.is_auto]
        found = next((each for each in points[: outward.MOST_SHOWN] if each == checkpoint), None)
        if found is None:
            raise errors.NotFound(f"checkpoint {checkpoint}: none of the newest {outward.MOST_SHOWN}")
        return found

    def hide(self, machine: MachineId, checkpoint: str) -> None:
        """It is not shown to that machine; idempotent."""
        fork = _volume(machine, CheckpointId(checkpoint))
        with self._lock:
            if fork not in self._shown:
                return
        with self._turn(fork):
            self._forget(fork)

    @contextlib.contextmanager
    def _turn(self, fork: VolumeId, reader: Sprite | None = None) -> Iterator[None]:
        """One thing at a time is done with a fork. `reader`: that it is to be shown to. `Conflict`, `Exhausted`."""
        with self._lock:
            if fork in self._busy:
                raise errors.Conflict(f"{fork}: it is being shown or hidden")
            if reader is not None:
                self._check_share(fork, reader)
                self._shown[fork] = reader.organisation
            self._busy.add(fork)
        try:
            yield
        finally:
            with self._lock:
                self._busy.remove(fork)

    def _check_share(self, fork: VolumeId, reader: Sprite) -> None:
        """An organisation that already has as many as there is room for gets no more: it has half of all
        at most, the next one half of the rest, so it takes seven that read on to leave none for another."""
        others = {each: organisation for each, organisation in self._shown.items() if each != fork}
        of_one = sum(_machine_of(each) == reader.machine for each in others)
        of_organisation = sum(each == reader.organisation for each in others.values())
        if of_one >= _MOST_OF_ONE or of_organisation >= MOST - len(others):
            raise faults.Exhausted("as many checkpoints are shown as may be", hint="try again in a while")

    def _organisation(self, fork: VolumeId) -> str:
        """Whose that is; "": nobody's any more."""
        owner = sprites.of_machine(self._host.database, _machine_of(fork))
        return "" if owner is None else owner.organisation

    def _forget(self, fork: VolumeId) -> None:
        looking.forget(self._host.volumes, fork)
        with self._lock:
            self._shown.pop(fork, None)

    def sweep(self) -> None:
        """Those of machines that do not run, and of checkpoints that are no more, go."""
        with self._lock:
            found = sorted(self._shown.keys() - self._busy)
        for fork in found:
            machine, point = _machine_of(fork), fork.removeprefix(PREFIX).partition("-")[2]
            if not self._is_wanted(machine, point):
                with contextlib.suppress(errors.Conflict):  # by whoever is at it; the next time
                    self.hide(machine, point)

    def _is_wanted(self, machine: MachineId, point: str) -> bool:
        owner = sprites.of_machine(self._host.database, machine)
        if owner is None or all(each.id != point for each in checkpoints.every(self._host.database, owner.id)):
            return False
        return self._host.substrate(machine).status(machine) in (MachineStatus.RUNNING, MachineStatus.FROZEN)


def _volume(machine: MachineId, point: CheckpointId) -> VolumeId:
    return VolumeId(f"{PREFIX}{machine}-{point}")


def _machine_of(fork: VolumeId) -> MachineId:
    return MachineId(fork.removeprefix(PREFIX).partition("-")[0])


def clear(host: Host) -> None:
    """Once, by a pilotd that ends; what is left then, as volumed is away, say, is looked at by the next one."""
    try:
        Showing(host).sweep()
    except (errors.PilotError, OSError) as error:
        _log(error)


def watching(showing: Showing) -> AbstractContextManager[None]:
    """Look now and then, for as long as the block lasts."""
    return periodic.every(PERIOD_S, "showing", lambda: _look(showing))


def _look(showing: Showing) -> None:
    try:
        showing.sweep()
    except (errors.PilotError, OSError) as error:
        _log(error)


def _log(error: Exception) -> None:
    log.warning("checkpoints that are shown were not looked at", extra={"error": str(error)})
