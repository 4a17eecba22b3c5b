"""A sprite's machine and world up and down: what create, wake, stop, restart and restore have in common.

machine  the machine's row, of the isolation and size that the sprite wants → made
boot     thaw it when it is frozen, or start it, as large as it is wanted, with the sprite's disk
up       adopt → PUT /v1/world, when it does not run; a disk that is not taken is attached anew
down     DELETE /v1/world → stop the machine
detach   volumed lets go of the disk; afterwards no one can write to it
"""

from __future__ import annotations

import base64
import logging
import os
import time

from ... import errors
from ...ids import MachineId
from ...machine.pilot_api import PilotApi
from ...wire import operations, schema
from ...wire.schema import DiskReference
from ..fsm.operation import Run
from ..store import machines as rows
from ..store import sprites
from ..store.journal import now_us
from ..store.machines import Machine
from ..store.sprites import Sprite
from ..vmm import Isolation
from . import disks, machines, networks
from .context import Host
from .disks import VolumeDisk
from .requests import Create, Fork, MakeMember, OfMachine
from .results import Booted, Up

log = logging.getLogger(__name__)


def make_machine(host: Host, run: Run[object]) -> None:
    """The machine's row with its uids, and the machine itself, not started."""
    sprite = host.sprite(run.resource)
    id, isolation = _wanted_machine(host, run, sprite)
    size = machines.size_of(host, sprite.config)
    with host.database.transaction() as tx:
        machine = rows.assign(tx, id, isolation.value, size.memory_bytes, size.cpus, size.pids)
        sprites.update(tx, sprite.id, machine=machine.id)
    machines.make(host, machine)


def _wanted_machine(host: Host, run: Run[object], sprite: Sprite) -> tuple[MachineId, Isolation]:
    if sprite.machine is not None:
        return sprite.machine, machines.isolation_of(host, sprite.machine) or host.isolation
    if isinstance(run.request, Create | MakeMember):
        return run.request.machine, run.request.isolation or host.isolation
    raise errors.StateError(f"{run.action} {run.kind} {run.resource}: it has no machine yet")


def boot(host: Host, run: Run[object]) -> Booted:
    """Started, and where its disk is; a machine that runs already is left alone: the pool's, with what it was given."""
    sprite = host.sprite(run.resource)
    machine = host.machine(sprite)
    machines.thaw(host, machine.id)
    if machines.is_up(host, machine.id):
        return Booted(_claimed_disk(run))
    host.worlds.drop(sprite.id)
    _fit(host, sprite, machine)
    return Booted(machines.start(host, machine.id, VolumeDisk(host.volumes, sprite.volume)))


def _fit(host: Host, sprite: Sprite, machine: Machine) -> None:
    """What is about to start gets the size that the sprite wants by now."""
    size = machines.size_of(host, sprite.config)
    if size == machines.size_now(machine):
        return
    with host.database.transaction() as tx:
        resized = rows.assign(tx, machine.id, machine.isolation, size.memory_bytes, size.cpus, size.pids)
    machines.make(host, resized)


def _claimed_disk(run: Run[object]) -> DiskReference | None:
    """Of the member that the run's create has claimed."""
    claimed = run.request.claimed if isinstance(run.request, Create) else None
    return claimed.disk if claimed else None


def up(host: Host, run: Run[object]) -> Up:
    """The world runs when this returns."""
    sprite = host.sprite(run.resource)
    api = host.api(sprite)
    api.call(operations.ADOPT, identity(host, sprite))
    # A member of the pool, whose world runs, is told what it is called from now on.
    is_claimed = isinstance(run.request, Create) and run.request.claimed is not None
    state = "pooled" if is_claimed else api.status().world
    if state != "running":
        booted = run.find(Booted)
        _start_world(host, api, sprite, booted.disk if booted else None, is_copy=_is_copy(run))
    host.worlds.mark(sprite.id)
    host.uses.touch(sprite.id)
    return Up(state)


