"""Work that waits has threads of its own, and nobody's takes all of them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable

import pytest

from pilot.host.services.threads import Threads
from pilot.wire import faults

WAIT_S = 60


class Held:
    """Work that lasts until the test lets it go."""

    def __init__(self) -> None:
        self.entered, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        assert self.go.wait(WAIT_S)
        return "done"

    async def begin(self, run: Callable[..., Awaitable[str]], who: str) -> asyncio.Task[str]:
        """It is at work."""
        task = asyncio.ensure_future(run(who, self))
        assert await asyncio.to_thread(self.entered.wait, WAIT_S)
        assert isinstance(task, asyncio.Task)
        return task


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(2 * WAIT_S):
            await test()

    asyncio.run(bounded())


def test_one_waits_for_its_turn_and_another_one_does_not() -> None:
    async def test() -> None:
        threads, first, second = Threads("t", most=2, most_of_one=1), Held(), Held()
        begun = await first.begin(threads.in_turn, "a")
        waiting = asyncio.ensure_future(threads.in_turn("a", second))
        assert await threads.in_turn("b", lambda: "other") == "other"
        assert not second.entered.is_set()
        second.go.set()
        first.go.set()
        assert [await begun, await waiting] == ["done", "done"]

    run(test)


def test_who_would_have_to_wait_is_refused() -> None:
    async def test() -> None:
        threads, first, second = Threads("t", most=2, most_of_one=1), Held(), Held()
        begun = await first.begin(threads.at_once, "a")
        with pytest.raises(faults.Exhausted, match="t: 1 of the same app are under way"):
            await threads.at_once("a", lambda: "")
        other = await second.begin(threads.at_once, "b")
        with pytest.raises(faults.Exhausted, match="t: 2 are under way"):
            await threads.at_once("c", lambda: "")
        first.go.set()
        second.go.set()
        assert [await begun, await other] == ["done", "done"]
        assert await threads.at_once("a", lambda: "again") == "again"

    run(test)


def test_what_nobody_waits_for_any_more_keeps_its_place_until_it_ends() -> None:
    async def test() -> None:
        threads, held = Threads("t", most=2, most_of_one=1), Held()
        task = await held.begin(threads.at_once, "a")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        with pytest.raises(faults.Exhausted):
            await threads.at_once("a", lambda: "")
        held.go.set()
        assert await threads.in_turn("a", lambda: "next") == "next"

    run(test)


def test_many_whose_work_does_not_end_leave_places_for_who_comes_next() -> None:
    """However many they want, and whether they wait for their turn or not."""

    async def test() -> None:
        threads, held = Threads("t", most=9, most_of_one=4), Held()
        greedy = [asyncio.ensure_future(threads.in_turn(who, held)) for who in "aabbcc" * 5]
        await asyncio.sleep(0)
        for who in "abc":
            with pytest.raises(faults.Exhausted, match="of the same app are under way"):
                await threads.at_once(who, lambda: "")
        assert await threads.at_once("d", lambda: "there is room") == "there is room"
        assert await threads.in_turn("e", lambda: "here, too") == "here, too"
        held.go.set()
        assert await asyncio.gather(*greedy) == ["done"] * len(greedy)

    run(test)


def test_who_gives_up_waiting_takes_no_place() -> None:
    async def test() -> None:
        threads, held = Threads("t", most=2, most_of_one=1), Held()
        begun = await held.begin(threads.in_turn, "a")
        waiting = [asyncio.ensure_future(threads.in_turn("a", lambda: "")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in waiting[:2]:
            task.cancel()
        held.go.set()
        assert await begun == "done"
        waiting[2].cancel()  # perhaps just as it is its turn
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await threads.in_turn("a", lambda: "next") == "next"

    run(test)


def test_errors_are_those_of_the_work() -> None:
    def fails() -> None:
        raise KeyError("why")

    async def test() -> None:
        threads = Threads("t", most=1, most_of_one=1)
        with pytest.raises(KeyError, match="why"):
            await threads.in_turn("a", fails)
        assert await threads.at_once("a", lambda: "next") == "next"

    run(test)
