"""Endpoints of sessions: start (WebSocket or POST), attach, list, kill. Framing and order are `exec_stream`'s."""

from __future__ import annotations

import asyncio
import errno
import signal as signals
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

from .. import errors
from ..server import response
from ..server.call import Call
from ..server.routing import Route
from ..spec.process import Process
from ..wire import duration, exec_frames, faults, http, operations, schema, timestamps
from . import beside, exec_stream, quiet, signal_names
from .containers import naming
from .containers.registry import Registry
from .decimals import parse_decimal
from .ended import EndedSession
from .graph.supervisor import Supervisor
from .machine import Executes, WorldRuntime
from .session import Session
from .sessions import Command, Sessions
from .world import World

_DEFAULT_KEEP_S = 10.0
# What the kernel says of a command or a directory that the caller has named wrongly.
_ASKED_FOR = frozenset(
    {errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ENOEXEC, errno.EISDIR, errno.E2BIG, errno.ELOOP}
)
_KILL_TIMEOUT_S = 10.0
_MAX_KILL_TIMEOUT_S = 3600.0

# What processes of a container look for is made fresh.
BeforeUse = Callable[[str], Awaitable[None]]


class ExecApi:
    """Sessions of the world, and with `container` in the query of any other container."""

    def __init__(
        self,
        sessions: Sessions,
        world: World,
        registry: Registry,
        graph: Supervisor,
        before_use: BeforeUse,
        runtime: WorldRuntime,
    ) -> None:
        self._sessions = sessions
        self._world = world
        self._registry = registry
        self._graph = graph
        self._before_use = before_use
        self._beside = beside.Beside(runtime)

    def routes(self) -> list[Route]:
        return [
            Route(operations.LIST_SESSIONS, self.list),
            Route(operations.EXECUTE, self.run),
            Route(operations.OPEN_SESSION, self.start),
            Route(operations.ATTACH_SESSION, self.attach),
            Route(operations.OPEN_MACHINE_SESSION, self.start_beside),
            Route(operations.KILL_SESSION, self.kill),
            Route(operations.DELETE_SESSION, self.kill),
        ]

    async def start(self, call: Call) -> None:
        """GET (WebSocket) /v1/exec: with `id` it attaches, as older clients do."""
        if id := call.request.first("id"):
            await self._attach(call, id)
            return
        await self._open(call, await self._command(call.request, tty=call.request.flag("tty")))

    async def start_beside(self, call: Call) -> None:
        """GET (WebSocket) /v1/machine/exec: beside the agent; with `id` one of those again.

        No other call shows them.
        """
        if id := call.request.first("id"):
            await self._attach(call, id, is_beside=True)
            return
        await self._open(call, _command_beside(call.request))

    async def _open(self, call: Call, command: Command) -> None:
        quiet_s = quiet.limit_s(call.request)
        session = await self._create(command)
        try:
            socket = await call.accept_websocket([exec_frames.SIGNAL_HEADER])
            await exec_stream.serve_websocket(session, socket, is_owner=True, quiet_s=quiet_s)
        finally:
            session.forsake()

    async def attach(self, call: Call) -> None:
        """GET (WebSocket) /v1/exec/{id}: what is kept of the output, then what comes."""
        await self._attach(call, call.parameters["id"])

    async def _attach(self, call: Call, id: str, *, is_beside: bool = False) -> None:
        session, known = self._find(call, id, is_beside=is_beside), _known(call.request)
        quiet_s = quiet.limit_s(call.request)
        socket = await call.accept_websocket([exec_frames.SIGNAL_HEADER])
        await exec_stream.serve_websocket(session, socket, is_owner=False, known=known, quiet_s=quiet_s)

    async def run(self, call: Call) -> response.Response:
        """POST /v1/exec: the body is stdin, the answer the framed output."""
        command = await self._command(call.request, tty=False)
        session = await self._create(command)
        # The answer begins before the body has ended, as `cat` wants it: the body is read beside it.
        return response.Response(200, _output(call, session), content_type=response.BYTES)

    async def list(self, call: Call) -> response.Response:
        """GET /v1/exec: all, or with `container` those of one."""
        if only := call.request.first("container"):
            naming.check_name(only)
        shown = [each for each in self._sessions.running() if not naming.is_beside(each.meta.container)]
        rows = [_row(each) for each in shown if only in ("", each.meta.container)]
        return response.json(schema.SessionList(count=len(rows), sessions=rows))

    async def kill(self, call: Call) -> response.Response:
        """POST /v1/exec/{id}/kill: signal and timeout in the query or in the body."""
        session = self._find(call, call.parameters["id"])
        body = await call.json(schema.KillRequest)
        number = signal_names.parse_signal(call.request.first("signal") or body.signal or "SIGTERM")
        asked = call.request.first("timeout") or (body.timeout if body.timeout is not None else _KILL_TIMEOUT_S)
        timeout_s = duration.parse_duration_s(asked) if isinstance(asked, str) else float(asked)
        if session.exit_code is not None or not isinstance(session, Session):
            raise faults.Gone(f"session {session.meta.id} has ended already")
        session.signal(number)
        return response.ndjson(_kill(session, number, min(timeout_s, _MAX_KILL_TIMEOUT_S)))

    def _find(self, call: Call, id: str, *, is_beside: bool = False) -> Session | EndedSession:
        """With `container` in the query only one of that container."""
        session = self._sessions.find(id)
        if naming.is_beside(session.meta.container) is not is_beside:
            raise errors.NotFound(f"session not found: {id}")
        if call.request.first("container") not in ("", session.meta.container):
            raise errors.NotFound(f"session not found: {id}")
        return session

    async def _create(self, command: Command) -> Session:
        if not naming.is_beside(command.container):
            await self._before_use(command.container)
        try:
            return await self._sessions.create(self._container(command.container), command)
        except errors.StepError as error:
            if error.errno not in _ASKED_FOR:
                raise
            raise _refusal(error) from error

    def _container(self, name: str) -> Executes:
        if naming.is_beside(name):
            return self._beside
        return self._world.container() if name == naming.WORLD else self._registry.find(name)

    async def _command(self, request: http.Request, *, tty: bool) -> Command:
        """In a thread: who somebody is stands in files of the container, where its root may have put a link to some
        that wait."""
        return await asyncio.to_thread(self._find_command, request, tty=tty)

    def _find_command(self, request: http.Request, *, tty: bool) -> Command:
        path, arguments = _words(request, "bash")
        container = naming.check_name(request.first("container") or naming.WORLD)
        env, cwd = request.query.get("env", []), request.first("dir")
        if container == naming.WORLD:
            process = self._world.process(arguments, env, cwd, tty=tty)
        else:
            process = self._graph.session_process(container, arguments, env, cwd, tty=tty)
        return _as_command(request, process, container, path, tty=tty)


