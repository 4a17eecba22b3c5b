"""The six routes of the old init, answered as it did. Its errors are `{"message": …}`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal as signals
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import msgspec

import pilot

from ... import errors
from ...server import response
from ...server.call import Call, WebSocket
from ...server.routing import Route
from ...wire import exec_frames, faults, legacy, websocket
from ...wire.exec_frames import Stream
from .. import signal_names, sysinfo
from ..containers.registry import Registry
from ..graph.supervisor import Supervisor
from ..output import Cursor
from ..session import Session
from ..sessions import Command, Sessions
from . import console
from .life import Life
from .planning import APP, MAIN

# What nobody can read as numbers in JSON anyway: of each stream so much is kept, the rest is read and dropped.
MOST_OUTPUT_BYTES = 4 << 20
# A client that has gone: its command may take so much longer.
KEEP_S = 10.0
ROOT_S = 10.0
_TOLD_S = 0.05
_BAD_SIGNAL = "EINVAL: Invalid argument"
# The numbers that it took: those that POSIX and Linux have names for.
_SIGNALS = range(1, 32)
_HEADERS = ((legacy.VERSION_HEADER, pilot.__version__),)
_encode = msgspec.json.Encoder().encode
_Kind = TypeVar("_Kind")
_log = logging.getLogger(__name__)


class Routes:
    """At port 10000 of a machine that has a run.json."""

    def __init__(
        self, life: Life, sessions: Sessions, registry: Registry, graph: Supervisor, memory_bytes: int | None
    ) -> None:
        self._life = life
        self._sessions = sessions
        self._registry = registry
        self._graph = graph
        self._memory_bytes = memory_bytes

    def routes(self) -> list[Route]:
        return [
            Route(legacy.STATUS, _told(self.status)),
            Route(legacy.SYSINFO, _told(self.sysinfo)),
            Route(legacy.SIGNALS, _told(self.signal)),
            Route(legacy.EXIT_CODE, _told(self.exit_code)),
            Route(legacy.EXEC, _told(self.execute)),
            Route(legacy.WS_EXEC, self.open),
        ]

    async def status(self, _: Call) -> response.Response:
        """That it answers. It says nothing of the main process."""
        return _json(legacy.Ok())

    async def sysinfo(self, _: Call) -> response.Response:
        """Now."""
        return _json(await asyncio.to_thread(sysinfo.read, self._memory_bytes))

    async def signal(self, call: Call) -> response.Response:
        """To the main process; one that has ended gets none, which is only said on the console."""
        request = await _body(call, legacy.SignalNumber)
        if request.signal not in _SIGNALS:
            raise faults.InvalidRequest(_BAD_SIGNAL)
        name = signal_names.name(request.signal)
        try:
            self._life.signal(request.signal)
        except errors.NotFound as error:
            await console.say(f"error signaling ({name}) main child process: {error}", "ERROR")
        else:
            pid = self._registry.pid(MAIN)
            await console.say(f"Sending signal {name} to main child process w/ PID {pid}")
        return _json(legacy.Ok())

    async def exit_code(self, call: Call) -> response.Response | None:
        """When it has ended; then the machine does, too."""
        waiting = asyncio.ensure_future(self._life.exit_code())
        gone = asyncio.ensure_future(call.wait_gone())
        try:
            await asyncio.wait([waiting, gone], return_when=asyncio.FIRST_COMPLETED)
            if not waiting.done():
                raise errors.PeerError("exit code: the client has gone")
            asyncio.get_running_loop().call_later(_TOLD_S, self._life.told)
            return _json(waiting.result())
        finally:
            for task in (waiting, gone):
                task.cancel()
            await asyncio.gather(waiting, gone, return_exceptions=True)

    async def execute(self, call: Call) -> response.Response:
        """A command in the main process's root, as root, in its environment; all of its output."""
        request = await _body(call, legacy.ExecRequest)
        if not request.cmd or not request.cmd[0]:
            raise faults.InvalidRequest("cmd: it has a program")
        session = await self._create(request.cmd, tty=False, wait=True)
        cursors = session.attach_expected()
        gone = asyncio.ensure_future(call.wait_gone())
        reading = asyncio.ensure_future(_read_all(session, cursors))
        try:
            done, _ = await asyncio.wait(
                [gone, reading], timeout=request.timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if gone in done and not reading.done():
                raise errors.PeerError("exec: the client has gone")
            if not reading.done():
                await session.stop()
            stdout, stderr = await reading
        finally:
            for task in (gone, reading):
                task.cancel()
            await asyncio.gather(gone, reading, return_exceptions=True)
            session.detach(cursors)
        ended = _how_it_ended(session)
        return _json(
            legacy.ExecResponse(
                exit_code=ended.code, exit_signal=ended.signal, stdout=list(stdout), stderr=list(stderr)
            )
        )

    async def open(self, call: Call) -> None:
        """A WebSocket: command, output, input, how it ended."""
        socket = await call.accept_websocket()
        message = await socket.receive()
        wanted = _parse(message, legacy.ExecInit) if isinstance(message, str) else None
        if wanted is None or not wanted.command or not wanted.command[0]:
            await socket.close(websocket.CLOSE_NORMAL)
            return
        try:
            session = await self._create(wanted.command, tty=wanted.tty, wait=False)
        except (errors.PilotError, OSError) as error:
            await socket.send(_encode(legacy.ErrorFrame(error=legacy.Message(str(error)))).decode())
            await socket.close(websocket.CLOSE_NORMAL)
            return
        await _converse(session, socket)

    async def _until_root(self) -> None:
        """Its status is good before the root is there: who asks so early waits for it."""
        try:
            async with asyncio.timeout(ROOT_S):
                while self._registry.pid(APP) is None and not self._life.ended:
                    await asyncio.shield(self._registry.changed.next())
        except TimeoutError:
            pass  # what is wrong is told

    async def _create(self, words: list[str], *, tty: bool, wait: bool) -> Session:
        if any("\0" in word for word in words):
            raise faults.InvalidRequest("exec: a NUL byte cannot be passed to a process")
        await self._until_root()
        process = await asyncio.to_thread(self._graph.session_process, APP, words, [], "/", tty=tty)
        command = Command(process=process, container=APP, tty=tty, stdin=tty, keep_s=KEEP_S, wait=wait)
        return await self._sessions.create(self._registry.find(APP), command)


# ---- answers --------------------------------------------------------------------------------------------------------


def _json(value: object, status: int = 200) -> response.Response:
    return response.Response(status, _encode(value), content_type=response.JSON, headers=_HEADERS)


def _told(
    endpoint: Callable[[Call], Awaitable[response.Response | None]],
) -> Callable[[Call], Awaitable[response.Response | None]]:
    """The same, with errors as they were told."""

    async def told(call: Call) -> response.Response | None:
        try:
            return await endpoint(call)
        except errors.PeerError:
            raise  # nobody is there to be told
        except (errors.PilotError, OSError) as error:
            return _json(legacy.Message(str(error)), faults.fault_of(error).status)

    return told


async def _body(call: Call, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.json.decode(await call.body(legacy.MOST_BODY_BYTES), type=kind)
    except errors.UNREADABLE as error:
        raise faults.InvalidRequest(f"Request body deserialize error: {error}") from error


def _parse(text: str, kind: type[_Kind]) -> _Kind | None:
    """None for what it is not."""
    try:
        return msgspec.json.decode(text, type=kind)
    except errors.UNREADABLE:
        return None


# ---- sessions -------------------------------------------------------------------------------------------------------


def _how_it_ended(session: Session) -> legacy.HowItEnded:
    signal = session.meta.exit_signal
    return legacy.HowItEnded(code=session.exit_code if signal is None else None, signal=signal)


async def _read_all(session: Session, cursors: Mapping[Stream, Cursor]) -> tuple[bytes, bytes]:
    """Both streams to their end."""
    kept = {stream: bytearray() for stream in cursors}
    while True:
        change = session.changed.next()
        pieces = {stream: cursor.read(exec_frames.MAX_PAYLOAD) for stream, cursor in cursors.items()}
        for stream, data in pieces.items():
            kept[stream] += data[: MOST_OUTPUT_BYTES - len(kept[stream])]
        if any(pieces.values()):
            continue
        if session.exit_code is not None and all(cursor.at_end for cursor in cursors.values()):
            return bytes(kept[Stream.STDOUT]), bytes(kept[Stream.STDERR])
        await asyncio.shield(change)


async def _converse(session: Session, socket: WebSocket) -> None:
    """Until the command has ended and all is said, or the client has gone, which ends the command."""
    cursors = session.attach_expected()
    writer = asyncio.ensure_future(_write(session, cursors, socket))
    reader = asyncio.ensure_future(_read(session, socket))
    try:
        await asyncio.wait([writer, reader], return_when=asyncio.FIRST_COMPLETED)
        if not session.ended.is_set():
            with contextlib.suppress(errors.NotFound):  # it has just ended
                session.signal(signals.SIGKILL)
    finally:
        for task in (writer, reader):
            task.cancel()
        for result in await asyncio.gather(writer, reader, return_exceptions=True):
            if isinstance(result, Exception) and not isinstance(result, errors.PeerError):
                _log.error("old exec: client: %r", result)
        session.detach(cursors)


async def _write(session: Session, cursors: Mapping[Stream, Cursor], socket: WebSocket) -> None:
    """stdout or the terminal to the client; stderr of a command without one to the console, as ever."""
    while True:
        change = session.changed.next()
        pieces = {stream: cursor.read(exec_frames.MAX_PAYLOAD) for stream, cursor in cursors.items()}
        if output := pieces[Stream.STDOUT]:
            await socket.send(output)
        if output := pieces.get(Stream.STDERR, b""):
            await console.write(output)
        if any(pieces.values()):
            continue
        if session.exit_code is not None and all(cursor.at_end for cursor in cursors.values()):
            break
        await asyncio.shield(change)
    await socket.send(_encode(legacy.ExitFrame(exit=_how_it_ended(session))).decode())
    await socket.close(websocket.CLOSE_NORMAL)


async def _read(session: Session, socket: WebSocket) -> None:
    while not isinstance(message := await socket.receive(), websocket.Closed):
        if isinstance(message, bytes):
            await session.write_stdin(message)
        elif (size := _parse(message, legacy.Resize)) is not None and 0 < size.cols < 65536 and 0 < size.rows < 65536:
            session.resize(size.rows, size.cols)
