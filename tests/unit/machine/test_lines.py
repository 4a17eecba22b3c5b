"""Answers in lines of a machine that says something else."""

from __future__ import annotations

import asyncio

import pytest

from pilot import errors
from pilot.machine import lines
from pilot.wire import operations
from tests.support import broken_machine

HEAD = b"HTTP/1.1 %d Said\r\nContent-Length: %d\r\n\r\n%s"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"seq": 1}\n'),
        (200, b'{"seq": 1, "time": "", "type": "of.another.day"}\n'),
        (200, b"[" * 100_000 + b"\n"),
        (200, b"\xff\n"),
        (503, b"no document"),
    ],
)
def test_what_is_no_such_value_is_the_machines_fault(status: int, body: bytes) -> None:
    async def follow() -> None:
        async with broken_machine.answering(HEAD % (status, len(body), body)) as path:
            async for _ in lines.follow(path, operations.WATCH_EVENTS):
                pass

    with pytest.raises(errors.PeerError, match=f"/v1/events: answer {status}"):
        asyncio.run(follow())
