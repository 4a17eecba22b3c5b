"""Calls on audit logs: of a sprite, and of the organisation; and the key that their heads are signed with."""

from __future__ import annotations

from starlette.responses import JSONResponse, Response

from .... import errors
from ...audit import subjects
from .. import logs
from ..call import Call


async def read_sprite_log(call: Call) -> Response:
    row = await call.sprite()
    return await logs.answer(call.access.auditing, subjects.of_sprite(row.id), call.request, call.hold)


async def read_organisation_log(call: Call) -> Response:
    """Of what is no sprite's and no Machine's: keys, what was made, and what was asked for that is not there."""
    subject = subjects.of_organisation(call.organisation.id)
    return await logs.answer(call.access.auditing, subject, call.request, call.hold)


async def get_key(call: Call) -> Response:
    """For everybody: it is the public half."""
    if call.access.auditing is None:
        raise errors.StateError("this pilotd keeps no audit log")
    signer = call.access.auditing.writer.signer
    return JSONResponse({"algorithm": "Ed25519", "fingerprint": signer.fingerprint, "public_key": signer.public_pem})
