"""One permitted request of the Machines API, and what all its answers need."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .... import errors
from ....wire import faults
from ....wire.permissions import Permission
from ...fly import config as configs
from ...fly.checks import Found
from ...identity.authority import Authority
from ...identity.principal import Principal
from ...relay.access import named
from ...relay.auditing import Auditing
from ...relay.crowd import Kind
from ...services.fly import FlyMachines
from ...services.fly_processes import CHECKS_S
from ...store.fly import DESTROYED, App, Event, Machine
from ...store.tokens import Scope
from ..sprites import bodies as sprite_bodies
from . import bodies, shapes

NONCE = "fly-machine-lease-nonce"
_FEW = 4  # Machines of which one asks apart what happened to each


@dataclasses.dataclass(frozen=True)
class Call:
    """The store, registries and the kernel are asked in threads."""

    request: Request
    machines: FlyMachines
    authority: Authority
    principal: Principal
    parameters: Mapping[str, str]
    auditing: Auditing | None
    hold: Callable[[Kind], None]  # for an answer that lasts: `Unavailable` when there are as many as there may be

    @property
    def organisation(self) -> str:
        return self.principal.organisation.id

    @property
    def nonce(self) -> str | None:
        """Of the lease that the client has."""
        return self.request.headers.get(NONCE)

    async def body(self, kind: type[bodies.T]) -> bodies.T:
        return bodies.parse(kind, await sprite_bodies.read(self.request, bodies.MAX_BYTES))

    async def app(self) -> App:
        found = await asyncio.to_thread(self.machines.app, self.organisation, self.parameters["app"])
        if not self.principal.reaches(self._scope(found)):
            raise errors.NotFound(f"app not found: {found.name}")
        return found

    def _scope(self, found: App) -> Scope:
        return named(Scope.of_app(found.id), self.principal, self.parameters)

    async def require_command(self, words: Sequence[str]) -> None:
        """`PermissionDenied` unless these may be run in the machine that the path names."""
        scope = dataclasses.replace(self._scope(await self.app()), command=tuple(words))
        if not self.principal.reaches(scope):
            raise faults.PermissionDenied("this token may not run that command")

    async def require_volumes(self, row: Machine, wanted: Mapping[str, object]) -> None:
        """`PermissionDenied` unless the volumes that this config would mount anew may be changed: a token of a machine
        is none of what the machine could mount. `SpecError`."""
        if not self.principal.caveats:
            return
        volumes = await asyncio.to_thread(lambda: {*mounted(wanted)} - {*mounted(row.config)})
        for volume in volumes:
            if not self.principal.reaches(dataclasses.replace(Scope.of_app(row.app), volume=volume)):
                raise faults.PermissionDenied(f"this token may not mount volume {volume[:100]}")

    async def machine(self) -> Machine:
        return await asyncio.to_thread(self.machines.machine, await self.app(), self.parameters["machine"])

    def may_read(self, sprite: str) -> bool:
        """Whether a Machine may be made of the disk of that sprite. `PermissionDenied` for who may read none."""
        return self.principal.asking(Permission.FILES_READ).reaches(Scope.of_sprite(sprite))

    async def shown(self, row: Machine) -> Response:
        return JSONResponse((await self.describe([row]))[0])

    async def describe(self, rows: Sequence[Machine]) -> list[shapes.JSON]:
        """As they are told. Of those whose agents have not answered soon, it is unknown what their checks found."""
        end_s = time.monotonic() + CHECKS_S
        asked = [row for row in rows if row.config.get("checks") or row.config.get("services")]
        told = await asyncio.gather(*(self.machines.processes.checks(row, end_s) for row in asked))
        by_id = {row.id: each for row, each in zip(asked, told, strict=True)}
        found = [by_id.get(row.id, ()) for row in rows]
        return await asyncio.to_thread(self._shapes, rows, found)

    def _shapes(self, rows: Sequence[Machine], checks: Sequence[Sequence[Found]]) -> list[shapes.JSON]:
        """Of Machines of one app. Blocks."""
        if len(rows) <= _FEW:
            events: dict[str, list[Event]] = {row.id: self.machines.happened(row) for row in rows}
        else:
            also_destroyed = any(row.state == DESTROYED for row in rows)
            events = self.machines.happened_of_all(rows[0].app, also_destroyed=also_destroyed)
        return [self._shape(row, events.get(row.id, []), found) for row, found in zip(rows, checks, strict=True)]

    def _shape(self, row: Machine, events: Sequence[Event], checks: Sequence[Found]) -> shapes.JSON:
        """Blocks."""
        shown = shapes.machine(row, events, self.machines.private_ip(row), checks)
        if self.machines.lease(row) is None or row.lease is None or row.lease.nonce != self.nonce:
            shown.pop("nonce", None)
        return shown

    def number(self, name: str, default: int) -> int:
        """Of the query. `InvalidRequest`."""
        text = self.request.query_params.get(name, "")
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise faults.InvalidRequest(f"{name}: {text[:50]!r} is no number")
        return int(text)

    def flag(self, *names: str) -> bool:
        """Of the query, under any of these names."""
        return any(self.request.query_params.get(name, "") in ("true", "1") for name in names)


def mounted(config: Mapping[str, object]) -> tuple[str, ...]:
    """The ids of the volumes. `SpecError`."""
    return configs.volumes(configs.parse(config))


def ok() -> Response:
    """Clients decode whatever body there is."""
    return JSONResponse({"ok": True})
