"""No kind of call starves another, and whoever has to wait is told so: 503 with Retry-After, never a reset."""

from __future__ import annotations

import asyncio
import socket

import pytest

from pilot.agent import admission, listener
from pilot.server import client
from pilot.wire import dial, operations, schema
from tests.api.test_exec import run
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")


async def status(machine: FakeMachine) -> schema.Status:
    return await (await client.request(await machine.dial(), "GET", "/v1/status")).json(schema.Status)


async def refused(machine: FakeMachine, method: str, target: str) -> None:
    answer = await client.request(await machine.dial(), method, target)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    await answer.body()


def test_watches_do_not_starve_calls(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(admission._OF_A_KIND, operations.WATCH_PORTS.id, 3)

    async def test() -> None:
        async with machine.agent():
            watching = [await client.open_websocket(await machine.dial(), "/v1/ports/watch") for _ in range(3)]
            with pytest.raises(client.Refused) as caught:
                await client.open_websocket(await machine.dial(), "/v1/ports/watch")
            assert caught.value.status == 503
            assert (await status(machine)).state == "ready"
            answer = await client.request(await machine.dial(), "POST", "/v1/exec?cmd=true")
            assert answer.status == 200
            await answer.body()
            await watching[0].close(1000)
            await watching[0].farewell()
            while True:
                try:
                    await client.open_websocket(await machine.dial(), "/v1/ports/watch")
                    break
                except client.Refused:
                    await asyncio.sleep(0.01)

    run(test)


def test_in_a_crowd_the_host_is_still_answered(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "CROWDED", 4)

    async def test() -> None:
        async with machine.agent():
            idle = [await machine.dial() for _ in range(5)]
            await refused(machine, "GET", "/v1/exec")
            await refused(machine, "GET", "/v1/fs/list?path=/")
            assert (await status(machine)).state == "ready"
            (await machine.dial(dial.PORT_HEALTH)).abort()
            for each in idle:
                each.abort()
            while (await client.request(await machine.dial(), "GET", "/v1/exec")).status != 200:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    run(test)


def test_who_comes_when_all_places_are_taken_waits_and_is_served(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "MAX_CONNECTIONS", 4)

    async def test() -> None:
        async with machine.agent():
            idle = [await machine.dial() for _ in range(4)]
            waiting = socket.socket(socket.AF_UNIX)
            waiting.setblocking(False)
            with waiting:
                waiting.connect(machine.dial_path)
                loop = asyncio.get_running_loop()
                await loop.sock_sendall(waiting, dial.connect_line(dial.PORT_HEALTH))
                answering = asyncio.create_task(loop.sock_recv(waiting, 100))
                await asyncio.sleep(0.05)
                assert not answering.done()
                idle[0].abort()
                assert await answering == dial.ok_line(dial.PORT_HEALTH)

    run(test)
