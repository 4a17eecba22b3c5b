"""Runs a Program in a new process, and speaks with that process until it has executed or was released.

    launch ── clone3 ──► [first process ── Spawn ──►] the process
       │   ◄── SPAWNED pid, pid_fd ─────┘               │  (only after Spawn)
       │   ─── go ─────────────────────────────────────►│
       │   ◄── BARRIER ─────────────────────────────────┤  runs its steps
       │   ─── go, descriptors ────────────────────────►│
       │   ◄── DESCRIPTOR slot, or OFFER slot, number ──┤
       │   ◄── FAILED step, errno ─── or ── DONE ───────┤
       └── end of file: it has executed, or ended       ▼

The conversation is over a SOCK_SEQPACKET pair that closes on exec. What the process does in between is C
(native/launch). If this side goes away, the process sees the end of file at its next barrier and ends.
"""

from __future__ import annotations

import enum
import errno
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from .. import errors
from ..plan.program import NO_STEP, About, Program
from ..plan.steps import Release, RunHook
from . import _launch, process
from .waiter import Waiter

_KILL_TIMEOUT_S = 10.0


class Spawned(msgspec.Struct, frozen=True):
    """A process that was launched. The caller owns `pid_fd` and `descriptors` (what SendDescriptor steps gave)."""

    pid: int
    start_time: int  # field 22 of /proc/PID/stat, clock ticks since boot; 0 when it had ended before it could be read
    pid_fd: int
    descriptors: Mapping[str, int]


# Called at each Barrier with its name and the process; returns descriptors for the slots that it receives. They are
# sent, and stay the callee's.
OnBarrier = Callable[[str, Spawned], Mapping[str, int] | None]


def launch(
    program: Program,
    *,
    descriptors: Mapping[str, int],
    waiter: Waiter,
    on_barrier: OnBarrier | None = None,
    timeout_s: float = 60.0,
) -> Spawned:
    """Clone a process that runs `program`; returns when it has executed, or was released at `steps.Release`.

    `descriptors` are borrowed and bound to the slots of those names. HostError when it cannot be cloned, StepError when
    the kernel refused a step, PeerError when the process was killed, or not heard of for `timeout_s`; whatever
    on_barrier raises goes through. After an error the process is dead and reaped.
    """
    conversation = _Conversation(program, descriptors, waiter, timeout_s)
    try:
        conversation.run(on_barrier)
    except BaseException:
        conversation.abandon()
        raise
    finally:
        conversation.close()
    return conversation.process


class MessageKind(enum.IntEnum):
    FAILED = 1
    BARRIER = 2
    RELEASE = 3
    SPAWNED = 4
    DESCRIPTOR = 5
    DONE = 6
    OFFER = 7  # `error` is the number of a descriptor in the process


class _Message(NamedTuple):
    kind: int
    step: int
    instruction: int
    error: int
    value: int
    descriptor: int


