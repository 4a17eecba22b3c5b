"""One session: a process in the world, its output, its input, and the clients that come and go.

    in init's store, all of it before the process runs, under container/<name>/session/<id>:
      .../meta                                  SessionMeta: what it is, its pid, at last its exit code
      .../{out,err}.pipe  {out,err}.log  in     pipes and memfds (no terminal)
      .../pty  pty.{read,write}  out.log        pty master, the pipe behind it, memfd (terminal)

When it has ended only its record and meta are left, and those only until no client reads them (`ended`).
A new agent makes the same Session of those descriptors and goes on. The session is over when the process has ended
*and* its output has: end of file, or, when a background process still holds the other end, nothing for QUIET_S.
With `wait` only the end of file counts, as with ssh.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import signal as signals
import time
from collections.abc import Mapping

import msgspec

from .. import errors
from ..kernel import process as kernel_process
from ..kernel import splice, waiter
from ..wire.exec_frames import Stream
from . import document
from .containers import naming
from .machine import Exits, Link
from .out_of_memory import OutOfMemory
from .output import Changed, Cursor, Output
from .readiness import readable
from .record_budget import RecordBudget
from .stdin import Stdin

QUIET_S = 0.1
EXPECT_S = 60.0  # how long who has a session made may take to attach
RECORD_TIMEOUT_S = 30.0
KILL_GRACE_S = 10.0
_PROCESS_GROUP = 1 << 2  # PIDFD_SIGNAL_PROCESS_GROUP, Linux 6.9
_log = logging.getLogger(__name__)


class SessionMeta(msgspec.Struct, frozen=True, kw_only=True):
    """What must be known after the agent's death. Times are Unix seconds; `keep_s` 0 means for ever."""

    id: str
    container: str = naming.WORLD
    command: str
    workdir: str
    created: float
    tty: bool
    rows: int = 24
    cols: int = 80
    keep_s: float = 0.0
    wait: bool = False
    pid: int | None = None
    start_time: int = 0
    exit_code: int | None = None
    exit_signal: int | None = None
    # What was ended for want of memory before it began, and what its clients are told of that at its end.
    killed_before: int = 0
    last_words: str = ""


@dataclasses.dataclass(frozen=True)
class Known:
    """A process as a waiter wants it."""

    pid: int
    start_time: int
    pid_fd: int


