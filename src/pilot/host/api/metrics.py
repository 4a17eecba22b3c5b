"""GET /metrics: what an operator watches, in Prometheus' text format."""

from __future__ import annotations

import asyncio

from starlette.responses import Response

from .call import Call


async def answer(call: Call) -> Response:
    """See `services.metrics`."""
    return Response(await asyncio.to_thread(call.sprites.metrics.text), media_type="text/plain; version=0.0.4")
