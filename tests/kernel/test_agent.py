"""The real agent under the real init, with the real runtime: a world, sessions in it, and kill -9 of the agent."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from urllib.parse import urlencode

import pytest
from tests.support import busybox, underinit

from pilot.kernel import mounts
from pilot.server import client, stream
from pilot.server.call import WebSocket
from pilot.wire import dial, schema, websocket
from pilot.wire import exec_frames as ef

pytestmark = pytest.mark.requires("root", "private", "busybox", "userns")


WORLD = {"disk": {"descriptor": "disk"}, "hostname": "walker", "environment": {"FROM_WORLD": "yes"}}


class Machine:
    """init, agent and a listening socket; the disk is a tmpfs with a busybox world."""

    def __init__(self, directory: pathlib.Path, init: pathlib.Path) -> None:
        self.directory = directory
        self.run = directory / "run"
        self.run.mkdir()
        self._dialled: list[stream.SocketStream] = []
        self.dial_path = str(directory / "dial.sock")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.dial_path)
            listening.listen(64)
            command = [sys.executable, "-m", "tests.support.agent_main", str(self.run), str(init)]
            environment = {
                **os.environ,
                "PILOT_FDS": f"dial:{listening.fileno()}",
                "PYTHONPATH": f"{underinit.ROOT / 'src'}:{underinit.ROOT}",
            }
            with (directory / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", init, "--", *command],
                    env=environment, cwd=underinit.ROOT, pass_fds=[listening.fileno()],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip

    def agent_pid(self) -> int:
        """As this namespace sees it: the child of init, which is the child of unshare."""
        init = _children(self._process.pid)[0]
        return next(pid for pid in _children(init) if b"agent_main" in _command_line(pid))

    def send_disk(self, disk_fd: int) -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(30)
            connection.connect(self.dial_path)
            connection.sendall(dial.connect_line(dial.PORT_DESCRIPTORS))
            assert connection.recv(100) == dial.ok_line(dial.PORT_DESCRIPTORS)
            socket.send_fds(connection, [b'{"name": "disk"}\n'], [disk_fd])
            assert connection.recv(100) == b"OK\n"

    async def dial(self) -> stream.SocketStream:
        dialled = await stream.dial_unix(self.dial_path, dial.PORT_API, timeout_s=30)
        self._dialled.append(dialled)
        return dialled

    def test(self, body: Callable[[], Awaitable[None]]) -> None:
        """Run a test's coroutine, with a limit, and end its connections."""

        async def bounded() -> None:
            try:
                async with asyncio.timeout(120):
                    await body()
            finally:
                for dialled in self._dialled:
                    await dialled.close()

        asyncio.run(bounded())

    async def call(self, method: str, target: str, body: object = None) -> client.Answer:
        return await client.request(await self.dial(), method, target, json=body, timeout_s=60)

    async def exec(self, *words: str, id: str = "", **options: str) -> WebSocket:
        query = urlencode([("cmd", word) for word in words] + list(options.items()))
        return await client.open_websocket(await self.dial(), f"/v1/exec{'/' + id if id else ''}?{query}", timeout_s=30)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


def _children(pid: int) -> list[int]:
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as children:
            found += [int(child) for child in children.read().split()]
    return found


def _command_line(pid: int) -> bytes:
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    return underinit.build_init_or_skip("static", tmp_path_factory.mktemp("init"))


@pytest.fixture
def machine(tmp_path: pathlib.Path, init: pathlib.Path) -> Iterator[Machine]:
    made = Machine(tmp_path, init)
    yield made
    made.stop()
    print((tmp_path / "log").read_text())


def make_disk(directory: pathlib.Path) -> int:
    """A detached tmpfs with a world on it."""
    disk_fd = mounts.mount_detached("tmpfs", {"mode": "0755"})
    place = directory / "place"
    place.mkdir(exist_ok=True)
    mounts.move_mount(disk_fd, place)
    os.close(disk_fd)
    busybox.make_rootfs(place)
    (place / "rootfs/etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nsprite:x:1000:1000::/home/sprite:/bin/sh\n")
    (place / "rootfs/home/sprite").mkdir(parents=True)
    os.chown(place / "rootfs/home/sprite", 1000, 1000)
    detached = mounts.open_tree(place, clone=True, recursive=True)
    mounts.umount(place)
    return detached


async def start_world(machine: Machine) -> None:
    disk_fd = make_disk(machine.directory)
    try:
        machine.send_disk(disk_fd)
    finally:
        os.close(disk_fd)
    answer = await (await machine.call("PUT", "/v1/world", WORLD)).json(schema.WorldAnswer)
    assert answer.status == "running"


async def collect(socket: WebSocket) -> tuple[bytes, bytes, list[websocket.Event]]:
    """stdout, stderr and the last events."""
    out, err, last = b"", b"", []
    while True:
        event = await socket.receive()
        last.append(event)
        if isinstance(event, bytes):
            out += event[1:] if event[0] == 1 else b""
            err += event[1:] if event[0] == 2 else b""
        if isinstance(event, websocket.Closed):
            return out, err, last[-3:]


