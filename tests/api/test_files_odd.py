"""Entries that are odd: one of them never breaks listing, copying or deleting of the rest. And who does the work."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Iterator
from urllib.parse import quote

import msgspec
import pytest

from pilot.agent import fs_watch
from pilot.agent.application import Application
from pilot.agent.files import operations, text
from pilot.kernel import inotify, mounts
from pilot.server import client
from pilot.wire import schema
from tests.api.test_files import call, in_world, opened, run, until, write
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")

LATIN = b"caf\xe9"


def told(name: bytes) -> str:
    return text.tell(os.fsdecode(name))


def test_a_name_that_is_not_utf_8_is_a_name_like_any_other(machine: FakeMachine) -> None:
    async def test() -> None:
        directory = os.fsencode(in_world(machine, "/tmp/")) + LATIN
        os.mkdir(directory)
        path = f"/tmp/{told(LATIN)}/{told(LATIN)}.txt"
        status, answer = await call(machine, "PUT", "write?path=" + quote(path), body=b"milk")
        assert (status, answer["path"]) == (200, path)
        assert os.listdir(directory) == [LATIN + b".txt"]
        status, answer = await call(machine, "GET", "list?recursive=true&path=/tmp")
        assert [row["path"] for row in answer["entries"]] == [f"/tmp/{told(LATIN)}", path]  # type: ignore[attr-defined]
        read = await client.request(await machine.dial(), "GET", "/v1/fs/read?path=" + quote(path))
        assert await read.body() == b"milk"
        move = {"source": path, "dest": told(b"th\xe9"), "workingDir": "/tmp"}
        assert (await call(machine, "POST", "copy", move))[0] == 200
        assert (await call(machine, "POST", "rename", {**move, "dest": "plain"}))[0] == 200
        assert sorted(os.listdir(in_world(machine, "/tmp").encode())) == [LATIN, b"plain", b"th\xe9"]
        status, answer = await call(machine, "DELETE", f"delete?recursive=true&path=/tmp/{quote(told(LATIN))}")
        assert (status, answer) == (200, {"deleted": [f"/tmp/{told(LATIN)}"], "count": 1})
        assert not os.path.exists(directory)

    run(machine, test)


@pytest.mark.parametrize(
    ("time_ns", "expected"),
    [
        (0, ("1970-01-01T00:00:00.000000Z", False)),
        (1_700_000_000_123_456_789, ("2023-11-14T22:13:20.123456Z", False)),
        (-1, ("1969-12-31T23:59:59.999999Z", False)),
        (253_402_300_799_999_999_999, (operations.LATEST, False)),
        (253_402_300_800_000_000_000, (operations.LATEST, True)),
        (2**63 * 10**9, (operations.LATEST, True)),
        (-(2**63) * 10**9, (operations.EARLIEST, True)),
    ],
)
def test_times_are_clamped_to_what_can_be_written(time_ns: int, expected: tuple[str, bool]) -> None:
    assert operations.timestamp(time_ns) == expected


@pytest.fixture
def tmpfs(machine: FakeMachine) -> Iterator[str]:
    """A filesystem with times of 64 bits at the world's /mnt."""
    place = in_world(machine, "/mnt")
    os.mkdir(place)
    mounts.mount("tmpfs", place, "tmpfs", mounts.Flag.NONE, "")
    yield place
    mounts.umount(place)


def test_a_time_beyond_the_year_9999_says_that_it_is_clamped(machine: FakeMachine, tmpfs: str) -> None:
    async def test() -> None:
        write(tmpfs + "/late", "")
        write(tmpfs + "/now", "")
        os.utime(tmpfs + "/late", (1, 2**40))
        _, answer = await call(machine, "GET", "list?path=/mnt")
        rows: list[dict[str, object]] = answer["entries"]  # type: ignore[assignment]
        late, now = rows
        assert (late["modTime"], late["modTimeClamped"]) == (operations.LATEST, True)
        assert "modTimeClamped" not in now

    run(machine, test)


DEEP = 3000