def _is_copy(run: Run[object]) -> bool:
    """Its disk has been another's, who may still have it: what is created of one, until it has run once. A disk that
    has come from the store is the same one elsewhere."""
    return isinstance(run.request, Create) and isinstance(run.request.source, Fork | OfMachine)


def _start_world(host: Host, api: PilotApi, sprite: Sprite, booted: DiskReference | None, *, is_copy: bool) -> None:
    """On the disk that the machine was booted with; else, or when that is refused, on one attached anew."""

    def start(disk: DiskReference) -> None:
        wanted = schema.WorldRequest(
            disk=disk,
            hostname=sprite.name,
            environment=dict(sprite.environment),
            privileges=sprite.privileges,
            is_copy=is_copy,
        )
        api.call(operations.START_WORLD, wanted)

    if booted:
        try:
            start(booted)
            return
        except errors.PeerError:
            raise
        except errors.PilotError as error:
            log.info("disk not taken, attaching anew", extra={"sprite": sprite.id, "error": str(error)})
    # What an earlier attempt attached may be in the agent's hands, half used: that is ended first.
    api.call(operations.STOP_WORLD, None)
    machine = host.machine(sprite)
    networks.relink(host, machine.id)
    start(host.substrate(machine.id).attach(machine.id, VolumeDisk(host.volumes, sprite.volume)))


def identity(host: Host, sprite: Sprite) -> schema.AdoptRequest:
    """What its agent is told, as often as anything of it has changed."""
    return schema.AdoptRequest(
        name=sprite.name,
        hostname=sprite.name,
        time_ns=time.time_ns(),
        entropy=base64.b64encode(os.urandom(64)).decode(),
        environment=dict(sprite.environment),
        network=networks.seen_inside(host, host.machine(sprite).id),
    )


def rouse(host: Host, sprite: Sprite) -> None:
    """One that is frozen goes on; for who has counted as its user."""
    if sprite.machine is not None and machines.is_frozen(host, sprite.machine):
        machines.thaw(host, sprite.machine)
        host.api(sprite).call(operations.ADOPT, identity(host, sprite))  # which sets its clock, where it has one
        host.worlds.mark(sprite.id)


def tell(host: Host, sprite: Sprite) -> None:
    """One that runs hears of what has changed about it, if it listens; else it does when it is started or thawed."""
    if sprite.machine is None or not machines.is_running(host, sprite.machine):
        return
    if machines.is_frozen(host, sprite.machine):
        return
    try:
        host.api(sprite).call(operations.ADOPT, identity(host, sprite))
    except errors.PilotError as error:
        log.warning("sprite not told of its policy", extra={"sprite": sprite.id, "error": str(error)})


def world_down(host: Host, sprite: Sprite) -> bool:
    """Sessions ended, world killed and unmounted, where the machine runs; whether it did run."""
    host.worlds.drop(sprite.id)
    if sprite.machine is None or not machines.is_running(host, sprite.machine):
        return False
    machines.thaw(host, sprite.machine)
    host.api(sprite).call(operations.STOP_WORLD, None)
    return True


def machine_down(host: Host, run: Run[object]) -> None:
    """World and machine stopped. An agent that does not answer is no reason to go on running."""
    sprite = host.sprite(run.resource)
    try:
        world_down(host, sprite)
    except errors.PilotError as error:
        log.warning("world not stopped, stopping the machine", extra={"sprite": sprite.id, "error": str(error)})
    if sprite.machine is not None:
        machines.down(host, sprite.machine)


def detach(host: Host, run: Run[object]) -> None:
    disks.release(host, host.sprite(run.resource).volume)


def publish_running(host: Host, run: Run[object]) -> None:
    """From here on the sprite is what callers may use."""
    with host.database.transaction(durable=run.action == "create") as tx:
        sprites.update(tx, run.resource, phase="live", last_running_us=now_us())


def is_mounted_in_guest(host: Host, sprite: Sprite) -> bool:
    """Whether the guest may have the disk mounted: then it owns the superblock, and has to freeze it for a cut."""
    if sprite.machine is None or not host.substrate(sprite.machine).mounts_in_guest:
        return False
    return machines.is_running(host, sprite.machine)
