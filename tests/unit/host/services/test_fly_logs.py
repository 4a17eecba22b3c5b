"""What the containers of a Machine have written, of several as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from pilot import errors
from pilot.host.services import fly_logs
from pilot.host.services.fly_logs import Line, Wanted
from pilot.wire.graph import LogPiece


def _piece(second: int, text: str = "x") -> LogPiece:
    return LogPiece(time=f"2026-11-29T00:00:{second:02}.000000Z", stream="stdout", offset=0, text=text)


class Machine:
    """`pieces` by container; what is read of one that is `late` is refused so often."""

    def __init__(self, **pieces: list[int]) -> None:
        self.pieces = pieces
        self.late: dict[str, int] = {}
        self.ends = asyncio.Event()

    async def read(self, name: str) -> AsyncIterator[LogPiece]:
        if self.late.get(name, 0) > 0:
            self.late[name] -= 1
            raise errors.NotFound("not yet")
        for second in self.pieces[name]:
            yield _piece(second, name)


def _names(lines: list[Line | None]) -> list[str]:
    return [f"{line.container}{line.piece.time[17:19]}" for line in lines if line is not None]


def test_of_several_in_the_order_in_which_it_was_written() -> None:
    async def run() -> list[Line | None]:
        machine = Machine(a=[1, 4, 5], b=[2, 3, 6], c=[], d=[0])
        machine.late["d"] = 1  # there is no such container: it has written nothing
        return [line async for line in fly_logs.kept(machine.read, Wanted(("a", "b", "c", "d")))]

    assert _names(asyncio.run(run())) == ["a01", "b02", "b03", "a04", "a05", "b06"]


def test_followed_until_all_have_ended_and_those_that_come_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fly_logs, "RETRY_S", 0.01)
    monkeypatch.setattr(fly_logs, "BEAT_S", 0.02)

    async def run() -> list[Line | None]:
        machine = Machine(a=list(range(30)), b=[1])
        machine.late["b"] = 10
        found = [line async for line in fly_logs.followed(machine.read, Wanted(("a", "b"), follow=True))]
        assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("logs of")]) == 0
        return found

    found = asyncio.run(run())
    assert sorted(_names(found)) == [*(f"a{n:02}" for n in range(30)), "b01"]
    assert None in found  # said meanwhile: still here


def test_who_reads_no_more_leaves_nothing_behind() -> None:
    async def run() -> None:
        machine = Machine(a=list(range(60)) * 10, b=list(range(60)) * 10)
        following = fly_logs.followed(machine.read, Wanted(("a", "b"), follow=True))
        await anext(following)
        await following.aclose()
        assert len([task for task in asyncio.all_tasks() if task.get_name().startswith("logs of")]) == 0

    asyncio.run(run())


def test_what_is_kept_is_told_as_far_as_it_is_asked_for() -> None:
    line = Line(container="a", piece=_piece(10))
    at_s = 1795910410.0  # 2026-11-29T00:00:10Z
    assert Wanted(("a",)).has(line)
    assert not Wanted(("b",)).has(line)
    assert Wanted(("a",), since_s=at_s).has(line)
    assert not Wanted(("a",), since_s=at_s + 1).has(line)
