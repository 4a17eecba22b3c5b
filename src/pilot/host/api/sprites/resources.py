"""Calls on what a sprite may use of its host, as the official clients name it: the same value as `config.ram_mb`."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import JSONResponse, Response

from ....wire import faults
from ...services import ending
from ...store.sprites import Config
from ..call import Call
from ..streams import OPERATION_TIMEOUT_S
from . import bodies, shapes


async def get_resources_policy(call: Call) -> Response:
    return JSONResponse(shapes.resources_policy(call.sprites.memory_bytes(await call.sprite())))


async def set_resources_policy(call: Call) -> Response:
    """In force when it is answered, where the machine can change while it runs."""
    wanted = (await call.body(bodies.ResourcesPolicy)).memory
    if wanted.autoscale:
        raise faults.InvalidRequest("memory.autoscale: a sprite has what its limit says", hint="set limit_mb")
    await _set_memory(call, wanted.limit_mb)
    return Response(status_code=204)


async def delete_resources_policy(call: Call) -> Response:
    """As much as a sprite has of which nothing is said."""
    await _set_memory(call, None)
    return Response(status_code=204)


async def _set_memory(call: Call, ram_mb: int | None) -> None:
    row = await call.sprite()
    await resize(call, row.config, msgspec.structs.replace(row.config, ram_mb=ram_mb))


async def resize(call: Call, before: Config, wanted: Config) -> None:
    """Returns when the sprite has that size, or is going to have it at its next start. `Conflict`: more is in use."""
    if wanted != before:
        ended = await asyncio.to_thread(call.sprites.resize, await call.sprite(), wanted)
        await ending.finish(ended, OPERATION_TIMEOUT_S)
