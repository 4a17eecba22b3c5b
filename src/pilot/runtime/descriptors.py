"""Descriptors that a launch needs beside the Plan's openings: stdio, what is passed on, cgroups, the start FIFO."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence

from .. import errors
from ..kernel.cgroups import Cgroup
from ..plan.plan import CGROUP, CONSOLE_SOCKET, FIFO, procs_slot, stdio_slot
from . import addresses
from .values import Stdio


class Descriptors(contextlib.ExitStack):
    """By slot; what is opened here is closed at the end, what was passed in stays the caller's."""

    def __init__(self) -> None:
        super().__init__()
        self.by_slot: dict[str, int] = {}

    def add_stdio(self, stdio: Stdio, pass_fds: Sequence[int | None]) -> tuple[int, ...]:
        """Bind 0, 1, 2, ...; the numbers of stdio whose owner is to become the process's user.

        A device never changes its owner, nor does a file that is read alone: they would be the host's.
        """
        own: list[int] = []
        for number, fd in enumerate((stdio.stdin, stdio.stdout, stdio.stderr)):
            if fd is not None and _may_be_given(fd):
                own.append(number)
            self.by_slot[stdio_slot(number)] = self._open("/dev/null", os.O_RDWR) if fd is None else fd
        self.add_passed(pass_fds)
        return tuple(own)

    def add_passed(self, pass_fds: Sequence[int | None]) -> None:
        """Bind 3, 4, ... alone; a terminal is the rest. None leaves a number without a descriptor."""
        for number, fd in enumerate(pass_fds, 3):
            if fd is not None:
                self.by_slot[stdio_slot(number)] = fd

    def add_cgroup(self, cgroup: Cgroup) -> tuple[int, bool]:
        """Bind what the process joins its cgroup by: how many files to write to, and whether it is cloned into v2."""
        procs = cgroup.join_descriptors(unified=False)
        for number, fd in enumerate(procs):
            self.callback(os.close, fd)
            self.by_slot[procs_slot(number)] = fd
        directory_fd = cgroup.v2_descriptor()
        if directory_fd is None:
            return len(procs), False
        self.callback(os.close, directory_fd)
        self.by_slot[CGROUP] = directory_fd
        return len(procs), True

    def add_fifo(self, path: str) -> None:
        """The start barrier: read *and* write, so that opening does not wait."""
        self.by_slot[FIFO] = self._open(path, os.O_RDWR)

    def add_console_socket(self, path: str) -> None:
        """Connect to whoever wants the terminal's master."""
        import socket  # few want one, and it takes a thirtieth of the time to start

        connection = self.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC))
        try:
            with addresses.short(path) as address:
                connection.connect(address)
        except OSError as error:
            raise errors.HostError(f"connect to console socket {path}: {(error.strerror or '').lower()}") from error
        self.by_slot[CONSOLE_SOCKET] = connection.fileno()

    def _open(self, path: str, flags: int) -> int:
        fd = os.open(path, flags | os.O_CLOEXEC)
        self.callback(os.close, fd)
        return fd


def _may_be_given(fd: int) -> bool:
    """Whether the process's user may become its owner, who then may open it anew, as /dev/stdout.

    Not a device: whose terminal it is could read what the caller types in it from then on. Nor what is only read.
    """
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    return not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode))


def closed_numbers(pass_fds: Sequence[int | None]) -> frozenset[int]:
    """Which numbers from 3 on are to have no descriptor."""
    return frozenset(number for number, fd in enumerate(pass_fds, 3) if fd is None)


@contextlib.contextmanager
def opened_directory(path: str, what: str = "open") -> Iterator[int]:
    """A descriptor to look things up below; HostError with `what` the path is."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise errors.HostError(f"{what} {path}: {(error.strerror or '').lower()}") from error
    try:
        yield fd
    finally:
        os.close(fd)
