"""What a client of POST exec is sent, and when."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Mapping
from typing import cast

import pytest

from pilot.agent import exec_stream
from pilot.agent.output import Changed, Cursor
from pilot.agent.session import Session
from pilot.wire.exec_frames import MAX_PAYLOAD, Stream


class Said:
    """What there is of a stream that has ended."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.ended, self.size = True, len(data)

    def read(self, offset: int, limit_bytes: int) -> bytes:
        return self._data[offset : offset + limit_bytes]

    def moved(self) -> None: ...
    def forget(self, cursor: Cursor) -> None: ...


class Ended:
    """A session of which all has been said."""

    meta = types.SimpleNamespace(last_words="")
    exit_code = 0

    def __init__(self, said: Mapping[Stream, bytes]) -> None:
        self.changed = Changed()
        self._said = said

    def attach(self) -> dict[Stream, Cursor]:
        return {stream: Cursor(Said(data), 0) for stream, data in self._said.items()}  # type: ignore[arg-type]

    def detach(self, cursors: Mapping[Stream, Cursor]) -> None: ...
    def touch(self) -> None: ...


def test_only_frames_that_a_client_may_take_for_one_are_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    happened: list[str] = []

    async def sleep(delay_s: float) -> None:
        happened.append("pause" if delay_s else "at once")

    async def body() -> None:
        session = Ended({Stream.STDOUT: bytes(3 * MAX_PAYLOAD), Stream.STDERR: b"short"})
        monkeypatch.setattr(asyncio, "sleep", sleep)
        async for frame in exec_stream.http_body(cast(Session, session)):
            happened.append(f"{frame[0]}: {len(frame) - 1}")

    asyncio.run(body())
    full = f"1: {MAX_PAYLOAD}"
    assert happened == [
        full, "pause", "2: 5", "pause", full, "at once", full, "pause", "3: 1",
    ]  # fmt: skip
