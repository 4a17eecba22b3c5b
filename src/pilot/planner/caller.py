"""Who asks: whether we may plan for it, and its process as the one that clones and waits."""

from __future__ import annotations

import os
import signal
import socket
import struct
from collections.abc import Sequence

from .. import errors
from ..kernel import _launch
from ..kernel.waiter import ExitStatus, OwnChildren, Process
from ..plan.code import MAX_SLOTS
from . import messages
from .messages import Kind, Report

_ANSWER_S = 60.0
_CREDENTIALS = struct.Struct("3i")
_BLOCK_BYTES = 4 * (1 + MAX_SLOTS + 1)  # struct block of native/launch, which pilot fills in
_PROGRAM = struct.Struct("<IIIIQiI")  # the header of plan/code.py: flags and the cgroup's slot are for the clone
# Lines of /proc/PID/status that say what a process may do.
_RIGHTS = (
    "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
)  # fmt: skip


class Identity:
    """What must be the same for two processes, so that what one does by path is what the other would have done."""

    def __init__(self, pid: int | str) -> None:
        self.status = _status(pid)
        names = sorted(os.listdir(f"/proc/{pid}/ns"))
        root = os.stat(f"/proc/{pid}/root/")
        self._parts = (
            [os.readlink(f"/proc/{pid}/ns/{name}") for name in names],
            (root.st_dev, root.st_ino),
            [self.status.get(name) for name in _RIGHTS],
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self._parts == other._parts

    @property
    def umask(self) -> int:
        return int(self.status["Umask"], 8)


def _status(pid: int | str) -> dict[str, str]:
    with open(f"/proc/{pid}/status", encoding="utf-8", errors="surrogateescape") as file:
        return {name: text.strip() for name, _, text in (line.partition(":") for line in file)}


class Caller:
    """The other end of a connection. As a `kernel.waiter.Waiter` it lets the caller's process clone.

    `cwd_fd` and `stdio_fds` are there after `receive_request`, and closed by `close`.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        connection.settimeout(_ANSWER_S)
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.pid: int = _CREDENTIALS.unpack(credentials)[0]
        self.cwd_fd = -1
        self.stdio_fds: list[int] = []

    def receive_request(self) -> tuple[str, list[str]]:
        """The build's digest and the words; PeerError."""
        report, fds = self._receive(Kind.REQUEST)
        if len(fds) != 4:
            _close(fds)
            raise errors.PeerError("a request comes with four descriptors")
        self.cwd_fd, *self.stdio_fds = fds
        return messages.parse_request(report.rest)

    def refuse(self) -> None:
        """Nothing has been done."""
        self._send(messages.format_answer(Kind.COLD))

    def finish(self, status: int) -> None:
        """Everything has."""
        self._send(messages.format_answer(Kind.EXIT, status=status))

    def attend(self, process: Process) -> ExitStatus:
        """Let the caller wait, for as long as it takes; how its process ended. PeerError when the caller has gone."""
        self._send(messages.format_answer(Kind.WAIT), [process.pid_fd])
        self._connection.settimeout(None)
        report, _ = self._receive(Kind.ENDED)
        if report.error == 0:
            return ExitStatus(report.status)
        return ExitStatus(None, report.status, report.error == 2)

    def close(self) -> None:
        _close([fd for fd in (self.cwd_fd, *self.stdio_fds) if fd >= 0])
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
            slots = [passed.index(fd) if fd >= 0 else -1 for fd in descriptors]
            packet = messages.format_answer(Kind.CLONE, flags=flags, cgroup=cgroup, slots=slots)
            self._send(packet, [_launch.stage(), file_fd, theirs.fileno(), *passed])
            pid, pid_fd = self._receive_clone()
            return pid, pid_fd, ours.detach()
        finally:
            os.close(file_fd)
            theirs.close()
            ours.close()

    def wait(self, process: Process, timeout_s: float | None) -> ExitStatus:
        """The pidfd says when; the status is the caller's to know."""
        return OwnChildren().wait(process, timeout_s)

    def forget(self, pid: int) -> None:
        """It is the caller's child, which ends soon or reaps."""

    # ---- packets ----------------------------------------------------------------------------------------------------

    def _receive_clone(self) -> tuple[int, int]:
        report, fds = self._receive(Kind.CLONED)
        if report.error:
            _close(fds)
            raise OSError(report.error, os.strerror(report.error))
        if len(fds) != 1:
            _close(fds)
            raise errors.PeerError("a clone comes with one descriptor")
        return report.pid, fds[0]

    def _send(self, packet: bytes, fds: Sequence[int] = ()) -> None:
        try:
            socket.send_fds(self._connection, [packet], list(fds))
        except OSError as error:
            raise errors.PeerError(f"pilot has gone: {(error.strerror or '').lower()}") from error

    def _receive(self, kind: Kind) -> tuple[Report, list[int]]:
        try:
            packet, fds, _, _ = socket.recv_fds(
                self._connection, messages.MAX_REQUEST, messages.MAX_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
            )
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


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)
