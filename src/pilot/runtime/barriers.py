"""The parent's part at the barriers of a container that is being created (`plan.plan` lists them).

All of it happens while the process waits, so it sees the container's namespaces complete and unchanging.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping

from .. import errors
from ..kernel import idmap, syscalls
from ..kernel.launcher import Spawned
from ..plan import plan as plan_
from ..plan.plan import Limit, Plan
from ..spec.config import Hooks
from ..spec.state import Status
from . import hooks as hooks_
from . import openings

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 0x1
_CLONE_NEWNET = 0x40000000


class CreateBarriers:
    """Called by the launcher at each barrier; `on_release` is what the runtime does when the process is complete."""

    def __init__(
        self, plan: Plan, hooks: Hooks, state: Callable[[int, Status], bytes], inner_pid: int | None,
        on_release: Callable[[Spawned], None],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._hooks = hooks
        self._state = state
        self._inner_pid = inner_pid
        self._on_release = on_release
        self._loopback = plan.loopback
        self._documents = contextlib.ExitStack()

    def __enter__(self) -> CreateBarriers:
        return self

    def __exit__(self, *_: object) -> None:
        self._documents.close()

    def __call__(self, name: str, process: Spawned) -> Mapping[str, int] | None:
        return _PARTS[name](self, process)

    def _map_ids(self, process: Spawned) -> None:
        assert self._plan.idmaps is not None
        idmap.write_maps(process.pid, openings.rows(self._plan.idmaps.uids), openings.rows(self._plan.idmaps.gids))

    def _run_hooks(self, process: Spawned) -> Mapping[str, int]:
        self._raise_loopback(process)
        state = self._state(process.pid, Status.CREATING)
        hooks_.run_all("prestart", self._hooks.prestart, state)
        hooks_.run_all("createRuntime", self._hooks.create_runtime, state)
        inner_pid = self._inner_pid or process.pid
        return {
            plan_.CREATE_STATE: self._document(self._state(inner_pid, Status.CREATING)),
            plan_.START_STATE: self._document(self._state(inner_pid, Status.CREATED)),
        }

    def _release(self, process: Spawned) -> None:
        self._raise_loopback(process)
        for limit in self._plan.limits:
            set_limit(process.pid, limit)
        self._on_release(process)

    def _raise_loopback(self, process: Spawned) -> None:
        if self._loopback:
            raise_loopback(process.pid)
            self._loopback = False

    def _document(self, content: bytes) -> int:
        fd = os.memfd_create("state", os.MFD_CLOEXEC)
        self._documents.callback(os.close, fd)
        os.write(fd, content)
        return fd


_PARTS: dict[str, Callable[[CreateBarriers, Spawned], Mapping[str, int] | None]] = {
    plan_.IDMAP: CreateBarriers._map_ids,
    plan_.HOOKS: CreateBarriers._run_hooks,
    plan_.RELEASE: CreateBarriers._release,
}


def set_limit(pid: int, limit: Limit) -> None:
    """prlimit(2) on another process."""
    try:
        resource.prlimit(pid, limit.resource, (_signed(limit.soft), _signed(limit.hard)))
    except (OSError, ValueError) as error:
        raise errors.HostError(f"set rlimit {limit.resource} to {limit.soft}:{limit.hard}: {error}") from error


def _signed(value: int) -> int:
    return -1 if value == 2**64 - 1 else value


def raise_loopback(pid: int) -> None:
    """Bring `lo` up in the network namespace of `pid`.

    A thread of our own goes there and ends: the network namespace belongs to the thread, not to the process.
    """
    problems: list[OSError] = []
    thread = threading.Thread(target=_raise_in_thread, args=(pid, problems), name="pilot-loopback")
    thread.start()
    thread.join()
    if problems:
        raise errors.HostError(f"bring lo up: {(problems[0].strerror or '').lower()}") from problems[0]


def _raise_in_thread(pid: int, problems: list[OSError]) -> None:
    try:
        with _network_namespace(pid), socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
    except OSError as error:
        problems.append(error)


@contextlib.contextmanager
def _network_namespace(pid: int) -> Iterator[None]:
    fd = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        syscalls.checked(syscalls.libc.setns(fd, _CLONE_NEWNET), "setns", f"/proc/{pid}/ns/net")
        yield
    finally:
        os.close(fd)
