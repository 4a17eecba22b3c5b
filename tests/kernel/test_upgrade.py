"""Another agent takes over while containers and sessions run; one that does not come up does no harm."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
from collections.abc import Iterator

import msgspec
import pytest
from tests.kernel import test_agent
from tests.kernel.test_graph import apply, are, container, log, since, until
from tests.support import underinit

import pilot
from pilot.image import guest
from pilot.wire import exec_frames, schema, websocket

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")

COUNT = "n=0; while :; do echo $n; n=$((n+1)); sleep 0.02; done"
MAIN = """\
import sys
from pilot import agent
if sys.argv[1:] == ["--check"]:
    sys.exit(agent.main(sys.argv[1:]))
from pilot.agent import machine, process
sys.exit(process.run(machine.Paths(run=sys.argv[1], init=sys.argv[2])))
"""


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return underinit.build_init_or_skip("static", tmp_path_factory.mktemp("init"))


class Machine(test_agent.Machine):
    """Whose agent may be any of those that are started as `tests.support.agent_main` is."""

    def agent_pid(self) -> int:
        init = test_agent._children(self._process.pid)[0]
        mine = str(self.run).encode()
        return min(pid for pid in test_agent._children(init) if mine in test_agent._command_line(pid))

    async def status(self) -> schema.Status:
        return await (await self.call("GET", "/v1/status")).json(schema.Status)

    async def restarted(self, restarts: int) -> str:
        """The version of the agent, once there have been so many."""
        while True:
            with contextlib.suppress(Exception):  # it is being started
                if (await self.status()).agent_restarts >= restarts:
                    return (await (await self.call("GET", "/v1/version")).json(schema.Version)).version
            await asyncio.sleep(0.05)


@pytest.fixture
def machine(tmp_path: pathlib.Path, init: pathlib.Path) -> Iterator[Machine]:
    made = Machine(tmp_path, init)
    yield made
    made.stop()
    print((tmp_path / "log").read_text())


def lay_out(place: pathlib.Path, version: str, main: str | None = MAIN) -> str:
    """An agent as an image has it, of another version; `main` None: with the image's own start, too."""
    for inside, file in guest.agent_files().items():
        path = place / pathlib.Path(inside).relative_to("usr/lib/pilot")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file if isinstance(file, bytes) else pathlib.Path(file).read_bytes())
    code = place / "pilot" / "__init__.py"
    code.write_text(code.read_text().replace(f'"{pilot.__version__}"', f'"{version}"'))
    if main is not None:
        (place / "__main__.py").write_text(main)
    return str(place)


async def numbers(machine: Machine, name: str) -> list[int]:
    return [int(line) for line in (await log(machine, name)).splitlines()]


def test_nothing_that_runs_notices(machine: Machine) -> None:
    newer = lay_out(machine.directory / "newer", "99.1.2")

    async def test() -> None:
        await apply(machine, container(machine, "count", ["sh", "-c", COUNT], stop={"signal": "KILL"}))
        pid = (await until(machine, are(count="running")))["count"].pid
        socket = await machine.exec("sh", "-c", COUNT, container="count", max_run_after_disconnect="1h")
        info = msgspec.json.decode(str(await socket.receive()), type=exec_frames.SessionInfo)
        before = await machine.status()
        answer = await machine.call("PUT", "/v1/agent", {"directory": newer})
        assert answer.status == 202, await answer.body()
        assert (await answer.json(schema.AgentAnswer)).version == "99.1.2"
        assert await machine.restarted(1) == "99.1.2"
        # What the new agent was copied from is not needed any more.
        os.rename(newer, f"{newer}-gone")
        os.kill(machine.agent_pid(), signal.SIGKILL)
        assert await machine.restarted(2) == "99.1.2", "it is the one that is started after a death, too"
        after = await machine.status()
        assert (after.boot_id, after.sessions) == (before.boot_id, 1)
        rows = await until(machine, are(count="running"))
        assert (rows["count"].pid, rows["count"].restarts) == (pid, 0)
        said = await numbers(machine, "count")
        assert said == list(range(len(said)))
        again = await machine.exec(id=info.session_id)
        output = b""
        while output.count(b"\n") < 50:
            message = await again.receive()
            assert not isinstance(message, websocket.Closed)
            output += message[1:] if isinstance(message, bytes) and message[:1] == b"\x01" else b""
        told = [int(line) for line in output.splitlines()[:50]]
        assert told == list(range(50)), "the session is told from its first byte"
        events = await since(machine, 0)
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        assert [event.restarts for event in events if event.type == "agent.started"] == [0, 1, 2]
        assert (await machine.call("PUT", "/v1/agent", {"directory": None})).status == 202
        assert await machine.restarted(3) == pilot.__version__
        assert (await until(machine, are(count="running")))["count"].pid == pid

    machine.test(test)


def test_one_that_cannot_be_loaded_is_refused_and_one_that_dies_is_given_up(machine: Machine) -> None:
    wrong = lay_out(machine.directory / "wrong", "98", "import no_such_module\n")
    other = lay_out(machine.directory / "other", "98", "print('hello')\n")
    dying = lay_out(
        machine.directory / "dying", "97",
        'import os, sys\nif sys.argv[1:] == ["--check"]:\n    print(\'{"version":"97","api":"1"}\')\n'
        "else:\n    os.abort()\n",
    )  # fmt: skip

    async def test() -> None:
        for place, why in ((wrong, b"no_such_module"), (other, b"makes no sense"), ("/nowhere", b"no agent")):
            answer = await machine.call("PUT", "/v1/agent", {"directory": place})
            body = await answer.body()
            assert answer.status == 400
            assert why in body
        assert (await machine.status()).agent_restarts == 0
        await apply(machine, container(machine, "count", ["sh", "-c", COUNT], stop={"signal": "KILL"}))
        pid = (await until(machine, are(count="running")))["count"].pid
        assert (await machine.call("PUT", "/v1/agent", {"directory": dying})).status == 202
        assert await machine.restarted(1) == pilot.__version__
        assert (await until(machine, are(count="running")))["count"].pid == pid
        said = await numbers(machine, "count")
        assert said == list(range(len(said)))
        assert "did not come up 3 times" in (machine.directory / "log").read_text()

    machine.test(test)
