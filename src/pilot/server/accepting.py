"""Connections of a listening socket, so many at a time: the rest waits in the backlog, which is whoever asks's own."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine

_PAUSE_S = 0.1
_log = logging.getLogger(__name__)


async def accept(
    listening: socket.socket, most: int, serve: Callable[[socket.socket], Coroutine[None, None, None]]
) -> None:
    """Until cancelled; then what it serves ends, too. Takes `listening` over; `serve` each connection."""
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(most)
    serving: set[asyncio.Task[None]] = set()
    listening.setblocking(False)
    try:
        with listening:
            while True:
                await room.acquire()
                try:
                    connection, _ = await loop.sock_accept(listening)
                except OSError as error:
                    # EMFILE and the like: those that are there may end.
                    _log.error("accept: %s", error.strerror)
                    room.release()
                    await asyncio.sleep(_PAUSE_S)
                    continue
                task = asyncio.create_task(serve(connection), name="connection")
                serving.add(task)
                task.add_done_callback(serving.discard)
                task.add_done_callback(lambda _: room.release())
    finally:
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