def make_deep(path: str) -> None:
    """DEEP directories, one in the other, and a file at the end: longer than any path may be."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(DEEP):
        os.mkdir("deep", dir_fd=fd)
        below = os.open("deep", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("end", os.O_WRONLY | os.O_CREAT, dir_fd=fd))
    os.close(fd)


def test_three_thousand_nested_directories(machine: FakeMachine, tmpfs: str) -> None:
    async def test() -> None:
        os.mkdir(tmpfs + "/a")
        make_deep(tmpfs + "/a")
        status, answer = await call(machine, "POST", "copy", {"source": "/mnt/a", "dest": "/mnt/b", "recursive": True})
        assert (status, answer["count"]) == (200, DEEP + 2)
        status, answer = await call(machine, "GET", "list?path=/mnt/b&recursive=true")
        assert (status, answer["count"]) == (200, DEEP + 1)
        assert answer["entries"][-1]["name"] == "end"  # type: ignore[index]
        body = {"path": "/mnt/b", "mode": "0700", "recursive": True}
        assert (await call(machine, "POST", "chmod", body))[1]["count"] == DEEP + 2
        for name in "ab":
            assert (await call(machine, "DELETE", f"delete?path=/mnt/{name}&recursive=true"))[0] == 200
        assert os.listdir(tmpfs) == []

    run(machine, test)


def test_one_entry_that_cannot_be_copied_does_not_stop_the_rest(machine: FakeMachine) -> None:
    async def test() -> None:
        await call(machine, "PUT", "write?path=/tmp/t/a", body=b"1")
        os.mkfifo(in_world(machine, "/tmp/t/fifo"))
        await call(machine, "PUT", "write?path=/tmp/t/z/b", body=b"1")
        body = {"source": "/tmp/t", "dest": "/tmp/u", "recursive": True}
        status, answer = await call(machine, "POST", "copy", body)
        assert (status, answer["code"], answer["path"]) == (400, "EINVAL", "/tmp/t/fifo")
        assert os.path.exists(in_world(machine, "/tmp/u/a"))
        assert os.path.exists(in_world(machine, "/tmp/u/z/b"))
        assert (await call(machine, "GET", "list?path=/tmp/t&recursive=true"))[1]["count"] == 4
        assert (await call(machine, "DELETE", "delete?path=/tmp/t&recursive=true"))[0] == 200

    run(machine, test)


@pytest.mark.parametrize("uid", ["²", "1" * 5000, "-2", "4294967296", ""])
def test_what_is_no_id_is_refused(machine: FakeMachine, uid: str) -> None:
    async def test() -> None:
        status, answer = await call(machine, "POST", "chown", {"path": "/tmp", "uid": uid})
        assert (status, answer["code"]) == (400, "EINVAL")

    run(machine, test)


def test_a_world_whose_passwd_has_odd_numbers_still_runs_sessions(machine: FakeMachine) -> None:
    async def test() -> None:
        write(in_world(machine, "/etc/passwd"), "sprite:x:²:1000::/home/sprite:/bin/sh\n")
        write(in_world(machine, "/etc/group"), "wheel:x:²:sprite\n")
        answer = await client.request(await machine.dial(), "POST", "/v1/exec?cmd=true")
        assert answer.status == 200
        await answer.body()

    run(machine, test)


@pytest.fixture
def proc(machine: FakeMachine) -> Iterator[str]:
    place = in_world(machine, "/proc")
    os.mkdir(place)
    mounts.mount("proc", place, "proc", mounts.Flag.NONE, "")
    yield place
    mounts.umount(place)


def test_filesystems_of_the_kernel_are_no_place_for_files(machine: FakeMachine, proc: str) -> None:
    setting = "/proc/sys/net/ipv4/ip_forward"
    os.symlink(setting, in_world(machine, "/tmp/link"))
    with open(setting) as file:
        before = file.read()

    async def test() -> None:
        for path in (setting, "/tmp/link"):
            assert (await call(machine, "PUT", f"write?path={path}", body=b"1"))[:1] == (403,)
            assert (await call(machine, "GET", f"read?path={path}"))[1]["code"] == "EACCES"
            assert (await call(machine, "POST", "chmod", {"path": path, "mode": "600"}))[0] == 403
        await call(machine, "PUT", "write?path=/tmp/one", body=b"1")
        for call_, body in {
            "copy": {"source": "/tmp/one", "dest": setting},
            "rename": {"source": "/tmp/one", "dest": "/proc/one"},
        }.items():
            assert (await call(machine, "POST", call_, body))[0] == 403
        assert (await call(machine, "POST", "copy", {"source": setting, "dest": "/tmp/two"}))[0] == 403
        assert (await call(machine, "GET", "list?path=/proc/sys"))[0] == 403
        _, answer = await call(machine, "GET", "list?path=/&recursive=true")
        under = [row["path"] for row in answer["entries"] if row["path"].startswith("/proc")]  # type: ignore[attr-defined]
        assert under == ["/proc"]
        socket = await opened(machine, "/v1/fs/watch")
        await socket.send('{"type":"subscribe","paths":["/proc"]}')
        assert msgspec.json.decode(str(await socket.receive()))["type"] == "error"

    run(machine, test)
    with open(setting) as file:
        assert file.read() == before


async def with_agent(machine: FakeMachine, test: object) -> None:
    async with asyncio.timeout(60), machine.agent() as app:
        await test(app)  # type: ignore[operator]


def child_pid(app: Application) -> int:
    (child,) = app.world.files()._idle
    return child._process.pid


def test_a_listing_that_hangs_holds_up_nobody_else(machine: FakeMachine) -> None:
    async def test(app: Application) -> None:
        await call(machine, "PUT", "write?path=/tmp/a", body=b"content")
        stopped = child_pid(app)
        os.kill(stopped, signal.SIGSTOP)
        listing = asyncio.create_task(call(machine, "GET", "list?path=/&recursive=true"))
        while app.world.files()._idle:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        for _ in range(3):
            read = await client.request(await machine.dial(), "GET", "/v1/fs/read?path=/tmp/a")
            assert await read.body() == b"content"
        assert not listing.done()
        os.kill(stopped, signal.SIGCONT)
        assert (await listing)[0] == 200

    asyncio.run(with_agent(machine, test))


def test_a_child_that_is_killed_costs_one_call(machine: FakeMachine) -> None:
    async def test(app: Application) -> None:
        await call(machine, "PUT", "write?path=/tmp/a")
        pid = child_pid(app)
        os.kill(pid, signal.SIGSTOP)
        reading = asyncio.create_task(call(machine, "GET", "list?path=/tmp"))
        while app.world.files()._idle:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        os.kill(pid, signal.SIGKILL)
        assert (await reading)[0] == 503
        assert (await call(machine, "GET", "list?path=/tmp"))[0] == 200

    asyncio.run(with_agent(machine, test))


def test_children_leave_nothing(machine: FakeMachine) -> None:
    async def test(app: Application) -> None:
        await asyncio.gather(*(call(machine, "GET", "list?path=/") for _ in range(20)))
        pool = app.world.files()
        pids = [child._process.pid for child in pool._all]
        assert 1 <= len(pids) <= 6
        await app.close()
        for pid in pids:
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    asyncio.run(with_agent(machine, test))


def test_an_answer_is_as_long_as_it_says_and_is_not_held_in_memory(machine: FakeMachine) -> None:
    async def test() -> None:
        os.mkdir(in_world(machine, "/tmp/many"))
        for number in range(5000):
            os.mknod(in_world(machine, f"/tmp/many/{number:05}"), stat.S_IFREG)
        answer = await client.request(await machine.dial(), "GET", "/v1/fs/list?path=/tmp/many")
        body = await answer.body()
        assert int(answer.headers["content-length"]) == len(body)
        listing = msgspec.json.decode(body, type=schema.Listing)
        assert (listing.path, listing.count, len(listing.entries)) == ("/tmp/many", 5000, 5000)

    run(machine, test)


def test_what_is_made_in_new_directories_is_told_once(machine: FakeMachine) -> None:
    count = 60

    async def test() -> None:
        socket = await opened(machine, "/v1/fs/watch")
        await socket.send('{"type":"subscribe","paths":["/tmp"],"recursive":true}')
        assert msgspec.json.decode(str(await socket.receive()))["type"] == "subscribed"
        expected = set()
        for number in range(count):
            os.makedirs(in_world(machine, f"/tmp/d{number}/e"))
            write(in_world(machine, f"/tmp/d{number}/e/f"), "x")
            expected |= {f"/tmp/d{number}", f"/tmp/d{number}/e", f"/tmp/d{number}/e/f"}
        write(in_world(machine, "/tmp/last"), "x")
        created: list[str] = []
        while set(created) != expected | {"/tmp/last"}:
            event = msgspec.json.decode(str(await socket.receive()))
            assert event["type"] == "event"
            created += [event["path"]] if event["event"] == "create" else []
        # Whatever follows comes after everything that was queued.
        write(in_world(machine, "/tmp/d0/e/after"), "x")
        while True:
            event = msgspec.json.decode(str(await socket.receive()))
            if event["event"] == "create" and event["path"] == "/tmp/d0/e/after":
                break
            created += [event["path"]] if event["event"] == "create" else []
        assert len(created) == len(set(created))

    run(machine, test)


def test_an_overflow_is_told_and_what_it_hid_is_watched(machine: FakeMachine) -> None:
    async def test(app: Application) -> None:
        watches = fs_watch.Watches(app.world.files())
        try:
            await watches.subscribe(schema.WatchRequest(type="subscribe", paths=["tmp"], recursive=True))
            # As if its event had been lost.
            os.mkdir(in_world(machine, "/tmp/hidden"))
            os.read(watches.fd, inotify.READ_BYTES)
            (lost,) = await watches._event(inotify.Event(-1, inotify.Mask.Q_OVERFLOW, ""))
            assert lost.type == "error"
            write(in_world(machine, "/tmp/hidden/file"), "x")
            events = await watches.read() or []
            assert ("create", "/tmp/hidden/file") in {(event.event, event.path) for event in events}
        finally:
            watches.close()

    asyncio.run(with_agent(machine, test))


def test_a_watch_that_is_too_large_says_so(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fs_watch, "MAX_WATCHES", 10)

    async def test() -> None:
        socket = await opened(machine, "/v1/fs/watch")
        await socket.send('{"type":"subscribe","paths":["/tmp"],"recursive":true}')
        assert msgspec.json.decode(str(await socket.receive()))["type"] == "subscribed"
        os.makedirs(in_world(machine, "/tmp/" + "/".join("d" * 20)))
        assert await until(socket, "create", "/tmp/d")
        event = msgspec.json.decode(str(await socket.receive()))
        assert event["type"] == "error"
        assert "not watched" in event["message"]

    run(machine, test)
