"""Operations of api/pilot.openapi.yaml, called for good and in vain by an agent of its own each, answer as the contract
says. A new one needs nothing here but what the kit cannot ask (`test_conformance_kit`).
"""

from __future__ import annotations

import asyncio
import os
from typing import Any, NamedTuple

import msgspec
import pytest

from pilot.agent.application import Application
from pilot.server import client
from pilot.wire import exec_frames, graph, operations, services, websocket
from tests.support import contract
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")


class Call(NamedTuple):
    """A request: what follows the path, a JSON body, raw content, what a WebSocket is sent first, the status."""

    query: str = ""
    json: Any = None
    content: bytes = b""
    first: str = ""
    status: int = 200
    path: str = ""


SLEEPER = {"name": "sleeper", "within": "world", "command": ["sleep", "100"], "cwd": "/", "stop": {"signal": "KILL"}}

CALLS: dict[str, tuple[Call, ...]] = {
    "getVersion": (Call(),),
    "getStatus": (Call(),),
    "adopt": (Call(json={"name": "walker"}), Call(json={"name": 5}, status=400)),
    "startWorld": (
        Call(json={"disk": {"descriptor": "disk"}}),  # it runs already
        Call(json={"disk": {}, "hostname": []}, status=400),
    ),
    "stopWorld": (Call(),),
    "freezeWorld": (Call(status=412),),
    "thawWorld": (Call(status=412),),
    "shutdown": (Call(status=202),),
    "getDiagnostics": (Call(),),
    "getPolicy": (Call(),),
    "tightenPolicy": (
        Call(json={"denied": ["shutdown"]}),
        Call(json={"denied": ["getStatus"]}, status=400),
        Call(json={"denied": ["noSuchCall"]}, status=400),
        Call(json={"denied": [], "allowed": ["adopt"]}, status=400),
    ),
    "upgradeAgent": (
        Call(json={"directory": None}, status=202),
        Call(json={"directory": "/nowhere"}, status=400),
        Call(json={}, status=400),
    ),
    "applyRunFile": (
        Call(json={"Hostname": "kit", "ExecOverride": ["true"]}, status=409),  # a world runs
        Call(json={"ExecOverride": ["true"]}, status=400),
    ),
    "listContainers": (Call(),),
    "acknowledgeExit": (
        Call(path="/v1/containers/world/exits/1", status=204),
        Call(path="/v1/containers/No/exits/1", status=400),
        Call(path="/v1/containers/world/exits/one", status=400),
    ),
    "applyGraph": (
        Call(json={"containers": [SLEEPER]}),
        Call(json={"containers": [SLEEPER | {"depends_on": [{"name": "nobody"}]}]}, status=400),
        Call(json={"containers": [], "if_generation": 77}, status=409),
    ),
    "getGraph": (Call(),),
    "putContainer": (
        Call(path="/v1/containers/web", json=SLEEPER),
        Call(path="/v1/containers/world", json=SLEEPER, status=400),
    ),
    "getContainer": (
        Call("?settled=5", path="/v1/containers/sleeper"), Call(path="/v1/containers/web", status=404),
        Call("?settled=x", path="/v1/containers/sleeper", status=400),
    ),
    "deleteContainer": (
        Call(path="/v1/containers/web", status=204), Call(path="/v1/containers/No", status=400),
        Call(path="/v1/containers/world", status=409),
    ),
    "startContainer": (
        Call(path="/v1/containers/sleeper/start"), Call(path="/v1/containers/web/start", status=404),
    ),
    "stopContainer": (
        Call(path="/v1/containers/sleeper/stop", json={"signal": "KILL", "timeout_s": 1}),
        Call(path="/v1/containers/sleeper/stop", json={"signal": "KILLER"}, status=400),
        Call(path="/v1/containers/web/stop", status=404),
    ),
    "restartContainer": (
        Call(path="/v1/containers/sleeper/restart"), Call(path="/v1/containers/web/restart", status=404),
    ),
    "containerLogs": (
        Call(path="/v1/containers/sleeper/logs"), Call(path="/v1/containers/web/logs", status=404),
        Call("?since=soon", path="/v1/containers/sleeper/logs", status=400),
    ),
    "killContainer": (
        Call(path="/v1/containers/sleeper/kill", json={"signal": "USR1"}, status=204),
        Call(path="/v1/containers/sleeper/kill", json={"signal": "NONE"}, status=400),
        Call(path="/v1/containers/web/kill", status=404),
    ),
    "pauseContainer": (
        Call(path="/v1/containers/world/pause", status=204), Call(path="/v1/containers/web/pause", status=404),
        Call(path="/v1/containers/sleeper/pause", status=409),
    ),
    "resumeContainer": (
        Call(path="/v1/containers/world/resume", status=204), Call(path="/v1/containers/web/resume", status=404),
    ),
    "getStats": (Call(path="/v1/containers/world/stats"), Call(path="/v1/containers/web/stats", status=404)),
    "listProcesses": (
        Call(path="/v1/containers/world/processes"), Call(path="/v1/containers/web/processes", status=404),
    ),
    "waitContainer": (
        Call("?timeout=0", path="/v1/containers/world/wait", status=504),
        Call("?after=x", path="/v1/containers/world/wait", status=400),
        Call(path="/v1/containers/web/wait", status=404),
    ),
    "getSysinfo": (Call(),),
    "getNetwork": (Call(),),
    "listDisks": (Call(),),
    "mountDisk": (
        Call(path="/v1/disks/data", json={"descriptor": "none"}, status=404),
        Call(path="/v1/disks/data", json={}, status=400),
    ),
    "unmountDisk": (Call(path="/v1/disks/data", status=204), Call(path="/v1/disks/No", status=400)),
    "watchEvents": (Call("?since=0"), Call("?since=x", status=400)),
    "listServices": (Call(),),
    "signalService": (
        Call(json={"name": "web", "signal": "TERM"}, status=204),
        Call(json={"name": "web", "signal": "TERMINATE"}, status=400),
        Call(json={"name": "nobody", "signal": "TERM"}, status=404),
    ),
    "getService": (Call(path="/v1/services/web"), Call(path="/v1/services/nobody", status=404)),
    "putService": (
        Call("?duration=0.1s", path="/v1/services/other", json={"cmd": "true", "needs": ["web"]}),
        Call(path="/v1/services/other", json={"cmd": "true", "needs": ["nobody"]}, status=400),
        Call(path="/v1/services/other", json={"cmd": "true", "http_port": 81}, status=409),
    ),
    "deleteService": (Call(path="/v1/services/web", status=204), Call(path="/v1/services/nobody", status=404)),
    "startService": (
        Call("?duration=0.1s", path="/v1/services/web/start"), Call(path="/v1/services/nobody/start", status=404),
        Call("?duration=soon", path="/v1/services/web/start", status=400),
    ),
    "stopService": (
        Call("?timeout=1s", path="/v1/services/web/stop"), Call(path="/v1/services/nobody/stop", status=404),
    ),
    "restartService": (
        Call("?duration=0.1s", path="/v1/services/web/restart"), Call(path="/v1/services/nobody/restart", status=404),
    ),
    "serviceLogs": (
        Call("?lines=1", path="/v1/services/web/logs"), Call(path="/v1/services/nobody/logs", status=404),
        Call("?lines=few", path="/v1/services/web/logs", status=400),
    ),
    "listSessions": (Call(), Call("?container=Not%20one", status=400)),
    "execute": (Call("?cmd=true"), Call("?cmd=/no/such", status=400), Call("?cmd=true&stdin=maybe", status=400)),
    "openSession": (Call("?cmd=true", status=101), Call("?cmd=true&rows=0&tty=true", status=400)),
    "attachSession": (Call(status=101), Call(status=404, path="/v1/exec/1")),
    "killSession": (Call("?signal=KILL"), Call("?signal=KILLER", status=400), Call(status=404, path="/v1/exec/1/kill")),
    "deleteSession": (Call("?signal=KILL&timeout=5s"), Call("?timeout=soon", status=400)),
    "readFile": (
        Call("?path=/etc/passwd"), Call("?path=/none", status=404), Call("?path=/tmp/dir", status=400),
    ),
    "writeFile": (Call("?path=/tmp/x/y", content=b"abc"), Call("?path=/tmp/dir", status=400)),
    "listFiles": (Call("?path=/"), Call("?path=/none", status=404)),
    "deleteFile": (Call("?path=/tmp/dir"), Call("?path=/none", status=404), Call("?path=/", status=403)),
    "renameFile": (
        Call(json={"source": "/tmp/file", "dest": "/tmp/other"}),
        Call(json={"source": "/none", "dest": "/tmp/other"}, status=404),
        Call(json={"source": 1}, status=400),
    ),
    "copyFile": (Call(json={"source": "/tmp/file", "dest": "/tmp/dir"}), Call(json={}, status=400)),
    "changeMode": (
        Call(json={"path": "/tmp/file", "mode": "0600"}),
        Call(json={"path": "/tmp", "mode": "9"}, status=400),
        Call(json={"path": "/tmp", "mode": " +0o7_7"}, status=400),
    ),
    "changeOwner": (Call(json={"path": "/tmp/file", "uid": 5}), Call(json={"path": "/none", "uid": 5}, status=404)),
    "watchFiles": (Call(status=101, first='{"type":"subscribe","paths":["/tmp"]}'),),
    "watchPorts": (Call(status=101),),
    "proxy": (Call(status=101, first='{"port":1}'),),
}  # fmt: skip
ROWS = [(id, call) for id, calls in CALLS.items() for call in calls]
_FRAMES = {row.id: row.answered for row in operations.OPERATIONS if row.websocket}


