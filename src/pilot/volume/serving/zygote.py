"""A warm process that forks the others: workers, freeze guards, and errands.

volumed has threads, so it must not fork; an interpreter start would cost each attach 200 ms. The zygote has imported
all that its children need, has one thread, and does nothing but:

    volumed ── StartWorker + socket, descriptors ──► zygote ── fork ──► worker     (`worker`)
               StartGuard  + socket, mount       ──► zygote ── fork ──► guard      (`frozen`)
               RunErrand   + socket, ...         ──► zygote ── fork ──► errand     (`errand`)
               Load                                 imports: its children have them too
            ◄── the child's answers, on that socket                  (`requests.to_zygote`)

It ends with volumed's socket; its children live on (workers) or end by themselves. Children close whatever they were
not given. One that ends, or is silent, has a successor, which is started as a program: that takes longer, once.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from ... import errors
from ...kernel import fds as descriptors
from ...kernel import syscalls
from .. import build, messages
from ..requests import base, to_zygote
from ..requests.base import A, Answer, AnyRequest, Doers, Failure, Request, answer_of, op_of
from . import errand, guard, worker

_log = logging.getLogger(__name__)
_ANSWER_TIMEOUT_S = 20.0
_SUCCESSOR_TIMEOUT_S = 5.0
_SUCCESSOR_PAUSE_S = 0.5
_M_ARENA_MAX = -8  # malloc.h


class Zygote:
    """volumed's end. Safe for several threads."""

    def __init__(self) -> None:
        """Fork it: call this before the first thread is started."""
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            _exit_after(lambda: _serve(messages.Connection(theirs)))
        theirs.close()
        self._modules: Sequence[str] = ()
        self._closing = threading.Event()
        self._is_there = threading.Condition()
        self._use(ours)

    def _use(self, ours: socket.socket) -> None:
        ours.settimeout(_ANSWER_TIMEOUT_S)
        self._connection = messages.Connection(ours)
        self._has_ended = False

    # ---- what it is asked for

    def worker(
        self, directory: str, lineage: Sequence[str], fuse_fd: int, delta_fd: int, kept: Sequence[int], *, resend: bool
    ) -> int:
        """Start a worker of the disk; its pid, once it serves. `kept` is for safekeeping from the first moment on. The
        descriptors stay the caller's."""
        request = to_zygote.StartWorker(directory, lineage, resend)
        answer, _ = self._ask(request, to_zygote.Serving, [fuse_fd, delta_fd, *kept], _ANSWER_TIMEOUT_S)
        return answer.pid

    def errand(self, request: Request[A], fds: Sequence[int], *, last: Sequence[int] = ()) -> tuple[A, list[int]]:
        """Have an errand done to these descriptors; its answer and what it made, which is the caller's.

        The descriptors stay the caller's, too, but for `last`, which only the errand has while it works. Waits as long
        as it takes. OSError, HostError; PeerError when it was killed.
        """
        return self._ask(to_zygote.RunErrand.of(request), answer_of(request), [*fds, *last], None, last)

    def guard(self, mount_fd: int, timeout_s: float) -> messages.Connection:
        """A guard, which begins to freeze the filesystem; what it says: `frozen`. The caller closes the connection."""
        while True:
            guard, is_sure = self._fork(to_zygote.StartGuard(timeout_s), [mount_fd], None)
            if is_sure:
                return guard
            guard.close()  # ends it, if there is one

    def load(self, modules: Sequence[str]) -> None:
        """Have it import what its children are going to need."""
        self._modules = modules
        with self._is_there:
            self._connection.call(to_zygote.Load(modules))

    def _ask(
        self, request: AnyRequest, kind: type[A], fds: Sequence[int], timeout_s: float | None, last: Sequence[int] = ()
    ) -> tuple[A, list[int]]:
        """Fork a child, and wait for its first answer. When the zygote ends meanwhile the child may be there or not:
        only the end of its socket says that it is not, so that another can be asked for."""
        held = list(last)
        try:
            while True:
                child, is_sure = self._fork(request, fds, timeout_s)
                with contextlib.closing(child):
                    if is_sure:
                        descriptors.close_all(held)
                        held = []
                    received = child.receive_answer(kind)
                    if received is not None:
                        return received
                if is_sure:
                    raise errors.PeerError(f"{op_of(request)}: it ended before it was done")
        finally:
            descriptors.close_all(held)

    def _fork(
        self, request: AnyRequest, fds: Sequence[int], timeout_s: float | None
    ) -> tuple[messages.Connection, bool]:
        """A connection to a new child, and whether it is sure that there is one."""
        ours, theirs = socket.socketpair()
        ours.settimeout(timeout_s)
        child = messages.Connection(ours)
        try:
            with theirs:
                return child, self._call(request, [theirs.fileno(), *fds])
        except BaseException:
            child.close()
            raise

    def _call(self, request: AnyRequest, fds: list[int]) -> bool:
        """Whether it has done it; False when it ended meanwhile. Waits for the successor of one that has ended."""
        with self._is_there:
            if not self._is_there.wait_for(lambda: not self._has_ended, _SUCCESSOR_TIMEOUT_S):
                raise errors.PeerError(f"{op_of(request)}: there is no zygote")
            try:
                self._connection.send(request, fds)
                received = self._connection.receive()
            except errors.PeerError as error:
                _log.error("zygote %d: %s: it is killed", self.pid, error)
                received = None
            if received is None:
                self._kill()
                return False
        document, answer_fds = received
        descriptors.close_all(answer_fds)
        base.parse_answer(document, Answer)
        return True

    # ---- its end

    def _kill(self) -> None:
        self._has_ended = True
        with contextlib.suppress(ProcessLookupError):  # reaped by `close`
            os.kill(self.pid, signal.SIGKILL)

    def watch(self) -> None:
        """Start another whenever it ends, until `close`: without one nothing can be attached, mended or let go."""
        while True:
            pid_fd = os.pidfd_open(self.pid)
            descriptors.readable([pid_fd])
            os.close(pid_fd)
            if self._closing.is_set():
                return
            with self._is_there:
                self._has_ended = True
                os.waitpid(self.pid, 0)
            _log.error("zygote %d has ended: another is started", self.pid)
            while not self._succeed():
                if self._closing.wait(_SUCCESSOR_PAUSE_S):
                    return

    def _succeed(self) -> bool:
        with self._is_there:
            self._connection.close()
            try:
                self._start()
                self._connection.call(to_zygote.Load(self._modules))
            except (errors.PilotError, OSError) as error:
                _log.error("start a zygote: %s", error)
                return False
            self._is_there.notify_all()
            return True

    def _start(self) -> None:
        """A new one, as a program: we have threads now, and must not fork."""
        import subprocess  # each worker would have it

        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            command = [sys.executable, "-P", "-m", __name__, str(fd)]
            process = subprocess.Popen(command, pass_fds=[fd], stdin=subprocess.DEVNULL)
        process.returncode = 0  # reaped by `watch`
        self.pid = process.pid
        self._use(ours)

    def close(self) -> None:
        """End the zygote, and wait for it."""
        self._closing.set()
        self._connection.close()
        with contextlib.suppress(ChildProcessError):  # it had ended, and is reaped already
            os.waitpid(self.pid, 0)


