"""Calls on volumes."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from ....wire import faults
from ...services import ending
from ...services.fly import REGION
from ...services.fly_volumes import Wanted
from ...store.fly_volumes import Volume
from . import bodies, shapes
from .call import Call

DONE_S = 120.0


async def _row(call: Call) -> Volume:
    return await asyncio.to_thread(call.machines.volumes.find, await call.app(), call.parameters["volume"])


async def _shape(call: Call, row: Volume) -> shapes.JSON:
    return shapes.volume(row, await asyncio.to_thread(call.machines.volumes.disk, row))


async def list_volumes(call: Call) -> Response:
    rows = await asyncio.to_thread(call.machines.volumes.every, await call.app())
    return JSONResponse([await _shape(call, row) for row in rows])


async def create_volume(call: Call) -> Response:
    """It is there when this answers."""
    body = await call.body(bodies.CreateVolume)
    wanted = Wanted(
        body.name, body.region or REGION, body.size_gb, body.snapshot_retention, body.source_volume_id, body.snapshot_id
    )
    app = await call.app()
    id, ended = await asyncio.to_thread(call.machines.volumes.create, app, wanted)
    await ending.finish(ended, DONE_S)
    return JSONResponse(await _shape(call, await asyncio.to_thread(call.machines.volumes.find, app, id)))


async def get_volume(call: Call) -> Response:
    return JSONResponse(await _shape(call, await _row(call)))


async def update_volume(call: Call) -> Response:
    """Of what can be updated, only how long snapshots are to be kept is written down."""
    body = await call.body(bodies.UpdateVolume)
    if body.auto_backup_enabled:
        raise faults.Unsupported("auto_backup_enabled: snapshots are made when they are asked for")
    await asyncio.to_thread(call.machines.volumes.update, await _row(call), body.snapshot_retention)
    return JSONResponse(await _shape(call, await _row(call)))


async def destroy_volume(call: Call) -> Response:
    row = await _row(call)
    shown = await _shape(call, row)
    await ending.finish(await asyncio.to_thread(call.machines.volumes.destroy, row), DONE_S)
    return JSONResponse({**shown, "state": "destroyed"})


async def extend_volume(call: Call) -> Response:
    """`needs_restart`: this host may not grow a filesystem that is mounted, so it has its size with the next start."""
    body = await call.body(bodies.ExtendVolume)
    ended = await asyncio.to_thread(call.machines.volumes.extend, await _row(call), body.size_gb)
    await ending.finish(ended, DONE_S)
    row = await _row(call)
    grown = await asyncio.to_thread(call.machines.volumes.has_its_size, row)
    return JSONResponse({"volume": await _shape(call, row), "needs_restart": not grown})


async def list_snapshots(call: Call) -> Response:
    row = await _row(call)
    points = await asyncio.to_thread(call.machines.volumes.snapshots, row)
    return JSONResponse([shapes.snapshot(row, point.id, point.created_at) for point in points])


async def create_snapshot(call: Call) -> Response:
    row = await _row(call)
    id, ended = await asyncio.to_thread(call.machines.volumes.snapshot, row)
    await ending.finish(ended, DONE_S)
    points = await asyncio.to_thread(call.machines.volumes.snapshots, row)
    point = next(each for each in points if each.id == id)
    return JSONResponse(shapes.snapshot(row, point.id, point.created_at))
