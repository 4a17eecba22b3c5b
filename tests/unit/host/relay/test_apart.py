"""Frames of POST exec are told one by one, whatever brought them together on their way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from pilot.host.relay.apart import apart
from pilot.wire.exec_frames import HTTP_PAUSE_S, MAX_PAYLOAD

FULL = b"\x01" + bytes(MAX_PAYLOAD)
OUT, ERR, EXIT = b"\x01in", b"\x02err\n", b"\x03\x00"


def told(pieces: Sequence[bytes | float | None]) -> list[bytes | float | None]:
    """What the client is sent, and between it how long is waited. A number among `pieces` is time that passes before
    the next one comes."""
    now_s, seen = 0.0, list[bytes | float | None]()

    async def source() -> AsyncIterator[bytes | None]:
        nonlocal now_s
        for piece in pieces:
            if isinstance(piece, float):
                now_s += piece
            else:
                yield piece

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        seen.append(round(seconds, 9))

    async def run() -> None:
        async for piece in apart(source(), clock=lambda: now_s, sleep=sleep):
            seen.append(piece)

    asyncio.run(run())
    return seen


def test_frames_that_came_together_are_sent_apart() -> None:
    assert told([OUT, ERR, EXIT, None]) == [OUT, HTTP_PAUSE_S, ERR, HTTP_PAUSE_S, EXIT, None]


def test_what_has_passed_already_is_not_waited_for() -> None:
    assert told([None, OUT, None, HTTP_PAUSE_S, ERR, None, HTTP_PAUSE_S / 2, EXIT]) == [
        None, OUT, None, ERR, None, HTTP_PAUSE_S / 2, EXIT,
    ]  # fmt: skip


def test_full_frames_follow_each_other_at_once_and_the_last_stands_alone() -> None:
    assert told([FULL, FULL, FULL, OUT, EXIT]) == [FULL, FULL, FULL, HTTP_PAUSE_S, OUT, HTTP_PAUSE_S, EXIT]