class Session:
    """Owns `descriptors` (by the last part of their names in the store) and `process.pid_fd`."""

    def __init__(
        self,
        link: Link,
        exits: Exits,
        budget: RecordBudget,
        out_of_memory: OutOfMemory,
        meta: SessionMeta,
        descriptors: Mapping[str, int],
        process: Known | None,
    ) -> None:
        self.meta = meta
        self.changed = Changed()
        self.last_activity = time.time()
        self.touched_s = time.monotonic()
        self.ended = asyncio.Event()
        self._hurried = False  # nobody waits for the end of the output any more
        self._link = link
        self._exits = exits
        self._out_of_memory = out_of_memory
        self._process = process
        self._descriptors = dict(descriptors)
        self._clients = 0
        self._expected: dict[Stream, Cursor] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._unattended = asyncio.Event()
        self._unattended.set()
        self._expiry: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        recorders = self._recorders()
        self.outputs = {stream: Output(recorder, self.changed, budget) for stream, recorder in recorders.items()}
        for stream, recorder in recorders.items():
            if recorder.source_fd < 0:
                self.outputs[stream].finish()
        stdin_fd = self._descriptors.get("pty" if meta.tty else "in")
        self.stdin = None if stdin_fd is None else Stdin(stdin_fd, self._release_stdin)

    def start(self) -> None:
        """Record, and watch for the end, on the running loop."""
        for output in self.outputs.values():
            output.start()
        self._task = asyncio.create_task(self._run(), name=f"session {self.meta.id}")
        self._arm_expiry()

    @property
    def exit_code(self) -> int | None:
        """128 + n for signal n; None while it runs. Not to be told to a client before all output."""
        return self.meta.exit_code

    @property
    def bytes_total(self) -> int:
        """Output since this agent has known the session."""
        return sum(output.progress for output in self.outputs.values())

    def expect(self) -> None:
        """Who has it made will attach: as if it had, nothing is given up until then. Before `start`."""
        self._expected = self.attach()
        self._patience = asyncio.get_running_loop().call_later(EXPECT_S, self.forsake)

    def forsake(self) -> None:
        """Who was expected does not come; nothing happens when it has."""
        expected = self._take_expected()
        if expected is not None:
            self.detach(expected)

    def attach_expected(self) -> dict[Stream, Cursor]:
        """Who was expected comes; otherwise as `attach`."""
        expected = self._take_expected()
        return self.attach() if expected is None else expected

    def _take_expected(self) -> dict[Stream, Cursor] | None:
        if self._patience is not None:
            self._patience.cancel()
        expected, self._expected = self._expected, None
        return expected

    def attach(self) -> dict[Stream, Cursor]:
        """A client comes: cursors from the oldest kept byte on. `detach` must follow."""
        self._clients += 1
        self._unattended.clear()
        self._arm_expiry()
        return {stream: output.attach() for stream, output in self.outputs.items()}

    def detach(self, cursors: Mapping[Stream, Cursor]) -> None:
        """The client has gone; without clients the session lives on for `keep_s`."""
        for cursor in cursors.values():
            cursor.close()
        self._clients -= 1
        if self._clients == 0:
            self._unattended.set()
        self._arm_expiry()

    def touch(self) -> None:
        """Somebody uses it: a client comes, says something, or is sent output."""
        self.touched_s = time.monotonic()

    def keep(self) -> None:
        """It lives on without clients for ever, whatever was asked for."""
        if self.meta.keep_s and not self.ended.is_set():
            self._update(keep_s=0.0)

    async def left(self) -> None:
        """It has ended, and nobody reads it any more."""
        await self.ended.wait()
        while self._clients:
            await self._unattended.wait()

    def tail(self, stream: Stream, most_bytes: int) -> tuple[int, int, int]:
        """The end of what is kept of a stream: the memfd (borrowed), the offset of the first byte, and how many."""
        output = self.outputs.get(stream)
        if output is None:
            return -1, 0, 0
        first = max(output.first_kept, output.size - most_bytes)
        return self._descriptors["out.log" if stream is Stream.STDOUT else "err.log"], first, output.size - first

    async def write_stdin(self, data: bytes) -> None:
        """Input for the process; waits while too much is queued."""
        self.last_activity = time.time()
        self.touch()
        if self.stdin is not None:
            await self.stdin.write(data)

    def end_stdin(self) -> None:
        """End of input; nothing happens in a terminal, whose clients send ^D."""
        if self.stdin is not None and not self.meta.tty:
            self.stdin.end()

    def resize(self, rows: int, cols: int) -> None:
        """Another window size; the kernel sends SIGWINCH."""
        self.touch()
        if self.meta.tty and not self.ended.is_set():
            import termios

            termios.tcsetwinsize(self._descriptors["pty"], (rows, cols))
            self._update(rows=rows, cols=cols)

    def signal(self, number: int) -> None:
        """To the process, and to its group where it leads one; `NotFound` when it has ended."""
        self.touch()
        if self._process is None or self._process.pid_fd < 0 or self.meta.exit_code is not None:
            raise errors.NotFound(f"signal session {self.meta.id}: it has ended")
        try:
            signals.pidfd_send_signal(self._process.pid_fd, number, None, _PROCESS_GROUP)
        except ProcessLookupError as error:
            raise errors.NotFound(f"signal session {self.meta.id}: it has ended") from error
        except OSError:
            # EINVAL: the kernel is older than process groups for pidfds. The process alone gets it.
            signals.pidfd_send_signal(self._process.pid_fd, number)

    async def stop(self) -> None:
        """SIGTERM, and SIGKILL after a grace period; returns when it has ended. Survivors' output is not waited for."""
        self._hurried = True
        self.changed.notify()
        for number, wait_s in ((signals.SIGTERM, KILL_GRACE_S), (signals.SIGKILL, KILL_GRACE_S)):
            try:
                self.signal(number)
            except errors.NotFound:
                break
            try:
                async with asyncio.timeout(wait_s):
                    await self.ended.wait()
                return
            except TimeoutError:
                continue
        await self.ended.wait()

    async def close(self) -> None:
        """Forget the session: its descriptors here and in init's store."""
        self._take_expected()
        if self._expiry is not None:
            self._expiry.cancel()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._finish()
        for output in self.outputs.values():
            output.close()
        for name in list(self._descriptors):
            self._drop(name)
        self._link.drop(self._store_name("meta"))

    def _recorders(self) -> dict[Stream, splice.Recorder]:
        """A source that is not there any more (-1) has ended under a former agent."""
        fds = self._descriptors
        if self.meta.tty and "pty" in fds:
            recorder = splice.TerminalRecorder(fds["pty"], fds["pty.read"], fds["pty.write"], fds["out.log"])
            return {Stream.STDOUT: recorder}
        pairs = {Stream.STDOUT: ("out.pipe", "out.log"), Stream.STDERR: ("err.pipe", "err.log")}
        if self.meta.tty:
            del pairs[Stream.STDERR]
        return {stream: splice.Recorder(fds.get(pipe, -1), fds[log]) for stream, (pipe, log) in pairs.items()}

    async def _run(self) -> None:
        try:
            if self.meta.exit_code is None:
                status = await self._wait_for_exit()
                # First into the store, then out of init's: a death in between tells it twice, never not at all.
                code = status.exit_code()
                self._update(exit_code=code, exit_signal=status.signal, last_words=self._last_words(code))
                if self._process is not None:
                    await asyncio.to_thread(self._exits.acknowledge, self._process)
            await self._wait_for_output()
        except Exception:  # noqa: BLE001 - reported here, once
            # A client must not hang on a session that nobody follows: end it, with whatever is known.
            _log.exception("session %s", self.meta.id)
            self._update(exit_code=255)
        self._finish()

    def _last_words(self, exit_code: int) -> str:
        if self.meta.container != naming.WORLD:
            return ""
        return self._out_of_memory.last_words(exit_code, self.meta.killed_before)

    def _finish(self) -> None:
        self._release()
        self.ended.set()
        self.changed.notify()

    def _release(self) -> None:
        """All but the records: the process has ended, and so has whatever led to it or from it."""
        self._finish_streams()
        for name in [name for name in self._descriptors if not name.endswith(".log")]:
            self._drop(name)
        if self._process is not None and self._process.pid_fd >= 0:
            os.close(self._process.pid_fd)
            self._process = dataclasses.replace(self._process, pid_fd=-1)

    def _store_name(self, part: str) -> str:
        return naming.store_name(self.meta.container, "session", self.meta.id, part)

    def _drop(self, name: str) -> None:
        os.close(self._descriptors.pop(name))
        self._link.drop(self._store_name(name))

    async def _wait_for_exit(self) -> waiter.ExitStatus:
        if self._process is None:
            # The former agent died before it knew the pid; the end of the output is all we can see.
            while not all(output.ended for output in self.outputs.values()):
                await asyncio.shield(self.changed.next())
            return waiter.ExitStatus(None)
        if self._process.pid_fd >= 0:
            await readable(self._process.pid_fd)
        return await asyncio.to_thread(exit_status, self._exits, self._process)

    async def _wait_for_output(self) -> None:
        """Until each stream has ended, or has been quiet for QUIET_S while nobody held it up."""
        for output in self.outputs.values():
            output.drain()
        if self.meta.wait:
            await self._wait_for_end()
        while not all(output.ended for output in self.outputs.values()):
            change, before = self.changed.next(), self.bytes_total
            try:
                async with asyncio.timeout(QUIET_S):
                    await asyncio.shield(change)  # others wait for it, too
            except TimeoutError:
                for output in self.outputs.values():
                    # A client may have let it go on just now: what had to wait meanwhile is there, and counts.
                    if before == self.bytes_total and not (output.ended or output.paused) and not output.take():
                        output.finish()

    async def _wait_for_end(self) -> None:
        """Until each stream has ended, or the session is being stopped."""
        while True:
            change = self.changed.next()
            if self._hurried or all(output.ended for output in self.outputs.values()):
                return
            await asyncio.shield(change)

    def _release_stdin(self) -> None:
        """The pipe's write end must be gone everywhere before its reader sees the end; a pty master stays."""
        if "in" in self._descriptors:
            self._drop("in")

    def _finish_streams(self) -> None:
        if self.stdin is not None:
            self.stdin.close()
        for output in self.outputs.values():
            output.finish()

    def _update(self, **changes: object) -> None:
        self.meta = msgspec.structs.replace(self.meta, **changes)
        document.write(self._link, self._store_name("meta"), self.meta)

    def _arm_expiry(self) -> None:
        """Without clients, and with a limit, time runs."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self._clients == 0 and self.meta.keep_s > 0 and not self.ended.is_set():
            self._expiry = asyncio.get_running_loop().call_later(self.meta.keep_s, self._expire)

    def _expire(self) -> None:
        _log.info("session %s: no client for %g s", self.meta.id, self.meta.keep_s)
        self._stopping = asyncio.create_task(self.stop(), name=f"stop session {self.meta.id}")


def open_process(pid: int, start_time: int) -> int:
    """A pidfd of this very process, or -1 when it has ended."""
    try:
        pid_fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return -1
    if 0 < start_time == kernel_process.start_time(pid):
        return pid_fd
    os.close(pid_fd)
    return -1


def exit_status(exits: Exits, process: Known) -> waiter.ExitStatus:
    """How a process that has ended did so; unknown when nobody told in time. Blocks."""
    if process.pid_fd >= 0:
        return _known_status(exits, process)
    # It ended while no agent ran: there is no pidfd any more. /dev/null is readable at once, as its pidfd would be.
    null_fd = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _known_status(exits, dataclasses.replace(process, pid_fd=null_fd))
    finally:
        os.close(null_fd)


def _known_status(exits: Exits, process: Known) -> waiter.ExitStatus:
    try:
        return exits.status(process, RECORD_TIMEOUT_S)
    except TimeoutError:
        return waiter.ExitStatus(None)
