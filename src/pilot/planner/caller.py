"""The other end of a connection: its request, and its process as the one that clones and waits."""

from __future__ import annotations

import os
import select
import signal
import socket
import struct
from collections.abc import Sequence

from .. import errors
from ..kernel import _launch
from ..kernel.waiter import ExitStatus, Process
from ..plan.code import MAX_SLOTS
from . import messages
from .messages import Kind, Loss, Report, Request

_ANSWER_S = 60.0
_CREDENTIALS = struct.Struct("3i")
_BLOCK_BYTES = 4 * (1 + MAX_SLOTS + 1)  # struct block of native/launch, which pilot fills in
_PROGRAM = struct.Struct("<IIIIQiI")  # the header of plan/code.py: flags and the cgroup's slot are for the clone


class Caller:
    """As a `kernel.waiter.Waiter` it lets the caller's process clone.

    `cwd_fd` and `stdio_fds` are there after `receive_request`; they, and what was fetched, are closed by `close`.
    Another process may go on with the conversation (`descriptors`), once this one has closed its end.
    """

    def __init__(self, connection: socket.socket, given: Sequence[int] = ()) -> None:
        """`given`, the working directory and 0, 1, 2, are there when the request was received by another process."""
        self._connection = connection
        connection.settimeout(_ANSWER_S)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid: int = _CREDENTIALS.unpack(credentials)[0]
        self._given = list(given)
        self._fetched: list[int] = []

    @property
    def cwd_fd(self) -> int:
        return self._given[0]

    @property
    def stdio_fds(self) -> list[int]:
        return self._given[1:]

    def receive_request(self) -> Request:
        """What is asked; PeerError."""
        report, fds = self._receive(Kind.REQUEST)
        if len(fds) != 4:
            _close(fds)
            raise errors.PeerError("a request comes with four descriptors")
        self._given = fds
        return messages.parse_request(report)

    def descriptors(self) -> list[int]:
        """What makes another `Caller`, in another process: the connection, then what it was given."""
        return [self._connection.fileno(), *self._given]

    def is_there(self) -> bool:
        """Whether it still holds its end, which it gives to nobody: then its pid has been its own all the time."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return not poll.poll(0)

    def refuse(self) -> None:
        """Nothing has been done."""
        self._send(messages.format_answer(Kind.COLD))

    def begin(self, loss: Loss, failure: int, undo: Sequence[str] = ()) -> None:
        """Something is to be done now. PeerError: the caller has given up waiting, and nothing may be done."""
        packet = messages.format_answer(Kind.BEGUN, status=failure, flags=loss)
        self._send_with_file(packet, "".join(f"{word}\0" for word in undo))

    def finish(self, status: int, output: str = "") -> None:
        """Everything has been done."""
        self._send_with_file(messages.format_answer(Kind.EXIT, status=status), output)

    def fetch(self, first: int, count: int) -> list[int]:
        """Descriptors `first` and following of the caller, ours until `close`; OSError of one that is not open."""
        found: list[int] = []
        for begin in range(first, first + count, messages.MAX_DESCRIPTORS):
            wanted = min(messages.MAX_DESCRIPTORS, first + count - begin)
            self._send(messages.format_pass(begin, wanted))
            report, fds = self._receive(Kind.PASSED)
            self._fetched += fds
            found += fds
            if report.error:
                raise OSError(report.error, os.strerror(report.error), report.pid)
        return found

    def attend(self, process: Process) -> ExitStatus:
        """Let the caller serve it, for as long as it takes; how it ended. PeerError when the caller has gone."""
        return self._ask_how_it_ended(Kind.WAIT, process, None)

    def close(self) -> None:
        """All that is ours of it; once more does nothing."""
        _close([*self._given, *self._fetched])
        self._given, self._fetched = [], []
        self._connection.close()

    # ---- as a Waiter ------------------------------------------------------------------------------------------------

    def clone_flags(self) -> tuple[int, int]:
        return 0, signal.SIGCHLD

    def start(self, program: bytes, descriptors: Sequence[int]) -> tuple[int, int, int]:
        """Clone in the caller: pid, pidfd, and our end of the channel. OSError as clone3 had it."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        file_fd = os.memfd_create("program", os.MFD_CLOEXEC)
        try:
            os.write(file_fd, bytes(_BLOCK_BYTES) + program)
            flags, cgroup = _PROGRAM.unpack_from(program)[4:6]
            passed = sorted({fd for fd in descriptors if fd >= 0})
            numbers = {fd: number for number, fd in enumerate(passed)}
            slots = [numbers.get(fd, -1) for fd in descriptors]
            packet = messages.format_answer(Kind.CLONE, flags=flags, cgroup=cgroup, slots=slots)
            self._send_many(packet, [_launch.stage(), file_fd, theirs.fileno(), *passed])
            theirs.close()
            pid, pid_fd = self._receive_clone()
            return pid, pid_fd, ours.detach()
        finally:
            os.close(file_fd)
            theirs.close()
            ours.close()

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        """The pidfd says when; the status is the caller's to know."""
        poll = select.poll()
        poll.register(process.pid_fd, select.POLLIN)
        if not poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000):
            raise TimeoutError("the process has not ended")
        try:
            return self._ask_how_it_ended(Kind.REAP, process, _ANSWER_S)
        except errors.PeerError:
            return ExitStatus(None)  # the caller has gone, and its children have another parent

    def forget(self, pid: int) -> None:
        """It is the caller's child, which ends soon or reaps."""

    # ---- packets ----------------------------------------------------------------------------------------------------

    def _ask_how_it_ended(self, kind: Kind, process: Process, timeout_s: float | None) -> ExitStatus:
        self._send(messages.format_answer(kind), [process.pid_fd])
        self._connection.settimeout(timeout_s)
        try:
            report, _ = self._receive(Kind.ENDED)
        finally:
            self._connection.settimeout(_ANSWER_S)
        if report.error == 0:
            return ExitStatus(report.status)
        return ExitStatus(None) if report.error == 3 else ExitStatus(None, report.status, report.error == 2)

    def _receive_clone(self) -> tuple[int, int]:
        report, fds = self._receive(Kind.CLONED)
        if report.error:
            _close(fds)
            raise OSError(report.error, os.strerror(report.error))
        if len(fds) != 1:
            _close(fds)
            raise errors.PeerError("a clone comes with one descriptor")
        return report.pid, fds[0]

    def _send_with_file(self, packet: bytes, text: str) -> None:
        if not text:
            self._send(packet)
            return
        file_fd = os.memfd_create("text", os.MFD_CLOEXEC)
        try:
            _write_all(file_fd, text.encode("utf-8", "surrogateescape"))
            self._send(packet, [file_fd])
        finally:
            os.close(file_fd)

    def _send_many(self, packet: bytes, fds: Sequence[int]) -> None:
        """What does not fit goes before."""
        first = max(0, len(fds) - messages.MAX_DESCRIPTORS)
        for begin in range(0, first, messages.MAX_DESCRIPTORS):
            self._send(messages.format_answer(Kind.HOLD), fds[begin : min(first, begin + messages.MAX_DESCRIPTORS)])
        self._send(packet, fds[first:])

    def _send(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._connection, [packet], list(fds), socket.MSG_NOSIGNAL)
        except OSError as error:
            raise errors.PeerError(f"pilot has gone: {(error.strerror or '').lower()}") from error

    def _receive(self, kind: Kind) -> tuple[Report, list[int]]:
        size = messages.MAX_REQUEST if kind is Kind.REQUEST else messages.REPORT_BYTES
        count = messages.MAX_DESCRIPTORS if kind is Kind.PASSED else 4
        try:
            packet, fds, _, _ = socket.recv_fds(self._connection, size, count, socket.MSG_CMSG_CLOEXEC)
        except OSError as error:
            raise errors.PeerError(f"no word from pilot: {error}") from error
        if not packet:
            raise errors.PeerError("pilot has gone")
        try:
            report = messages.parse_report(packet)
            if report.kind is not kind:
                raise errors.PeerError(f"pilot sent {report.kind.name} instead of {kind.name}")
        except errors.PeerError:
            _close(fds)
            raise
        return report, fds


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