@pytest.mark.parametrize(("id", "call"), ROWS, ids=[f"{id}-{call.status}" for id, call in ROWS])
def test_answers_are_those_of_the_contract(machine: FakeMachine, id: str, call: Call) -> None:
    operation = contract.operations()[id]
    os.makedirs(os.path.join(machine.paths.rootfs, "tmp/dir"))
    os.close(os.open(os.path.join(machine.paths.rootfs, "tmp/file"), os.O_CREAT))

    async def test() -> None:
        async with asyncio.timeout(30), machine.agent() as app:
            if "{name}" in operation.path:
                app.graph.apply(msgspec.convert({"containers": [SLEEPER]}, graph.GraphRequest))
                while app.registry.pid("sleeper") is None:  # noqa: ASYNC110 - what is waited for is another's
                    await asyncio.sleep(0.01)
            if "service" in operation.path:
                await app.services.put("web", services.ServiceRequest(cmd="sleep", args=["100"], dir="/", http_port=80))
                await _until_it_runs(app)
            target = call.path or await _path(machine, operation)
            if operation.websocket:
                await _check_websocket(machine, operation, target, call)
            else:
                await _check_http(machine, operation, target, call)
            await app.graph.drain()
            await app.sessions.end_all()

    asyncio.run(test())


async def _until_it_runs(app: Application) -> None:
    while (await app.services.service("web")).state.status != "running":
        await asyncio.shield(app.graph.changed.next())


