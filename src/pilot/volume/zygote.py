"""A warm process that forks the others: workers and freeze guards.

volumed has threads, so it must not fork; an interpreter start would cost each attach 200 ms. The zygote has imported
all that its children need, has one thread, and does nothing but:

    volumed ── {"op": "worker", ...} + descriptors ──► zygote ── fork ──► worker
               {"op": "load", modules}      imports them: its children have them too
               {"op": "guard", timeout_s}   + filesystem, pipe ──► fork ──► thaws at the deadline, or at the pipe's end

It ends with volumed's socket; its children live on (workers) or end by their own deadline (guards). Children close
whatever they were not given.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import select
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .. import errors
from ..kernel import freeze, graceperiod, syscalls
from . import messages, worker

_log = logging.getLogger(__name__)
_ANSWER_TIMEOUT_S = 20.0
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
        ours.settimeout(_ANSWER_TIMEOUT_S)
        self._connection = messages.Connection(ours)
        self._lock = threading.Lock()

    def worker(
        self, directory: str, lineage: Sequence[str], fuse_fd: int, delta_fd: int, kept: Sequence[int], *, resend: bool
    ) -> int:
        """Start a worker of the disk; its pid, once it serves. `kept` is for safekeeping from the first moment on. The
        descriptors stay the caller's."""
        ours, theirs = socket.socketpair()
        ours.settimeout(_ANSWER_TIMEOUT_S)
        ready = messages.Connection(ours)
        try:
            with theirs:
                self._call(
                    "worker",
                    [fuse_fd, delta_fd, theirs.fileno(), *kept],
                    directory=directory,
                    lineage=list(lineage),
                    resend=resend,
                )
            received = ready.receive()
        finally:
            ready.close()
        if received is None:
            raise errors.PeerError(f"start worker of {directory}: it ended before it was ready")
        if received[0].get("ok") is not True:
            raise messages.error_of(received[0])
        return int(received[0]["pid"])

    def load(self, modules: Sequence[str]) -> None:
        """Have it import what its children are going to need."""
        self._call("load", [], modules=list(modules))

    def guard(self, filesystem_fd: int, timeout_s: float) -> int:
        """A descriptor that, when closed without a "t", and at the latest after the timeout, thaws the filesystem."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            self._call("guard", [filesystem_fd, read_end], timeout_s=timeout_s)
        except BaseException:
            os.close(write_end)
            raise
        finally:
            os.close(read_end)
        return write_end

    def _call(self, op: str, fds: list[int], **arguments: object) -> list[int]:
        with self._lock:
            return self._connection.call(op, fds, **arguments)[1]

    def close(self) -> None:
        """End the zygote, and wait for it."""
        self._connection.close()
        os.waitpid(self.pid, 0)


def _serve(connection: messages.Connection) -> None:
    syscalls.libc.prctl(15, b"volume-zygote", 0, 0, 0)
    _save_memory()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are reaped by the kernel: nobody asks how they ended
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # ends with volumed, not before it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while (received := connection.receive()) is not None:
        request, fds = received
        op = request.pop("op", None)
        try:
            answer_fds = _TABLE[op](connection.socket.fileno(), fds, **request) if op in _TABLE else []
            connection.send({"ok": op in _TABLE}, answer_fds)
            messages.close_all(answer_fds)
        except (errors.PilotError, OSError, TypeError) as error:
            connection.send(messages.error_answer(error))
        finally:
            messages.close_all(fds)


def _save_memory() -> None:
    """What we have, each child has. Reading source files that were not compiled yet leaves megabytes of free heap, and
    by default each thread of a worker would allocate from a heap of its own."""
    gc.collect()
    syscalls.libc.mallopt(_M_ARENA_MAX, 1)
    syscalls.libc.malloc_trim(0)


def _load(own_fd: int, fds: list[int], modules: list[str]) -> list[int]:
    for name in modules:
        importlib.import_module(name)
    return []


def _fork_worker(own_fd: int, fds: list[int], directory: str, lineage: list[str], resend: bool) -> list[int]:
    fuse_fd, delta_fd, ready_fd, *kept = fds
    if os.fork() == 0:
        _become_child(keep=fds)
        _exit_after(lambda: worker.main(directory, lineage, fuse_fd, delta_fd, ready_fd, kept, resend=resend))
    return []


def _fork_guard(own_fd: int, fds: list[int], timeout_s: float) -> list[int]:
    filesystem_fd, pipe_fd = fds
    if os.fork() == 0:
        _become_child(keep=fds)
        _exit_after(lambda: _guard(filesystem_fd, pipe_fd, timeout_s))
    return []


def _guard(filesystem_fd: int, pipe_fd: int, timeout_s: float) -> None:
    syscalls.libc.prctl(15, b"volume-guard", 0, 0, 0)
    poll = select.poll()
    poll.register(pipe_fd, select.POLLHUP)
    if poll.poll(timeout_s * 1000) and os.read(pipe_fd, 1) == b"t":
        return  # volumed has thawed it
    freeze.thaw(filesystem_fd)
    graceperiod.settle()


def _become_child(keep: list[int]) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    kept = {0, 1, 2, *keep}
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            try:
                os.close(int(name))
            except OSError:
                pass  # the descriptor of the listing itself


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


_TABLE: dict[Any, Callable[..., list[int]]] = {
    "load": _load,
    "worker": _fork_worker,
    "guard": _fork_guard,
}
