"""Calls on the organisation's keys: plain bearer keys, made, listed and revoked. A secret is told once."""

from __future__ import annotations

import asyncio
import time

from starlette.responses import JSONResponse, Response

from .... import errors
from ....wire import faults
from ...identity.principal import Principal
from ...store.tokens import Wanted
from ..call import Call
from . import bodies, shapes


async def create_token(call: Call) -> Response:
    """Nobody makes a key that could do more than their own, or for longer: who is restricted makes none."""
    body = await call.body(bodies.CreateToken)
    assert call.principal is not None
    if call.principal.caveats:
        raise errors.StateError("a token that is restricted makes no other")
    scope = await asyncio.to_thread(call.sprites.tokens.scope, call.organisation, app=body.app, sprite=body.sprite)
    expires_us = _expiry_us(call.principal, body.expires_in_s)
    wanted = Wanted(body.name or "", body.description or "", body.role, scope, expires_us)
    if body.form == "macaroon":
        token, id = await asyncio.to_thread(call.access.authority.mint, call.organisation, wanted)
    else:
        token = await asyncio.to_thread(call.sprites.tokens.issue, call.organisation, wanted)
        id = token.split("/")[2]
    return JSONResponse({"token": token, "id": id}, 201)


def _expiry_us(maker: Principal, expires_in_s: float | None) -> int | None:
    """`PermissionDenied` beyond the maker's own; what is not said ends with that."""
    if expires_in_s is None:
        return maker.expires_us
    wanted_us = time.time_ns() // 1000 + int(expires_in_s * 1e6)
    if maker.expires_us is not None and wanted_us > maker.expires_us:
        raise faults.PermissionDenied("a token makes none that lasts longer than itself")
    return wanted_us


async def create_token_of_organisation(call: Call) -> Response:
    """As upstream has it."""
    if call.parameters["organization"] != call.organisation.slug:
        raise errors.NotFound("organization not found")
    return await create_token(call)


async def list_tokens(call: Call) -> Response:
    found = await asyncio.to_thread(call.sprites.tokens.every, call.organisation)
    uses = call.access.authenticator.uses()
    return JSONResponse({"tokens": [shapes.token(row, uses.get(row.id)) for row in found]})


async def revoke_token(call: Call) -> Response:
    """By id or name. It opens nothing from here on, and what it has opened is cut off."""
    organisation, named = call.organisation, call.parameters["token"]
    await call.access.authenticator.revoke(lambda: call.sprites.tokens.revoke(organisation, named))
    return Response(status_code=204)
