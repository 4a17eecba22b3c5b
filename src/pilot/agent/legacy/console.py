"""The machine's console: lines that parsers of the old init's log know, and what the main process writes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Literal

from ...wire.graph import Output
from ..graph.log import Log

Level = Literal["INFO", "WARN", "ERROR"]
_CONSOLE_FD = 2


async def say(text: str, level: Level = "INFO") -> None:
    """A line of ours."""
    await write(f"{level:>5} {text}\n".encode())


async def write(data: bytes) -> None:
    """A console may be slow: nobody else waits for it."""
    await asyncio.to_thread(_write, data)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(_CONSOLE_FD, data) :]


async def _until(over: asyncio.Event) -> None:
    await over.wait()


class Copier:
    """A log onto the console, from `offsets` on.

    `note` is told where we are, after it was written: an agent that dies in between says a piece twice, never not at
    all.
    """

    def __init__(self, log: Log, offsets: Mapping[Output, int], note: Callable[[Mapping[Output, int]], None]) -> None:
        self._log = log
        self._place = log.place(0, dict(offsets))
        self._note = note

    async def follow(self, over: asyncio.Event) -> None:
        """What is there, and what comes; when it is over, what is there then."""
        ending = asyncio.create_task(_until(over), name="end of the console's log")
        try:
            while True:
                change, last = asyncio.ensure_future(asyncio.shield(self._log.changed.next())), over.is_set()
                await self._write_all()
                if last or self._log.closed:
                    return
                await asyncio.wait([change, ending], return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()

    async def _write_all(self) -> None:
        while pieces := self._log.read(self._place):
            for piece in pieces:
                if piece.dropped:
                    await say(f"{piece.dropped} bytes of output are not kept any more", "WARN")
                await write(piece.data)
            self._note(dict(self._place.offsets))
