"""What the edges (the HTTP API, the idle watch) may ask of pilotd: names in, rows and running operations out.

Every method is quick: it reads the store, or begins a run and returns its future. `status` asks the kernel, and `disk`
volumed.
"""

from __future__ import annotations

import dataclasses
import itertools
import socket
import time
from collections.abc import Callable, Collection, Sequence
from typing import IO

import msgspec

from ... import errors
from ...ids import RunId
from ...volume.client import Status, Volume
from ...wire import faults, schema, timestamps
from ..fsm.documents import Nothing
from ..fsm.engine import Ended, Engine
from ..fsm.journal import Record
from ..network.destinations import Destinations
from ..network.never import Never
from ..operations import machines, requests, rest
from ..operations.context import Host
from ..operations.requests import (
    SPRITE,
    Create,
    ForkMany,
    MakeCheckpoint,
    OfCheckpoint,
    Resize,
    Sleep,
    Stop,
)
from ..operations.uses import Uses
from ..shipping.rules import Rule
from ..store import checkpoints, events, sprites
from ..store.checkpoints import Checkpoint
from ..store.journal import now_us
from ..store.sprites import ConfigChanges, Rested, Spawn, Sprite
from ..vmm import Isolation, Size
from ..vmm.shape import Shape
from .browsing import Browsing
from .changes import Changes
from .connectors import Connectors
from .creating import Creating, Descent, check_pids, new_sprite
from .creation_rate import CreationRate
from .feed import Feed
from .guests import Guests
from .holding import Holding
from .lending import Lending
from .looking import Looking
from .metrics import Metrics
from .pool import Pool
from .privileges import Privileges
from .putting_back import PuttingBack
from .running_limit import RunningLimit
from .shipping import Shipped, Shipping
from .sprite_networks import SpriteNetworks
from .tokens import Tokens
from .usage import Usages
from .wanted import Forks, NewSprite, SpriteChanges
from .webhooks.book import Webhooks

SUSPECT_PAUSE_S = 5.0
MOST_COMMENT = 4096  # characters, on a checkpoint: sprites make them by themselves, too
WHY_READ_ONLY = "its filesystem had become read-only while the disk was full; there is room again, it is started anew"

WHY_DISK = "its filesystem takes no writes since one failed; by now it may take so much more of the host's disk:"


@dataclasses.dataclass(frozen=True)
class Why:
    """What keeps a sprite awake, for how long nobody has used it, and when and why it last went to rest; what the
    kernel has ended in it for want of memory; and whether its disk takes no writes."""

    status: str
    held_by: tuple[str, ...]
    idle_s: float | None
    rested: Rested | None
    out_of_memory: schema.OutOfMemory | None
    disk_read_only: str | None = None  # why


