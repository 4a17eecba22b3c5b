"""All sessions of the machine: made, found again after the agent's death, listed, ended."""

from __future__ import annotations

import asyncio
import logging
import os
import signal as signals
import time
from collections.abc import Mapping

import msgspec

from .. import errors
from ..runtime.values import Spawned, Stdio, Terminal
from ..spec.process import Process
from . import document
from .containers import naming
from .ended import Ended, EndedSession
from .machine import Executes, Link, Machine, put_all
from .out_of_memory import OutOfMemory
from .record_budget import RecordBudget
from .session import Known, Session, SessionMeta, open_process
from .session_rooms import SessionRooms

PIPE_BYTES = 256 << 10
_log = logging.getLogger(__name__)


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is wanted.

    `executable`: when it is not argv[0]. `keep_s`: how long it lives without clients, 0 for ever. `wait`: it ends with
    its output, however long another process holds that.
    """

    process: Process
    executable: str | None = None
    container: str = naming.WORLD
    tty: bool
    stdin: bool
    rows: int = 24
    cols: int = 80
    keep_s: float = 0.0
    wait: bool = False


class Sessions:
    """Owns every session."""

    def __init__(self, machine: Machine, budget: RecordBudget, out_of_memory: OutOfMemory) -> None:
        self._machine = machine
        self._budget = budget
        self._out_of_memory = out_of_memory
        self._ended = Ended(machine.link, budget)
        self._sessions: dict[str, Session] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._rooms = SessionRooms()
        self._last_id = 0

    def __len__(self) -> int:
        return sum(not session.ended.is_set() for session in self._sessions.values())

    def running(self) -> list[Session]:
        """Those that have not ended, oldest first."""
        return [session for session in self._sessions.values() if not session.ended.is_set()]

    def find(self, id: str) -> Session | EndedSession:
        """A session that runs, or has ended a moment ago; `NotFound`."""
        found = self._sessions.get(id) or self._ended.find(id)
        if found is None:
            raise errors.NotFound(f"session not found: {id}")
        return found

    def restore(self) -> None:
        """Take over what a former agent left in init's store."""
        self._ended.restore()
        for (container, id), parts in _by_session(self._machine.link.inherited).items():
            names = {part: naming.store_name(container, "session", id, part) for part in parts}
            descriptors = {part: self._machine.link.take(name) for part, name in names.items()}
            if id in self._ended:
                # The agent died before it had let go of what it had written down.
                _discard(self._machine.link, container, id, descriptors)
                continue
            try:
                self._adopt(_restored(self._machine, self._budget, self._out_of_memory, descriptors))
            except (errors.PilotError, OSError, KeyError) as error:
                # A session that was being made when the agent died: its process never ran.
                _log.warning("session %s cannot be taken over: %s", id, error)
                _discard(self._machine.link, container, id, descriptors)

    async def create(self, container: Executes, command: Command) -> Session:
        """Start a process in the world; returns when it runs. Whatever `runtime` refuses is raised.

        The caller attaches (`Session.attach_expected`), or says that it does not (`forsake`).
        """
        self._rooms.enter(command.container, (each.meta.container for each in self.running()))
        making = asyncio.create_task(self._create(container, command), name="start a session")
        try:
            return await asyncio.shield(making)
        except asyncio.CancelledError:
            # A caller that leaves in the middle must not leave a process that nobody wants.
            making.add_done_callback(self._unwanted)
            raise

    async def _create(self, container: Executes, command: Command) -> Session:
        try:
            meta = _meta(self._new_id(), command, self._out_of_memory.count)
            session = await asyncio.to_thread(
                _spawn, self._machine, self._budget, self._out_of_memory, container, command, meta
            )
        finally:
            self._rooms.leave(command.container)
        session.expect()
        self._adopt(session)
        return session

    def _unwanted(self, making: asyncio.Task[Session]) -> None:
        if making.cancelled() or making.exception() is not None:
            return
        making.result().forsake()
        try:
            making.result().signal(signals.SIGKILL)
        except errors.NotFound:
            pass  # it has ended by itself

    async def end_all(self, container: str = naming.WORLD) -> None:
        """Kill every session of a container at once, and forget them."""
        sessions = [each for each in self._sessions.values() if each.meta.container == container]
        for session in sessions:
            del self._sessions[session.meta.id]
        for session in sessions:
            try:
                session.signal(signals.SIGKILL)
            except errors.NotFound:
                pass  # it has ended by itself
        for session in sessions:
            await session.close()
        self._ended.forget_all(container)

    def close(self) -> None:
        """Leave all to the next agent."""
        self._ended.close()

    def _adopt(self, session: Session) -> None:
        self._sessions[session.meta.id] = session
        session.start()
        task = asyncio.create_task(self._retire(session), name=f"retire session {session.meta.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _retire(self, session: Session) -> None:
        """An ended session can be attached to for a while, so that a client that lost its connection reads the rest."""
        await session.left()
        if session.meta.id in self._sessions:
            # In this order, and at once: it is found in one place or the other.
            self._ended.keep(session)
            del self._sessions[session.meta.id]
            await session.close()

    def _new_id(self) -> str:
        """Decimal, as clients expect, and never used before, also not by a former agent."""
        self._last_id = max(self._last_id + 1, time.time_ns() // 1_000_000)
        return str(self._last_id)


def _by_session(inherited: Mapping[str, int]) -> dict[tuple[str, str], list[str]]:
    """Parts, by container and session."""
    found: dict[tuple[str, str], list[str]] = {}
    for full_name in inherited:
        match naming.parse_store_name(full_name):
            case container, ("session", id, part):
                found.setdefault((container, id), []).append(part)
    return found


def _restored(
    machine: Machine, budget: RecordBudget, out_of_memory: OutOfMemory, descriptors: dict[str, int]
) -> Session:
    meta = document.read(descriptors["meta"], SessionMeta)
    rest = {name: fd for name, fd in descriptors.items() if name != "meta"}
    process = None if meta.pid is None else Known(meta.pid, meta.start_time, open_process(meta.pid, meta.start_time))
    session = Session(machine.link, machine.exits, budget, out_of_memory, meta, rest, process)
    os.close(descriptors["meta"])
    return session


def _discard(link: Link, container: str, id: str, descriptors: Mapping[str, int]) -> None:
    for part, fd in descriptors.items():
        os.close(fd)
        link.drop(naming.store_name(container, "session", id, part))


def _spawn(
    machine: Machine,
    budget: RecordBudget,
    out_of_memory: OutOfMemory,
    container: Executes,
    command: Command,
    meta: SessionMeta,
) -> Session:
    """Make the descriptors, put them into the store, start the process. Blocks; leaves nothing when it fails."""
    id = meta.id

    def named(part: str) -> str:
        return naming.store_name(command.container, "session", id, part)

    ours, theirs = _descriptors(command)
    try:
        put_all(machine.link, [(named(part), fd) for part, fd in ours.items()])
        document.write(machine.link, named("meta"), meta)

        def on_created(spawned: Spawned) -> None:
            nonlocal meta
            if spawned.master_fd is not None:
                machine.link.put(named("pty"), spawned.master_fd)
            meta = msgspec.structs.replace(meta, pid=spawned.pid, start_time=spawned.start_time)
            document.write(machine.link, named("meta"), meta)

        spawned = container.exec(
            command.process,
            Stdio(*theirs),
            terminal=Terminal(command.rows, command.cols) if command.tty else None,
            before_start=on_created,
            executable=command.executable,
        )
        if spawned.master_fd is not None:
            ours["pty"] = spawned.master_fd
    except BaseException:
        _discard(machine.link, command.container, id, ours)
        for part in ("meta", "pty"):
            machine.link.drop(named(part))
        raise
    finally:
        for fd in theirs:
            if fd is not None:
                os.close(fd)
    known = Known(spawned.pid, spawned.start_time, spawned.pid_fd)
    return Session(machine.link, machine.exits, budget, out_of_memory, meta, ours, known)


def _meta(id: str, command: Command, killed_before: int) -> SessionMeta:
    return SessionMeta(
        id=id,
        container=command.container,
        command=" ".join((command.executable or command.process.args[0], *command.process.args[1:])),
        workdir=command.process.cwd,
        created=time.time(),
        tty=command.tty,
        rows=command.rows,
        cols=command.cols,
        keep_s=command.keep_s,
        wait=command.wait,
        killed_before=killed_before,
    )


def _descriptors(command: Command) -> tuple[dict[str, int], tuple[int | None, int | None, int | None]]:
    """What we keep, by name, and the process's stdin, stdout and stderr (which the caller closes)."""
    if command.tty:
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        return {"pty.read": read_fd, "pty.write": write_fd, "out.log": _memfd("out")}, (None, None, None)
    ours: dict[str, int] = {}
    stdin_fd = None
    if command.stdin:
        stdin_fd, ours["in"] = os.pipe2(os.O_CLOEXEC)
    ours["out.pipe"], out_fd = _output_pipe()
    ours["err.pipe"], err_fd = _output_pipe()
    ours["out.log"], ours["err.log"] = _memfd("out"), _memfd("err")
    return ours, (stdin_fd, out_fd, err_fd)


def _output_pipe() -> tuple[int, int]:
    """A pipe whose read end does not block; O_NONBLOCK belongs to one end alone."""
    import fcntl

    read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_fd, False)
    try:
        fcntl.fcntl(write_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        # EPERM: this user's share of pipe memory is used up; 64 KiB do as well, slower.
        pass
    return read_fd, write_fd


def _memfd(name: str) -> int:
    return os.memfd_create(f"pilot-session-{name}", os.MFD_CLOEXEC)
