"""Machine and world up and down: the steps that create, wake, stop, restart and restore have in common.

boot     (drive: attach the disk) → start the machine; one that runs and does not answer is stopped first
up       adopt → attach the disk → PUT /v1/world          nothing when the world runs already
down     DELETE /v1/world → stop the machine
detach   volumed lets go of the disk; afterwards no one can write to it
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from ... import errors
from ...ids import MachineId
from ...wire import operations, schema
from ...wire.schema import DiskReference
from ..fsm.operation import Run
from ..store import sprites
from ..store.journal import now_us
from ..store.sprites import Sprite
from ..vmm import Isolation, MachineSpec, MachineStatus
from . import disks
from .context import Host
from .requests import Create, MakeMember
from .results import Booted, Up

log = logging.getLogger(__name__)

# Unanswered questions, ten seconds each, before a machine that runs is started anew; a lost agent is back in one.
PATIENCE = 3


def make_machine(host: Host, run: Run[object]) -> None:
    """The machine's row with its uids, and the machine itself, not started."""
    sprite = host.sprite(run.resource)
    machine_id = sprite.machine or _wanted_machine(run)
    with host.database.transaction() as tx:
        machine = sprites.assign_machine(tx, machine_id, host.vmm.isolation.value)
        sprites.update(tx, sprite.id, machine=machine.id)
    host.vmm.create(machine_spec(machine, sprite.config))


def _wanted_machine(run: Run[object]) -> MachineId:
    if isinstance(run.request, Create | MakeMember):
        return run.request.machine
    raise errors.StateError(f"{run.action} {run.kind} {run.resource}: it has no machine yet")


def machine_spec(machine: sprites.Machine, config: Mapping[str, Any]) -> MachineSpec:
    """What `config` asks for; the rest is as `MachineSpec` has it."""
    asked: dict[str, int] = {}
    if config.get("ram_mb"):
        asked["memory_bytes"] = config["ram_mb"] << 20
    if config.get("cpus"):
        asked["cpus"] = config["cpus"]
    return MachineSpec(machine.id, machine.uid_base, **asked)


def boot(host: Host, run: Run[object]) -> Booted:
    """Started, and where its disk is; a machine that runs already is left alone: the pool's, with `disk` attached."""
    sprite = host.sprite(run.resource)
    assert sprite.machine is not None
    if host.vmm.status(sprite.machine) is MachineStatus.RUNNING:
        if _answers(host, sprite):
            return Booted(_claimed_disk(run))
        log.warning("machine does not answer, starting it anew", extra={"sprite": sprite.id})
        host.vmm.stop(sprite.machine)
    host.worlds.drop(sprite.id)
    if host.vmm.disk_before_start:
        disks.release(host, sprite.volume)
        disk = host.vmm.attach_disk(sprite.machine, host.volumes, sprite.volume)
        host.vmm.start(sprite.machine)
    else:
        with disks.attaching(host, sprite) as volumes:
            host.vmm.start(sprite.machine)
            disk = host.vmm.attach_disk(sprite.machine, volumes, sprite.volume)
    return Booted(disk)


def _claimed_disk(run: Run[object]) -> DiskReference | None:
    """Of the member that the run's create has claimed."""
    claimed = run.request.claimed if isinstance(run.request, Create) else None
    return claimed.disk if claimed else None


def _answers(host: Host, sprite: Sprite) -> bool:
    """Whether the agent says anything at all, in time. One that never does (no memory, stopped) helps nobody."""
    for _ in range(PATIENCE):
        try:
            host.api(sprite).status()
        except errors.PeerError as error:
            log.warning("machine does not answer", extra={"sprite": sprite.id, "error": str(error)})
        else:
            return True
    return False


def up(host: Host, run: Run[object]) -> Up:
    """The world runs when this returns."""
    sprite = host.sprite(run.resource)
    assert sprite.machine is not None
    api = host.api(sprite)
    api.call(operations.ADOPT, _identity(sprite))
    # A member of the pool, whose world runs, is told what it is called from now on.
    is_claimed = isinstance(run.request, Create) and run.request.claimed is not None
    state = "pooled" if is_claimed else api.status().world
    if state != "running":
        booted = run.find(Booted)
        _start_world(host, sprite, booted.disk if booted else None)
    host.worlds.mark(sprite.id)
    return Up(state)


def _start_world(host: Host, sprite: Sprite, booted: DiskReference | None) -> None:
    """On the disk that the machine was booted with; else, or when that is refused, on one attached anew."""
    api = host.api(sprite)

    def start(disk: DiskReference) -> None:
        names = schema.WorldRequest(disk=disk, hostname=sprite.name, environment=dict(sprite.environment))
        api.call(operations.START_WORLD, names)

    if host.vmm.disk_before_start:
        start(booted or DiskReference(serial="pilot-disk"))
        return
    if booted:
        try:
            start(booted)
            return
        except errors.PeerError:
            raise
        except errors.PilotError as error:
            log.info("disk not taken, attaching anew", extra={"sprite": sprite.id, "error": str(error)})
    start(_attach_anew(host, sprite))


def _attach_anew(host: Host, sprite: Sprite) -> DiskReference:
    """What an earlier attempt attached may be in the agent's hands, half used: that is ended first."""
    assert sprite.machine is not None
    host.api(sprite).call(operations.STOP_WORLD, None)
    disks.release(host, sprite.volume)
    return host.vmm.attach_disk(sprite.machine, host.volumes, sprite.volume)


def _identity(sprite: Sprite) -> schema.AdoptRequest:
    return schema.AdoptRequest(
        name=sprite.name,
        hostname=sprite.name,
        time_ns=time.time_ns(),
        entropy=base64.b64encode(os.urandom(64)).decode(),
        environment=dict(sprite.environment),
    )


def world_down(host: Host, sprite: Sprite) -> bool:
    """Sessions ended, world killed and unmounted, where the machine runs; whether it did run."""
    host.worlds.drop(sprite.id)
    if sprite.machine is None or host.vmm.status(sprite.machine) is not MachineStatus.RUNNING:
        return False
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
        host.vmm.stop(sprite.machine)


def detach(host: Host, run: Run[object]) -> None:
    disks.release(host, host.sprite(run.resource).volume)


def publish_running(host: Host, run: Run[object]) -> None:
    """From here on the sprite is what callers may use."""
    with host.database.transaction(durable=run.action == "create") as tx:
        sprites.update(tx, run.resource, phase="live", last_running_us=now_us())


def frozen_by_guest(host: Host, sprite: Sprite) -> bool:
    """Whether the guest, which owns the superblock of a VM's disk, has to freeze it for a cut."""
    running = sprite.machine is not None and host.vmm.status(sprite.machine) is MachineStatus.RUNNING
    return host.vmm.isolation is Isolation.VM and running