def _serve(connection: messages.Connection) -> None:
    syscalls.libc.prctl(15, b"volume-zygote", 0, 0, 0)
    _save_memory()
    build.identity()  # now: what is installed may be replaced later, and children are of what we have loaded
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel: nobody asks how they ended
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends with volumed, not before it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for request, fds in connection.requests(to_zygote.KINDS):
        answer: Answer | Failure = Answer()
        try:
            DOERS.do(fds, request)
        except (errors.PilotError, OSError, ImportError) as error:
            answer = Failure.of(error)
        descriptors.close_all(fds)  # before the answer: the last to close a filesystem must not be us
        connection.send(answer)


def _save_memory() -> None:
    """What we have, each child has. Reading source files that were not compiled yet leaves megabytes of free heap, and
    by default each thread of a worker would allocate from a heap of its own. A collection of ours that went through all
    of it would leave each worker alone with its copy."""
    gc.collect()
    gc.freeze()
    syscalls.libc.mallopt(_M_ARENA_MAX, 1)
    syscalls.libc.malloc_trim(0)


def _load(_: list[int], asked: to_zygote.Load) -> None:
    for name in asked.modules:
        importlib.import_module(name)
    gc.freeze()


def _fork_worker(fds: list[int], asked: to_zygote.StartWorker) -> None:
    ready_fd, fuse_fd, delta_fd, *kept = fds
    lineage = list(asked.lineage)
    _fork(fds, lambda: worker.main(asked.directory, lineage, fuse_fd, delta_fd, ready_fd, kept, resend=asked.resend))


def _fork_guard(fds: list[int], asked: to_zygote.StartGuard) -> None:
    _fork(fds, lambda: guard.run(_connection(fds[0]), fds[1], asked.deadline_s))


def _fork_errand(fds: list[int], asked: to_zygote.RunErrand) -> None:
    request = asked.errand()
    _fork(fds, lambda: errand.run(_connection(fds[0]), fds[1:], request))


# Who does what with the descriptors that came along.
DOERS = Doers[list[int], None]()
DOERS.add(to_zygote.Load, _load)
DOERS.add(to_zygote.StartWorker, _fork_worker)
DOERS.add(to_zygote.StartGuard, _fork_guard)
DOERS.add(to_zygote.RunErrand, _fork_errand)


def _fork(fds: list[int], run: Callable[[], None]) -> None:
    if os.fork() == 0:
        _become_child(keep=fds)
        _exit_after(run)


def _connection(fd: int) -> messages.Connection:
    return messages.Connection(socket.socket(fileno=fd))


def _become_child(keep: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    descriptors.close_others({0, 1, 2, *keep})


def _exit_after(run: Callable[[], None]) -> NoReturn:
    """Run, and leave without the parent's exit handlers and buffers."""
    code = 1
    try:
        run()
        code = 0
    except BaseException:  # noqa: BLE001 - the outermost frame of a process: tell, and exit
        _log.exception("%s", threading.current_thread().name)
    finally:
        os._exit(code)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="volumed: %(name)s: %(message)s")
    _exit_after(lambda: _serve(_connection(int(sys.argv[1]))))
