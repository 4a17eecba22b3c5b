"""Calls on what root of a sprite may do, as the official clients name it: docs/reference/privileges.md."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from ....wire.schema import Privileges
from ..call import Call
from . import bodies, shapes


async def get_privileges_policy(call: Call) -> Response:
    """As it was set, and whether the sprite is yet to be started with it."""
    row = await call.sprite()
    pending = await asyncio.to_thread(call.sprites.privileges.are_pending, row)
    return JSONResponse(shapes.privileges_policy(row.privileges, pending))


async def set_privileges_policy(call: Call) -> Response:
    """In force with the next start of the sprite's world: what runs keeps what it has."""
    await _set(call, (await call.body(bodies.PrivilegesPolicy)).wanted())
    return Response(status_code=204)


async def delete_privileges_policy(call: Call) -> Response:
    """Those of a sprite of which nothing is said."""
    await _set(call, Privileges())
    return Response(status_code=204)


async def _set(call: Call, wanted: Privileges) -> None:
    row = await call.sprite()
    if row.privileges != wanted:
        await asyncio.to_thread(call.sprites.privileges.set, row, wanted)
