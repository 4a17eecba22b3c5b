"""Frames of `POST exec` on their last stretch: each reaches its client as a read of its own.

They have no length (`wire.exec_frames`), so @fly/sprites' execFileHTTP takes what it reads at once for one frame. The
agent leaves time between them, but whatever lies between it and us may bring them together again: a virtual machine's
port, or processes that wait for a processor. A client that waits for one itself may read two frames at once all the
same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from ...wire import exec_frames


async def apart(
    pieces: AsyncIterator[bytes | None],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> AsyncIterator[bytes | None]:
    """`pieces` (a frame each; None: what follows is waited for), with HTTP_PAUSE_S before and after a short one."""
    before, sent_s = b"", 0.0
    async for piece in pieces:
        if piece is not None:
            if before and (wait_s := sent_s + exec_frames.http_pause_s(before, piece) - clock()) > 0:
                await sleep(wait_s)
            before, sent_s = piece, clock()
        yield piece
