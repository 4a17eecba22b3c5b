"""Calls on checkpoints as images."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

from starlette.responses import Response, StreamingResponse

from ...services.shipping import Shipped
from ...shipping import rules
from ..call import Call
from ..streams import Deadline

MOST_TOLD = 40
_MOST_CHARACTERS = 200


async def get_image(call: Call) -> Response:
    """The whole of it is there before the answer begins, so that its length is told."""
    row, query = await call.sprite(), call.request.query_params
    wanted = rules.chosen(query.getlist("leave_out"), query.getlist("keep"))
    made = await asyncio.to_thread(call.sprites.image, row, call.parameters["checkpoint"], wanted)
    headers = {
        "content-length": str(made.archive.size),
        "docker-content-digest": made.archive.digest,
        "sprite-shipped": json.dumps(_told(made)),  # ASCII
    }
    return StreamingResponse(_pieces(made), media_type="application/x-tar", headers=headers)


def _told(made: Shipped) -> dict[str, object]:
    report = made.report
    return {
        "digest": made.archive.digest,
        "entries": report.entries,
        "whiteouts": report.whiteouts,
        "left_out_count": report.left_out_count,
        "left_out": [{"kind": each.kind, "path": each.path[:_MOST_CHARACTERS]} for each in report.left_out[:MOST_TOLD]],
        "variables_left_out": list(made.variables[:MOST_TOLD]),
    }


async def _pieces(made: Shipped) -> AsyncIterator[bytes]:
    pieces, deadline = made.archive.pieces(), Deadline(made.archive.size)
    try:
        while (piece := await asyncio.to_thread(_next, pieces)) is not None:
            yield piece
            deadline.check()
    finally:
        made.archive.close()


def _next(pieces: Iterator[bytes]) -> bytes | None:
    return next(pieces, None)
