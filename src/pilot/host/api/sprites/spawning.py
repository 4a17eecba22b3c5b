"""Calls on what children a sprite may make by itself. All ours."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import JSONResponse, Response

from ...store.sprites import Spawn
from ..call import Call


async def get_spawn_policy(call: Call) -> Response:
    """`{"children": 0}` for one that may make none."""
    found = (await call.sprite()).lifecycle.spawn
    return JSONResponse({"children": 0} if found is None else msgspec.to_builtins(found))


async def set_spawn_policy(call: Call) -> Response:
    """For what is made from now on."""
    wanted = await call.body(Spawn)
    await asyncio.to_thread(call.sprites.allow_spawn, await call.sprite(), wanted)
    return Response(status_code=204)


async def delete_spawn_policy(call: Call) -> Response:
    """It makes no more; those that there are stay."""
    await asyncio.to_thread(call.sprites.allow_spawn, await call.sprite(), None)
    return Response(status_code=204)
