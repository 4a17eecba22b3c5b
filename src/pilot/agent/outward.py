"""The machine's way to its host: what the agent asks pilotd (wire/outward.py). No container of the machine has it.

A stream is opened for each question. While nobody serves the other end (pilotd is being started, the machine was just
restored, there is no pilotd at all) it is tried again until the question's own deadline: nothing was sent meanwhile, so
nothing happens twice. What fails after it was sent is the caller's to judge.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from .. import errors
from ..kernel import fds
from ..server.stream import Stream, dial_unix
from ..wire import dial, faults, outward
from ..wire.operations import Answered, Asked, Operation

OPEN_S = 5.0
PAUSE_S = 0.1
Open = Callable[[int], Awaitable[Stream]]


class Outward:
    """One per machine. `open_port` is how streams are opened: over a socket, until there is a multiplexer (`use`)."""

    def __init__(self, open_port: Open) -> None:
        self._open_port = open_port

    def use(self, open_port: Open) -> None:
        """From now on, streams are opened so."""
        self._open_port = open_port

    async def open(self, timeout_s: float, port: int = outward.PORT_HOST_API) -> Stream:
        """A stream to `port` of the host, which the caller ends. `dial.Refused` when the host has none such,
        `Unavailable` when nobody was there for so long."""
        end_s = time.monotonic() + timeout_s
        while True:
            try:
                return await self._open_port(port)
            except dial.Refused:
                raise
            except errors.PeerError as error:
                if time.monotonic() + PAUSE_S >= end_s:
                    raise faults.Unavailable(f"reach the host: {error}") from error
                await asyncio.sleep(PAUSE_S)

    async def call(
        self,
        operation: Operation[Asked, Answered],
        asked: Asked,
        timeout_s: float,
        *,
        authorization: str | None = None,
        **parameters: str,
    ) -> Answered:
        """Ask, and read the answer; the host's errors are raised as they were meant. `authorization`: a token, for what
        wants one."""
        from ..server import client  # what most machines never need is not loaded by all

        end_s = time.monotonic() + timeout_s
        stream = await self.open(timeout_s)
        left_s = max(0.0, end_s - time.monotonic())
        answer = await client.request(
            stream,
            operation.method,
            operation.target(parameters),
            json=asked,
            headers={} if authorization is None else {"Authorization": authorization},
            timeout_s=left_s,
            idle_s=timeout_s,
        )
        async with answer:
            try:
                return await answer.json(operation.answered)
            except client.Refused as refused:
                raise faults.error_of(refused.status, refused.code, str(refused), refused.hint) from refused


def by_socket(directory: str) -> Open:
    """Over the socket that the host has put into that directory."""

    async def open_port(port: int) -> Stream:
        try:
            with fds.short_path(outward.socket_in(directory)) as path:
                return await dial_unix(path, port, timeout_s=OPEN_S)
        except FileNotFoundError as error:
            raise errors.PeerError(f"{directory}: this machine was given no way to its host") from error

    return open_port
