"""Sessions over a real socket, with real processes: every framing, order, detach, kill."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import pathlib
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from urllib.parse import urlencode

import msgspec
import pytest

from pilot.agent.out_of_memory import OutOfMemory
from pilot.agent.session import Session
from pilot.agent.world import World
from pilot.server import client
from pilot.server.call import WebSocket
from pilot.spec.process import Process
from pilot.wire import exec_frames as ef
from pilot.wire import schema, websocket
from tests.support.fake_machine import FakeMachine

pytestmark = pytest.mark.requires("root", "private")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await test()

    asyncio.run(bounded())


async def open_exec(machine: FakeMachine, *words: str, id: str = "", **options: str) -> WebSocket:
    query = urlencode([("cmd", word) for word in words] + list(options.items()))
    target = f"/v1/exec/{id}?{query}" if id else f"/v1/exec?{query}"
    return await client.open_websocket(await machine.dial(), target)


async def collect(socket: WebSocket) -> list[websocket.Event]:
    """Everything up to the close, keepalives left out."""
    events: list[websocket.Event] = []
    while True:
        event = await socket.receive()
        if event != ef.KEEPALIVE:
            events.append(event)
        if isinstance(event, websocket.Closed):
            return events


def payload(events: list[websocket.Event], stream: int) -> bytes:
    return b"".join(e[1:] for e in events if isinstance(e, bytes) and e[0] == stream)


def test_output_then_text_exit_then_binary_exit_then_close(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            events = await collect(await open_exec(machine, "sh", "-c", "echo out; echo err >&2; exit 42"))
        info = json.loads(str(events[0]))
        assert (info["type"], info["tty"], info["is_owner"]) == ("session_info", False, True)
        assert info["session_id"].isdigit()
        assert payload(events[1:-3], 1) == b"out\n"
        assert payload(events[1:-3], 2) == b"err\n"
        assert events[-3:] == ['{"type":"exit","exit_code":42}', b"\x03\x2a", websocket.Closed(1000)]

    run(test)


def test_who_runs_a_command_is_looked_up_beside_the_loop(machine: FakeMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The root of a world may have put a link to a file that waits in the place of /etc/passwd."""
    asked: list[int] = []
    process = World.process

    def watched(self: World, arguments: Sequence[str], env: Sequence[str], cwd: str, *, tty: bool) -> Process:
        asked.append(threading.get_ident())
        return process(self, arguments, env, cwd, tty=tty)

    monkeypatch.setattr(World, "process", watched)

    async def test() -> None:
        async with machine.agent():
            await collect(await open_exec(machine, "true"))
            answer = await client.request(await machine.dial(), "POST", "/v1/exec?cmd=true")
            assert answer.status == 200
            await answer.body()
        assert len(asked) == 2
        assert threading.get_ident() not in asked

    run(test)


