"""A process as containerd knows it: a container's first one, or one that is executed in it.

    created ──start──► running ──its end──► stopped
       └─────────────kill──────────────────►

Its end is told when its output has been read, unless whoever reads it does nothing any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Protocol

from .. import errors
from ..machine import lines
from ..server import client
from ..server.call import WebSocket
from ..server.stream import dial_unix
from ..wire import dial, exec_frames, faults, graph, operations, websocket
from . import messages, wanted
from .machine import Machine
from .messages import Status
from .streams import Sink, Source

OPEN_S = 30.0
RETRY_S = 0.1
REST_S = 60.0  # so long an agent that has died may take to come back, for the last of the output of what has ended
LOST = 255  # how it ended is known to nobody any more
_log = logging.getLogger(__name__)


class Paths(Protocol):
    """What a request says of a process's streams; "" for none."""

    @property
    def terminal(self) -> bool: ...
    @property
    def stdin(self) -> str: ...
    @property
    def stdout(self) -> str: ...
    @property
    def stderr(self) -> str: ...


class Process:
    """What first and executed ones have in common. On the running loop."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths
        self.status = Status.CREATED
        self.exit_status = 0
        self.exited_at: messages.Timestamp | None = None
        self.ended = asyncio.Event()
        self.changing = asyncio.Lock()  # start, kill and delete are one after the other
        self.sinks: dict[str, Sink] = {}
        with contextlib.ExitStack() as opened:  # all of them, or none
            for name, path in (("stdout", paths.stdout), ("stderr", paths.stderr)):
                self.sinks[name] = Sink(path)
                opened.callback(self.sinks[name].close)
            self.source = self._open_source()
            opened.pop_all()
        self.copying: asyncio.Task[None] | None = None
        self._code = LOST

    def _open_source(self) -> Source:
        """Nowhere: input is not read."""
        return Source("")

    async def start(self) -> None:
        """It runs; what keeps it from doing so is raised."""
        raise NotImplementedError

    async def kill(self, number: int, *, everybody: bool) -> None:
        """Send a signal to one that runs."""
        raise NotImplementedError

    async def resize(self, columns: int, rows: int) -> None:
        """Its terminal has another size."""
        raise NotImplementedError

    async def end_stdin(self) -> None:
        """Its client has said all."""

    def hurry(self) -> None:
        """It is about to end, or has: what nobody reads of its output is not waited for."""
        for sink in self.sinks.values():
            sink.hurry()

    def set_ended(self, exit_status: int) -> None:
        """It has ended, and its readers see the end, for which they wait before they delete it; idempotent."""
        if not self.ended.is_set():
            self.status, self.exit_status = Status.STOPPED, exit_status
            self.exited_at = messages.timestamp()
            self.ended.set()
            for sink in self.sinks.values():
                sink.close()

    async def close(self) -> None:
        """Nothing of it is under way any more."""
        if self.copying is not None:
            self.copying.cancel()
            await asyncio.gather(self.copying, return_exceptions=True)  # what went wrong has been told
        for sink in self.sinks.values():
            sink.close()

    async def _carry(self, copying: Coroutine[None, None, None]) -> None:
        """Its output, to its end; then that is told, whatever has gone wrong with the output."""
        try:
            await copying
            for sink in self.sinks.values():
                await sink.read_up()
        except (errors.PilotError, OSError):
            _log.exception("output")
        finally:
            self.set_ended(self._code)


class First(Process):
    """The first process of a container. Its output is the container's log, which outlives the agent."""

    def __init__(self, paths: Paths, machine: Machine, plan: wanted.Wanted) -> None:
        super().__init__(paths)
        self._machine = machine
        self._written: dict[graph.Output, int] = {"stdout": 0, "stderr": 0}
        self._is_asked_for = False
        self._over = asyncio.Event()
        self.plan = plan
        self.seq: int | None = None

    async def start(self) -> None:
        name = self.plan.name
        self._is_asked_for = True
        await asyncio.to_thread(self._machine.call, operations.PUT_CONTAINER, self.plan.spec, name=name)
        self.copying = asyncio.create_task(self._carry(self._copy()), name=f"output of {name}")
        row = await asyncio.to_thread(self._machine.settled, name)
        if row.error is not None and row.exit_code is None:
            raise errors.StateError(f"start {name}: {row.error}")
        if self.status is Status.CREATED:
            self.status = Status.RUNNING

    async def kill(self, number: int, *, everybody: bool) -> None:
        request = graph.SignalRequest(signal=str(number), all=everybody)
        await asyncio.to_thread(self._machine.call, operations.KILL_CONTAINER, request, name=self.plan.name)

    async def resize(self, columns: int, rows: int) -> None:
        raise errors.StateError("resize: it has no terminal")

    def set_over(self, exit_code: int, seq: int | None) -> None:
        """The machine says that it has ended; `seq` acknowledges it. What was said first counts."""
        if self._over.is_set():
            return
        self.seq = seq
        self.hurry()
        if self._is_asked_for:
            self._code = exit_code
            self._over.set()
        else:
            self.set_ended(exit_code)

    async def _copy(self) -> None:
        """What comes until it ends; then all that is there."""
        following = asyncio.create_task(self._follow(), name="following")
        try:
            await self._over.wait()
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)
        loop = asyncio.get_running_loop()
        end_s = loop.time() + REST_S
        # Nobody tells when an agent that died is back.
        while not await self._read_rest() and loop.time() < end_s:  # noqa: ASYNC110
            await asyncio.sleep(RETRY_S)

    async def _read_rest(self) -> bool:
        """Whether there is nothing more to hope for. Its end is told before the last of its output is in the log."""
        try:
            await asyncio.to_thread(self._machine.wait_over, self.plan.name)
            await self._read(follow=False)
        except errors.PilotError as error:
            _log.error("%s: the last of its output: %s", self.plan.name, error)
            return not isinstance(error, errors.PeerError) or not await asyncio.to_thread(self._machine.runs)
        return True

    async def _follow(self) -> None:
        while True:
            try:
                await self._read(follow=True)
            except errors.PilotError as error:
                _log.info("%s: output: %s", self.plan.name, error)
            await asyncio.sleep(RETRY_S)

    async def _read(self, *, follow: bool) -> None:
        query: list[tuple[str, str]] = [(stream, str(offset)) for stream, offset in self._written.items()]
        query += [("follow", "true")] if follow else []
        async for piece in lines.follow(
            self._machine.dial_path, operations.CONTAINER_LOGS, query=query, name=self.plan.name
        ):
            if piece.dropped:
                _log.error("%s: %d bytes of %s are not kept any more", self.plan.name, piece.dropped, piece.stream)
            await self._write(piece)

    async def _write(self, piece: graph.LogPiece) -> None:
        """What of it has not been written: who was cancelled in the middle reads the piece again."""
        data, sink = piece.data, self.sinks[piece.stream]
        self._written[piece.stream] = max(self._written[piece.stream], piece.offset)
        data = data[self._written[piece.stream] - piece.offset :]
        async for count in sink.write(data):
            self._written[piece.stream] += count


