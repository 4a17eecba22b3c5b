"""Calls on apps."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from ....wire import faults
from ...services import ending
from ...store.fly import DESTROYED, App
from ...store.tokens import Scope
from . import bodies, shapes
from .call import Call

DESTROY_S = 120.0


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
    """With its Machines, volumes and secrets."""
    row = await call.app()
    for ended in await asyncio.to_thread(call.machines.destroy_app, row):
        await ending.finish(ended, DESTROY_S)
    for volume in await asyncio.to_thread(call.machines.volumes.every, row):
        await ending.finish(await asyncio.to_thread(call.machines.volumes.destroy, volume), DESTROY_S)
    await asyncio.to_thread(call.machines.delete_app, row)
    return Response(status_code=202)


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
