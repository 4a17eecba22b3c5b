"""The socket that a sprite finds in its world, and the command for it: a real socket, and the command as a process."""

from __future__ import annotations

import asyncio
import os
import pathlib
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator

import msgspec
import pytest

from pilot import errors
from pilot.agent.inside import listening, sprite_env, tasks
from pilot.server import client
from pilot.wire import faults, inside, schema
from tests.support.fake_machine import FakeLink, FakeMachine

pytestmark = pytest.mark.requires("root", "private")


@pytest.fixture
def socket_path(machine: FakeMachine) -> Iterator[str]:
    """By a name that is short enough for an address."""
    directory = tempfile.mkdtemp(prefix="pilot-inside-")
    link = os.path.join(directory, "d")
    os.symlink(machine.paths.inside, link)
    yield os.path.join(link, "api.sock")
    os.unlink(link)
    os.rmdir(directory)


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


async def sprite_env_says(socket_path: str, *words: str) -> tuple[int | None, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", sprite_env.__file__, *words, stdout=-1, stderr=-1,
        env={"SPRITE_API_SOCKET": socket_path},
    )  # fmt: skip
    out, err = await process.communicate()
    return process.returncode, out, err


async def tasks_of(machine: FakeMachine) -> list[str]:
    answer = await client.request(await machine.dial(), "GET", "/v1/status")
    return [task.name for task in (await answer.json(schema.Status)).tasks]


def test_tasks_by_the_command(machine: FakeMachine, socket_path: str) -> None:
    async def test() -> None:
        async with machine.agent():
            code, out, err = await sprite_env_says(socket_path, "tasks", "create", "build", "--expire", "10m")
            assert (code, msgspec.json.decode(out, type=schema.Task).name, err) == (0, "build", b"")
            code, out, err = await sprite_env_says(socket_path, "tasks", "create", "build", "--expire", "10m")
            assert (code, out, b"task exists already: build" in err) == (1, b"", True)
            assert (await sprite_env_says(socket_path, "tasks", "refresh", "build", "--expire", "60"))[0] == 0
            assert await tasks_of(machine) == ["build"]
            _, out, _ = await sprite_env_says(socket_path, "tasks", "list")
            assert [task.name for task in msgspec.json.decode(out, type=inside.TaskList).tasks] == ["build"]
            assert (await sprite_env_says(socket_path, "tasks", "delete", "build")) == (0, b"", b"")
            assert (await sprite_env_says(socket_path, "tasks", "get", "build"))[0] == 1
            assert await tasks_of(machine) == []

    run(test)


def test_services_and_bare_calls_and_nothing_else(machine: FakeMachine, socket_path: str) -> None:
    async def test() -> None:
        async with machine.agent():
            assert await sprite_env_says(socket_path, "services", "list") == (0, b"[]\n", b"")
            assert (await sprite_env_says(socket_path, "services", "start", "no"))[0] == 1
            assert await sprite_env_says(socket_path, "curl", "/v1/services") == (0, b"[]\n", b"")
            for path in ("/v1/status", "/v1/exec", "/v1/containers", "/v1/world"):
                code, out, err = await sprite_env_says(socket_path, "curl", path)
                assert (code, out, b"no such call" in err) == (1, b"", True), path
            assert (await sprite_env_says(socket_path, "services", "frobnicate"))[0] == 2

    run(test)


def test_both_outlive_the_agent(machine: FakeMachine, socket_path: str) -> None:
    async def test() -> None:
        async with machine.agent():
            assert (await sprite_env_says(socket_path, "tasks", "create", "build", "--expire", "10m"))[0] == 0
            before = os.stat(socket_path).st_ino
        machine.die()
        async with machine.agent():
            assert await tasks_of(machine) == ["build"]
            assert (await sprite_env_says(socket_path, "tasks", "get", "build"))[0] == 0
            assert os.stat(socket_path).st_ino == before, "what is bound in the world is still it"

    run(test)


def test_without_an_agent_it_says_so(tmp_path: pathlib.Path) -> None:
    async def test() -> None:
        code, out, err = await sprite_env_says("/nowhere", "tasks", "list")
        assert (code, out, err) == (1, b"", b"sprite-env: /nowhere: no such file or directory\n")

    run(test)


def test_more_connections_than_it_serves_at_once_wait_for_their_turn(machine: FakeMachine, socket_path: str) -> None:
    async def test() -> None:
        async with machine.agent():
            held = [await asyncio.open_unix_connection(socket_path) for _ in range(listening.MOST + 3)]
            _, last = held[-1]
            last.write(b"GET /v1/tasks HTTP/1.1\r\nHost: sprite\r\n\r\n")
            for _, writer in held[: listening.MOST]:
                writer.close()
            assert (await held[-1][0].readline()).startswith(b"HTTP/1.1 200 ")
            for _, writer in held[listening.MOST :]:
                writer.close()

    run(test)


class Clock:
    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_task_ends_by_itself_and_is_bounded() -> None:
    link, clock = FakeLink(), Clock()
    kept = tasks.Tasks(link, clock)
    made = kept.put("a", inside.TaskRequest(expire="10m"), anew=True)
    assert (made.started_at, made.expires_at) == ("2027-01-15T08:00:00.000000Z", "2027-01-15T08:10:00.000000Z")
    clock.now_s += 599
    kept.put("a", inside.TaskRequest(expire=10), anew=False)
    clock.now_s += 9
    assert [task.started_at for task in kept.active()] == [made.started_at], "refreshed, it goes on"
    clock.now_s += 1
    assert kept.active() == []
    with pytest.raises(errors.NotFound):
        kept.delete("a")
    for expire in (0, -1, 3601, "2h", "soon", float("nan")):
        with pytest.raises(faults.InvalidRequest):
            kept.put("a", inside.TaskRequest(expire=expire), anew=True)
    for name in ("", "-a", "a b", "x" * 65, "ä"):
        with pytest.raises(faults.InvalidRequest):
            kept.put(name, inside.TaskRequest(expire=1), anew=True)
    for number in range(tasks.MOST):
        kept.put(f"t{number}", inside.TaskRequest(expire=60), anew=True)
    with pytest.raises(faults.Exhausted):
        kept.put("more", inside.TaskRequest(expire=60), anew=True)
    link.close()