class Executed(Process):
    """Another process of a container: a session of the contract, which outlives a death of the agent."""

    def __init__(self, paths: Paths, machine: Machine, container: str, words: Sequence[tuple[str, str]]) -> None:
        """`words` are what of the query is the process's own."""
        super().__init__(paths)
        self._machine = machine
        self._container = container
        self._words = words
        self._size: tuple[int, int] | None = None
        self._socket: WebSocket | None = None
        self._id = ""
        self._given = {exec_frames.Stream.STDOUT: 0, exec_frames.Stream.STDERR: 0}

    async def start(self) -> None:
        query = [("container", self._container), *self._words, ("detachable", "true")]
        query += [("tty", "true")] if self.paths.terminal else []
        query += [("stdin", "true")] if self.source.there else []
        if self._size is not None:
            query += [("cols", str(self._size[0])), ("rows", str(self._size[1]))]
        socket = await self._open(operations.OPEN_SESSION.target({}, query))
        info = await self._info(socket)
        self._id, self._socket = info.session_id, socket
        self.status = Status.RUNNING
        self.copying = asyncio.create_task(self._carry(self._copy(socket)), name=f"session {self._id}")

    async def kill(self, number: int, *, everybody: bool) -> None:
        query = [("signal", str(number)), ("timeout", "0s")]
        async with _in_time("kill"):
            async for _ in lines.follow(self._machine.dial_path, operations.KILL_SESSION, query=query, id=self._id):
                pass
        if number == signal.SIGKILL:
            self.hurry()

    async def resize(self, columns: int, rows: int) -> None:
        self._size = columns, rows
        if self._socket is not None and columns and rows:
            await self._send(exec_frames.text(exec_frames.Resize(cols=columns, rows=rows)))

    async def end_stdin(self) -> None:
        self.source.end()

    async def close(self) -> None:
        await super().close()
        self.source.close()

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _open_source(self) -> Source:
        return Source(self.paths.stdin)

    async def _open(self, target: str) -> WebSocket:
        stream = await dial_unix(self._machine.dial_path, dial.PORT_API, timeout_s=OPEN_S)
        try:
            return await client.open_websocket(stream, target, timeout_s=OPEN_S)
        except client.Refused as refused:
            raise faults.error_of(refused.status, refused.code, str(refused), refused.hint) from refused

    async def _info(self, socket: WebSocket) -> exec_frames.SessionInfo:
        async with _in_time("exec"):
            message = await socket.receive()
        if not isinstance(message, websocket.Closed):
            found = exec_frames.parse_server_message(message, tty=self.paths.terminal)
            if isinstance(found, exec_frames.SessionInfo):
                return found
        raise errors.PeerError("exec: the machine did not say which session it is")

    async def _copy(self, socket: WebSocket) -> None:
        writing = asyncio.create_task(self._input(), name=f"input of session {self._id}")
        try:
            code = await self._output(socket)
            while code is None:
                await asyncio.sleep(RETRY_S)
                code = await self._again()
            self._code = code
        finally:
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            self.source.close()

    async def _again(self) -> int | None:
        """Attach anew; the exit code when it has ended, None when the connection has."""
        target = operations.ATTACH_SESSION.target({"id": self._id})
        try:
            socket = await self._open(target)
        except errors.NotFound:
            return LOST
        except errors.PeerError:
            return None if await asyncio.to_thread(self._machine.runs) else LOST
        self._socket = socket
        return await self._output(socket)

    async def _output(self, socket: WebSocket) -> int | None:
        """To the session's end: its exit code; None when the connection ended first."""
        seen = dict.fromkeys(self._given, 0)
        try:
            while not isinstance(message := await socket.receive(), websocket.Closed):
                match exec_frames.parse_server_message(message, tty=self.paths.terminal):
                    case exec_frames.Output(stream=stream, data=data):
                        await self._give(stream, data, seen)
                    case exec_frames.OutputDropped(stream=name, bytes=count):
                        stream = exec_frames.Stream[name.upper()]
                        seen[stream] += count
                        self._given[stream] = max(self._given[stream], count)
                    case exec_frames.Exit(exit_code=code):
                        return code
        except errors.PeerError as error:
            _log.info("session %s: %s", self._id, error)
        return None

    async def _give(self, stream: exec_frames.Stream, data: bytes, seen: dict[exec_frames.Stream, int]) -> None:
        """What of it has not been given before."""
        at = seen[stream]
        seen[stream] = at + len(data)
        data = data[max(0, self._given[stream] - at) :]
        async for count in self.sinks[stream.name.lower()].write(data):
            self._given[stream] += count

    async def _input(self) -> None:
        while data := await self.source.read():
            await self._send(exec_frames.stdin_message(data, tty=self.paths.terminal))
        if not self.paths.terminal and self.source.there:
            await self._send(exec_frames.STDIN_EOF_MESSAGE)

    async def _send(self, message: str | bytes) -> None:
        """To a session that has just ended, or an agent that has died, it is lost."""
        assert self._socket is not None
        with contextlib.suppress(errors.PeerError):
            await self._socket.send(message)


@contextlib.asynccontextmanager
async def _in_time(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(OPEN_S):
            yield
    except TimeoutError as error:
        raise errors.PeerError(f"{what}: the machine has not answered within {OPEN_S:g} s") from error
