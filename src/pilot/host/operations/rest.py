"""A sprite at rest: warm (its machine frozen, memory kept), later cold (its machine stopped, the disk kept).

freeze    no longer ready ─ still in use? then it is called off ─ every process stands still
publish   when and why, with its event

A wake that is asked for meanwhile has its turn after this, and thaws. A pilotd that dies in between leaves a frozen
machine (which is asked of the kernel), or one that runs; both are what the next one can go on from.
"""

from __future__ import annotations

import logging

from ... import errors
from ...wire import operations
from ..fsm.operation import Run
from ..fsm.outcome import Abort, UserFault
from ..store import events, holds, sprites
from ..store.journal import now_us
from ..store.sprites import Rested, Sprite
from . import machines
from .context import Host
from .requests import Sleep, Stop

log = logging.getLogger(__name__)


def freeze(host: Host, run: Run[Sleep]) -> None:
    sprite = host.sprite(run.resource)
    if sprite.machine is None or not machines.is_running(host, sprite.machine):
        raise UserFault(f"sprite {sprite.name} does not run", code="conflict")
    if machines.is_frozen(host, sprite.machine):
        return  # an earlier attempt did it
    if not run.request.force:
        _require_unused(host, sprite)  # while it is still ready: one that may not rest is never seen to
    was_ready = sprite.id in host.worlds
    host.worlds.drop(sprite.id)  # who comes from here on wakes it
    try:
        if run.request.force:
            host.uses.cut(sprite.id)
        else:
            _require_unused(host, sprite)
        _freeze(host, sprite)
    except BaseException:
        if was_ready:
            host.worlds.mark(sprite.id)
        raise


def _require_unused(host: Host, sprite: Sprite) -> None:
    """`UserFault` for one that is in use."""
    if reasons := what_holds(host, sprite):
        raise UserFault(f"sprite {sprite.name} is in use: {'; '.join(reasons)}", code="conflict")


def _freeze(host: Host, sprite: Sprite) -> None:
    assert sprite.machine is not None
    try:
        machines.freeze(host, sprite.machine)
    except errors.HostError as error:
        # A process in the kernel that cannot be stopped now; it is tried again when it has been idle for as long anew.
        host.uses.touch(sprite.id)
        raise Abort(f"sleep {sprite.name}: {error}") from error


def what_holds(host: Host, sprite: Sprite) -> list[str]:
    """Why it may not rest now, in words; asks its machine. Nothing: it may."""
    found = [f"held by {hold.name}" for hold in holds.active(host.database, sprite.id, now_us())]
    if count := host.uses.open_connections(sprite.id):
        found.append(f"{count} open connection{'s' if count > 1 else ''}")
    return found or _tasks(host, sprite)


def _tasks(host: Host, sprite: Sprite) -> list[str]:
    """What the sprite itself wants to stay awake for."""
    try:
        return [f"task {task.name}" for task in host.api(sprite).call(operations.GET_STATUS, None).tasks]
    except errors.PilotError as error:
        return [f"its machine does not answer: {error}"]  # busy, which is not idle


def publish_warm(host: Host, run: Run[Sleep]) -> None:
    _publish(host, run.resource, Rested("warm", now_us(), run.request.why))


def publish_cold(host: Host, run: Run[Stop]) -> None:
    _publish(host, run.resource, Rested("cold", now_us(), run.request.why))


def _publish(host: Host, sprite: str, rested: Rested) -> None:
    changes: dict[str, object] = {"rested": rested}
    if rested.status == "warm":
        changes["last_warming_us"] = rested.at_us
    with host.database.transaction(durable=False) as tx:
        sprites.update(tx, sprite, **changes)
        events.add(tx, f"sprite.{rested.status}", f"sprite/{sprite}", {"why": rested.why})
