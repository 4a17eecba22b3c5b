"""Destroy a sprite: nothing of it is left on this host. Each step is retried for ever, for there is no way back."""

from __future__ import annotations

from ... import errors
from ..fsm.operation import Run
from ..store import sprites
from . import machines
from .context import Host
from .disks import release


def mark(host: Host, run: Run[object]) -> None:
    host.database.write_surely(lambda tx: sprites.update(tx, run.resource, phase="destroying"))
    host.worlds.drop(run.resource)


def machine(host: Host, run: Run[object]) -> None:
    _machine(host, run.resource)


def disk(host: Host, run: Run[object]) -> None:
    _disk(host, run.resource)


def forget(host: Host, run: Run[object]) -> None:
    _forget(host, run.resource)
    host.database.refill()


def everything(host: Host, sprite: str) -> None:
    """All steps at once, for a create that failed. Idempotent."""
    _machine(host, sprite)
    _disk(host, sprite)
    _forget(host, sprite)


def _forget(host: Host, sprite: str) -> None:
    host.uses.forget(sprite)
    host.database.write_surely(lambda tx: sprites.delete(tx, sprite))


def _machine(host: Host, sprite_id: str) -> None:
    try:
        sprite = sprites.by_id(host.database, sprite_id)
    except errors.NotFound:
        return  # destroyed already
    host.worlds.drop(sprite.id)
    if sprite.machine is not None:
        machines.destroy(host, sprite.machine)


def _disk(host: Host, sprite_id: str) -> None:
    try:
        sprite = sprites.by_id(host.database, sprite_id)
        release(host, sprite.volume)
        host.volumes.delete(sprite.volume)
    except errors.NotFound:
        pass  # the row, or the volume, has gone already