def test_ten_megabytes_and_a_slow_reader_lose_nothing(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            socket = await open_exec(machine, "sh", "-c", "seq 1 1500000")
            await socket.receive()
            got, size = b"", 0
            while not isinstance(event := await socket.receive(), websocket.Closed):
                if isinstance(event, bytes) and event[0] == 1:
                    got, size = event[-9:], size + len(event) - 1
                    if size % 7 == 0:
                        await asyncio.sleep(0)
        assert size == sum(len(str(n)) + 1 for n in range(1, 1500001))
        assert got.endswith(b"1500000\n")

    run(test)


def test_much_output_on_both_streams_comes_whole_in_messages_that_every_client_takes(machine: FakeMachine) -> None:
    """Blocks of messages and single ones in turn; the program's own digest says what it has written."""
    script = (
        "import hashlib, os, sys\n"
        "sums = {1: hashlib.sha256(), 2: hashlib.sha256()}\n"
        "for size in (1, 40_000, 300_000, 65_536, 65_537, 1_000_003, 32_768, 7) * 3:\n"
        "    for fd in sums:\n"
        "        data = os.urandom(size)\n"
        "        sums[fd].update(data)\n"
        "        while data:\n"
        "            data = data[os.write(fd, data):]\n"
        "open(sys.argv[1], 'w').write(' '.join(each.hexdigest() for each in sums.values()))\n"
    )

    async def test() -> None:
        path = pathlib.Path(machine.directory, "digests")
        async with machine.agent():
            events = await collect(await open_exec(machine, sys.executable, "-c", script, str(path)))
        digests = [hashlib.sha256(payload(events[1:-2], stream)).hexdigest() for stream in (1, 2)]
        assert digests == path.read_text().split()
        assert max(len(each) for each in events if isinstance(each, bytes)) == 1 + ef.MAX_PAYLOAD

    run(test)


def test_stdin_is_piped_and_its_end_is_told(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            socket = await open_exec(machine, "sha256sum", stdin="true")
            data = os.urandom(1 << 20)
            for start in range(0, len(data), 1 << 16):
                await socket.send(b"\x00" + data[start : start + (1 << 16)])
            await socket.send(b"\x04")
            events = await collect(socket)
        import hashlib

        assert payload(events[1:], 1).split()[0].decode() == hashlib.sha256(data).hexdigest()

    run(test)


def test_without_stdin_an_end_frame_is_tolerated(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            socket = await open_exec(machine, "cat", stdin="false")
            await socket.send(b"\x04")
            assert (await collect(socket))[-2] == b"\x03\x00"

    run(test)


def test_terminal_has_its_size_and_exits_by_close_code(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            command = "stty size; tty; read line; echo got $line; exit 7"
            socket = await open_exec(machine, "sh", "-c", command, tty="true", rows="30", cols="100")
            info = json.loads(str(await socket.receive()))
            assert (info["rows"], info["cols"], info["tty"]) == (30, 100, True)
            output = b""
            while output.count(b"\n") < 2:
                output += bytes(await socket.receive())  # type: ignore[arg-type]
            await socket.send(b"hello\n")
            events = await collect(socket)
        output += b"".join(e for e in events if isinstance(e, bytes))
        assert output.startswith(b"30 100\r\n/dev/")
        assert b"got hello\r\n" in output
        assert events[-2:] == ['{"type":"exit","exit_code":7}', websocket.Closed(4007)]

    run(test)


# The signal is blocked before anybody is told, so it cannot come too early to be waited for.
_WAIT_FOR_RESIZE = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGWINCH})
print("ready", flush=True)
signal.sigwait({signal.SIGWINCH})
print(*reversed(os.get_terminal_size(0)))
"""


def test_resize_reaches_the_terminal(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            socket = await open_exec(machine, sys.executable, "-c", _WAIT_FOR_RESIZE, tty="true")
            await socket.receive()
            assert await socket.receive() == b"ready\r\n"
            await socket.send('{"type":"resize","cols":111,"rows":55}')
            events = await collect(socket)
        assert b"55 111\r\n" in b"".join(e for e in events if isinstance(e, bytes))

    run(test)


def test_signal_frame(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            socket = await open_exec(machine, "sleep", "1000")
            await socket.receive()
            await socket.send('{"type":"signal","signal":"NOSUCH"}')
            await socket.send('{"type":"signal","signal":"TERM"}')
            assert (await collect(socket))[-2] == bytes([3, 143])

    run(test)


def test_a_command_that_is_not_there_is_refused_before_the_upgrade(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            with pytest.raises(client.Refused, match="no-such-command"):
                await open_exec(machine, "no-such-command")
            with pytest.raises(client.Refused, match="session not found: 99") as refused:
                await open_exec(machine, id="99")
            assert refused.value.status == 404
            assert len(app.sessions) == 0
        assert [name for name in machine.link.stored if "/session/" in name] == []

    run(test)


def test_a_session_survives_its_client_and_replays_to_the_next(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            stream = await machine.dial()
            query = urlencode([("cmd", "sh"), ("cmd", "-c"), ("cmd", "echo one; read x; echo $x"), ("stdin", "true")])
            socket = await client.open_websocket(stream, f"/v1/exec?{query}&detachable=true")
            id = json.loads(str(await socket.receive()))["session_id"]
            assert await socket.receive() == b"\x01one\n"
            stream.abort()  # no close frame, as sprites-go leaves

            listed = await (await client.request(await machine.dial(), "GET", "/v1/exec")).json(schema.SessionList)
            assert [row.id for row in listed.sessions] == [id]
            again = await open_exec(machine, id=id)
            info = json.loads(str(await again.receive()))
            assert (info["is_owner"], info["tty"]) == (False, False)
            assert await again.receive() == b"\x01one\n"
            await again.send(b"\x00two\n")
            events = await collect(again)
            assert events[0] == b"\x01two\n"
            assert len(app.sessions) == 0
            # It stays attachable for a while.
            late = await collect(await open_exec(machine, id=id))
            assert payload(late[1:], 1) == b"one\ntwo\n"

    run(test)


@pytest.mark.parametrize("tty", [False, True])
def test_who_comes_again_says_what_it_has(machine: FakeMachine, tty: bool) -> None:
    async def test() -> None:
        async with machine.agent():
            script = "printf 0123456789; printf abc >&2; read x"
            query = [("cmd", "sh"), ("cmd", "-c"), ("cmd", script), ("stdin", "true"), ("detachable", "true")]
            query += [("tty", "true")] if tty else []
            socket = await client.open_websocket(await machine.dial(), f"/v1/exec?{urlencode(query)}")
            id = json.loads(str(await socket.receive()))["session_id"]
            seen = b""
            while not (b"9" in seen and b"c" in seen):
                piece = await socket.receive()
                assert isinstance(piece, bytes)
                seen += piece
            for offset, rest in (("4", b"456789"), ("10", b""), ("99999", b"")):
                again = await client.open_websocket(
                    await machine.dial(), f"/v1/exec/{id}?output_offset={offset}&stderr_offset=2"
                )
                assert json.loads(str(await again.receive()))["session_id"] == id
                if tty:
                    if rest:
                        assert await again.receive() == rest + b"abc"
                    elif offset == "10":
                        assert await again.receive() == b"abc"
                else:
                    told = [await again.receive() for _ in range(2 if rest else 1)]
                    assert told == [*([b"\x01" + rest] if rest else []), b"\x02c"]
                await again.close(1000)
            for wrong in ("x", "-1", "1.5"):
                with pytest.raises(client.Refused, match="output_offset"):
                    await client.open_websocket(await machine.dial(), f"/v1/exec/{id}?output_offset={wrong}")
            await socket.send(b"\n" if tty else b"\x00\n")
            await collect(socket)

    run(test)


def test_without_a_client_a_session_ends_after_its_limit(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            stream = await machine.dial()
            await client.open_websocket(stream, "/v1/exec?cmd=sleep&cmd=1000&max_run_after_disconnect=10ms")
            (session,) = app.sessions.running()
            stream.abort()
            await session.ended.wait()
            assert session.exit_code == 143

    run(test)


def test_a_quiet_terminals_client_is_let_go_of_and_comes_again(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            plain = await open_exec(machine, "cat", stdin="true", detach_after="1ms")
            script = ("sh", "-c", "stty -echo; echo one; read x; echo got $x; read y; exit 7")
            # It did not leave by itself: what it has asked for in that case is not done.
            first = await open_exec(machine, *script, tty="true", detach_after="200ms", max_run_after_disconnect="1ms")
            id = json.loads(str(await first.receive()))["session_id"]
            beside = await open_exec(machine, id=id)
            await beside.receive()
            told = await collect(first)
            why = f"detached: no input or output for 0.2 s; attach to session {id} to go on"
            assert told[-1] == websocket.Closed(1001, why)
            await plain.send(b"\x00on\n")
            await plain.receive()
            assert await plain.receive() == b"\x01on\n", "a command without a terminal is nobody's idle terminal"
            await plain.close(1000)
            # Who has not been told a limit stays, and the session lives on.
            await beside.send(b"two\n")
            seen = b""
            while b"got two" not in seen:
                piece = await beside.receive()
                seen += piece if isinstance(piece, bytes) else b""
            await beside.close(1000)
            again = await open_exec(machine, id=id, detach_after="1ms")
            assert (await collect(again))[-1] == websocket.Closed(1001, why.replace("0.2", "0.001"))
            assert app.sessions.find(id).exit_code is None
            last = await open_exec(machine, id=id, detach_after="1h")
            await last.receive()
            await last.send(b"\n")
            assert (await collect(last))[-1] == websocket.Closed(4007)
            with pytest.raises(client.Refused, match="detach_after"):
                await open_exec(machine, "true", tty="true", detach_after="soon")
            assert "true" not in [each.meta.command for each in app.sessions.running()], "refused before it ran"

    run(test)


def test_each_use_of_a_terminal_is_noticed(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            socket = await open_exec(machine, "sh", "-c", "stty -echo; trap 'echo met' USR1; echo one; cat", tty="true")
            id = json.loads(str(await socket.receive()))["session_id"]
            assert await socket.receive() == b"one\r\n"
            session = app.sessions.find(id)
            assert isinstance(session, Session)

            async def is_noticed(use: Callable[[], Awaitable[object]]) -> None:
                noticed = asyncio.Event()
                session.touch = noticed.set  # type: ignore[method-assign]
                await use()
                await noticed.wait()

            async def come() -> None:
                await (await open_exec(machine, id=id)).receive()

            await is_noticed(lambda: socket.send(b"unfinished"))
            await is_noticed(lambda: socket.send('{"type":"resize","cols":100,"rows":40}'))
            await is_noticed(lambda: socket.send('{"type":"signal","signal":"WINCH"}'))
            await is_noticed(come)
            pty_fd = os.open(f"/proc/{session.meta.pid}/fd/1", os.O_WRONLY | os.O_NOCTTY)
            try:
                await is_noticed(lambda: asyncio.to_thread(os.write, pty_fd, b"by itself"))
            finally:
                os.close(pty_fd)
            session.signal(signal.SIGKILL)

    run(test)


def test_a_new_agent_takes_sessions_over_without_losing_a_byte(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            socket = await open_exec(machine, "sh", "-c", "seq 1 200000; sleep 1000", detachable="true")
            id = json.loads(str(await socket.receive()))["session_id"]
            await socket.receive()
            await abandon(app)
        machine.die()
        async with machine.agent() as app:
            status = await (await client.request(await machine.dial(), "GET", "/v1/status")).json(schema.Status)
            assert (status.agent_restarts, status.sessions, status.boot_id) == (1, 1, "boot")
            socket = await open_exec(machine, id=id)
            await socket.receive()
            got = b""
            while not got.endswith(b"\n200000\n"):
                event = await socket.receive()
                assert isinstance(event, bytes) or event == ef.KEEPALIVE
                got += event[1:] if isinstance(event, bytes) else b""
            assert got == b"".join(b"%d\n" % n for n in range(1, 200001))
            app.sessions.find(id).signal(signal.SIGKILL)
            assert (await collect(socket))[-2] == bytes([3, 137])

    run(test)


async def abandon(app: object) -> None:
    """Stop an agent's tasks as its death would: nothing is told to anybody, nothing is closed in the store."""
    for task in asyncio.all_tasks():
        if task.get_name().split()[0] in {"session", "retire", "connection", "watch", "exec"}:
            task.cancel()
    await asyncio.sleep(0)
    for session in app.sessions.running():  # type: ignore[attr-defined]
        for output in session.outputs.values():
            output._watch(False)


def test_kill_tells_the_story(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            socket = await open_exec(machine, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1000; done")
            id = json.loads(str(await socket.receive()))["session_id"]
            assert await socket.receive() == b"\x01up\n"
            body = {"signal": "SIGTERM", "timeout": 0.05}
            answer = await client.request(await machine.dial(), "POST", f"/v1/exec/{id}/kill", json=body)
            assert (answer.status, answer.headers["content-type"]) == (200, "application/x-ndjson")
            types = [json.loads(line) async for line in answer.lines()]
            assert [line["type"] for line in types] == ["signal", "timeout", "killed", "complete"]
            assert types[-1]["exit_code"] == 137
            gone = await client.request(await machine.dial(), "POST", f"/v1/exec/{id}/kill?signal=TERM&timeout=0s")
            assert gone.status == 410
            unknown = await client.request(await machine.dial(), "POST", "/v1/exec/1/kill")
            assert unknown.status == 404
            bad = await client.request(await machine.dial(), "DELETE", f"/v1/exec/{id}?signal=SIGNOPE")
            assert bad.status == 400
            assert app.sessions.find(id).exit_code == 137

    run(test)


def test_post_exec_frames_are_chunks_of_their_own(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            query = urlencode([("cmd", "sh"), ("cmd", "-c"), ("cmd", "cat; echo err >&2; exit 3"), ("stdin", "true")])
            answer = await client.request(await machine.dial(), "POST", f"/v1/exec?{query}", body=b"input\n")
            assert (answer.status, answer.headers["content-type"]) == (200, "application/octet-stream")
            chunks = [chunk async for chunk in answer.chunks()]
        assert sorted(chunks[:-1]) == [b"\x01input\n", b"\x02err\n"]
        assert chunks[-1] == b"\x03\x03"

    run(test)


def test_a_post_whose_client_leaves_does_not_hold_the_session(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            stream = await machine.dial()
            target = "/v1/exec?cmd=sleep&cmd=1000&max_run_after_disconnect=1ms"
            answer = await client.request(stream, "POST", target)
            assert answer.status == 200
            (session,) = app.sessions.running()
            stream.abort()
            await session.ended.wait()

    run(test)


def test_a_background_process_that_holds_the_output_does_not_hold_the_exit(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            events = await collect(await open_exec(machine, "sh", "-c", "sleep 1000 & echo $!"))
            os.kill(int(payload(events[1:-2], 1)), signal.SIGKILL)
            assert events[-2] == b"\x03\x00"

    run(test)


def test_with_wait_the_exit_follows_the_end_of_the_output(machine: FakeMachine, tmp_path: pathlib.Path) -> None:
    async def test() -> None:
        async with machine.agent():
            fifo = tmp_path / "fifo"
            os.mkfifo(fifo)
            socket = await open_exec(machine, "sh", "-c", f"(read x <{fifo}; sleep 0.3; echo $x) & exit 7", wait="true")
            assert json.loads(str(await socket.receive()))["type"] == "session_info"
            # Opens when the child reads, long after the command has ended as far as anybody can tell.
            await asyncio.to_thread(fifo.write_text, "late\n")
            events = await collect(socket)
            assert payload(events[:-2], 1) == b"late\n"
            assert events[-2] == b"\x03\x07"

    run(test)


def test_a_session_that_waits_for_its_output_can_be_ended(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            survivor = "setsid sh -c 'echo $$; exec sleep 1000' & sleep 1000"
            socket = await open_exec(machine, "sh", "-c", survivor, wait="true", detachable="true")
            info = json.loads(str(await socket.receive()))
            piece = await socket.receive()
            assert isinstance(piece, bytes)
            session = app.sessions.find(info["session_id"])
            assert isinstance(session, Session)
            await session.stop()
            assert (await collect(socket))[-1] == websocket.Closed(1000)
            os.kill(int(piece[1:]), signal.SIGKILL)

    run(test)


def test_path_is_what_is_executed_and_argv_0_what_it_is_called(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            events = await collect(await open_exec(machine, "a name", "-c", "echo $0", path="/bin/sh"))
            assert payload(events, 1) == b"a name\n"

    run(test)


def test_signals_are_offered_once(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            stream = await machine.dial()
            stream.write(
                b"GET /v1/exec?cmd=true HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
            )
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.read()
        assert head.startswith(b"HTTP/1.1 101 ")
        assert head.lower().count(b"x-sprite-capabilities: signal\r\n") == 1

    run(test)


@pytest.mark.parametrize(("options", "told"), [({}, b"\x02out of memory\n"), ({"tty": "true"}, b"out of memory\r\n")])
def test_what_ran_out_of_memory_is_told_before_the_exit(
    machine: FakeMachine, monkeypatch: pytest.MonkeyPatch, options: dict[str, str], told: bytes
) -> None:
    """As the agent finds it out (tests/kernel/test_pilotd_limits.py has the real thing)."""

    def last_words(_: OutOfMemory, exit_code: int, killed_before: int) -> str:
        return "out of memory\n" if (exit_code, killed_before) == (137, 0) else ""

    monkeypatch.setattr(OutOfMemory, "last_words", last_words)

    async def test() -> None:
        async with machine.agent():
            socket = await open_exec(machine, "sh", "-c", "echo before; kill -9 $$", **options)
            id = json.loads(str(await socket.receive()))["session_id"]
            for events in (await collect(socket), (await collect(await open_exec(machine, id=id)))[1:]):
                said = [event for event in events if isinstance(event, bytes) and event != b"\x03\x89"]
                assert (b"before" in said[0], said[-1]) == (True, told)
                assert '{"type":"exit","exit_code":137}' in events[-3:]

    run(test)


def test_environment_extends_the_defaults(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():
            events = await collect(await open_exec(machine, "env", env="GREETING=hi there"))
        lines = set(payload(events[1:-2], 1).decode().splitlines())
        assert {"GREETING=hi there", "HOME=/root", "USER=root", "LANG=C.UTF-8"} <= lines
        assert not any(line.startswith("TERM=") for line in lines)

    run(test)


def test_twenty_at_once(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent():

            async def one(number: int) -> None:
                events = await collect(await open_exec(machine, "echo", str(number)))
                assert payload(events[1:-2], 1) == b"%d\n" % number
                assert events[-2] == b"\x03\x00"

            await asyncio.gather(*[one(number) for number in range(20)])

    run(test)


def test_ended_sessions_leave_no_descriptor(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            await collect(await open_exec(machine, "true"))
            await settled(app)
            before = held()
            for _ in range(5):
                await collect(await open_exec(machine, "true"))
                await collect(await open_exec(machine, "true", tty="true"))
            await settled(app)
            assert held() == before
        assert [name for name in machine.link.stored if "/session/" in name] == []

    run(test)


def held() -> int:
    """Descriptors other than the sockets of clients."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(not link.startswith("socket:") for link in links)


async def settled(app: object) -> None:
    while app.sessions._tasks:  # type: ignore[attr-defined]  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def test_session_rows_have_all_fields(machine: FakeMachine) -> None:
    async def test() -> None:
        async with machine.agent() as app:
            await open_exec(machine, "sleep", "1000", dir="/tmp")
            answer = await client.request(await machine.dial(), "GET", "/v1/exec")
            (row,) = msgspec.json.decode(await answer.body())["sessions"]
            assert (row["command"], row["workdir"], row["tty"]) == ("sleep 1000", "/tmp", False)
            assert row["created"].endswith("Z")
            assert isinstance(row["bytes_per_second"], float)
            await app.sessions.end_all()

    run(test)
