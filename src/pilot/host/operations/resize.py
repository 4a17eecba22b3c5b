"""Another size for a sprite: at once where its machine runs and can have it, else with its next start.

fit      the machine's limits → its agent holds the world to them; what either refuses leaves it as it was
publish  the disk's quota, and what the sprite wants by now, with its event

A pilotd that dies in between has a machine of another size than its row says, until the run goes on.
"""

from __future__ import annotations

import dataclasses
import logging

import msgspec

from ... import errors
from ...wire import operations
from ..fsm.operation import Run
from ..fsm.outcome import UserFault
from ..store import events, sprites
from ..store import machines as rows
from ..store.machines import Machine
from ..store.sprites import Sprite
from . import disks, machines, world
from .context import Host
from .requests import Resize
from .results import Fitted

log = logging.getLogger(__name__)


def fit(host: Host, run: Run[Resize]) -> Fitted:
    sprite = host.sprite(run.resource)
    if sprite.machine is None:
        return Fitted(False)
    before = host.machine(sprite)
    size = machines.size_of(host, sprite.config.merged(run.request.changes))
    if size == machines.size_now(before):
        return Fitted(False)
    wanted = dataclasses.replace(before, memory_bytes=size.memory_bytes, cpus=size.cpus, pids=size.pids)
    try:
        return Fitted(_resize(host, sprite, wanted))
    except errors.HostError as error:
        host.substrate(before.id).resize(machines.spec_of(before))
        _refused(host, sprite)  # its agent looks again, and finds what it had
        raise UserFault(f"resize {sprite.name}: {error}", code="conflict") from error


def _resize(host: Host, sprite: Sprite, wanted: Machine) -> bool:
    """Whether it was; `HostError` when the kernel refuses the machine, or the agent the world."""
    if not machines.is_running(host, wanted.id):
        return False
    with machines.admitted(host, wanted):
        if not host.substrate(wanted.id).resize(machines.spec_of(wanted)):
            return False
    if why := _refused(host, sprite):
        raise errors.HostError(why)
    return True


def _refused(host: Host, sprite: Sprite) -> str | None:
    """Why its agent cannot hold the world to it. One that cannot be told now looks when it is next adopted."""
    assert sprite.machine is not None
    if machines.is_frozen(host, sprite.machine):
        return None
    try:
        answer = host.api(sprite).call(operations.ADOPT, world.identity(host, sprite))
    except errors.PilotError as error:
        log.warning("sprite not told of its size", extra={"sprite": sprite.id, "error": str(error)})
        return None
    return answer.refused.get("size")


def publish(host: Host, run: Run[Resize]) -> None:
    sprite = host.sprite(run.resource)
    config = sprite.config.merged(run.request.changes)
    if config.storage_gb != sprite.config.storage_gb:
        disks.limit(host, sprite.volume, config)
    size, now = machines.size_of(host, config), run.result(Fitted).now
    with host.database.transaction() as tx:
        if now:
            machine = host.machine(sprite)
            rows.assign(tx, machine.id, machine.isolation, size.memory_bytes, size.cpus, size.pids)
        sprites.update(tx, sprite.id, config=config)
        detail = {"config": msgspec.to_builtins(config), "now": now}
        events.add(tx, "sprite.resized", f"sprite/{sprite.id}", detail)
