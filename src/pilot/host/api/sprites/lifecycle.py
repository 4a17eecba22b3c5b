"""Calls on whether a sprite is awake: put it to sleep, wake it, hold it, and ask why it is as it is. All ours."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import JSONResponse, Response

from ...services import ending
from ..call import Call
from ..streams import OPERATION_TIMEOUT_S
from . import bodies, shapes


async def sleep_sprite(call: Call) -> Response:
    """Frozen, with its memory; what uses it is broken off, and may come again: that wakes it."""
    started = await asyncio.to_thread(call.sprites.sleep, await call.sprite(), "asked for", force=True)
    await ending.finish(started, OPERATION_TIMEOUT_S)
    return JSONResponse(await call.describe(await call.sprite()))


async def wake_sprite(call: Call) -> Response:
    """Running when it is answered; joins a wake that is under way."""
    await ending.finish(await asyncio.to_thread(call.sprites.wake, await call.sprite()), OPERATION_TIMEOUT_S)
    return JSONResponse(await call.describe(await call.sprite()))


async def get_why(call: Call) -> Response:
    """What keeps it awake, and when and why it last went to rest."""
    return JSONResponse(shapes.why(await asyncio.to_thread(call.sprites.why, await call.sprite())))


async def list_holds(call: Call) -> Response:
    found = await asyncio.to_thread(call.sprites.holding.every, await call.sprite())
    return JSONResponse({"holds": [shapes.hold(each) for each in found]})


async def put_hold(call: Call) -> Response:
    """Made, or given a new end."""
    wanted = await call.body(bodies.PutHold)
    expires_us = None if wanted.expire is None else time.time_ns() // 1000 + round(wanted.expire * 1e6)
    row = await call.sprite()
    return JSONResponse(
        shapes.hold(await asyncio.to_thread(call.sprites.holding.hold, row, call.parameters["hold"], expires_us))
    )


async def release_hold(call: Call) -> Response:
    await asyncio.to_thread(call.sprites.holding.release, await call.sprite(), call.parameters["hold"])
    return Response(status_code=204)
