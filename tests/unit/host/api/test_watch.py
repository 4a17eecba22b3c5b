"""The watch follows events: each change is told once, deletions too, and nobody is asked what nobody has changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.support import contract
from tests.support.host import WAIT_S, HostUnderTest

from pilot.host.api.sprites import shapes, watch
from pilot.host.services import changes
from pilot.host.services.wanted import NewSprite
from pilot.host.store import events
from pilot.host.store.sprites import Sprite


class Watching:
    """A watch and what it has said, line by line."""

    def __init__(self, host: HostUnderTest, prefix: str = "") -> None:
        self.described: Counter[str] = Counter()
        self._host = host
        organisation = host.organisation
        self._lines = watch.Watch(host.sprites, organisation.id, organisation.slug, prefix, self._describe).lines()

    def _describe(self, row: Sprite) -> shapes.SpriteShape:
        self.described[row.name] += 1
        return shapes.sprite(row, "local", self._host.sprites.status(row), "http://x", "container")

    async def line(self) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(await asyncio.wait_for(anext(self._lines), WAIT_S))
        contract.check_sprites("WatchLine", line)
        return line

    async def until(self, **wanted: object) -> dict[str, Any]:
        while True:
            line = await self.line()
            if all(line.get(key) == value for key, value in wanted.items()):
                return line

    async def close(self) -> None:
        await self._lines.aclose()  # type: ignore[attr-defined]


@contextlib.asynccontextmanager
async def _watching(host: HostUnderTest, prefix: str = "") -> AsyncIterator[Watching]:
    made = Watching(host, prefix)
    try:
        yield made
    finally:
        await made.close()


async def _do(act: Any, *arguments: Any) -> None:
    ended = await asyncio.to_thread(act, *arguments)
    outcome = await asyncio.wrap_future(ended)
    assert outcome.done, outcome.error


def _find(host: HostUnderTest, name: str) -> Sprite:
    return host.sprites.find(host.organisation.id, name)


async def _create(host: HostUnderTest, name: str) -> None:
    await _do(host.sprites.create, host.organisation.id, NewSprite(name))


def test_what_is_there_then_what_changes_then_what_goes(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SWEEP_S", 3600.0)

    async def follow() -> None:
        await _create(host, "web")
        await _create(host, "other")
        async with _watching(host, "w") as watching:
            assert (await watching.line())["name"] == "web"
            first = await watching.line()
            assert (first["type"], first["org"]["running"]) == ("heartbeat", 1)
            await _do(host.sprites.stop, _find(host, "web"))
            assert (await watching.until(name="web", status="cold"))["org"]["running"] == 0
            await _do(host.sprites.stop, _find(host, "other"))
            await _create(host, "wide")
            await watching.until(name="wide", status="running")
            await _do(host.sprites.destroy, _find(host, "web"))
            gone = await watching.until(type="deleted")
            assert (gone["name"], gone["org"]["running"]) == ("web", 1)
            assert watching.described["other"] == 0

    asyncio.run(follow())


def test_a_machine_that_died_by_itself_is_told(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SWEEP_S", 0.05)

    async def follow() -> None:
        await _create(host, "web")
        async with _watching(host) as watching:
            await watching.until(name="web", status="running")
            machine = _find(host, "web").machine
            assert machine is not None
            host.vmm.stop(machine)
            await watching.until(name="web", status="cold")

    asyncio.run(follow())


def test_many_watches_cost_one_reader(host: HostUnderTest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "SWEEP_S", 3600.0)
    reads: list[int] = []
    since = events.since

    def counted(reader: Any, seq: int) -> list[events.Event]:
        found = since(reader, seq)
        reads.append(len(found))
        return found

    monkeypatch.setattr(events, "since", counted)

    async def follow() -> None:
        await _create(host, "web")
        async with contextlib.AsyncExitStack() as stack:
            watches = [await stack.enter_async_context(_watching(host)) for _ in range(20)]
            for watching in watches:
                await watching.until(type="heartbeat")
            assert reads == [], "nothing has changed, nothing is read"
            await _do(host.sprites.stop, _find(host, "web"))
            for watching in watches:
                await watching.until(name="web", status="cold")
            assert len(reads) < 20
        before = len(reads)
        await _do(host.sprites.wake, _find(host, "web"))
        assert len(reads) == before, "nobody follows any more"

    asyncio.run(follow())


def test_events_are_numbered_for_good(host: HostUnderTest) -> None:
    asyncio.run(_create(host, "web"))
    last = events.latest(host.database)
    found = events.since(host.database, 0)
    assert [event.seq for event in found] == sorted({event.seq for event in found})
    assert found[-1].seq == last
    with host.database.transaction() as tx:
        events.forget(tx, 1 << 62)
    assert events.since(host.database, 0) == []
    with host.database.transaction() as tx:
        events.add(tx, "sprite.told", "sprite/x", {})
    assert [event.seq for event in events.since(host.database, last)] == [last + 1]
