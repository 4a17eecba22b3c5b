"""Calls on what a sprite may use of its host, as the official clients name it: the same value as `config.ram_mb`."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from ....wire import faults
from ...services import turns
from ...store.sprites import ConfigChanges
from ..call import Call
from ..streams import OPERATION_TIMEOUT_S
from . import bodies, shapes


async def get_resources_policy(call: Call) -> Response:
    return JSONResponse(shapes.resources_policy(call.sprites.size(await call.sprite()).memory_bytes))


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
    await resize(call, ConfigChanges(ram_mb=ram_mb))


async def resize(call: Call, changes: ConfigChanges) -> None:
    """Returns when the sprite has that size, or is going to have it at its next start. `Conflict`: more is in use."""
    row = await call.sprite()
    if row.config.merged(changes) != row.config:
        await turns.follow(lambda: call.sprites.resize(row, changes), call.sprites.under_way, OPERATION_TIMEOUT_S)