async def _path(machine: FakeMachine, operation: contract.Operation) -> str:
    """The operation's path, with a running session where it wants one."""
    if "{id}" not in operation.path:
        return operation.path
    socket = await client.open_websocket(await machine.dial(), "/v1/exec?cmd=sleep&cmd=100")
    info = msgspec.json.decode(str(await socket.receive()), type=exec_frames.SessionInfo)
    return operation.path.format(id=info.session_id)


async def _check_http(machine: FakeMachine, operation: contract.Operation, target: str, call: Call) -> None:
    answer = await client.request(
        await machine.dial(), operation.method, target + call.query, json=call.json, body=call.content
    )
    kind, body = answer.headers.get("content-type", ""), await answer.body()
    assert answer.status == call.status, body
    contract.check_body(operation, answer.status, body, kind)


async def _check_websocket(machine: FakeMachine, operation: contract.Operation, target: str, call: Call) -> None:
    stream = await machine.dial()
    if call.status != 101:
        assert str(call.status) in operation.responses
        with pytest.raises(client.Refused) as refused:
            await client.open_websocket(stream, target + call.query)
        assert refused.value.status == call.status
        return
    socket = await client.open_websocket(stream, target + call.query)
    if call.first:
        await socket.send(call.first)
    message = await socket.receive()
    assert not isinstance(message, websocket.Closed)
    msgspec.json.decode(message, type=_FRAMES[operation.id])