def test_a_world_from_nothing_to_nothing(machine: Machine) -> None:
    async def test() -> None:
        async with asyncio.timeout(60):
            await start_world(machine)
        script = "id -un; pwd; hostname; echo $FROM_WORLD $HOME; cat /proc/1/cmdline | tr '\\0' ' '; ls /.sprite"
        out, err, last = await collect(await machine.exec("sh", "-c", script))
        assert out.decode().split() == [
            "sprite",
            "/home/sprite",
            "walker",
            "yes",
            "/home/sprite",
            "/.sprite/init",
            "--reaper",
            "api.sock",
            "bin",
            "init",
            "llm.txt",
            "logs",
            "policy",
            "version.txt",
        ]
        assert err == b""
        assert last == ['{"type":"exit","exit_code":0}', b"\x03\x00", websocket.Closed(1000)]

        events = (await collect(await machine.exec("sh", "-c", "tty; stty size", tty="true", rows="33", cols="99")))[2]
        assert events[-1] == websocket.Closed(1000)

        written = await client.request(await machine.dial(), "PUT", "/v1/fs/write?path=/home/sprite/a", body=b"hi")
        assert written.status == 200
        out, _, _ = await collect(await machine.exec("stat", "-c", "%u %s", "/home/sprite/a"))
        assert out == b"1000 2\n"

        stopped = await (await machine.call("DELETE", "/v1/world")).json(schema.WorldAnswer)
        assert stopped.status == "none"
        assert not any(
            str(machine.run / "disk") in row.mount_point for row in mounts.read_mountinfo(machine.agent_pid())
        )
        again = await (await machine.call("DELETE", "/v1/world")).json(schema.WorldAnswer)
        assert again.status == "none"

    machine.test(test)


def test_it_says_when_it_has_prepared(machine: Machine) -> None:
    async def test() -> None:
        while not (await (await machine.call("GET", "/v1/status")).json(schema.Status)).prepared:  # noqa: ASYNC110 - nobody tells it
            await asyncio.sleep(0.05)

    machine.test(test)


def test_kill_9_of_the_agent_loses_not_a_byte_and_no_exit_status(machine: Machine) -> None:
    async def test() -> None:
        await start_world(machine)
        ids = []
        for code in range(4):
            tty = {"tty": "true"} if code == 3 else {}
            script = f"seq 1 300000; echo end >&2; exit {code}"
            socket = await machine.exec("sh", "-c", script, detachable="true", **tty)
            ids.append(json.loads(str(await socket.receive()))["session_id"])
        for _ in range(12):
            os.kill(machine.agent_pid(), signal.SIGKILL)
            status = await (await machine.call("GET", "/v1/status")).json(schema.Status)
            assert status.world == "running"
        assert status.agent_restarts == 12
        expected = b"".join(b"%d\n" % n for n in range(1, 300001))
        for code, id in enumerate(ids[:3]):
            out, err, last = await collect(await machine.exec(id=id))
            assert (out == expected, err) == (True, b"end\n")
            assert last[-3:] == [f'{{"type":"exit","exit_code":{code}}}', bytes([3, code]), websocket.Closed(1000)]
        out, closed = await collect_terminal(await machine.exec(id=ids[3]))
        assert out == (expected + b"end\n").replace(b"\n", b"\r\n")
        assert closed == websocket.Closed(4003)

    machine.test(test)


async def collect_terminal(socket: WebSocket) -> tuple[bytes, websocket.Closed]:
    out = b""
    while not isinstance(event := await socket.receive(), websocket.Closed):
        out += event if isinstance(event, bytes) else b""
    return out, event


def test_a_terminal_survives_the_agent(machine: Machine) -> None:
    async def test() -> None:
        await start_world(machine)
        command = "echo ready; read line; echo got $line; exit 5"
        socket = await machine.exec("sh", "-c", command, tty="true")
        info = json.loads(str(await socket.receive()))
        while b"ready" not in bytes(await socket.receive()):  # type: ignore[arg-type]
            pass
        os.kill(machine.agent_pid(), signal.SIGKILL)
        again = await machine.exec(id=info["session_id"])
        assert json.loads(str(await again.receive()))["tty"] is True
        await again.send(b"word\n")
        text, event = b"", await again.receive()
        while isinstance(event, bytes) or event == ef.KEEPALIVE:
            text += event if isinstance(event, bytes) else b""
            event = await again.receive()
        assert text.endswith(b"got word\r\n")
        assert event == '{"type":"exit","exit_code":5}'

    machine.test(test)


def _namespaces(pid: int) -> dict[str, str]:
    kinds = ("user", "mnt", "uts", "ipc", "cgroup", "net", "pid")
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in kinds}


def _status(pid: int) -> dict[str, list[str]]:
    rows = (line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.split() for name, value in rows}


