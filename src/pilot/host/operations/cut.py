"""Checkpoint, delete a checkpoint, restore: only metadata moves."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import TypeVar

from ... import errors
from ...ids import CheckpointId
from ...machine.pilot_api import PilotApi
from ...wire import operations, schema
from ..fsm.operation import Run
from ..fsm.outcome import UserFault
from ..store import checkpoints, sprites
from ..store.checkpoints import Checkpoint
from ..store.journal import now_us
from ..store.sprites import Sprite
from . import disks, world
from .context import Cut, Host
from .requests import MakeCheckpoint, OfCheckpoint
from .results import Down, Reserved, Taken

log = logging.getLogger(__name__)

FREEZE_DEADLINE_MS = 1000
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Held:
    """How a guest held its writers: `clean` when it did until the cut was made."""

    frozen_ms: float
    clean: bool


def quiesced(host: Host, sprite: Sprite, act: Callable[[], _T]) -> tuple[_T, Held | None]:
    """`act` while the disk's filesystem is frozen, where that is the guest's to do, and how that went; volumed does it
    for `container`."""
    if not world.is_mounted_in_guest(host, sprite):
        return act(), None
    with host.uses.using(sprite.id):
        world.rouse(host, sprite)  # who has the filesystem mounted has to run; it rests again when nobody uses it
        return _quiesced_by_guest(host, sprite, act)


def _quiesced_by_guest(host: Host, sprite: Sprite, act: Callable[[], _T]) -> tuple[_T, Held | None]:
    api = host.api(sprite)
    try:
        api.call(operations.FREEZE_WORLD, schema.FreezeRequest(deadline_ms=FREEZE_DEADLINE_MS))
    except errors.PeerError:
        raise
    except errors.PilotError:
        return act(), None  # no world runs, so nothing is mounted; or the freeze took too long, and was given up
    try:
        done = act()
    except BaseException:
        thaw(api)
        raise
    return done, thaw(api)


def thaw(api: PilotApi) -> Held:
    """Let writers go on. A guest that answers nothing of use thaws by its deadline; how long it held is not known."""
    try:
        return parse_held(api.call(operations.THAW_WORLD, None))
    except errors.PeerError as error:
        log.warning("thaw not answered", extra={"error": str(error)})
        return Held(0.0, False)


def parse_held(answer: schema.FreezeAnswer) -> Held:
    """A guest may say any number."""
    is_time = 0 <= answer.frozen_ms <= FREEZE_DEADLINE_MS
    return Held(answer.frozen_ms if is_time else 0.0, answer.held)


def reserve(host: Host, run: Run[MakeCheckpoint]) -> Reserved:
    """The id of the checkpoint to be: `v` and a number never used before."""
    name, most = run.request.name, run.request.most
    try:
        with host.database.transaction() as tx:
            if most is not None and checkpoints.count_wanted(tx, run.resource) >= most:
                raise UserFault(f"the sprite has {most} checkpoints already", code="exhausted")
            if name is not None and checkpoints.is_taken(tx, run.resource, name):
                raise UserFault(f"another checkpoint is called {name}", code="conflict")
            number = checkpoints.reserve(tx, run.resource)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error
    return Reserved(CheckpointId(f"v{number}"), number)


def take(host: Host, run: Run[MakeCheckpoint]) -> Taken:
    """The cut itself: the volume's next generation."""
    sprite = host.sprite(run.resource)
    cut = made(host, sprite, run.result(Reserved).id, run.request.comment)
    return Taken(cut.clean, cut.frozen_ms, now_us())


def made(host: Host, sprite: Sprite, name: CheckpointId, comment: str) -> Cut:
    """The cut of that name: made now, or by an earlier attempt that died before it could say so."""
    try:
        cut, held = quiesced(host, sprite, lambda: host.volumes.checkpoint(sprite.volume, comment, name))
        return held or cut
    except errors.Conflict:
        return next(point for point in host.volumes.checkpoints(sprite.volume) if point.id == name)


def publish(host: Host, run: Run[MakeCheckpoint]) -> None:
    reserved, taken = run.result(Reserved), run.result(Taken)
    sprite = host.sprite(run.resource)
    point = Checkpoint(
        sprite=sprite.id,
        id=reserved.id,
        number=reserved.number,
        source=sprite.current_source,
        comment=run.request.comment,
        is_auto=False,
        clean=taken.clean,
        frozen_ms=taken.frozen_ms,
        created_us=taken.created_us,
    )
    name = run.request.name
    with host.database.transaction() as tx:
        checkpoints.publish_newest(tx, point)
        if name is not None:
            checkpoints.rename(tx, sprite.id, point.id, name)
        sprites.update(tx, sprite.id, current_source=point.id)


def choose(host: Host, run: Run[OfCheckpoint]) -> None:
    """The checkpoint of the request exists. Decided before anything is torn down."""
    try:
        checkpoints.find(host.database, host.sprite(run.resource).id, run.request.checkpoint)
    except errors.NotFound as error:
        raise UserFault(str(error), code="not_found") from error


def world_away(host: Host, run: Run[object]) -> Down:
    """No process of the old state is left, and nothing has it mounted."""
    return Down(world.world_down(host, host.sprite(run.resource)))


def swap(host: Host, run: Run[OfCheckpoint]) -> None:
    """The volume's live root becomes the checkpoint's. Never under a mounted filesystem."""
    sprite = host.sprite(run.resource)
    if world.is_mounted_in_guest(host, sprite):
        disks.flush(host, sprite.volume)  # its machine keeps the drive
    else:
        disks.release(host, sprite.volume)
    host.volumes.restore(sprite.volume, run.request.checkpoint)


def back_up(host: Host, run: Run[object]) -> None:
    """The world on the restored disk, where one ran before; a cold sprite stays cold."""
    if run.result(Down).ran:
        world.boot(host, run)  # the machine may have died meanwhile
        world.up(host, run)


def publish_restored(host: Host, run: Run[OfCheckpoint]) -> None:
    with host.database.transaction() as tx:
        sprites.update(tx, run.resource, current_source=run.request.checkpoint)


def delete_volume_checkpoint(host: Host, run: Run[OfCheckpoint]) -> None:
    sprite = host.sprite(run.resource)
    try:
        host.volumes.delete_checkpoint(sprite.volume, run.request.checkpoint)
    except errors.NotFound:
        pass  # an earlier attempt did it


def forget_checkpoint(host: Host, run: Run[OfCheckpoint]) -> None:
    with host.database.transaction() as tx:
        checkpoints.delete(tx, run.resource, run.request.checkpoint)
