"""The tasks of a group, with a machine that is none: what they may have of the host, and what is done one at a time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import threading
import urllib.parse
from collections.abc import AsyncIterator, Sequence
from typing import cast

import msgspec
import pytest

from pilot import errors
from pilot.shim import messages, service, tasks, wanted
from pilot.shim.group import Group
from pilot.shim.machine import Machine
from pilot.shim.publishing import Publisher
from pilot.wire import events, graph
from pilot.wire.operations import Answered, Asked, Operation

DEADLINE_S = 60.0


class Silent(Machine):
    """It can be made and ended, and answers nothing. Nothing listens at its `dial_path`."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(Group(str(directory)))
        self.making = threading.Lock()
        self.there = False

    def start(self, memory_bytes: int) -> None:
        assert self.making.acquire(blocking=False), "two make it at once"
        try:
            threading.Event().wait(0.05)  # another that comes meanwhile finds it being made
            self.there = True
        finally:
            self.making.release()

    def runs(self) -> bool:
        return self.there

    def kill(self) -> None:
        self.there = False

    def give(self, wanted: wanted.Wanted) -> None:
        assert self.there

    def call(
        self,
        operation: Operation[Asked, Answered],
        asked: Asked,
        query: Sequence[tuple[str, str]] = (),
        **parameters: str,
    ) -> Answered:
        raise errors.PeerError(f"{operation.id}: nobody answers")


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Silent:
    return Silent(tmp_path / "group")


