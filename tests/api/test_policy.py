"""What a host has denied stays denied, to everybody, also under the next agent."""

from __future__ import annotations

import asyncio

import msgspec

from pilot.server import client
from pilot.wire import faults, schema
from tests.support.fake_machine import FakeMachine


async def ask(machine: FakeMachine, method: str, target: str, body: object = None) -> tuple[int, bytes]:
    answer = await client.request(await machine.dial(), method, target, json=body, timeout_s=30)
    return answer.status, await answer.body()


def test_it_is_only_ever_tightened(machine: FakeMachine) -> None:
    async def deny(*ids: str) -> tuple[int, list[str]]:
        status, body = await ask(machine, "PUT", "/v1/policy", {"denied": ids})
        return status, msgspec.json.decode(body, type=schema.Policy).denied

    async def test() -> None:
        async with asyncio.timeout(60):
            async with machine.agent():
                assert (await ask(machine, "GET", "/v1/sysinfo"))[0] == 200
                assert await deny("getSysinfo", "execute") == (200, ["execute", "getSysinfo"])
                assert await deny() == (200, ["execute", "getSysinfo"])
                assert await deny("adopt") == (200, ["adopt", "execute", "getSysinfo"])
            machine.die()
            async with machine.agent() as app:
                assert (await ask(machine, "GET", "/v1/policy"))[1] == b'{"denied":["adopt","execute","getSysinfo"]}'
                for method, target, body in (
                    ("GET", "/v1/sysinfo", None), ("POST", "/v1/exec?cmd=true", None), ("POST", "/v1/adopt", {}),
                ):  # fmt: skip
                    status, told = await ask(machine, method, target, body)
                    fault = msgspec.json.decode(told, type=faults.ErrorBody)
                    assert (status, fault.code) == (403, "permission_denied")
                assert (await ask(machine, "GET", "/v1/network"))[0] == 200
                assert (await ask(machine, "GET", "/v1/status"))[0] == 200
                await app.sessions.end_all()

    asyncio.run(test())
