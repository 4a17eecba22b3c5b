"""The parent's part at the barriers of a container that is being created (`plan.plan` lists them).

All of it happens while the process waits, so it sees the container's namespaces complete and unchanging.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Mapping

from .. import errors
from ..kernel.launcher import Spawned
from ..plan import plan as plan_
from ..plan.plan import Limit, Plan
from ..spec.config import Hooks
from ..spec.state import Status
from . import hooks as hooks_
from . import idmaps
from .openings import opened


class CreateBarriers:
    """Called by the launcher at each barrier; `on_release` is what the runtime does when the process is complete."""

    def __init__(
        self, plan: Plan, hooks: Hooks, runner: hooks_.Runner, state: Callable[[int, Status], bytes],
        inner_pid: int | None, on_release: Callable[[Spawned], None],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._handed = dict(plan.handed)
        self._hooks = hooks
        self._runner = runner
        self._state = state
        self._inner_pid = inner_pid
        self._on_release = on_release
        self._documents = contextlib.ExitStack()
        self._opened = contextlib.ExitStack()

    def __enter__(self) -> CreateBarriers:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        self._documents.close()

    def __call__(self, name: str, process: Spawned) -> Mapping[str, int] | None:
        self._opened.close()  # the process has its own
        if name in self._handed:
            return self._opened.enter_context(opened(self._handed[name]))
        return _PARTS[name](self, process)

    def _map_ids(self, process: Spawned) -> None:
        assert self._plan.idmaps is not None
        idmaps.write(process.pid, self._plan.idmaps)

    def _run_hooks(self, process: Spawned) -> Mapping[str, int]:
        self._move_devices(process)
        state = self._state(process.pid, Status.CREATING)
        self._runner.run_all("prestart", self._hooks.prestart, state)
        self._runner.run_all("createRuntime", self._hooks.create_runtime, state)
        inner_pid = self._inner_pid or process.pid
        return {
            plan_.CREATE_STATE: self._document(self._state(inner_pid, Status.CREATING)),
            plan_.START_STATE: self._document(self._state(inner_pid, Status.CREATED)),
        }

    def _release(self, process: Spawned) -> None:
        for limit in self._plan.limits:
            set_limit(process.pid, limit)
        self._on_release(process)

    def _move_devices(self, process: Spawned) -> None:
        if self._plan.net_devices:
            from ..kernel import links  # few have any

            for name, device in self._plan.net_devices:
                links.move_link(name, process.pid, device)

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
