"""A machine with a run.json: the six routes as the init before this one answered them, and what was weak in it.

Numbers are those of docs/reference/old-init.md, which says of each weakness what is so now.
"""

from __future__ import annotations

import asyncio
import json
import os
import pathlib
import re
import signal
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from tests.kernel import test_agent
from tests.kernel.test_graph import seen_here, until
from tests.support import busybox, underinit

from pilot.server import client, stream
from pilot.server.call import WebSocket
from pilot.wire import dial, graph, schema, websocket

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return underinit.build_init_or_skip("static", tmp_path_factory.mktemp("init"))


class Old(test_agent.Machine):
    """As its hosts see it."""

    def __init__(self, directory: pathlib.Path, init: pathlib.Path) -> None:
        super().__init__(directory, init)
        self.root = busybox.make_rootfs(directory)

    async def become(self, script: str, **more: Any) -> None:
        document = {"Hostname": "walker", "ExecOverride": ["sh", "-c", script], "RootDevice": str(self.root), **more}
        answer = await self.call("PUT", "/v1/run", document)
        assert answer.status == 204, await answer.body()

    async def exact(self, method: str, target: str, body: object = None) -> bytes:
        answer = await self.call(method, target, body)
        said = await answer.body()
        assert answer.status == 200, said
        assert dict(answer.headers)["content-type"] == "application/json"
        assert dict(answer.headers)["fly-init-version"]
        return said

    async def again(self, method: str, target: str) -> bytes:
        """As often as an agent has to be started for it."""
        while True:
            try:
                return await self.exact(method, target)
            except AssertionError:
                raise
            except Exception:  # noqa: BLE001 - it is being started
                await asyncio.sleep(0.05)

    async def pilot(self, method: str, target: str, body: object = None) -> client.Answer:
        """The pilot API, at its own port."""
        dialled = await stream.dial_unix(self.dial_path, dial.PORT_PILOT, timeout_s=30)
        self._dialled.append(dialled)
        return await client.request(dialled, method, target, json=body, timeout_s=60)

    async def execute(self, *words: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(await self.exact("POST", "/v1/exec", {"cmd": words}))
        return told

    async def open(self, *words: str, tty: bool) -> WebSocket:
        socket = await client.open_websocket(await self.dial(), "/v1/ws/exec", timeout_s=30)
        await socket.send(json.dumps({"command": words, "tty": tty}))
        return socket

    async def console(self, text: str) -> str:
        """The console, once it says so."""
        while text not in (said := (self.directory / "log").read_text(errors="replace")):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        return said

    async def ended(self) -> int:
        """init's own status, when the machine is no more."""
        return await asyncio.to_thread(self._process.wait)


@pytest.fixture
def machine(tmp_path: pathlib.Path, init: pathlib.Path) -> Iterator[Old]:
    made = Old(tmp_path, init)
    yield made
    made.stop()
    print((tmp_path / "log").read_text(errors="replace"))


async def frames(socket: WebSocket) -> tuple[bytes, str]:
    """All output, and the last text before the close."""
    output, last = b"", ""
    while not isinstance(message := await socket.receive(), websocket.Closed):
        if isinstance(message, bytes):
            output += message
        else:
            last = str(message)
    return output, last


def test_the_six_routes_byte_for_byte(machine: Old) -> None:
    """And 11: groups of a number, both streams apart, names of the machine; 12: versions."""
    script = "echo out; echo err >&2; id; cat /etc/hosts; trap 'exit 7' TERM; while :; do sleep 0.1; done"

    async def test() -> None:
        await machine.become(
            script, UserOverride="1234", ImageConfig={"Env": ["FROM=image"], "WorkingDir": "/tmp"},
            EtcHosts=[{"Host": "db", "IP": "10.0.0.9", "Desc": "a base"}],
        )  # fmt: skip
        assert await machine.exact("GET", "/v1/status") == b'{"ok":true}'
        told = json.loads(await machine.exact("GET", "/v1/sysinfo"))
        assert list(told) == ["memory", "load_average", "cpus", "disks", "net", "filefd"]
        await machine.console("uid=1234 gid=0")
        assert await machine.exact("POST", "/v1/exec", {"cmd": ["sh", "-c", "echo é$FROM; echo no >&2; exit 3"]}) == (
            b'{"exit_code":3,"exit_signal":null,"stdout":[195,169,105,109,97,103,101,10],"stderr":[110,111,10]}'
        )
        assert (await machine.execute("sh", "-c", "kill -9 $$"))["exit_signal"] == 9
        assert bytes((await machine.execute("id", "-u"))["stdout"]) == b"0\n"
        answer = await machine.call("POST", "/v1/signals", {"signal": 99})
        assert (answer.status, await answer.body()) == (400, b'{"message":"EINVAL: Invalid argument"}')
        for target, body in (("/v1/signals", {"signal": "x"}), ("/v1/exec", {"cmd": []}), ("/v1/exec", {"cmd": "a"})):
            answer = await machine.call("POST", target, body)
            assert (answer.status, list(json.loads(await answer.body()))) == (400, ["message"])
        answer = await machine.call("POST", "/v1/exec", {"cmd": ["x" * (16 << 10)]})
        assert answer.status == 413
        answer = await machine.call("POST", "/v1/exec", {"cmd": ["no-such-program"]})
        assert (answer.status, list(json.loads(await answer.body()))) == (500, ["message"])
        # Text, bytes and sizes of the WebSocket.
        plain = await machine.open("sh", "-c", "cat; echo $FROM; echo aside >&2; exit 4", tty=False)
        assert await frames(plain) == (b"image\n", '{"Exit":{"code":4,"signal":null}}')
        terminal = await machine.open("sh", "-c", "read line; echo $TERM; stty size; kill -9 $$", tty=True)
        await terminal.send(json.dumps({"cols": 99, "rows": 33}))
        await terminal.send(b"go\n")
        output, last = await frames(terminal)
        assert output.split() == [b"go", b"xterm-256color", b"33", b"99"]
        assert last == '{"Exit":{"code":null,"signal":9}}'
        refused = await machine.open("no-such-program", tty=False)
        assert (await frames(refused))[1].startswith('{"Error":{"message":')
        # The pilot API is where it always is, too.
        status = await (await machine.pilot("GET", "/v1/status")).json(schema.Status)
        assert status.state == "ready"
        assert (await (await machine.pilot("GET", "/v1/version")).json(schema.Version)).api == schema.API_VERSION
        pieces = (await (await machine.pilot("GET", "/v1/containers/main/logs")).body()).splitlines()
        written = [msgspec.json.decode(line, type=graph.LogPiece) for line in pieces]
        assert "".join(piece.text or "" for piece in written if piece.stream == "stderr") == "err\n"
        # The end.
        waiting = asyncio.create_task(machine.exact("GET", "/v1/exit_code"))
        assert await machine.exact("POST", "/v1/signals", {"signal": 15}) == b'{"ok":true}'
        assert await waiting == b'{"code":7,"oom_killed":false}'
        assert await machine.ended() == 0
        said = await machine.console("Starting clean up.")
        said = re.sub(r"w/ PID \d+", "w/ PID N", said)
        lines = [line for line in said.splitlines() if line.startswith((" INFO ", "ERROR ", " WARN "))]
        assert lines[0].startswith(" INFO Starting init (commit: ")
        assert lines[1:] == [
            f" INFO Preparing to run: `sh -c {script}` as 1234",
            " INFO Sending signal SIGTERM to main child process w/ PID N",
            " INFO Main child exited normally with code: 7",
            " INFO Starting clean up.",
        ]
        assert {"out", "err", "aside"} <= set(said.splitlines())
        assert "127.0.1.1\twalker\n\n# a base\n10.0.0.9\tdb\n" in said

    machine.test(test)


def test_what_held_the_old_one_up_holds_nothing_up(machine: Old) -> None:
    """3 and 4: commands in flight, and each has its own end; 9: a signal is for the group; 8: what is left is told."""
    script = (
        "(trap 'echo child >>/got; exit' TERM; while :; do sleep 0.1; done) & child=$!; "
        "setsid sh -c 'trap \"echo told >/told; exit\" TERM; echo >/waits; while :; do sleep 0.1; done' & "
        "trap 'wait $child; echo main >>/got; exit 5' TERM; echo ready; while :; do sleep 0.1; done"
    )

    async def test() -> None:
        await machine.become(script)
        await machine.console("\nready\n")
        held = asyncio.create_task(machine.execute("sleep", "1000"))
        sockets = [await machine.open("sh", "-c", f"exit {code}", tty=False) for code in range(20, 28)]
        framed, answered = await asyncio.gather(
            asyncio.gather(*map(frames, sockets)),
            asyncio.gather(*(machine.execute("sh", "-c", f"exit {code}") for code in range(30, 38))),
        )
        assert [json.loads(last)["Exit"]["code"] for _, last in framed] == list(range(20, 28))
        assert [each["exit_code"] for each in answered] == list(range(30, 38))
        answer = await machine.call("POST", "/v1/exec", {"cmd": ["sleep", "1000"], "timeout_s": 0.1})
        assert (await answer.json(dict))["exit_signal"] == signal.SIGTERM
        assert not held.done()
        while not (machine.root / "waits").exists():  # noqa: ASYNC110 - what is waited for is another's
            await asyncio.sleep(0.05)
        await machine.exact("POST", "/v1/signals", {"signal": 15})
        assert await machine.exact("GET", "/v1/exit_code") == b'{"code":5,"oom_killed":false}'
        await machine.ended()
        assert (machine.root / "got").read_text() == "child\nmain\n"
        assert (machine.root / "told").read_text() == "told\n"
        held.cancel()
        await asyncio.gather(held, return_exceptions=True)

    machine.test(test)


def test_an_end_is_kept_until_somebody_has_it(machine: Old) -> None:
    """6: nobody asked, and the agent died; what killed it is told apart. 2, 10: what is missing is no end of all."""
    data = machine.directory / "data"
    data.mkdir()

    async def test() -> None:
        await machine.become(
            "echo kept >/deep/er/data/file; stat -c %u /deep/er/data; kill -9 $$", UserOverride="77",
            Mounts=[{"MountPath": "/deep/er/data", "DevicePath": str(data)}],
            IPConfigs=[{"IP": "10.9.9.2", "Gateway": "10.9.9.1", "Mask": 30}],  # there is no eth0 here
        )  # fmt: skip
        await machine.console("Starting clean up.")
        os.kill(machine.agent_pid(), signal.SIGKILL)
        (kept,) = await ended_ones(machine)
        assert (kept.exit_code, kept.signal) == (137, 9)
        assert await machine.again("GET", "/v1/exit_code") == b'{"code":137,"oom_killed":false}'
        await machine.ended()
        assert (data / "file").read_text() == "kept\n"
        said = await machine.console("Main child exited with signal (with signal 'SIGKILL', core dumped? false)")
        assert said.count("Starting init") == said.count("Main child exited") == 1
        assert "\n77\n" in said

    machine.test(test)


async def ended_ones(machine: Old) -> list[schema.ContainerExit]:
    while True:
        try:
            answer = await machine.pilot("GET", "/v1/containers")
            rows = (await answer.json(schema.ContainerList)).containers
        except Exception:  # noqa: BLE001 - it is being started
            await asyncio.sleep(0.05)
        else:
            return next(row.exits for row in rows if row.name == "main")


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"RootDevice": "/dev/no-such-drive"}, "mount /dev/no-such-drive: no such file or directory"),
        ({"ExecOverride": ["no-such-program"]}, "no-such-program"),
        ({"UserOverride": "nobody-of-that-name"}, "nobody-of-that-name"),
    ],
)
def test_what_cannot_be_run_is_told_and_ends_the_machine(machine: Old, more: dict[str, Any], why: str) -> None:
    async def test() -> None:
        await machine.become("true", **more)
        assert await machine.exact("GET", "/v1/exit_code") == b'{"code":127,"oom_killed":false}'
        await machine.ended()
        assert why in await machine.console("could not run the main process")

    machine.test(test)


