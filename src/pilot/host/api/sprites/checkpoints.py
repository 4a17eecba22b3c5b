"""Calls on a sprite's checkpoints."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import JSONResponse, PlainTextResponse, Response

from ....wire import faults
from ...operations.results import Reserved
from ...services import ending
from ..call import Call
from ..streams import OPERATION_TIMEOUT_S, stream
from . import bodies, shapes


async def create_checkpoint(call: Call) -> Response:
    wanted = await call.body(bodies.CreateCheckpoint)
    ended = await asyncio.to_thread(call.sprites.make_checkpoint, await call.sprite(), wanted.comment or "")
    return stream(ended, "creating checkpoint", lambda done: f"checkpoint {done.result(Reserved).id} created")


async def restore_checkpoint(call: Call) -> Response:
    checkpoint = call.parameters["checkpoint"]
    ended = await asyncio.to_thread(call.sprites.restore, await call.sprite(), checkpoint)
    return stream(ended, f"restoring checkpoint {checkpoint}", lambda _: f"restored {checkpoint}")


async def list_checkpoints(call: Call) -> Response:
    row = await call.sprite()
    points = await asyncio.to_thread(call.sprites.checkpoints, row)
    sources: dict[str, str | None] = {point.id: point.source for point in points}
    shown = [shapes.current(row, time.time_ns() // 1000, shapes.history(row.current_source, sources))]
    automatic = call.request.query_params.get("includeAuto") == "true"
    listed = [point for point in points if automatic or not point.is_auto]
    shown += [shapes.checkpoint(point, shapes.history(point.source, sources)) for point in listed]
    wanted = call.request.query_params.get("history")
    if wanted is None:
        return JSONResponse(shown)
    return PlainTextResponse("".join(f"{point['id']}\n" for point in shown if wanted in point["history"]))


async def get_checkpoint(call: Call) -> Response:
    row = await call.sprite()
    points = await asyncio.to_thread(call.sprites.checkpoints, row)
    sources: dict[str, str | None] = {point.id: point.source for point in points}
    if call.parameters["checkpoint"] == "Current":
        now = time.time_ns() // 1000
        return JSONResponse(shapes.current(row, now, shapes.history(row.current_source, sources)))
    point = await asyncio.to_thread(call.sprites.checkpoint, row, call.parameters["checkpoint"])
    return JSONResponse(shapes.checkpoint(point, shapes.history(point.source, sources)))


async def delete_checkpoint(call: Call) -> Response:
    checkpoint = call.parameters["checkpoint"]
    if checkpoint == "Current":
        raise faults.InvalidRequest("the current state cannot be deleted")
    ended = await asyncio.to_thread(call.sprites.delete_checkpoint, await call.sprite(), checkpoint)
    await ending.finish(ended, OPERATION_TIMEOUT_S)
    return Response(status_code=204)
