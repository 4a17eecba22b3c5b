"""Being told when the kernel kills in a cgroup because its memory is used up.

v1: an eventfd, registered by writing "EVENTFD CONTROL_FD" into cgroup.event_control; the kernel adds 1 per event, and
also when the cgroup is removed. v2: inotify on memory.events, whose `oom_kill` counts. Either way there is one
descriptor to wait on, and `read()` says how many processes have been killed since the cgroup was made.
"""

from __future__ import annotations

import os
import types
from collections.abc import Iterator

from .. import errors
from . import kernfs, syscalls

_V1_COUNTER = "memory.oom_control"
_IN_MODIFY, _IN_CLOEXEC, _IN_NONBLOCK = 0x2, os.O_CLOEXEC, os.O_NONBLOCK


class OomEvents:
    """Owns the descriptor of `fileno()`; a context manager."""

    def __init__(self, event_fd: int, counter: str) -> None:
        self._event_fd = event_fd
        self._counter = counter

    def fileno(self) -> int:
        """Readable when something happened."""
        return self._event_fd

    def read(self) -> int | None:
        """Take the event; the number of processes killed so far, or None when the cgroup is gone. Never waits."""
        try:
            os.read(self._event_fd, 4096)
        except BlockingIOError:
            pass  # nothing happened: the count is still the answer
        if kernfs.read_or_none(self._counter) is None:
            return None
        return sum(kernfs.parse_table(text).get("oom_kill", 0) for text in self._texts())

    def _texts(self) -> Iterator[str]:
        """The counters: v2 counts what happens below too, v1 does not."""
        directory, name = os.path.split(self._counter)
        below = os.walk(directory) if name == _V1_COUNTER else [(directory, [], [])]
        for path, _, _ in below:
            yield kernfs.read_or_none(os.path.join(path, name)) or ""

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._event_fd)

    def __enter__(self) -> OomEvents:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | types.TracebackType | None) -> None:
        self.close()


def watch(directory: str | None, *, is_v1: bool) -> OomEvents:
    """Watch the memory cgroup `directory`. HostError when there is none, or the kernel has no such events."""
    if directory is None:
        raise errors.HostError("watch for lack of memory: no cgroup controller memory on this host")
    try:
        return _watch_v1(directory) if is_v1 else _watch_v2(directory)
    except OSError as error:
        raise errors.HostError(f"watch for lack of memory in {directory}: {error.strerror}") from error


def _watch_v1(directory: str) -> OomEvents:
    counter = os.path.join(directory, _V1_COUNTER)
    event_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control_fd = os.open(counter, os.O_RDONLY | os.O_CLOEXEC)
        try:
            kernfs.write(os.path.join(directory, "cgroup.event_control"), f"{event_fd} {control_fd}")
        finally:
            os.close(control_fd)
    except OSError:
        os.close(event_fd)
        raise
    return OomEvents(event_fd, counter)


def _watch_v2(directory: str) -> OomEvents:
    counter = os.path.join(directory, "memory.events")
    libc = syscalls.libc
    event_fd = syscalls.checked(libc.inotify_init1(_IN_CLOEXEC | _IN_NONBLOCK), "inotify_init1")
    try:
        syscalls.checked(libc.inotify_add_watch(event_fd, os.fsencode(counter), _IN_MODIFY), "watch", counter)
    except OSError:
        os.close(event_fd)
        raise
    return OomEvents(event_fd, counter)
