"""Waiting for a descriptor on the running loop."""

from __future__ import annotations

import asyncio


async def readable(fd: int) -> None:
    """Wait until `fd` is readable; the loop watches it meanwhile."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(fd, _resolve, ready)
    try:
        await ready
    finally:
        loop.remove_reader(fd)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