def _command_beside(request: http.Request) -> Command:
    tty = request.flag("tty")
    path, arguments = _words(request, "sh")
    with open("/proc/self/status") as status:
        env, cwd = request.query.get("env", []), request.first("dir")
        process = beside.process(arguments, env, cwd, tty=tty, status=status.read())
    return _as_command(request, process, naming.MACHINE, path, tty=tty)


def _words(request: http.Request, shell: str) -> tuple[str, tuple[str, ...]]:
    """What is executed, when that is not argv[0], and argv; all that is passed to a process is looked at."""
    path, env = request.first("path"), request.query.get("env", [])
    arguments = tuple(request.query.get("cmd", [])) or (path or shell,)
    if any("=" not in item for item in env):
        raise faults.InvalidRequest("env: each is NAME=value")
    if any("\0" in word for word in (path, *arguments, *env, request.first("dir"))):
        raise faults.InvalidRequest("exec: a NUL byte cannot be passed to a process")
    return path, arguments


def _as_command(request: http.Request, process: Process, container: str, path: str, *, tty: bool) -> Command:
    return Command(
        process=process,
        container=container,
        executable=path or None,
        tty=tty,
        stdin=request.flag("stdin", default=tty),
        rows=request.number("rows", 24, 1, 65535),
        cols=request.number("cols", 80, 1, 65535),
        keep_s=_keep_s(request, tty),
        wait=request.flag("wait"),
    )


