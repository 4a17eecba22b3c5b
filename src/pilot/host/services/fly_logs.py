"""What the containers of a Machine have written: asked of its agent, whose record of each is bounded; of one that is
stopped, the latest of it (`operations.fly_logs`).

without `follow`   of all of them, in the order in which it was written
with `follow`      what is kept of each, then what comes, until the Machine stops; `None` now and then: still here
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence

from ... import errors
from ...machine import lines
from ...wire import graph, operations, timestamps
from ..operations.fly_logs import Line as Line

BEAT_S = 10.0
# One that does not run yet is asked for again.
RETRY_S = 0.5
_AHEAD = 64  # lines that are read ahead of whoever reads them


@dataclasses.dataclass(frozen=True)
class Wanted:
    """`since_s`: only what is not older, in seconds of Unix time."""

    containers: Sequence[str]
    since_s: float | None = None
    follow: bool = False

    @property
    def query(self) -> list[tuple[str, str]]:
        found = [("follow", "true")] if self.follow else []
        return found if self.since_s is None else [*found, ("since", f"{self.since_s:f}")]

    def has(self, line: Line) -> bool:
        """Of what was kept."""
        since = timestamps.of_us(int((self.since_s or 0.0) * 1e6))
        return line.container in self.containers and line.piece.time >= since


Read = Callable[[str], AsyncIterator[graph.LogPiece]]


def reading(dial_path: str, wanted: Wanted) -> Read:
    """Of that machine's agent, by container."""
    return lambda name: lines.follow(dial_path, operations.CONTAINER_LOGS, query=wanted.query, name=name)


async def kept(read: Read, wanted: Wanted) -> AsyncGenerator[Line, None]:
    """The oldest first. `PeerError` when the machine breaks off."""
    async with contextlib.AsyncExitStack() as stack:
        sources = {}
        for name in wanted.containers:
            sources[name] = await stack.enter_async_context(contextlib.aclosing(_lines(read, name)))
        heads = {name: line for name, source in sources.items() if (line := await anext(source, None)) is not None}
        while heads:
            name = min(heads, key=lambda each: heads[each].piece.time)
            yield heads.pop(name)
            line = await anext(sources[name], None)
            if line is not None:
                heads[name] = line


async def followed(read: Read, wanted: Wanted) -> AsyncGenerator[Line | None, None]:
    """Until all have ended: with the Machine, as long as it has any that may come."""
    queue: asyncio.Queue[Line | None] = asyncio.Queue(_AHEAD)
    tasks = [asyncio.create_task(_follow(read, name, queue), name=f"logs of {name}") for name in wanted.containers]
    over = asyncio.ensure_future(asyncio.wait(tasks))
    over.add_done_callback(lambda _: _wake(queue))
    try:
        while not over.done() or not queue.empty():
            line = None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEAT_S):
                    line = await queue.get()
            if line is not None or not over.done():
                yield line
        for task in tasks:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        over.cancel()
        await asyncio.gather(over, *tasks, return_exceptions=True)


def _wake(queue: asyncio.Queue[Line | None]) -> None:
    with contextlib.suppress(asyncio.QueueFull):  # then nobody waits for it
        queue.put_nowait(None)


async def _follow(read: Read, name: str, queue: asyncio.Queue[Line | None]) -> None:
    """A machine that is gone has ended it; a container that there is not yet may come."""
    with contextlib.suppress(errors.PeerError):
        while True:
            try:
                async with contextlib.aclosing(_pieces(read, name)) as pieces:
                    async for piece in pieces:
                        await queue.put(Line(container=name, piece=piece))
            except errors.NotFound:
                await asyncio.sleep(RETRY_S)
            else:
                return


async def _lines(read: Read, name: str) -> AsyncGenerator[Line, None]:
    """Of one that there is not: none."""
    with contextlib.suppress(errors.NotFound):
        async with contextlib.aclosing(_pieces(read, name)) as pieces:
            async for piece in pieces:
                yield Line(container=name, piece=piece)


async def _pieces(read: Read, name: str) -> AsyncGenerator[graph.LogPiece, None]:
    async for piece in read(name):
        yield piece
