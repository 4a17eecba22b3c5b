"""Stopping and resuming all processes of a cgroup, by either version's freezer.

v2 (`cgroup.freeze`) is preferred where both exist: its frozen processes can still be killed, and `cgroup.events` can be
waited for. v1 (`freezer.state`) goes THAWED → FREEZING → FROZEN and has no event, so it is asked again and again until
the deadline. Both freezers hold everything below the directory too.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Mapping

from .. import errors
from . import kernfs

_V1_PAUSE_S = 0.001
_GONE = {errno.ENOENT, errno.ENODEV}  # ENODEV: removed since the file was opened


def freeze(paths: Mapping[str, str], timeout_s: float = 10.0) -> None:
    """Stop every process and return when they stand still. HostError: no freezer; or too slow, then thawed."""
    try:
        if _can_v2(paths):
            kernfs.write(os.path.join(paths[""], "cgroup.freeze"), "1")
            wait_event(paths[""], "frozen", 1, timeout_s)
        elif "freezer" in paths:
            _freeze_v1(paths["freezer"], timeout_s)
        else:
            raise errors.HostError("freeze: this host has no cgroup freezer")
    except OSError as error:
        thaw(paths)
        raise errors.HostError(f"freeze: {error}") from error


def thaw(paths: Mapping[str, str]) -> None:
    """Let every process run on, whichever freezer holds it; idempotent, also when the cgroup is gone."""
    for controller, file, value in (("", "cgroup.freeze", "0"), ("freezer", "freezer.state", "THAWED")):
        if controller not in paths:
            continue
        try:
            kernfs.write(os.path.join(paths[controller], file), value)
        except OSError as error:
            if error.errno in _GONE:
                continue  # removed, or a root cgroup, or a v2 tree before 5.2: nothing that could be frozen
            raise errors.HostError(f"thaw: {error}") from error


def thaw_tree(paths: Mapping[str, str]) -> None:
    """`thaw` of the cgroup and of all below it, which who is in there may have made and frozen; what goes meanwhile is
    no error."""
    thaw(paths)
    for controller in {"", "freezer"} & set(paths):
        for directory, _, _ in os.walk(paths[controller]):
            thaw({controller: directory})


def frozen(paths: Mapping[str, str]) -> bool:
    """Whether the cgroup itself was asked to freeze (and not: whether a parent is frozen). False when it is gone."""
    try:
        if _can_v2(paths) and kernfs.read(os.path.join(paths[""], "cgroup.freeze")) == "1":
            return True
        if "freezer" in paths:
            return kernfs.read(os.path.join(paths["freezer"], "freezer.self_freezing")) == "1"
    except OSError as error:
        if error.errno not in _GONE:
            raise
    return False


def find_frozen(paths: Mapping[str, str]) -> str | None:
    """The first directory on the way up from the cgroup, itself included, that was asked to freeze; None without one.

    The cgroup need not exist yet.
    """
    for controller, file, value in (("", "cgroup.freeze", "1"), ("freezer", "freezer.self_freezing", "1")):
        directory = paths.get(controller, "")
        while len(directory) > 1:
            if kernfs.read_or_none(os.path.join(directory, file)) == value:
                return directory
            directory = os.path.dirname(directory)
    return None


def wait_event(directory: str, key: str, value: int, timeout_s: float) -> None:
    """Wait until `key` of cgroup.events is `value`; TimeoutError."""
    deadline = time.monotonic() + timeout_s
    events_fd = os.open(os.path.join(directory, "cgroup.events"), os.O_RDONLY | os.O_CLOEXEC)
    try:
        poll = select.poll()
        poll.register(events_fd, select.POLLPRI)
        while f"{key} {value}" not in os.pread(events_fd, 4096, 0).decode().splitlines():
            left = deadline - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                raise TimeoutError(f"{directory} did not become {key} {value} within {timeout_s} s")
    finally:
        os.close(events_fd)


def _can_v2(paths: Mapping[str, str]) -> bool:
    return "" in paths and os.path.exists(os.path.join(paths[""], "cgroup.freeze"))


def _freeze_v1(directory: str, timeout_s: float) -> None:
    state = os.path.join(directory, "freezer.state")
    deadline = time.monotonic() + timeout_s
    while True:
        # Written each time: a process that was forked meanwhile is only caught by another write.
        kernfs.write(state, "FROZEN")
        if kernfs.read(state) == "FROZEN":
            return
        if time.monotonic() >= deadline:
            raise TimeoutError(f"{directory} was not frozen within {timeout_s} s")
        time.sleep(_V1_PAUSE_S)