def test_memory_that_was_short_is_told_of_every_process(machine: Old) -> None:
    """7: by the cgroup of all of them, not by a line about one. 5: nothing looks every second whether it has ended."""

    async def test() -> None:
        await machine.become("trap 'exit 0' TERM; echo ready; while :; do sleep 1000 & wait; done")
        await machine.console("\nready\n")
        rows = await until(machine, lambda rows: rows["app"].status == rows["main"].status == "running")
        await asleep(machine.agent_pid())
        limit_memory(seen_here(rows["app"].pid), 24 << 20)
        grown = await machine.execute("sh", "-c", "x=$(head -c 64000000 /dev/zero | tr '\\0' x); echo $?; :")
        assert grown["exit_signal"] == 9 or grown["exit_code"] != 0
        await machine.exact("POST", "/v1/signals", {"signal": 15})
        assert await machine.exact("GET", "/v1/exit_code") == b'{"code":0,"oom_killed":true}'
        await machine.console("Process appears to have been OOM killed!")

    machine.test(test)


async def asleep(pid: int) -> None:
    """Returns once no thread of it has run for longer than a second."""
    before, after = -1, _turns(pid)
    while before != after:
        await asyncio.sleep(1.2)
        before, after = after, _turns(pid)


def _turns(pid: int) -> int:
    """How often its threads have waited for something."""
    found = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        text = pathlib.Path(f"/proc/{pid}/task/{task}/status").read_text()
        found += int(text.partition("voluntary_ctxt_switches:")[2].split()[0])
    return found


def limit_memory(pid: int, limit_bytes: int) -> None:
    """Of the cgroup that it is in, whichever version has the controller."""
    groups = dict(line.split(":", 2)[1:] for line in pathlib.Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    for place, name in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        file = pathlib.Path(f"{place}{groups.get('memory', groups.get('', ''))}", name)
        if file.exists():
            file.write_text(str(limit_bytes))
            return
    raise AssertionError(f"no memory cgroup of {pid}: {groups}")
