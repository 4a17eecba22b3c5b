"""Our extension: calls on connectors of an app, credentials that its Machines use and never have. No answer says a
secret."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import JSONResponse, Response

from ...services.connectors import Wanted
from ..sprites import bodies, connectors
from .call import Call


async def list_connectors(call: Call) -> Response:
    found = await asyncio.to_thread(call.machines.connectors.every, await call.app())
    return JSONResponse({"connectors": [connectors.shape(each) for each in found]})


async def get_connector(call: Call) -> Response:
    """With what was last asked with it."""
    app, name = await call.app(), call.parameters["connector"]
    found = await asyncio.to_thread(call.machines.connectors.find, app, name)
    uses = await asyncio.to_thread(call.machines.connectors.uses, app, name)
    return JSONResponse(connectors.shape(found) | {"uses": msgspec.to_builtins(uses)})


async def put_connector(call: Call) -> Response:
    """In force when it is answered."""
    body, app = await call.body(bodies.PutConnector), await call.app()
    wanted = Wanted(body.hosts, body.attach, body.secret)
    made = await asyncio.to_thread(call.machines.connectors.put, app, call.parameters["connector"], wanted)
    return JSONResponse(connectors.shape(made))


async def delete_connector(call: Call) -> Response:
    """Its connections are cut when it is answered."""
    await asyncio.to_thread(call.machines.connectors.delete, await call.app(), call.parameters["connector"])
    return Response(status_code=204)
