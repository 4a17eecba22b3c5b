"""Calls on the organisation's tokens: plain bearer keys, minted, listed and revoked. A secret is told once."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from .... import errors
from ..call import Call
from . import bodies, shapes


async def create_token(call: Call) -> Response:
    """What a token without all permissions made could do more than it: only one that may everything makes another."""
    wanted = await call.body(bodies.CreateToken)
    assert call.principal is not None
    if call.principal.caveats:
        raise errors.StateError("a token that is restricted makes no other: those have no restrictions yet")
    token = await asyncio.to_thread(call.sprites.tokens.issue, call.organisation, wanted.description or "")
    return JSONResponse({"token": token, "id": token.split("/")[2]}, 201)


async def create_token_of_organisation(call: Call) -> Response:
    """As upstream has it."""
    if call.parameters["organization"] != call.organisation.slug:
        raise errors.NotFound("organization not found")
    return await create_token(call)


async def list_tokens(call: Call) -> Response:
    found = await asyncio.to_thread(call.sprites.tokens.every, call.organisation)
    return JSONResponse({"tokens": [shapes.token(row) for row in found]})


async def revoke_token(call: Call) -> Response:
    """It may be believed for a few seconds more (`identity.principal`)."""
    await asyncio.to_thread(call.sprites.tokens.revoke, call.organisation, call.parameters["token"])
    return Response(status_code=204)