def test_files_are_the_worlds_own_business(machine: Machine) -> None:
    """What does the fs calls is in the world's namespaces, as its root, under its limits; and may no more than that."""

    async def test() -> None:
        await start_world(machine)
        setting = "/proc/sys/net/ipv4/ip_forward"
        refused = await client.request(await machine.dial(), "PUT", f"/v1/fs/write?path={setting}", body=b"1")
        assert (refused.status, json.loads(await refused.body())["code"]) == (403, "EACCES")
        written = await client.request(await machine.dial(), "PUT", "/v1/fs/write?path=/home/sprite/a", body=b"hi")
        assert written.status == 200
        agent = machine.agent_pid()
        child = next(pid for pid in _children(agent) if b"agent.files" in _command_line(pid))
        status = await (await machine.call("PUT", "/v1/world", WORLD)).json(schema.WorldAnswer)
        world = next(
            pid
            for pid in _children(next(iter(_children(machine._process.pid))))
            if _status(pid)["NSpid"][-1] == "1" and pid != agent
        )
        assert status.pid is not None
        theirs, ours, machines = _namespaces(world), _namespaces(child), _namespaces(agent)
        assert {kind for kind in theirs if theirs[kind] != ours[kind]} == {"pid"}
        assert ours["user"] != machines["user"]
        assert os.stat(f"/proc/{child}/root").st_ino == os.stat(f"/proc/{world}/root").st_ino
        assert pathlib.Path(f"/proc/{child}/cgroup").read_text() == pathlib.Path(f"/proc/{world}/cgroup").read_text()
        inside = {os.readlink(f"/proc/{child}/fd/{fd}").partition(":")[0] for fd in os.listdir(f"/proc/{child}/fd")}
        assert inside <= {"/dev/null", str(machine.directory / "log"), "socket", "/"}
        # It goes with its world, and so does the agent's hold on the disk.
        stopped = await (await machine.call("DELETE", "/v1/world")).json(schema.WorldAnswer)
        assert stopped.status == "none"
        assert not os.path.exists(f"/proc/{child}")

    machine.test(test)


def test_a_world_reaches_nothing_beyond_its_namespaces(machine: Machine, tmp_path: pathlib.Path) -> None:
    """What seccomp holds, asked of the kernel by a program in the world, on every ABI; a nested container is no way
    out."""
    probe = tmp_path / "reach"
    source = underinit.ROOT / "tests/support/reach.c"
    include = ["-idirafter", "/usr/include", "-idirafter", f"/usr/include/{os.uname().machine}-linux-gnu"]
    subprocess.run(["musl-gcc", "-O1", "-static", *include, "-o", probe, source], check=True, timeout=60)

    async def test() -> None:
        await start_world(machine)
        target = "/v1/fs/write?path=/bin/reach&mode=0755"
        assert (await client.request(await machine.dial(), "PUT", target, body=probe.read_bytes())).status == 200
        nested = ["unshare", "-U", "-r", "-m", "-p", "-f", "--", "/bin/reach"]
        for command in (["/bin/reach"], nested):
            out, err, _ = await collect(await machine.exec(*command))
            assert err == b""
            said = dict(line.rsplit(": ", 1) for line in out.decode().splitlines())
            refused = {name: int(code) for name, code in said.items() if name not in ("tcp", "personality")}
            assert (said["tcp"], said["personality"]) == ("0", "0")
            assert {code for name, code in refused.items() if "vsock" in name} <= {errno.EAFNOSUPPORT, errno.ENOSYS}
            assert {code for name, code in refused.items() if "io_uring" in name} == {errno.ENOSYS}
            assert (refused["keyctl"], refused["userfaultfd"]) == (errno.ENOSYS, errno.EPERM)
            assert refused["vsock, with more in the register"] == errno.EAFNOSUPPORT

    machine.test(test)


def test_how_a_world_ended_is_known_whoever_saw_it(machine: Machine) -> None:
    """Its PID 1 dies under an agent, and while there is none: init's record becomes the container's exit, once."""

    async def ended() -> schema.ContainerRow:
        while True:
            rows = (await (await machine.call("GET", "/v1/containers")).json(schema.ContainerList)).containers
            if rows and rows[0].status == "stopped":
                return rows[0]
            await asyncio.sleep(0.02)

    async def test() -> None:
        for unseen in (False, True):
            await start_world(machine)
            answer = await (await machine.call("PUT", "/v1/world", WORLD)).json(schema.WorldAnswer)
            agent, init = machine.agent_pid(), _children(machine._process.pid)[0]
            (world,) = (pid for pid in _children(init) if _status(pid)["NSpid"][-1] == "1")
            if unseen:
                os.kill(agent, signal.SIGSTOP)
            os.kill(world, signal.SIGKILL)
            if unseen:
                while os.path.exists(f"/proc/{world}"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                os.kill(agent, signal.SIGKILL)
            row = await ended()
            (last,) = row.exits
            assert (last.exit_code, last.pid) == (137, answer.pid)
            status = await (await machine.call("GET", "/v1/status")).json(schema.Status)
            assert status.world == "failed"
            acknowledged = await machine.call("DELETE", f"/v1/containers/world/exits/{last.seq}")
            assert acknowledged.status == 204
            assert (await machine.call("DELETE", "/v1/world")).status == 200

    machine.test(test)
