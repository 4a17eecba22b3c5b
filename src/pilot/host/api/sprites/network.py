"""Calls on a sprite's network: what may leave it, and what did."""

from __future__ import annotations

import asyncio

import msgspec
from starlette.responses import JSONResponse, Response

from ..call import Call
from . import bodies


async def get_network_policy(call: Call) -> Response:
    row = await call.sprite()
    return JSONResponse((await asyncio.to_thread(call.sprites.networks.policy, row)).as_json())


async def set_network_policy(call: Call) -> Response:
    """In force when it is answered."""
    wanted = bodies.parse_policy(await bodies.read(call.request, bodies.MAX_POLICY_BYTES))
    await asyncio.to_thread(call.sprites.networks.set_policy, await call.sprite(), wanted)
    return Response(status_code=204)


async def get_private_network(call: Call) -> Response:
    """Our extension: which sprites it may see. Of those, who asks is told the ones within their own reach."""
    network, peers = await asyncio.to_thread(call.sprites.networks.private, await call.sprite())
    told = [peer.sprite for peer in peers if call.reaches(peer.sprite_id)]
    return JSONResponse({"network": network, "peers": told})


async def put_private_network(call: Call) -> Response:
    """In force when it is answered."""
    wanted = await call.body(bodies.PutPrivateNetwork)
    await asyncio.to_thread(call.sprites.networks.join_private, await call.sprite(), wanted.network)
    return await get_private_network(call)


async def get_network(call: Call) -> Response:
    """Our extension: what the sprite's network has let through, and what not."""
    report = await asyncio.to_thread(call.sprites.networks.report, await call.sprite())
    return Response(msgspec.json.encode(report), media_type="application/json")