def _asked(directory: pathlib.Path, id: str) -> messages.CreateTaskRequest:
    """Its Create, with a bundle."""
    bundle = directory / id
    bundle.mkdir()
    document = {"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "process": {"args": ["sh"], "cwd": "/"}}
    (bundle / "config.json").write_text(json.dumps(document))
    return messages.CreateTaskRequest(id=id, bundle=str(bundle))


@contextlib.asynccontextmanager
async def _tasks_of(machine: Machine) -> AsyncIterator[tasks.Tasks]:
    found = tasks.Tasks(machine, Publisher("", "own"))
    try:
        yield found
    finally:
        await found.close()


async def _run(found: tasks.Tasks, asked: messages.CreateTaskRequest) -> tasks.Task:
    """A task that runs, as if its machine had once answered."""
    await found.create(asked)
    task = found.find(asked.id)
    task.first.status = messages.Status.RUNNING
    return task


def test_a_machine_is_made_by_one_at_a_time(machine: Silent, tmp_path: pathlib.Path) -> None:
    async def create() -> int:
        async with _tasks_of(machine) as found:
            await asyncio.gather(*(found.create(_asked(tmp_path, id)) for id in "abc"))
            return len(found)

    assert asyncio.run(create()) == 3


def test_a_machine_that_does_not_answer_ends_with_the_kill_of_its_last_task(
    machine: Silent, tmp_path: pathlib.Path
) -> None:
    async def kill(*ids: str, signal: int) -> int:
        async with _tasks_of(machine) as found:
            for id in ids:
                task = await _run(found, _asked(tmp_path, id))
            await found.kill(messages.KillRequest(id=ids[-1], signal=signal))
            return task.first.exit_status

    for ids, signal in ((("a", "b"), 9), (("c",), 15)):
        with pytest.raises(errors.PeerError):
            asyncio.run(kill(*ids, signal=signal))
        assert machine.there
    assert asyncio.run(kill("d", signal=9)) == 137
    assert not machine.there


def test_a_machine_that_does_not_answer_ends_with_the_delete_of_its_last_task(
    machine: Silent, tmp_path: pathlib.Path
) -> None:
    async def delete(*ids: str) -> int:
        async with _tasks_of(machine) as found:
            for id in ids:
                await found.create(_asked(tmp_path, id))
            await found.delete(ids[-1], "")
            return len(found)

    with pytest.raises(errors.PeerError):
        asyncio.run(delete("a", "b"))
    assert machine.there
    assert asyncio.run(delete("c")) == 0
    assert not machine.there


class Slow(Silent):
    """It lets a container run when `answers` is set; `calls` are what it was asked for."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__(directory)
        self.answers = threading.Event()
        self.calls: list[str] = []

    def call(
        self,
        operation: Operation[Asked, Answered],
        asked: Asked,
        query: Sequence[tuple[str, str]] = (),
        **parameters: str,
    ) -> Answered:
        self.calls.append(operation.id)
        assert self.answers.wait(DEADLINE_S)
        row = graph.ContainerStatus(name="a", status="running", why="")
        return cast(Answered, row if operation.id == "getContainer" else None)


def test_a_kill_waits_for_the_start(tmp_path: pathlib.Path) -> None:
    """Of what is being started nobody would hear any more, if it were taken for one that never was."""
    machine = Slow(tmp_path / "group")

    async def start_and_kill() -> messages.Status:
        async with asyncio.timeout(DEADLINE_S), _tasks_of(machine) as found:
            await found.create(_asked(tmp_path, "a"))
            await found.kill(messages.KillRequest(id="a", signal=0))  # only asks whether it is there
            starting = asyncio.create_task(found.start("a", ""))
            while not machine.calls:  # noqa: ASYNC110 - it is a thread that calls
                await asyncio.sleep(0.01)
            killing = asyncio.create_task(found.kill(messages.KillRequest(id="a", signal=9)))
            await asyncio.sleep(0)
            machine.answers.set()
            await asyncio.gather(starting, killing)
            return found.find("a").first.status

    assert asyncio.run(start_and_kill()) is messages.Status.RUNNING
    assert machine.calls == ["putContainer", "getContainer", "killContainer"]


def test_there_is_no_end_while_a_task_is_being_made(machine: Silent, tmp_path: pathlib.Path) -> None:
    async def create_and_shut_down() -> None:
        async with _tasks_of(machine) as found:
            shim = service.Service(found, machine)
            asked = _asked(tmp_path, "a")
            creating = asyncio.create_task(shim.create(asked))
            await asyncio.sleep(0)
            with pytest.raises(errors.Conflict):
                await shim.create(asked)
            await shim.shutdown(messages.ShutdownRequest(id="a"))
            assert not shim.ended.is_set()
            await creating
            await shim.shutdown(messages.ShutdownRequest(id="a", now=True))
            assert shim.ended.is_set()
            with pytest.raises(errors.StateError, match="is ending"):
                await shim.create(_asked(tmp_path, "b"))

    asyncio.run(create_and_shut_down())


class Journal:
    """The machine's events, told to whoever asks."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    @contextlib.asynccontextmanager
    async def served(self, path: pathlib.Path) -> AsyncIterator[None]:
        """At the machine's dial socket."""
        path.parent.mkdir(parents=True, exist_ok=True)
        server = await asyncio.start_unix_server(self._serve, path)
        try:
            yield
        finally:
            server.close()
            path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            await reader.readline()
            writer.write(b"OK 10000\n")
            target = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
            since = int(urllib.parse.parse_qs(target.partition("?")[2])["since"][0])
            body = b"".join(msgspec.json.encode(each) + b"\n" for each in self.events if each.seq > since)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()


def _ended(seq: int, name: str, code: int) -> events.Event:
    return events.Event(seq=seq, time="", type="container.ended", container=name, exit_code=code, exit=1)


def test_the_events_of_a_machine_that_is_made_anew(
    machine: Silent, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It counts them from the first again, while the shim lives on with another task of the group."""

    monkeypatch.setattr(tasks, "IDLE_S", 0.01)
    journal = Journal()
    path = pathlib.Path(machine.dial_path)

    async def codes() -> list[int]:
        async with asyncio.timeout(DEADLINE_S), _tasks_of(machine) as found:
            async with journal.served(path):
                for id in "ab":
                    await found.create(_asked(tmp_path, id))
                journal.events = [_ended(5, "a", 3)]
                await found.find("a").first.ended.wait()
            machine.there, journal.events = False, []
            await found.find("b").first.ended.wait()
            async with journal.served(path):
                await found.create(_asked(tmp_path, "c"))
                journal.events = [_ended(1, "c", 4)]
                await found.find("c").first.ended.wait()
            return [found.find(id).first.exit_status for id in "abc"]

    assert asyncio.run(codes()) == [3, 255, 4]


def test_only_directories_are_bound(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    root = wanted.Bind("root", str(tmp_path), "/", False)
    for name, is_good in {".": True, "file": False, "none": False}.items():
        bind = wanted.Bind("bind", str(tmp_path / name), "/x", True)
        plan = wanted.Wanted("web", root, (bind,), graph.ContainerSpec(command=["sh"]))
        if is_good:
            tasks.check_directories(plan)
        else:
            with pytest.raises(errors.SpecError, match="only directories"):
                tasks.check_directories(plan)


def test_what_is_mounted_below_a_directory_is_not_left_out() -> None:
    """With `rbind` it is meant, and a disk is one mount."""
    root = wanted.Bind("root", "/", "/", False)
    for source, recursive, is_good in (("/", False, True), ("/", True, False), ("/proc/self/attr", True, True)):
        bind = wanted.Bind("bind", source, "/x", True, recursive=recursive)
        plan = wanted.Wanted("web", root, (bind,), graph.ContainerSpec(command=["sh"]))
        with contextlib.nullcontext() if is_good else pytest.raises(errors.SpecError, match="is mounted below it"):
            tasks.check_directories(plan)
