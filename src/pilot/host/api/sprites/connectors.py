"""Calls on a sprite's connectors: credentials that it uses and never has. No answer says a secret."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import JSONResponse, Response

from ....wire import timestamps
from ...services.connectors import Wanted
from ...store.connectors import Stored
from ..call import Call
from . import bodies


async def list_connectors(call: Call) -> Response:
    found = await asyncio.to_thread(call.sprites.connectors.every, await call.sprite())
    return JSONResponse({"connectors": [shape(each) for each in found]})


async def get_connector(call: Call) -> Response:
    """With what was last asked with it."""
    row, name = await call.sprite(), call.parameters["connector"]
    found = await asyncio.to_thread(call.sprites.connectors.find, row, name)
    uses = await asyncio.to_thread(call.sprites.connectors.uses, row, name)
    return JSONResponse(shape(found) | {"uses": msgspec.to_builtins(uses)})


async def put_connector(call: Call) -> Response:
    """In force when it is answered."""
    body = await call.body(bodies.PutConnector)
    wanted = Wanted(body.hosts, body.attach, body.secret)
    row, name = await call.sprite(), call.parameters["connector"]
    return JSONResponse(shape(await asyncio.to_thread(call.sprites.connectors.put, row, name, wanted)))


async def delete_connector(call: Call) -> Response:
    """Its connections are cut when it is answered."""
    await asyncio.to_thread(call.sprites.connectors.delete, await call.sprite(), call.parameters["connector"])
    return Response(status_code=204)


def shape(row: Stored) -> dict[str, object]:
    """Without its secret."""
    return {
        "name": row.connector.name,
        "hosts": list(row.connector.hosts),
        "attach": msgspec.to_builtins(row.connector.attach),
        "created_at": timestamps.of_us(row.created_us),
        "updated_at": timestamps.of_us(row.updated_us),
    }
