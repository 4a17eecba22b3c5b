"""User namespaces that a descriptor keeps: to idmap a mount with, or for a container to join.

    launch(holder in a new user namespace) ── barrier: write uid_map, gid_map; open /proc/PID/ns/user ── kill the holder

The holder is cloned by the launcher, so this is safe in a process with many threads, and nothing is executed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NoReturn

from .. import errors
from ..plan import program, steps
from ..plan.abi import Namespace
from ..plan.steps import Slot
from . import launcher, waiter

Row = tuple[int, int, int]  # first id inside, first id outside, how many

_NAMESPACE = Slot("user namespace")
_VISITOR = program.Program((steps.JoinNamespace(_NAMESPACE, Namespace.USER), steps.Barrier("read ids")))
_HOLDER = program.Program((steps.Barrier("map ids"),), namespaces=Namespace.USER)


class _Taken(Exception):
    """The namespace is in our hands: the holder may go."""


def user_namespace_fd(uid_base: int, gid_base: int, count: int) -> int:
    """A user namespace in which 0..count-1 are uid_base... and gid_base... outside. The caller owns the descriptor."""
    return user_namespace([(0, uid_base, count)], [(0, gid_base, count)])


def user_namespace(uids: Sequence[Row], gids: Sequence[Row]) -> int:
    """A user namespace with these maps, below our own. The caller owns the descriptor.

    HostError when it cannot be made or a map is refused (overlapping rows, ids that we may not give away).
    """
    return _taken(_HOLDER, uids, gids)


def owned_user_namespace(uid: int, gid: int, uids: Sequence[Row], gids: Sequence[Row]) -> int:
    """`user_namespace`, made by a process that is `uid`: what the kernel counts per user and user namespace (inotify
    and fanotify instances, user_namespaces of its own) is then counted as that user's, up to the first namespace
    (user_namespaces(7), kernel/ucount.c), and not as root's, who is the same for all.

    StepError (EPERM) where only root may make one.
    """
    made_by = (steps.SetUser(uid, gid), steps.Unshare(Namespace.USER), steps.Barrier("map ids"))
    return _taken(program.Program(made_by), uids, gids)


def _taken(holding: program.Program, uids: Sequence[Row], gids: Sequence[Row]) -> int:
    taken: list[int] = []

    def take(_: str, holder: launcher.Spawned) -> NoReturn:
        write_maps(holder.pid, uids, gids)
        taken.append(os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC))
        raise _Taken

    try:
        # Always a child of our own, even under init: it must be gone when this returns.
        launcher.launch(holding, descriptors={}, waiter=waiter.OwnChildren(), on_barrier=take)
    except _Taken:
        pass
    return taken[0]


def read_maps(path: str) -> tuple[list[Row], list[Row]]:
    """uid_map and gid_map of the user namespace at `path`, as they are seen from ours. `OSError`, PilotError."""
    found: list[list[Row]] = []

    def read(_: str, holder: launcher.Spawned) -> NoReturn:
        found.extend(_read(holder.pid, file) for file in ("uid_map", "gid_map"))
        raise _Taken

    userns_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        launcher.launch(_VISITOR, descriptors={_NAMESPACE: userns_fd}, waiter=waiter.OwnChildren(), on_barrier=read)
    except _Taken:
        pass
    finally:
        os.close(userns_fd)
    return found[0], found[1]


def _read(pid: int, file: str) -> list[Row]:
    with open(f"/proc/{pid}/{file}", encoding="ascii") as rows:
        return [(int(inside), int(outside), int(count)) for inside, outside, count in map(str.split, rows)]


def write_maps(pid: int, uids: Sequence[Row], gids: Sequence[Row]) -> None:
    """Write uid_map and gid_map of a process in a new user namespace. HostError with the map that was refused."""
    if os.geteuid() != 0:
        # user_namespaces(7): without CAP_SETGID a gid may only be mapped when setgroups is given up.
        _write(pid, "setgroups", "deny")
    _write(pid, "uid_map", _text(uids))
    _write(pid, "gid_map", _text(gids))


def _text(rows: Sequence[Row]) -> str:
    return "".join(f"{inside} {outside} {count}\n" for inside, outside, count in rows)


def _write(pid: int, file: str, text: str) -> None:
    try:
        map_fd = os.open(f"/proc/{pid}/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(map_fd, text.encode())  # the kernel takes the whole map in one write, once
        finally:
            os.close(map_fd)
    except OSError as error:
        rows = text.splitlines()
        shown = ", ".join(rows[:3]) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")
        raise errors.HostError(
            f"write {file} ({shown}) of process {pid}: {os.strerror(error.errno or 0).lower()}"
        ) from error
