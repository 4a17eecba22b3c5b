"""Calls on apps."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from .... import errors
from ....wire import faults
from ....wire.permissions import Role
from ...fly import config as configs
from ...services import ending
from ...store.fly import DESTROYED, App
from ...store.journal import now_us
from ...store.tokens import Scope, Wanted
from . import bodies, shapes
from .call import Call

DESTROY_S = 120.0
MOST_ROUNDS = 20
MOST_EXPIRY_S = 20 * 365 * 86400  # as flyctl asks, where nobody says


async def list_apps(call: Call) -> Response:
    every = await asyncio.to_thread(call.machines.apps, call.organisation)
    rows = [row for row in every if call.principal.reaches(Scope.of_app(row.id))]
    shown = [await asyncio.to_thread(_shape, call, row) for row in rows]
    return JSONResponse({"apps": shown, "total_apps": len(shown)})


async def create_app(call: Call) -> Response:
    """201 with the app, which some clients decode and others do not."""
    wanted = await call.body(bodies.CreateApp)
    name = wanted.app_name or wanted.name
    if not name:
        raise faults.InvalidRequest("name: is required")
    slug = call.principal.organisation.slug
    if wanted.org_slug not in (None, "", "personal", slug):
        raise faults.PermissionDenied(f"org_slug: this token is of {slug}")
    row = await asyncio.to_thread(call.machines.create_app, call.organisation, name, wanted.network or "default")
    return JSONResponse(await asyncio.to_thread(_shape, call, row), 201)


async def get_app(call: Call) -> Response:
    return JSONResponse(await asyncio.to_thread(_shape, call, await call.app()))


async def delete_app(call: Call) -> Response:
    """With its Machines, volumes and secrets, and those that others make meanwhile, unless there is no end of them."""
    row = await call.app()
    for left in reversed(range(MOST_ROUNDS)):
        await _empty(call, row)
        try:
            await asyncio.to_thread(call.machines.delete_app, row)
        except errors.StateError:
            if not left:
                raise
        else:
            break
    return Response(status_code=202)


async def _empty(call: Call, row: App) -> None:
    for ended in await asyncio.to_thread(call.machines.destroy_app, row):
        await ending.finish(ended, DESTROY_S)
    for volume in await asyncio.to_thread(call.machines.volumes.every, row):
        await ending.finish(await asyncio.to_thread(call.machines.volumes.destroy, volume), DESTROY_S)


async def create_deploy_token(call: Call) -> Response:
    """A macaroon for all of this app but others' keys. As of any key: who is restricted makes none."""
    wanted, app = await call.body(bodies.CreateDeployToken), await call.app()
    if call.principal.caveats:
        raise errors.StateError("a token that is restricted makes no other")
    expires_us = _expiry_us(wanted.expiry, call.principal.expires_us)
    asked = Wanted(
        description=f"deploy token of {app.name}", role=Role.OPERATE, scope=Scope.of_app(app.id, app.name),
        expires_us=expires_us,
    )  # fmt: skip
    token, _ = await asyncio.to_thread(call.authority.mint, call.principal.organisation, asked)
    return JSONResponse({"token": token})


def _expiry_us(expiry: str | None, most_us: int | None) -> int | None:
    """`SpecError`; `PermissionDenied` beyond the maker's own."""
    if not expiry:
        return most_us
    lasts_s = configs.seconds(expiry, 0.0, "expiry")
    if not 0 < lasts_s <= MOST_EXPIRY_S:
        raise faults.InvalidRequest(f"expiry: up to {MOST_EXPIRY_S // 3600} hours")
    wanted_us = now_us() + int(lasts_s * 1e6)
    if most_us is not None and wanted_us > most_us:
        raise faults.PermissionDenied("a token makes none that lasts longer than itself")
    return wanted_us


def _shape(call: Call, row: App) -> shapes.JSON:
    machines = [each for each in call.machines.machines(row) if each.state != DESTROYED]
    volumes = call.machines.volumes.every(row)
    return shapes.app(row, call.principal.organisation.slug, len(machines), len(volumes))


async def list_addresses(call: Call) -> Response:
    """The one of its own, when it has one: as soon as it has a service with a port."""
    row = await call.app()
    ways = call.machines.ways
    address = await asyncio.to_thread(lambda: ways.address(ways.served(row)))
    return JSONResponse({"ips": [] if address is None else [shapes.address(row, address)]})


async def assign_address(call: Call) -> Response:
    """The one of its own, from here on."""
    await call.body(bodies.AssignIP)
    row = await call.app()
    return JSONResponse(shapes.address(row, await asyncio.to_thread(call.machines.ways.give_address, row)))
