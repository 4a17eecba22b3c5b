"""A moment that is put off and called off: what comes, and what does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from pilot.host.relay.deadline import Deadline

pytestmark = pytest.mark.parametrize("make", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
Make = Callable[[], asyncio.AbstractEventLoop]


class Rung:
    """Deadlines of a loop that note their names, in order, when they come."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.event = asyncio.Event()

    def deadline(self, name: str) -> Deadline:
        return Deadline(lambda: self._note(name))

    def _note(self, name: str) -> None:
        self.names.append(name)
        self.event.set()

    async def wait(self) -> None:
        await self.event.wait()
        self.event.clear()


def test_it_comes_once(make: Make) -> None:
    async def body() -> None:
        rung = Rung()
        deadline = rung.deadline("a")
        assert not deadline.is_set
        deadline.within(0.01)
        assert deadline.is_set
        await rung.wait()
        assert (rung.names, deadline.is_set) == (["a"], False)

    _run(make, body())


def test_what_is_put_off_comes_when_it_was_put_off_to(make: Make) -> None:
    async def body() -> None:
        rung, loop = Rung(), asyncio.get_running_loop()
        deadline = rung.deadline("a")
        deadline.within(0.01)
        until_s = loop.time() + 0.1
        deadline.within(0.1)
        await rung.wait()
        assert rung.names == ["a"]
        assert loop.time() >= until_s

    _run(make, body())


def test_what_is_drawn_nearer_does_not_wait_for_the_later_moment(make: Make) -> None:
    async def body() -> None:
        rung = Rung()
        deadline = rung.deadline("a")
        deadline.within(3600)
        deadline.within(0.01)
        await rung.wait()
        assert rung.names == ["a"]

    _run(make, body())


@pytest.mark.parametrize("how", ["off", "end"])
def test_what_is_called_off_does_not_come_and_may_be_set_again(make: Make, how: str) -> None:
    async def body() -> None:
        rung = Rung()
        first, second = rung.deadline("first"), rung.deadline("second")
        first.within(0.01)
        getattr(first, how)()
        assert not first.is_set
        second.within(0.05)
        await rung.wait()
        assert rung.names == ["second"]
        first.within(0.01)
        await rung.wait()
        assert rung.names == ["second", "first"]

    _run(make, body())


def _run(make: Make, body: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=make) as runner:
        runner.run(asyncio.wait_for(body, 60))
