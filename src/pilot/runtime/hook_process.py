"""One hook as a process: a Program of two steps, cloned by whoever clones for us; it inherits what that one has.

memfd (state) ──► 0   hook   1 ──► pipe ──► kept
                             2 ──► pipe ──► kept
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Mapping

from ..kernel import launcher
from ..kernel.waiter import ExitStatus, Waiter
from ..plan import steps
from ..plan.code import Slot
from ..plan.program import Program
from ..spec.config import Hook

_IN, _OUT, _ERROR = Slot("stdin"), Slot("stdout"), Slot("stderr")
_CHUNK = 1 << 16
_KILL_TIMEOUT_S = 10.0


def run(hook: Hook, state: bytes, environment: Mapping[str, str], waiter: Waiter) -> tuple[ExitStatus, bytes, bytes]:
    """How it ended, its output and its errors; StepError when it cannot be executed, TimeoutError once it is killed.

    As with runc, who leaves its output open to others has not ended.
    """
    deadline = None if hook.timeout is None else time.monotonic() + hook.timeout
    with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
        stdin_fd = _owned(theirs, os.memfd_create("state", os.MFD_CLOEXEC))
        os.write(stdin_fd, state)
        os.lseek(stdin_fd, 0, os.SEEK_SET)
        pipes = [os.pipe2(os.O_CLOEXEC), os.pipe2(os.O_CLOEXEC)]
        readers = [_owned(ours, reader) for reader, _ in pipes]
        stdout_fd, stderr_fd = (_owned(theirs, writer) for _, writer in pipes)
        slots: dict[str, int] = {_IN: stdin_fd, _OUT: stdout_fd, _ERROR: stderr_fd}
        process = launcher.launch(plan_hook(hook, environment), descriptors=slots, waiter=waiter)
        ours.callback(os.close, process.pid_fd)
        theirs.close()
        try:
            stdout, stderr = _read_all(readers, deadline)
            return waiter.wait(process, _left_s(deadline)), stdout, stderr
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):  # what it left behind held the pipes
                signal.pidfd_send_signal(process.pid_fd, signal.SIGKILL)
            waiter.wait(process, _KILL_TIMEOUT_S)
            raise


def plan_hook(hook: Hook, environment: Mapping[str, str]) -> Program:
    """Its descriptors, then itself; a hook without `env` sees `environment`, as in runc that of the runtime."""
    given = dict(item.partition("=")[::2] for item in hook.env) if hook.env else environment
    variables = tuple(f"{name}={value}" for name, value in given.items())
    arguments = tuple(hook.args) or (hook.path,)
    return Program((steps.InstallDescriptors((_IN, _OUT, _ERROR)), steps.Execute((hook.path,), arguments, variables)))


def _owned(stack: contextlib.ExitStack, fd: int) -> int:
    stack.callback(os.close, fd)
    return fd


def _read_all(readers: list[int], deadline: float | None) -> tuple[bytes, bytes]:
    """What comes from both until their ends; TimeoutError."""
    found = {reader: bytearray() for reader in readers}
    poll = select.poll()
    for reader in readers:
        poll.register(reader, select.POLLIN)
    open_fds = set(readers)
    while open_fds:
        left_s = _left_s(deadline)
        ready = poll.poll(None if left_s is None else left_s * 1000)
        if not ready:
            raise TimeoutError
        for reader, _ in ready:
            data = os.read(reader, _CHUNK)
            found[reader] += data
            if not data:
                poll.unregister(reader)
                open_fds.remove(reader)
    stdout, stderr = found.values()
    return bytes(stdout), bytes(stderr)


def _left_s(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
