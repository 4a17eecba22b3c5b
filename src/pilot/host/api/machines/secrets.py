"""Calls on secrets of an app. No answer has a value, whatever `show_secrets` says."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from . import bodies, shapes
from .call import Call


async def list_secrets(call: Call) -> Response:
    rows = await asyncio.to_thread(call.machines.secrets.every, await call.app())
    return JSONResponse({"secrets": [shapes.secret(row) for row in rows]})


async def get_secret(call: Call) -> Response:
    row = await asyncio.to_thread(call.machines.secrets.find, await call.app(), call.parameters["secret"])
    return JSONResponse(shapes.secret(row))


async def set_secret(call: Call) -> Response:
    body, name, app = await call.body(bodies.SetSecret), call.parameters["secret"], await call.app()
    version = await asyncio.to_thread(call.machines.secrets.change, app, {name: body.value})
    row = await asyncio.to_thread(call.machines.secrets.find, app, name)
    return JSONResponse({**shapes.secret(row), "version": version}, 201)


async def update_secrets(call: Call) -> Response:
    """Some at once; null takes one away."""
    body, app = await call.body(bodies.Secrets), await call.app()
    version = await asyncio.to_thread(call.machines.secrets.change, app, body.values)
    rows = await asyncio.to_thread(call.machines.secrets.every, app)
    return JSONResponse({"secrets": [shapes.secret(row) for row in rows], "version": version})


async def delete_secret(call: Call) -> Response:
    name, app = call.parameters["secret"], await call.app()
    await asyncio.to_thread(call.machines.secrets.find, app, name)
    version = await asyncio.to_thread(call.machines.secrets.change, app, {name: None})
    return JSONResponse({"version": version})
