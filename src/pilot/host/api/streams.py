"""NDJSON answers that tell of a run while it goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from starlette.responses import Response, StreamingResponse

from ... import errors
from ...wire import timestamps
from ..fsm.engine import Ended
from ..fsm.outcome import Outcome
from ..services import ending
from .sprites import shapes

OPERATION_TIMEOUT_S = 290.0
# How long an answer that is held for its reader may take.
ANSWER_S, ANSWER_BYTES_PER_S = 120.0, 1 << 20
STREAM_NOTE_S = 10.0


def stream(ended: Ended, begin: str, end: Callable[[Outcome], str]) -> Response:
    async def finish() -> str:
        return end(await ending.finish(ended, OPERATION_TIMEOUT_S))

    return tell(finish(), begin)


def tell(work: Awaitable[str], begin: str) -> Response:
    """`work` returns what the last line says. It goes on when nobody reads any more."""
    return StreamingResponse(_lines(work, begin), media_type="application/x-ndjson")


async def _lines(work: Awaitable[str], begin: str) -> AsyncIterator[bytes]:
    """`info`, a blank line now and then (clients have read timeouts), then `complete` or `error`."""
    waiting = asyncio.ensure_future(work)
    yield json_line(shapes.line("info", begin, time.time_ns() // 1000))
    try:
        while not (await asyncio.wait({waiting}, timeout=STREAM_NOTE_S))[0]:
            yield b"\n"
        kind, text = "complete", waiting.result()
    except errors.PilotError as error:
        kind, text = "error", str(error)
    yield json_line(shapes.line(kind, text, time.time_ns() // 1000))


class Deadline:
    """By when the last of so many bytes is to be read: what they are read from is room that others want."""

    def __init__(self, size_bytes: int, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._end_s = now_s() + ANSWER_S + size_bytes / ANSWER_BYTES_PER_S

    def check(self) -> None:
        """`HostError`, which breaks the answer off."""
        if self._now_s() > self._end_s:
            raise errors.HostError("an answer is read too slowly: it is broken off")


def json_line(document: Mapping[str, object]) -> bytes:
    return json.dumps(document).encode() + b"\n"


def now() -> str:
    return timestamps.now()