class Sprites:
    """`organisation` is an id throughout; `NotFound` when it has no sprite of the name."""

    def __init__(
        self,
        host: Host,
        engine: Engine,
        pool: Pool | None = None,
        metrics: Metrics | None = None,
        webhook_destinations: Destinations | None = None,
        creation_rate: CreationRate | None = None,
        running_limit: RunningLimit | None = None,
    ) -> None:
        self._host = host
        self._engine = engine
        self._pool = Pool(host, engine, {}) if pool is None else pool
        self.metrics = Metrics() if metrics is None else metrics
        self.metrics.count(self)
        self.creation_rate = creation_rate or CreationRate()
        self.running_limit = running_limit or RunningLimit()
        self._creating = Creating(host, self.isolation)
        self._looking = Looking(host.volumes)
        self._lending = Lending(host.scratch, host.keep_free_bytes)
        self._browsing = Browsing(self._looking, self._lending)
        self._putting_back = PuttingBack(host, self._looking, self._lending)
        self._shipping = Shipping(host, Looking(host.volumes), self._lending)
        self.guests = Guests(host)
        self.privileges = Privileges(host, self.status)
        self.usages = Usages(host, self.size, self.isolation)
        self._suspected: dict[str, float] = {}
        self.tokens = Tokens(host.database)
        self.networks, self.connectors = SpriteNetworks(host), Connectors(host)
        self.holding = Holding(host.database)
        self.webhooks = Webhooks(host.database, host.vault, webhook_destinations or Destinations(Never()))
        self.changes = Changes(host.database, self.statuses)
        # Another number after each commit that says anything: what was read before it is to be read anew.
        self.writes = 0
        self._numbers = itertools.count(1)
        host.database.watch(self._note_write)

    def _note_write(self) -> None:
        self.writes = next(self._numbers)

    # What is there

    def isolation(self, sprite: Sprite) -> str:
        """What stands between it and the host; before it has a machine, what that is going to be."""
        if sprite.machine is None:
            return self._host.isolation.value
        return self._host.substrate(sprite.machine).isolation.value

    def size(self, sprite: Sprite) -> Size:
        """What it is to have."""
        return machines.size_of(self._host, sprite.config)

    def pooled(self) -> int:
        """How many creates would find a sprite that is made already."""
        return len(self._pool)

    def active_runs(self) -> list[Record]:
        return self._engine.active()

    def find(self, organisation: str, name: str) -> Sprite:
        return sprites.by_name(self._host.database, organisation, name)

    def every(self, organisation: str | None = None) -> list[Sprite]:
        return sprites.every(self._host.database, organisation)

    def status(self, sprite: Sprite) -> str:
        """`running` only when the world is known to run: a machine whose storage is not up is `warm`."""
        if not self._machine_runs(sprite):
            return "cold"
        return "running" if sprite.id in self._host.worlds else "warm"

    def is_frozen(self, sprite: Sprite) -> bool:
        """Whether its machine keeps its memory and stands still."""
        try:
            return sprite.machine is not None and machines.is_frozen(self._host, sprite.machine)
        except errors.NotFound:
            return False  # it was destroyed since the row was read

    @property
    def uses(self) -> Uses:
        return self._host.uses

    def idle_s(self, sprite: Sprite) -> float:
        """Since when nobody has used it."""
        return self._host.uses.idle_s(sprite.id)

    def why(self, sprite: Sprite) -> Why:
        """What keeps it as it is."""
        status = self.status(sprite)
        held = tuple(rest.what_holds(self._host, sprite)) if status == "running" else ()
        idle_s = self.idle_s(sprite) if status == "running" else None
        ended = self._out_of_memory(sprite) if status == "running" else None
        return Why(status, held, idle_s, sprite.rested, ended, None if status == "cold" else self._read_only(sprite))

    def _read_only(self, sprite: Sprite) -> str | None:
        """None for one that takes writes."""
        left = self.disks().read_only.get(sprite.volume, self.guests.read_only([sprite]).get(sprite.volume))
        return None if left is None else f"{WHY_DISK} {max(left, 0) >> 20} MiB"

    def _out_of_memory(self, sprite: Sprite) -> schema.OutOfMemory | None:
        """None, too, of a machine that does not answer: `held` has said so."""
        try:
            return self.machine_status(sprite).out_of_memory
        except errors.PilotError:
            return None

    def statuses(self) -> dict[str, str]:
        """Of all of them, by id."""
        return {sprite.id: self.status(sprite) for sprite in self.every()}

    def found(self, id: str) -> Sprite | None:
        """None when it was destroyed, for good."""
        try:
            return sprites.by_id(self._host.database, id)
        except errors.NotFound:
            return None

    def feed(
        self, organisation: str, sprite: str | None = None, reaches: Callable[[str], bool] = lambda _: True
    ) -> Feed:
        """What happens to its sprites, or to the one of that name, as far as they are within reach, by their ids."""
        return Feed(self._host.database, organisation, sprite, reaches)

    def disk(self, sprite: Sprite) -> Volume:
        """What volumed knows of the sprite's disk."""
        return self._host.volumes.stat(sprite.volume)

    def disks(self) -> Status:
        """What volumed knows of all disks."""
        return self._host.volumes.status()

    def checkpoints(self, sprite: Sprite) -> list[Checkpoint]:
        return checkpoints.every(self._host.database, sprite.id)

    def checkpoint(self, sprite: Sprite, checkpoint: str) -> Checkpoint:
        return checkpoints.find(self._host.database, sprite.id, checkpoint)

    def difference(self, sprite: Sprite, before: str, after: str | None) -> IO[bytes]:
        """See `Browsing.difference`; `after` None: what the disk is now. `NotFound` for a checkpoint that is none."""
        points = [self.checkpoint(sprite, before).id, None if after is None else self.checkpoint(sprite, after).id]
        return self._browsing.difference(sprite.organisation, sprite.volume, points)

    def image(self, sprite: Sprite, checkpoint: str, wanted: Sequence[Rule]) -> Shipped:
        """See `Shipping.image`. `NotFound` for a checkpoint that is none."""
        return self._shipping.image(sprite, self.checkpoint(sprite, checkpoint), wanted)

    def sweep(self) -> None:
        """Take away what a former pilotd has left for nobody."""
        self._looking.sweep()

    def is_ready(self, sprite: Sprite) -> bool:
        """As far as is remembered; a dial that nobody takes is the proof against it (`mark_lost`)."""
        return sprite.id in self._host.worlds

    def mark_lost(self, sprite: Sprite) -> None:
        self._host.worlds.drop(sprite.id)

    def suspect(self, sprite: Sprite) -> None:
        """It does not answer, and may be busy: have it asked, now and then, until it does or has been silent for long.

        Only then is it started anew; meanwhile everybody may try.
        """
        now_s = time.monotonic()
        if now_s - self._suspected.get(sprite.id, -SUSPECT_PAUSE_S) < SUSPECT_PAUSE_S:
            return
        self._suspected[sprite.id] = now_s
        self._wake(sprite)

    def dial_path(self, sprite: Sprite) -> str:
        if sprite.machine is None:
            raise errors.StateError(f"reach sprite {sprite.name}: it has no machine yet")
        return self._host.substrate(sprite.machine).dial_path(sprite.machine)

    def tcp_socket(self, sprite: Sprite, family: socket.AddressFamily) -> socket.socket | None:
        """As `Vmm.tcp_socket`. Blocks for a moment."""
        if sprite.machine is None:
            raise errors.StateError(f"reach sprite {sprite.name}: it has no machine yet")
        return self._host.substrate(sprite.machine).tcp_socket(sprite.machine, family)

    def machine_status(self, sprite: Sprite) -> schema.Status:
        """What its machine says of itself. Blocks until it does, or `PeerError`."""
        return self._host.api(sprite).status()

    def at_address(self, name: str, suffix: str) -> Sprite | None:
        """The sprite whose address that is; None when none has it, or more than one of several organisations."""
        found = sprites.at_address(self._host.database, name, suffix)
        return found[0] if len(found) == 1 else None

    # What is done

    def create(self, organisation: str, wanted: NewSprite, descent: Descent | None = None) -> Ended:
        """`Conflict` for a name that is taken, `RateLimited`, `TooManyRun`. `descent`: of one that another makes."""
        source = self._creating.source(organisation, wanted.origin) if wanted.origin else None
        request = self._creating.request(organisation, wanted, source, descent)
        isolation = self._creating.isolation(source)
        return self._admitted(organisation, [wanted.name], lambda: self._create(organisation, request, isolation))

    def _create(self, organisation: str, request: Create, isolation: Isolation) -> Ended:
        self.creation_rate.take(organisation)
        shape = Shape(isolation, self._host.variant, machines.size_of(self._host, request.config))
        is_usual = request.source is None and request.privileges == schema.Privileges()
        member = self._pool.claim(shape) if is_usual else None
        if member is not None:
            request = msgspec.structs.replace(
                request, machine=member.machine, volume=member.volume, claimed=member.claimed
            )
        ended = self._engine.start(requests.CREATE, member.id if member else new_sprite(), request)
        ended.add_done_callback(lambda _: self._pool.fill_soon())
        return ended

    def fork_many(self, sprite: Sprite, wanted: Forks) -> Ended:
        """As `create`; `AlreadyActive` while others are being made of it."""
        point = None if wanted.checkpoint is None else self.checkpoint(sprite, wanted.checkpoint).id
        forks = self._creating.forks(sprite, point, wanted)
        return self._admitted(sprite.organisation, wanted.names, lambda: self._fork_many(sprite, forks))

    def _fork_many(self, sprite: Sprite, forks: ForkMany) -> Ended:
        self.creation_rate.take(sprite.organisation, len(forks.forks))
        return self._engine.start(requests.FORK_MANY, sprite.id, forks)

    def _admitted(self, organisation: str, names: Collection[str], begin: Callable[[], Ended]) -> Ended:
        """What starts these sprites is begun, where so many may run; `TooManyRun`."""
        give_back = self.running_limit.take(organisation, names, lambda: self._running(organisation))
        try:
            ended = begin()
        except BaseException:
            give_back()
            raise
        ended.add_done_callback(lambda _: give_back())
        return ended

    def _running(self, organisation: str) -> set[str]:
        return {row.name for row in sprites.every(self._host.database, organisation) if self.is_ready(row)}

    def allow_spawn(self, sprite: Sprite, wanted: Spawn | None) -> None:
        """What it may make by itself from now on."""
        with self._host.database.transaction() as tx:
            now = sprites.locked(tx, sprite.id)
            sprites.update(tx, sprite.id, lifecycle=msgspec.structs.replace(now.lifecycle, spawn=wanted))

    def update(self, sprite: Sprite, changes: SpriteChanges) -> Sprite:
        """All but its size (`resize`), on what is so now and not when the caller looked: of two at once neither undoes
        the other's."""
        with self._host.database.transaction() as tx:
            now = sprites.locked(tx, sprite.id)
            sprites.update(tx, sprite.id, **_changed(now, changes))
            events.add(tx, "sprite.updated", f"sprite/{sprite.id}", {"name": sprite.name})
        return sprites.by_id(self._host.database, sprite.id)

    def resize(self, sprite: Sprite, changes: ConfigChanges) -> Ended:
        """`Conflict` as its outcome when more is in use; `AlreadyActive` while another one is under way (`turns`)."""
        check_pids(self.isolation(sprite), changes.pids)
        return self._engine.start(requests.RESIZE, sprite.id, Resize(changes))

    def under_way(self, run: RunId) -> Ended | None:
        """A run that has not ended."""
        return self._engine.waiting_for(run)

    def wake(self, sprite: Sprite) -> Ended:
        """Joins the wake that is under way. `StateError` past a deadline at which it was put to rest; `TooManyRun`."""
        self._require_time(sprite, "wake")
        return self._admitted(sprite.organisation, [sprite.name], lambda: self._wake(sprite))

    def _require_time(self, sprite: Sprite, what: str) -> None:
        """By its deadline as it is now, not as it was when the caller looked."""
        found = self.found(sprite.id)
        if found is None or not found.lifecycle.is_over(now_us()):
            return
        expires_at = timestamps.of_us(found.lifecycle.expires_us or 0)
        raise errors.StateError(
            f"{what} sprite {found.name}: its deadline has passed (expires_at {expires_at})",
            hint="give its lifecycle another expires_at or expires_in_s, or an expires_at of null",
        )

    def _wake(self, sprite: Sprite) -> Ended:
        return self._engine.join(requests.WAKE, sprite.id, Nothing())

    def sleep(self, sprite: Sprite, why: str, *, force: bool = False) -> Ended:
        """Frozen with its memory. `Conflict` as its outcome when it is in use, unless that is broken off by `force`."""
        action = requests.FORCED_SLEEP if force else requests.SLEEP
        return self._engine.join(action, sprite.id, Sleep(why, force))

    def stop(self, sprite: Sprite, why: str = "asked for") -> Ended:
        return self._engine.join(requests.STOP, sprite.id, Stop(why))

    def restart(self, sprite: Sprite) -> Ended:
        """`StateError` as `wake`."""
        self._require_time(sprite, "restart")
        return self._admitted(sprite.organisation, [sprite.name], lambda: self._restart(sprite))

    def _restart(self, sprite: Sprite) -> Ended:
        return self._engine.join(requests.RESTART, sprite.id, Nothing())

    def mend(self, sprite: Sprite) -> Ended:
        """Start it anew, because its filesystem takes no writes; told as an event.

        Nothing that was acknowledged is lost by it; its processes are, which could write nothing.
        """
        with self._host.database.transaction(durable=False) as tx:
            events.add(tx, "sprite.read_only", f"sprite/{sprite.id}", {"why": WHY_READ_ONLY})
        return self._restart(sprite)

    def destroy(self, sprite: Sprite) -> Ended:
        """Ends what is under way for the sprite first; joins a destroy. `Conflict` for one that is protected."""
        if self._is_protected(sprite):
            raise errors.Conflict(f"sprite {sprite.name} is protected", hint="set lifecycle.protected to false first")
        self._engine.cancel(SPRITE, sprite.id, but=requests.DESTROY.name)
        return self._engine.join(requests.DESTROY, sprite.id, Nothing())

    def _is_protected(self, sprite: Sprite) -> bool:
        """As it is now, not as it was when the caller looked."""
        found = self.found(sprite.id)
        return found is not None and found.lifecycle.protected

    def make_checkpoint(self, sprite: Sprite, comment: str, name: str | None = None, most: int | None = None) -> Ended:
        """`Conflict` (AlreadyActive) while another one is being made, or one has that name. `InvalidRequest`. Its run
        fails, `exhausted`, where there are `most` that somebody asked for."""
        if len(comment) > MOST_COMMENT:
            raise faults.InvalidRequest(f"comment: {len(comment)} characters, of which there may be {MOST_COMMENT}")
        if name is not None:
            _check_name(name)
            if checkpoints.is_taken(self._host.database, sprite.id, name):
                raise errors.Conflict(f"another checkpoint is called {name}", hint="give the name to another one first")
        return self._engine.start(requests.CHECKPOINT, sprite.id, MakeCheckpoint(comment, name, most))

    def rename_checkpoint(self, sprite: Sprite, checkpoint: str, name: str | None) -> Checkpoint:
        """Another one that was called so is not any more; None: it has no name. `InvalidRequest`."""
        if name is not None:
            _check_name(name)
        found = self.checkpoint(sprite, checkpoint)
        with self._host.database.transaction() as tx:
            checkpoints.rename(tx, sprite.id, found.id, name)
        return self.checkpoint(sprite, found.id)

    @property
    def browsing(self) -> Browsing:
        """What is in a checkpoint."""
        return self._browsing

    @property
    def putting_back(self) -> PuttingBack:
        """One path as it was at a checkpoint."""
        return self._putting_back

    def restore(self, sprite: Sprite, checkpoint: str) -> Ended:
        """`TooManyRun` for one that does not run: it does afterwards."""
        wanted = OfCheckpoint(self.checkpoint(sprite, checkpoint).id)
        return self._admitted(
            sprite.organisation, [sprite.name], lambda: self._engine.start(requests.RESTORE, sprite.id, wanted)
        )

    def delete_checkpoint(self, sprite: Sprite, checkpoint: str) -> Ended:
        wanted = OfCheckpoint(self.checkpoint(sprite, checkpoint).id)
        return self._engine.start(requests.DELETE_CHECKPOINT, sprite.id, wanted)

    def prepare_base(self) -> Ended:
        return self._engine.join(requests.PREPARE_BASE, self._host.variant, Nothing())

    def adopt(self, sprite: Sprite) -> bool:
        """Remember the world of a machine that outlived the last pilotd; whether it runs."""
        if not self._world_runs(sprite):
            return False
        self._host.worlds.mark(sprite.id)
        return True

    def _machine_runs(self, sprite: Sprite) -> bool:
        if sprite.machine is None:
            return False
        try:
            return machines.is_running(self._host, sprite.machine)
        except errors.NotFound:
            return False  # it was destroyed since the row was read

    def _world_runs(self, sprite: Sprite) -> bool:
        if not self._machine_runs(sprite) or self.is_frozen(sprite):
            return False  # one that is frozen cannot be asked, and is woken when somebody needs it
        return self._host.api(sprite).status().world == "running"


def _check_name(name: str) -> None:
    if not checkpoints.is_name(name):
        raise faults.InvalidRequest(
            f"name {name[:80]!r}: no name of a checkpoint", hint="small letters, digits, `.`, `_`, `-`; not as v1"
        )


def _changed(now: Sprite, changes: SpriteChanges) -> dict[str, object]:
    """The columns that become others."""
    columns: dict[str, object] = {}
    if changes.url_settings:
        columns["url_settings"] = now.url_settings.merged(changes.url_settings)
    if changes.labels is not None:
        columns["labels"] = changes.labels
    elif changes.clear_labels:
        columns["labels"] = []
    if changes.lifecycle is not None:
        columns["lifecycle"] = changes.lifecycle.applied(now.lifecycle, now_us())
    return columns
