"""Who waits for a Machine is told of commits for as long as that lasts, however it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest
from tests.support.host import WAIT_S, HostUnderTest

from pilot import errors
from pilot.host.services import fly_wait
from pilot.host.services.fly_wait import Seen


@pytest.fixture
def watching(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Who is told now."""
    told: list[object] = []
    watch = host.database.watch

    def counted(tell: Callable[[], None]) -> Callable[[], None]:
        stop = watch(tell)
        told.append(tell)

        def end() -> None:
            stop()
            told.remove(tell)

        return end

    monkeypatch.setattr(host.database, "watch", counted)
    return told


def test_who_waits_for_what_is_not_there_is_not_told_for_ever(host: HostUnderTest, watching: list[object]) -> None:
    def find() -> Seen:
        assert len(watching) == 1
        raise errors.Conflict("another version")

    with pytest.raises(errors.Conflict):
        asyncio.run(fly_wait.wait(host.database, find, frozenset({"started"}), WAIT_S))
    assert watching == []


def test_who_goes_before_the_first_look_is_not_told_for_ever(host: HostUnderTest, watching: list[object]) -> None:
    looking, goes_on = threading.Event(), threading.Event()

    def find() -> Seen:
        looking.set()
        assert goes_on.wait(WAIT_S)
        raise errors.NotFound("no machine")

    async def leave() -> None:
        waiting = asyncio.ensure_future(fly_wait.wait(host.database, find, frozenset({"started"}), WAIT_S))
        assert await asyncio.to_thread(looking.wait, WAIT_S)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert watching == []
        goes_on.set()

    asyncio.run(leave())
