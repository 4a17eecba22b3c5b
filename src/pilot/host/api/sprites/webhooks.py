"""Calls on webhooks: where an organisation is told what happens."""

from __future__ import annotations

import asyncio

from starlette.responses import JSONResponse, Response

from ....wire import timestamps
from ...services.webhooks.book import Wanted
from ...store.webhooks import Webhook
from ..call import Call
from . import bodies
from .shapes import optional


async def create_webhook(call: Call) -> Response:
    body = await call.body(bodies.CreateWebhook)
    wanted = Wanted(body.url, body.events, body.sprite, body.description)
    made, secret = await asyncio.to_thread(call.sprites.webhooks.create, call.organisation.id, wanted)
    return JSONResponse(shape(made) | {"secret": secret}, 201)


async def list_webhooks(call: Call) -> Response:
    found = await asyncio.to_thread(call.sprites.webhooks.every, call.organisation.id)
    return JSONResponse({"webhooks": [shape(each) for each in found]})


async def get_webhook(call: Call) -> Response:
    return JSONResponse(shape(await _named(call)))


async def change_webhook(call: Call) -> Response:
    enabled = (await call.body(bodies.ChangeWebhook)).enabled
    organisation, id = call.organisation.id, call.parameters["webhook"]
    changed = await asyncio.to_thread(call.sprites.webhooks.set_enabled, organisation, id, enabled=enabled)
    return JSONResponse(shape(changed))


async def delete_webhook(call: Call) -> Response:
    await asyncio.to_thread(call.sprites.webhooks.delete, call.organisation.id, call.parameters["webhook"])
    return Response(status_code=204)


async def ping_webhook(call: Call) -> Response:
    """A message that says nothing, now and once."""
    error = await call.sprites.webhooks.ping(await _named(call))
    return JSONResponse({"delivered": error is None, "error": error})


async def _named(call: Call) -> Webhook:
    return await asyncio.to_thread(call.sprites.webhooks.find, call.organisation.id, call.parameters["webhook"])


def shape(row: Webhook) -> dict[str, object]:
    """`failing`: the next event has not been taken yet; it is tried again `next_at`."""
    failing = {
        "since": optional(row.failing_us),
        "attempts": row.attempts,
        "error": row.error,
        "next_at": timestamps.of_us(row.next_us) if row.disabled is None else None,
    }
    return {
        "id": row.id,
        "url": row.url,
        "events": list(row.kinds),
        "sprite": row.sprite,
        "description": row.description,
        "created_at": timestamps.of_us(row.created_us),
        "enabled": row.disabled is None,
        "disabled_reason": row.disabled,
        "told_to": row.seq,
        "last_delivered_at": optional(row.delivered_us),
        "failing": failing if row.attempts else None,
    }