def _refusal(error: errors.StepError) -> faults.InvalidRequest:
    """The caller's mistake: the command (a client's exit status 127 or 126, as of a shell), or something about it."""
    if not str(error).startswith("exec"):
        return faults.InvalidRequest(str(error))
    kind = faults.CommandNotFound if error.errno == errno.ENOENT else faults.CommandNotExecutable
    return kind(str(error))


def _known(request: http.Request) -> dict[exec_frames.Stream, int]:
    """What the client has of the output. `InvalidRequest`."""
    found = {}
    for name, stream in (("output_offset", exec_frames.Stream.STDOUT), ("stderr_offset", exec_frames.Stream.STDERR)):
        if text := request.first(name):
            offset = parse_decimal(text)
            if offset is None:
                raise faults.InvalidRequest(f"{name}: {text[:40]!r} is no number of bytes")
            found[stream] = offset
    return found


def _keep_s(request: http.Request, tty: bool) -> float:
    """How long the session lives without a client; 0 is for ever."""
    if text := request.first("max_run_after_disconnect"):
        return duration.parse_duration_s(text)
    return 0.0 if tty or request.flag("detachable") else _DEFAULT_KEEP_S


async def _output(call: Call, session: Session) -> AsyncIterator[bytes]:
    """The framed output, until the session's end, or until the client is gone (then `PeerError`)."""
    client = asyncio.create_task(_feed(call, session), name=f"client of session {session.meta.id}")
    source = exec_stream.http_body(session)
    try:
        while (piece := await _next(source, client)) is not None:
            yield piece
    finally:
        client.cancel()
        await asyncio.gather(client, return_exceptions=True)
        await source.aclose()


async def _next(source: AsyncGenerator[bytes, None], client: asyncio.Task[None]) -> bytes | None:
    """The next piece, or None at the end; `PeerError` when `client` ends first."""
    piece = asyncio.create_task(_piece(source))
    await asyncio.wait([piece, client], return_when=asyncio.FIRST_COMPLETED)
    if piece.done():
        return piece.result()
    piece.cancel()
    await asyncio.gather(piece, return_exceptions=True)
    raise errors.PeerError("exec: the client has gone")


async def _piece(source: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(source, None)


async def _feed(call: Call, session: Session) -> None:
    """Body → stdin; returns when the client has gone."""
    try:
        async for piece in call.chunks():
            await session.write_stdin(piece)
    finally:
        session.end_stdin()
    await call.wait_gone()


async def _kill(session: Session, number: int, timeout_s: float) -> AsyncIterator[schema.KillEvent]:
    name, pid = signals.Signals(number).name, session.meta.pid
    yield schema.KillEvent(type="signal", message=f"sent {name} to process {pid}", signal=name, pid=pid)
    if timeout_s > 0 and not await _ended_within(session, timeout_s):
        yield schema.KillEvent(type="timeout", message=f"process {pid} has not ended within {timeout_s:g} s")
        try:
            session.signal(signals.SIGKILL)
        except errors.NotFound:
            pass  # it ended at the last moment
        await _ended_within(session, _KILL_TIMEOUT_S)
        yield schema.KillEvent(type="killed", message=f"killed process {pid}", signal="SIGKILL", pid=pid)
    elif session.ended.is_set():
        yield schema.KillEvent(type="exited", message=f"process {pid} has ended", pid=pid)
    yield schema.KillEvent(type="complete", exit_code=session.exit_code)


async def _ended_within(session: Session, timeout_s: float) -> bool:
    try:
        async with asyncio.timeout(timeout_s):
            await session.ended.wait()
    except TimeoutError:
        return False
    return True


def _row(session: Session) -> schema.SessionRow:
    meta, now = session.meta, time.time()
    return schema.SessionRow(
        id=meta.id,
        command=meta.command,
        workdir=meta.workdir,
        created=timestamps.of_s(meta.created),
        tty=meta.tty,
        bytes_per_second=session.bytes_total / max(now - meta.created, 0.001),
        is_active=now - session.last_activity < 5,
        last_activity=timestamps.of_s(session.last_activity),
        container=meta.container,
    )
