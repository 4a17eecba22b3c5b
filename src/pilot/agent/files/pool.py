"""The agent's side: a few children of the world (`child`), made when there is work, ended when there is none.

    call(request) ─► waits for a place ─► an idle child, or a new one ─► its answer ─► idle again, for IDLE_S

At most CHILDREN at once, of which long requests (listings, trees) have LONG, so that they never keep the short ones
waiting; WAITING more may stand in line, and the next are told to come again. A call that is given up kills its child:
whatever it was stuck in, a disk, a FUSE server that has gone, ends with it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence

import msgspec

from ... import errors
from ...wire import faults
from ..readiness import readable
from . import messages

CHILDREN = 6
LONG = 3
WAITING = 256
IDLE_S = 20.0
_MAX_FDS = 4
_PROGRAM = (
    "import os, sys\n"
    "for fd in map(int, filter(None, sys.argv[6].split(','))): os.write(fd, b'0'); os.close(fd)\n"
    "sys.path[:] = sys.argv[5].split(os.pathsep)\n"
    "from pilot.agent.files import child\n"
    "child.main(*map(int, sys.argv[1:5]))\n"
)
_encode = msgspec.json.Encoder().encode
_decoder = msgspec.json.Decoder(messages.Answer)
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Entrance:
    """The way into a world. The pool owns `pid_fd` and `root_fd`.

    `namespaces`: CLONE_NEW* in which it differs from us. `cgroup_fds`: opens descriptors into which a process writes
    "0" to be under the world's limits.
    """

    pid_fd: int
    root_fd: int
    namespaces: int
    cgroup_fds: Callable[[], list[int]]


class Reply:
    """An answer and its descriptors, which `take` gives away; `close` closes the rest."""

    def __init__(self, answer: messages.Answer, fds: Sequence[int]) -> None:
        self.answer = answer
        self._fds = list(fds)

    def take(self) -> int:
        """The next descriptor; the caller owns it."""
        if not self._fds:
            raise errors.PeerError("fs: the child sent no descriptor")
        return self._fds.pop(0)

    def close(self) -> None:
        while self._fds:
            os.close(self._fds.pop())

    def __enter__(self) -> Reply:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pool:
    """The children of one world."""

    def __init__(self, entrance: Entrance) -> None:
        self._entrance = entrance
        self._idle: list[_Child] = []
        self._all: set[_Child] = set()
        self._places = asyncio.Semaphore(CHILDREN)
        self._long = asyncio.Semaphore(LONG)
        self._ending: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closed = False

    async def call(self, request: messages.AnyRequest, fd: int | None = None) -> Reply:
        """The answer; its problem raised as `OSError`, or `InvalidRequest`. `fd` goes along and stays the caller's."""
        if self._waiting >= WAITING:
            raise faults.Unavailable("files: too many calls are waiting already")
        self._waiting += 1
        waiting = True
        try:
            async with self._long if request.long else _anyhow(), self._places:
                self._waiting -= 1
                waiting = False
                return await self._ask(request, fd)
        finally:
            if waiting:
                self._waiting -= 1

    def refuse(self) -> None:
        """Nobody enters any more."""
        self._closed = True

    async def close(self) -> None:
        """Kill all children, and return when they are gone: nothing of ours holds the world's disk any more.

        One that is in a frozen cgroup goes when that is thawed, so whoever ends the world does that first.
        """
        self._closed = True
        children = list(self._all)
        self._idle.clear()
        for child in children:
            child.kill()
        await asyncio.gather(*(child.reap() for child in children), *self._ending)
        self._all.clear()
        os.close(self._entrance.pid_fd)
        os.close(self._entrance.root_fd)

    async def _ask(self, request: messages.AnyRequest, fd: int | None) -> Reply:
        if self._closed:
            raise faults.WorldNotRunning("files: the world is not running")
        child = self._idle.pop() if self._idle else await self._spawn()
        child.cancel_end()
        try:
            reply = await child.ask(request, fd)
        except BaseException:
            self._end(child)
            raise
        if self._closed:
            self._end(child)
        else:
            self._idle.append(child)
            child.end_later(self._retire)
        if reply.answer.problem is not None:
            reply.close()
            raise _error(reply.answer.problem)
        return reply

    async def _spawn(self) -> _Child:
        making = asyncio.ensure_future(asyncio.to_thread(_Child, self._entrance))
        try:
            child = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(self._discard)
            raise
        self._all.add(child)
        return child

    def _retire(self, child: _Child) -> None:
        if child in self._idle:
            self._idle.remove(child)
            self._end(child)

    def _end(self, child: _Child) -> None:
        child.kill()
        self._all.discard(child)
        self._reap_later(child)

    def _reap_later(self, child: _Child) -> None:
        ending = asyncio.create_task(child.reap(), name="reap a child of the world")
        self._ending.add(ending)
        ending.add_done_callback(self._ending.discard)

    def _discard(self, making: asyncio.Future[_Child]) -> None:
        """Made for a call that was given up meanwhile."""
        if not making.cancelled() and making.exception() is None:
            self._end(making.result())


class _anyhow:
    """A semaphore that lets everybody through."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, *_: object) -> None:
        pass


class _Child:
    """One process. Its constructor blocks; nothing else does."""

    def __init__(self, entrance: Entrance) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        cgroup_fds = entrance.cgroup_fds()
        passed = [theirs.fileno(), entrance.pid_fd, entrance.root_fd]
        words = [*map(str, passed), str(entrance.namespaces), os.pathsep.join(sys.path), ",".join(map(str, cgroup_fds))]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-ISE", "-c", _PROGRAM, *words],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[*passed, *cgroup_fds], env={}, cwd="/",
            )  # fmt: skip
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            for fd in cgroup_fds:
                os.close(fd)
        self._socket = ours
        self._timer: asyncio.TimerHandle | None = None

    async def ask(self, request: messages.AnyRequest, fd: int | None) -> Reply:
        """One request and its answer; `PeerError` when the child dies of it."""
        data = _encode(request)
        if len(data) > messages.MAX_PACKET_BYTES:
            raise faults.TooLarge("fs: the request is larger than a path can be")
        try:
            socket.send_fds(self._socket, [data], [] if fd is None else [fd])
            await readable(self._socket.fileno())
            answer, fds, _, _ = socket.recv_fds(
                self._socket, messages.MAX_PACKET_BYTES, _MAX_FDS, socket.MSG_CMSG_CLOEXEC
            )
        except (BrokenPipeError, ConnectionResetError):
            answer, fds = b"", []
        if not answer:
            raise faults.Unavailable("fs: the process that did this was ended", hint="has the world enough memory?")
        try:
            return Reply(_decoder.decode(answer), fds)
        except errors.UNREADABLE as error:
            for each in fds:
                os.close(each)
            raise errors.PeerError(f"fs: the child's answer: {error}") from error

    def end_later(self, end: Callable[[_Child], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(IDLE_S, end, self)

    def cancel_end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def kill(self) -> None:
        self.cancel_end()
        self._socket.close()
        self._process.kill()

    async def reap(self) -> None:
        """When it has ended: at once, or when what it is stuck in lets go. No thread waits for that."""
        if self._process.poll() is not None:
            return
        pid_fd = os.pidfd_open(self._process.pid)
        try:
            await readable(pid_fd)
        finally:
            os.close(pid_fd)
        self._process.wait()


def _error(problem: messages.Problem) -> Exception:
    if problem.errno == 0:
        return faults.InvalidRequest(f"fs: {problem.text}")
    return OSError(problem.errno, problem.text, *([problem.path] if problem.path is not None else []))