class _Conversation:
    """One launch, from the clone to the last message."""

    def __init__(self, program: Program, descriptors: Mapping[str, int], waiter: Waiter, timeout_s: float) -> None:
        self._program = program
        self._waiter = waiter
        self._timeout_s = timeout_s
        self._received: dict[str, int] = {}
        self._done = False
        bound = [descriptors.get(slot, -1) for slot in program.slots()]
        try:
            pid, pid_fd, self._channel = waiter.start(program.encode(), bound)
        except OSError as error:
            raise _clone_error(program, error.errno or 0) from error
        self.process = Spawned(pid, process.start_time(pid), pid_fd, self._received)

    def run(self, on_barrier: OnBarrier | None) -> None:
        """Answer each message until the last."""
        while (message := self._receive(self._timeout_s)) is not None:
            if message.kind == MessageKind.FAILED:
                raise _error(self._program, message)
            if message.kind in (MessageKind.BARRIER, MessageKind.RELEASE):
                self._meet(message, on_barrier)
                if message.kind == MessageKind.RELEASE:
                    return
            else:
                self._note(message)
        if not self._done or any(isinstance(step, Release) for step in self._program.steps):
            raise self._killed()

    def abandon(self) -> None:
        """Kill and reap; the second process too, when the first had just cloned it."""
        self._kill()
        while (message := self._receive_rest()) is not None:
            if message.kind == MessageKind.SPAWNED:
                self._adopt(message.value, message.descriptor)
                self._kill()
            elif message.descriptor >= 0:
                os.close(message.descriptor)
        for descriptor in (self.process.pid_fd, *self._received.values()):
            os.close(descriptor)

    def close(self) -> None:
        os.close(self._channel)

    def _meet(self, message: _Message, on_barrier: OnBarrier | None) -> None:
        name, receives = self._program.barrier(message.step)
        given = (on_barrier(name, self.process) if on_barrier else None) or {}
        self._reply([given[slot] for slot in receives])

    def _reply(self, descriptors: Sequence[int]) -> None:
        try:
            _launch.reply(self._channel, descriptors)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._killed() from error

    def _killed(self) -> errors.PeerError:
        if not self._done:
            return errors.PeerError(f"process {self.process.pid} was killed before it executed")
        return errors.PeerError(
            f"process {self.process.pid} was killed under its seccomp filter before it was started",
            hint="linux.seccomp has to allow read, write, close, capset and execve",
        )

    def _note(self, message: _Message) -> None:
        if message.kind == MessageKind.SPAWNED:
            first = self.process.pid
            os.close(self.process.pid_fd)
            self._adopt(message.value, message.descriptor)
            self._waiter.forget(first)
            self._reply([])
        elif message.kind == MessageKind.DESCRIPTOR:
            self._received[self._program.slots()[message.value]] = message.descriptor
        elif message.kind == MessageKind.OFFER:
            self._received[self._program.slots()[message.value]] = self._take(message.error)
        elif message.kind == MessageKind.DONE:
            self._done = True

    def _take(self, number: int) -> int:
        try:
            return process.pidfd_getfd(self.process.pid_fd, number)
        except OSError as error:
            reason = _reason(error.errno or 0)
            raise errors.HostError(f"take the seccomp listener of process {self.process.pid}: {reason}") from error

    def _adopt(self, pid: int, pid_fd: int) -> None:
        self.process = Spawned(pid, process.start_time(pid), pid_fd, self._received)

    def _kill(self) -> None:
        try:
            signal.pidfd_send_signal(self.process.pid_fd, signal.SIGKILL)
        except ProcessLookupError:
            pass  # it has ended, and init has reaped it
        self._waiter.wait(self.process, _KILL_TIMEOUT_S)

    def _receive_rest(self) -> _Message | None:
        try:
            return self._receive(_KILL_TIMEOUT_S)
        except errors.PeerError:
            return None  # the process is dead; whoever still holds the channel has nothing to tell us

    def _receive(self, timeout_s: float) -> _Message | None:
        deadline = time.monotonic() + timeout_s
        while True:
            left_ms = max(0, int((deadline - time.monotonic()) * 1000) + 1)
            try:
                message = _launch.receive(self._channel, left_ms)
            except InterruptedError:
                continue  # a signal came: Python has run its function, we wait on
            except TimeoutError as error:
                raise errors.PeerError(f"process {self.process.pid}: no word for {timeout_s:g} s") from error
            return None if message is None else _Message(*message)


def _clone_error(program: Program, number: int) -> errors.HostError:
    return errors.HostError(f"clone {program.describe_clone()}: {_reason(number)}")


def _error(program: Program, message: _Message) -> errors.PilotError:
    if message.step == NO_STEP:
        return _clone_error(program, message.error)
    reason = _hook_reason(message.value) if message.value else _reason(message.error)
    index, total = message.step, len(program.steps)
    step = program.steps[index]
    subject = step.subject if isinstance(step, About | RunHook) and step.subject else step.describe()
    error = errors.StepError(index, total, subject, message.error, reason, step.describe())
    error.__cause__ = OSError(message.error, os.strerror(message.error))
    return error


def _hook_reason(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"exit status {code}" if code >= 0 else f"killed by signal {-code}"


def _reason(number: int) -> str:
    text = "timed out" if number == errno.ETIMEDOUT else os.strerror(number)
    return text[:1].lower() + text[1:]
