"""Descriptors on their way: sent and received over unix sockets, and closed where they must not stay."""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
from collections.abc import Container, Iterable, Iterator, Sequence

Ancillary = list[tuple[int, int, bytes]]
MAX_ADDRESS_BYTES = 80  # of 107, so that a caller may add a name


def rights(fds: Sequence[int]) -> Ancillary:
    """For `sendmsg`: the other side gets copies (SCM_RIGHTS, unix(7)); ours stay ours."""
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []


def received(ancillary: Ancillary) -> list[int]:
    """Of `recvmsg`: the descriptors that came, which are the caller's now. A cut-off message may end in half a number,
    which is none."""
    found = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(data[: len(data) - len(data) % found.itemsize])
    return list(found)


def readable(fds: Iterable[int], timeout_s: float | None = None) -> list[int]:
    """Those that can be read, or whose process has ended (pidfds), within that time. By poll(2): select(2) has no place
    for a descriptor above 1023."""
    poller = select.poll()
    for fd in fds:
        poller.register(fd, select.POLLIN)
    return [fd for fd, _ in poller.poll(None if timeout_s is None else timeout_s * 1000)]


def close_all(fds: Iterable[int]) -> None:
    """Close descriptors that nobody wants."""
    for fd in fds:
        os.close(fd)


def close_others(kept: Container[int]) -> None:
    """In a child that was forked without exec: close everything that it was not given. Only with one thread."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in kept:
            with contextlib.suppress(OSError):  # the descriptor of the listing itself
                os.close(int(name))


@contextlib.contextmanager
def short_path(path: str) -> Iterator[str]:
    """A name for `path` that fits a socket address (107 bytes, unix(7)), as long as the block lasts."""
    if len(os.fsencode(path)) <= MAX_ADDRESS_BYTES:
        yield path
        return
    directory, name = os.path.split(path)
    directory_fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{directory_fd}/{name}"
    finally:
        os.close(directory_fd)
