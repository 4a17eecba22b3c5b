"""Children: sprites that a sprite makes by itself, by its own socket and without a token, as far as its owner lets it.

The owner says how many there may be at a time, from what, and for how long (`store.sprites.Spawn`). A child is called
`PARENT-…`, is in the parent's organisation, has the parent's size and rests, and the parent's network policy and
private network as they are at that moment: in force before the child's first process. It has no such permission
itself, so there are no grandchildren. It outlives its parent, but not its deadline.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from ... import errors
from ...ids import MachineId
from ...wire import faults, outward
from ..fsm.engine import Ended
from ..operations import networks
from ..operations.context import Host
from ..operations.requests import Joins
from ..store import events, sprites
from ..store.journal import now_us
from ..store.sprites import Lifecycle, Spawn, Sprite
from .creating import Descent
from .sprites import Sprites
from .wanted import NewSprite, Source

IMAGE, SELF = "image", "self"


class Spawning:
    """`PermissionDenied` for a sprite that may not; `NotFound` for what is none of its children. Methods are quick."""

    def __init__(self, host: Host, made: Sprites) -> None:
        self._host = host
        self._sprites = made
        self._under_way: set[str] = set()

    def parent(self, machine: MachineId) -> Sprite:
        """Whose machine it is."""
        found = sprites.of_machine(self._host.database, machine)
        if found is None:
            raise errors.StateError("this machine is no sprite's")
        return found

    @contextmanager
    def turn_of(self, parent: Sprite) -> Iterator[None]:
        """One after the other: then those that there are can be counted. `Exhausted`. Of one thread."""
        if parent.id in self._under_way:
            raise faults.Exhausted("another child is being made", hint="try again when it is there")
        self._under_way.add(parent.id)
        try:
            yield
        finally:
            self._under_way.remove(parent.id)

    def begin(self, parent: Sprite, asked: outward.NewChild) -> tuple[str, Ended]:
        """What it is called, and the run that makes it. `Exhausted` when there are as many as there may be."""
        allowed = parent.lifecycle.spawn
        if allowed is None:
            hint = "its owner allows it: sprite spawn allow"
            raise faults.PermissionDenied(f"sprite {parent.name} may make no others", hint=hint)
        if asked.source not in allowed.sources:
            raise faults.PermissionDenied(f"from {asked.source!r}: it may make some from {', '.join(allowed.sources)}")
        count = len(self.children(parent))
        if count >= allowed.children:
            raise faults.Exhausted(f"sprite {parent.name} has {count} children, as many as it may", hint="destroy one")
        name = f"{parent.name}-{asked.name or secrets.token_hex(4)}"
        try:
            wanted = NewSprite(name, parent.config, dict(asked.environment), source=_source(parent, asked.source))
        except ValueError as error:
            raise faults.InvalidRequest(str(error)) from error
        ended = self._sprites.create(parent.organisation, wanted, self._descent(parent, allowed, asked))
        with self._host.database.transaction(durable=False) as tx:
            events.add(tx, "sprite.spawned", f"sprite/{parent.id}", {"child": name})
        return name, ended

    def _descent(self, parent: Sprite, allowed: Spawn, asked: outward.NewChild) -> Descent:
        ends_s = [each for each in (allowed.expires_in_s, asked.expires_in_s) if each is not None]
        lifecycle = Lifecycle(
            warm_after_s=parent.lifecycle.warm_after_s,
            cold_after_s=parent.lifecycle.cold_after_s,
            terminal_idle_s=parent.lifecycle.terminal_idle_s,
            expires_us=now_us() + round(min(ends_s) * 1e6) if ends_s else None,
            parent=parent.id,
        )
        if self._host.networks is None or parent.machine is None:
            return Descent(lifecycle, self._sprites.isolation(parent), None, parent.privileges)
        private, _ = networks.private_of(self._host, parent.machine)
        policy = networks.policy_of(self._host, parent.machine)
        joins = Joins({**policy.as_json()}, private)
        return Descent(lifecycle, self._sprites.isolation(parent), joins, parent.privileges)

    def children(self, parent: Sprite) -> list[Sprite]:
        """By name."""
        found = self._sprites.every(parent.organisation)
        return [each for each in found if each.lifecycle.parent == parent.id and each.phase != "destroying"]

    def child(self, parent: Sprite, name: str) -> Sprite:
        found: dict[str, Sprite] = {each.name: each for each in self.children(parent)}
        if name not in found:
            raise errors.NotFound(f"child not found: {name[:80]}")
        return found[name]

    def told(self, child: Sprite) -> outward.Child:
        """As its parent sees it."""
        return outward.Child(
            name=child.name,
            status=self._sprites.status(child),
            created_s=child.created_us / 1e6,
            expires_s=None if child.lifecycle.expires_us is None else child.lifecycle.expires_us / 1e6,
        )


def _source(parent: Sprite, word: str) -> Source | None:
    if word == IMAGE:
        return None
    if word == SELF:
        return Source(parent.name)
    sprite, _, checkpoint = word.partition(":")
    return Source(sprite, checkpoint)
