"""The fs calls over a real socket, on a real (chrooted) tree: what is made, what is refused, and with which code."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import quote

import msgspec
import pytest

from pilot.server import client
from pilot.server.call import WebSocket
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")


def run(machine: FakeMachine, test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60), machine.agent():
            await test()

    asyncio.run(bounded())


async def call(
    machine: FakeMachine, method: str, target: str, json: object = None, body: bytes | AsyncIterator[bytes] = b""
) -> tuple[int, dict[str, object]]:
    answer = await client.request(await machine.dial(), method, "/v1/fs/" + target, json=json, body=body)
    return answer.status, msgspec.json.decode(await answer.body())


def write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def exists(path: str) -> bool:
    return os.path.lexists(path)


def in_world(machine: FakeMachine, path: str) -> str:
    return os.path.join(machine.paths.rootfs, path.lstrip("/"))


def test_write_and_read_any_size_and_any_bytes(machine: FakeMachine) -> None:
    async def test() -> None:
        piece = os.urandom(1 << 20)

        async def body() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield piece

        status, answer = await call(machine, "PUT", "write?path=/tmp/big&mode=0600", body=body())
        assert (status, answer) == (200, {"path": "/tmp/big", "size": 20 << 20, "mode": "0600"})
        assert stat.S_IMODE(os.stat(in_world(machine, "/tmp/big")).st_mode) == 0o600
        read = await client.request(await machine.dial(), "GET", "/v1/fs/read?path=big&workingDir=/tmp")
        assert (read.status, read.headers["content-length"]) == (200, str(20 << 20))
        assert await read.body() == piece * 20
        part = await client.request(
            await machine.dial(), "GET", "/v1/fs/read?path=/tmp/big", headers={"Range": "bytes=5-14"}
        )
        assert (part.status, part.headers["content-range"]) == (206, f"bytes 5-14/{20 << 20}")
        assert await part.body() == piece[5:15]

    run(machine, test)


def test_a_write_goes_on_where_another_one_ended(machine: FakeMachine) -> None:
    async def test() -> None:
        write(in_world(machine, "/tmp/part"), "0123456789")
        answer = await call(machine, "PUT", "write?path=/tmp/part&offset=4", body=b"abc")
        assert answer == (200, {"path": "/tmp/part", "size": 7, "mode": "0644"})
        with open(in_world(machine, "/tmp/part")) as file:
            assert file.read() == "0123abc", "what was beyond is gone"
        status, told = await call(machine, "PUT", "write?path=/tmp/part&offset=8", body=b"x")
        assert (status, told["code"], "it has 7 bytes, and not 8" in str(told["error"])) == (400, "EINVAL", True)
        assert (await call(machine, "PUT", "write?path=/tmp/none&offset=1", body=b"x"))[0] == 404
        assert not exists(in_world(machine, "/tmp/none"))
        for wrong in ("-1", "x", "1" * 30, "%D9%A3"):
            assert (await call(machine, "PUT", f"write?path=/tmp/part&offset={wrong}", body=b"x"))[0] == 400
        assert (await call(machine, "PUT", "write?path=/tmp/part&offset=0", body=b"new"))[1]["size"] == 3

    run(machine, test)


def test_what_is_made_belongs_to_the_owner_of_its_directory(machine: FakeMachine) -> None:
    async def test() -> None:
        os.chown(in_world(machine, "/home/sprite"), 1000, 1000)
        await call(machine, "PUT", "write?path=/home/sprite/new/dir/file")
        await call(machine, "PUT", "write?path=/root/file")
        for path, owner in {"/home/sprite/new": 1000, "/home/sprite/new/dir/file": 1000, "/root/file": 0}.items():
            assert os.stat(in_world(machine, path)).st_uid == owner

    run(machine, test)


def test_no_link_leads_out_of_the_world(machine: FakeMachine, tmp_path: os.PathLike[str]) -> None:
    async def test() -> None:
        outside = os.path.join(os.fspath(tmp_path), "outside")
        write(outside, "secret")
        os.symlink(outside, in_world(machine, "/tmp/absolute"))
        os.symlink("../../../../../../../../.." + outside, in_world(machine, "/tmp/relative"))
        for name in ("absolute", "relative"):
            status, answer = await call(machine, "GET", f"read?path=/tmp/{name}")
            assert (status, answer["code"]) == (404, "ENOENT")
        status, answer = await call(machine, "GET", "read?path=" + quote("/../../.." + outside))
        assert (status, answer["code"]) == (404, "ENOENT")

    run(machine, test)


def test_list(machine: FakeMachine) -> None:
    async def test() -> None:
        await call(machine, "PUT", "write?path=" + quote("/tmp/a/ünïcode 1.txt"), body=b"123")
        os.symlink("nowhere", in_world(machine, "/tmp/a/link"))
        os.mkdir(in_world(machine, "/tmp/a/sub"))
        await call(machine, "PUT", "write?path=/tmp/a/sub/deep.txt")
        status, answer = await call(machine, "GET", "list?path=/tmp/a")
        rows = {row["name"]: row for row in answer["entries"]}  # type: ignore[attr-defined]
        assert (status, answer["count"], sorted(rows)) == (200, 3, ["link", "sub", "ünïcode 1.txt"])
        row = rows["ünïcode 1.txt"]
        assert (row["type"], row["size"], row["mode"], row["isDir"]) == ("file", 3, "644", False)
        assert row["modTime"].endswith("Z")
        assert (rows["link"]["type"], rows["sub"]["type"], rows["sub"]["isDir"]) == ("symlink", "directory", True)
        _, answer = await call(machine, "GET", "list?path=/tmp/a&recursive=true&pattern=*.txt")
        assert [row["path"] for row in answer["entries"]] == [  # type: ignore[attr-defined]
            "/tmp/a/sub/deep.txt",
            "/tmp/a/ünïcode 1.txt",
        ]
        _, answer = await call(machine, "GET", "list?path=/tmp/a/sub/deep.txt")
        assert [row["path"] for row in answer["entries"]] == ["/tmp/a/sub/deep.txt"]  # type: ignore[attr-defined]

    run(machine, test)


def test_delete(machine: FakeMachine) -> None:
    async def test() -> None:
        await call(machine, "PUT", "write?path=/tmp/d/e/f")
        os.symlink("/home", in_world(machine, "/tmp/d/home"))
        assert (await call(machine, "DELETE", "delete?path=/tmp/d"))[1]["code"] == "ENOTEMPTY"
        status, answer = await call(machine, "DELETE", "delete?path=/tmp/d&recursive=true")
        assert (status, answer) == (200, {"deleted": ["/tmp/d"], "count": 1})
        assert not exists(in_world(machine, "/tmp/d"))
        assert exists(in_world(machine, "/home/sprite"))
        assert (await call(machine, "DELETE", "delete?path=/tmp/d"))[0] == 404
        assert (await call(machine, "DELETE", "delete?path=/&recursive=true"))[1]["code"] == "EPERM"

    run(machine, test)


def test_rename_and_copy(machine: FakeMachine) -> None:
    async def test() -> None:
        await call(machine, "PUT", "write?path=/tmp/x/one&mode=0755", body=b"one")
        os.symlink("one", in_world(machine, "/tmp/x/link"))
        move = {"source": "x", "dest": "y", "workingDir": "/tmp"}
        assert (await call(machine, "POST", "copy", move))[1]["code"] == "EISDIR"
        status, answer = await call(machine, "POST", "copy", {**move, "recursive": True})
        assert (status, answer["count"], answer["totalBytes"]) == (200, 3, 3)
        assert os.readlink(in_world(machine, "/tmp/y/link")) == "one"
        assert os.stat(in_world(machine, "/tmp/y/one")).st_mode & 0o777 == 0o755
        inside = {"source": "/tmp/x", "dest": "/tmp/x/below", "recursive": True}
        assert (await call(machine, "POST", "copy", inside))[1]["code"] == "EINVAL"
        status, answer = await call(machine, "POST", "rename", {"source": "/tmp/y", "dest": "/tmp/z"})
        assert (status, answer) == (200, {"source": "/tmp/y", "dest": "/tmp/z"})
        assert not exists(in_world(machine, "/tmp/y"))
        missing = {"source": "/tmp/none", "dest": "/tmp/n"}
        assert (await call(machine, "POST", "rename", missing))[0] == 404

    run(machine, test)


def test_chmod_and_chown(machine: FakeMachine) -> None:
    async def test() -> None:
        await call(machine, "PUT", "write?path=/tmp/p/q")
        os.symlink("/etc/passwd", in_world(machine, "/tmp/p/link"))
        before = os.stat(in_world(machine, "/etc/passwd"))
        status, answer = await call(machine, "POST", "chmod", {"path": "/tmp/p", "mode": "0711", "recursive": True})
        assert (status, answer["count"]) == (200, 2)
        assert os.stat(in_world(machine, "/tmp/p/q")).st_mode & 0o777 == 0o711
        owner = {"path": "/tmp/p", "uid": "root", "gid": 1234, "recursive": True}
        status, answer = await call(machine, "POST", "chown", owner)
        assert (status, answer["affected"][0]) == (200, {"path": "/tmp/p", "uid": 0, "gid": 1234})  # type: ignore[index]
        assert os.stat(in_world(machine, "/tmp/p/q")).st_gid == 1234
        after = os.stat(in_world(machine, "/etc/passwd"))
        assert (before.st_mode, before.st_gid) == (after.st_mode, after.st_gid)
        assert (await call(machine, "POST", "chown", {"path": "/tmp", "uid": "nobody-here"}))[0] == 400

    run(machine, test)


@pytest.mark.parametrize(
    ("method", "target", "status", "code"),
    [
        ("GET", "read?path=/none", 404, "ENOENT"),
        ("GET", "read?path=/tmp", 400, "EISDIR"),
        ("GET", "read?path=/etc/passwd/x", 400, "ENOTDIR"),
        ("GET", "read", 400, "EINVAL"),
        ("GET", "read?path=a%00b", 400, "EINVAL"),
        ("GET", "read?path=/tmp/fifo", 400, "EINVAL"),
        ("PUT", "write?path=/tmp", 400, "EISDIR"),
        ("PUT", "write?path=/tmp/x&mode=999", 400, "EINVAL"),
        ("PUT", "write?path=/none/x&mkdirParents=false", 404, "ENOENT"),
        ("PUT", "write?path=/tmp/fifo", 400, "EINVAL"),
        ("GET", "list?path=/none", 404, "ENOENT"),
        ("GET", "list?path=/&recursive=perhaps", 400, "EINVAL"),
        ("POST", "chmod", 400, "EINVAL"),
    ],
)
def test_errors_have_the_codes_that_clients_know(
    machine: FakeMachine, method: str, target: str, status: int, code: str
) -> None:
    os.mkfifo(in_world(machine, "/tmp/fifo"))

    async def test() -> None:
        got, answer = await call(machine, method, target, body=b"x")
        assert (got, answer["code"]) == (status, code)
        assert isinstance(answer["error"], str)

    run(machine, test)


def test_an_upload_that_breaks_off_is_not_taken_for_whole(machine: FakeMachine) -> None:
    async def test() -> None:
        stream = await machine.dial()
        stream.write(b"PUT /v1/fs/write?path=/tmp/half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
        await stream.drain()
        stream.write_eof()
        assert b" 200 " not in await stream.read()

    run(machine, test)


async def opened(machine: FakeMachine, target: str) -> WebSocket:
    return await client.open_websocket(await machine.dial(), target)


def test_watch(machine: FakeMachine) -> None:
    async def test() -> None:
        socket = await opened(machine, "/v1/fs/watch")
        await socket.send('{"type":"subscribe","paths":["tmp"],"recursive":true,"workingDir":"/"}')
        assert msgspec.json.decode(str(await socket.receive())) == {"type": "subscribed", "paths": ["/tmp"]}
        os.mkdir(in_world(machine, "/tmp/sub"))
        assert await until(socket, "create", "/tmp/sub")
        write(in_world(machine, "/tmp/sub/file"), "12345")
        event = await until(socket, "write", "/tmp/sub/file")
        assert (event["isDir"], event["timestamp"][-1]) == (False, "Z")  # type: ignore[index]
        os.unlink(in_world(machine, "/tmp/sub/file"))
        assert await until(socket, "remove", "/tmp/sub/file")
        await socket.send('{"type":"subscribe","paths":["/none"]}')
        assert msgspec.json.decode(str(await socket.receive()))["type"] == "error"

    run(machine, test)


async def until(socket: WebSocket, name: str, path: str) -> dict[str, object]:
    while True:
        event = msgspec.json.decode(str(await socket.receive()))
        assert event["type"] == "event", event
        if (event["event"], event["path"]) == (name, path):
            return event  # type: ignore[no-any-return]
