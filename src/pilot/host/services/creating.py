"""What a create is asked for, as the run's request has it: with every id that it is going to use."""

from __future__ import annotations

import dataclasses
import secrets
import uuid
from collections.abc import Callable

import msgspec

from ... import errors, ids
from ...ids import CheckpointId, VolumeId
from ...wire import faults
from ...wire.schema import Privileges
from ..operations import arrive, machines
from ..operations.context import Host
from ..operations.requests import Create, Fork, ForkMany, Joins, OfMachine, Stored, Wanted
from ..store import checkpoints, fly, sprites
from ..store.journal import now_us
from ..store.sprites import Config, Lifecycle, Sprite, UrlSettings
from ..vmm import Isolation
from .wanted import Forks, LifecycleChanges, NewSprite, Source

Origin = Fork | Stored | OfMachine


@dataclasses.dataclass(frozen=True)
class Descent:
    """What a child has of its parent: `isolation` is the least that it may have."""

    lifecycle: Lifecycle
    isolation: str
    joins: Joins | None
    privileges: Privileges = dataclasses.field(default_factory=Privileges)


class Creating:
    """`isolation_of(sprite)`: what stands between one that there is and the host."""

    def __init__(self, host: Host, isolation_of: Callable[[Sprite], str]) -> None:
        self._host = host
        self._isolation_of = isolation_of

    def request(
        self, organisation: str, wanted: NewSprite, source: Origin | None, descent: Descent | None = None
    ) -> Create:
        """Of one that is made anew, by another one with `descent`. `Conflict` for a name that is taken."""
        name = ids.parse_sprite_name(wanted.name)
        if sprites.is_taken(self._host.database, organisation, name):
            # For the answer's sake only; the row's uniqueness is what decides between two at once.
            raise errors.Conflict("sprite already exists", hint=f"{name} is taken")
        config, isolation = wanted.config or Config(), self.isolation(source)
        check_pids(isolation.value, config.pids)
        if descent is not None and isolation.value != descent.isolation:
            raise faults.Unsupported(f"create: a child of a {descent.isolation} would be a {isolation.value}")
        lifecycle = (wanted.lifecycle or LifecycleChanges()).applied(Lifecycle(), now_us())
        return Create(
            organisation=organisation,
            name=name,
            suffix=secrets.token_hex(2),
            machine=ids.new_machine_id(),
            volume=_new_volume(source),
            isolation=isolation,
            labels=tuple(wanted.labels or ()),
            url_settings=wanted.url_settings or UrlSettings(),
            environment=wanted.environment or {},
            config=config,
            lifecycle=descent.lifecycle if descent else lifecycle,
            source=source,
            joins=descent.joins if descent else None,
            privileges=descent.privileges if descent else self._privileges(source),
        )

    def _privileges(self, source: Origin | None) -> Privileges:
        """Those of the sprite whose disk is forked: what runs there was not to have more."""
        return self._sprite(source).privileges if isinstance(source, Fork) else Privileges()

    def _sprite(self, source: Fork) -> Sprite:
        return sprites.by_id(self._host.database, source.sprite)

    def forks(self, sprite: Sprite, point: CheckpointId | None, wanted: Forks) -> ForkMany:
        """`Conflict` as above, before any is made."""
        made = [self.request(sprite.organisation, each, Fork(sprite.id, point)) for each in wanted.sprites()]
        return ForkMany(point, tuple(Wanted(new_sprite(), each) for each in made))

    def source(self, organisation: str, wanted: Source) -> Origin:
        """`NotFound` for a sprite, a checkpoint or a Machine that there is not."""
        if wanted.url:
            return Stored(wanted.url)
        if wanted.machine:
            return self._of_machine(organisation, wanted.machine)
        found = sprites.by_name(self._host.database, organisation, wanted.sprite or "")
        if found.phase == "destroying":
            raise errors.NotFound("sprite not found")
        if wanted.checkpoint is None:
            return Fork(found.id)
        return Fork(found.id, checkpoints.find(self._host.database, found.id, wanted.checkpoint).id)

    def _of_machine(self, organisation: str, place: str) -> OfMachine:
        """`StateError` for one that has never been started, and so has no root."""
        app, _, id = place.partition("/")
        found = fly.find(self._host.database, fly.app(self._host.database, organisation, app).id, id)
        if found.state == fly.DESTROYED:
            raise errors.NotFound("machine not found")
        if machines.isolation_of(self._host, found.id) is None:
            raise errors.StateError(f"machine {id} has never been started: it has no disk yet")
        return OfMachine(found.id)

    def isolation(self, source: Origin | None) -> Isolation:
        """That of whose disk is forked: a disk that guests have mounted is never the host's to mount."""
        if isinstance(source, OfMachine):
            return machines.isolation_of(self._host, source.machine) or self._host.isolation
        if isinstance(source, Fork):
            return Isolation(self._isolation_of(self._sprite(source)))
        return self._host.isolation


def check_pids(isolation: str, pids: int | msgspec.UnsetType | None) -> None:
    """`Unsupported` where the machine counts its processes by itself."""
    if isinstance(pids, int) and isolation == Isolation.VM.value:
        raise faults.Unsupported("config.pids: a virtual machine has process numbers of its own")


def new_sprite() -> str:
    return f"sprite-{uuid.uuid4()}"


def _new_volume(source: Origin | None) -> VolumeId:
    if isinstance(source, Stored):
        return arrive.volume_of(source.url)
    return VolumeId(f"sprite-{uuid.uuid4()}")
