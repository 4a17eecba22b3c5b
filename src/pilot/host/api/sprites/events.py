"""GET /v1/events: what happens to the organisation's sprites, as server-sent events or NDJSON.

    id: 42                                                          {"id": 42, "type": "sprite.warm", "time": …,
    event: sprite.warm                                               "sprite": {"id", "name"}, "detail": {…}}
    data: {"id": 42, "type": "sprite.warm", …}

`Last-Event-ID` (or `?after=`) is the last one that a client has seen; `?after=0` is from the beginning of what is kept.
What is kept no more is told first: `{"type": "gap", "first", "last"}`. Heartbeats are comments, or `{"type":
"heartbeat", "id"}`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable

from starlette.responses import Response, StreamingResponse

from ....wire import faults
from ...relay.crowd import Kind
from ...services.feed import Beat, Gap
from ...services.told import Told, document
from ..call import Call


async def follow_events(call: Call) -> Response:
    after = _number(call.request.headers.get("last-event-id") or call.request.query_params.get("after"))
    feed = call.sprites.feed(call.organisation.id, call.request.query_params.get("sprite"), call.reaches)
    is_stream = "text/event-stream" in call.request.headers.get("accept", "")
    media_type, render = ("text/event-stream", sse) if is_stream else ("application/x-ndjson", ndjson)
    headers = {"cache-control": "no-store"}
    if call.request.method == "HEAD":
        return Response(headers=headers, media_type=media_type)
    call.hold(Kind.WATCH)
    return StreamingResponse(_lines(feed.after(after), render), headers=headers, media_type=media_type)


async def _lines(told: AsyncIterator[Told], render: Callable[[Told], bytes]) -> AsyncIterator[bytes]:
    yield b""  # the answer's head, at once: whoever follows knows that it does before anything happens
    async for each in told:
        yield render(each)


def _number(text: str | None) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise faults.InvalidRequest(f"after: {text[:40]!r} is no number of an event")
    return int(text)


def ndjson(told: Told) -> bytes:
    return json.dumps(document(told)).encode() + b"\n"


def sse(told: Told) -> bytes:
    """A heartbeat moves the id too: who comes again asks for what follows it."""
    if isinstance(told, Beat):
        return b"id: %d\n: heartbeat\n\n" % told.seq
    body = document(told)
    id = told.last if isinstance(told, Gap) else told.seq
    return f"id: {id}\nevent: {body['type']}\ndata: {json.dumps(body)}\n\n".encode()
