"""version, status, adopt, world, freeze, shutdown, proxy, descriptors, and how the server treats odd clients."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket as sockets
from collections.abc import Awaitable, Callable
from typing import Literal

import msgspec
import pytest

from pilot import errors
from pilot.kernel import mounts
from pilot.runtime.values import Stdio
from pilot.server import client
from pilot.wire import dial, schema, websocket
from tests.support.fake_machine import FakeContainer, FakeMachine

pytestmark = pytest.mark.requires("root", "private")


def run(machine: FakeMachine, test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60), machine.agent():
            await test()

    asyncio.run(bounded())


async def call(machine: FakeMachine, method: str, target: str, json: object = None) -> tuple[int, dict[str, object]]:
    answer = await client.request(await machine.dial(), method, target, json=json)
    body = await answer.body()
    return answer.status, msgspec.json.decode(body) if body else {}


def test_version_and_status(machine: FakeMachine) -> None:
    async def test() -> None:
        status, version = await call(machine, "GET", "/v1/version")
        assert (status, version["api"]) == (200, "1")
        assert "exec" in version["features"]  # type: ignore[operator]
        status, answer = await call(machine, "GET", "/v1/status")
        assert answer == {
            "state": "ready", "boot_id": "boot", "isolation": "container", "world": "running", "sessions": 0,
            "agent_restarts": 0, "name": None, "world_error": None, "tasks": [], "http_port": None,
            "out_of_memory": None, "read_only": False, "prepared": True,
            "privileges": {"devices": [], "no_new_privileges": False, "profile": ""},
        }  # fmt: skip

    run(machine, test)


def test_adopt_is_told_what_a_container_may_not(machine: FakeMachine) -> None:
    before = os.uname().nodename

    async def test() -> None:
        body = {"name": "walker", "hostname": "walker-host", "time_ns": 1, "entropy": "AAAA", "environment": {"A": "b"}}
        status, answer = await call(machine, "POST", "/v1/adopt", body)
        assert (status, answer["applied"]) == (200, ["hostname"])
        assert sorted(answer["refused"]) == ["entropy", "time"]  # type: ignore[call-overload]
        assert os.uname().nodename == "walker-host"
        named = (await call(machine, "GET", "/v1/status"))[1]
        assert (named["name"], named["boot_id"] == "boot") == ("walker", False), "a clone keeps its template's boot id"
        assert (await call(machine, "POST", "/v1/adopt", body))[0] == 200
        assert (await call(machine, "GET", "/v1/status"))[1]["boot_id"] == named["boot_id"]
        assert (await call(machine, "POST", "/v1/adopt", {"name": "x", "entropy": "!"}))[0] == 400
        assert (await call(machine, "POST", "/v1/adopt", {}))[0] == 400

    try:
        run(machine, test)
    finally:
        sockets.sethostname(before)


def test_freeze_is_the_hosts_in_a_container(machine: FakeMachine) -> None:
    async def test() -> None:
        for verb in ("freeze", "thaw"):
            status, answer = await call(machine, "POST", f"/v1/world/{verb}", {"deadline_ms": 100})
            assert (status, answer["code"]) == (412, "failed_precondition")

    run(machine, test)


def test_shutdown_answers_first(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            stopped: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            app.machine_api.on_shutdown = stopped.set_result
            assert (await call(machine, "POST", "/v1/shutdown", {"reboot": True}))[0] == 202
            assert await stopped is True

    asyncio.run(test())


@pytest.fixture
def empty(tmp_path: os.PathLike[str]) -> FakeMachine:
    return FakeMachine(os.path.join(os.fspath(tmp_path), "run"))


def disk_with_world(directory: str) -> int:
    """A detached tmpfs with an empty world."""
    made = mounts.mount_detached("tmpfs", {"mode": "0755"})
    mounts.move_mount(made, directory)
    os.close(made)
    os.makedirs(os.path.join(directory, "rootfs/home/sprite"))
    detached = mounts.open_tree(directory, clone=True)
    mounts.umount(directory)
    return detached


def text_of(path: str) -> str:
    with open(path) as file:
        return file.read()


def send(machine: FakeMachine, message: bytes, fds: list[int]) -> bytes:
    with sockets.socket(sockets.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(machine.dial_path)
        connection.sendall(dial.connect_line(dial.PORT_DESCRIPTORS))
        assert connection.recv(100) == dial.ok_line(dial.PORT_DESCRIPTORS)
        sockets.send_fds(connection, [message], fds)
        return connection.recv(1000)


def test_a_world_is_mounted_started_stopped_and_unmounted(empty: FakeMachine, tmp_path: os.PathLike[str]) -> None:
    place = os.path.join(os.fspath(tmp_path), "place")
    os.mkdir(place)

    async def test() -> None:
        for disk, status in (({"descriptor": "disk"}, 404), ({"serial": "none"}, 404), ({}, 400)):
            assert (await call(empty, "PUT", "/v1/world", {"disk": disk}))[0] == status
        assert (await call(empty, "GET", "/v1/status"))[1]["world"] == "failed"
        refused, _ = await call(empty, "GET", "/v1/fs/list?path=/")
        assert refused == 503
        disk_fd = disk_with_world(place)
        assert await asyncio.to_thread(send, empty, b'{"name": "disk"}\n', [disk_fd]) == b"OK\n"
        os.close(disk_fd)
        assert "disk" in empty.link.stored
        body = {"disk": {"descriptor": "disk"}, "hostname": "walker", "environment": {}}
        status, answer = await call(empty, "PUT", "/v1/world", body)
        assert (status, answer["status"]) == (200, "running")
        assert answer["pid"] == (await call(empty, "PUT", "/v1/world", body))[1]["pid"]
        assert mounts.is_mount_point(empty.paths.disk)
        assert "disk" not in empty.link.stored
        assert "walker" in text_of(os.path.join(empty.paths.rootfs, "etc/hosts"))
        assert (await call(empty, "DELETE", "/v1/world"))[1] == {"status": "none", "pid": None}
        assert not mounts.is_mount_point(empty.paths.disk)
        assert (await call(empty, "DELETE", "/v1/world"))[0] == 200

    run(empty, test)
    empty.close()


_DISK = {"descriptor": "none"}


@pytest.mark.parametrize(
    ("wanted", "status", "told"),
    [
        ({"disk": {}}, 400, "disk"),
        ({"disk": {"descriptor": "a", "serial": "b"}}, 400, "disk"),
        ({"disk": {"serial": "none"}}, 404, "serial"),
        ({"disk": {"serial": ""}}, 404, "serial"),
        ({"disk": _DISK, "hostname": "n" * 65}, 400, "hostname"),
        ({"disk": _DISK, "hostname": "two words"}, 400, "hostname"),
        ({"disk": _DISK, "hostname": "a\nb"}, 400, "hostname"),
        ({"disk": _DISK, "hostname": "a\0b"}, 400, "hostname"),
        ({"disk": _DISK, "environment": {"A=B": "c"}}, 400, "environment"),
        ({"disk": _DISK, "environment": {"": "c"}}, 400, "environment"),
        ({"disk": _DISK, "environment": {"A": "b\0c"}}, 400, "environment"),
    ],
)
def test_a_world_that_cannot_be_meant_changes_nothing(
    machine: FakeMachine, wanted: dict[str, object], status: int, told: str
) -> None:
    async def test() -> None:
        answered, answer = await call(machine, "PUT", "/v1/world", wanted)
        assert answered == status
        assert told in str(answer["error"])
        assert "Errno" not in str(answer["error"])
        now = (await call(machine, "GET", "/v1/status"))[1]
        assert (now["world"], now["world_error"]) == ("running", None)

    run(machine, test)


def test_what_the_kernel_refuses_is_told_without_its_number(
    empty: FakeMachine, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse_mount(mount_fd: int, target: str) -> None:
        raise OSError(errno.EUCLEAN, os.strerror(errno.EUCLEAN), target)

    async def test() -> None:
        file = os.memfd_create("disk")
        assert await asyncio.to_thread(send, empty, b'{"name": "disk"}\n', [file]) == b"OK\n"
        os.close(file)
        monkeypatch.setattr(mounts, "move_mount", refuse_mount)
        status, answer = await call(empty, "PUT", "/v1/world", {"disk": {"descriptor": "disk"}})
        said = f"{empty.paths.disk}: structure needs cleaning"
        assert (status, answer["error"], answer["code"]) == (500, said, "internal")
        assert (await call(empty, "GET", "/v1/status"))[1]["world_error"] == said

    run(empty, test)
    empty.close()


def test_a_start_that_failed_can_be_tried_again(
    empty: FakeMachine, tmp_path: os.PathLike[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = os.path.join(os.fspath(tmp_path), "place")
    os.mkdir(place)

    async def test() -> None:
        disk_fd = disk_with_world(place)
        assert await asyncio.to_thread(send, empty, b'{"name": "disk"}\n', [disk_fd]) == b"OK\n"
        os.close(disk_fd)
        body = {"disk": {"descriptor": "disk"}}
        with monkeypatch.context() as broken:
            broken.setattr(empty.runtime, "create", refuse)
            status, answer = await call(empty, "PUT", "/v1/world", body)
            assert (status, answer["code"]) == (500, "internal")
        failed = (await call(empty, "GET", "/v1/status"))[1]
        assert (failed["world"], failed["world_error"]) == ("failed", "create: no")
        assert (await call(empty, "PUT", "/v1/world", body))[1]["status"] == "running"
        assert (await call(empty, "DELETE", "/v1/world"))[0] == 200
        assert not mounts.is_mount_point(empty.paths.disk)

    run(empty, test)
    empty.close()


def refuse(*_: object, **__: object) -> None:
    raise errors.StepError(0, 1, "create", 1, "no")


@pytest.mark.parametrize(
    "message", [b"junk\n", b'{"name": "../x"}\n', b'{"name": "dial"}\n', b'{"name": "session/1/in"}\n']
)
def test_descriptors_with_other_names_are_refused_and_closed(machine: FakeMachine, message: bytes) -> None:
    read_fd, write_fd = os.pipe()

    async def test() -> None:
        assert (await asyncio.to_thread(send, machine, message, [write_fd])).startswith(b"ERR ")

    run(machine, test)
    os.close(write_fd)
    assert os.read(read_fd, 1) == b""  # nobody has kept the other end
    os.close(read_fd)


def test_proxy(machine: FakeMachine) -> None:
    async def test() -> None:
        async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write((await reader.readexactly(5)).upper())
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(shout, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        socket = await client.open_websocket(await machine.dial(), "/v1/proxy")
        await socket.send('{"host":"localhost","port":%d}' % port)  # noqa: UP031
        assert msgspec.json.decode(str(await socket.receive())) == {
            "status": "connected",
            "target": f"localhost:{port}",
        }
        await socket.send(b"hel")
        await socket.send("lo")
        assert await socket.receive() == b"HELLO"
        assert await socket.receive() == websocket.Closed(1000)
        server.close()
        refused = await client.open_websocket(await machine.dial(), "/v1/proxy")
        await refused.send('{"host":"127.0.0.1","port":1}')
        assert msgspec.json.decode(str(await refused.receive()))["status"] == "error"
        assert isinstance(await refused.receive(), websocket.Closed)

    run(machine, test)


def test_proxy_of_datagrams(machine: FakeMachine) -> None:
    """Each is a message; one that nobody takes is no error."""

    async def test() -> None:
        loop = asyncio.get_running_loop()
        with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as server:
            server.setblocking(False)
            server.bind(("127.0.0.1", 0))
            port = server.getsockname()[1]
            socket = await client.open_websocket(await machine.dial(), "/v1/proxy")
            await socket.send('{"port":%d,"protocol":"udp"}' % port)  # noqa: UP031
            assert msgspec.json.decode(str(await socket.receive()))["status"] == "connected"
            for message in (b"hello", b"x" * 9000):
                await socket.send(message)
                data, source = await loop.sock_recvfrom(server, 65535)
                assert data == message
                await loop.sock_sendto(server, data[::-1], source)
                assert await socket.receive() == message[::-1]
        await socket.send(b"to nobody")
        await socket.send(b"to nobody")
        with sockets.socket(sockets.AF_INET, sockets.SOCK_DGRAM) as server:
            server.setblocking(False)
            server.bind(("127.0.0.1", port))
            data = b""
            while data != b"again":  # a refusal of one before may have taken its place; and those may still come
                await socket.send(b"again")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        data, _ = await loop.sock_recvfrom(server, 65535)
        await socket.close(1000)

    run(machine, test)


def test_ports_that_come_and_go_are_told(machine: FakeMachine) -> None:
    async def test() -> None:
        socket = await client.open_websocket(await machine.dial(), "/v1/ports/watch")
        first = msgspec.json.decode(str(await socket.receive()))
        assert first["type"] == "port_list"
        with sockets.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert port not in {row["port"] for row in first["ports"]}
            opened = msgspec.json.decode(str(await socket.receive()))
        assert opened == {"type": "port_opened", "port": port, "address": "127.0.0.1", "pid": os.getpid()}
        closed = msgspec.json.decode(str(await socket.receive()))
        assert closed == {**opened, "type": "port_closed"}

    run(machine, test)


async def raw(machine: FakeMachine, request: bytes) -> bytes:
    stream, got = await machine.dial(), b""
    stream.write(request)
    await stream.drain()
    while data := await stream.read():
        got += data
    return got


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /v1/none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"404"),
        (b"PATCH /v1/world HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET /v1/exec/1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"405"),
        (b"GET /%ff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", b"400"),
        (b"PUT /v1/world HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n{", b"400"),
        (b"PUT /v1/world HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1100000, b"413"),
        (b"GET /v1/proxy HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n", b"400"),
    ],
)
def test_odd_requests_get_an_answer(machine: FakeMachine, request_bytes: bytes, status: bytes) -> None:
    async def test() -> None:
        answer = await raw(machine, request_bytes)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b'"error":' in answer

    run(machine, test)


def test_one_connection_carries_many_requests(machine: FakeMachine) -> None:
    async def test() -> None:
        one = b"GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n"
        last = b"GET /v1/version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        answer = await raw(machine, one * 3 + last)
        assert answer.count(b"HTTP/1.1 200") == 4

    run(machine, test)


def test_a_port_that_is_not_there_is_refused(machine: FakeMachine) -> None:
    async def test() -> None:
        with pytest.raises(errors.PeerError, match="no such port: 9"):
            await machine.dial(9)

    run(machine, test)


@pytest.mark.parametrize("isolation", ["vm"])
def test_a_frozen_disk_thaws_by_itself(tmp_path: os.PathLike[str], isolation: Literal["vm"]) -> None:
    machine = FakeMachine(os.path.join(os.fspath(tmp_path), "run"), isolation)
    machine.run_world()

    async def test() -> None:
        # The directory of this test is no filesystem of its own: what can be frozen is tried in tests/guest.
        status, _ = await call(machine, "POST", "/v1/world/freeze", {"deadline_ms": 0})
        assert status == 400

    run(machine, test)
    machine.close()


def test_status_is_typed(machine: FakeMachine) -> None:
    async def test() -> None:
        answer = await client.request(await machine.dial(), "GET", "/v1/status")
        assert (await answer.json(schema.Status)).world == "running"
        missing = await client.request(await machine.dial(), "GET", "/v1/nothing")
        with pytest.raises(client.Refused, match="no such call") as refused:
            await missing.json(schema.Status)
        assert (refused.value.status, refused.value.code) == (404, "not_found")

    run(machine, test)


def test_a_copy_that_its_agent_has_not_made_another_one_is_started_anew(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has run, and has the machine id and the keys of the disk that it is a copy of."""
    request = schema.WorldRequest(disk=schema.DiskReference(descriptor="disk"), hostname="copy", is_copy=True)

    def start(_: schema.WorldRequest) -> FakeContainer:
        machine.runtime.create("world", "", stdio=Stdio()).process.close()
        return machine.runtime.load("world")

    def start_and_die(asked: schema.WorldRequest) -> FakeContainer:
        """As far as an agent comes that is killed while a key is made."""
        machine.die()
        return start(asked)

    async def begin(with_: Callable[[schema.WorldRequest], FakeContainer], before: str) -> None:
        async with machine.agent() as app:
            assert app.world.state == before
            await app.world.stop()
            monkeypatch.setattr(app.world, "_start", with_)
            await app.world.start(request)
            assert app.world.state == "running"

    async def test() -> None:
        await begin(start_and_die, "running")
        await begin(start, "failed")
        machine.die()
        async with machine.agent() as app:
            assert app.world.state == "running"

    asyncio.run(asyncio.wait_for(test(), 60))
