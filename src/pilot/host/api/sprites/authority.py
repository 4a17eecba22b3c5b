"""Calls about macaroons: whether one holds, whether it permits something, and what the one that was shown is.

Whoever asks learns of tokens of their own organisation alone; any other is as one that was never made.
"""

from __future__ import annotations

import asyncio
import base64
import time

from starlette.responses import JSONResponse, Response

from .... import errors
from ....wire import faults
from ....wire.macaroons import access, document, own
from ....wire.macaroons.access import Refused
from ...identity.authority import Verified
from ...identity.carried import number
from ...identity.principal import Within
from ..call import Call
from . import bodies
from .shapes import optional

KEYS_KEPT_S = 300


async def get_current(call: Call) -> Response:
    """What has been shown. `restricted_to_machine` is of tokens of machines."""
    who, organisation = call.principal, call.organisation
    assert who is not None
    scopes = [each.scope for each in who.caveats if isinstance(each, Within)]
    shown = {
        "token_id": who.key,
        "organization": organisation.id,
        "org_slug": organisation.slug,
        "apps": [scope.name for scope in scopes if scope.kind.value == "app"],
        "sprites": [scope.name for scope in scopes if scope.kind.value == "sprite"],
        "expires_at": optional(who.expires_us),
        "permissions": sorted(each.value for each in who.granted()),
    }
    return JSONResponse({"tokens": [shown]})


async def discover_issuer(call: Call) -> Response:
    """For everybody: who verifies a machine's token has no key of ours. No name is told from one that is not there."""
    return JSONResponse(call.access.issuer.discovery(call.parameters["organization"]))


async def list_issuer_keys(call: Call) -> Response:
    """Likewise; they may be kept for a while."""
    keys = await asyncio.to_thread(call.access.issuer.signer.published)
    return JSONResponse({"keys": keys}, headers={"cache-control": f"public, max-age={KEYS_KEPT_S}"})


async def share_third_party_key(call: Call) -> Response:
    """What a caveat is made with that demands a discharge of us."""
    return JSONResponse(_third_party(call))


async def rotate_third_party_key(call: Call) -> Response:
    """Another one; what demands the one before is discharged no more."""
    await asyncio.to_thread(call.access.authority.third_party.rotate, call.organisation)
    return JSONResponse(_third_party(call), 201)


def _third_party(call: Call) -> dict[str, str]:
    key = call.access.authority.third_party.key(call.organisation)
    return {"location": call.access.issuer.of(call.organisation.slug), "key": base64.b64encode(key).decode()}


async def discharge(call: Call) -> Response:
    """For whoever shows a key of the organisation. `InvalidRequest`, `PermissionDenied`."""
    organisation = call.organisation
    if call.parameters["organization"] != organisation.slug:
        raise errors.NotFound("organization not found")
    wanted = await call.body(bodies.Discharge)
    try:
        ticket = base64.b64decode(wanted.ticket, validate=True)
    except ValueError as error:
        raise faults.InvalidRequest("ticket: is no base64") from error
    location = call.access.issuer.of(organisation.slug)
    return JSONResponse({"discharge": call.access.authority.third_party.discharge(organisation, location, ticket)}, 201)


async def authenticate(call: Call) -> Response:
    """It holds, whatever it is good for. `InvalidRequest`."""
    wanted = await call.body(bodies.ShownToken)
    return JSONResponse([_shape(await _verified(call, wanted.header), wanted.header)])


async def authorize(call: Call) -> Response:
    """It holds, and permits that. `InvalidRequest`, `PermissionDenied`."""
    wanted = await call.body(bodies.AuthorizeToken)
    found = await _verified(call, wanted.header)
    asked = await _access(call, wanted.access)
    try:
        asked.check()
        for caveat in found.caveats:
            caveat.prohibits(asked)
    except Refused as error:
        raise faults.PermissionDenied(str(error)) from error
    said = {key: value for key, value in bodies.said(wanted.access).items() if value is not None}
    return JSONResponse({"access": said, "verified_token": _shape(found, wanted.header)})


async def _verified(call: Call, shown: str) -> Verified:
    found = await asyncio.to_thread(call.access.authority.verify, shown)
    now_us = time.time_ns() // 1000
    is_over = found is not None and found.expires_us is not None and found.expires_us <= now_us
    if found is None or is_over or found.known.organisation.id != call.organisation.id:
        raise faults.InvalidRequest("header: no token in it is valid")
    return found


async def _access(call: Call, wanted: bodies.WantedAccess) -> own.HostAccess:
    """`NotFound` for an app or a sprite that is not there."""
    organisation, named = call.organisation, call.sprites.tokens.scope
    if wanted.org_slug not in (None, organisation.slug):
        raise faults.PermissionDenied("organisation: not this one")
    app = sprite = None
    if wanted.app_name is not None:
        app = (await asyncio.to_thread(named, organisation, app=wanted.app_name)).id
    if wanted.sprite is not None:
        sprite = (await asyncio.to_thread(named, organisation, sprite=wanted.sprite)).id
    action = access.parse_action(wanted.action) | own.action_of(wanted.permission)
    return own.HostAccess(
        action,
        time.time(),
        organisation=number(organisation.id),
        app=None if app is None else number(app),
        app_feature=wanted.app_feature,
        feature=wanted.org_feature,
        volume=wanted.volume_id,
        machine=wanted.machine_id,
        machine_feature=wanted.machine_feature,
        mutation=wanted.mutation,
        command=wanted.command,
        storage_object=wanted.storage_object,
        source_machine=wanted.source_machine,
        permission=wanted.permission,
        sprite=sprite,
    )


def _shape(found: Verified, shown: str) -> dict[str, object]:
    """Bytes are arrays of numbers, as the Machines API has them."""
    nonce = found.macaroon.nonce
    return {
        "header": shown,
        "nonce": {"kid": list(nonce.key_id), "rnd": list(nonce.random), "proof": bool(nonce.proof)},
        "caveats": {"caveats": document.to_document(found.caveats)},
        "permission_token": list(found.macaroon.encode()),
    }
