"""An audit log as an answer: its lines as they were written, then the signed head; or what is added, as it comes.

?since=N        only what follows record N
?follow=true    no head: it goes on, with an empty line now and then
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from ... import errors
from ...wire import faults
from ..audit import reading
from ..audit.writer import Part, Writer
from ..relay.auditing import Auditing
from ..relay.crowd import Kind

BEAT_S = 10.0
_TYPE = "application/x-ndjson"


async def answer(auditing: Auditing | None, subject: str, request: Request, hold: Callable[[Kind], None]) -> Response:
    """`InvalidRequest`, `StateError` where nothing is written down."""
    if auditing is None:
        raise errors.StateError("this pilotd keeps no audit log")
    since = _number(request.query_params.get("since"))
    hold(Kind.WATCH)  # also of one that ends: a slow reader holds a file's content in memory
    if request.query_params.get("follow") in ("true", "1"):
        return StreamingResponse(_follow(auditing.writer, subject, since), media_type=_TYPE)
    part = await asyncio.to_thread(auditing.writer.part, subject, since)
    return StreamingResponse(_pieces(reading.pieces(part, since)), media_type=_TYPE)


async def _pieces(found: Iterator[bytes]) -> AsyncIterator[bytes]:
    while (piece := await asyncio.to_thread(next, found, None)) is not None:
        yield piece


async def _follow(writer: Writer, subject: str, since: int) -> AsyncIterator[bytes]:
    loop, told = asyncio.get_running_loop(), asyncio.Event()

    def tell() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody follows any more
            loop.call_soon_threadsafe(told.set)

    with writer.following(tell):
        while True:
            told.clear()
            part: Part = await asyncio.to_thread(writer.part, subject, since)
            if part.last > since:
                async for piece in _pieces(reading.pieces(part, since)):
                    if piece != part.head:
                        yield piece
                since = part.last
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    await told.wait()
                    continue
            yield b"\n"


def _number(text: str | None) -> int:
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise faults.InvalidRequest(f"since: {text[:40]!r} is no number of a record")
    return int(text)
